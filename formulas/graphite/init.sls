{#- Graphite: carbon, and the web application where it is wanted. #}
{%- set cfg = salt["formula.data"]("graphite") %}
{%- set carbon, web = cfg.carbon, cfg.get("web", {}) %}

graphite_packages:
  pkg.installed:
    - pkgs: {{ (carbon.packages + web.get("packages", [])) | json }}

graphite_settings:
  ini.options_present:
    - name: {{ carbon.config_dir }}/carbon.conf
    - separator: "="
    - sections: {{ dict({"cache": {}}, **carbon.settings) | json }}
    - require:
      - pkg: graphite_packages

graphite_rules:
  file.managed:
    - names:
      - {{ carbon.config_dir }}/storage-schemas.conf:
        - source: salt://{{ tpldir }}/files/storage-schemas.conf.j2
      - {{ carbon.config_dir }}/storage-aggregation.conf:
        - source: salt://{{ tpldir }}/files/storage-aggregation.conf.j2
    - template: jinja
    {#- Lists, as the order counts, and the filter json sorts mappings. #}
    - context:
        schemas: {{ carbon.schemas.items() | list | json }}
        aggregations: {{ carbon.aggregations.items() | list | json }}
    - require:
      - pkg: graphite_packages

graphite_enabled:
  file.keyvalue:
    - name: /etc/default/graphite-carbon
    - key: CARBON_CACHE_ENABLED
    - value: "true"
    - append_if_not_found: true
    - require:
      - pkg: graphite_packages

graphite_carbon:
  service.running:
    - name: {{ carbon.service | json }}
    - enable: true
    - watch:
      - ini: graphite_settings
      - file: graphite_rules
      - file: graphite_enabled
{%- if web %}

graphite_web_settings:
  file.managed:
    - name: {{ web.config | json }}
    - source: salt://{{ tpldir }}/files/local_settings.py.j2
    - template: jinja
    - context:
        web: {{ web | json }}
    - group: {{ web.user | json }}
    - mode: "0640"
    - show_changes: false
    - require:
      - pkg: graphite_packages

graphite_web_unit:
  file.managed:
    - name: /etc/systemd/system/graphite-web.service
    - contents: |
        # Managed by Salt.
        [Unit]
        Description=Graphite's web application
        After=network.target
        [Service]
        User={{ web.user }}
        Environment=DJANGO_SETTINGS_MODULE=graphite.settings GRAPHITE_SETTINGS_MODULE=local_settings PYTHONPATH={{ web.config.rpartition("/")[0] }}
        ExecStart=/usr/bin/gunicorn --workers {{ web.workers }} --bind {{ web.bind }} graphite.wsgi:application
        Restart=on-failure
        NoNewPrivileges=yes
        [Install]
        WantedBy=multi-user.target

graphite_web_database:
  cmd.run:
    - name: graphite-manage migrate --run-syncdb --noinput
    - runas: {{ web.user | json }}
    - cwd: /var/lib/graphite
    - onchanges:
      - pkg: graphite_packages
      - file: graphite_web_settings
    - require:
      - file: graphite_web_settings

graphite_web:
  service.running:
    - name: graphite-web
    - enable: true
    - require:
      - cmd: graphite_web_database
    - watch:
      - file: graphite_web_settings
      - file: graphite_web_unit
{%- endif %}
