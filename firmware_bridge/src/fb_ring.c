/*! @file
 * One producer, one consumer; see fb_ring.h for the order of memory accesses.
 *
 * Both counters run on and wrap; their difference is what is in the ring, so that every element can be used. */
#include "fb_ring.h"

#if defined(FB_RING_BARRIER)
/* The port's own. */
static fb_ring_index_t load(const volatile fb_ring_index_t *index) {
  const fb_ring_index_t value = *index;
  FB_RING_BARRIER();
  return value;
}
static void publish(volatile fb_ring_index_t *index, fb_ring_index_t value) {
  FB_RING_BARRIER();
  *index = value;
}
#elif defined(__GNUC__)
static fb_ring_index_t load(const volatile fb_ring_index_t *index) {
  return __atomic_load_n(index, __ATOMIC_ACQUIRE);
}
static void publish(volatile fb_ring_index_t *index, fb_ring_index_t value) {
  __atomic_store_n(index, value, __ATOMIC_RELEASE);
}
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L && !defined(__STDC_NO_ATOMICS__)
#include <stdatomic.h>
static fb_ring_index_t load(const volatile fb_ring_index_t *index) {
  const fb_ring_index_t value = *index;
  atomic_thread_fence(memory_order_acquire);
  return value;
}
static void publish(volatile fb_ring_index_t *index, fb_ring_index_t value) {
  atomic_thread_fence(memory_order_release);
  *index = value;
}
#else
#error "define FB_RING_BARRIER(): what keeps memory accesses in order here"
#endif

static void copy(uint8_t *to, const uint8_t *from, size_t n_bytes) {
  for (size_t k = 0u; k < n_bytes; k++) {
    to[k] = from[k];
  }
}

static uint8_t *place_of(const fb_ring_t *ring, fb_ring_index_t index) {
  return ring->memory + (size_t)(index & (fb_ring_index_t)(ring->n_elements - 1u)) * ring->element_bytes;
}

fb_status_t fb_ring_init(fb_ring_t *ring, uint8_t *memory, uint32_t n_elements, size_t element_bytes) {
  const uint32_t most = (uint32_t)((fb_ring_index_t)~(fb_ring_index_t)0 / 2u + 1u);
  const bool is_power_of_two = n_elements != 0u && (n_elements & (n_elements - 1u)) == 0u;
  if (!is_power_of_two || n_elements > most || element_bytes == 0u) {
    return FB_BAD_ARGUMENT;
  }
  ring->memory = memory;
  ring->n_elements = (fb_ring_index_t)n_elements;
  ring->element_bytes = element_bytes;
  ring->n_pushed = 0u;
  ring->n_popped = 0u;
  ring->n_overflows = 0u;
  return FB_OK;
}

fb_status_t fb_ring_push(fb_ring_t *ring, const void *element) {
  const fb_ring_index_t n_pushed = ring->n_pushed; /* no one else writes it */
  const fb_ring_index_t n_used = (fb_ring_index_t)(n_pushed - load(&ring->n_popped));
  if (n_used == ring->n_elements) {
    ring->n_overflows = (fb_ring_index_t)(ring->n_overflows + 1u);
    return FB_FULL;
  }
  copy(place_of(ring, n_pushed), (const uint8_t *)element, ring->element_bytes);
  publish(&ring->n_pushed, (fb_ring_index_t)(n_pushed + 1u));
  return FB_OK;
}

fb_status_t fb_ring_pop(fb_ring_t *ring, void *element) {
  const fb_ring_index_t n_popped = ring->n_popped;
  if (n_popped == load(&ring->n_pushed)) {
    return FB_EMPTY;
  }
  copy((uint8_t *)element, place_of(ring, n_popped), ring->element_bytes);
  publish(&ring->n_popped, (fb_ring_index_t)(n_popped + 1u));
  return FB_OK;
}

uint32_t fb_ring_used(const fb_ring_t *ring) {
  /* The consumer's first: what it has popped by then had been pushed, so the difference is never negative. */
  const fb_ring_index_t n_popped = load(&ring->n_popped);
  const fb_ring_index_t n_used = (fb_ring_index_t)(load(&ring->n_pushed) - n_popped);
  return n_used > ring->n_elements ? ring->n_elements : n_used;
}

uint32_t fb_ring_overflows(const fb_ring_t *ring) {
  return ring->n_overflows;
}
