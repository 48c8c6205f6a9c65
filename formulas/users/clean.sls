{#- Take away what init.sls made of the pillar "users": sudo rules, users (their home folders stay), groups. #}
{%- set cfg = salt["formula.data"]("users") %}

{%- for name in cfg.users %}
users_clean_sudo_{{ name }}:
  file.absent:
    - name: {{ (cfg.sudoers_dir ~ "/salt-" ~ name | replace(".", "_")) | json }}

users_clean_user_{{ name }}:
  user.absent:
    - name: {{ name | json }}
    - require:
      - file: users_clean_sudo_{{ name }}
{% endfor %}

{%- for name in cfg.groups %}
users_clean_group_{{ name }}:
  group.absent:
    - name: {{ name | json }}
    {%- for user in cfg.users %}
    {{- "\n    - require:" if loop.first }}
      - user: users_clean_user_{{ user }}
    {%- endfor %}
{% endfor %}
