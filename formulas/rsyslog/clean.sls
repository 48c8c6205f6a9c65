{#- Take away what init.sls has set; rsyslog itself stays, as the system logs with it. #}
{%- set cfg = salt["formula.data"]("rsyslog") %}

rsyslog_files_absent:
  file.absent:
    - names: {{ [cfg.config, "/etc/cron.daily/salt-rsyslog", cfg.get("tls", {}).get("folder", "/etc/rsyslog-tls")] | json }}

rsyslog_service_without:
  service.running:
    - name: {{ cfg.service | json }}
    - watch:
      - file: rsyslog_files_absent
