"""One bed and the runtime that holds them: what is remembered, what is kept apart, what a start and a stop do."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edge.alarm_memory import recall, remember
from edge.app import Bed, Runtime
from edge.clock import ManualClock
from edge.delivery import Delivery
from edge.messages import Alert, AlertKind, AlertState, LinkChange, LinkState, Measurement, Priority, Tick, Vitals
from tests.fakes.bedside import config

S = 1_000_000_000


def alert(name: str, state: AlertState = AlertState.RAISED, revision: int = 1) -> Alert:
    return Alert(
        id=name,
        revision=revision,
        episode=1,
        kind=AlertKind.PHYSIOLOGICAL,
        priority=Priority.HIGH,
        condition=name,
        sentence=f"{name} happens.",
        state=state,
        is_latched=False,
        onset_at_ns=S,
        at_ns=2 * S,
    )


class Script:
    """A pipeline that says what it was told to."""

    def __init__(self, *findings) -> None:
        self._findings = list(findings)

    def push(self, _item):
        return self._findings

    def restore(self, alerts, at_ns):
        return [replace(each, revision=each.revision + 1, at_ns=at_ns) for each in alerts]


class Disk:
    """A way out that notes each durable write in the order in which `Delivery` makes them."""

    def __init__(self, memory: bytes | None = None) -> None:
        self.memory = memory
        self.writes: list[tuple[str, object]] = []

    async def load_state(self, _key):
        return self.memory

    def to_wall_ns(self, at_ns):
        return at_ns

    def take(self, _subject, finding, *, bed):
        pass

    def take_alert(self, _subject, each, *, memory_key, memory, is_end):
        saved = ("memory", {known.id for known in recall(memory, lambda wall_ns: wall_ns)})
        appended = ("alert", each)
        self.writes += [appended, saved] if is_end else [saved, appended]

    def forgotten(self) -> list[str]:
        """Return the alerts that would stay open for ever if the power failed after any of the writes."""
        remembered, announced, forgotten = set(), set(), []
        if self.memory is not None:
            remembered = {known.id for known in recall(self.memory, lambda wall_ns: wall_ns)}
            announced = set(remembered)
        for kind, what in self.writes:
            if kind == "memory":
                remembered = what
            elif what.state is AlertState.CLOSED:
                announced.discard(what.id)
            else:
                announced.add(what.id)
            forgotten += announced - remembered
        return forgotten


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(list(AlertState))), max_size=12))
def test_a_crash_between_any_two_writes_forgets_no_open_alert(steps):
    """However many alerts rise and end in one second: what the broker shows as open is remembered, at every moment."""
    disk = Disk()
    bed = Bed("p-1", Script(*(alert(name, state) for name, state in steps)), disk)

    bed.take(Tick(at_ns=S))

    assert disk.forgotten() == []


def test_a_crash_during_a_restart_forgets_no_open_alert():
    """The alerts of the last run are announced again one by one; the others stay remembered meanwhile."""
    disk = Disk(remember([alert(name) for name in "abc"], lambda at_ns: at_ns))

    asyncio.run(Bed("p-1", Script(), disk).recall(ManualClock()))

    assert len(disk.writes) == 6
    assert disk.forgotten() == []


def test_memory_that_cannot_be_read_does_not_keep_the_bed_from_working(caplog):
    """Damaged bytes are said to the operator, and the bed begins without open alerts."""
    disk = Disk(b"\xff\x00 no json")

    asyncio.run(Bed("p-1", Script(), disk).recall(ManualClock()))

    assert disk.writes == []
    assert "alerts.unreadable bed=p-1" in caplog.text


def vitals(at_s: int, value: float) -> Vitals:
    return Vitals(
        at_ns=at_s * S,
        measurements={"heart_rate_bpm": Measurement(value=value, unit="/min", quality=1.0, source="x/ecg")},
        coverage_pct=100.0,
        quality=1.0,
    )


def test_two_sensors_that_belong_to_nobody_are_two_beds(tmp_path):
    """Neither what is remembered of their alerts nor the thinning of their readings is shared."""

    async def play():
        settings = config(tmp_path, {"left": None, "right": None})
        clock = ManualClock()
        delivery = Delivery(settings, clock, mqtt=None, broker="none")
        runtime = Runtime(settings, clock, delivery)
        left, right = runtime.bed_of("left"), runtime.bed_of("right")
        await delivery.start(lambda: ((), {}))
        before = delivery.view().n_committed
        delivery.take(left.subject, vitals(1, 70.0), bed=left.name)
        delivery.take(right.subject, vitals(1, 70.0), bed=right.name)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(delivery.run())
            await delivery.stop({})
        return left, right, delivery.view().n_committed - before

    left, right, n_records = asyncio.run(play())

    assert left.memory_key != right.memory_key
    assert n_records == 3  # a reading of each, and the last health


def test_a_sensor_of_a_person_and_one_of_nobody_are_kept_apart(tmp_path):
    """What the unassigned sensor says changes nothing at the person's bed, and health names it."""
    settings = config(tmp_path, {"chest": "p-9c1e", "spare": None})
    clock = ManualClock()
    runtime = Runtime(settings, clock, Delivery(settings, clock, mqtt=None, broker="none"))
    spare = runtime.bed_of("spare")

    asyncio.run(_taken(spare, LinkChange(sensor="spare", state=LinkState.LOST, reason="missing", at_ns=S), runtime))

    assert spare.subject is None
    assert "spare" in spare.state.links
    assert runtime.beds["p-9c1e"].state.links == {}
    assert runtime.health()["unassigned_sensors"] == ["spare"]


