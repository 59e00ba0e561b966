/*! @file
 * A ring of blocks; see fb_store.h.
 *
 * Slots are of one size and lie in units that are erased together; a slot never straddles two units, what is left at a
 * unit's end is not used.  A slot: sequence u32, ticks u32, last_ticks u32, n_samples u16, two bytes of 0, samples.
 * Sequences of the blocks ascend around the ring, so that a block is found by halving. */
#include "fb_store.h"

#define HALF_RANGE 0x80000000u
#define CHANNELS_MAX 16u
#define ALIGN_MAX 16u

static bool set_shape(fb_store_t *store, uint16_t block_samples, uint8_t n_channels, uint8_t bytes_per_value) {
  if (block_samples == 0u || n_channels == 0u || n_channels > CHANNELS_MAX || bytes_per_value < 2u ||
      bytes_per_value > 3u) {
    return false;
  }
  store->block_samples = block_samples;
  store->sample_bytes = (uint8_t)(n_channels * bytes_per_value);
  store->block_bytes = FB_STORE_HEAD_BYTES + (uint32_t)block_samples * store->sample_bytes;
  store->n_overwritten_blocks = 0u;
  store->n_failed_writes = 0u;
  fb_store_clear(store);
  return true;
}

fb_status_t fb_store_init_ram(fb_store_t *store, uint8_t *memory, size_t n_bytes, uint16_t block_samples,
                              uint8_t n_channels, uint8_t bytes_per_value) {
  static const fb_storage_t NONE = {NULL, NULL, NULL, NULL, 0u, 0u, 0u};
  if (!set_shape(store, block_samples, n_channels, bytes_per_value) || n_bytes < store->block_bytes) {
    return FB_BAD_ARGUMENT;
  }
  store->storage = NONE;
  store->memory = memory;
  store->unit_bytes = store->block_bytes;
  store->blocks_per_unit = 1u;
  store->n_slots = (uint32_t)(n_bytes / store->block_bytes);
  return FB_OK;
}

fb_status_t fb_store_init(fb_store_t *store, const fb_storage_t *storage, uint16_t block_samples, uint8_t n_channels,
                          uint8_t bytes_per_value) {
  const uint32_t align = storage->align_bytes == 0u ? 1u : storage->align_bytes;
  if (!set_shape(store, block_samples, n_channels, bytes_per_value) || storage->read == NULL ||
      storage->write == NULL || ALIGN_MAX % align != 0u) {
    return FB_BAD_ARGUMENT;
  }
  store->block_bytes = (store->block_bytes + align - 1u) / align * align;
  const uint32_t unit_bytes = storage->erase_bytes == 0u ? store->block_bytes : storage->erase_bytes;
  const uint32_t n_units = storage->size_bytes / unit_bytes;
  const uint32_t least_units = storage->erase == NULL ? 1u : 2u;
  if (unit_bytes < store->block_bytes || unit_bytes % align != 0u || n_units < least_units) {
    return FB_BAD_ARGUMENT;
  }
  store->storage = *storage;
  store->memory = NULL;
  store->unit_bytes = unit_bytes;
  store->blocks_per_unit = unit_bytes / store->block_bytes;
  store->n_slots = n_units * store->blocks_per_unit;
  return FB_OK;
}

void fb_store_clear(fb_store_t *store) {
  store->first = 0u;
  store->n_blocks = 0u;
  store->oldest_sequence = 0u;
  store->next_sequence = 0u;
}

/* The slot `nth` after the oldest block. */
static uint32_t slot_of(const fb_store_t *store, uint32_t nth) {
  const uint32_t slot = store->first + nth;
  return slot >= store->n_slots ? slot - store->n_slots : slot;
}

static uint32_t address_of(const fb_store_t *store, uint32_t slot) {
  return slot / store->blocks_per_unit * store->unit_bytes + slot % store->blocks_per_unit * store->block_bytes;
}

static void copy(uint8_t *to, const uint8_t *from, size_t n_bytes) {
  for (size_t k = 0u; k < n_bytes; k++) {
    to[k] = from[k];
  }
}

