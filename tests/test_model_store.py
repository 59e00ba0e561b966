"""Models on disk: every step is whole or not there, an old release stays out, and going back is always possible."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
import threading
import zipfile
from pathlib import Path

import pytest

from converter.sign import trust_of
from edge.clock import ManualClock
from edge.errors import ModelContractError, ModelFault
from edge.inference.bundle import load_bundle
from edge.inference.shadow import Agreement
from edge.messages import Prediction
from edge.model_disk import Disk
from edge.model_state import MAX_EVENTS, Floor, ModelSlots, StoreState, decode_state, encode_state, pair_name
from edge.model_store import ModelStore, ModelStoreError
from tests.fakes.tiny_model import OTHER_KEY, TRUST, write_bundle

WEIGHTS = b"TFL3 stands for a model: the store never opens it"


def verify(path, model):
    return load_bundle(path, TRUST, task=model)


class Shelf:
    """A store in a folder, and bundles of any release to bring in."""

    def __init__(self, folder):
        self.folder = folder
        self.clock = ManualClock(start_wall_ns=1_790_000_000 * 10**9)

    def store(self, disk=None):
        return ModelStore(
            self.folder / "store", self.clock, builtin=lambda name: self.folder / "builtin" / name, disk=disk
        )

    def bundle(self, release, weights=WEIGHTS, **changes):
        path = self.folder / f"release-{release}-{len(weights)}"
        return (
            path if path.exists() else write_bundle(path, weights, release=release, version=f"{release}.0.0", **changes)
        )

    def promote(self, release):
        store = self.store()
        store.stage(self.bundle(release), "rhythm", verify)
        return store.promote("rhythm", verify)

    def releases(self):
        """Return the releases of the slots in use, before and waiting; None is the one that came with the software."""
        slots = self.store().state().slots("rhythm")
        return tuple(slot and slot.release for slot in (slots.active, slots.previous, slots.staged))


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path)


# --- the steps ----------------------------------------------------------------------------------------------


def test_an_empty_store_uses_what_came_with_the_software(shelf):
    """Looking makes no folder: a replay on a desk leaves nothing behind."""
    store = shelf.store()

    chosen = store.in_use("rhythm")

    assert chosen.path == shelf.folder / "builtin" / "rhythm"
    assert chosen.slot is None
    assert store.waiting("rhythm") is None
    assert store.damage() == ""
    assert not store.folder.exists()


def test_a_staged_bundle_is_copied_and_not_used(shelf):
    """The copy is the bundle, file by file; the original may go."""
    source = shelf.bundle(3)
    slot = shelf.store().stage(source, "rhythm", verify)

    copy = shelf.store().waiting("rhythm").path

    assert shelf.releases() == (None, None, 3)
    assert sorted(each.name for each in copy.iterdir()) == sorted(each.name for each in source.iterdir())
    assert all((copy / each.name).read_bytes() == each.read_bytes() for each in source.iterdir())
    assert copy.name == slot.sha256 == load_bundle(source, TRUST).sha256
    assert slot.at == "2026-09-21T14:13:20+00:00"


def test_a_bundle_comes_in_as_a_zip_too(shelf, tmp_path):
    source = shelf.bundle(3)
    packed = tmp_path / "bundle.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for each in source.iterdir():
            archive.write(each, each.name)

    slot = shelf.store().stage(packed, "rhythm", verify)

    assert verify(shelf.store().waiting("rhythm").path, "rhythm").sha256 == slot.sha256


def test_promoting_and_going_back(shelf):
    """The one before is kept; back beyond it is the one that came with the software."""
    shelf.promote(3)
    shelf.promote(4)
    after_two = shelf.releases()
    store = shelf.store()
    slots = store.state().slots("rhythm")

    first = store.rollback("rhythm", "worse on the ward")
    after_one_back = shelf.releases()
    second = store.rollback("rhythm", "worse still")

    assert after_two == (4, 3, None)
    assert slots.is_on_probation
    assert (first.release, after_one_back) == (3, (3, None, None))
    assert (second, shelf.releases()) == (None, (None, None, None))
    steps = [(event.step, event.why) for event in shelf.store().state().events]
    assert steps[-2:] == [("rollback", "worse on the ward"), ("rollback", "worse still")]
    with pytest.raises(ModelContractError, match="nothing to go back to"):
        store.rollback("rhythm", "")


def test_an_older_release_stays_out(shelf):
    """Anti-replay: whoever finds an old signed bundle cannot bring its faults back; only a rollback goes back."""
    shelf.promote(5)
    store = shelf.store()

    with pytest.raises(ModelContractError, match="release 4 is older than release 5") as caught:
        store.stage(shelf.bundle(4), "rhythm", verify)

    assert caught.value.reason is ModelFault.REPLAYED
    assert "rollback rhythm" in caught.value.hint
    store.rollback("rhythm", "back")
    with pytest.raises(ModelContractError, match="older than release 5"):  # the floor does not sink with a rollback
        store.stage(shelf.bundle(4), "rhythm", verify)


def test_releases_of_two_makers_are_not_compared(shelf, tmp_path):
    """A clinic that trains its own model begins to count at 1, whatever number the project has come to."""
    shelf.promote(5)
    own = write_bundle(tmp_path / "own", WEIGHTS, release=1, key=OTHER_KEY)
    both = TRUST.joined([trust_of(OTHER_KEY, "a clinic")])
    store = shelf.store()

    store.stage(own, "rhythm", lambda path, model: load_bundle(path, both, task=model))
    store.promote("rhythm", lambda path, model: load_bundle(path, both, task=model))

    assert shelf.releases() == (1, 5, None)
    with pytest.raises(ModelContractError, match="release 4 is older than release 5"):
        store.stage(shelf.bundle(4), "rhythm", verify)


def test_nothing_older_than_what_came_with_the_software_comes_in(shelf, tmp_path):
    """An update of the software is a promotion too."""
    own = load_bundle(shelf.bundle(5), TRUST)

    with pytest.raises(ModelContractError, match="release 4 is older than release 5"):
        shelf.store().stage(shelf.bundle(4), "rhythm", verify, own=own)
    assert shelf.store().stage(shelf.bundle(6), "rhythm", verify, own=own).release == 6


def test_a_bundle_that_the_configuration_names_is_held_against_what_was_promoted(shelf):
    """Whoever can exchange a folder cannot bring an old fault back by its path either."""
    shelf.promote(5)
    old, new = (load_bundle(shelf.bundle(release), TRUST) for release in (4, 6))

    with pytest.raises(ModelContractError, match="release 4 is older than release 5"):
        shelf.store().refuse_replay("rhythm", old)
    with pytest.raises(ModelContractError, match="release 4 is older than release 6"):
        shelf.store().refuse_replay("beat", old, own=new)
    shelf.store().refuse_replay("rhythm", new)
    shelf.store().refuse_replay("beat", old)


def test_two_bundles_of_one_release_are_not_both_taken(shelf):
    """The number would prove nothing any more."""
    shelf.promote(5)

    with pytest.raises(ModelContractError, match="another bundle of that release was in use here"):
        shelf.store().stage(shelf.bundle(5, WEIGHTS + b"."), "rhythm", verify)


def test_an_old_release_that_was_staged_before_is_not_promoted(shelf):
    """What was fine when it was staged may be old when it is promoted."""
    store = shelf.store()
    store.stage(shelf.bundle(4), "rhythm", verify)
    state = store.state()
    slots = state.slots("rhythm")
    maker = load_bundle(shelf.bundle(4), TRUST).signed_by.key_id
    changed = ModelSlots(staged=slots.staged, floors={maker: Floor(release=5, sha256="0" * 64)})
    (store.folder / "state.json").write_bytes(encode_state(StoreState(models={"rhythm": changed})))

    with pytest.raises(ModelContractError, match="older than release 5"):
        store.promote("rhythm", verify)


def test_a_model_that_was_taken_back_comes_in_again_only_on_purpose(shelf):
    """Whoever stages it learns that it failed here before."""
    shelf.promote(5)
    store = shelf.store()
    store.rollback("rhythm", "it died")

    with pytest.raises(ModelContractError, match="was taken back on 2026-09-21") as caught:
        store.stage(shelf.bundle(5), "rhythm", verify)
    store.stage(shelf.bundle(5), "rhythm", verify, is_again=True)

    assert "--again" in caught.value.hint
    assert shelf.releases() == (None, None, 5)


def test_what_is_in_use_is_not_staged(shelf):
    shelf.promote(5)

    with pytest.raises(ModelContractError, match="is in use already"):
        shelf.store().stage(shelf.bundle(5), "rhythm", verify)


def test_a_refused_bundle_changes_nothing(shelf, tmp_path):
    """Unsigned, altered or for another model: the store is as it was."""
    shelf.promote(3)
    before = (shelf.folder / "store" / "state.json").read_bytes()
    altered = write_bundle(tmp_path / "altered", WEIGHTS, release=9)
    (altered / "model.tflite").write_bytes(WEIGHTS + b"!")
    unsigned = write_bundle(tmp_path / "unsigned", WEIGHTS, release=9, key=None)

    for path, model in (
        (altered, "rhythm"),
        (unsigned, "rhythm"),
        (shelf.bundle(9), "beat"),
        (tmp_path / "no", "beat"),
    ):
        with pytest.raises(ModelContractError):
            shelf.store().stage(path, model, verify)

    assert (shelf.folder / "store" / "state.json").read_bytes() == before
    assert len(list((shelf.folder / "store" / "bundles").iterdir())) == 1


def test_a_staged_copy_that_was_altered_is_not_promoted(shelf):
    """Proven again at the moment that counts."""
    store = shelf.store()
    store.stage(shelf.bundle(3), "rhythm", verify)
    (store.waiting("rhythm").path / "model.tflite").write_bytes(b"evil")

    with pytest.raises(ModelContractError, match="truncated"):
        store.promote("rhythm", verify)
    assert shelf.releases() == (None, None, 3)


def test_a_damaged_copy_is_replaced_when_the_bundle_is_staged_again(shelf):
    store = shelf.store()
    slot = store.stage(shelf.bundle(3), "rhythm", verify)
    (store.waiting("rhythm").path / "model.tflite").write_bytes(b"evil")

    assert store.stage(shelf.bundle(3), "rhythm", verify) == slot
    assert store.promote("rhythm", verify).sha256 == slot.sha256


def test_a_bundle_that_changes_while_it_is_copied_is_refused(shelf):
    """Proven is what lies in the store, not what lay somewhere else a moment ago."""
    source = shelf.bundle(3)

    def exchanging(path, model):
        bundle = verify(path, model)
        if path == source:
            (source / "model.tflite").write_bytes(WEIGHTS.replace(b"T", b"t"))
        return bundle

    with pytest.raises(ModelContractError, match="was altered"):
        shelf.store().stage(source, "rhythm", exchanging)
    assert shelf.releases() == (None, None, None)


def test_the_shadow_is_switched_on_and_off(shelf):
    store = shelf.store()
    with pytest.raises(ModelContractError, match="nothing is staged"):
        store.shadow("rhythm", is_on=True)
    store.stage(shelf.bundle(3), "rhythm", verify)

    store.shadow("rhythm", is_on=True)
    is_on = store.state().slots("rhythm").is_shadow
    store.shadow("rhythm", is_on=False)

    assert is_on
    assert not store.state().slots("rhythm").is_shadow


def test_a_new_staged_bundle_does_not_inherit_the_shadow(shelf):
    """Its permission to run was given to another."""
    store = shelf.store()
    store.stage(shelf.bundle(3), "rhythm", verify)
    store.shadow("rhythm", is_on=True)

    store.stage(shelf.bundle(4), "rhythm", verify)

    assert not store.state().slots("rhythm").is_shadow


def test_only_bundles_that_something_points_at_are_kept(shelf):
    """In use, before, staged and taken back; the rest is swept away, so that a gateway's disk does not fill."""
    for release in (1, 2, 3, 4):
        shelf.promote(release)
    shelf.store().rollback("rhythm", "")
    shelf.store().stage(shelf.bundle(6), "rhythm", verify)

    kept = {load_bundle(path, TRUST).card.release for path in (shelf.folder / "store" / "bundles").iterdir()}

    assert kept == {3, 4, 6}


