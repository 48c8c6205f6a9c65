"""The formulas on the file server, and the execution module: as a minion sees them, without daemons."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import salt.exceptions
import salt.fileclient
import salt.fileserver
import salt.loader
from saltfactories.utils.functional import Loaders

from saltext_logilab.formula.packaged import formulas
from tests.support.formulas import BACKENDS, DEBIAN, Renderer, example

Server = Callable[..., salt.fileserver.Fileserver]


@pytest.fixture
def serve(new_master_opts: Callable[..., dict[str, Any]]) -> Server:
    """Return a maker of file servers with settings of this area: ``serve(mountpoint="salt://logilab")``."""
    return lambda **settings: salt.fileserver.Fileserver(
        new_master_opts({**BACKENDS, "logilab": {"formula": settings}})
    )


def served(server: salt.fileserver.Fileserver, saltenv: str = "base") -> set[str]:
    """Return the files of ``saltenv``."""
    return set(server.file_list({"saltenv": saltenv}))


def chunk(server: salt.fileserver.Fileserver, path: str, loc: int = 0) -> Any:
    """Return what the server sends of ``path``."""
    return server.serve_file({"path": path, "saltenv": "base", "loc": loc})["data"]


def root_of(server: salt.fileserver.Fileserver) -> Path:
    """Return the user's own folder of files."""
    return Path(server.opts["file_roots"]["base"][0])


def test_every_file_is_served_as_it_is(serve: Server) -> None:
    """Each file of each formula is listed, found, hashed and sent; caches of Python are not."""
    server = serve()
    files = {str(path.relative_to(formulas())) for path in formulas().glob("[a-z]*/**/*") if path.is_file()}
    wanted = {file for file in files if "__pycache__" not in file}
    assert {file for file in served(server) if not file.startswith("_")} == wanted
    for file in wanted:
        assert chunk(server, file) == (formulas() / file).read_bytes()
        assert server.file_hash({"path": file, "saltenv": "base"})["hsum"]
    assert {"users", "users/files"} & set(server.dir_list({"saltenv": "base"})) >= {"users"}


@pytest.mark.parametrize(
    "path", ["../setup.cfg", "users/../../README.md", "/etc/passwd", "pillar.schema.json", "users"]
)
def test_nothing_else_is_served(serve: Server, path: str) -> None:
    """A path that leads out, a folder, and what is no formula's are not found."""
    assert serve().find_file(path, "base")["path"] == ""


def test_the_users_file_wins(serve: Server) -> None:
    """A file of the same path in file_roots is served in the place of the formula's."""
    server = serve()
    own = root_of(server) / "users/init.sls"
    own.parent.mkdir(parents=True)
    own.write_text("own: test.nop\n")
    assert server.find_file("users/init.sls", "base")["path"] == str(own)
    assert server.find_file("users/schema.yaml", "base")["back"] == "logilab_formulas"


def test_include_and_exclude(serve: Server) -> None:
    """Globs choose the formulas; what travels to minions is always there."""
    tops = {file.partition("/")[0] for file in served(serve(include=["u*"]))}
    assert tops == {"users", "_modules", "_utils"}
    assert "users" not in {file.partition("/")[0] for file in served(serve(exclude=["us*"]))}
    assert serve(exclude=["users"]).find_file("users/init.sls", "base")["path"] == ""


def test_a_mountpoint(serve: Server, new_minion_opts: Callable[..., dict[str, Any]]) -> None:
    """The formulas stand below the mountpoint, and a minion that was not told finds their data all the same."""
    server = serve(mountpoint="salt://logilab/f")
    assert "logilab/f/users/init.sls" in served(server)
    assert server.find_file("users/init.sls", "base")["path"] == ""
    assert "_modules/formula.py" in served(server)
    opts = new_minion_opts({**BACKENDS, "logilab": {"formula": {"mountpoint": "salt://logilab/f"}}})
    rendered = Renderer(opts)("logilab.f.users", {"users": example("users")})
    assert rendered.errors == []
    assert "users_user_alice" in rendered


