/*! @file
 * The store in RAM, in flash that insists on its rules, and in flash that fails. */
#include "fb_store.h"
#include "fb_test.h"

#define UNIT 128u
#define N_UNITS 3u

/* Flash: cleared to 0xFF unit by unit, each byte written once. */
typedef struct {
  uint8_t bytes[UNIT * N_UNITS];
  unsigned n_erased;
  int reads_left, writes_left; /* before it fails; negative: never */
  bool erase_fails;
} flash_t;

static bool runs_out(int *left) {
  if (*left == 0) {
    return true;
  }
  *left -= *left > 0 ? 1 : 0;
  return false;
}

static fb_status_t flash_read(void *context, uint32_t at, uint8_t *data, size_t n_bytes) {
  flash_t *flash = (flash_t *)context;
  CHECK(at + n_bytes <= sizeof flash->bytes);
  if (runs_out(&flash->reads_left)) {
    return FB_FAILED;
  }
  memcpy(data, flash->bytes + at, n_bytes);
  return FB_OK;
}

static fb_status_t flash_write(void *context, uint32_t at, const uint8_t *data, size_t n_bytes) {
  flash_t *flash = (flash_t *)context;
  CHECK(at + n_bytes <= sizeof flash->bytes);
  CHECK_EQUAL(0, at % 8);
  if (runs_out(&flash->writes_left)) {
    return FB_FAILED;
  }
  for (size_t k = 0; k < n_bytes; k++) {
    CHECK_EQUAL(0xFF, flash->bytes[at + k]);
    flash->bytes[at + k] = data[k];
  }
  return FB_OK;
}

static fb_status_t flash_erase(void *context, uint32_t at, size_t n_bytes) {
  flash_t *flash = (flash_t *)context;
  CHECK_EQUAL(0, at % UNIT);
  CHECK_EQUAL(UNIT, n_bytes);
  flash->n_erased++;
  memset(flash->bytes + at, 0xFF, n_bytes);
  return flash->erase_fails ? FB_FAILED : FB_OK;
}

static flash_t flash;
static fb_storage_t storage;

static void make_flash(void) {
  const fb_storage_t it = {flash_read, flash_write, flash_erase, &flash, sizeof flash.bytes, UNIT, 8};
  memset(&flash, 0, sizeof flash);
  flash.reads_left = flash.writes_left = -1;
  storage = it;
}

/* Ten ticks a sample, samples that say their own number. */
static fb_status_t put(fb_store_t *store, uint32_t sequence, uint16_t n_samples) {
  uint8_t data[64];
  const fb_store_block_t block = {sequence, sequence * 10, (sequence + n_samples - 1u) * 10, n_samples};
  for (uint16_t k = 0; k < n_samples && k < 32; k++) {
    fb_put_u16(data + 2 * k, (uint16_t)((sequence + k) & 0xFFFFu));
  }
  return fb_store_put(store, &block, data);
}

/* How many of the samples asked for come out, each once, in order, with the right contents. */
static uint32_t count_found(const fb_store_t *store, uint32_t first, uint32_t count) {
  fb_store_found_t found;
  uint32_t n_found = 0, at = first;
  while (count > 0 && fb_store_find(store, at, count, &found) == FB_OK) {
    const uint32_t step = found.sequence - at;
    CHECK(step + found.n_samples <= count);
    for (uint16_t k = 0; k < found.n_samples; k++) {
      uint8_t raw[2] = {0, 0};
      CHECK_EQUAL(FB_OK, fb_store_read(store, &found, 2u * k, raw, 2));
      CHECK_EQUAL((found.sequence + k) & 0xFFFF, fb_get_u16(raw));
    }
    CHECK_EQUAL((uint32_t)(found.sequence * 10), found.ticks);
    n_found += found.n_samples;
    count -= step + found.n_samples;
    at = found.sequence + found.n_samples;
  }
  return n_found;
}