static fb_status_t read_bytes(const fb_store_t *store, uint32_t at, uint8_t *out, size_t n_bytes) {
  if (store->memory == NULL) {
    return store->storage.read(store->storage.context, at, out, n_bytes);
  }
  copy(out, store->memory + at, n_bytes);
  return FB_OK;
}

static fb_status_t write_bytes(fb_store_t *store, uint32_t at, const uint8_t *data, size_t n_bytes) {
  if (store->memory == NULL) {
    return store->storage.write(store->storage.context, at, data, n_bytes);
  }
  copy(store->memory + at, data, n_bytes);
  return FB_OK;
}

static fb_status_t read_block(const fb_store_t *store, uint32_t nth, fb_store_block_t *block) {
  uint8_t head[FB_STORE_HEAD_BYTES];
  if (read_bytes(store, address_of(store, slot_of(store, nth)), head, sizeof head) != FB_OK) {
    return FB_FAILED;
  }
  block->sequence = fb_get_u32(head);
  block->ticks = fb_get_u32(head + 4);
  block->last_ticks = fb_get_u32(head + 8);
  block->n_samples = fb_get_u16(head + 12);
  return FB_OK;
}

static fb_status_t forget_oldest(fb_store_t *store, uint32_t n_blocks) {
  fb_store_block_t block;
  store->first = slot_of(store, n_blocks);
  store->n_blocks -= n_blocks;
  store->n_overwritten_blocks += n_blocks;
  if (store->n_blocks == 0u) {
    return FB_OK;
  }
  const fb_status_t status = read_block(store, 0u, &block);
  if (status == FB_OK) {
    store->oldest_sequence = block.sequence;
  }
  return status;
}

/* Make the next slot free to be written, and with it, where memory must be erased, the rest of its unit. */
static fb_status_t make_room(fb_store_t *store) {
  const uint32_t slot = slot_of(store, store->n_blocks);
  const bool begins_unit = store->storage.erase != NULL && slot % store->blocks_per_unit == 0u;
  const uint32_t n_wanted = begins_unit ? store->blocks_per_unit : 1u;
  const uint32_t n_free = store->n_slots - store->n_blocks;
  fb_status_t status = FB_OK;
  if (n_free < n_wanted) {
    status = forget_oldest(store, n_wanted - n_free);
  }
  if (status == FB_OK && begins_unit) {
    status = store->storage.erase(store->storage.context, address_of(store, slot), store->unit_bytes);
  }
  return status;
}

/* "Before" and "after" are told apart in half the counter's range: older blocks could not be found any more. */
static fb_status_t forget_far(fb_store_t *store, uint32_t next_sequence) {
  fb_status_t status = FB_OK;
  while (status == FB_OK && store->n_blocks > 0u && next_sequence - store->oldest_sequence >= HALF_RANGE) {
    status = forget_oldest(store, 1u);
  }
  return status;
}

static fb_status_t write_block(fb_store_t *store, const fb_store_block_t *block, const uint8_t *data) {
  uint8_t head[FB_STORE_HEAD_BYTES] = {0u};
  const uint32_t at = address_of(store, slot_of(store, store->n_blocks));
  fb_put_u32(head, block->sequence);
  fb_put_u32(head + 4, block->ticks);
  fb_put_u32(head + 8, block->last_ticks);
  fb_put_u16(head + 12, block->n_samples);
  const fb_status_t status = write_bytes(store, at, head, sizeof head);
  if (status != FB_OK) {
    return status;
  }
  return write_bytes(store, at + FB_STORE_HEAD_BYTES, data, (size_t)block->n_samples * store->sample_bytes);
}

/* Storage that failed holds nothing to rely on: begin again, in the unit after the one that failed. */
static void give_up(fb_store_t *store) {
  const uint32_t unit = slot_of(store, store->n_blocks) / store->blocks_per_unit + 1u;
  const uint32_t slot = unit * store->blocks_per_unit;
  store->n_overwritten_blocks += store->n_blocks;
  store->n_failed_writes++;
  fb_store_clear(store);
  store->first = slot >= store->n_slots ? 0u : slot;
}

