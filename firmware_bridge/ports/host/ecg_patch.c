/* The patch on a workstation: ecg_patch LINK.  Its link is up while a program has the line open. */
#include "ecg_patch.h"

#include <stdio.h>

#include "host_board.h"

static ecg_patch_t patch;
static uint8_t memory[PATCH_STORE_BYTES];

int main(int n_arguments, char **arguments) {
  if (n_arguments != 2) {
    fprintf(stderr, "usage: %s LINK\n", arguments[0]);
    return 2;
  }
  host_board_begin(arguments[1]);
  if (ecg_patch_begin(&patch, NULL, memory, "host-patch", host_board_boot_id()) != FB_OK) {
    return 1;
  }
  for (uint32_t next = 0u; host_board_wait();) {
    while ((int32_t)(board_ticks(NULL) - next) >= 0) {
      ecg_patch_on_sample(&patch, next, 2048 + host_board_ecg_uv(next) / 5);
      next += BOARD_TICK_RATE_HZ / PATCH_RATE_HZ;
    }
    ecg_patch_set_link(&patch, host_board_has_client());
    ecg_patch_step(&patch);
  }
  return 0;
}
