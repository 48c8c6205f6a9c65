# The directory server slapd; its whole cn=config is made from the pillar, tried, and exchanged at once.
# Made from formulas/openldap/schema.yaml, which describes every key.
openldap:
  # Databases, by name.
  databases:
    main:
      suffix: dc=example,dc=org
      root_dn: cn=admin,dc=example,dc=org
      root_password: change-me
      overlays:
        memberof:
          objectClass: olcMemberOf
      provider: true
      entries:
        - dn: dc=example,dc=org
          attributes:
            objectClass:
              - dcObject
              - organization
            dc: example
            o: Example
        - dn: ou=people,dc=example,dc=org
          attributes:
            objectClass: organizationalUnit
            ou: people
