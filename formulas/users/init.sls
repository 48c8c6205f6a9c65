{#- Groups and users; the users themselves follow in accounts.sls. The pillar "users" is described in schema.yaml. #}
{%- set cfg = salt["formula.data"]("users") %}
{%- if cfg.users %}
include: [.accounts]
{% endif %}

{%- for name, group in cfg.groups.items() %}
users_group_{{ name }}:
  group.present:
    - name: "{{ name }}"
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

{%- for name in cfg.absent_users %}
users_absent_sudo_{{ name }}:
  file.absent:
    - name: {{ (cfg.sudoers_dir ~ "/salt-" ~ name) | json }}

users_absent_{{ name }}:
  user.absent:
    - name: "{{ name }}"
    - require:
      - file: users_absent_sudo_{{ name }}
{% endfor %}

{%- for name in cfg.absent_groups %}
users_absent_group_{{ name }}:
  group.absent:
    - name: "{{ name }}"
    {%- for user in cfg.absent_users %}
    {{- "\n    - require:" if loop.first }}
      - user: users_absent_{{ user }}
    {%- endfor %}
{% endfor %}
