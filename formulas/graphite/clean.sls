{#- Take Graphite away; the metrics stay in /var/lib/graphite. #}
{%- set cfg = salt["formula.data"]("graphite") %}

graphite_services_dead:
  service.dead:
    - names: {{ [cfg.carbon.service, "graphite-web"] | json }}
    - enable: false

graphite_packages_removed:
  pkg.removed:
    - pkgs: {{ (cfg.carbon.packages + cfg.get("web", {}).get("packages", [])) | json }}

graphite_files_absent:
  file.absent:
    - names: {{ [cfg.carbon.config_dir, cfg.get("web", {}).get("config", "/etc/graphite/local_settings.py"), "/etc/systemd/system/graphite-web.service"] | json }}
