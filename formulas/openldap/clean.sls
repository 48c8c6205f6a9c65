{#- Take slapd away; databases, configuration and certificates stay. #}
{%- set cfg = salt["formula.data"]("openldap") %}

openldap_service_dead:
  service.dead:
    - name: {{ cfg.service | json }}
    - enable: false

openldap_packages_removed:
  pkg.removed:
    - pkgs: {{ cfg.packages | json }}
    - require:
      - service: openldap_service_dead
