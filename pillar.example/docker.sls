# The Docker Engine with its daemon.json, users, registries, a timer that prunes, and ports that stay.
# Made from formulas/docker/schema.yaml, which describes every key.
docker:
  # The content of daemon.json. From version 23 on dockerd checks it before it takes effect.
  daemon:
    registry-mirrors:
      - https://mirror.example.org
  # Users of this host who may command the Engine; that makes them as mighty as root.
  users:
    - alice
  # Registries that root is logged in to, by their address.
  registries:
    registry.example.org:
      user: puller
      password: change-me
  # What is unused is removed by a timer; without this key there is none.
  prune:
    when: Sun 04:00
