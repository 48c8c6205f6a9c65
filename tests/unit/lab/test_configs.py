"""From a plan to configurations."""

from pathlib import Path

from saltext_logilab.lab import configs, plan
from saltext_logilab.lab.plan import Plan, Ports, Wish

FOLDER = Path("/lab")


def planned(kind: str = "hot-hot", short: str = "", **wish: object) -> Plan:
    made = plan.members(Wish(**wish), "127.1.2", "3008")  # type: ignore[arg-type]
    return Plan(
        "id", made, "127.1.2", Ports(4505, 4506, 4507), kind, "salt", short, {"timeout": 9}, {"log_level": "debug"}
    )


def master(made: Plan) -> dict[str, object]:
    return configs.master(FOLDER, made, made.masters[0], formulas=Path("/formulas"))


def test_master() -> None:
    """A master listens on its own address, serves the lab's files before the formulas, and has the engine."""
    values = master(planned())
    assert (values["interface"], values["publish_port"], values["ret_port"]) == ("127.1.2.1", 4505, 4506)
    assert values["user"] == "salt"
    assert values["file_roots"] == {"base": ["/lab/srv/salt", "/formulas"]}
    assert values["engines"] == [{"logilab_masters": {}}]
    assert values["logilab"] == {
        "state_dir": "/lab/paris/root/state",
        "masters": {"name": "paris", "listen": "127.1.2.1:4507"},
    }


def test_single_master() -> None:
    """A master without others has no engine, and its minions no way to choose."""
    made = planned(masters=("paris",))
    assert "engines" not in master(made)
    assert "master_type" not in configs.minion(FOLDER, made, made.minions[0], user="me")


def test_minion() -> None:
    """A minion knows all masters, hot-hot or one after the other."""
    made = planned()
    values = configs.minion(FOLDER, made, made.minions[0], user="me")
    assert values["master"] == ["127.1.2.1", "127.1.2.2"]
    assert (values["master_type"], values["user"], values["id"]) == ("str", "me", "m1")
    failover = configs.minion(FOLDER, planned("failover"), made.minions[0], user="me")
    assert failover["master_type"] == "failover"


def test_options_of_the_wish_win() -> None:
    """Options that somebody asks for override those of the lab."""
    made = planned()
    assert master(made)["timeout"] == 9
    assert configs.minion(FOLDER, made, made.minions[0], user="me")["log_level"] == "debug"


def test_every_path_lies_below_root_dir() -> None:
    """Salt puts root_dir before folders that are not below it, so the sockets' folder is, by the short link too."""
    for made in (planned(), planned(short="/tmp/salt-lab-x")):
        for values in (master(made), configs.minion(FOLDER, made, made.minions[0], user="me")):
            for key in ("pki_dir", "cachedir", "sock_dir", "pidfile", "log_file"):
                assert str(values[key]).startswith(f"{values['root_dir']}/"), key
    assert str(master(planned(short="/tmp/salt-lab-x"))["sock_dir"]) == "/tmp/salt-lab-x/paris/root/run"


def test_length_of_socket_paths() -> None:
    """A folder is short enough when the longest name and Salt's own sockets fit in what the kernel takes."""
    assert configs.fits(Path("/tmp/lab"), ["paris", "m1"])
    assert not configs.fits(Path("/tmp") / ("x" * 60), ["paris"])
    assert not configs.fits(Path("/tmp/lab"), ["m" * 64])