def test_saltenvs(serve: Server) -> None:
    """The formulas are in the environments that the settings name, and in no other."""
    server = serve(saltenvs=["dev", "prod"])
    assert set(server.envs()) >= {"dev", "prod"}
    assert served(server) == set()
    assert "users/init.sls" in served(server, "dev")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"includes": ["a"]}, "logilab:formula:includes is not a known setting"),
        ({"include": "a"}, "logilab:formula:include must be a list, not 'a'"),
        ({"saltenvs": [1]}, "logilab:formula:saltenvs must be a list of texts, but holds 1"),
        ({"mountpoint": "../x"}, "logilab:formula:mountpoint must be a folder"),
        ({"pillar_keys": {"users": 3}}, "logilab:formula:pillar_keys:users must be a text"),
    ],
    ids=str,
)
def test_wrong_settings_stop_the_master(serve: Server, settings: dict[str, Any], sentence: str) -> None:
    """The master's first look at its file servers says what is wrong."""
    with pytest.raises(salt.exceptions.FileserverConfigError, match=sentence):
        serve(**settings).init()


def test_gitfs_serves_them_too(tmp_path: Path) -> None:
    """Without the backend, a repository with the folder of the formulas does: one line of Salt's own gitfs."""
    repository = tmp_path / "repository"
    shutil.copytree(formulas(), repository / "formulas")
    git = ("git", "-C", str(repository), "-c", "user.name=Test", "-c", "user.email=test@example.org")
    for command in (("init", "-q", "-b", "main"), ("add", "."), ("commit", "-q", "-m", "Formulas")):
        subprocess.run([*git, *command], check=True)
    remote = {f"file://{repository}": [{"root": "formulas"}, {"base": "main"}]}
    settings = {"fileserver_backend": ["gitfs"], "gitfs_provider": "gitpython", "gitfs_remotes": [remote]}

    def shown(users: dict[str, Any]) -> str:
        """Return what a program of its own tells: gitfs leaves processes of git behind, which end with it."""
        own = {"root_dir": str(tmp_path / "root"), "id": "web1", "file_client": "local", "enable_fqdns_grains": False}
        (tmp_path / "minion").write_text(json.dumps(settings | own))
        command = [Path(sys.executable).with_name("salt-call"), "-c", tmp_path, "--local", "state.show_sls", "users"]
        pillar = f"pillar={json.dumps({'users': users})}"
        return subprocess.run([*command, pillar], capture_output=True, text=True, check=False).stdout

    assert "users_user_alice" in shown(example("users"))
    assert "did you mean 'users'?" in shown({"user": {}})


def test_an_unknown_formula_is_refused_by_name(new_loaders: Callable[..., Loaders]) -> None:
    """The nearest name is told, and all that there are; a server without formulas says how to get them."""
    data = new_loaders(BACKENDS).modules.formula.data
    with pytest.raises(salt.exceptions.CommandExecutionError, match=r"no formula 'user' \(did you mean 'users'\?\)"):
        data("user")
    with pytest.raises(salt.exceptions.CommandExecutionError, match="is logilab_formulas in fileserver_backend"):
        new_loaders().modules.formula.data("users")


def test_a_pillar_key_of_ones_own(render: Renderer) -> None:
    """The pillar says under which key a formula's data stand; problems name that key."""
    keys = {"logilab": {"formula": {"pillar_keys": {"users": "site:people"}}}}
    assert "users_user_bob" in render("users", {**keys, "site": {"people": {"users": {"bob": {}}}}})
    (error,) = render("users", {**keys, "site": {"people": {"user": {}}}}).errors
    assert "site:people:user is not a known key (did you mean 'users'?)" in error


BAD = {
    "an unknown key": ("users", {"user": {}}, "users:user is not a known key (did you mean 'users'?); its value is {}"),
    "a wrong type": ("postgresql", {"version": 15}, "postgresql:version must be a text, not 15"),
    "a required key": ("graphite", {"web": {}}, "graphite:web:secret_key is missing"),
    "a secret out of place": (
        "postgresql",
        {"clusters": {"main": {"settings": {"ssl_passphrase": "secret words"}}}},
        "postgresql:clusters:main:settings:ssl_passphrase looks like a secret, but this is no place for one",
    ),
    "another system": ("graphite", {}, "does not support the os_family 'FreeBSD': it supports Debian"),
    "no such formula": ("nosuch", {}, "No matching sls found for 'nosuch' in env 'base'"),
    "the data of no formula": ("mine", {}, "there is no formula 'user' (did you mean 'users'?)"),
}


