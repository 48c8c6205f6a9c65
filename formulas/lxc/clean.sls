{#- Take LXC and its bridge away; stopped containers stay where they are, and while one runs nothing is done. #}
{%- set cfg = salt["formula.data"]("lxc") %}

lxc_no_container_runs:
  test.fail_without_changes:
    - comment: containers run on this host; stop them first
    - onlyif: command -v lxc-ls && lxc-ls --running -1 | grep -q .

lxc_services_dead:
  service.dead:
    - names: [lxc, lxc-net]
    - enable: false
    - require:
      - test: lxc_no_container_runs

lxc_packages_removed:
  pkg.removed:
    - pkgs: {{ cfg.packages | json }}
    - require:
      - service: lxc_services_dead

lxc_files_absent:
  file.absent:
    - names: [/etc/default/lxc-net, /etc/lxc/default.conf]
    - require:
      - pkg: lxc_packages_removed
