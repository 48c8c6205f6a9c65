{#- Munin: the node, and the server where it is wanted. #}
{%- set cfg = salt["formula.data"]("munin") %}
{%- set node, server = cfg.node, cfg.server %}

munin_packages:
  pkg.installed:
    - pkgs: {{ ((node.packages if node.enabled else []) + (server.packages if server.enabled else [])) | json }}

{%- if node.enabled %}

munin_node_config:
  file.managed:
    - names:
      - /etc/munin/munin-node.conf:
        - source: salt://{{ tpldir }}/files/munin-node.conf.j2
      - /etc/munin/plugin-conf.d/zz-salt:
        - source: salt://{{ tpldir }}/files/plugin-conf.j2
        - mode: "0600"
        - show_changes: false
    - template: jinja
    - context:
        node: {{ node | json }}
    - require:
      - pkg: munin_packages

munin_node_plugins_absent:
  file.absent:
    - names: {{ (node.remove_plugins or ["salt-none"]) | map("regex_replace", "^", "/etc/munin/plugins/") | list | json }}
    - require:
      - pkg: munin_packages
{%- for name, text in node.own_plugins.items() %}

munin_plugin_{{ name }}:
  file.managed:
    - name: /etc/munin/plugins/{{ name }}
    - contents: {{ text | json }}
    - mode: "0755"
    - require:
      - pkg: munin_packages
    - watch_in:
      - service: munin_node_service
{%- endfor %}
{%- for name, plugin in node.plugins.items() %}

munin_plugin_{{ name }}:
  file.symlink:
    - name: /etc/munin/plugins/{{ name }}
    - target: {{ node.plugins_dir }}/{{ plugin or name }}
    - force: true
    - require:
      - pkg: munin_packages
    - watch_in:
      - service: munin_node_service
{%- endfor %}

munin_node_service:
  service.running:
    - name: {{ node.service | json }}
    - enable: true
    - watch:
      - file: munin_node_config
      - file: munin_node_plugins_absent
{%- endif %}

munin_server_config:
  file.managed:
    - name: {{ server.config | json }}
    - source: salt://{{ tpldir }}/files/munin.conf.j2
    - template: jinja
    - context:
        server: {{ server | json }}
    - onlyif: "{{ server.enabled | json }}"
    - require:
      - pkg: munin_packages
