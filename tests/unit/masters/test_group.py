"""Who is a member, told from records: what one may say of another, and what nobody can."""

import dataclasses
import itertools

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.errors import WireError
from saltext_logilab.identity import Identity
from saltext_logilab.masters import group
from saltext_logilab.masters.group import Facts
from saltext_logilab.masters.records import Record, State, join, member_id

PUBLICS = [Identity(Ed25519PrivateKey.generate()).public for _ in range(4)]
NAMES = ["paris", "nantes", "lyon", "lille"]
PARIS, NANTES, LYON, LILLE = range(4)


def origin(who):
    """The origin of the records of a member."""
    return member_id(PUBLICS[who]) + b"\0\0\0\1"


class Story:
    """Records about members as they are made, each with the context that its maker had."""

    def __init__(self):
        self.records = []
        self.seen = [{} for _ in PUBLICS]

    def say(self, who, state, about, last=0, *, survivor=False, **more):
        """Let ``who`` say that ``about`` has come or gone."""
        counter = 1 + max((one.counter for one in self.records if one.origin == origin(who)), default=0)
        ends = {origin(about): last} if last else {}
        facts = Facts(PUBLICS[about], NAMES[about], "127.0.0.1:1", ends, "", survivor, **more)
        made = Record(
            group.KIND, group.subject(PUBLICS[about]), state, group.digest(PUBLICS[about]), facts.encode(),
            origin(who), counter, dict(self.seen[who]), 1,
        )  # fmt: skip
        group.check(made)
        self.records.append(made)
        self.seen[who] = join(self.seen[who], made.vector)
        return made

    def tell(self, whom=range(4)):
        """Let everybody in ``whom`` know everything."""
        everything = join(*(one.vector for one in self.records))
        for who in whom:
            self.seen[who] = everything

    def states(self, records=None):
        """Return the state of each member by name."""
        found = group.evaluate(PUBLICS[PARIS], self.records if records is None else records)
        return {one.name: one.state for one in found.members.values()}


def founded(*others):
    """A group of paris and ``others``, all of whom know it."""
    story = Story()
    story.say(PARIS, State.JOINED, PARIS)
    for other in others:
        story.say(PARIS, State.JOINED, other)
    story.tell()
    return story


def test_who_is_let_in_by_a_member_is_one():
    """The founder lets in one, that one another; who is let in by nobody is none."""
    story = founded(NANTES)
    story.say(NANTES, State.JOINED, LYON)
    story.say(LILLE, State.JOINED, LILLE)
    assert story.states() == dict.fromkeys(["paris", "nantes", "lyon"], "active")


def test_evicted_is_evicted():
    """Who was evicted stays so, whatever it says afterwards, knowing it or not telling that it knows."""
    story = founded(NANTES, LYON)
    story.say(PARIS, State.EVICTED, NANTES, last=0)
    story.tell()
    story.say(NANTES, State.JOINED, NANTES)
    story.say(NANTES, State.JOINED, LILLE)
    assert story.states() == {"paris": "active", "nantes": "evicted", "lyon": "active"}
    found = group.evaluate(PUBLICS[PARIS], story.records)
    assert not found.permits(origin(NANTES), 1)


def test_what_came_before_the_last_counter_stays():
    """Whom the evicted has let in before is a member; whom it lets in later is none."""
    story = founded(NANTES)
    story.say(NANTES, State.JOINED, LYON)
    story.say(PARIS, State.EVICTED, NANTES, last=1)
    story.say(NANTES, State.JOINED, LILLE)
    assert story.states() == {"paris": "active", "nantes": "evicted", "lyon": "active"}
    found = group.evaluate(PUBLICS[PARIS], story.records)
    assert found.permits(origin(NANTES), 1)
    assert not found.permits(origin(NANTES), 2)


def test_two_that_evict_each_other_are_suspended():
    """Neither knew of the other's; the third one goes on."""
    story = founded(NANTES, LYON)
    story.say(PARIS, State.EVICTED, NANTES)
    story.say(NANTES, State.EVICTED, PARIS, last=3)
    assert story.states() == {"paris": "suspended", "nantes": "suspended", "lyon": "active"}


@pytest.mark.parametrize("judge", [PARIS, LYON])
def test_an_operator_names_the_survivor(judge):
    """By an eviction that knows of both, on the surviving master or on a third one; the loser cannot undo it."""
    story = founded(NANTES, LYON)
    story.say(PARIS, State.EVICTED, NANTES)
    story.say(NANTES, State.EVICTED, PARIS, last=3)
    story.tell()
    story.say(judge, State.EVICTED, NANTES, survivor=True)
    assert story.states() == {"paris": "active", "nantes": "evicted", "lyon": "active"}
    story.tell()
    story.say(NANTES, State.EVICTED, PARIS, last=3, survivor=True)
    story.say(NANTES, State.EVICTED, LYON, survivor=True)
    assert story.states()["nantes"] == "evicted"


