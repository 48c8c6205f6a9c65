{#- PostgreSQL: clusters; what is in them follows in contents.sls. #}
{%- set cfg = salt["formula.data"]("postgresql") %}

include: [.contents]

postgresql_packages:
  pkg.installed:
    - pkgs: {{ cfg.packages | json | replace("{version}", cfg.version) }}

{#- The states of each cluster, filled in below: as text they cost Jinja next to nothing. #}
{%- set a_cluster %}

postgresql_%(name)s_made:
  cmd.run:
    - name: >-
        conf=%(config_dir)s/postgresql.conf; test -e $conf || %(create)s &&
        { grep -q "^include_dir[ =]*'conf.d'" $conf || echo "include_dir 'conf.d'" >> $conf; }
    - unless: grep -q "^include_dir[ =]*'conf.d'" %(config_dir)s/postgresql.conf
    - require:
      - pkg: postgresql_packages

postgresql_%(name)s_settings:
  file.managed:
    - name: %(config_dir)s/conf.d/salt.conf
    - source: salt://{{ tpldir }}/files/salt.conf.j2
    - template: jinja
    - context: &%(name)s {cluster: %(data)s}
    - makedirs: true
    {#- PostgreSQL itself reads the file, without a server: a wrong setting would else keep the cluster from its next start. #}
    - check_cmd: sh -c '%(bin_dir)s/postgres -C port -D %(data_dir)s --config-file="$0"'
    - require:
      - cmd: postgresql_%(name)s_made

postgresql_%(name)s_hba:
  file.managed:
    - name: %(config_dir)s/pg_hba.conf
    - source: salt://{{ tpldir }}/files/pg_hba.conf.j2
    - template: jinja
    - context: *%(name)s
    - user: postgres
    - group: postgres
    - mode: "0640"
    - require:
      - cmd: postgresql_%(name)s_made

postgresql_%(name)s_service:
  service.running:
    - name: "%(service)s"
    - enable: true
    - reload: true
    - watch:
      - file: postgresql_%(name)s_settings
      - file: postgresql_%(name)s_hba

postgresql_%(name)s_restart:
  cmd.run:
    - name: |
        pending=$(cd / && runuser -u postgres -- psql -p %(port)s -Atc "SELECT pg_sleep(1); SELECT count(*) FROM pg_settings WHERE pending_restart" | tail -n 1)
        [ "$pending" = 0 ] || service %(service)s restart
    - onlyif: test %(restart)s = True
    - onchanges:
      - file: postgresql_%(name)s_settings
    - require:
      - service: postgresql_%(name)s_service

postgresql_%(name)s_hba_read:
  cmd.run:
    - name: psql -p %(port)s -Atc "SELECT 'pg_hba.conf, line ' || line_number || ', ' || error FROM pg_hba_file_rules WHERE error <> ''" | grep . && exit 1
    - onlyif: psql -p %(port)s -Atc "SELECT error FROM pg_hba_file_rules WHERE error <> ''" | grep -q .
    - runas: postgres
    - cwd: /
    - require:
      - service: postgresql_%(name)s_service
{%- endset %}

{%- for name, cluster in cfg.clusters.items() %}
{#- What the packages have, with the cluster's name and port filled in. #}
{{- a_cluster % dict(cfg | json | replace("{version}", cfg.version) | replace("{cluster}", name) | replace("{port}", cluster.port | string) | load_json,
                     name=name, data=dict(cluster, roles=0, databases=0, standby_of=0) | json, **cluster) }}
{%- endfor %}
