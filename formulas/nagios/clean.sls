{#- Take Nagios away, with its configuration and its pages; Apache stays. #}
{%- set cfg = salt["formula.data"]("nagios") %}

nagios_service_dead:
  service.dead:
    - name: {{ cfg.service | json }}
    - enable: false

nagios_packages_removed:
  pkg.purged:
    - pkgs: {{ (cfg.packages + (cfg.web.packages if cfg.web.users else [])) | json }}

nagios_files_absent:
  file.absent:
    - names: {{ [cfg.objects_file, cfg.config ~ ".check", cfg.web.passwords, cfg.web.access] | json }}
