# Nagios 4 with objects from the pillar and hosts from the mine; Nagios checks them before they take effect.
# Made from formulas/nagios/schema.yaml, which describes every key.
nagios:
  # Settings of nagios.cfg, by name.
  settings:
    service_check_timeout: 30
  # Objects by their type, then by name; of services the key is HOSTS/DESCRIPTION.
  objects:
    command:
      check_port:
        command_line: /usr/lib/nagios/plugins/check_tcp -H $HOSTADDRESS$ -p $ARG1$
    host:
      localhost:
        address: 127.0.0.1
    service:
      localhost/SSH:
        check_command: check_port!22
  # The web pages, with Apache, for the users here alone; without a user nothing is set up for them. TLS is
  # Apache's.
  web:
    commands:
      - alice
    users:
      alice:
        password: $2y$05$O/I8s1w2uunKPl6n1s03jeptThdE1m3r52sH33mysYbyydhDxpmCq
      bob:
        password: $2y$05$9a9LOkXOGdUo0Bn0qE3uJeabFcsog.m7tZr1J8MSrM5N6Fg1mxI2a
