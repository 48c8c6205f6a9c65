{#- libvirtd: settings, TLS, networks, pools. #}
{%- set cfg = salt["formula.data"]("libvirt") %}

libvirt_packages:
  pkg.installed:
    - pkgs: {{ cfg.packages | json }}

libvirt_settings:
  file.managed:
    - names:
      - /etc/libvirt/libvirtd.conf:
        - context: {settings: {{ cfg.daemon | json }}, tls: {tls_allowed_dn_list: {{ cfg.get("tls", {}).get("allowed", []) | json }}}}
      - /etc/libvirt/qemu.conf:
        - context: {settings: {{ cfg.qemu | json }}, tls: {{ '{migrate_tls_x509_verify: 1, default_tls_x509_cert_dir: /etc/pki/qemu}' if 'tls' in cfg else '{}' }}}
    - source: salt://{{ tpldir }}/files/settings.conf.j2
    - template: jinja
    - mode: "0600"
    - require:
      - pkg: libvirt_packages
{%- if "tls" in cfg %}

libvirt_tls:
  file.managed:
    - names:
      - /etc/pki/CA/cacert.pem: &ca [{contents: {{ cfg.tls.ca | json }}}, &all {mode: "0644"}]
      - /etc/pki/qemu/ca-cert.pem: *ca
      - /etc/pki/libvirt/servercert.pem: &certificate [{contents: {{ cfg.tls.certificate | json }}}, *all]
      - /etc/pki/libvirt/clientcert.pem: *certificate
      - /etc/pki/qemu/server-cert.pem: *certificate
      - /etc/pki/qemu/client-cert.pem: *certificate
      - /etc/pki/libvirt/private/serverkey.pem: &key [&secret {contents: {{ cfg.tls.key | json }}}, {mode: "0600"}]
      - /etc/pki/libvirt/private/clientkey.pem: *key
      - /etc/pki/qemu/server-key.pem: &guests [*secret, {mode: "0640"}, {group: {{ cfg.qemu_group | json }}}]
      - /etc/pki/qemu/client-key.pem: *guests
    - group: root
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

{#- The states of a network or a pool, filled in below: as text they cost Jinja next to nothing. #}
{%- set a_thing %}

libvirt_%(kind)s_%(name)s:
  file.managed:
    - name: /etc/libvirt/salt/%(kind)s-%(name)s.xml
    - source: salt://{{ tpldir }}/files/%(kind)s.xml.j2
    - template: jinja
    - context: {name: "%(name)s", it: %(it)s}
    - makedirs: true
  cmd.run:
    - name: virsh -c %(uri)s %(kind)s-define /etc/libvirt/salt/%(kind)s-%(name)s.xml && touch /etc/libvirt/salt/%(kind)s-%(name)s.done
    - unless: >-
        test -z "$(find /etc/libvirt/salt/%(kind)s-%(name)s.xml -newer /etc/libvirt/salt/%(kind)s-%(name)s.done 2>&1)" && virsh -c %(uri)s %(kind)s-info %(name)s
    - require:
      - service: libvirt_service
      - file: libvirt_%(kind)s_%(name)s

libvirt_%(kind)s_%(name)s_state:
  cmd.run:
    - name: %(prepare)svirsh -c %(uri)s %(kind)s-%(start)s %(name)s
    - %(unless)s: virsh -c %(uri)s %(kind)s-list --name | grep -qx '%(name)s *'
    - require:
      - cmd: libvirt_%(kind)s_%(name)s

libvirt_%(kind)s_%(name)s_autostart:
  cmd.run:
    - name: virsh -c %(uri)s %(kind)s-autostart %(name)s%(option)s
    - unless: >-
        virsh -c %(uri)s %(kind)s-info %(name)s | grep -q 'Autostart:  *%(yes)s'
    - require:
      - cmd: libvirt_%(kind)s_%(name)s_state
{%- endset %}
{%- for kind, things, prepare in (("net", cfg.networks, ""), ("pool", cfg.pools, "mkdir -p '%(path)s' && ")) %}{% for name, it in things.items() %}
{{- a_thing % dict({"start": "start", "unless": "unless"} if it.running | default(true) else {"start": "destroy", "unless": "onlyif"},
                   kind=kind, name=name, uri=cfg.uri, it=it | json, prepare=prepare % it,
                   **({"option": "", "yes": "yes"} if it.autostart else {"option": " --disable", "yes": "no"})) }}
{%- endfor %}{% endfor %}
