/* The watch on a workstation: heart_rate_watch LINK [OFF_AT_S OFF_FOR_S].  Its wrist has 72 beats a minute. */
#include "heart_rate_watch.h"

#include <stdio.h>

#include "host_board.h"

static heart_rate_watch_t watch;

static int32_t light(uint32_t ticks, bool is_off) {
  const int32_t at_ms = (int32_t)(ticks % 833333u / 1000u);
  const int32_t wave = at_ms < 150 ? at_ms * 10 : 1500 - (at_ms - 150) * 1500 / 684; /* rises fast, falls slowly */
  return is_off ? 300 : 120000 + wave;
}

int main(int n_arguments, char **arguments) {
  if (n_arguments != 2 && n_arguments != 4) {
    fprintf(stderr, "usage: %s LINK [OFF_AT_S OFF_FOR_S]\n", arguments[0]);
    return 2;
  }
  host_board_begin(arguments[1]);
  if (heart_rate_watch_begin(&watch, "host-watch", host_board_boot_id()) != FB_OK) {
    return 1;
  }
  for (uint32_t next = 0u, n = 0u; host_board_wait();) {
    while ((int32_t)(board_ticks(NULL) - next) >= 0) {
      const bool is_off = n_arguments == 4 && host_board_is_within(arguments[2], arguments[3]);
      heart_rate_watch_on_light(&watch, next, light(next, is_off));
      if (n++ % 2u == 0u) {
        const int16_t axes[3] = {0, 0, 4096};
        heart_rate_watch_on_acceleration(&watch, next, axes);
      }
      next += BOARD_TICK_RATE_HZ / WATCH_LIGHT_RATE_HZ;
    }
    heart_rate_watch_step(&watch);
  }
  return 0;
}
