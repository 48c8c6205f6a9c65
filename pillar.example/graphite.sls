# Graphite, carbon that keeps metrics and the web application that gives them back.
# Made from formulas/graphite/schema.yaml, which describes every key.
graphite:
  # The daemon that receives metrics.
  carbon:
    settings:
      cache:
        MAX_CREATES_PER_MINUTE: 500
  # The web application, run by gunicorn; without this key there is none.
  web:
    secret_key: change-me-to-something-long
