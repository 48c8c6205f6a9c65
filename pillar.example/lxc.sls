# LXC containers with their network, made of templates and configured by the pillar.
# Made from formulas/lxc/schema.yaml, which describes every key.
lxc:
  # Containers, by name; those that are not listed are left alone.
  containers:
    web1:
      options:
        - --dist
        - debian
        - --release
        - bookworm
        - --arch
        - amd64
      config:
        lxc.cgroup2.memory.max: 512M
