#include "heart_rate_watch.h"

#define LIGHT 0u
#define ACCELERATION 1u
#define LEAST_WRIST_COUNTS 20000 /* less light comes back from no wrist */
#define DARK_SAMPLES 50u
#define LEAST_ENVELOPE_COUNTS 50
#define LEAST_INTERVAL_TICKS (BOARD_TICK_RATE_HZ * 3u / 10u) /* 200 /min */
#define LONGEST_INTERVAL_TICKS (BOARD_TICK_RATE_HZ * 2u)     /* 30 /min */

static const fb_channel_t LIGHT_CHANNELS[] = {
    {.name = "green", .kind_code = FB_KIND_PPG, .unit_code = FB_UNIT_ONE, .resolution_bits = 18u, .gain_numerator = 1,
     .gain_denominator = 262144u, .minimum_counts = 0, .maximum_counts = 262143},
};
#define AXIS(axis_name, axis_kind)                                                                           \
  {.name = (axis_name), .kind_code = (axis_kind), .unit_code = FB_UNIT_STANDARD_GRAVITY, .resolution_bits = 16u, \
   .gain_numerator = 1, .gain_denominator = 4096u, .minimum_counts = -32768, .maximum_counts = 32767}
static const fb_channel_t AXES[] = {
    AXIS("x", FB_KIND_ACCELERATION_X),
    AXIS("y", FB_KIND_ACCELERATION_Y),
    AXIS("z", FB_KIND_ACCELERATION_Z),
};

static void describe(heart_rate_watch_t *watch) {
  const fb_stream_t light = {.name = "ppg", .channels = LIGHT_CHANNELS, .n_channels = 1u, .stream_id = 1u,
                             .is_running = true, .rate_mhz = WATCH_LIGHT_RATE_HZ * 1000u};
  const fb_stream_t acceleration = {.name = "acceleration", .channels = AXES, .n_channels = 3u, .stream_id = 2u,
                                    .is_running = true, .rate_mhz = WATCH_ACCELERATION_RATE_HZ * 1000u};
  const fb_device_stream_t light_state = {
      .block = watch->light_block, .block_samples = WATCH_LIGHT_PER_BLOCK, .bytes_per_value = 3u};
  const fb_device_stream_t acceleration_state = {
      .block = watch->acceleration_block, .block_samples = WATCH_ACCELERATION_PER_BLOCK, .bytes_per_value = 2u};
  watch->streams[LIGHT] = light;
  watch->streams[ACCELERATION] = acceleration;
  watch->states[LIGHT] = light_state;
  watch->states[ACCELERATION] = acceleration_state;
}

fb_status_t heart_rate_watch_begin(heart_rate_watch_t *watch, const char *device_id, uint32_t boot_id) {
  static const watch_pulse_t NO_PULSE = {0};
  describe(watch);
  const fb_device_config_t config = {
      .board = {.write = board_write, .ticks = board_ticks},
      .boot_id = boot_id,
      .tick_rate_hz = BOARD_TICK_RATE_HZ,
      .device_id = device_id,
      .model = "example watch",
      .firmware = FB_VERSION_TEXT,
      .streams = watch->streams,
      .stream_states = watch->states,
      .n_streams = 2u,
      .send_buffer = watch->send_buffer,
      .send_bytes = sizeof watch->send_buffer,
      .receive_buffer = watch->receive_buffer,
      .receive_bytes = sizeof watch->receive_buffer,
  };
  watch->config = config;
  watch->pulse = NO_PULSE;
  watch->reading_ticks = board_ticks(NULL);
  watch->n_dark = 0u;
  watch->is_off_wrist = false;
  for (size_t k = 0u; k < 2u; k++) {
    watch->n_converted[k] = 0u;
    (void)fb_ring_init(&watch->rings[k], watch->ring_memory[k], WATCH_RING_ELEMENTS, sizeof(watch_sample_t));
  }
  return fb_device_init(&watch->device, &watch->config);
}

/* ---- interrupts ---- */

void heart_rate_watch_on_light(heart_rate_watch_t *watch, uint32_t ticks, int32_t counts) {
  const watch_sample_t sample = {.sequence = watch->n_converted[LIGHT]++, .ticks = ticks, .counts = {counts, 0, 0}};
  (void)fb_ring_push(&watch->rings[LIGHT], &sample); /* full: lost and counted, its number tells the host */
}

void heart_rate_watch_on_acceleration(heart_rate_watch_t *watch, uint32_t ticks, const int16_t counts[3]) {
  const watch_sample_t sample = {
      .sequence = watch->n_converted[ACCELERATION]++, .ticks = ticks, .counts = {counts[0], counts[1], counts[2]}};
  (void)fb_ring_push(&watch->rings[ACCELERATION], &sample);
}

void heart_rate_watch_miss_light(heart_rate_watch_t *watch) {
  watch->n_converted[LIGHT]++;
}

void heart_rate_watch_miss_acceleration(heart_rate_watch_t *watch) {
  watch->n_converted[ACCELERATION]++;
}

/* ---- pulse ---- */

