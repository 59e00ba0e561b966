#define _GNU_SOURCE
#include "host_board.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define WAITING_BYTES 4096u /* what a UART driver would have in its buffer */
#define BEAT_TICKS 833333u

static int line_fd = -1;
static const char *line_link;
static volatile sig_atomic_t is_stopping;
static uint8_t waiting[WAITING_BYTES];
static size_t n_waiting;
static struct timespec born;

static void stop(int number) {
  (void)number;
  is_stopping = 1;
}

static void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

void host_board_begin(const char *link) {
  char name[64];
  int far_fd;
  struct termios raw;
  if (openpty(&line_fd, &far_fd, name, NULL, NULL) != 0 || tcgetattr(far_fd, &raw) != 0) {
    fail("cannot make a pseudo-terminal");
  }
  cfmakeraw(&raw);
  (void)tcsetattr(far_fd, TCSANOW, &raw);
  (void)close(far_fd); /* held open, it would hide whether a program has the line open */
  (void)fcntl(line_fd, F_SETFL, O_NONBLOCK);
  char before[2];
  if (readlink(link, before, sizeof before) >= 0) { /* left behind by an earlier run; nothing but a link is removed */
    (void)unlink(link);
  }
  if (symlink(name, link) != 0) {
    fail(link);
  }
  line_link = link;
  (void)signal(SIGINT, stop);
  (void)signal(SIGTERM, stop);
  (void)clock_gettime(CLOCK_MONOTONIC, &born);
}

bool host_board_has_client(void) {
  struct pollfd poll_fd = {.fd = line_fd, .events = POLLIN};
  return poll(&poll_fd, 1, 0) >= 0 && (poll_fd.revents & POLLHUP) == 0;
}

bool host_board_wait(void) {
  const struct timespec millisecond = {.tv_nsec = 1000000};
  (void)nanosleep(&millisecond, NULL);
  if (!host_board_has_client()) {
    n_waiting = 0u; /* a UART that nobody listens to */
  } else if (n_waiting > 0u) {
    const ssize_t n_taken = write(line_fd, waiting, n_waiting);
    if (n_taken > 0) {
      n_waiting -= (size_t)n_taken;
      memmove(waiting, waiting + n_taken, n_waiting);
    }
  }
  if (is_stopping) {
    (void)unlink(line_link);
  }
  return !is_stopping;
}

fb_status_t board_write(void *context, const uint8_t *data, size_t n_bytes) {
  (void)context;
  if (n_bytes > WAITING_BYTES - n_waiting) {
    return FB_FULL;
  }
  memcpy(waiting + n_waiting, data, n_bytes);
  n_waiting += n_bytes;
  return FB_OK;
}

size_t board_read(uint8_t *data, size_t capacity) {
  const ssize_t n_bytes = read(line_fd, data, capacity);
  return n_bytes > 0 ? (size_t)n_bytes : 0u;
}

uint32_t board_ticks(void *context) {
  struct timespec now;
  (void)context;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t us = (int64_t)(now.tv_sec - born.tv_sec) * 1000000 + (now.tv_nsec - born.tv_nsec) / 1000;
  return (uint32_t)us;
}

uint32_t host_board_boot_id(void) {
  uint32_t boot_id = 0u;
  FILE *random = fopen("/dev/urandom", "rb");
  if (random == NULL || fread(&boot_id, sizeof boot_id, 1u, random) != 1u) {
    boot_id = (uint32_t)time(NULL);
  }
  if (random != NULL) {
    (void)fclose(random);
  }
  return boot_id;
}

bool host_board_is_within(const char *at_s, const char *for_s) {
  const double now_s = board_ticks(NULL) / 1e6;
  const double start_s = strtod(at_s, NULL);
  return now_s >= start_s && now_s < start_s + strtod(for_s, NULL);
}

int32_t host_board_ecg_uv(uint32_t ticks) {
  /* Corners of the wave: milliseconds into the beat, microvolts. */
  static const int32_t CORNERS[][2] = {{0, 0},     {80, 0},    {120, 120}, {160, 0},  {210, 0},   {230, -80},
                                       {250, 1000}, {275, -180}, {295, 0},   {400, 20}, {490, 280}, {560, 0},
                                       {834, 0}};
  const int32_t at_ms = (int32_t)(ticks % BEAT_TICKS / 1000u);
  size_t k = 1u;
  while (CORNERS[k][0] <= at_ms) {
    k++;
  }
  const int32_t *from = CORNERS[k - 1u];
  const int32_t *to = CORNERS[k];
  return from[1] + (to[1] - from[1]) * (at_ms - from[0]) / (to[0] - from[0]);
}
