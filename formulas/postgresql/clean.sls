{#- Take PostgreSQL away; the clusters stay, with their configuration and data. #}
{%- set cfg = salt["formula.data"]("postgresql") %}

postgresql_services_dead:
  service.dead:
    - names: {{ cfg.clusters | map("regex_replace", "(.+)", cfg.service | replace("{version}", cfg.version) | replace("{cluster}", "\\1")) | list | json }}

postgresql_packages_removed:
  pkg.removed:
    - pkgs: {{ cfg.packages | json | replace("{version}", cfg.version) }}
    - require:
      - service: postgresql_services_dead
