{#- PostgreSQL: clusters, then what is in them. A standby gets roles and databases from its primary. #}
{%- set cfg = salt["formula.data"]("postgresql") %}

postgresql_packages:
  pkg.installed:
    - pkgs: {{ cfg.packages | map("replace", "{version}", cfg.version) | list | json }}

{%- for name, cluster in cfg.clusters.items() %}
{#- What the packages have, with the cluster's name and port filled in. #}
{%- set its = cfg | json | replace("{version}", cfg.version) | replace("{cluster}", name) | replace("{port}", cluster.port | string) | load_json %}
{%- set primary, config, psql = cluster.standby_of | default({}), its.config_dir, "psql -p %s -Atc" % cluster.port %}
{#- Arguments of a state, a line each: JSON is YAML. #}
{%- macro args(it) %}{% for key, value in dict(it, user="postgres", db_user="postgres", db_port=cluster.port).items() %}
    - {{ key }}: {{ value | json }}
{%- endfor %}{% endmacro %}

postgresql_{{ name }}_made:
  cmd.run:
    - name: >-
        conf={{ config }}/postgresql.conf; test -e $conf || {{ its.create }} &&
        { grep -q "^include_dir[ =]*'conf.d'" $conf || echo "include_dir 'conf.d'" >> $conf; }
    - unless: grep -q "^include_dir[ =]*'conf.d'" {{ config }}/postgresql.conf
    - require:
      - pkg: postgresql_packages

postgresql_{{ name }}_settings:
  file.managed:
    - name: {{ config }}/conf.d/salt.conf
    - source: salt://{{ tpldir }}/files/salt.conf.j2
    - template: jinja
    - context: {cluster: {{ cluster | json }}}
    - makedirs: true
    {#- PostgreSQL itself reads the file, without a server: a wrong setting would else keep the cluster from its next start. #}
    - check_cmd: sh -c '{{ its.bin_dir }}/postgres -C port -D {{ its.data_dir }} --config-file="$0"'
    - require:
      - cmd: postgresql_{{ name }}_made

postgresql_{{ name }}_hba:
  file.managed:
    - name: {{ config }}/pg_hba.conf
    - source: salt://{{ tpldir }}/files/pg_hba.conf.j2
    - template: jinja
    - context: {hba: {{ cluster.hba | json }}}
    - user: postgres
    - group: postgres
    - mode: "0640"
    - require:
      - cmd: postgresql_{{ name }}_made

{%- if primary %}

postgresql_{{ name }}_standby:
  cmd.script:
    - source: salt://{{ tpldir }}/files/standby.sh
    - args: {{ its.data_dir }} {{ its.service }}
    - env: {{ primary | json }}
    - creates: {{ its.data_dir }}/salt-standby
    - require:
      - file: postgresql_{{ name }}_settings
    - require_in:
      - service: postgresql_{{ name }}_service
{%- endif %}

postgresql_{{ name }}_service:
  service.running:
    - name: {{ its.service | json }}
    - enable: true
    - reload: true
    - watch:
      - file: postgresql_{{ name }}_settings
      - file: postgresql_{{ name }}_hba

postgresql_{{ name }}_restart:
  cmd.run:
    - name: |
        pending=$(cd / && runuser -u postgres -- {{ psql }} "SELECT pg_sleep(1); SELECT count(*) FROM pg_settings WHERE pending_restart" | tail -n 1)
        [ "$pending" = 0 ] || service {{ its.service }} restart
    - onlyif: "{{ cluster.restart | lower }}"
    - onchanges:
      - file: postgresql_{{ name }}_settings
    - require:
      - service: postgresql_{{ name }}_service

postgresql_{{ name }}_hba_read:
  cmd.run:
    - name: {{ psql }} "SELECT 'pg_hba.conf, line ' || line_number || ', ' || error FROM pg_hba_file_rules WHERE error <> ''" | grep . && exit 1
    - onlyif: {{ psql }} "SELECT error FROM pg_hba_file_rules WHERE error <> ''" | grep -q .
    - runas: postgres
    - cwd: /
    - require:
      - service: postgresql_{{ name }}_service

{%- for role, it in cluster.roles.items() if not primary %}

postgresql_{{ name }}_role_{{ role }}:
  postgres_user.{{ "absent" if it.absent is defined else "present" }}:
    {{- args({"name": role, "order": 12000} if it.absent is defined else
             dict(it, name=role, groups=it.groups | join(",") or none, encrypted="scram-sha-256", order=10000 + it.groups | length)) }}
{%- endfor %}

{%- for database, it in cluster.databases.items() if not primary %}

postgresql_{{ name }}_database_{{ database }}:
  postgres_database.{{ "absent" if it.absent is defined else "present" }}:
    {{- args({"name": database, "order": 11000} if it.absent is defined else
            {"name": database, "owner": it.owner, "encoding": it.encoding, "lc_collate": it.get("locale"), "lc_ctype": it.get("locale"),
             "template": it.template, "order": 11000}) }}
{%- for extension in it.extensions %}

postgresql_{{ name }}_extension_{{ database }}_{{ extension }}:
  postgres_extension.present:
    {{- args({"name": extension, "maintenance_db": database, "order": 11001}) }}
{%- endfor %}
{%- for grant in it.grants %}

postgresql_{{ name }}_grant_{{ database }}_{{ loop.index }}:
  postgres_privileges.present:
    {{- args(dict({"object_name": database}, maintenance_db=database, order=11002, **grant)) }}
{%- endfor %}
{%- endfor %}

{%- for slot in cluster.slots if not primary %}

postgresql_{{ name }}_slot_{{ slot }}:
  cmd.run:
    - name: {{ psql }} "SELECT pg_create_physical_replication_slot('{{ slot }}')"
    - unless: {{ psql }} "SELECT slot_name FROM pg_replication_slots" | grep -qx '{{ slot }}'
    - runas: postgres
    - cwd: /
    - order: 11002
{%- endfor %}
{%- endfor %}
