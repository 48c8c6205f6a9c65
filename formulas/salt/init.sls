{#- Salt. A minion that restarts itself does so after its job, so that the answer still arrives. #}
{%- set cfg = salt["formula.data"]("salt") %}
{%- set bin, source, roles = cfg.environment ~ "/bin", cfg.extension.source, ["minion", "master", "api"] | select("in", cfg) | list %}
{%- set pip = bin ~ "/python -I -m pip install --quiet" ~ (" --index-url " ~ cfg.index_url if cfg.index_url is defined else "") %}
{%- set wheel = "/var/cache/salt-extension/" ~ source.rpartition("/")[2] if source.startswith("salt://") else "" %}
{%- if cfg.repository is defined %}

salt_repository:
  pkgrepo.managed:
    {{ cfg.repository | dict_to_sls_yaml_params | indent }}
    - require_in:
      - pkg: salt_packages
{%- endif %}

salt_packages:
  pkg.installed:
    - pkgs: {{ (cfg.build_packages if cfg.install == "pip" else roles | map("extract", cfg.packages) | list if cfg.install == "packages" else []) | json }}

salt_environment:
  cmd.run:
    - name: python3 -m venv {{ cfg.environment }} && {{ pip }} 'salt{{ cfg.version }}' cherrypy
    - unless: >-
        {{ bin }}/python -I -c 'import salt, cherrypy'{{ " && %s/python -I -m pip show salt | grep -qx 'Version: %s'" % (bin, cfg.version[2:]) if cfg.version.startswith("==") }}
    - onlyif: "{{ 'true' if cfg.install == 'pip' else 'false' }}"
    - require:
      - pkg: salt_packages

{#- A wheel is installed anew whenever the master has another one, also of the same version. #}
salt_extension:
  file.managed:
    - name: {{ wheel or "/var/cache/salt-extension/requirement" }}
    - {{ "source" if wheel else "contents" }}: {{ source }}
    - makedirs: true
    - onlyif: "{{ 'true' if cfg.extension.enabled and cfg.install != 'none' else 'false' }}"
  cmd.run:
    - name: >-
        {{ pip }} '{{ wheel or source }}{{ "[%s]" % cfg.extension.extras | join(",") if cfg.extension.extras }}'
        {{- " && %s --force-reinstall --no-deps %s" % (pip, wheel) if wheel }} && touch {{ cfg.environment }}/salt-extension
    - unless: >-
        {{ bin }}/python -I -c 'import saltext_logilab' && test {{ cfg.environment }}/salt-extension -nt {{ wheel or "/var/cache/salt-extension/requirement" }}
    - onlyif: "{{ 'true' if cfg.extension.enabled and cfg.install != 'none' else 'false' }}"
    - require:
      - cmd: salt_environment
      - file: salt_extension
{%- if cfg.get("master", {}).key is defined %}

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

{%- for role in roles %}

salt_{{ role }}_config:
  file.managed:
    - name: /etc/salt/{{ role | replace("api", "master") }}.d/salt-formula-{{ role }}.conf
    - source: salt://{{ tpldir }}/files/{{ role }}.conf.j2
    - template: jinja
    - context: {cfg: {{ cfg | json }}}
    - makedirs: true
    - mode: "0640"
    - show_changes: false

salt_{{ role }}_unit:
  file.managed:
    - name: {{ cfg.unit | replace("{role}", role) }}
    - source: salt://{{ tpldir }}/files/{{ cfg.init }}.j2
    - template: jinja
    - context: {role: {{ role }}, bin: {{ bin }}}
    - mode: "{{ cfg.unit_mode }}"
    - onlyif: "{{ 'false' if cfg.install == 'packages' else 'true' }}"

salt_{{ role }}_service:
  service.running:
    - name: salt-{{ role }}
    - enable: true
    - watch:
      - cmd: salt_environment
      - cmd: salt_extension
      - file: salt_{{ role }}_config
      - file: salt_{{ role }}_unit
{%- endfor %}
