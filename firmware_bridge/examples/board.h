/*! @file
 * What a board supplies to the examples: three functions.  One of them is written for every board in ../ports.
 *
 * All are called from the main loop only; none waits.
 */
#ifndef BOARD_H
#define BOARD_H

#include "fb_device.h"

#ifdef __cplusplus
extern "C" {
#endif

/*! Send a whole frame or nothing: FB_OK, FB_FULL while the line is busy, FB_FAILED.  Copies what it takes (fb_write_t). */
fb_status_t board_write(void *context, const uint8_t *data, size_t n_bytes);

/*! Take up to `capacity` bytes that came over the line; return how many. */
size_t board_read(uint8_t *data, size_t capacity);

/*! Return the board's clock in microseconds since boot: 32 bits, wraps, never stops or steps (R12).  Interrupts call it too. */
uint32_t board_ticks(void *context);

/*! Ticks of board_ticks in a second. */
#define BOARD_TICK_RATE_HZ 1000000u

/*! Bring what the line holds to `device`, and what is due to the line; every example does this in its main loop. */
static inline void board_serve(fb_device_t *device) {
  uint8_t data[32];
  size_t n_bytes = board_read(data, sizeof data);
  while (n_bytes > 0u) {
    fb_device_receive(device, data, n_bytes, board_ticks(NULL));
    n_bytes = board_read(data, sizeof data);
  }
  (void)fb_device_poll(device); /* what finds no room is offered again by the next call */
}

#ifdef __cplusplus
}
#endif

#endif /* BOARD_H */
