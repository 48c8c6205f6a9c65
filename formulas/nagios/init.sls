{#- Nagios 4. The objects are checked in a copy of the configuration before they take effect. #}
{%- set cfg = salt["formula.data"]("nagios") %}
{{- "\ninclude: [.web]\n" if cfg.web.users }}

nagios_packages:
  pkg.installed:
    - pkgs: {{ cfg.packages | json }}

nagios_objects:
  file.managed:
    - name: "{{ cfg.objects_file }}"
    - source: salt://{{ tpldir }}/files/objects.cfg.j2
    - template: jinja
    - context:
        cfg: {{ dict(cfg, web=0) | json }}
    - group: "{{ cfg.group }}"
    - mode: "0640"
    - check_cmd: {{ cfg.config }}.check
    - require:
      - file: nagios_check

nagios_check:
  file.managed:
    - name: {{ cfg.config }}.check
    - mode: "0755"
    - contents: |
        #!/bin/sh
        # Managed by Salt: check the objects in the file $1 as if they were in their place.
        copy=$(mktemp) && trap 'rm -f "$copy"' EXIT && chmod 0644 "$1" "$copy"
        grep -v '^ *cfg_\(file\|dir\)=' {{ cfg.config }} > "$copy"
        echo "cfg_file=$1" >> "$copy"
        {{ "echo cfg_dir=%s >> $copy" % cfg.plugin_configs if cfg.plugin_configs }}
        {{ cfg.program }} -v "$copy"
    - require:
      - pkg: nagios_packages

nagios_config_files:
  file.replace:
    - name: "{{ cfg.config }}"
    - pattern: "^cfg_(file|dir)=(?!{{ cfg.objects_file }}$|{{ cfg.plugin_configs or "-" }}$)"
    - repl: "# Salt: cfg_\\1="
    - backup: false
    - require:
      - file: nagios_objects

nagios_settings:
  file.keyvalue:
    - name: "{{ cfg.config }}"
    - key_values: {{ dict(cfg.settings, cfg_file=cfg.objects_file, **({"cfg_dir": cfg.plugin_configs} if cfg.plugin_configs else {})) | json }}
    - append_if_not_found: true
    - uncomment: "#"
    - require:
      - file: nagios_config_files

{#- By itself: a service that is running and gets enabled is changed by that, and then Salt does not reload it. #}
nagios_enabled:
  service.enabled:
    - name: "{{ cfg.service }}"
    - require:
      - pkg: nagios_packages

nagios_service:
  service.running:
    - name: "{{ cfg.service }}"
    - reload: true
    - watch:
      - file: nagios_objects
      - file: nagios_config_files
      - file: nagios_settings