def test_confirming_ends_the_probation_once(shelf):
    shelf.promote(3)
    store = shelf.store()

    store.confirm("rhythm", "agreed")
    store.confirm("rhythm", "agreed")

    assert not store.state().slots("rhythm").is_on_probation
    assert [event.step for event in store.state().events] == ["stage", "promote", "confirm"]


def test_the_history_is_bounded(shelf):
    store = shelf.store()
    store.stage(shelf.bundle(3), "rhythm", verify)
    for number in range(MAX_EVENTS + 5):
        store.shadow("rhythm", is_on=bool(number % 2))

    assert len(store.state().events) == MAX_EVENTS


def test_two_models_have_slots_of_their_own(shelf, tmp_path):
    shelf.promote(3)
    beat = write_bundle(tmp_path / "beat", WEIGHTS, task="beat", release=1)

    shelf.store().stage(beat, "beat", verify)
    shelf.store().promote("beat", verify)
    shelf.store().rollback("rhythm", "")

    assert shelf.store().state().slots("beat").active.release == 1
    assert shelf.releases() == (None, None, None)


# --- the starts of the service ------------------------------------------------------------------------------


def test_starts_are_counted_until_one_is_healthy(shelf):
    counted = [shelf.store().note_start() for _ in range(3)]
    shelf.store().note_healthy()

    assert counted == [1, 2, 3]
    assert shelf.store().note_start() == 1


