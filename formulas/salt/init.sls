{#- Salt. A minion that restarts itself does so after its job, so that the answer still arrives. #}
{%- set cfg = salt["formula.data"]("salt") %}
{%- set pip = "%s/bin/pip install%s " % (cfg.environment, " --index-url " ~ cfg.index_url if cfg.index_url is defined else "") %}
{%- set roles = ["minion", "master", "api"] | select("in", cfg) | list %}
{%- set wheel, bin, source = cfg.extension.source.startswith("salt://"), cfg.environment ~ "/bin", cfg.extension.source %}

salt_packages:
  pkg.installed:
    - pkgs: {{ (cfg.build_packages if cfg.install == "pip" else roles | map("extract", cfg.packages) | list if cfg.install == "packages" else []) | json }}

salt_environment:
  cmd.run:
    - name: python3 -m venv {{ cfg.environment }} && {{ pip }}'salt{{ cfg.version }}' cherrypy
    - unless: {{ bin }}/python -m pip show salt{{ " | grep -qx 'Version: %s'" % cfg.version[2:] if cfg.version.startswith("==") }}
    - onlyif: {{ "true" if cfg.install == "pip" else "false" }}
    - require:
      - pkg: salt_packages

salt_extension:
  {{ "file.managed" if wheel else "test.nop" }}:
    - name: /var/cache/salt-extension/{{ source.rpartition("/")[2] }}
    - source: {{ source if wheel else "" }}
    - makedirs: true
  cmd.run:
    - name: {{ pip }}{{ "--force-reinstall --no-deps /var/cache/salt-extension/" ~ source.rpartition("/")[2] if wheel else "'%s%s'" % (source, cfg.extension.extras and "[%s]" % cfg.extension.extras | join(",") or "") }}
    - unless: {{ bin }}/python -c 'import saltext_logilab'
    - onlyif: {{ "true" if cfg.extension.enabled and cfg.install != "none" else "false" }}
    - require:
      - cmd: salt_environment

{%- for role in roles %}

salt_{{ role }}_config:
  file.serialize:
    - name: /etc/salt/{{ "minion" if role == "minion" else "master" }}.d/salt-formula-{{ role }}.conf
    - serializer: yaml
    - makedirs: true
    - mode: "0640"
    - dataset: {{ (dict({"master": cfg.minion.masters}, **dict({"id": cfg.minion.id} if "id" in cfg.minion else {}, **cfg.minion.config)) if role == "minion" else
                  {"rest_cherrypy": cfg.api.config} if role == "api" else
                  dict(dict({"fileserver_backend": ["roots", "logilab_formulas"]} if cfg.master.formulas and cfg.extension.enabled else {},
                       **({"engines": [{"logilab_masters": {}}], "logilab": {"masters": cfg.master.share_keys}} if "share_keys" in cfg.master else {})), **cfg.master.config)) | json }}

salt_{{ role }}_unit:
  file.managed:
    - name: /etc/systemd/system/salt-{{ role }}.service
    - contents: |
        # Managed by Salt.
        [Unit]
        Description=salt-{{ role }}
        After=network.target
        [Service]
        Type=notify
        NotifyAccess=all
        ExecStart={{ bin }}/salt-{{ role }}
        LimitNOFILE=100000
        KillMode={{ "process" if role == "minion" else "mixed" }}
        Restart=on-failure
        TimeoutStopSec=30
        [Install]
        WantedBy=multi-user.target
    - onlyif: {{ "false" if cfg.install == "packages" else "true" }}

salt_{{ role }}_service:
  service.running:
    - name: salt-{{ role }}
    - enable: true
    - require:
      - cmd: salt_extension
    - watch:
      - file: salt_{{ role }}_config
      - file: salt_{{ role }}_unit
{%- endfor %}
