# Unix groups and users, their SSH keys and their sudo rules.
# Made from formulas/users/schema.yaml, which describes every key.
users:
  # Groups that exist, by name.
  groups:
    deployers:
      gid: 2100
  # Users that exist, by name.
  users:
    alice:
      uid: 2001
      fullname: Alice Example
      shell: /bin/bash
      groups:
        - deployers
      ssh_keys:
        - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice@example
      sudo:
        - 'ALL=(root) NOPASSWD: /bin/true'
    carol:
      expires: '2031-12-31'
      maxdays: 90
      warndays: 14
    deploy:
      system: true
      home: /srv/deploy
      gid: deployers
  # Users that are removed, with their sudo rules; their home folders stay.
  absent_users:
    - mallory
  # Groups that are removed, after the users.
  absent_groups:
    - interns
