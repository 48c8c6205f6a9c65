# An example for the formula "users"; every key is described in its schema.yaml.
users:
  groups:
    deployers:
      gid: 2100
  users:
    alice:
      uid: 2001
      fullname: Alice Example
      shell: /bin/bash
      groups: [deployers]
      ssh_keys:
        - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice@example
      sudo:
        - "ALL=(root) NOPASSWD: /bin/true"
    deploy:
      system: true
      home: /srv/deploy
      gid: deployers
  absent_users: [mallory]
  absent_groups: [interns]