async def _taken(bed: Bed, item, runtime: Runtime) -> None:
    await runtime._delivery.start(lambda: ((), {}))
    bed.take(item)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(runtime._delivery.run())
        await runtime._delivery.stop({})


def test_alerts_of_a_replay_that_was_killed_end_when_it_begins_anew():
    """Nobody goes on with them, so their retained state must not stand at the broker for ever."""
    disk = Disk(remember([alert("a"), alert("b")], lambda at_ns: at_ns))

    asyncio.run(Bed(None, Script(), disk, name="replay").disown(ManualClock(), "replay-began-anew"))

    ended = [what for kind, what in disk.writes if kind == "alert"]
    assert [(each.id, each.state, each.revision) for each in ended] == [
        ("a", AlertState.CLOSED, 2),
        ("b", AlertState.CLOSED, 2),
    ]
    assert all(each.evidence["ended_by"] == "replay-began-anew" for each in ended)
    assert all(each.at_ns >= each.onset_at_ns for each in ended)
    assert disk.forgotten() == []


def test_a_damaged_store_is_told_to_the_people_at_the_bed(tmp_path):
    """The file is set aside, a new one begun, and a technical alert says so: not only the log."""
    settings = config(tmp_path, {"chest": "p-9c1e"})
    path = tmp_path / "outbox.db"
    assert str(path) == settings.outbox.path
    path.write_bytes(b"this was a database once" * 1000)
    raised: list[Alert] = []

    async def play():
        clock = ManualClock()
        heard = asyncio.Event()

        def note(finding):
            if isinstance(finding, Alert) and finding.condition.startswith("outbox-"):
                raised.append(finding)
                heard.set()

        delivery = Delivery(settings, clock, mqtt=None, broker="none")
        runtime = Runtime(settings, clock, delivery, on_finding=note)
        stop = asyncio.Event()
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            tasks.create_task(runtime.run(stop))
            await heard.wait()
            stop.set()

    asyncio.run(play())

    assert raised[0].condition == "outbox-database-damaged"
    assert raised[0].kind is AlertKind.TECHNICAL
    assert raised[0].state is AlertState.RAISED