@pytest.mark.parametrize(("sls", "pillar", "sentence"), BAD.values(), ids=BAD)
def test_bad_input_is_one_sentence(
    sls: str, pillar: dict[str, Any], sentence: str, new_minion_opts: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is wrong is told in one message, no state is left to apply, and no secret is shown."""
    opts = new_minion_opts(BACKENDS)
    (Path(opts["file_roots"]["base"][0]) / "mine.sls").write_text("{%- set cfg = salt['formula.data']('user') %}\n")
    grains = {**DEBIAN, "os_family": "FreeBSD"} if "FreeBSD" in sentence else DEBIAN
    rendered = Renderer(opts)(sls, {sls: pillar}, grains)
    (error,) = rendered.errors
    assert sentence in error
    assert rendered.chunks == []
    assert "Traceback" not in error + caplog.text
    assert "secret words" not in error + caplog.text


def test_a_wrong_pillar_stops_with_all_problems(render: Renderer, caplog: pytest.LogCaptureFixture) -> None:
    """All problems are in the one error, and no traceback is logged."""
    (error,) = render("users", {"users": {"user": {}, "groups": {"a": {"gid": "x"}}}}).errors
    assert "users:user is not a known key (did you mean 'users'?)" in error
    assert "users:groups:a:gid must be a whole number, not 'x'" in error
    assert "Traceback" not in error + caplog.text


@pytest.fixture
def bare(tmp_path: Path, new_minion_opts: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """The options of a minion without the package, to which the formulas are a plain folder; with what it synced."""
    plain = tmp_path / "srv"
    shutil.copytree(formulas(), plain)
    opts = new_minion_opts({"file_roots": {"base": [str(plain)]}})
    for kind in ("modules", "utils"):
        shutil.copytree(plain / f"_{kind}", Path(opts["extension_modules"]) / kind)
    return opts


def modules_of(opts: dict[str, Any]) -> Any:
    """Return the execution modules of a minion with ``opts``."""
    utils = salt.loader.utils(opts)
    return salt.loader.minion_mods({**opts, "grains": dict(DEBIAN), "pillar": {}}, utils=utils)


def test_the_synced_module_needs_no_package(bare: dict[str, Any]) -> None:
    """What was synced works by itself: its core is the synced one, not the installed."""
    modules = modules_of(bare)
    assert modules["formula.data"]("users")["sudo_package"] == "sudo"
    loaded = modules["formula.data"].__globals__["lookup"].__file__
    assert loaded.startswith(bare["extension_modules"])


@pytest.mark.parametrize("file", ["modules/formula.py", "utils/logilab_schemas/validator.py"])
def test_a_stale_copy_is_named(bare: dict[str, Any], file: str) -> None:
    """A synced file that is not the one that is served stops the rendering, with its path and the command to run."""
    stale = Path(bare["extension_modules"]) / file
    stale.write_text(stale.read_text() + "# of an older version\n")
    with pytest.raises(salt.exceptions.CommandExecutionError, match=f"{stale} is not the one .* saltutil.sync_all"):
        modules_of(bare)["formula.data"]("users")


def test_a_stale_copy_beside_a_newer_wheel(bare: dict[str, Any]) -> None:
    """Where the file server has no copy, the installed package is what the synced one is compared with."""
    for folder in ("_modules", "_utils"):
        shutil.rmtree(Path(bare["file_roots"]["base"][0]) / folder)
    assert modules_of(bare)["formula.data"]("users")
    stale = Path(bare["extension_modules"]) / "modules/formula.py"
    stale.write_text(stale.read_text() + "# of an older version\n")
    with pytest.raises(salt.exceptions.CommandExecutionError, match="is not the one"):
        modules_of(bare)["formula.data"]("users")


def test_saltutil_brings_the_module(new_minion_opts: Callable[..., dict[str, Any]]) -> None:
    """``saltutil.sync_all`` takes the module and its core from the backend."""
    opts = new_minion_opts(BACKENDS)
    modules = modules_of(opts)
    assert modules["saltutil.sync_modules"](refresh=False) == ["modules.formula"]
    assert "utils.logilab_schemas.validator" in modules["saltutil.sync_utils"](refresh=False)
    assert modules_of(opts)["formula.data"]("users")["groups"] == {}


def test_salt_ssh_has_a_wrapper(new_master_opts: Callable[..., dict[str, Any]]) -> None:
    """For salt-ssh the data come from the master's own file server, with the target's grains and pillar."""
    opts = new_master_opts(BACKENDS)
    client = salt.fileclient.FSClient(opts)

    def data(pillar: dict[str, Any]) -> Any:
        target = {**opts, "grains": dict(DEBIAN), "pillar": {"users": pillar}, "saltenv": "base"}
        context = {"master_opts": opts, "fileclient": client}
        return salt.loader.ssh_wrapper(target, context=context)["formula.data"]("users")

    assert data({"users": {"bob": {}}})["users"]["bob"]["groups"] == []
    with pytest.raises(salt.exceptions.CommandExecutionError, match="users:uses is not a known key"):
        data({"uses": 1})
