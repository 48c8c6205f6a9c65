{#- Take PostgreSQL away; the clusters stay, with their configuration and data. #}
{%- set cfg = salt["formula.data"]("postgresql") %}

postgresql_services_dead:
  service.dead:
    - names:
      {%- for name in cfg.clusters %}
      - {{ cfg.service | replace("{version}", cfg.version) | replace("{cluster}", name) | json }}
      {%- endfor %}

postgresql_packages_removed:
  pkg.removed:
    - pkgs: {{ cfg.packages | map("replace", "{version}", cfg.version) | list | json }}
    - require:
      - service: postgresql_services_dead
