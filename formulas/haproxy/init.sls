{#- HAProxy; the configuration is checked by haproxy itself before it takes effect. #}
{%- set cfg = salt["formula.data"]("haproxy") %}

haproxy_package:
  pkg.installed:
    - name: {{ cfg.package | json }}

{%- for name, pem in cfg.certificates.items() %}
haproxy_certificate_{{ name }}:
  file.managed:
    - name: {{ (cfg.certificates_dir ~ "/" ~ name) | json }}
    - contents: {{ pem | json }}
    - mode: "0600"
    - dir_mode: "0700"
    - makedirs: true
    - show_changes: false
    - require:
      - pkg: haproxy_package
    - require_in:
      - file: haproxy_config
    - watch_in:
      - service: haproxy_service
{% endfor %}

haproxy_config:
  file.managed:
    - name: {{ cfg.config | json }}
    - source: salt://{{ tpldir }}/files/haproxy.cfg.j2
    - template: jinja
    - context:
        cfg: {{ cfg | json }}
    - user: root
    - group: {{ cfg.user | json }}
    - mode: "0640"
    - show_changes: false
    - check_cmd: haproxy -c -f
    - require:
      - pkg: haproxy_package

haproxy_service:
  service.running:
    - name: {{ cfg.service | json }}
    - enable: true
    - reload: true
    - watch:
      - file: haproxy_config
