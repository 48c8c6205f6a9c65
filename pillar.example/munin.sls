# Munin, the node that measures and the server that collects and draws.
# Made from formulas/munin/schema.yaml, which describes every key.
munin:
  # The node on this machine.
  node:
    allow:
      - 192.0.2.0/24
    plugins:
      if_eth0: if_
      swap: ''
  # The server that collects and draws.
  server:
    enabled: true
    hosts:
      example;here:
        address: 127.0.0.1