static void note_beat(watch_pulse_t *pulse, uint32_t ticks) {
  const uint32_t interval = ticks - pulse->beat_ticks;
  if (pulse->has_beat && interval < LEAST_INTERVAL_TICKS) {
    return;
  }
  if (pulse->has_beat && interval <= LONGEST_INTERVAL_TICKS) {
    for (size_t k = 1u; k < WATCH_INTERVALS; k++) {
      pulse->intervals[k - 1u] = pulse->intervals[k];
    }
    pulse->intervals[WATCH_INTERVALS - 1u] = interval;
    pulse->n_intervals = (uint8_t)(pulse->n_intervals < WATCH_INTERVALS ? pulse->n_intervals + 1u : WATCH_INTERVALS);
  } else {
    pulse->n_intervals = 0u; /* a pause: what was counted before says nothing of now */
  }
  pulse->has_beat = true;
  pulse->beat_ticks = ticks;
}

static void follow_pulse(watch_pulse_t *pulse, uint32_t ticks, int32_t counts) {
  if (!pulse->is_started) {
    pulse->is_started = true;
    pulse->baseline_x64 = counts * 64;
  }
  pulse->baseline_x64 += counts - pulse->baseline_x64 / 64;
  const int32_t wave = counts - pulse->baseline_x64 / 64;
  pulse->envelope -= pulse->envelope / 256;
  if (wave > pulse->envelope) {
    pulse->envelope = wave;
  }
  if (!pulse->is_above && wave > pulse->envelope / 2 && pulse->envelope > LEAST_ENVELOPE_COUNTS) {
    pulse->is_above = true;
    note_beat(pulse, ticks);
  } else if (wave < 0) {
    pulse->is_above = false;
  }
}

/* Return the mean interval in ticks, 0 where the last ones are too few, too old or too different. */
static uint32_t steady_interval(const watch_pulse_t *pulse, uint32_t ticks) {
  uint32_t sum = 0u;
  uint32_t least = UINT32_MAX;
  uint32_t longest = 0u;
  if (pulse->n_intervals < WATCH_INTERVALS || ticks - pulse->beat_ticks > LONGEST_INTERVAL_TICKS) {
    return 0u;
  }
  for (size_t k = 0u; k < WATCH_INTERVALS; k++) {
    sum += pulse->intervals[k];
    least = pulse->intervals[k] < least ? pulse->intervals[k] : least;
    longest = pulse->intervals[k] > longest ? pulse->intervals[k] : longest;
  }
  const uint32_t mean = sum / WATCH_INTERVALS;
  return longest - least > mean / 3u ? 0u : mean;
}

static void send_pulse_rate(heart_rate_watch_t *watch) {
  const uint32_t ticks = board_ticks(NULL);
  if (ticks - watch->reading_ticks < BOARD_TICK_RATE_HZ) {
    return;
  }
  watch->reading_ticks = ticks;
  fb_reading_t reading = {.ticks = ticks, .measure_code = FB_MEASURE_PULSE_RATE_BPM, .valid_for_s = 5u};
  const uint32_t interval = steady_interval(&watch->pulse, ticks);
  if (watch->is_off_wrist) {
    reading.status_code = FB_READING_INVALID;
    reading.absent_code = FB_ABSENT_SENSOR_OFF;
  } else if (interval == 0u) { /* no number rather than a wrong one (R17) */
    reading.status_code = FB_READING_INVALID;
    reading.absent_code = watch->pulse.has_beat ? FB_ABSENT_SIGNAL_POOR : FB_ABSENT_MEASURING;
  } else {
    reading.mantissa = (int32_t)((60u * BOARD_TICK_RATE_HZ + interval / 2u) / interval);
  }
  (void)fb_device_send_reading(&watch->device, &reading); /* busy: the next one is a second away */
}

static void follow_wrist(heart_rate_watch_t *watch, uint32_t ticks, int32_t counts) {
  const bool is_dark = counts < LEAST_WRIST_COUNTS;
  watch->n_dark = (uint8_t)(!is_dark ? 0u : watch->n_dark < DARK_SAMPLES ? watch->n_dark + 1u : DARK_SAMPLES);
  const bool is_off = watch->n_dark == DARK_SAMPLES || (watch->is_off_wrist && is_dark);
  if (is_off != watch->is_off_wrist) {
    static const watch_pulse_t NO_PULSE = {0};
    watch->pulse = NO_PULSE;
    watch->is_off_wrist = is_off;
  }
  const fb_event_t event = {
      .ticks = ticks, .condition_code = FB_CONDITION_SENSOR_OFF, .stream_id = 1u, .is_active = is_off};
  (void)fb_device_set_condition(&watch->device, &event); /* tells changes only */
}

/* ---- main loop ---- */

void heart_rate_watch_step(heart_rate_watch_t *watch) {
  watch_sample_t sample;
  while (fb_ring_pop(&watch->rings[LIGHT], &sample) == FB_OK) {
    (void)fb_device_push(&watch->device, LIGHT, sample.sequence, sample.ticks, sample.counts);
    follow_wrist(watch, sample.ticks, sample.counts[0]);
    if (!watch->is_off_wrist) {
      follow_pulse(&watch->pulse, sample.ticks, sample.counts[0]);
    }
  }
  while (fb_ring_pop(&watch->rings[ACCELERATION], &sample) == FB_OK) {
    (void)fb_device_push(&watch->device, ACCELERATION, sample.sequence, sample.ticks, sample.counts);
  }
  send_pulse_rate(watch);
  board_serve(&watch->device);
}
