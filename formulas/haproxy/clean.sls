{#- Take HAProxy away, with its configuration and its certificates. #}
{%- set cfg = salt["formula.data"]("haproxy") %}

haproxy_service_dead:
  service.dead:
    - name: {{ cfg.service | json }}
    - enable: false

haproxy_package_removed:
  pkg.purged:
    - name: {{ cfg.package | json }}
    - require:
      - service: haproxy_service_dead

haproxy_files_absent:
  file.absent:
    - names: {{ [cfg.config, cfg.certificates_dir] | json }}
    - require:
      - pkg: haproxy_package_removed
