"""
States of files inside a resource that has no Python: run on its minion, with every file read and written inside.

What Salt's own module can do and this one cannot is no state here, and fails by its name.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saltext_logilab.within import managing as ways
from saltext_logilab.within import publication, sources

if TYPE_CHECKING:
    __context__: dict[str, Any]
    __grains__: dict[str, Any]
    __opts__: dict[str, Any]
    __pillar__: dict[str, Any]
    __salt__: dict[str, Any]

# What Salt's file.managed takes as well and what makes no difference here.
_NOTHING = ("backup", "show_changes", "keep_source", "keep_mode", "tmp_dir", "tmp_ext", "encoding", "skip_verify")


def _unknown(name: str, options: dict[str, Any]) -> dict[str, Any] | None:
    wrong = [one for one, value in options.items() if one not in _NOTHING and not one.startswith("__") and value]
    if not wrong:
        return None
    comment = f"{', '.join(sorted(wrong))}: not to be had without a Python inside"
    return {"name": name, "result": False, "changes": {}, "comment": comment}


def _inside(name: str, work: Any) -> dict[str, Any]:
    return publication.state(name, __opts__, work)


def mod_run_check_cmd(cmd: str, filename: str, **options: Any) -> bool:  # noqa: ARG001
    """Pass: :py:func:`managed` has run the command before the file was put in its place."""
    return True


def managed(
    name: str,
    source: Any = None,
    contents: Any = None,
    contents_pillar: str | None = None,
    contents_newline: bool = True,
    template: str | None = None,
    context: dict[str, Any] | None = None,
    defaults: dict[str, Any] | None = None,
    user: str | None = None,
    group: str | None = None,
    mode: Any = None,
    makedirs: bool = False,
    dir_mode: Any = None,
    replace: bool = True,
    create: bool = True,
    check_cmd: str | None = None,
    show_changes: bool = True,
    **options: Any,
) -> dict[str, Any]:
    """
    Make sure that a file inside holds what it should, with its owner and mode; the arguments are those of Salt's own.

    .. code-block:: yaml

        /etc/motd:
          file.managed:
            - source: salt://motd.j2
            - template: jinja
            - mode: "0644"
    """
    if wrong := _unknown(name, options):
        return wrong

    def work(inside: Any, is_test: bool) -> ways.Outcome:
        data: bytes | None = None
        if contents_pillar is not None:
            data = ways.text(__salt__["pillar.get"](contents_pillar), contents_newline)
        elif contents is not None:
            data = ways.text(contents, contents_newline)
        elif source is not None:
            names = {"salt": __salt__, "grains": __grains__, "pillar": __pillar__, "opts": __opts__, "name": name}
            names["context"] = {**(defaults or {}), **(context or {})}
            data = sources.rendered(source, template, names, __context__)
        wanted = ways.Wanted(data, ways.mode(mode), user, group, replace, create, show_changes)
        return ways.file(inside, name, wanted, ways.Place(makedirs, ways.mode(dir_mode), check_cmd), is_test)

    return _inside(name, work)


def directory(
    name: str,
    user: str | None = None,
    group: str | None = None,
    mode: Any = None,
    dir_mode: Any = None,
    makedirs: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """
    Make sure that there is a folder inside, with its owner and mode; folders above it are made where they are missing.

    .. code-block:: yaml

        /srv/site:
          file.directory:
            - user: www-data
            - mode: "0750"
    """
    if wrong := _unknown(name, {key: value for key, value in options.items() if key != "file_mode"}):
        return wrong
    told = ways.mode(mode if mode is not None else dir_mode)
    return _inside(name, lambda inside, is_test: ways.folder(inside, name, (user, group, told), makedirs, is_test))


def absent(name: str, **options: Any) -> dict[str, Any]:
    """
    Make sure that nothing stands at a path inside.

    .. code-block:: yaml

        /etc/nginx/sites-enabled/default:
          file.absent: []
    """
    return _unknown(name, options) or _inside(name, lambda inside, is_test: ways.nothing(inside, name, is_test))


def symlink(name: str, target: str, force: bool = False, makedirs: bool = False, **options: Any) -> dict[str, Any]:
    """
    Make sure that a symbolic link inside leads to ``target``; ``force`` replaces what else stands there.

    .. code-block:: yaml

        /etc/localtime:
          file.symlink:
            - target: /usr/share/zoneinfo/Europe/Paris
    """
    return _unknown(name, options) or _inside(
        name, lambda inside, is_test: ways.link(inside, name, target, (force, makedirs), is_test)
    )


def append(name: str, text: Any = None, makedirs: bool = False, **options: Any) -> dict[str, Any]:
    """
    Make sure that a file inside has certain lines, at its end where they are missing.

    .. code-block:: yaml

        /etc/hosts.allow:
          file.append:
            - text: "sshd: 10."
    """
    return _unknown(name, options) or _inside(
        name, lambda inside, is_test: ways.lines(inside, name, ways.text(text, True), makedirs, is_test)
    )


def exists(name: str, **options: Any) -> dict[str, Any]:
    """
    Fail where nothing stands at a path inside.

    .. code-block:: yaml

        /etc/nginx/nginx.conf:
          file.exists: []
    """
    return _unknown(name, options) or _inside(name, lambda inside, _: ways.presence(inside, name, True))


def missing(name: str, **options: Any) -> dict[str, Any]:
    """
    Fail where something stands at a path inside.

    .. code-block:: yaml

        /etc/nologin:
          file.missing: []
    """
    return _unknown(name, options) or _inside(name, lambda inside, _: ways.presence(inside, name, False))