def test_deaths_before_a_promotion_do_not_count_against_it(shelf):
    """A loose plug yesterday says nothing of today's model."""
    shelf.store().note_start()
    shelf.store().note_start()

    shelf.promote(3)

    assert shelf.store().note_start() == 1


def test_a_healthy_service_with_nothing_to_forget_writes_nothing(shelf):
    shelf.store().note_healthy()

    assert not (shelf.folder / "store").exists()


# --- agreement over a restart -------------------------------------------------------------------------------


def agreement_of(*pairs):
    found = Agreement()
    for number, (active, beside) in enumerate(pairs):
        first, second = (
            Prediction(at_ns=number * 10**9, label=label, probabilities={}, bundle_sha256="", sensor="s", stream="e")
            for label in (active, beside)
        )
        found.add(first, second)
    return found


def test_counts_of_a_comparison_outlive_the_process(shelf):
    found = agreement_of(("N", "N"), ("N", "AFIB"), (None, "N"))
    shelf.store().keep_agreement("rhythm", "shadow", "a>b", found)

    again = shelf.store().agreement("rhythm", "shadow", "a>b")

    assert again.counts == found.counts == {("N", "N"): 1, ("N", "AFIB"): 1, ("", "N"): 1}
    assert shelf.store().agreement("rhythm", "shadow", "a>c").counts == {}
    assert shelf.store().agreement("rhythm", "probation", "a>b").counts == {}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"pair": "a>b"}', b'{"pair": "a>b", "counts": {"N": 1, "N>N": "x", "N>S": -1}}', b"[" * 9999],
)
def test_a_damaged_comparison_counts_as_none(shelf, content):
    """It begins anew; nothing else depends on it."""
    store = shelf.store()
    store.keep_agreement("rhythm", "shadow", "a>b", agreement_of(("N", "N")))
    (store.folder / "shadow-rhythm.json").write_bytes(content)

    assert store.agreement("rhythm", "shadow", "a>b").counts == {}


