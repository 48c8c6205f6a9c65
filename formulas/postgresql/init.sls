{#- PostgreSQL: clusters, then what is in them. A standby gets roles and databases from its primary. #}
{%- set cfg = salt["formula.data"]("postgresql") %}

postgresql_packages:
  pkg.installed:
    - pkgs: {{ cfg.packages | map("replace", "{version}", cfg.version) | list | json }}

{%- for name, cluster in cfg.clusters.items() %}
{%- set config, data, service, create = [cfg.config_dir, cfg.data_dir, cfg.service, cfg.create] | map("replace", "{version}", cfg.version)
    | map("replace", "{cluster}", name) | map("replace", "{port}", cluster.port | string) %}
{%- set primary = cluster.get("standby_of", {}) %}
{%- set psql, admin = "psql -p %s -Atc" % cluster.port, {"user": "postgres", "db_user": "postgres", "db_port": cluster.port} %}

postgresql_{{ name }}_made:
  cmd.run:
    - name: {{ create | json }}
    - creates: {{ config }}/postgresql.conf
    - require:
      - pkg: postgresql_packages

postgresql_{{ name }}_include:
  file.append:
    - name: {{ config }}/postgresql.conf
    - text: include_dir 'conf.d'
    - unless: grep -q "^include_dir *= *'conf.d'" {{ config }}/postgresql.conf
    - require:
      - cmd: postgresql_{{ name }}_made

postgresql_{{ name }}_settings:
  file.managed:
    - name: {{ config }}/conf.d/salt.conf
    - source: salt://{{ tpldir }}/files/salt.conf.j2
    - template: jinja
    - context:
        cluster: {{ {"port": cluster.port, "settings": cluster.settings, "tuning": cluster.get("tuning", 0)} | json }}
    - makedirs: true
    - require:
      - file: postgresql_{{ name }}_include

postgresql_{{ name }}_hba:
  file.managed:
    - name: {{ config }}/pg_hba.conf
    - source: salt://{{ tpldir }}/files/pg_hba.conf.j2
    - template: jinja
    - context:
        hba: {{ cluster.hba | json }}
    - user: postgres
    - group: postgres
    - mode: "0640"
    - require:
      - cmd: postgresql_{{ name }}_made

{%- if primary %}

postgresql_{{ name }}_standby:
  cmd.script:
    - source: salt://{{ tpldir }}/files/standby.sh
    - args: {{ [data, service, primary.get("slot", "")] | join(" ") | json }}
    - env: {{ [{"PGHOST": primary.host}, {"PGPORT": primary.port | string}, {"PGUSER": primary.user}, {"PGPASSWORD": primary.password}] | json }}
    - creates: {{ data }}/salt-standby
    - require:
      - file: postgresql_{{ name }}_settings
    - require_in:
      - service: postgresql_{{ name }}_service
{%- endif %}

postgresql_{{ name }}_service:
  service.running:
    - name: {{ service | json }}
    - enable: true
    - reload: true
    - watch:
      - file: postgresql_{{ name }}_settings
      - file: postgresql_{{ name }}_hba

postgresql_{{ name }}_restart:
  cmd.run:
    - name: |
        pending=$(cd / && runuser -u postgres -- {{ psql }} "SELECT pg_sleep(1); SELECT count(*) FROM pg_settings WHERE pending_restart" | tail -n 1)
        [ "$pending" = 0 ] || service {{ service }} restart
    - onlyif: {{ "true" if cluster.restart else "false" }}
    - onchanges:
      - file: postgresql_{{ name }}_settings
    - require:
      - service: postgresql_{{ name }}_service

{%- for role, it in cluster.roles.items() if not primary %}

postgresql_{{ name }}_role_{{ role }}:
  postgres_user.present:
    {{ dict(it, name=role, groups=it.groups | join(",") or none, encrypted="scram-sha-256", order=10000 + it.groups | length, **admin)
       | dict_to_sls_yaml_params | indent }}
{%- endfor %}

{%- for database, it in cluster.databases.items() if not primary %}

postgresql_{{ name }}_database_{{ database }}:
  postgres_database.present:
    {{ dict(name=database, owner=it.owner, encoding=it.encoding, lc_collate=it.get("locale"), lc_ctype=it.get("locale"), template=it.template,
            order=11000, **admin) | dict_to_sls_yaml_params | indent }}
{%- for extension in it.extensions %}

postgresql_{{ name }}_extension_{{ database }}_{{ extension }}:
  postgres_extension.present:
    {{ dict(name=extension, maintenance_db=database, order=11001, **admin) | dict_to_sls_yaml_params | indent }}
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
