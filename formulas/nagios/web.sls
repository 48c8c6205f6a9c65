{#- The web pages, behind Apache, for the users of the pillar alone. #}
{%- set cfg = salt["formula.data"]("nagios") %}

include: [{{ tpldot }}]

{#- Words in the form %(…)s are keys of cfg.web, and those that are given here. #}
{%- filter format(see=cfg.web.see_all | join(",") or "-", command=cfg.web.commands | join(",") or "-", nagios=cfg.config,
                  owner=cfg.group, external=cfg.settings.check_external_commands | default(1), **cfg.web) %}

nagios_web_packages:
  pkg.installed:
    - pkgs: [%(server)s, {{ cfg.web.packages | join(", ") }}]
    - require:
      - pkg: nagios_packages

nagios_web_commands:
  file.keyvalue:
    - name: "%(nagios)s"
    - key: check_external_commands
    - value: "%(external)s"
    - append_if_not_found: true
    - require:
      - file: nagios_settings
    - watch_in:
      - service: nagios_service

{#- Nagios makes its pipe of commands with the group of this folder; one that is there already is given to it. #}
nagios_web_pipe:
  file.directory:
    - names:
      - %(pipe_dir)s/..: [{mode: "0750"}]
      - %(pipe_dir)s: [{mode: "2710"}]
    - user: "%(owner)s"
    - group: "%(group)s"
    - require:
      - pkg: nagios_web_packages
    - watch_in:
      - service: nagios_service

nagios_web_pipe_group:
  cmd.run:
    - name: chgrp %(group)s %(pipe_dir)s/nagios.cmd
    - onlyif: find %(pipe_dir)s -type p ! -group %(group)s | grep -q .
    - require:
      - file: nagios_web_pipe

nagios_web_users:
  file.managed:
    - name: "%(passwords)s"
    - contents:
      {%- for name, it in cfg.web.users.items() %}
      - "{{ name }}:{{ it.password }}"
      {%- endfor %}
    - group: "%(group)s"
    - mode: "0640"
    - show_changes: false
    - require:
      - pkg: nagios_web_packages

nagios_web_rights:
  file.keyvalue:
    - name: "%(config)s"
    - key_values:
        use_authentication: "1"
        authorized_for_all_hosts: &see "%(see)s"
        authorized_for_all_services: *see
        authorized_for_system_information: &command "%(command)s"
        authorized_for_configuration_information: *command
        authorized_for_system_commands: *command
        authorized_for_all_host_commands: *command
        authorized_for_all_service_commands: *command
    - append_if_not_found: true
    - uncomment: "#"
    - require:
      - pkg: nagios_web_packages

nagios_web_access:
  file.managed:
    - name: "%(access)s"
    - contents: |
        # Managed by Salt: it wins over what the package says of folders and files.
        <LocationMatch "^/(cgi-bin/)?nagios4?(/|$)">
          AuthType Basic
          AuthName Nagios
          AuthBasicProvider file
          AuthUserFile %(passwords)s
          Require valid-user
        </LocationMatch>
    - require:
      - file: nagios_web_users

nagios_web_cgi:
  cmd.run:
    - name: %(enable_cgi)s
    - unless: apachectl -M | grep -q '^ *cgid\?_module'
    - require:
      - pkg: nagios_web_packages

nagios_web_service:
  service.running:
    - name: "%(server)s"
    - enable: true
    - reload: true
    - watch:
      - file: nagios_web_access
      - cmd: nagios_web_cgi
{%- endfilter %}
