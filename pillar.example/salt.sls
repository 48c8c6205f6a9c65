# Salt itself, minion, master and api, several masters that share their keys, and this extension.
# Made from formulas/salt/schema.yaml, which describes every key.
salt:
  # The minion; without this key there is none.
  minion:
    masters:
      - salt1.example.org
      - salt2.example.org
  # A master; without this key there is none.
  master:
    config:
      worker_threads: 8