static void ram_keeps_the_newest(void) {
  uint8_t memory[FB_STORE_BYTES(3, 4, 1, 2)];
  fb_store_t store;
  fb_store_found_t found;
  CHECK_EQUAL(FB_OK, fb_store_init_ram(&store, memory, sizeof memory, 4, 1, 2));
  CHECK_EQUAL(FB_EMPTY, fb_store_find(&store, 0, 10, &found));
  for (uint32_t k = 0; k < 5; k++) {
    CHECK_EQUAL(FB_OK, put(&store, 100 + 4 * k, 4));
  }
  CHECK_EQUAL(2, store.n_overwritten_blocks);
  CHECK_EQUAL(12, count_found(&store, 0, 1000));
  CHECK_EQUAL(12, count_found(&store, 108, 12));
  CHECK_EQUAL(1, count_found(&store, 111, 1));
  CHECK_EQUAL(6, count_found(&store, 110, 6));
  CHECK_EQUAL(0, count_found(&store, 120, 5));
  CHECK_EQUAL(0, count_found(&store, 100, 8));
  CHECK_EQUAL(1, count_found(&store, 100, 9));
  CHECK_EQUAL(12, count_found(&store, 0, 0xFFFFFFFFu));
  CHECK_EQUAL(0, count_found(&store, 108, 0));
  CHECK_EQUAL(FB_EMPTY, fb_store_find(&store, 108, 0, &found));
  CHECK_EQUAL(FB_OK, put(&store, 130, 2)); /* a hole, and a short block */
  CHECK_EQUAL(10, count_found(&store, 0, 1000));
  CHECK_EQUAL(0, count_found(&store, 120, 10));
  CHECK_EQUAL(FB_EMPTY, fb_store_find(&store, 121, 9, &found));
  CHECK_EQUAL(1, count_found(&store, 120, 11));
  CHECK_EQUAL(FB_BAD_ARGUMENT, put(&store, 131, 2));
  CHECK_EQUAL(FB_BAD_ARGUMENT, put(&store, 132, 5));
  CHECK_EQUAL(FB_BAD_ARGUMENT, put(&store, 132, 0));
  CHECK_EQUAL(FB_OK, fb_store_find(&store, 130, 2, &found));
  uint8_t raw[8];
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_store_read(&store, &found, 5, raw, 0));
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_store_read(&store, &found, 2, raw, 3));
  fb_store_clear(&store);
  CHECK_EQUAL(0, count_found(&store, 0, 1000));
}

static void counters_wrap(void) {
  uint8_t memory[FB_STORE_BYTES(4, 4, 1, 2)];
  fb_store_t store;
  CHECK_EQUAL(FB_OK, fb_store_init_ram(&store, memory, sizeof memory, 4, 1, 2));
  for (uint32_t k = 0; k < 4; k++) {
    CHECK_EQUAL(FB_OK, put(&store, 0xFFFFFFF8u + 4 * k, 4));
  }
  CHECK_EQUAL(16, count_found(&store, 0xFFFFFFF0u, 100));
  CHECK_EQUAL(8, count_found(&store, 0, 100));
  CHECK_EQUAL(4, count_found(&store, 0xFFFFFFFEu, 4));
  CHECK_EQUAL(FB_OK, put(&store, 0x7FFFFFFFu, 4)); /* the blocks before 3 are too far back now */
  CHECK_EQUAL(3, store.n_overwritten_blocks);
  for (uint32_t k = 1; k < 4; k++) {
    CHECK_EQUAL(FB_OK, put(&store, 0x7FFFFFFFu + 4 * k, 4));
  }
  CHECK_EQUAL(FB_OK, put(&store, 0x80000010u + 0x80000010u, 4)); /* half a range without a block */
  CHECK_EQUAL(4, count_found(&store, 0x1Cu, 100));
}

static void flash_is_erased_before_it_is_written(void) {
  fb_store_t store;
  make_flash();
  CHECK_EQUAL(FB_OK, fb_store_init(&store, &storage, 10, 1, 2)); /* blocks of 16 + 20, made 40: 3 in a unit */
  CHECK_EQUAL(0, flash.n_erased);
  for (uint32_t k = 0; k < 100; k++) {
    CHECK_EQUAL(FB_OK, put(&store, 10 * k, 10));
    const uint32_t n_kept = count_found(&store, 0, 10 * k + 10);
    CHECK(n_kept >= (k < 7 ? 10 * k + 10 : 70));
    CHECK_EQUAL(k + 1, n_kept / 10 + store.n_overwritten_blocks);
  }
  CHECK_EQUAL(34, flash.n_erased);
  CHECK_EQUAL(0, store.n_failed_writes);
}

