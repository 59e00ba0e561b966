#include "ecg_patch.h"

#define BACKFILL_INTERVAL_TICKS (BOARD_TICK_RATE_HZ / 50u) /* 20 ms: stored samples go five times as fast as live ones */

static const fb_channel_t CHANNELS[] = {
    {.name = "II", .kind_code = FB_KIND_ECG, .unit_code = FB_UNIT_MICROVOLT, .resolution_bits = 12u,
     .gain_numerator = 5, .gain_denominator = 1u, .offset_counts = 2048, .minimum_counts = 0, .maximum_counts = 4095},
};

fb_status_t ecg_patch_begin(ecg_patch_t *patch, const fb_storage_t *storage, uint8_t *memory, const char *device_id,
                            uint32_t boot_id) {
  const fb_stream_t stream = {.name = "ecg", .channels = CHANNELS, .n_channels = 1u, .stream_id = 1u,
                              .is_running = true, .rate_mhz = PATCH_RATE_HZ * 1000u};
  const fb_device_stream_t state = {.block = patch->block, .block_samples = PATCH_PER_BLOCK, .bytes_per_value = 2u,
                                    .store = &patch->store};
  patch->stream = stream;
  patch->state = state;
  patch->n_converted = 0u;
  const fb_device_config_t config = {
      .board = {.write = board_write, .ticks = board_ticks},
      .boot_id = boot_id,
      .tick_rate_hz = BOARD_TICK_RATE_HZ,
      .device_id = device_id,
      .model = "example patch",
      .firmware = FB_VERSION_TEXT,
      .streams = &patch->stream,
      .stream_states = &patch->state,
      .n_streams = 1u,
      .send_buffer = patch->send_buffer,
      .send_bytes = sizeof patch->send_buffer,
      .receive_buffer = patch->receive_buffer,
      .receive_bytes = sizeof patch->receive_buffer,
      .backfill_interval_ticks = BACKFILL_INTERVAL_TICKS,
  };
  patch->config = config;
  (void)fb_ring_init(&patch->ring, patch->ring_memory, PATCH_RING_ELEMENTS, sizeof(patch_sample_t));
  const fb_status_t status =
      storage != NULL ? fb_store_init(&patch->store, storage, PATCH_PER_BLOCK, 1u, 2u)
                      : fb_store_init_ram(&patch->store, memory, PATCH_STORE_BYTES, PATCH_PER_BLOCK, 1u, 2u);
  return status == FB_OK ? fb_device_init(&patch->device, &patch->config) : status;
}

void ecg_patch_on_sample(ecg_patch_t *patch, uint32_t ticks, int32_t counts) {
  const patch_sample_t sample = {.sequence = patch->n_converted++, .ticks = ticks, .counts = counts};
  (void)fb_ring_push(&patch->ring, &sample); /* full: lost and counted, its number tells the host */
}

void ecg_patch_miss_sample(ecg_patch_t *patch) {
  patch->n_converted++;
}

void ecg_patch_set_link(ecg_patch_t *patch, bool is_up) {
  fb_device_set_link(&patch->device, is_up);
}

void ecg_patch_step(ecg_patch_t *patch) {
  patch_sample_t sample;
  while (fb_ring_pop(&patch->ring, &sample) == FB_OK) {
    (void)fb_device_push(&patch->device, 0u, sample.sequence, sample.ticks, &sample.counts);
  }
  board_serve(&patch->device);
}
