{#- Take Nagios away, with its configuration. #}
{%- set cfg = salt["formula.data"]("nagios") %}

nagios_service_dead:
  service.dead:
    - name: {{ cfg.service | json }}
    - enable: false

nagios_packages_removed:
  pkg.purged:
    - pkgs: {{ cfg.packages | json }}

nagios_files_absent:
  file.absent:
    - names: {{ [cfg.objects_file, cfg.config ~ ".check"] | json }}
