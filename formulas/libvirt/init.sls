{#- libvirtd: settings, TLS, networks, pools. #}
{%- set cfg = salt["formula.data"]("libvirt") %}

libvirt_packages:
  pkg.installed:
    - pkgs: {{ cfg.packages | json }}

libvirt_settings:
  file.managed:
    - names:
      - /etc/libvirt/libvirtd.conf:
        - context: {settings: {{ dict({"tls_allowed_dn_list": cfg.tls.allowed} if cfg.get("tls", {}).get("allowed") else {}, **cfg.daemon) | json }}}
      - /etc/libvirt/qemu.conf:
        - context: {settings: {{ dict({"migrate_tls_x509_verify": 1, "default_tls_x509_cert_dir": "/etc/pki/qemu"} if "tls" in cfg else {}, **cfg.qemu) | json }}}
    - source: salt://{{ tpldir }}/files/settings.conf.j2
    - template: jinja
    - mode: "0600"
    - require:
      - pkg: libvirt_packages
{%- if "tls" in cfg %}

libvirt_tls:
  file.managed:
    - names:
      {%- for path, name, mode in (("CA/cacert", "ca", "0644"), ("libvirt/servercert", "certificate", "0644"), ("libvirt/clientcert", "certificate", "0644"),
          ("libvirt/private/serverkey", "key", "0600"), ("libvirt/private/clientkey", "key", "0600"), ("qemu/ca-cert", "ca", "0644"),
          ("qemu/server-cert", "certificate", "0644"), ("qemu/client-cert", "certificate", "0644"), ("qemu/server-key", "key", "0640"), ("qemu/client-key", "key", "0640")) %}
      - /etc/pki/{{ path }}.pem:
        - contents: {{ cfg.tls[name] | json }}
        - mode: "{{ mode }}"
        - group: {{ (cfg.qemu_group if mode == "0640" else "root") | json }}
      {%- endfor %}
    - makedirs: true
    - show_changes: false
    - watch_in:
      - service: libvirt_service

libvirt_tls_socket:
  cmd.run:
    - name: systemctl stop {{ cfg.service }} && systemctl enable --now {{ cfg.tls.socket }} && systemctl start {{ cfg.service }}
    - unless: systemctl is-active {{ cfg.tls.socket }}
    - require:
      - file: libvirt_tls
      - file: libvirt_settings
    - require_in:
      - service: libvirt_service
{%- endif %}

libvirt_service:
  service.running:
    - name: {{ cfg.service | json }}
    - enable: true
    - watch:
      - file: libvirt_settings

libvirt_users:
  group.present:
    - name: {{ cfg.group | json }}
    - system: true
    - addusers: {{ cfg.users | json }}
    - require:
      - pkg: libvirt_packages

{%- for kind, things in (("net", cfg.networks), ("pool", cfg.pools)) %}{% for name, it in things.items() %}

libvirt_{{ kind }}_{{ name }}:
  file.managed:
    - name: /etc/libvirt/salt/{{ kind }}-{{ name }}.xml
    - source: salt://{{ tpldir }}/files/{{ kind }}.xml.j2
    - template: jinja
    - context: {{ {"name": name, "it": it} | json }}
    - makedirs: true
  cmd.run:
    - name: virsh -c {{ cfg.uri }} {{ kind }}-define /etc/libvirt/salt/{{ kind }}-{{ name }}.xml && touch /etc/libvirt/salt/{{ kind }}-{{ name }}.done
    - unless: >-
        test -z "$(find /etc/libvirt/salt/{{ kind }}-{{ name }}.xml -newer /etc/libvirt/salt/{{ kind }}-{{ name }}.done 2>&1)" && virsh -c {{ cfg.uri }} {{ kind }}-info {{ name }}
    - require:
      - service: libvirt_service
      - file: libvirt_{{ kind }}_{{ name }}

libvirt_{{ kind }}_{{ name }}_state:
  cmd.run:
    - name: >-
        {{ "mkdir -p %s && " % it.path if kind == "pool" else "" }}virsh -c {{ cfg.uri }} {{ kind }}-{{ "start" if it.running | default(true) else "destroy" }} {{ name }}
    - {{ "unless" if it.running | default(true) else "onlyif" }}: >-
        virsh -c {{ cfg.uri }} {{ kind }}-list --name | grep -qx '{{ name }} *'
    - require:
      - cmd: libvirt_{{ kind }}_{{ name }}

libvirt_{{ kind }}_{{ name }}_autostart:
  cmd.run:
    - name: virsh -c {{ cfg.uri }} {{ kind }}-autostart {{ name }}{{ "" if it.autostart else " --disable" }}
    - unless: >-
        virsh -c {{ cfg.uri }} {{ kind }}-info {{ name }} | grep -q 'Autostart:  *{{ "yes" if it.autostart else "no" }}'
    - require:
      - cmd: libvirt_{{ kind }}_{{ name }}_state
{%- endfor %}{% endfor %}
