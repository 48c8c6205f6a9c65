{#- Take libvirt away; guests and pools stay as they are on disk, and while a guest runs nothing is done. #}
{%- set cfg = salt["formula.data"]("libvirt") %}

libvirt_no_guest_runs:
  test.fail_without_changes:
    - comment: guests run on this host; stop or move them first
    - onlyif: command -v virsh && virsh -c {{ cfg.uri }} list --name | grep -q .

libvirt_networks_stopped:
  cmd.run:
    - name: virsh -c {{ cfg.uri }} net-list --name | xargs -r -n 1 virsh -c {{ cfg.uri }} net-destroy
    - onlyif: command -v virsh && virsh -c {{ cfg.uri }} net-list --name | grep -q .
    - require:
      - test: libvirt_no_guest_runs

libvirt_services_dead:
  service.dead:
    - names: {{ [cfg.service ~ ".socket", cfg.service ~ "-ro.socket", cfg.service ~ "-admin.socket", cfg.service ~ "-tls.socket", cfg.service] | json }}
    - enable: false
    - require:
      - cmd: libvirt_networks_stopped

libvirt_packages_removed:
  pkg.removed:
    - pkgs: {{ cfg.packages | json }}
    - require:
      - service: libvirt_services_dead

libvirt_files_absent:
  file.absent:
    - names: [/etc/libvirt/salt, /etc/pki/libvirt, /etc/pki/qemu]
    - require:
      - pkg: libvirt_packages_removed
