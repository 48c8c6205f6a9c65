{#- One nftables table; the file is checked by nft before it takes effect. #}
{%- set cfg = salt["formula.data"]("firewall") %}

firewall_package:
  pkg.installed:
    - name: {{ cfg.package | json }}

firewall_rules:
  file.managed:
    - name: {{ cfg.config | json }}
    - source: salt://{{ tpldir }}/files/nftables.conf.j2
    - template: jinja
    - context:
        cfg: {{ cfg | json }}
    - mode: "0644"
    - check_cmd: nft -c -f
    - require:
      - pkg: firewall_package

{%- if cfg.replaces %}

firewall_others:
  service.dead:
    - names: {{ cfg.replaces | json }}
    - enable: false
    - require:
      - file: firewall_rules
    - require_in:
      - service: firewall_service
{%- endif %}

firewall_service:
  service.running:
    - name: {{ cfg.service | json }}
    - enable: true
    - reload: true
    - watch:
      - file: firewall_rules
