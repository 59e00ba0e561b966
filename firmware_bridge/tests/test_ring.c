/*! @file
 * The ring, one side after the other; a test in Python runs both sides at once in two threads. */
#include "fb_ring.h"
#include "fb_test.h"

static void ring_is_first_in_first_out_and_uses_every_element(void) {
  uint8_t memory[4 * 3];
  fb_ring_t ring;
  uint8_t element[3] = {0, 0, 0}, found[3];
  CHECK_EQUAL(FB_OK, fb_ring_init(&ring, memory, 4, 3));
  CHECK_EQUAL(FB_EMPTY, fb_ring_pop(&ring, found));
  for (unsigned round = 0; round < 300; round++) {
    for (unsigned k = 0; k < 4; k++) {
      element[0] = (uint8_t)(round + k);
      element[2] = (uint8_t)k;
      CHECK_EQUAL(FB_OK, fb_ring_push(&ring, element));
    }
    CHECK_EQUAL(FB_FULL, fb_ring_push(&ring, element));
    CHECK_EQUAL(4, fb_ring_used(&ring));
    for (unsigned k = 0; k < 4; k++) {
      CHECK_EQUAL(FB_OK, fb_ring_pop(&ring, found));
      CHECK_EQUAL((uint8_t)(round + k), found[0]);
      CHECK_EQUAL(k, found[2]);
    }
    CHECK_EQUAL(0, fb_ring_used(&ring));
  }
  CHECK_EQUAL(300, fb_ring_overflows(&ring));
}

static void counters_wrap(void) {
  uint8_t memory[2], element = 9;
  fb_ring_t ring;
  CHECK_EQUAL(FB_OK, fb_ring_init(&ring, memory, 2, 1));
  ring.n_pushed = ring.n_popped = (fb_ring_index_t)~(fb_ring_index_t)0;
  CHECK_EQUAL(FB_OK, fb_ring_push(&ring, &element));
  element = 10;
  CHECK_EQUAL(FB_OK, fb_ring_push(&ring, &element));
  CHECK_EQUAL(2, fb_ring_used(&ring));
  CHECK_EQUAL(FB_FULL, fb_ring_push(&ring, &element));
  CHECK_EQUAL(FB_OK, fb_ring_pop(&ring, &element));
  CHECK_EQUAL(9, element);
  /* The other side moved between two looks: never more than the ring holds is reported. */
  ring.n_popped = (fb_ring_index_t)(ring.n_pushed - 3u);
  CHECK_EQUAL(2, fb_ring_used(&ring));
}

static void ring_of_no_power_of_two_is_refused(void) {
  uint8_t memory[8];
  fb_ring_t ring;
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_ring_init(&ring, memory, 0, 1));
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_ring_init(&ring, memory, 6, 1));
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_ring_init(&ring, memory, 4, 0));
}

void test_ring(void) {
  ring_is_first_in_first_out_and_uses_every_element();
  counters_wrap();
  ring_of_no_power_of_two_is_refused();
}
