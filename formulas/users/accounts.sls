#!py
"""
The users themselves, with their SSH keys and sudo rules.

Python, as this is a loop over data with many cases: Jinja takes several times as long to compile it.
"""

import datetime

EPOCH = datetime.date(1970, 1, 1)
# What is not handed to user.present as it stands.
OTHER = ("groups", "gid", "expires", "ssh_keys", "sudo")


def run():
    """Return the states."""
    cfg = __salt__["formula.data"]("users")
    states = {"include": [__sls__.rpartition(".")[0]]}
    for name, user in cfg["users"].items():
        states[f"users_user_{name}"] = {"user.present": account(name, user, cfg["groups"])}
        states.update(access(name, user, cfg["sudoers_dir"]))
    return states


def arguments(**named):
    """Return the arguments of a state as Salt takes them."""
    return [{key: value} for key, value in named.items()]


def account(name, user, made):
    """Return the arguments of the account ``name``; ``made`` are the groups that the pillar makes."""
    found = {"name": name, **{key: value for key, value in user.items() if key not in OTHER}}
    # Older Salt fails a trial run on groups that are made above (saltstack/salt#68110): those are "optional".
    found["groups"] = [one for one in user["groups"] if one not in made]
    found["optional_groups"] = [one for one in user["groups"] if one in made]
    if "gid" in user:
        found["gid"] = made.get(user["gid"], {}).get("gid", user["gid"])
    if "expires" in user:
        found["expire"] = days(user["expires"])
    needed = [one for one in (user.get("gid"), *user["groups"]) if one in made]
    return arguments(**found, require=[{"group": f"users_group_{one}"} for one in needed])


def days(day):
    """Return the day as the system's file of passwords has it: since 1970, and -1 for never."""
    return -1 if day == "never" else (datetime.date.fromisoformat(day) - EPOCH).days


def access(name, user, sudoers):
    """Return the states of the keys and of the sudo rules of the user ``name``."""
    states, there = {}, {"user": f"users_user_{name}"}
    if "ssh_keys" in user:
        keys = arguments(user=name, ssh_keys=user["ssh_keys"], require=[{"pkg": "users_ssh"}, there])
        states[f"users_ssh_{name}"] = {"ssh_auth.manage": keys}
    rules = {"name": f"{sudoers}/salt-{name}"}
    if user["sudo"]:
        rules |= {"contents": ["# Managed by Salt.", *(f"{name} {rule}" for rule in user["sudo"])], "mode": "0440"}
        rules |= {"user": "root", "group": "root", "check_cmd": "/usr/sbin/visudo -c -f"}
        rules |= {"require": [{"pkg": "users_sudo"}, there]}
    states[f"users_sudo_{name}"] = {"file.managed" if user["sudo"] else "file.absent": arguments(**rules)}
    return states
