/*! @file
 * What Python's tests need beside the library: sizes of structs, and a ring used by two threads at once. */
#include <pthread.h>

#include "fb_device.h"
#include "fb_ring.h"

size_t shim_writer_bytes(void);
size_t shim_reader_bytes(void);
size_t shim_store_bytes(void);
size_t shim_device_bytes(void);
uint32_t shim_ring_race(uint32_t n_pushes, uint32_t n_elements, uint32_t *n_popped, uint32_t *n_overflows);

size_t shim_writer_bytes(void) {
  return sizeof(fb_frame_writer_t);
}

size_t shim_reader_bytes(void) {
  return sizeof(fb_frame_reader_t);
}

size_t shim_store_bytes(void) {
  return sizeof(fb_store_t);
}

size_t shim_device_bytes(void) {
  return sizeof(fb_device_t);
}

typedef struct {
  uint32_t sequence;
  uint32_t copies[7]; /* long enough that a torn element shows */
} element_t;

typedef struct {
  fb_ring_t ring;
  uint32_t n_pushes;
} race_t;

static void *produce(void *context) {
  race_t *race = (race_t *)context;
  element_t element;
  for (uint32_t sequence = 1u; sequence <= race->n_pushes; sequence++) {
    element.sequence = sequence;
    for (size_t k = 0u; k < 7u; k++) {
      element.copies[k] = ~sequence;
    }
    (void)fb_ring_push(&race->ring, &element);
  }
  return NULL;
}

/* Return how many elements came out torn or out of order; UINT32_MAX where the race could not be run. */
uint32_t shim_ring_race(uint32_t n_pushes, uint32_t n_elements, uint32_t *n_popped, uint32_t *n_overflows) {
  static uint8_t memory[64u * sizeof(element_t)];
  race_t race = {.n_pushes = n_pushes};
  pthread_t producer;
  element_t element;
  uint32_t newest = 0u, n_wrong = 0u, n_empty = 0u;
  *n_popped = 0u;
  if (n_elements > 64u || fb_ring_init(&race.ring, memory, n_elements, sizeof element) != FB_OK ||
      pthread_create(&producer, NULL, produce, &race) != 0) {
    return UINT32_MAX;
  }
  while (newest < n_pushes && n_empty < 2000000u) {
    if (fb_ring_pop(&race.ring, &element) != FB_OK) {
      n_empty++; /* the last ones may have been dropped: do not wait for ever */
      continue;
    }
    n_empty = 0u;
    bool is_whole = element.sequence > newest;
    for (size_t k = 0u; k < 7u; k++) {
      is_whole = is_whole && element.copies[k] == ~element.sequence;
    }
    n_wrong += is_whole ? 0u : 1u;
    newest = element.sequence;
    *n_popped += 1u;
  }
  (void)pthread_join(producer, NULL);
  while (fb_ring_pop(&race.ring, &element) == FB_OK) {
    *n_popped += 1u;
  }
  *n_overflows = fb_ring_overflows(&race.ring);
  return n_wrong;
}
