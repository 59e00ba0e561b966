#include "bedside_ecg.h"

#define STREAM_ID 1u
#define RATE_HZ 250u
#define OFF_SAMPLES 25u /* 0.1 s: a comparator that flickers while the patient moves is no lead off */
#define ELECTRODES (ADS1292R_OFF_IN2P | ADS1292R_OFF_IN2N | ADS1292R_OFF_RLD)

static const fb_channel_t CHANNELS[] = {
    {.name = "II", .kind_code = FB_KIND_ECG, .unit_code = FB_UNIT_MICROVOLT, .resolution_bits = 24u,
     .gain_numerator = ADS1292R_GAIN_NUMERATOR, .gain_denominator = ADS1292R_GAIN_DENOMINATOR,
     .minimum_counts = ADS1292R_MINIMUM_COUNTS, .maximum_counts = ADS1292R_MAXIMUM_COUNTS},
};

/* ---- what the host may ask for ---- */

static uint32_t choose_rate(void *context, size_t stream_index, uint32_t rate_mhz) {
  (void)context;
  (void)stream_index;
  return ads1292r_nearest_rate_hz(rate_mhz) * 1000u;
}

static void use_rate(void *context, size_t stream_index, uint32_t rate_mhz) {
  bedside_ecg_t *ecg = context;
  bedside_sample_t dropped;
  (void)stream_index;
  ecg->is_bus_taken = true;
  const fb_status_t status = ads1292r_begin(&ecg->bus, rate_mhz / 1000u);
  ecg->is_bus_taken = false;
  while (fb_ring_pop(&ecg->ring, &dropped) == FB_OK) {
    /* taken at the old rate; their numbers tell the host that they are missing */
  }
  const fb_event_t event = {.ticks = board_ticks(NULL), .condition_code = FB_CONDITION_DEVICE_ERROR,
                            .stream_id = STREAM_ID, .is_active = status != FB_OK, .text = "front end does not answer"};
  (void)fb_device_set_condition(&ecg->device, &event);
}

/* ---- beginning ---- */

fb_status_t bedside_ecg_begin(bedside_ecg_t *ecg, const ads1292r_bus_t *bus, const char *device_id, uint32_t boot_id) {
  const fb_stream_t stream = {.name = "ecg", .channels = CHANNELS, .n_channels = 1u, .stream_id = STREAM_ID,
                              .is_running = true, .rate_mhz = RATE_HZ * 1000u};
  const fb_device_stream_t state = {.block = ecg->block, .block_samples = BEDSIDE_PER_BLOCK, .bytes_per_value = 3u};
  ecg->stream = stream;
  ecg->state = state;
  ecg->bus = *bus;
  ecg->n_converted = 0u;
  ecg->n_bad_frames = 0u;
  ecg->n_off = 0u;
  ecg->is_off = false;
  const fb_device_config_t config = {
      .board = {.write = board_write, .ticks = board_ticks, .choose_rate = choose_rate, .use_rate = use_rate,
                .context = ecg},
      .boot_id = boot_id,
      .tick_rate_hz = BOARD_TICK_RATE_HZ,
      .device_id = device_id,
      .model = "example bedside",
      .firmware = FB_VERSION_TEXT,
      .streams = &ecg->stream,
      .stream_states = &ecg->state,
      .n_streams = 1u,
      .send_buffer = ecg->send_buffer,
      .send_bytes = sizeof ecg->send_buffer,
      .receive_buffer = ecg->receive_buffer,
      .receive_bytes = sizeof ecg->receive_buffer,
  };
  ecg->config = config;
  (void)fb_ring_init(&ecg->ring, ecg->ring_memory, BEDSIDE_RING_ELEMENTS, sizeof(bedside_sample_t));
  const fb_status_t status = fb_device_init(&ecg->device, &ecg->config);
  if (status != FB_OK) {
    return status;
  }
  ecg->is_bus_taken = true;
  const fb_status_t chip = ads1292r_begin(&ecg->bus, RATE_HZ);
  ecg->is_bus_taken = false;
  if (chip != FB_OK) {
    const fb_event_t event = {.ticks = board_ticks(NULL), .condition_code = FB_CONDITION_SELF_TEST_FAILED,
                              .stream_id = STREAM_ID, .is_active = true, .text = "front end does not answer"};
    (void)fb_device_set_condition(&ecg->device, &event);
  }
  return chip;
}

/* ---- interrupt ---- */

void bedside_ecg_on_data_ready(bedside_ecg_t *ecg, uint32_t ticks) {
  bedside_sample_t sample = {.sequence = ecg->n_converted, .ticks = ticks};
  ecg->n_converted = ecg->n_converted + 1u; /* counted whether it can be read or not (R11) */
  if (ecg->is_bus_taken) {
    return;
  }
  if (ads1292r_read(&ecg->bus, &sample.frame) != FB_OK) {
    ecg->n_bad_frames = ecg->n_bad_frames + 1u;
    return;
  }
  (void)fb_ring_push(&ecg->ring, &sample); /* full: lost and counted, its number tells the host */
}

/* ---- main loop ---- */

static void follow_leads(bedside_ecg_t *ecg, const bedside_sample_t *sample) {
  const bool is_off_now = (sample->frame.leads_off & ELECTRODES) != 0u;
  if (is_off_now == ecg->is_off) {
    ecg->n_off = 0u;
    return;
  }
  ecg->n_off++;
  if (ecg->n_off < OFF_SAMPLES) {
    return;
  }
  ecg->is_off = is_off_now;
  ecg->n_off = 0u;
  const fb_event_t event = {.ticks = sample->ticks, .condition_code = FB_CONDITION_LEAD_OFF, .stream_id = STREAM_ID,
                            .is_active = is_off_now, .value = sample->frame.leads_off};
  (void)fb_device_set_condition(&ecg->device, &event);
}

void bedside_ecg_step(bedside_ecg_t *ecg) {
  bedside_sample_t sample;
  while (fb_ring_pop(&ecg->ring, &sample) == FB_OK) {
    (void)fb_device_push(&ecg->device, 0u, sample.sequence, sample.ticks, &sample.frame.ecg_counts);
    follow_leads(ecg, &sample);
  }
  board_serve(&ecg->device);
}
