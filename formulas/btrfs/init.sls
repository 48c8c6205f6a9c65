{#- btrfs: subvolumes, and timers for snapshots and scrubs. Unit names hold the path as systemd-escape writes it. #}
{%- set cfg = salt["formula.data"]("btrfs") %}

btrfs_package:
  pkg.installed:
    - name: {{ cfg.package | json }}

btrfs_program:
  file.managed:
    - name: /usr/local/sbin/salt-btrfs-snapshot
    - source: salt://{{ tpldir }}/files/snapshot.sh
    - mode: "0755"

{%- for root, it in cfg.filesystems.items() %}
{%- set jobs = {"scrub": {"when": it.scrub, "command": "/usr/bin/btrfs scrub start -B " ~ root}} if it.scrub else {} %}
{%- for name, one in it.snapshots.items() %}
{%- do jobs.update({"snapshot-" ~ name: {"when": one.when, "command": "/usr/local/sbin/salt-btrfs-snapshot %s %s %s %s %s" % (root, one.subvolume, one.folder, name, one.keep)}}) %}
{%- endfor %}
{%- for subvolume in it.subvolumes %}

btrfs_subvolume_{{ root }}_{{ subvolume }}:
  cmd.run:
    - name: btrfs subvolume create {{ root.rstrip("/") }}/{{ subvolume }}
    - unless: btrfs subvolume show {{ root.rstrip("/") }}/{{ subvolume }}
    - require:
      - pkg: btrfs_package
{%- endfor %}
{%- for name, job in jobs.items() %}
{%- set unit = "salt-btrfs-%s%s" % (name, root.rstrip("/") | replace("-", "_") | replace("/", "-")) %}

{{ unit }}:
  file.managed:
    - names:
      - /etc/systemd/system/{{ unit }}.service:
        - contents: |
            # Managed by Salt.
            [Service]
            Type=oneshot
            ExecStart={{ job.command }}
      - /etc/systemd/system/{{ unit }}.timer:
        - contents: |
            # Managed by Salt.
            [Timer]
            OnCalendar={{ job.when }}
            Persistent=true
            [Install]
            WantedBy=timers.target
  service.running:
    - name: {{ unit }}.timer
    - enable: true
    - watch:
      - file: {{ unit }}
{%- endfor %}
{%- endfor %}
