{#- slapd. Its configuration is built beside the running one, tried, and then put in its place. #}
{%- set cfg = salt["formula.data"]("openldap") %}
{%- set tls = cfg.get("tls", {}) %}

openldap_packages:
  pkg.installed:
    - pkgs: {{ cfg.packages | json }}

{%- for name in ("ca", "certificate", "key") if name in tls %}

openldap_tls_{{ name }}:
  file.managed:
    - name: {{ tls.folder }}/{{ name }}.pem
    - contents: {{ tls[name] | json }}
    - group: {{ cfg.user | json }}
    - mode: "0640"
    - makedirs: true
    - show_changes: false
    - require:
      - pkg: openldap_packages
    - require_in:
      - file: openldap_config
    - watch_in:
      - service: openldap_service
{%- endfor %}

{%- for name, database in cfg.databases.items() %}

openldap_directory_{{ name }}:
  file.directory:
    - name: {{ database.get("directory", "/var/lib/ldap/" ~ name) | json }}
    - user: {{ cfg.user | json }}
    - group: {{ cfg.user | json }}
    - mode: "0700"
    - makedirs: true
    - require:
      - pkg: openldap_packages
    - require_in:
      - file: openldap_config
{%- endfor %}

openldap_build:
  file.managed:
    - name: {{ cfg.config_dir }}.build
    - source: salt://{{ tpldir }}/files/build.sh
    - mode: "0700"
    - require:
      - pkg: openldap_packages

openldap_config:
  file.managed:
    - name: {{ cfg.config_dir }}.ldif
    - source: salt://{{ tpldir }}/files/config.ldif.j2
    - template: jinja
    - context:
        cfg: {{ cfg | json }}
        macros: {{ tpldir }}/files/ldif.jinja
    - mode: "0600"
    - show_changes: false
    - check_cmd: {{ cfg.config_dir }}.build {{ cfg.config_dir }} {{ cfg.user }} try
    - require:
      - file: openldap_build

openldap_exchange:
  cmd.run:
    - name: {{ cfg.config_dir }}.build {{ cfg.config_dir }} {{ cfg.user }} {{ cfg.service }} {{ cfg.config_dir }}.ldif
    - onchanges:
      - file: openldap_config

openldap_service:
  service.running:
    - name: {{ cfg.service | json }}
    - enable: true
    - require:
      - cmd: openldap_exchange

openldap_entries_file:
  file.managed:
    - name: {{ cfg.config_dir }}.entries.ldif
    - source: salt://{{ tpldir }}/files/entries.ldif.j2
    - template: jinja
    - context:
        macros: {{ tpldir }}/files/ldif.jinja
        databases: {{ (cfg.databases.values() | list if cfg.get("server_id") == 1 else cfg.databases.values() | rejectattr("replicate_from") | list) | json }}
    - mode: "0600"
    - show_changes: false

openldap_entries:
  cmd.script:
    - source: salt://{{ tpldir }}/files/entries.sh
    - args: {{ cfg.config_dir }}.entries.ldif
    - stateful: true
    - require:
      - service: openldap_service
      - file: openldap_entries_file
{%- if cfg.client %}

openldap_client:
  file.keyvalue:
    - name: {{ cfg.client_config | json }}
    - key_values: {{ cfg.client | json }}
    - separator: " "
    - append_if_not_found: true
    - require:
      - pkg: openldap_packages
{%- endif %}
