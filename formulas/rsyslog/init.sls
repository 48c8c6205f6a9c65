{#- rsyslog: receiving, forwarding, both also over TLS. #}
{%- set cfg = salt["formula.data"]("rsyslog") %}
{%- set tls = cfg.get("tls", {}) %}

rsyslog_packages:
  pkg.installed:
    - pkgs: {{ (cfg.packages + (cfg.tls_packages if tls else [])) | json }}

{%- for name in ("ca", "certificate", "key") if tls %}

rsyslog_tls_{{ name }}:
  file.managed:
    - name: {{ tls.folder }}/{{ name }}.pem
    - contents: {{ tls[name] | json }}
    - group: {{ cfg.group | json }}
    - mode: "0640"
    - dir_mode: "0750"
    - makedirs: true
    - show_changes: false
    - require:
      - pkg: rsyslog_packages
    - require_in:
      - file: rsyslog_config
    - watch_in:
      - service: rsyslog_service
{%- endfor %}

rsyslog_work_dir:
  file.directory:
    - name: {{ cfg.work_dir | json }}
    - mode: "0700"
    - require:
      - pkg: rsyslog_packages

rsyslog_config:
  file.managed:
    - name: {{ cfg.config | json }}
    - source: salt://{{ tpldir }}/files/salt.conf.j2
    - template: jinja
    - context:
        cfg: {{ dict(cfg, tls={"folder": tls.get("folder", "")}) | json }}
    - check_cmd: rsyslogd -N1 -f
    - require:
      - file: rsyslog_work_dir

rsyslog_old_files:
  file.managed:
    - name: /etc/cron.daily/salt-rsyslog
    - contents: |
        #!/bin/sh
        # Managed by Salt: what was received and is no longer written to.
        days={{ cfg.server.keep_days }}
        [ "$days" -eq 0 ] || [ ! -d '{{ cfg.server.folder }}' ] || find '{{ cfg.server.folder }}' -type f -mtime "+$days" -delete
    - mode: "0755"
    - makedirs: true

rsyslog_service:
  service.running:
    - name: {{ cfg.service | json }}
    - enable: true
    - watch:
      - file: rsyslog_config
