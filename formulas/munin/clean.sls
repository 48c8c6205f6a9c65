{#- Take Munin away; what the server has collected stays in /var/lib/munin. #}
{%- set cfg = salt["formula.data"]("munin") %}

munin_service_dead:
  service.dead:
    - name: {{ cfg.node.service | json }}
    - enable: false

munin_packages_removed:
  pkg.removed:
    - pkgs: {{ (cfg.node.packages + cfg.server.packages) | reject("in", ["cron", "cronie"]) | list | json }}

munin_files_absent:
  file.absent:
    - names: {{ [cfg.server.config, "/etc/munin/munin-node.conf", "/etc/munin/plugin-conf.d/zz-salt", "/etc/munin/plugins"] | json }}
