# A hypervisor, libvirtd with its settings, pools, networks, and TLS for migration between hosts.
# Made from formulas/libvirt/schema.yaml, which describes every key.
libvirt:
  # Settings of qemu.conf, by name.
  qemu:
    max_processes: 4096
  # Networks, by name. One whose description has changed is defined anew and takes effect at its next start.
  networks:
    lab:
      address: 10.20.0.1
      dhcp_start: 10.20.0.10
      dhcp_end: 10.20.0.200
      domain: lab.example.org
  # Storage pools, by name.
  pools:
    guests:
      path: /srv/guests