def test_two_survivors_named_at_once_leave_both_suspended():
    """Two operators who do not know of each other name different survivors."""
    story = founded(NANTES)
    story.say(PARIS, State.EVICTED, NANTES)
    story.say(NANTES, State.EVICTED, PARIS, last=2)
    story.tell()
    story.say(PARIS, State.EVICTED, NANTES, survivor=True)
    story.say(NANTES, State.EVICTED, PARIS, last=2, survivor=True)
    assert story.states() == {"paris": "suspended", "nantes": "suspended"}


def test_an_eviction_by_somebody_who_was_evicted_before_counts_for_nothing():
    """paris evicts nantes; lyon, which does not know, is evicted by nantes: lyon stays."""
    story = founded(NANTES, LYON)
    story.say(PARIS, State.EVICTED, NANTES)
    story.say(NANTES, State.EVICTED, LYON)
    assert story.states() == {"paris": "active", "nantes": "evicted", "lyon": "active"}


def test_three_in_a_circle_are_suspended():
    """Each evicts the next one, none knowing of it."""
    story = founded(NANTES, LYON)
    for who, whom in ((PARIS, NANTES), (NANTES, LYON), (LYON, PARIS)):
        story.say(who, State.EVICTED, whom, last=3 if whom == PARIS else 0)
    assert set(story.states().values()) == {"suspended"}


def test_nobody_evicts_himself():
    """The last counter is named by one who remains."""
    with pytest.raises(WireError, match="its own last counter"):
        founded(NANTES).say(NANTES, State.EVICTED, NANTES)


def test_a_new_address_replaces_the_old_one():
    """The latest that a member has said of itself counts."""
    story = founded(NANTES)
    moved = dataclasses.replace(group.facts(story.records[1]), address="192.0.2.7:4507")
    last = story.say(NANTES, State.JOINED, NANTES)
    story.records[-1] = dataclasses.replace(last, value=moved.encode())
    found = group.evaluate(PUBLICS[PARIS], story.records)
    assert found.members[member_id(PUBLICS[NANTES])].address == "192.0.2.7:4507"


@given(st.data())
def test_the_group_is_a_function_of_the_set(data):
    """Any records of any members in any order: the same group, and never an error; the founder's word is not enough."""
    story = founded(NANTES, LYON)
    for _ in range(data.draw(st.integers(1, 6))):
        who, about = data.draw(st.permutations(range(4)))[:2]
        state = data.draw(st.sampled_from([State.JOINED, State.LEFT, State.EVICTED]))
        story.say(who, state, about, data.draw(st.integers(0, 3)), survivor=data.draw(st.booleans()))
        if data.draw(st.booleans()):
            story.tell([data.draw(st.integers(0, 3))])
    assert story.states(data.draw(st.permutations(story.records))) == story.states()


@pytest.mark.parametrize(
    "wrong",
    [
        {"value": ""},
        {"value": "[]"},
        {"value": '["AAAA","paris","a:1",{},"",false]'},
        {"state": State.ACCEPTED},
        {"subject": "web1"},
        {"fingerprint": ":".join(["00"] * 32)},
    ],
    ids=str,
)
def test_a_malformed_record_about_a_member_is_refused(wrong):
    """Whoever has signed it."""
    made = dataclasses.replace(founded(NANTES).records[1], **wrong)
    with pytest.raises(WireError):
        group.check(made)


@pytest.mark.parametrize("name", ["../x", ".hidden", "a b", "a" * 65, "", "a\nb"])
def test_a_bad_name_of_a_master_is_refused(name):
    """It goes into tables and logs."""
    told = group.facts(founded(NANTES).records[1])
    made = dataclasses.replace(founded(NANTES).records[1], value=dataclasses.replace(told, name=name).encode())
    with pytest.raises(WireError):
        group.check(made)


def test_every_pair_of_evictions_ends_the_same_for_all():
    """All orders of two evictions and a naming give one result."""
    story = founded(NANTES, LYON)
    story.say(PARIS, State.EVICTED, NANTES)
    story.say(NANTES, State.EVICTED, PARIS, last=3)
    story.tell()
    story.say(LYON, State.EVICTED, PARIS, last=3, survivor=True)
    results = {tuple(sorted(story.states(order).items())) for order in itertools.permutations(story.records)}
    assert results == {(("lyon", "active"), ("nantes", "active"), ("paris", "evicted"))}


# -- two must agree ----------------------------------------------------------------------------------------------------


def agreeing(*others):
    """A group of paris and ``others`` in which two must agree."""
    story = Story()
    story.say(PARIS, State.JOINED, PARIS, agree=True)
    for other in others:
        story.say(PARIS, State.JOINED, other)
    story.tell()
    return story


