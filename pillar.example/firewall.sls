# A packet filter of one nftables table; other tables, such as those of Docker or libvirt, are not touched.
# Made from formulas/firewall/schema.yaml, which describes every key.
firewall:
  # Named sets of addresses and networks of one family, for use in from as @NAME.
  addresses:
    office:
      - 192.0.2.0/24
  # What is accepted, by a name that stands as a comment in the ruleset.
  allow:
    ssh:
      ports:
        - 22
      from:
        - '@office'
        - 2001:db8::/32
      limit: 10/minute
    web:
      ports:
        - 80
        - 443
    salt:
      ports:
        - 4505-4506
  # What is dropped before anything is allowed, by name.
  deny:
    pest:
      from:
        - 203.0.113.0/24
  # Log what is dropped, at most ten lines a minute.
  log_denied: true
