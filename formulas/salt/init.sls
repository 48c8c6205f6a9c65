{#- Salt. A minion that restarts itself does so after its job, so that the answer still arrives. #}
{%- set cfg = salt["formula.data"]("salt") %}
{%- set source, roles = cfg.extension.source, ["minion", "master", "api"] | select("in", cfg) | list %}
{%- set pip = "%s/bin/python -I -m pip install --quiet" % cfg.environment ~ (" --index-url " ~ cfg.index_url if "index_url" in cfg else "") %}
{%- set wheel = "/var/cache/salt-extension/" ~ source.rpartition("/")[2] if source.startswith("salt://") else "" %}
{%- if "repository" in cfg %}

salt_repository:
  pkgrepo.managed:
    {{ cfg.repository | dict_to_sls_yaml_params | indent }}
    - require_in:
      - pkg: salt_packages
{%- endif %}

salt_packages:
  pkg.installed:
    - pkgs: {{ (cfg.build_packages if cfg.install == "pip" else cfg.packages.items() | selectattr("0", "in", roles) | map("last") | list if cfg.install == "packages" else []) | json }}

{#- Words in the form %(…)s are keys of cfg, and those that are given here. #}
{%- filter format(pip=pip, source=source, file=wheel or "/var/cache/salt-extension/requirement", python=cfg.environment ~ "/bin/python -I",
                  wanted=cfg.extension.enabled and cfg.install != "none", **cfg) %}

salt_environment:
  cmd.run:
    - name: python3 -m venv %(environment)s && %(pip)s 'salt%(version)s' cherrypy
    - unless: >-
        %(python)s -c 'import salt, cherrypy' && case '%(version)s' in
        ==*) %(python)s -m pip show salt | sed -n 's/^Version: /==/p' | grep -qx '%(version)s';; esac
    - onlyif: test %(install)s = pip
    - require:
      - pkg: salt_packages

{#- A wheel is installed anew whenever the master has another one, also of the same version. #}
salt_extension:
  file.managed:
    - name: %(file)s
    - {{ "source" if wheel else "contents" }}: %(source)s
    - makedirs: true
    - onlyif: test %(wanted)s = True
  cmd.run:
    - name: >-
        %(pip)s '{{ '%(file)s' if wheel else '%(source)s' }}{{ "[%s]" % cfg.extension.extras | join(",") if cfg.extension.extras }}'
        {{- " && %(pip)s --force-reinstall --no-deps %(file)s" if wheel }} && touch %(environment)s/salt-extension
    - unless: %(python)s -c 'import saltext_logilab' && test %(environment)s/salt-extension -nt %(file)s
    - onlyif: test %(wanted)s = True
    - require:
      - cmd: salt_environment
      - file: salt_extension
{%- endfilter %}
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
{{- a_role % dict(cfg, role=role, folder=role | replace("api", "master"), cfg=cfg | json) }}
{%- endfor %}
