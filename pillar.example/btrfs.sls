# Subvolumes of mounted btrfs file systems, snapshots with retention, and a timer that scrubs.
# Made from formulas/btrfs/schema.yaml, which describes every key.
btrfs:
  # File systems, by where they are mounted.
  filesystems:
    /srv:
      subvolumes:
        - data
        - data/mail
      scrub: Sun 03:00
      snapshots:
        hourly:
          subvolume: data
          when: hourly
          keep: 24
        daily:
          subvolume: data
          keep: 14
