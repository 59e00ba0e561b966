"""Which record goes next and what an acknowledgement means."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.outbox.record import Batch, Lane, Record
from edge.publishing.window import DeliveryRule, Outcome, Window, WindowSettings, backoff_s, judge
from tests.fakes.outbox_records import stamp

S = 10**9


def record(sequence, lane=Lane.ALERT, topic=None, *, is_retained=False, epoch="e1"):
    return Record(
        sequence=sequence,
        epoch=epoch,
        lane=lane,
        topic=topic or f"v/{lane.name.lower()}",
        body=b"{}",
        qos=1,
        is_retained=is_retained,
        expiry_s=None,
        stamp=stamp(),
    )


class Disk:
    """The outbox as the window sees it: records by lane, read on from a sequence."""

    def __init__(self, *records, epoch="e1"):
        self.records = list(records)
        self.epoch = epoch

    def batch(self, lane, after_sequence, n_at_most):
        found = [r for r in self.records if r.lane is lane and r.sequence > after_sequence][:n_at_most]
        last = found[-1].sequence if found else after_sequence
        return Batch(epoch=self.epoch, records=tuple(found), last_sequence=last, is_last=len(found) < n_at_most)

    def remove(self, sequence):
        self.records = [r for r in self.records if r.sequence != sequence]


def test_a_delivered_record_is_not_sent_again_while_it_is_still_on_disk():
    """It leaves the disk a moment later; a rewind in between must not find it."""
    disk = Disk(*(record(k, Lane.SUMMARY, "v/a" if k == 2 else "v/b") for k in range(1, 5)))
    window = make(disk)
    assert send_all(window, disk) == [1, 2, 3, 4]
    for k in (1, 3, 4):
        window.settle(k, Outcome.DELIVERED, 0)
    window.settle(2, Outcome.REFUSED, 0)
    assert send_all(window, disk, now_ns=S) == [2]

    window.settle(2, Outcome.DELIVERED, S)

    assert send_all(window, disk, now_ns=S) == []
    window.forget([record(1), record(2), record(3), record(4)])
    window.begin(65_535)
    assert send_all(window, Disk()) == []


def make(disk, *, receive_maximum=65_535, **changes):
    window = Window(WindowSettings(**changes), lambda: 0.5)
    window.begin(receive_maximum)
    fill(window, disk)
    return window


def fill(window, disk):
    for lane in Lane:
        after = window.wanted(lane)
        if after is not None:
            window.absorb(lane, disk.batch(lane, after, window.n_ready))


def send_all(window, disk, now_ns=0):
    """Send whatever may go; the packet identifier is the sequence."""
    sent = []
    while True:
        fill(window, disk)
        found = window.next(now_ns)
        if found is None:
            return sent
        window.sent(found.sequence, found)
        sent.append(found.sequence)


@pytest.mark.parametrize(
    ("lane", "is_retained", "code", "is_expired", "outcome"),
    [
        (Lane.ALERT, False, 0x00, False, Outcome.DELIVERED),
        (Lane.ALERT, False, 0x10, False, Outcome.NOBODY),
        (Lane.ALERT, True, 0x10, False, Outcome.DELIVERED),
        (Lane.SUMMARY, False, 0x10, True, Outcome.NOBODY),
        (Lane.READING, False, 0x10, False, Outcome.NOBODY),
        (Lane.READING, False, 0x10, True, Outcome.UNHEARD),
        (Lane.ALERT, True, 0x87, False, Outcome.REFUSED),
        (Lane.READING, False, 0x97, True, Outcome.REFUSED),
        (Lane.READING, False, 0x80, True, Outcome.REFUSED),
        (Lane.READING, False, 0x7F, True, Outcome.DELIVERED),
    ],
)
def test_what_an_acknowledgement_means(lane, is_retained, code, is_expired, outcome):
    """Removed only on success; "nobody subscribed" is no delivery of an alert or a summary."""
    assert judge(record(1, lane, is_retained=is_retained), code, is_expired=is_expired) is outcome


def test_end_to_end_is_not_pretended():
    """Until a consumer acknowledges, the rule cannot be chosen."""
    with pytest.raises(NotImplementedError):
        judge(record(1), 0, is_expired=False, rule=DeliveryRule.END_TO_END)


def test_alerts_go_first_then_summaries_then_readings():
    disk = Disk(record(1, Lane.READING), record(2, Lane.SUMMARY), record(3, Lane.ALERT), record(4, Lane.ALERT))

    assert send_all(make(disk), disk) == [3, 4, 2, 1]


def test_never_more_than_the_window_is_under_way():
    disk = Disk(*(record(k) for k in range(1, 100)))

    assert len(send_all(make(disk, max_in_flight=20), disk)) == 20


def test_the_broker_may_allow_less():
    disk = Disk(*(record(k) for k in range(1, 100)))

    assert len(send_all(make(disk, receive_maximum=5), disk)) == 5


def test_telemetry_leaves_room_for_an_alert():
    """An alert during a drain does not wait for a single acknowledgement."""
    disk = Disk(*(record(k, Lane.READING) for k in range(1, 100)))
    window = make(disk, max_in_flight=20)
    assert len(send_all(window, disk)) == 16

    disk.records.append(record(100))
    window.news()

    assert send_all(window, disk) == [100]


def test_a_window_of_one_still_moves():
    """A broker may allow a single message; nothing can be reserved then."""
    disk = Disk(record(1, Lane.READING))

    assert send_all(make(disk, receive_maximum=1), disk) == [1]


def test_a_refused_family_waits_and_the_others_go_on():
    disk = Disk(*(record(k, Lane.SUMMARY, "v/a" if k % 2 else "v/b") for k in range(1, 9)))
    window = make(disk, max_in_flight=2, alert_share=0.0)
    first = send_all(window, disk)
    assert first == [1]  # one slot is for alerts

    window.settle(1, Outcome.REFUSED, 0)

    assert send_all(window, disk) == [2]
    window.settle(2, Outcome.DELIVERED, 0)
    assert send_all(window, disk) == [4]


def test_a_refused_record_is_tried_again_and_success_frees_all_that_waited():
    disk = Disk(*(record(k, Lane.SUMMARY) for k in range(1, 5)))
    window = make(disk)
    send_all(window, disk)
    for k in range(1, 5):
        window.settle(k, Outcome.NOBODY, 0)
    assert window.next_retry_ns() == S // 2  # half of the first second, by the jitter
    assert send_all(window, disk) == []

    assert send_all(window, disk, now_ns=S) == [1]
    window.settle(1, Outcome.DELIVERED, S)
    disk.remove(1)

    assert send_all(window, disk, now_ns=S) == [2, 3, 4]
    assert window.n_paused == 0


def test_only_one_record_of_a_refused_family_is_tried():
    """A broker that refuses is asked with one message, not with the whole backlog, later and later."""
    disk = Disk(*(record(k, Lane.SUMMARY) for k in range(1, 200)))
    window = make(disk)
    for k in send_all(window, disk):
        window.settle(k, Outcome.REFUSED, 0)
    waits_s, now_ns = [], 0
    for _ in range(8):
        due_ns = window.next_retry_ns()
        waits_s.append((due_ns - now_ns) / S)
        now_ns = due_ns
        assert send_all(window, disk, now_ns) == [1]
        assert window.next_retry_ns() is None
        window.settle(1, Outcome.REFUSED, now_ns)

    assert waits_s == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_retained_topic_has_one_message_under_way():
    """A repetition of the old state must not overtake the new one."""
    disk = Disk(record(1, topic="v/alert/a", is_retained=True), record(2, topic="v/alert/a", is_retained=True))
    window = make(disk)
    assert send_all(window, disk) == [1]

    window.settle(1, Outcome.DELIVERED, 0)

    assert send_all(window, disk) == [2]


def test_a_retained_state_that_was_refused_is_not_overtaken():
    disk = Disk(record(1, topic="v/alert/a", is_retained=True), record(2, topic="v/alert/a", is_retained=True))
    window = make(disk)
    send_all(window, disk)

    window.settle(1, Outcome.REFUSED, 0)
    sent = send_all(window, disk, now_ns=S)

    assert sent == [1]


def test_a_record_passed_over_during_a_pause_is_not_forgotten():
    """It is older than the one that was refused, and waited for its topic's turn."""
    disk = Disk(
        record(1, topic="v/alert/b", is_retained=True),
        record(2, topic="v/alert/b", is_retained=True),
        record(3, topic="v/alert/a", is_retained=True),
    )
    window = make(disk)
    assert send_all(window, disk) == [1, 3]
    window.settle(3, Outcome.REFUSED, 0)
    assert send_all(window, disk) == []
    window.settle(1, Outcome.DELIVERED, 0)
    assert send_all(window, disk, now_ns=S) == [3]

    window.settle(3, Outcome.DELIVERED, S)

    assert send_all(window, disk, now_ns=S) == [2]


