"""The models of a running service: shadow, promotion, probation, rollback, and the rules that go on throughout."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.util
import logging
import threading

import numpy as np
import pytest

from edge.clock import ManualClock
from edge.errors import ModelContractError, ModelFault
from edge.inference.lifecycle import ModelDemands
from edge.inference.shadow import ProbationSettings
from edge.inference.trust import TrustedKeys
from edge.messages import Window
from edge.model_choice import candidates, choose_model, open_chosen, verify_with
from edge.model_lanes import ServedModel
from edge.model_service import ModelService, ModelServiceSettings, note_start
from edge.model_state import Chosen
from edge.model_store import ModelStore
from tests.fakes.tiny_model import (
    N_SAMPLES,
    OUTPUT_CARD,
    RATE_HZ,
    TRUST,
    classifier_model,
    golden_windows,
    write_bundle,
)

pytest.importorskip("ai_edge_litert.interpreter", reason="needs the litert extra")

S = 10**9
PATIENCE_S = 10.0
DEMANDS = ModelDemands(task="rhythm", trust=TRUST)
VERIFY = verify_with(DEMANDS)
SETTINGS = ModelServiceSettings(
    probation=ProbationSettings(min_duration_s=50.0, duration_s=500.0, min_decided=20), keep_s=60.0
)


class Hangs:
    """A model that answers when it is let through."""

    def __init__(self, gate):
        self.gate = gate

    def push(self, item):
        assert self.gate.wait(PATIENCE_S)
        return []

    def reset(self, reason):
        """Do nothing."""

    def status(self):
        return "hangs"


def rhythm_window(number=1, step_s=2.0, level=0.5):
    return Window(
        sensor="chest",
        stream="ecg",
        values=np.full((N_SAMPLES, 1), level),
        rate_hz=RATE_HZ,
        start_ns=round(number * step_s * S),
        sequence=number,
        quality=0.9,
        model="rhythm",
    )


class Gateway:
    """A store, bundles and a service over them; `restart` is the next run of the process."""

    def __init__(self, folder):
        self.folder = folder
        self.clock = ManualClock(start_wall_ns=1_790_000_000 * S)
        write_bundle(folder / "builtin" / "rhythm", release=1, version="1.0.0")
        self.store = ModelStore(folder / "store", self.clock, builtin=lambda name: folder / "builtin" / name)
        self.service = None
        self.number = 0

    @property
    def builtin(self):
        return self.folder / "builtin" / "rhythm"

    def bundle(self, release, *, is_swapped=False):
        """Write a bundle; a swapped one says the other label to everything."""
        path = self.folder / f"release-{release}"
        output = OUTPUT_CARD | {"labels": ["AFIB", "N"]} if is_swapped else OUTPUT_CARD
        return write_bundle(path, release=release, version=f"{release}.0.0", output=output)

    def promote(self, release, **more):
        self.store.stage(self.bundle(release, **more), "rhythm", VERIFY)
        return self.store.promote("rhythm", VERIFY)

    def start(self, settings=SETTINGS):
        verdict = note_start(self.store, settings)
        choice = choose_model("rhythm", candidates("rhythm", self.store, self.builtin), DEMANDS)
        served = ServedModel(choice=choice, demands=DEMANDS, deadline_s=2.0, builtin=self.builtin, is_from_store=True)
        self.service = ModelService(
            {"rhythm": served}, self.clock, self.store, rolled_back=verdict.rolled_back, settings=settings
        )
        self.stage = self.service.classifiers("bed-1")["rhythm"]
        return verdict

    def stop(self):
        self.service.stop(PATIENCE_S)

    def windows(self, n_windows, *, step_s=2.0, level=0.5):
        """Show windows and return the answers that are acted on."""
        found = []
        for _ in range(n_windows):
            self.number += 1
            self.clock.advance(step_s)
            found += self.stage.push(rhythm_window(self.number, step_s, level))
            for thread in self.stage.threads:
                assert thread._worker.wait_idle(PATIENCE_S)
            found += self.stage.poll()
        return found

    def look_after(self):
        asyncio.run(self.service.look_after())

    def conditions(self):
        return {(each.code, each.is_active) for each in self.service.conditions("bed-1")}

    def in_use(self):
        slot = self.store.in_use("rhythm").slot
        return None if slot is None else slot.release


@pytest.fixture
def gateway(tmp_path):
    gateway = Gateway(tmp_path)
    yield gateway
    if gateway.service is not None:
        gateway.stop()


# --- running ------------------------------------------------------------------------------------------------


def test_windows_are_answered_and_counted(gateway):
    """The model that came with the software, in its own thread."""
    gateway.start()

    found = gateway.windows(5)

    assert [each.label for each in found] == ["N"] * 5
    told = gateway.service.health()["rhythm"]
    assert told["windows"]["n_done"] == 5
    assert told["source"] == "rhythm"
    assert told["status"].startswith("tiny 1.0.0 (signed by the tests")
    assert gateway.conditions() == set()


def test_half_a_minute_at_once_is_answered_window_by_window(gateway):
    """A link that stood still delivers every beat of half a minute in one go; none may fall to the rules for that."""
    gateway.start()
    found = []
    for number in range(60):
        found += gateway.stage.push(rhythm_window(number))
    assert gateway.stage.threads[0]._worker.wait_idle(PATIENCE_S)
    found += gateway.stage.poll()

    assert [each.label for each in found] == ["N"] * 60


def test_a_shadow_is_counted_and_never_acted_on(gateway):
    """What it says differs on every window, and nobody hears of it but the figures."""
    gateway.store.stage(gateway.bundle(2, is_swapped=True), "rhythm", VERIFY)
    gateway.store.shadow("rhythm", is_on=True)
    gateway.start()

    found = gateway.windows(10)
    gateway.stop()

    assert [each.label for each in found] == ["N"] * 10
    comparison = gateway.service.health()["rhythm"]["comparisons"]["shadow"]
    assert comparison["counts"] == {"N>AFIB": 10}
    slots = gateway.store.state().slots("rhythm")
    kept = gateway.store.agreement("rhythm", "shadow", f"builtin>{slots.staged.sha256}")
    assert kept.counts == {("N", "AFIB"): 10}


def test_a_comparison_goes_on_after_a_restart(gateway):
    gateway.store.stage(gateway.bundle(2), "rhythm", VERIFY)
    gateway.store.shadow("rhythm", is_on=True)
    for _ in range(2):
        gateway.start()
        gateway.windows(5)
        gateway.stop()

    assert gateway.service.health()["rhythm"]["comparisons"]["shadow"]["counts"] == {"N>N": 10}


def test_another_staged_model_is_compared_anew(gateway):
    """What was counted of one says nothing of the other, although both are the shadow."""
    gateway.start()
    for release, is_swapped in ((2, True), (3, False)):
        gateway.store.stage(gateway.bundle(release, is_swapped=is_swapped), "rhythm", VERIFY)
        gateway.store.shadow("rhythm", is_on=True)
        gateway.look_after()
        gateway.windows(4)

    assert gateway.service.health()["rhythm"]["comparisons"]["shadow"]["counts"] == {"N>N": 4}


def test_a_running_service_follows_what_is_ordered(gateway):
    """Shadow, promotion and rollback on the command line take hold without a restart: monitoring is not interrupted."""
    gateway.start()
    gateway.windows(1)
    gateway.store.stage(gateway.bundle(2, is_swapped=True), "rhythm", VERIFY)
    gateway.store.shadow("rhythm", is_on=True)
    gateway.look_after()
    in_shadow = gateway.windows(3)
    gateway.store.promote("rhythm", VERIFY)
    gateway.look_after()
    promoted = gateway.windows(3)
    gateway.store.rollback("rhythm", "ordered")
    gateway.look_after()
    back = gateway.windows(3)

    assert [each.label for each in in_shadow] == ["N"] * 3
    assert [each.label for each in promoted] == ["AFIB"] * 3
    assert {each.bundle_sha256 for each in promoted} != {each.bundle_sha256 for each in in_shadow}
    assert [each.label for each in back] == ["N"] * 3
    assert gateway.service.health()["rhythm"]["windows"]["n_done"] == 10
    assert gateway.service.health()["rhythm"]["comparisons"] == {}


# --- probation ----------------------------------------------------------------------------------------------


def test_a_promotion_that_differs_from_the_one_before_is_taken_back(gateway):
    """On the same patient, window by window; it is an alarm of the equipment, and the old model is used again."""
    gateway.promote(2, is_swapped=True)
    gateway.start()
    promoted = gateway.windows(30)
    gateway.look_after()
    after = gateway.windows(3)

    assert [each.label for each in promoted] == ["AFIB"] * 30
    assert gateway.in_use() is None
    assert [each.label for each in after] == ["N"] * 3
    assert gateway.conditions() == {("model-rolled-back:rhythm", True)}
    assert "differs from the one before on 100 %" in gateway.store.state().events[-1].why
    assert "differs" in gateway.service.health()["rhythm"]["rolled_back"]


def test_a_rollback_is_shown_for_an_hour(gateway):
    gateway.promote(2, is_swapped=True)
    gateway.start()
    gateway.windows(30)
    gateway.look_after()
    began = gateway.conditions()
    gateway.clock.advance(3599)
    still = gateway.conditions()
    gateway.clock.advance(2)

    assert (began, still) == ({("model-rolled-back:rhythm", True)}, set())
    assert gateway.conditions() == {("model-rolled-back:rhythm", False)}


def test_a_promotion_that_agrees_is_confirmed_after_its_time(gateway):
    """From then on the previous model no longer runs beside."""
    gateway.promote(2)
    gateway.start()
    gateway.windows(40, step_s=10.0)
    gateway.look_after()
    early = gateway.store.state().slots("rhythm").is_on_probation
    gateway.windows(15, step_s=10.0)
    gateway.look_after()

    assert early
    assert not gateway.store.state().slots("rhythm").is_on_probation
    assert gateway.in_use() == 2
    assert gateway.service.health()["rhythm"]["comparisons"] == {}
    assert gateway.store.state().events[-1].step == "confirm"


def test_who_promotes_after_a_shadow_that_differed_meant_it(gateway):
    """The limit of the probation lies beyond what the shadow had shown."""
    gateway.store.stage(gateway.bundle(2, is_swapped=True), "rhythm", VERIFY)
    gateway.store.promote("rhythm", VERIFY, expected_disagreement_ratio=1.0)
    gateway.start()
    gateway.windows(30)
    gateway.look_after()

    assert gateway.in_use() == 2


# --- refused at the start -----------------------------------------------------------------------------------


def test_a_promoted_model_that_is_refused_gives_way_to_the_one_before(gateway):
    """Golden windows that come out otherwise on this machine, as after a new version of the runtime."""
    gateway.promote(2)
    gateway.promote(3)
    path = gateway.store.in_use("rhythm").path
    golden = [found | {"output": [0, 0]} for found in golden_windows()]
    write_bundle(gateway.folder / "other", release=3, version="3.0.0", golden=golden)
    (path / "golden.json").write_bytes((gateway.folder / "other" / "golden.json").read_bytes())

    gateway.start()
    found = gateway.windows(2)

    assert [each.label for each in found] == ["N"] * 2
    assert gateway.in_use() == 2
    assert gateway.conditions() == {("model-rolled-back:rhythm", True)}
    assert "refused here" in gateway.store.state().events[-1].why


def test_two_refused_models_give_way_to_the_one_that_came_with_the_software(gateway):
    gateway.promote(2)
    gateway.promote(3)
    for path in (gateway.folder / "store" / "bundles").iterdir():
        (path / "model.tflite").write_bytes(b"\0" * 1000)

    gateway.start()

    assert gateway.in_use() is None
    assert [each.label for each in gateway.windows(2)] == ["N"] * 2
    assert [event.step for event in gateway.store.state().events[-2:]] == ["rollback", "rollback"]


def test_a_machine_without_a_runtime_takes_nothing_back(gateway):
    """It is the machine that is wrong: the promotion stands for when it is mended."""
    if importlib.util.find_spec("tflite_runtime"):
        pytest.skip("both runtimes are installed")
    gateway.promote(2)
    demands = dataclasses.replace(DEMANDS, backend="tflite")

    with pytest.raises(ModelContractError) as caught:
        choose_model("rhythm", candidates("rhythm", gateway.store, gateway.builtin), demands)

    assert caught.value.reason is ModelFault.RUNTIME
    assert gateway.in_use() == 2


def test_another_bundle_in_the_place_of_the_promoted_one_is_refused(gateway):
    """Signed, whole and good, but not the one that was staged: an older one put back by hand."""
    gateway.promote(2)
    gateway.promote(3)
    path = gateway.store.in_use("rhythm").path
    for each in gateway.store.before("rhythm").path.iterdir():
        (path / each.name).write_bytes(each.read_bytes())

    with pytest.raises(ModelContractError, match="is not the bundle that was staged"):
        open_chosen(gateway.store.in_use("rhythm"), DEMANDS)


def test_no_model_at_all_says_why(tmp_path):
    with pytest.raises(ModelContractError, match="no model named mine comes with this software") as caught:
        choose_model("mine", candidates("mine", None, None), DEMANDS)
    assert "model.mine.bundle" in caught.value.hint


def test_a_promotion_that_cannot_be_opened_leaves_the_one_in_use(gateway):
    """While the service runs, a damaged copy on disk is no reason to stop what works."""
    gateway.start()
    gateway.windows(1)
    gateway.promote(2)
    builtin = gateway.builtin
    for path in [*(gateway.folder / "store" / "bundles").iterdir(), builtin]:
        (path / "model.tflite").write_bytes(b"\0" * 1000)

    gateway.look_after()

    assert [each.label for each in gateway.windows(2)] == ["N"] * 2
    assert gateway.conditions() == {("model-refused:rhythm", True)}


class HangingKeys(TrustedKeys):
    """Keys that never answer: stands for a runtime that hangs while its golden windows run."""

    __slots__ = ()
    gate = threading.Event()

    def verdict(self, manifest, signature_file, source):
        self.gate.wait(PATIENCE_S)
        return super().verdict(manifest, signature_file, source)


def test_a_bundle_that_hangs_does_not_keep_the_monitoring_from_starting(gateway):
    demands = dataclasses.replace(DEMANDS, trust=HangingKeys(keys=TRUST.keys))
    try:
        with pytest.raises(ModelContractError, match=r"not done within 0\.05 s"):
            open_chosen(Chosen(path=gateway.builtin, slot=None), demands, at_most_s=0.05)
    finally:
        HangingKeys.gate.set()


# --- the process keeps dying --------------------------------------------------------------------------------


def test_a_service_that_keeps_dying_after_a_promotion_takes_it_back(gateway):
    """A model that ends the process cannot report itself: the starts are counted on disk."""
    gateway.promote(2)
    verdicts = [note_start(gateway.store, SETTINGS) for _ in range(3)]
    last = gateway.start()

    assert not any(verdict.rolled_back or verdict.without_models for verdict in verdicts)
    assert list(last.rolled_back) == ["rhythm"]
    assert not last.without_models
    assert gateway.in_use() is None
    assert gateway.conditions() == {("model-rolled-back:rhythm", True)}
    assert "ended 3 times in a row" in gateway.store.state().events[-1].why
    assert gateway.store.state().n_starts == 1


def test_a_service_that_keeps_dying_without_a_promotion_runs_without_models(gateway):
    """Whatever it is: monitoring by rules is worth more than a model."""
    for _ in range(3):
        note_start(gateway.store, SETTINGS)

    assert "ended 3 times" in note_start(gateway.store, SETTINGS).without_models


def test_a_service_that_keeps_dying_with_a_shadow_runs_without_it(gateway):
    """What nobody needs goes first; the model in use is used, and the next deaths count from here."""
    gateway.promote(2)
    gateway.store.confirm("rhythm", "proven")
    gateway.store.stage(gateway.bundle(3), "rhythm", VERIFY)
    gateway.store.shadow("rhythm", is_on=True)
    for _ in range(3):
        note_start(gateway.store, SETTINGS)

    verdict = gateway.start()

    slots = gateway.store.state().slots("rhythm")
    assert (verdict.rolled_back, verdict.without_models) == ({}, "")
    assert (slots.active.release, slots.staged.release, slots.is_shadow) == (2, 3, False)
    assert gateway.store.state().events[-1].why.startswith("off: the service ended 3 times in a row")
    assert gateway.store.state().n_starts == 1


def test_a_model_that_has_proven_itself_is_not_blamed(gateway):
    gateway.promote(2)
    gateway.store.confirm("rhythm", "proven")
    for _ in range(3):
        note_start(gateway.store, SETTINGS)

    verdict = note_start(gateway.store, SETTINGS)

    assert verdict.rolled_back == {}
    assert verdict.without_models
    assert gateway.in_use() == 2


@pytest.mark.parametrize("ending", ["healthy", "ordered"])
def test_a_run_that_went_well_is_no_death(gateway, ending):
    """Ten minutes of running, or an ordered stop."""
    gateway.promote(2)
    for _ in range(4):
        gateway.start()
        if ending == "healthy":
            gateway.clock.advance(601)
            gateway.look_after()
        else:
            gateway.stop()

    assert gateway.in_use() == 2
    assert gateway.store.state().n_starts == 0


def test_a_store_that_cannot_be_written_stops_nothing(gateway):
    """A full or read-only disk: models run, nothing is promoted."""
    (gateway.folder / "store").write_text("a file in its place")

    gateway.start()
    found = gateway.windows(2)
    gateway.clock.advance(700)
    gateway.look_after()

    assert [each.label for each in found] == ["N"] * 2


def test_a_store_that_is_damaged_meanwhile_changes_nothing_and_is_told(gateway):
    """The promoted model goes on; a file that cannot be read is no order."""
    gateway.promote(2, is_swapped=True)
    gateway.start()
    state = (gateway.folder / "store" / "state.json").read_bytes()
    (gateway.folder / "store" / "state.json").write_bytes(b"x")
    gateway.look_after()
    damaged = gateway.conditions()
    labels = [each.label for each in gateway.windows(2)]
    (gateway.folder / "store" / "state.json").write_bytes(state)
    gateway.look_after()

    assert damaged == {("model-store-damaged", True)}
    assert labels == ["AFIB"] * 2
    assert gateway.conditions() == {("model-store-damaged", False)}


class BrokenStore(ModelStore):
    """A store that fails in a way that nobody thought of."""

    n_asked = 0

    def damage(self):
        self.n_asked += 1
        raise RuntimeError("nobody thought of this")


def test_nothing_that_goes_wrong_with_the_store_ends_the_service(gateway, caplog):
    """The task that looks after the models goes on, and so does everything beside it."""
    gateway.start()
    store = BrokenStore(gateway.folder / "store", gateway.clock, builtin=lambda name: gateway.builtin)
    gateway.service._store = store

    async def some_minutes():
        task = asyncio.create_task(gateway.service.run())
        async with asyncio.timeout(PATIENCE_S):
            while store.n_asked < 3:
                gateway.clock.advance(60)
                await asyncio.sleep(0)
        is_done = task.done()
        task.cancel()
        return is_done

    with caplog.at_level(logging.ERROR, "edge.model_service"):
        is_done = asyncio.run(some_minutes())

    assert not is_done
    assert "model.look-after-failed" in {record.getMessage() for record in caplog.records}


def test_a_step_that_somebody_else_took_a_moment_ago_is_no_trouble(gateway):
    """A rollback on the command line between the look at the figures and our own."""
    gateway.promote(2, is_swapped=True)
    gateway.start()
    gateway.windows(30)

    class Slow(ModelStore):
        def rollback(self, model, why):
            gateway.store.rollback(model, "by hand")
            return super().rollback(model, why)

    gateway.service._store = Slow(gateway.folder / "store", gateway.clock, builtin=lambda name: gateway.builtin)
    gateway.look_after()
    gateway.look_after()

    assert gateway.in_use() is None
    assert [each.label for each in gateway.windows(2)] == ["N"] * 2


def test_without_a_store_there_is_nothing_to_look_after(gateway):
    """A replay, or a bundle that the configuration names."""
    choice = choose_model("rhythm", candidates("rhythm", None, gateway.builtin), DEMANDS)
    gateway.service = ModelService(
        {"rhythm": ServedModel(choice=choice, demands=DEMANDS, deadline_s=2.0)}, gateway.clock
    )
    gateway.stage = gateway.service.classifiers("bed-1")["rhythm"]

    gateway.look_after()

    assert [each.label for each in gateway.windows(2)] == ["N"] * 2


# --- told ---------------------------------------------------------------------------------------------------


def test_a_refused_model_is_told_at_every_bed(gateway):
    service = ModelService({}, gateway.clock, refused={"beat": "no signature"})

    codes = [[each.code for each in service.conditions(bed)] for bed in ("bed-1", "bed-2", "bed-1")]

    assert codes == [["model-refused:beat"], ["model-refused:beat"], []]
    assert service.health() == {"beat": {"status": "refused: no signature"}}


def test_a_service_whose_threads_hang_ends_in_order_all_the_same(gateway):
    """It gives up waiting, and this was no death of the process."""
    gateway.start()
    gates = [threading.Event() for _ in range(4)]
    for gate in gates:
        (stage,) = gateway.service.classifiers("bed-1").values()
        stage.threads[0]._worker._classifier = Hangs(gate)
        stage.push(rhythm_window())

    gateway.service.stop(0.2)
    for gate in gates:
        gate.set()

    assert gateway.store.state().n_starts == 0


def test_a_late_model_is_told_at_its_own_bed_only(gateway):
    """The other bed's threads are its own."""
    gateway.start()
    gateway.service.classifiers("bed-2")
    gateway.stage.threads[0]._worker._count(n_late=1)

    assert {each.code for each in gateway.service.conditions("bed-1")} == {"model-late:rhythm"}
    assert gateway.service.conditions("bed-2") == []


def test_drift_is_reported_by_bed(gateway):
    """On the grid of its evidence, in the figures of the service."""
    gateway.start()
    gateway.windows(100, step_s=10.0)

    report = gateway.service.health()["rhythm"]["drift"]["bed-1"]

    assert report["label_pct"] == {"N": 100.0}
    assert report["unusual"] is None


def test_the_drift_of_a_new_model_is_counted_anew(gateway):
    """What the one before saw and said is not its own."""
    gateway.start()
    gateway.windows(92, step_s=10.0)
    before = gateway.service.health()["rhythm"]["drift"]
    gateway.promote(2)
    gateway.look_after()
    gateway.windows(5, step_s=10.0)

    assert before["bed-1"]["n_windows"] > 80
    assert gateway.service.health()["rhythm"]["drift"] == {}


def test_float_models_never_come_in(gateway):
    path = write_bundle(gateway.folder / "float", classifier_model(is_float=True), release=9)

    with pytest.raises(ModelContractError, match="float tensors"):
        gateway.store.stage(path, "rhythm", VERIFY)
