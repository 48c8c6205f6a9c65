{#- Groups, users, their SSH keys and sudo rules. The pillar "users" is described in schema.yaml. #}
{%- set cfg = salt["formula.data"]("users") %}

{%- for name, group in cfg.groups.items() %}
users_group_{{ name }}:
  group.present:
    - name: {{ name | json }}
    {{ group | dict_to_sls_yaml_params | indent }}
{% endfor %}

{%- if cfg.users.values() | selectattr("sudo") | list %}
users_sudo:
  pkg.installed:
    - name: {{ cfg.sudo_package | json }}
{% endif %}

{%- if cfg.users.values() | selectattr("ssh_keys", "defined") | list %}
users_ssh:
  pkg.installed:
    - name: {{ cfg.ssh_package | json }}
    - reload_modules: true
{% endif %}

{%- for name, user in cfg.users.items() %}
{%- set dropin = cfg.sudoers_dir ~ "/salt-" ~ name | replace(".", "_") %} {#- sudo reads no file with a dot #}
users_user_{{ name }}:
  user.present:
    - name: {{ name | json }}
    - remove_groups: {{ user.remove_groups | json }}
    {#- Older Salt fails a trial run on groups that are made above (saltstack/salt#68110): those are "optional". #}
    - groups: {{ user.groups | reject("in", cfg.groups) | list | json }}
    - optional_groups: {{ user.groups | select("in", cfg.groups) | list | json }}
    {%- if user.gid is defined %}
    - gid: {{ cfg.groups.get(user.gid, {}).get("gid", user.gid) | json }}
    {%- endif %}
    {%- for key, value in user.items() if key not in ("remove_groups", "groups", "gid", "ssh_keys", "sudo") %}
    - {{ key }}: {{ value | json }}
    {%- endfor %}
    {%- for group in [user.get("gid")] + user.groups if group in cfg.groups %}
    {{- "\n    - require:" if loop.first }}
      - group: users_group_{{ group }}
    {%- endfor %}
{%- if user.ssh_keys is defined %}

users_ssh_{{ name }}:
  ssh_auth.manage:
    - user: {{ name | json }}
    - ssh_keys: {{ user.ssh_keys | json }}
    - require:
      - pkg: users_ssh
      - user: users_user_{{ name }}
{%- endif %}

users_sudo_{{ name }}:
{%- if user.sudo %}
  file.managed:
    - name: {{ dropin | json }}
    - contents:
      - "# Managed by Salt."
      {%- for rule in user.sudo %}
      - {{ (name ~ " " ~ rule) | json }}
      {%- endfor %}
    - user: root
    - group: root
    - mode: "0440"
    - check_cmd: /usr/sbin/visudo -c -f
    - require:
      - pkg: users_sudo
      - user: users_user_{{ name }}
{%- else %}
  file.absent:
    - name: {{ dropin | json }}
{%- endif %}
{% endfor %}

{%- for name in cfg.absent_users %}
users_absent_sudo_{{ name }}:
  file.absent:
    - name: {{ (cfg.sudoers_dir ~ "/salt-" ~ name | replace(".", "_")) | json }}

users_absent_{{ name }}:
  user.absent:
    - name: {{ name | json }}
    - require:
      - file: users_absent_sudo_{{ name }}
{% endfor %}

{%- for name in cfg.absent_groups %}
users_absent_group_{{ name }}:
  group.absent:
    - name: {{ name | json }}
    {%- for user in cfg.absent_users %}
    {{- "\n    - require:" if loop.first }}
      - user: users_absent_{{ user }}
    {%- endfor %}
{% endfor %}
