{#- The Docker Engine. #}
{%- set cfg = salt["formula.data"]("docker") %}
{%- if cfg.repository is defined %}

docker_repository:
  pkgrepo.managed:
    {{ cfg.repository | dict_to_sls_yaml_params | indent }}
    - require_in:
      - pkg: docker_packages
{%- endif %}

docker_packages:
  pkg.installed:
    - pkgs: {{ cfg.packages | json }}

docker_config:
  file.serialize:
    - name: {{ cfg.config | json }}
    - dataset: {{ cfg.daemon | json }}
    - serializer: json
    {#- The option came with version 23. #}
    - check_cmd: sh -c 'dockerd --help | grep -q -- --validate || exit 0; dockerd --validate --config-file "$0"'
    - makedirs: true
    - require:
      - pkg: docker_packages

{#- systemd still tries the old file, or has given up: either would be the answer to Salt's start. #}
docker_service_no_longer_retried:
  cmd.run:
    - name: systemctl stop docker.socket {{ cfg.service }}; systemctl reset-failed docker.socket {{ cfg.service }}
    - onlyif: systemctl show --property ActiveState {{ cfg.service }} | grep -qE '=(failed|activating)'
    - onchanges:
      - file: docker_config
    - require_in:
      - service: docker_service

docker_service:
  service.running:
    - name: {{ cfg.service | json }}
    - enable: true
    - reload: {{ (not cfg.restart) | json }}
    - watch:
      - file: docker_config

docker_users:
  group.present:
    - name: docker
    - system: true
    - addusers: {{ cfg.users | json }}
    - require:
      - pkg: docker_packages
{%- if cfg.registries %}

docker_registries:
  file.serialize:
    - name: /root/.docker/config.json
    - serializer: json
    - merge_if_exists: true
    - user: root
    - mode: "0600"
    - dir_mode: "0700"
    - makedirs: true
    - show_changes: false
    - dataset:
        auths:
          {%- for address, it in cfg.registries.items() %}
          {{ address | json }}: {auth: {{ (it.user ~ ":" ~ it.password) | base64_encode | json }}}
          {%- endfor %}
{%- endif %}
{%- if cfg.prune is defined %}

docker_prune:
  file.managed:
    - names:
      - /etc/systemd/system/salt-docker-prune.service:
        - contents: |
            # Managed by Salt.
            [Service]
            Type=oneshot
            ExecStart=/usr/bin/docker system prune --force{{ " --all" if cfg.prune.all else "" }}{{ " --volumes" if cfg.prune.volumes else " --filter until=%sh" % cfg.prune.older_than_hours }}
      - /etc/systemd/system/salt-docker-prune.timer:
        - contents: |
            # Managed by Salt.
            [Timer]
            OnCalendar={{ cfg.prune.when }}
            Persistent=true
            [Install]
            WantedBy=timers.target
  service.running:
    - name: salt-docker-prune.timer
    - enable: true
    - watch:
      - file: docker_prune
{%- endif %}
{%- for name, it in cfg.ports.items() %}

docker_port_{{ name }}:
  docker_ports.reserved:
    - name: {{ name | json }}
    - container_port: {{ it.container_port }}
    - protocol: {{ it.protocol }}
{%- endfor %}
