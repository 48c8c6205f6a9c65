"""When all keys are looked at."""

from saltext_logilab.masters.scans import INTERVAL, LONGEST, OFTEN, RARELY, Scans


def test_a_store_that_has_changed_is_looked_at_when_it_is_calm():
    """Not while keys come and go: the kernel tells which."""
    scans = Scans()
    assert scans.is_due("one", 100.0)
    assert not scans.is_due("one", 101.0)
    assert [scans.is_due(f"burst{number}", 102.0 + number) for number in range(5)] == [False] * 5
    assert scans.is_due("burst4", 107.0)
    assert not scans.is_due("burst4", 108.0)


def test_a_store_that_never_rests_is_looked_at_all_the_same():
    """Every half a minute."""
    scans = Scans()
    due = [second for second in range(100) if scans.is_due(f"stamp{second}", float(second))]
    assert due == [0, 31, 62, 93]


def test_what_a_look_costs_makes_them_rarer():
    """At most a twentieth of the time, and at rest a thousandth of it, but every five minutes."""
    for cost, interval in ((0.001, INTERVAL), (0.1, 0.1 * RARELY), (1.0, LONGEST)):
        scans = Scans("one", "one", 0.0, cost)
        assert next(second for second in range(1, 500) if scans.is_due("one", float(second))) == interval + 1
    scans = Scans("one", "one", 0.0, 1.0)
    assert [second for second in range(1, 40) if scans.is_due("two", float(second))] == [OFTEN + 1]
