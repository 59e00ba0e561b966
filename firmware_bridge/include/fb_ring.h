/*! @file
 * From an interrupt to the main loop without locks: one producer, one consumer, elements of one size.
 *
 *   typedef struct { uint32_t sequence, ticks; int16_t counts[2]; } sample_t;
 *   static uint8_t memory[64 * sizeof(sample_t)];
 *   fb_ring_init(&ring, memory, 64, sizeof(sample_t));
 *
 *   interrupt:  sample.sequence = n_converted++;        // counts every conversion, taken or not (R11)
 *               fb_ring_push(&ring, &sample);           // full: the newest is dropped and counted
 *   main loop:  while (fb_ring_pop(&ring, &sample) == FB_OK) { fb_device_push(..., sample.sequence, ...); }
 *
 * Because every element carries the number that its interrupt gave it, the main loop sees exactly where elements were
 * dropped.
 *
 * Thread safety: fb_ring_push from one context and fb_ring_pop from one other, at any time, also on two cores.  The
 * index that publishes an element is stored with release order and read with acquire order: whoever sees the index sees
 * the element.  With GCC and Clang these are the compiler's __atomic builtins (the memory model of C11, in C99 too);
 * with another C11 compiler fences of <stdatomic.h>; else the port defines FB_RING_BARRIER() for the whole build, as a
 * statement that neither the compiler nor, with several cores, the processor moves memory accesses across.
 *
 * Reading and writing an fb_ring_index_t must be one machine instruction: true of 32 bits on every 32-bit core.  On an
 * 8- or 16-bit core define FB_RING_INDEX (uint8_t, uint16_t) for the whole build; a ring then holds at most half of
 * its range.
 *
 * Time of push and pop: constant, the copy of one element.  Neither waits.
 */
#ifndef FB_RING_H
#define FB_RING_H

#include "fb_common.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifndef FB_RING_INDEX
#define FB_RING_INDEX uint32_t
#endif
typedef FB_RING_INDEX fb_ring_index_t;

/*! Elements on their way.  Its fields are private. */
typedef struct {
  uint8_t *memory;
  size_t element_bytes;
  fb_ring_index_t n_elements;
  volatile fb_ring_index_t n_pushed; /* producer writes; runs on and wraps */
  volatile fb_ring_index_t n_popped; /* consumer writes */
  volatile fb_ring_index_t n_overflows; /* producer writes */
} fb_ring_t;

/*! Make an empty ring; before interrupts may use it.
 *
 * @param memory         n_elements x element_bytes, of the caller, as long as the ring lives; any alignment
 * @param n_elements     a power of two, at most half the range of fb_ring_index_t; all of them can be used
 * @param element_bytes  at least 1
 * @return FB_OK, or FB_BAD_ARGUMENT
 */
fb_status_t fb_ring_init(fb_ring_t *ring, uint8_t *memory, uint32_t n_elements, size_t element_bytes);

/*! Producer: put a copy of `element` in.
 *
 * @return FB_OK, or FB_FULL: it was dropped and counted, what was in the ring stays
 */
fb_status_t fb_ring_push(fb_ring_t *ring, const void *element);

/*! Consumer: take the oldest element out, to `element`.
 *
 * @return FB_OK, or FB_EMPTY
 */
fb_status_t fb_ring_pop(fb_ring_t *ring, void *element);

/*! Return how many elements are in the ring.  Producer and consumer may ask; the other side may change it at once. */
uint32_t fb_ring_used(const fb_ring_t *ring);

/*! Return how many elements were dropped since the ring was made; wraps with fb_ring_index_t.  Anyone may ask. */
uint32_t fb_ring_overflows(const fb_ring_t *ring);

#ifdef __cplusplus
}
#endif

#endif /* FB_RING_H */
