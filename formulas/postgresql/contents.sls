#!py
"""
What is in PostgreSQL's clusters: a copy of the primary, or roles, then databases with what belongs to them, slots, and what is to go.

Python, as these are many kinds of states with few words each: Jinja takes several times as long to compile them.
"""

# In PostgreSQL's list of default privileges, what a kind of objects is called.
KINDS = {"tables": "r", "sequences": "S", "functions": "f"}
DEFAULT = """\
psql -p {port} -d {database} -Atc 'ALTER DEFAULT PRIVILEGES FOR ROLE "{owner}" IN SCHEMA "{schema}" \
GRANT {rights} ON {objects} TO "{name}"'"""
LACKING = """\
psql -p {port} -d {database} -Atc "SELECT unnest(string_to_array('{rights}', ',')) EXCEPT SELECT privilege_type \
FROM pg_default_acl JOIN pg_namespace n ON n.oid = defaclnamespace, aclexplode(defaclacl) \
WHERE nspname = '{schema}' AND defaclobjtype = '{kind}' AND pg_get_userbyid(defaclrole) = '{owner}' \
AND pg_get_userbyid(grantee) = '{name}'" | grep -q ."""
SLOT = """psql -p {port} -Atc "SELECT pg_create_physical_replication_slot('{slot}')" """
SLOTS = """psql -p {port} -Atc "SELECT slot_name FROM pg_replication_slots" | grep -qx '{slot}'"""


def run():
    """Return the states of all clusters; a standby gets these things from its primary."""
    cfg = __salt__["formula.data"]("postgresql")
    states = {"include": [__sls__.rpartition(".")[0]]}
    for name, cluster in cfg["clusters"].items():
        states.update(standby(name, cluster, cfg) if "standby_of" in cluster else contents(name, cluster))
    return states


def standby(name, cluster, cfg):
    """Return the state that makes the cluster ``name`` a standby, before its service is looked at."""
    words = {"version": cfg["version"], "cluster": name, "port": cluster["port"]}
    data, service = (cfg[key].format(**words) for key in ("data_dir", "service"))
    arguments = {
        "source": f"salt://{__sls__.rpartition('.')[0].replace('.', '/')}/files/standby.sh",
        "args": f"{data} {service}",
        "env": cluster["standby_of"],
        "creates": f"{data}/salt-standby",
        "require": [{"file": f"postgresql_{name}_settings"}],
        "require_in": [{"service": f"postgresql_{name}_service"}],
    }
    return {f"postgresql_{name}_standby": {"cmd.script": [{key: value} for key, value in arguments.items()]}}


def contents(name, cluster):
    """Return the states of what is in the cluster ``name``, in the order in which they have to run."""
    found, port = {}, cluster["port"]
    require = [{"service": f"postgresql_{name}_service"}]
    as_postgres = {"user": "postgres", "db_user": "postgres", "db_port": port, "require": require}

    def add(what, function, **arguments):
        found[f"postgresql_{name}_{what}"] = {function: [{key: value} for key, value in arguments.items()]}

    def query(what, command, **condition):
        add(what, "cmd.run", name=command, runas="postgres", cwd="/", require=require, **condition)

    roles, databases = cluster["roles"], cluster["databases"]
    for role in members_last(roles):
        known = {**roles[role], "encrypted": "scram-sha-256", "groups": roles[role]["groups"] or None}
        add(f"role_{role}", "postgres_user.present", name=role, **known, **as_postgres)
    for database, its in databases.items():
        if "absent" not in its:
            in_database(database, its, port, as_postgres, add, query)
    for slot in cluster["slots"]:
        query(f"slot_{slot}", SLOT.format(port=port, slot=slot), unless=SLOTS.format(port=port, slot=slot))
    for kind, state, things in (("database", "postgres_database", databases), ("role", "postgres_user", roles)):
        for thing in [one for one in things if "absent" in things[one]]:
            add(f"{kind}_{thing}", f"{state}.absent", name=thing, **as_postgres)
    return found


def in_database(database, its, port, as_postgres, add, query):
    """Add the states of a database."""
    how = {key: its[key] for key in ("owner", "encoding", "template")}
    locale = {key: its["locale"] for key in ("lc_collate", "lc_ctype") if "locale" in its}
    add(f"database_{database}", "postgres_database.present", name=database, **how, **locale, **as_postgres)
    here = {"maintenance_db": database, **as_postgres}
    for extension in its["extensions"]:
        add(f"extension_{database}_{extension}", "postgres_extension.present", name=extension, **here)
    for number, grant in enumerate(its["grants"], 1):
        what = f"grant_{database}_{number}"
        add(what, "postgres_privileges.present", **{"object_name": database, **grant}, **here)
    for number, default in enumerate(its["default_privileges"], 1):
        words = {"owner": its["owner"], **default, "port": port, "database": database}
        words |= {"rights": ",".join(default["privileges"]), "kind": KINDS[default["objects"]]}
        query(f"default_{database}_{number}", DEFAULT.format(**words), onlyif=LACKING.format(**words))


def members_last(roles):
    """Return the names of the roles that are wanted, each after those of which it is a member."""
    wanted = []

    def take(role, below=()):
        if role in roles and role not in wanted and role not in below and "absent" not in roles[role]:
            for group in roles[role]["groups"]:
                take(group, (*below, role))
            wanted.append(role)

    for role in roles:
        take(role)
    return wanted