def test_a_pair_is_named_by_its_hashes(shelf):
    slot = shelf.promote(3)

    assert pair_name(slot, None) == f"{slot.sha256}>builtin"


# --- damage -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"{}", b'{"format_version": 2}', b"[1, 2", b'{"models": {"Beat": {}}}']
)
def test_a_damaged_state_is_told_and_what_came_with_the_software_is_used(shelf, content):
    """`{}` is a whole state of nothing; the others are no state at all."""
    shelf.promote(3)
    (shelf.folder / "store" / "state.json").write_bytes(content)

    store = shelf.store()

    assert store.in_use("rhythm").slot is None
    assert ("is damaged" in store.damage()) is (content != b"{}")


def test_a_damaged_state_is_set_aside_by_the_next_step(shelf, caplog):
    """Nobody loses what could be mended, and the next step works."""
    shelf.promote(3)
    path = shelf.folder / "store" / "state.json"
    for content in (b"first", b"second", b"third", b"fourth"):
        path.write_bytes(content)
        with caplog.at_level(logging.ERROR, "edge"):
            shelf.store().stage(shelf.bundle(4), "rhythm", verify)

    assert [path.with_name(f"state.json.damaged-{n}").read_bytes() for n in range(3)] == [
        b"first",
        b"second",
        b"fourth",
    ]
    assert shelf.releases() == (None, None, 4)
    assert sum("model.store-damaged" in record.getMessage() for record in caplog.records) == 4


