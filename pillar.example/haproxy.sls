# The load balancer HAProxy, with backends from the pillar, from the mine and from the registry of ports.
# Made from formulas/haproxy/schema.yaml, which describes every key.
haproxy:
  # Where HAProxy listens, by name.
  frontends:
    web:
      bind:
        - '*:80'
      default_backend: app
      acl:
        is_api: path_beg /api
      use_backend:
        - api if is_api
  # Where requests go, by name.
  backends:
    app:
      options:
        - option httpchk GET /
      servers:
        app1:
          address: 127.0.0.1:8081
        app2:
          address: 127.0.0.1:8082
          options: backup
    api:
      servers:
        api1:
          address: 127.0.0.1:8081
  # The page of statistics; none without bind.
  stats:
    bind: 127.0.0.1:8404
    user: admin
    password: change-me
