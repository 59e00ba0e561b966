/*! @file
 * A watch: green light (PPG) at 100 Hz, acceleration at 50 Hz, and the pulse rate that it finds in the light.
 *
 *   interrupts:  heart_rate_watch_on_light, heart_rate_watch_on_acceleration
 *   main loop:   heart_rate_watch_step, at least every 20 ms
 */
#ifndef HEART_RATE_WATCH_H
#define HEART_RATE_WATCH_H

#include "board.h"
#include "fb_ring.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WATCH_LIGHT_RATE_HZ 100u
#define WATCH_ACCELERATION_RATE_HZ 50u
#define WATCH_LIGHT_PER_BLOCK 10u
#define WATCH_ACCELERATION_PER_BLOCK 5u
#define WATCH_RING_ELEMENTS 64u
#define WATCH_INTERVALS 4u
#define WATCH_SEND_BYTES FB_FRAME_LINE_MAX(FB_HELLO_BYTES(2u, 4u))

/*! One conversion, numbered by its interrupt. */
typedef struct {
  uint32_t sequence;
  uint32_t ticks;
  int32_t counts[3];
} watch_sample_t;

/*! Finds beats in the light; integers only.  An example, not a validated detector. */
typedef struct {
  int32_t baseline_x64; /* slow mean, times 64 */
  int32_t envelope;     /* recent height of the wave, falling slowly */
  bool is_started;
  bool is_above;
  bool has_beat;
  uint32_t beat_ticks;
  uint32_t intervals[WATCH_INTERVALS]; /* ticks, newest last */
  uint8_t n_intervals;
} watch_pulse_t;

/*! All of it.  Its fields are private. */
typedef struct {
  fb_device_t device;
  fb_device_config_t config;
  fb_stream_t streams[2];
  fb_device_stream_t states[2];
  fb_ring_t rings[2];
  uint8_t ring_memory[2][WATCH_RING_ELEMENTS * sizeof(watch_sample_t)];
  uint8_t light_block[FB_DEVICE_BLOCK_BYTES(WATCH_LIGHT_PER_BLOCK, 1u, 3u)];
  uint8_t acceleration_block[FB_DEVICE_BLOCK_BYTES(WATCH_ACCELERATION_PER_BLOCK, 3u, 2u)];
  uint8_t send_buffer[WATCH_SEND_BYTES];
  uint8_t receive_buffer[FB_DEVICE_RECEIVE_BYTES];
  uint32_t n_converted[2]; /* counted by the interrupts */
  watch_pulse_t pulse;
  uint32_t reading_ticks; /* when the last reading went out */
  uint8_t n_dark;         /* samples in a row without a wrist */
  bool is_off_wrist;
} heart_rate_watch_t;

/*! Begin a boot.  `device_id` must live as long as the watch; results as fb_device_init. */
fb_status_t heart_rate_watch_begin(heart_rate_watch_t *watch, const char *device_id, uint32_t boot_id);

/*! Light interrupt: one conversion of the photodiode, 18 bits, taken at `ticks`. */
void heart_rate_watch_on_light(heart_rate_watch_t *watch, uint32_t ticks, int32_t counts);

/*! Acceleration interrupt: x, y, z in 1/4096 of standard gravity. */
void heart_rate_watch_on_acceleration(heart_rate_watch_t *watch, uint32_t ticks, const int16_t counts[3]);

/*! The same interrupts where the conversion could not be read: it is counted, so that the host sees it as lost (R11). */
void heart_rate_watch_miss_light(heart_rate_watch_t *watch);
/*! @copydoc heart_rate_watch_miss_light */
void heart_rate_watch_miss_acceleration(heart_rate_watch_t *watch);

/*! Main loop: samples, readings, the host's questions. */
void heart_rate_watch_step(heart_rate_watch_t *watch);

#ifdef __cplusplus
}
#endif

#endif /* HEART_RATE_WATCH_H */
