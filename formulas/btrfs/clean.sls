{#- Take the timers away; subvolumes and snapshots stay. #}

btrfs_timers_absent:
  cmd.run:
    - name: cd /etc/systemd/system && systemctl disable --now $(ls -d salt-btrfs-*.timer) && rm -f /etc/systemd/system/salt-btrfs-*
    - onlyif: ls /etc/systemd/system/salt-btrfs-*

btrfs_program_absent:
  file.absent:
    - name: /usr/local/sbin/salt-btrfs-snapshot
    - require:
      - cmd: btrfs_timers_absent