fb_status_t fb_store_put(fb_store_t *store, const fb_store_block_t *block, const uint8_t *data) {
  const uint32_t next_sequence = block->sequence + block->n_samples;
  const bool is_held = store->n_blocks > 0u && (block->sequence - store->oldest_sequence <
                                                store->next_sequence - store->oldest_sequence);
  if (is_held || block->n_samples == 0u || block->n_samples > store->block_samples) {
    return FB_BAD_ARGUMENT;
  }
  if (store->n_blocks > 0u && block->sequence - store->next_sequence >= HALF_RANGE) {
    /* Half a counter's range went by without a block: all of it is too old to be found. */
    (void)forget_oldest(store, store->n_blocks);
  }
  if (forget_far(store, next_sequence) != FB_OK || make_room(store) != FB_OK ||
      write_block(store, block, data) != FB_OK) {
    give_up(store);
    return FB_FAILED;
  }
  if (store->n_blocks == 0u) {
    store->oldest_sequence = block->sequence;
  }
  store->n_blocks++;
  store->next_sequence = next_sequence;
  return FB_OK;
}

/* Find the first block that ends after sample `after`, counted from the oldest one. */
static fb_status_t find_block(const fb_store_t *store, uint32_t after, uint32_t *nth, fb_store_block_t *block) {
  uint32_t low = 0u, high = store->n_blocks;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2u;
    if (read_block(store, middle, block) != FB_OK) {
      return FB_FAILED;
    }
    if (block->sequence - store->oldest_sequence + block->n_samples > after) {
      high = middle;
    } else {
      low = middle + 1u;
    }
  }
  *nth = low;
  return read_block(store, low, block);
}

/* The clock at sample `skipped` of a block: evenly from the first to the last, rounded down, within 32 bits. */
static uint32_t ticks_at(const fb_store_block_t *block, uint32_t skipped) {
  if (skipped == 0u) {
    return block->ticks;
  }
  const uint32_t span = block->last_ticks - block->ticks;
  const uint32_t n_steps = block->n_samples - 1u;
  return block->ticks + span / n_steps * skipped + span % n_steps * skipped / n_steps;
}

fb_status_t fb_store_find(const fb_store_t *store, uint32_t first, uint32_t count, fb_store_found_t *found) {
  const uint32_t span = store->next_sequence - store->oldest_sequence;
  uint32_t from = first - store->oldest_sequence; /* counted from the oldest sample */
  uint32_t n_asked = count > HALF_RANGE ? HALF_RANGE : count;
  if (from >= HALF_RANGE) { /* asked from before the oldest on */
    const uint32_t n_before = store->oldest_sequence - first;
    if (count <= n_before) {
      return FB_EMPTY;
    }
    n_asked -= n_before;
    from = 0u;
  }
  if (store->n_blocks == 0u || n_asked == 0u || from >= span) {
    return FB_EMPTY;
  }
  uint32_t nth;
  fb_store_block_t block;
  if (find_block(store, from, &nth, &block) != FB_OK) {
    return FB_FAILED;
  }
  const uint32_t start = block.sequence - store->oldest_sequence;
  const uint32_t skipped = from > start ? from - start : 0u;
  const uint32_t gap = start > from ? start - from : 0u; /* asked for, but never stored */
  if (gap >= n_asked) {
    return FB_EMPTY;
  }
  const uint32_t n_here = block.n_samples - skipped;
  const uint32_t n_left = n_asked - gap;
  found->sequence = block.sequence + skipped;
  found->ticks = ticks_at(&block, skipped);
  found->n_samples = (uint16_t)(n_here < n_left ? n_here : n_left);
  found->at = address_of(store, slot_of(store, nth)) + FB_STORE_HEAD_BYTES + skipped * store->sample_bytes;
  return FB_OK;
}

fb_status_t fb_store_read(const fb_store_t *store, const fb_store_found_t *found, size_t offset, uint8_t *out,
                          size_t n_bytes) {
  const size_t n_found = (size_t)found->n_samples * store->sample_bytes;
  if (offset > n_found || n_bytes > n_found - offset) {
    return FB_BAD_ARGUMENT;
  }
  return read_bytes(store, found->at + (uint32_t)offset, out, n_bytes);
}
