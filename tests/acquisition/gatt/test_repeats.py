"""A record is new once, over all links, as far back as a meter's memory reaches."""

from __future__ import annotations

from edge.acquisition.gatt.repeats import Repeat, Repeats


def test_record_is_new_once():
    """Again on the same link, or again on a later one."""
    repeats = Repeats()
    first, again = repeats.hear("a"), repeats.hear("a")
    repeats.next_link()

    later, once_more = repeats.hear("a"), repeats.hear("a")

    assert (first, again, later, once_more) == (Repeat.NEW, Repeat.SAME_LINK, Repeat.EARLIER_LINK, Repeat.SAME_LINK)


def test_memory_is_bounded_and_keeps_what_came_last():
    """A record that comes again stays; the one that was longest away is forgotten."""
    repeats = Repeats(n_kept=2)
    for record in "aba":
        repeats.hear(record)

    repeats.hear("c")

    assert [repeats.hear(record) for record in "ca"] == [Repeat.SAME_LINK, Repeat.SAME_LINK]
    assert repeats.hear("b") is Repeat.NEW
