# Salt itself, minion, master and api, several masters that share their keys, and this extension.
# Made from formulas/salt/schema.yaml, which describes every key.
salt:
  # The minion; without this key there is none.
  minion:
    masters:
      - paris.example.org
      - nantes.example.org
  # A master; without this key there is none.
  master:
    config:
      worker_threads: 8
    share_keys:
      listen: 0.0.0.0:4507
      address: '{fqdn}:4507'
