# A small site: two masters, a Docker host, a hypervisor, a database, a web front, and a machine for services.
# The names of formulas and of their example pillars are the same, so this is a top file for states as well.
base:
  "*":
    - users
    - firewall
  "paris or nantes":
    - match: compound
    - salt
  "docker*":
    - docker
    - rsyslog
  "hypervisor*":
    - libvirt
    - btrfs
  "db*":
    - postgresql
    - munin
  "web*":
    - haproxy
  "services*":
    - openldap
    - nagios
    - graphite
    - lxc
