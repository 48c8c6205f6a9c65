{#- Let everything pass: the table goes, other tables stay. #}
{%- set cfg = salt["formula.data"]("firewall") %}

firewall_service_disabled:
  service.disabled:
    - name: {{ cfg.service | json }}

firewall_table_absent:
  cmd.run:
    - name: nft delete table inet {{ cfg.table }}
    - onlyif: nft list table inet {{ cfg.table }}

firewall_rules_absent:
  file.absent:
    - name: {{ cfg.config | json }}