def test_the_bundles_of_a_damaged_state_stay_for_whoever_mends_it(shelf):
    shelf.promote(3)
    (shelf.folder / "store" / "state.json").write_bytes(b"x")

    shelf.store().note_start()

    assert len(list((shelf.folder / "store" / "bundles").iterdir())) == 1


def test_a_state_comes_back_as_it_was_written(shelf):
    shelf.promote(3)
    shelf.promote(4)
    state = shelf.store().state()

    assert decode_state(encode_state(state)) == state
    assert json.loads(encode_state(state))["models"]["rhythm"]["active"]["release"] == 4


def test_a_folder_that_cannot_be_written_is_told_with_what_to_do(shelf):
    """Exit 3 of the command line: the environment is not usable."""
    (shelf.folder / "store").write_text("a file in its place")

    with pytest.raises(ModelStoreError, match="cannot be used") as caught:
        shelf.store().stage(shelf.bundle(3), "rhythm", verify)
    assert caught.value.hint


# --- the power goes -----------------------------------------------------------------------------------------


class DyingDisk(Disk):
    """A disk whose power goes at one step: before it, half-way through it, or just after it."""

    def __init__(self, dies_at, how):
        self.n_steps = 0
        self.dies_at = dies_at
        self.how = how
        self.is_dead = False

    def step(self, action, half=lambda: None):
        if self.is_dead:
            raise OSError(errno.EIO, "no power")
        self.n_steps += 1
        if self.n_steps - 1 != self.dies_at:
            action()
            return
        self.is_dead = True
        {"before": lambda: None, "half": half, "after": action}[self.how]()
        raise OSError(errno.EIO, "no power")

    def make_folder(self, path):
        self.step(lambda: super(DyingDisk, self).make_folder(path))

    def write(self, path, content):
        self.step(
            lambda: super(DyingDisk, self).write(path, content), lambda: path.write_bytes(content[: len(content) // 2])
        )

    def rename(self, source, target):
        self.step(lambda: super(DyingDisk, self).rename(source, target))

    def sync_folder(self, path):
        self.step(lambda: super(DyingDisk, self).sync_folder(path))

    def remove(self, path):
        def half():
            if path.is_dir():
                next(iter(path.iterdir())).unlink()

        self.step(lambda: super(DyingDisk, self).remove(path), half)


STEPS = {
    "stage": lambda store, shelf: store.stage(shelf.bundle(5), "rhythm", verify),
    "shadow": lambda store, shelf: store.shadow("rhythm", is_on=True),
    "promote": lambda store, shelf: store.promote("rhythm", verify),
    "rollback": lambda store, shelf: store.rollback("rhythm", "why"),
    "confirm": lambda store, shelf: store.confirm("rhythm", "why"),
    "note_start": lambda store, shelf: store.note_start(),
    "keep_agreement": lambda store, shelf: store.keep_agreement("rhythm", "shadow", "a>b", agreement_of(("N", "N"))),
}


@pytest.mark.parametrize("how", ["before", "half", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_whenever_the_power_goes_the_state_before_or_after_is_there(tmp_path, step, how):
    """At each single write, rename, sync and removal of every step; and the step can be done again afterwards."""
    run, dies_at = STEPS[step], 0
    prepared = Shelf(tmp_path / "prepared")
    prepared.promote(2)
    prepared.promote(3)
    prepared.store().stage(prepared.bundle(4), "rhythm", verify)
    prepared.bundle(5)
    before = prepared.store().state()
    while True:
        shelf = Shelf(shutil.copytree(tmp_path / "prepared", tmp_path / f"{dies_at}"))
        disk = DyingDisk(dies_at, how)
        with contextlib.suppress(ModelStoreError):
            run(shelf.store(disk), shelf)
        if not disk.is_dead:
            break

        found = shelf.store().state()
        again = shelf.store()
        for chosen in (again.in_use("rhythm"), again.before("rhythm"), again.waiting("rhythm")):
            if chosen is not None and chosen.slot is not None:
                assert verify(chosen.path, "rhythm").sha256 == chosen.slot.sha256
        assert again.damage() == ""
        if found == before and step != "keep_agreement":
            run(shelf.store(), shelf)
            assert shelf.store().state() != before
        dies_at += 1
    assert dies_at >= 4


def test_what_a_lost_power_left_half_written_is_swept_away(shelf):
    """A copy that was never finished costs room until the next step only."""
    disk = DyingDisk(5, "half")
    with pytest.raises(ModelStoreError):
        shelf.store(disk).stage(shelf.bundle(3), "rhythm", verify)
    left = [path.name for path in (shelf.folder / "store" / "bundles").iterdir()]

    shelf.store().note_start()

    assert len(left) == 1
    assert left[0].endswith(".new")
    assert list((shelf.folder / "store" / "bundles").iterdir()) == []


# --- several processes --------------------------------------------------------------------------------------


def test_two_at_once_do_not_undo_each_other(shelf):
    """The service counts its start while somebody stages on the command line."""
    shelf.promote(3)
    threads = [threading.Thread(target=shelf.store().note_start) for _ in range(8)]

    for thread in threads:
        thread.start()
    shelf.store().stage(shelf.bundle(4), "rhythm", verify)
    for thread in threads:
        thread.join()

    assert shelf.store().state().n_starts == 8
    assert shelf.releases() == (3, None, 4)


def test_files_are_on_the_medium_before_anything_points_at_them(shelf, monkeypatch):
    """Every file and its folder are synced before the state is renamed into place."""
    order = []
    real_sync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda fd: (order.append(str(Path(f"/proc/self/fd/{fd}").readlink())), real_sync(fd))[1]
    )
    monkeypatch.setattr(os, "replace", lambda a, b, **more: (order.append(f"{a}->{b}"), real_replace(a, b, **more))[1])

    slot = shelf.store().stage(shelf.bundle(3), "rhythm", verify)

    pointing = next(
        k for k, what in enumerate(order) if what.endswith("->" + str(shelf.folder / "store" / "state.json"))
    )
    synced = {what.rsplit("/", 1)[-1] for what in order[:pointing]}
    assert {"manifest.json", "manifest.sig", "model.tflite", "golden.json", ".state.json.new", "bundles"} <= synced
    assert f".{slot.sha256}.new" in synced