static void flash_that_fails_costs_what_it_held(void) {
  fb_store_t store;
  fb_store_found_t found;
  make_flash();
  CHECK_EQUAL(FB_OK, fb_store_init(&store, &storage, 10, 1, 2));
  for (uint32_t fault = 0; fault < 4; fault++) {
    for (uint32_t k = 0; k < 8; k++) {
      CHECK_EQUAL(FB_OK, put(&store, 1000 * fault + 10 * k, 10));
    }
    flash.writes_left = fault < 2 ? (int)fault : -1;
    flash.erase_fails = fault == 2;
    flash.reads_left = fault == 3 ? 0 : -1; /* the oldest that stays cannot be read */
    fb_status_t status = FB_OK;
    for (uint32_t k = 8; status == FB_OK && k < 12; k++) {
      status = put(&store, 1000 * fault + 10 * k, 10);
    }
    CHECK_EQUAL(FB_FAILED, status);
    CHECK_EQUAL(fault + 1, store.n_failed_writes);
    flash.writes_left = flash.reads_left = -1;
    flash.erase_fails = false;
    CHECK_EQUAL(0, count_found(&store, 0, 100000));
  }
  CHECK_EQUAL(FB_OK, put(&store, 9000, 10));
  CHECK_EQUAL(10, count_found(&store, 9000, 100));
  flash.reads_left = 0;
  CHECK_EQUAL(FB_FAILED, fb_store_find(&store, 9000, 10, &found));
  flash.reads_left = 1;
  CHECK_EQUAL(FB_FAILED, fb_store_find(&store, 9000, 10, &found));
}

static void stores_that_cannot_be_are_refused(void) {
  uint8_t memory[64];
  fb_store_t store;
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_store_init_ram(&store, memory, 17, 1, 1, 2));
  CHECK_EQUAL(FB_OK, fb_store_init_ram(&store, memory, 18, 1, 1, 2));
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_store_init_ram(&store, memory, 64, 0, 1, 2));
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_store_init_ram(&store, memory, 64, 1, 0, 2));
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_store_init_ram(&store, memory, 64, 1, 17, 2));
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_store_init_ram(&store, memory, 64, 1, 1, 1));
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_store_init_ram(&store, memory, 64, 1, 1, 4));
  make_flash();
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_store_init(&store, &storage, 0, 1, 2));
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_store_init(&store, &storage, 57, 1, 2)); /* longer than a unit */
  storage.align_bytes = 3;
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_store_init(&store, &storage, 10, 1, 2));
  make_flash();
  storage.erase_bytes = 124;
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_store_init(&store, &storage, 10, 1, 2));
  make_flash();
  storage.size_bytes = UNIT;
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_store_init(&store, &storage, 10, 1, 2)); /* nothing would be left to ask for */
  storage.erase = NULL;
  CHECK_EQUAL(FB_OK, fb_store_init(&store, &storage, 10, 1, 2));
  storage.read = NULL;
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_store_init(&store, &storage, 10, 1, 2));
  make_flash();
  storage.write = NULL;
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_store_init(&store, &storage, 10, 1, 2));
  make_flash();
  storage.erase = NULL;
  storage.erase_bytes = 0;
  storage.align_bytes = 0;
  CHECK_EQUAL(FB_OK, fb_store_init(&store, &storage, 10, 1, 2)); /* FRAM */
  CHECK_EQUAL(10, store.n_slots);
}

/* Where a block is cut the clock goes evenly from its first sample to its last. */
static void ticks_are_interpolated(void) {
  uint8_t memory[64];
  const uint8_t data[20] = {0};
  const fb_store_block_t block = {0, 0xFFFFFFFAu, 14, 8}; /* 20 ticks over 7 steps, over the wrap */
  fb_store_t store;
  fb_store_found_t found;
  CHECK_EQUAL(FB_OK, fb_store_init_ram(&store, memory, sizeof memory, 10, 1, 2));
  CHECK_EQUAL(FB_OK, fb_store_put(&store, &block, data));
  for (uint32_t k = 0; k < 8; k++) {
    CHECK_EQUAL(FB_OK, fb_store_find(&store, k, 1, &found));
    CHECK_EQUAL((uint32_t)(0xFFFFFFFAu + 20 * k / 7), found.ticks);
  }
}

void test_store(void) {
  ram_keeps_the_newest();
  counters_wrap();
  flash_is_erased_before_it_is_written();
  flash_that_fails_costs_what_it_held();
  stores_that_cannot_be_are_refused();
  ticks_are_interpolated();
}
