# PostgreSQL clusters with their settings, access rules, roles, databases, and streaming replication.
# Made from formulas/postgresql/schema.yaml, which describes every key.
postgresql:
  # Clusters, by name. Systems other than Debian and its kin have one, main.
  clusters:
    main:
      tuning: 25
      settings:
        listen_addresses: '*'
        log_min_duration_statement: 500ms
      hba:
        - type: local
          method: peer
        - type: host
          database: app
          user: app
          address: 0.0.0.0/0
          method: scram-sha-256
        - type: host
          database: replication
          user: standby
          address: 0.0.0.0/0
          method: scram-sha-256
      roles:
        app:
          password: change-me
          groups:
            - readers
        readers:
          login: false
        standby:
          password: change-me-too
          replication: true
      databases:
        app:
          owner: app
          extensions:
            - pg_trgm
          grants:
            - name: readers
              privileges:
                - CONNECT
            - name: readers
              object_type: schema
              object_name: public
              privileges:
                - USAGE
          default_privileges:
            - name: readers
              privileges:
                - SELECT
      slots:
        - standby1
