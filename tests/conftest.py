"""What every test may ask for: one plugin per subject, nothing starts unless a test asks."""

from hypothesis import settings

settings.register_profile("house", deadline=None)  # no test asserts a time
settings.load_profile("house")

pytest_plugins = [
    "pytester",
    "tests.support.leftovers",
    "tests.support.roots",
    "tests.support.clocks",
    "tests.support.disks",
    "tests.support.relays",
    "tests.support.etcd",
    "tests.support.postgresql",
    "tests.support.stores",
    "tests.support.docker",
    "tests.support.podman",
    "tests.support.rootless",
    "tests.support.watching",
    "tests.support.debian",
    "tests.support.extension",
    "tests.support.containers",
    "tests.support.debian_guest",
    "tests.support.libvirt",
    "tests.support.guests",
    "tests.support.agents",
    "tests.support.salt",
    "tests.support.rigs",
    "tests.support.labs",
    "tests.support.distribution",
    "tests.support.formulas",
    "tests.support.no_skips",
]
