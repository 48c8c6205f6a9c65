{#- Take the Engine away; images, containers and volumes stay in its data root. #}
{%- set cfg = salt["formula.data"]("docker") %}

docker_services_dead:
  service.dead:
    - names: {{ ["salt-docker-prune.timer", cfg.service, "docker.socket"] | json }}
    - enable: false

docker_packages_removed:
  pkg.removed:
    - pkgs: {{ cfg.packages | json }}
    - require:
      - service: docker_services_dead

docker_files_absent:
  file.absent:
    - names: {{ [cfg.config, "/root/.docker/config.json", "/etc/systemd/system/salt-docker-prune.timer", "/etc/systemd/system/salt-docker-prune.service"] | json }}
