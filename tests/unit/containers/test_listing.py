"""The Engine's answers as facts, in the shapes that Docker and Podman were seen to send."""

from __future__ import annotations

from saltext_logilab.containers import listing
from saltext_logilab.containers.ports import Port

PORTS = [
    {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
    {"IP": "::", "PrivatePort": 80, "PublicPort": 8081, "Type": "tcp"},
    {"PrivatePort": 443, "Type": "tcp"},
]


def entry(**more):
    """One entry of a listing."""
    return {"Id": "a" * 64, "Names": ["/web"], "Image": "nginx", "State": "running", "Ports": PORTS, **more}


def test_ports_of_both_families_may_differ():
    """Each binding is a row of its own; a port that is only exposed is none."""
    (found,) = listing.containers([entry()])
    assert found.ports == (Port("tcp", 80, "0.0.0.0", 8080), Port("tcp", 80, "::", 8081))


def test_an_exited_container_publishes_nothing():
    """After a crash of the daemon it still claims its ports."""
    (found,) = listing.containers([entry(State="exited")])
    assert found.ports == ()


def test_a_container_that_never_started_is_none():
    """Temporary containers that are only created and removed leave no row."""
    assert listing.containers([entry(State="created")]) == ()


def test_only_allowed_labels_are_kept():
    """Compose's own go into project and service; the rest only when it is allowed."""
    told = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web", "secret": "x", "team": "a"}
    (found,) = listing.containers([entry(Labels=told)], ["team"])
    assert (found.project, found.service, found.labels) == ("shop", "web", (("team", "a"),))


def test_a_label_is_cut():
    """Who makes an image may write a book into it; it does not go to the masters."""
    told = {"com.docker.compose.project": "p" * 9999, "com.docker.compose.service": None, "team": "t" * 9999}
    (found,) = listing.containers([entry(Labels=told)], ["team"])
    assert (len(found.project), found.service, len(dict(found.labels)["team"])) == (255, "", 255)


def test_health_is_read_out_of_the_status():
    """The listing has it nowhere else."""
    texts = {"Up 2 minutes (healthy)": "healthy", "Up 1 second (health: starting)": "starting", "Up (Paused)": ""}
    assert {text: listing.container(entry(Status=text)).health for text in texts} == texts


def test_the_own_name_among_links():
    """A link adds a name with the other container's before it."""
    assert listing.name(["/other/alias", "/web"]) == "web"


def test_whose_address_is_its_own():
    """Podman shows a container in the network of another one with that one's address, and no network mode at all."""

    def one(identity, *addresses):
        networks = {f"net{number}": {"IPAddress": address} for number, address in enumerate(addresses)}
        return entry(Id=identity, NetworkSettings={"Networks": networks or None})

    listed = [one("web", "10.0.0.2"), one("guest", "10.0.0.2"), one("db", "10.0.0.3"), one("host"), one("off", "")]
    assert listing.with_own_network(listed) == {"db"}
    assert listing.network_mode(entry()) == ""
    assert listing.network_mode(entry(HostConfig={"NetworkMode": "host"})) == "host"


def test_events_without_secrets():
    """The command line of an exec is no action of ours, and a health event is split."""
    told = {"Type": "container", "Action": "health_status: healthy", "Actor": {"ID": "c1"}, "timeNano": 5 * 10**9}
    event = listing.event(told)
    assert (event.action, event.health, event.at) == ("health_status", "healthy", 5.0)
    assert listing.event({**told, "Action": "exec_create: sh -c 'secret'"}).action == "exec_create"


def test_a_network_event_is_of_its_container():
    """Its actor is the network."""
    told = {"Type": "network", "Action": "connect", "Actor": {"ID": "n1", "Attributes": {"container": "c1"}}, "time": 7}
    assert (listing.event(told).container, listing.event(told).action) == ("c1", "network connect")


def test_messages_of_no_meaning_are_passed_over():
    """Images and volumes have events too, and a network may have no container."""
    assert listing.event({"Type": "image", "Action": "pull", "id": "x"}) is None
    assert listing.event({"Type": "network", "Action": "create", "Actor": {"ID": "n1"}}) is None


def test_requested_bindings():
    """As the inspection tells them: an address, any port, a certain one."""
    told = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}], "53/udp": [{"HostPort": "5353"}], "9/tcp": None}
    found = listing.requested({"HostConfig": {"PortBindings": told}})
    assert found == {("tcp", 80): "127.0.0.1:", ("udp", 53): "5353", ("tcp", 9): ""}
