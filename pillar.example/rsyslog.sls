# The syslog daemon rsyslog as a client that forwards, as a server that receives, both also over TLS.
# Made from formulas/rsyslog/schema.yaml, which describes every key.
rsyslog:
  # What is received from other machines; nothing unless a port is given.
  server:
    udp: 514
    tcp: 514
    keep_days: 90
  # Where messages are sent to, by name.
  forward:
    central:
      target: 192.0.2.5
      port: 10514
      select: auth,authpriv.*
  # Messages that are written to files of their own, by the file's path.
  files:
    /var/log/important.log: '*.err'
