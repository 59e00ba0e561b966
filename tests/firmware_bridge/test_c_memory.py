"""The store and the ring of the C library against models of a few lines."""

from __future__ import annotations

import ctypes as c

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.firmware_bridge import c_library as lib

BLOCK_SAMPLES = 5
TICKS_PER_SAMPLE = 131


class Store:
    """The C store in RAM, with samples that tell their own number."""

    def __init__(self, n_blocks):
        self._library = lib.loaded()
        self._state = c.create_string_buffer(self._library.shim_store_bytes())
        self._memory = (lib.u8 * (n_blocks * (16 + 2 * BLOCK_SAMPLES)))()
        n_bytes = lib.size(len(self._memory))
        shape = (lib.u16(BLOCK_SAMPLES), lib.u8(1), lib.u8(2))
        assert self._library.fb_store_init_ram(self._state, self._memory, n_bytes, *shape) == lib.OK

    def put(self, sequence, n_samples):
        ticks = [(sequence + k) * TICKS_PER_SAMPLE % 2**32 for k in (0, n_samples - 1)]
        block = lib.StoreBlock(sequence % 2**32, *ticks, n_samples)
        data = b"".join(((sequence + k) % 65536).to_bytes(2, "little") for k in range(n_samples))
        return self._library.fb_store_put(self._state, c.byref(block), lib.array(data))

    def samples(self, first, count):
        """Every sample that is found, as (sequence, value, ticks)."""
        out, found = [], lib.StoreFound()
        find = self._library.fb_store_find
        while find(self._state, lib.u32(first % 2**32), lib.u32(count), c.byref(found)) == lib.OK:
            raw = (lib.u8 * (2 * found.n_samples))()
            read = self._library.fb_store_read
            assert read(self._state, c.byref(found), lib.size(0), raw, lib.size(len(raw))) == lib.OK
            values = [int.from_bytes(bytes(raw[2 * k : 2 * k + 2]), "little") for k in range(found.n_samples)]
            out += [((found.sequence + k) % 2**32, value) for k, value in enumerate(values)]
            count -= (found.sequence - first) % 2**32 + found.n_samples
            first = found.sequence + found.n_samples
        return out


steps = st.lists(st.tuples(st.integers(0, 12), st.integers(1, BLOCK_SAMPLES)), max_size=20)
queries = st.lists(st.tuples(st.integers(-40, 140), st.integers(0, 100)), min_size=1, max_size=6)


@given(st.integers(1, 6), st.sampled_from([0, 1000, 2**32 - 30]), steps, queries)
def test_store_finds_what_a_list_of_the_newest_blocks_has(n_blocks, start, blocks, asked):
    """Invariant: each sample of the newest blocks is found once, in order, and nothing else, over the wrap too."""
    store, model, at = Store(n_blocks), [], start
    for gap, n_samples in blocks:
        at += gap
        assert store.put(at, n_samples) == lib.OK
        model = [*model, range(at, at + n_samples)][-n_blocks:]
        at += n_samples
    kept = [sequence for block in model for sequence in block]

    for offset, count in asked:
        first = start + offset
        expected = [(it % 2**32, it % 65536) for it in kept if first <= it < first + count]
        assert store.samples(first, count) == expected


@given(st.sampled_from([1, 2, 8]), st.lists(st.booleans(), max_size=60))
def test_ring_is_a_queue_that_refuses_the_newest(n_elements, moves):
    """Invariant: what went in comes out in order; what found no room is refused and counted."""
    library = lib.loaded()
    state, memory = c.create_string_buffer(256), (lib.u8 * (4 * n_elements))()
    assert library.fb_ring_init(state, memory, lib.u32(n_elements), lib.size(4)) == lib.OK
    queue, n_refused = [], 0
    for number, is_push in enumerate(moves):
        if is_push:
            status = library.fb_ring_push(state, lib.array(number.to_bytes(4, "little")))
            assert status == (lib.OK if len(queue) < n_elements else lib.FULL)
            n_refused += status != lib.OK
            queue += [number] if status == lib.OK else []
        else:
            out = (lib.u8 * 4)()
            assert library.fb_ring_pop(state, out) == (lib.OK if queue else lib.EMPTY)
            assert int.from_bytes(bytes(out), "little") == (queue.pop(0) if queue else 0)
        assert library.fb_ring_used(state) == len(queue)
    assert library.fb_ring_overflows(state) == n_refused


@pytest.mark.parametrize("n_elements", [1, 8, 64])
def test_ring_between_two_threads_tears_and_reorders_nothing(n_elements):
    """A producer at full speed against a consumer: whole elements, ascending; taken + refused = pushed."""
    n_popped, n_overflows = lib.u32(), lib.u32()

    n_wrong = lib.loaded().shim_ring_race(200_000, n_elements, c.byref(n_popped), c.byref(n_overflows))

    assert n_wrong == 0
    assert n_popped.value + n_overflows.value == 200_000
