"""The commands of the pages that cannot run as they stand, with what runs instead."""

from __future__ import annotations

from tests.support.documents import Substitution

# Programs that run as the page says, from the tests' own environment.
KNOWN = frozenset(
    {"cat", "cd", "cp", "echo", "ls", "mkdir", "python3", "salt-formula", "salt-lab", "salt-swarm", "sed"}
)

# All other commands, with what runs instead. Nothing is passed over: a command that stands in neither fails its page.
TABLE = (
    Substitution(r"git clone \S+", "cp -r {sources} saltext-logilab", "the checkout itself is what has to work"),
    Substitution(r"make demo", "make -n demo && salt-lab demo", "the installer has tests of its own and runs in CI"),
    Substitution(r"make test", "make -n test", "this is make test"),
    Substitution(r"make (lint|docs)", r"make -n lint docs", "CI runs both"),
    Substitution(
        r"make (bench|soak|test-matrix)", "make -n bench soak test-matrix", "they take long, and prove no page"
    ),
    Substitution(
        r"salt-swarm run --minions 1000 --master 127\.0\.0\.1",
        "salt-swarm run --minions 1000 --master 127.0.0.1 --seconds 2",
        "it would run until Ctrl-C; no master of the system's own answers there",
    ),
    Substitution(
        r"salt-swarm validate swarm\.yaml",
        "cp {specification} swarm.yaml && salt-swarm validate swarm.yaml",
        "the page's own specification, which a reader saves as swarm.yaml",
    ),
    Substitution(
        r"(sudo )?(salt-)?pip install '?saltext-logilab(\[\w+\]')?",
        "{python} -m pip --python {installed} install --quiet --force-reinstall --no-deps {wheel}",
        "the package is not in a registry yet: the wheel of this run goes into an environment of its own",
    ),
    Substitution(
        r"sudo salt-run masters\.(init|invite|join|status)( /root/nantes\.invite)?",
        r"mkdir -p ~/salt/var/cache/salt/master/proc && salt-run -c {configuration} --doc masters.\1",
        "no Salt of the system's own is touched: that the command exists; the page goes on with it in a lab",
    ),
    Substitution(
        r"(salt-lab up .* --store etcd=)127\.0\.0\.1:2379",
        r"\1{etcd}",
        "a private etcd, on a port that was free",
    ),
    Substitution(
        r"(salt-lab up .* --store )\"postgresql=.*\"",
        r"\1'postgresql={postgresql}'",
        "a private PostgreSQL",
    ),
    Substitution(
        r"salt-formula generate formulas pillar\.example",
        "cp -r {sources}/formulas {sources}/pillar.example . && salt-formula generate formulas pillar.example",
        "in a copy: a test must not write into the checkout",
    ),
    Substitution(
        r"sudo salt '\*' saltutil\.sync_all",
        "salt-call -c {configuration} --local saltutil.sync_all",
        "a minion of the test's own",
    ),
    Substitution(
        r"sudo salt-run formula\.(list|show users|path)",
        r"mkdir -p ~/salt/var/cache/salt/master/proc && salt-run -c {configuration} formula.\1",
        "a master's configuration of the test's own",
    ),
    Substitution(
        r"sudo salt-run formula\.validate '\*'",
        "mkdir -p ~/salt/var/cache/salt/master/proc && salt-run -c {configuration} formula.validate '*' || true",
        "that master knows no minions, which is an exit code of 1",
    ),
    Substitution(
        r"sudo salt web1 state\.apply (users|users\.clean) test=True",
        r"salt-call -c {configuration} --local state.apply \1 test=True",
        "a trial run on this machine; how jobs go to minions is tested in the lab",
    ),
    Substitution(
        r"sudo salt web1 mine\.outbox",
        "salt-call -c {configuration} --local mine.outbox",
        "a minion's configuration of the test's own; how the mine travels is tested in the lab",
    ),
    Substitution(
        r"docker run -d --name (\w+) -p (\S+) nginx",
        r"echo {docker_lab} && docker -H {docker} run -d --name \1 -p \2 logilab/busybox httpd -f -p 80",
        "a private Engine without a way to a registry: a small web server in the place of nginx",
    ),
    Substitution(
        r"docker run -d --name (\w+) -p (\S+) (--label \S+) nginx",
        r"echo {docker_targets} && docker -H {docker} run -d --name \1 -p \2 \3 logilab/busybox httpd -f -p 80",
        "the same, and the minion's pillar makes its containers targets",
    ),
    Substitution(
        r"sudo salt (-C 'T@docker.*)",
        r"salt-lab run --lab {docker_targets} paris salt \1",
        "the same lab",
    ),
    Substitution(
        r"sudo salt ('w\*' cmd\.run .*)",
        r"! salt-lab run --lab {docker_targets} paris salt \1",
        "the same lab; the command is to do nothing on the minion, and nothing in the container",
    ),
    Substitution(
        r"sudo salt web1 (docker_targets\..*)",
        r"salt-lab run --lab {docker_targets} paris salt web1 \1",
        "the same lab",
    ),
    Substitution(
        r"sudo salt web1 (docker_exec\..*)",
        r"salt-lab run --lab {docker_lab} paris salt web1 \1",
        "the same lab",
    ),
    Substitution(
        r"sudo salt-run (docker_ports\..*)",
        r"salt-lab run --lab {docker_lab} paris salt-run \1",
        "a lab whose minion web1 follows the private Engine",
    ),
    Substitution(
        r"sudo salt-call docker_ports\.reserve web 80 port=8080",
        "! salt-lab run --lab {docker_lab} web1 salt-call docker_ports.reserve web 80 port=8080",
        "the same lab; the refusal is what is shown",
    ),
    Substitution(
        r"sudo salt-call state\.single (docker_ports\..*)",
        r"nsenter --net={docker_netns} salt-lab run --lab {docker_lab} web1 salt-call --local state.single \1",
        "the Engine of the tests has a network of its own, from which no master is reached",
    ),
    Substitution(
        r"sudo salt-call (docker_ports\..*)",
        r"salt-lab run --lab {docker_lab} web1 salt-call \1",
        "the same lab",
    ),
    Substitution(
        r"sudo salt kvm1 (libvirt_guest|libvirt_task)\.(\w+)",
        r"salt-call -c {hypervisor} --local \1.\2 | sed 's/^local:/kvm1:/'",
        "libvirt's test driver stands for a hypervisor; real ones have tests of their own",
    ),
    Substitution(
        r"sudo salt kvm1 saltutil\.refresh_pillar wait=True",
        "salt-lab run --lab {guest_lab} paris salt kvm1 saltutil.refresh_pillar wait=True"
        " && for try in 1 2 3 4 5 6 7 8 9; do"
        " salt-lab run --lab {guest_lab} paris salt -C 'T@libvirt' test.ping --out txt | grep -q web && break; done"
        " >/dev/null 2>&1",
        "a lab whose minion kvm1 has a real libvirt with a real guest; a reader is slower than the master learns of it",
    ),
    Substitution(
        r"sudo salt (kvm1 (?:libvirt_exec|libvirt_targets)\..*|-C 'T@libvirt.*)",
        r"salt-lab run --lab {guest_lab} paris salt -t 120 \1 2>/dev/null",
        "the same lab; a loaded machine makes Salt complain beside that it has to ask twice",
    ),
    Substitution(
        r"sudo salt ('k\*' cmd\.run .*)",
        r"! salt-lab run --lab {guest_lab} paris salt -t 120 \1 2>/dev/null",
        "the same lab; what is shown is the refusal",
    ),
    Substitution(
        r"sudo salt kvm1 state\.single (libvirt_guest\..*)",
        r"salt-call -c {hypervisor} --local state.single \1 | sed 's/^local:/kvm1:/'",
        "the same driver",
    ),
    Substitution(
        r"sudo salt-run libvirt_guest\.inventory(.*)",
        r"salt-run -c {fleet} -l error libvirt_guest.inventory\1 2>/dev/null",
        "the mine of a master that does not run, filled by the test driver; Salt 3008 tells of its own leaks beside",
    ),
    Substitution(
        r"(sudo )?systemctl restart salt-(master|minion)", "true", "no Salt of the system's own is touched by tests"
    ),
)