def name(record):
    """What stands for a proposal in what agrees to it."""
    return f"{record.origin.hex()}:{record.counter}"


def proposed(story):
    """Who proposes about whom, as everybody sees it."""
    found = group.evaluate(PUBLICS[PARIS], story.records)
    names = {short: one.name for short, one in found.members.items()}
    return {(names[one.by], names[one.about]) for one in found.proposals}


def test_one_member_alone_evicts_nobody_where_two_must_agree():
    """Nor does it let one leave; what another one has proposed it can do."""
    story = agreeing(NANTES, LYON)
    story.say(PARIS, State.EVICTED, LYON, last=1)
    story.say(PARIS, State.LEFT, NANTES, last=1)
    assert set(story.states().values()) == {"active"}
    wish = story.say(NANTES, State.PROPOSED, LYON)
    assert proposed(story) == {("nantes", "lyon")}
    story.say(NANTES, State.EVICTED, LYON, last=1, proposal=name(wish))
    assert story.states()["lyon"] == "active"
    story.tell()
    story.say(PARIS, State.EVICTED, LYON, last=1, proposal=name(wish))
    assert story.states() == {"paris": "active", "nantes": "active", "lyon": "evicted"}
    assert proposed(story) == set()


def test_a_victims_own_word_evicts_nobody_but_lets_it_leave():
    """Who wants to leave has said so itself."""
    story = agreeing(NANTES, LYON)
    wish = story.say(LYON, State.PROPOSED, LYON)
    story.tell()
    story.say(PARIS, State.EVICTED, LYON, last=1, proposal=name(wish))
    assert story.states()["lyon"] == "active"
    story.say(PARIS, State.LEFT, LYON, last=1, proposal=name(wish))
    assert story.states()["lyon"] == "left"


def test_a_proposal_about_another_one_or_by_nobody_is_no_proposal():
    """Each eviction needs its own."""
    story = agreeing(NANTES, LYON)
    wish = story.say(NANTES, State.PROPOSED, PARIS)
    foreign = story.say(LILLE, State.PROPOSED, LYON)
    story.tell()
    for one in (wish, foreign):
        story.say(PARIS, State.EVICTED, LYON, last=1, proposal=name(one))
    story.say(PARIS, State.EVICTED, LYON, last=1, proposal="nonsense")
    assert story.states()["lyon"] == "active"


def test_a_proposal_that_was_taken_back_is_none():
    """To those that know of it; who agreed before it knew has agreed."""
    story = agreeing(NANTES, LYON)
    wish = story.say(NANTES, State.PROPOSED, LYON)
    story.tell()
    story.say(NANTES, State.PROPOSED, LYON, withdrawn=True)
    assert proposed(story) == set()
    early = story.say(PARIS, State.EVICTED, LYON, last=1, proposal=name(wish))
    assert story.states()["lyon"] == "evicted"
    story.records.remove(early)
    story.tell()
    story.say(PARIS, State.EVICTED, LYON, last=1, proposal=name(wish))
    assert story.states()["lyon"] == "active"


def test_an_eviction_falls_with_its_proposal():
    """A member that was evicted before has proposed nothing, whoever agreed to it."""
    story = agreeing(NANTES, LYON, LILLE)
    other = story.say(NANTES, State.PROPOSED, LILLE)
    story.tell([PARIS])
    wish = story.say(LILLE, State.PROPOSED, NANTES)
    story.tell([LYON])
    story.say(PARIS, State.EVICTED, LILLE, last=0, proposal=name(other))
    story.say(LYON, State.EVICTED, NANTES, last=1, proposal=name(wish))
    assert story.states() == {"paris": "active", "nantes": "active", "lyon": "active", "lille": "evicted"}


@given(st.data())
def test_a_group_that_agrees_is_a_function_of_the_set(data):
    """In whatever order records come."""
    story = agreeing(NANTES, LYON)
    for _ in range(data.draw(st.integers(1, 7))):
        who, about = data.draw(st.permutations([PARIS, NANTES, LYON]))[:2]
        wishes = [name(one) for one in story.records if one.state is State.PROPOSED]
        state = data.draw(st.sampled_from([State.PROPOSED, State.EVICTED]))
        more = {"proposal": data.draw(st.sampled_from(wishes))} if wishes and state is State.EVICTED else {}
        story.say(who, state, about, last=data.draw(st.integers(0, 3)), **more)
        if data.draw(st.booleans()):
            story.tell()
    shuffled = data.draw(st.permutations(story.records))
    assert group.evaluate(PUBLICS[PARIS], shuffled) == group.evaluate(PUBLICS[PARIS], story.records)
    gone = [one for one in story.states().values() if one == "evicted"]
    assert len(gone) <= 2
