/*! @file
 * A workstation as a board: the line is a pseudo-terminal with a link to it, interrupts are calls from the main loop. */
#ifndef HOST_BOARD_H
#define HOST_BOARD_H

#include "board.h"

/*! Offer the line at `link`, a path; exits with a message where that cannot be. */
void host_board_begin(const char *link);

/*! Wait a millisecond and move bytes; false once SIGINT or SIGTERM came: the link is gone then. */
bool host_board_wait(void);

/*! Whether a program has the line open. */
bool host_board_has_client(void);

/*! Return a number that is another one in the next boot. */
uint32_t host_board_boot_id(void);

/*! Return whether now is within `for_s` seconds from `at_s` seconds after boot, both given as text, as on a command line. */
bool host_board_is_within(const char *at_s, const char *for_s);

/*! Return a heart's electrical wave at `ticks`, in microvolts: 72 /min, R of 1 mV. */
int32_t host_board_ecg_uv(uint32_t ticks);

#endif /* HOST_BOARD_H */