def test_after_a_disconnect_everything_that_was_under_way_goes_again_in_order():
    disk = Disk(*(record(k) for k in range(1, 31)))
    window = make(disk)
    sent = send_all(window, disk)
    window.settle(1, Outcome.DELIVERED, 0)
    disk.remove(1)

    window.begin(65_535)

    assert window.n_in_flight == 0
    assert send_all(window, disk) == [*sent[1:], 21]


def test_a_late_acknowledgement_of_an_old_connection_is_ignored():
    disk = Disk(record(1))
    window = make(disk)
    send_all(window, disk)
    window.begin(65_535)

    window.settle(1, Outcome.DELIVERED, 0)

    assert send_all(window, disk) == [1]


def test_a_new_database_begins_everything_anew():
    """After damage the sequences start again; what was under way belongs to the old file."""
    disk = Disk(*(record(k) for k in range(1, 40)))
    window = make(disk)
    send_all(window, disk)
    fresh = Disk(record(1, epoch="e2"), record(2, epoch="e2"), epoch="e2")

    window.news()
    window.settle(20, Outcome.DELIVERED, 0)
    fill(window, fresh)
    window.settle(1, Outcome.DELIVERED, 0)

    assert send_all(window, fresh)[-2:] == [1, 2]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_the_broker_answers_every_record_is_delivered_in_the_end(data):
    """Any mix of lanes, answers and disconnects: nothing is lost, nothing but the window is under way, retained in order."""
    n = data.draw(st.integers(1, 60))
    lanes = data.draw(st.lists(st.sampled_from(list(Lane)), min_size=n, max_size=n))
    retained = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    topics = data.draw(st.lists(st.sampled_from("ab"), min_size=n, max_size=n))
    disk = Disk(
        *(
            record(k + 1, lane, f"v/{lane.name}/{'r' if kept else 'n'}/{topic}", is_retained=kept)
            for k, (lane, kept, topic) in enumerate(zip(lanes, retained, topics, strict=True))
        )
    )
    by_sequence = {r.sequence: r for r in disk.records}
    window = make(disk, max_in_flight=data.draw(st.integers(1, 8)), n_ready=4)
    in_flight, delivered, now_ns = [], [], 0
    hostile_rounds = data.draw(st.integers(0, 25))
    for round_ in range(2000):
        if round_ < hostile_rounds:
            now_ns += data.draw(st.sampled_from([0, S, 100 * S]))
        in_flight += send_all(window, disk, now_ns)
        assert len(set(in_flight)) == len(in_flight) <= 8
        if not disk.records:
            break
        if round_ < hostile_rounds and data.draw(st.integers(0, 9)) == 0:
            window.begin(65_535)
            in_flight = []
        elif in_flight:
            sequence = in_flight.pop(data.draw(st.integers(0, len(in_flight) - 1)) if round_ < hostile_rounds else 0)
            outcome = (
                data.draw(st.sampled_from([Outcome.DELIVERED, Outcome.REFUSED, Outcome.NOBODY]))
                if round_ < hostile_rounds
                else Outcome.DELIVERED
            )
            window.settle(sequence, outcome, now_ns)
            if outcome is Outcome.DELIVERED:
                delivered.append(sequence)
                disk.remove(sequence)
                window.forget([by_sequence[sequence]])
        else:
            assert window.next_retry_ns() is not None, "nothing under way, nothing due: records are stuck"
            now_ns = max(now_ns, window.next_retry_ns())

    assert sorted(delivered) == sorted(by_sequence)
    for topic in {r.topic for r in by_sequence.values() if r.is_retained}:
        order = [sequence for sequence in delivered if by_sequence[sequence].topic == topic]
        assert order == sorted(order)


@given(st.integers(0, 1000), st.floats(0, 1, exclude_max=True))
def test_the_wait_is_never_nothing_and_never_longer_than_allowed(n_attempts, jitter):
    assert 0 < backoff_s(n_attempts, 1.0, 60.0, jitter) <= 60


def test_a_window_of_nothing_is_refused():
    with pytest.raises(ValueError, match="max_in_flight"):
        WindowSettings(max_in_flight=0)
