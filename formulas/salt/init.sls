{#- Salt. A minion that restarts itself does so after its job, so that the answer still arrives. #}
{%- set cfg = salt["formula.data"]("salt") %}
{%- set python, source, roles = cfg.environment ~ "/bin/python -I", cfg.extension.source, ["minion", "master", "api"] | select("in", cfg) | list %}
{%- set pip, wheel = "%s -m pip install --quiet%s" % (python, " --index-url " ~ cfg.index_url if "index_url" in cfg else ""),
                     "/var/cache/salt-extension/" ~ source.rpartition("/")[2] if source.startswith("salt://") else "" %}
{%- if "repository" in cfg %}

salt_repository:
  pkgrepo.managed:
    {{ cfg.repository | dict_to_sls_yaml_params | indent }}
    - require_in:
      - pkg: salt_packages
{%- endif %}

salt_packages:
  pkg.installed:
    - pkgs: {{ (cfg.build_packages if cfg.install == "pip" else []) | json }}

salt_environment:
  cmd.run:
    - name: python3 -m venv {{ cfg.environment }} && {{ pip }} 'salt{{ cfg.version }}' cherrypy
    - unless: >-
        {{ python }} -c 'import salt, cherrypy' && case '{{ cfg.version }}' in
        ==*) {{ python }} -m pip show salt | sed -n 's/^Version: /==/p' | grep -qx '{{ cfg.version }}';; esac
    - onlyif: test {{ cfg.install }} = pip
    - require:
      - pkg: salt_packages

{#- A wheel is installed anew whenever the master has another one, also of the same version. #}
salt_extension:
  file.managed:
    - name: {{ wheel or "/var/cache/salt-extension/requirement" }}
    - {{ "source" if wheel else "contents" }}: {{ source }}
    - makedirs: true
    - onlyif: &wanted "{{ 'true' if cfg.extension.enabled and cfg.install != 'none' else 'false' }}"
  cmd.run:
    - name: >-
        {{ pip }} '{{ wheel or source }}{{ "[%s]" % cfg.extension.extras | join(",") if cfg.extension.extras }}'
        {{- " && %s --force-reinstall --no-deps %s" % (pip, wheel) if wheel }} && touch {{ cfg.environment }}/salt-extension
    - unless: {{ python }} -c 'import saltext_logilab' && test {{ cfg.environment }}/salt-extension -nt {{ wheel or "/var/cache/salt-extension/requirement" }}
    - onlyif: *wanted
    - require:
      - cmd: salt_environment
      - file: salt_extension
{%- if "key" in cfg.get("master", {}) %}

salt_master_key:
  file.managed:
    - names:
      - {{ cfg.master.key.folder }}/master.pem:
        - contents: {{ cfg.master.key.private | json }}
        - mode: "0400"
      - {{ cfg.master.key.folder }}/master.pub:
        - contents: {{ cfg.master.key.public | json }}
    - replace: false
    - makedirs: true
    - show_changes: false
    - require:
      - cmd: salt_extension
    - require_in:
      - service: salt_master_service
{%- endif %}

{%- set a_role %}

salt_%(role)s_package:
  pkg.installed:
    - name: %(package)s
    - onlyif: test %(install)s = packages
    - require:
      - pkg: salt_packages
    - require_in:
      - service: salt_%(role)s_service

salt_%(role)s_config:
  file.managed:
    - name: /etc/salt/%(folder)s.d/salt-formula-%(role)s.conf
    - source: salt://{{ tpldir }}/files/%(role)s.conf.j2
    - template: jinja
    - context: {cfg: %(cfg)s}
    - makedirs: true
    - mode: "0640"
    - show_changes: false

salt_%(role)s_unit:
  file.managed:
    - name: {{ cfg.unit | replace("{role}", "%(role)s") }}
    - source: salt://{{ tpldir }}/files/%(init)s.j2
    - template: jinja
    - context: {role: %(role)s, bin: %(environment)s/bin}
    - mode: "%(unit_mode)s"
    - onlyif: test %(install)s != packages

salt_%(role)s_service:
  service.running:
    - name: salt-%(role)s
    - enable: true
    - watch:
      - cmd: salt_environment
      - cmd: salt_extension
      - file: salt_%(role)s_config
      - file: salt_%(role)s_unit
{%- endset %}
{%- for role in roles %}
{{- a_role % dict(cfg, role=role, package=cfg.packages[role], folder=role | replace("api", "master"), cfg=cfg | json) }}
{%- endfor %}
