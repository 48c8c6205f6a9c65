{#- LXC: the bridge, what new containers have, and the containers. #}
{%- set cfg = salt["formula.data"]("lxc") %}
{%- set bridge = cfg.bridge %}

lxc_packages:
  pkg.installed:
    - pkgs: {{ cfg.packages | json }}

lxc_config:
  file.managed:
    - names:
      - /etc/lxc/default.conf:
        - context: {config: {{ cfg.default_config | json }}}
    - source: salt://{{ tpldir }}/files/container.conf.j2
    - template: jinja
    - require:
      - pkg: lxc_packages

lxc_bridge:
  file.managed:
    - name: /etc/default/lxc-net
    - contents: |
        # Managed by Salt.
        USE_LXC_BRIDGE="{{ bridge.enabled | lower }}"
        LXC_BRIDGE="lxcbr0"
        LXC_ADDR="{{ bridge.address }}"
        LXC_NETMASK="{{ bridge.netmask }}"
        LXC_NETWORK="{{ bridge.network }}"
        LXC_DHCP_RANGE="{{ bridge.dhcp_range }}"
        LXC_DHCP_MAX="{{ bridge.dhcp_max }}"
    - require:
      - pkg: lxc_packages
  service.{{ "running" if bridge.enabled else "dead" }}:
    - name: lxc-net
    - enable: {{ bridge.enabled | json }}
    - watch:
      - file: lxc_bridge

{%- for name, it in cfg.containers.items() %}
{%- set folder = "/var/lib/lxc/" ~ name %}

lxc_container_{{ name }}:
  cmd.run:
    - name: lxc-create -n {{ name }} -t {{ it.template }}{{ " -- " if it.options }}{{ it.options | join(" ") }}
    - creates: {{ folder }}/config
    - require:
      - file: lxc_config
      - service: lxc_bridge

lxc_config_{{ name }}:
  file.managed:
    - name: {{ folder }}/salt.conf
    - source: salt://{{ tpldir }}/files/container.conf.j2
    - template: jinja
    - context: {config: {{ dict({"lxc.start.auto": 1 if it.autostart else 0}, **it.config) | json }}}
    - require:
      - cmd: lxc_container_{{ name }}

lxc_include_{{ name }}:
  file.append:
    - name: {{ folder }}/config
    - text: lxc.include = {{ folder }}/salt.conf
    - require:
      - file: lxc_config_{{ name }}

lxc_state_{{ name }}:
  cmd.run:
    - name: {{ ("lxc-start -n %s && lxc-wait -n %s -s RUNNING -t 30" if it.running else "lxc-stop -n %s -t 30 && lxc-wait -n %s -s STOPPED -t 30") % (name, name) }}
    - unless: lxc-info -n {{ name }} -s | grep -q {{ "RUNNING" if it.running else "STOPPED" }}
    - require:
      - file: lxc_include_{{ name }}
{%- endfor %}
{%- for name in cfg.absent %}

lxc_absent_{{ name }}:
  cmd.run:
    - name: lxc-destroy -f -n {{ name }}
    - onlyif: lxc-info -n {{ name }}
    - require:
      - pkg: lxc_packages
{%- endfor %}
