/*! @file
 * A device through any order of calls, a line that is busy as it likes and a host that says anything; `make fuzz`.
 *
 * Each input byte is a step; the bytes after some of them are their arguments.  Nothing may crash, every frame must be
 * whole, and no frame may be numbered out of turn. */
#include <stdlib.h>
#include <string.h>

#include "fb_device.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

typedef struct {
  const uint8_t *data;
  size_t n_left;
  uint32_t now;
  uint16_t next_frame;
  uint8_t plain[1016];
  fb_frame_reader_t host;
} world_t;

static void demand(bool claim) {
  if (!claim) {
    abort();
  }
}

static uint8_t next(world_t *world) {
  if (world->n_left == 0) {
    return 0;
  }
  world->n_left--;
  return *world->data++;
}

static fb_status_t write_line(void *context, const uint8_t *data, size_t n_bytes) {
  world_t *world = (world_t *)context;
  if (next(world) % 4u == 3u) {
    return FB_FULL;
  }
  fb_frame_t frame;
  unsigned n_frames = 0;
  for (size_t k = 0; k < n_bytes; k++) {
    if (fb_frame_reader_push(&world->host, data[k], &frame) == FB_OK) {
      demand(frame.sequence == world->next_frame);
      world->next_frame++;
      n_frames++;
    }
  }
  demand(n_frames == 1 && world->host.counters.n_dropped_bytes == 0);
  return FB_OK;
}

static uint32_t read_ticks(void *context) {
  return ((world_t *)context)->now;
}

static uint32_t choose_rate(void *context, size_t stream_index, uint32_t rate_mhz) {
  (void)context;
  return stream_index == 0 ? rate_mhz / 2u : 0u;
}

static void use_rate(void *context, size_t stream_index, uint32_t rate_mhz) {
  (void)context;
  demand(stream_index == 0 && rate_mhz != 0u);
}

/* A command of the host's, well framed. */
static void command(fb_device_t *device, world_t *world) {
  uint8_t payload[FB_COMMAND_BYTES], line[64];
  fb_frame_writer_t writer;
  size_t len = 0;
  for (size_t k = 0; k < sizeof payload; k++) {
    payload[k] = next(world);
  }
  payload[2] %= 8u;
  payload[3] = (uint8_t)(payload[3] % 4u == 3u ? 255u : payload[3] % 4u);
  (void)fb_frame_writer_init(&writer, line, sizeof line, NULL, NULL);
  fb_frame_begin(&writer, payload[1] % 8u == 0u ? FB_TYPE_TIME_REQUEST : FB_TYPE_COMMAND, 0);
  fb_frame_append(&writer, payload, sizeof payload);
  demand(fb_frame_end(&writer, &len) == FB_OK);
  fb_device_receive(device, line, len, world->now);
}

static void step(fb_device_t *device, world_t *world, uint32_t *sequence) {
  const int32_t counts[2] = {next(world) * 300, -70};
  const fb_event_t event = {.condition_code = (uint16_t)(counts[0] % 11), .is_active = counts[0] % 2 == 0};
  const uint8_t raw[2] = {next(world), next(world)};
  const size_t stream_index = raw[0] % 3u;
  world->now += raw[1] * 256u;
  switch (next(world) % 8u) {
    case 0:
      fb_device_receive(device, raw, 2, world->now);
      break;
    case 1:
      command(device, world);
      break;
    case 2:
      fb_device_set_link(device, raw[0] % 4u != 0u);
      break;
    case 3:
      (void)fb_device_set_condition(device, &event);
      break;
    case 4:
      (void)fb_device_poll(device);
      break;
    case 5:
      (void)fb_device_flush(device, stream_index);
      break;
    default:
      *sequence += raw[1] % 16u == 0u ? raw[0] * 0x1000001u : 1u;
      (void)fb_device_push(device, stream_index, *sequence, world->now, counts);
      break;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
  static const fb_channel_t CHANNELS[2] = {
      {.name = "a", .gain_numerator = 1, .gain_denominator = 1, .maximum_counts = 1},
      {.name = "b", .gain_numerator = 1, .gain_denominator = 1, .maximum_counts = 1},
  };
  uint8_t blocks[2][4 * 2 * 3], memory[FB_STORE_BYTES(5, 4, 1, 2)], send_buffer[512], receive_buffer[64];
  world_t world = {.data = data, .n_left = n_bytes};
  fb_store_t store;
  fb_stream_t streams[2] = {{"one", CHANNELS, 1, 0, true, 250000}, {"two", CHANNELS, 2, 1, true, 100000}};
  fb_device_stream_t states[2] = {
      {.block = blocks[0], .block_samples = 4, .bytes_per_value = 2, .store = &store},
      {.block = blocks[1], .block_samples = 4, .bytes_per_value = 3},
  };
  const fb_device_config_t config = {
      .board = {write_line, read_ticks, choose_rate, use_rate, NULL, &world}, .tick_rate_hz = 1000000,
      .device_id = "x", .model = "y", .firmware = "z", .streams = streams, .stream_states = states, .n_streams = 2,
      .send_buffer = send_buffer, .send_bytes = sizeof send_buffer, .receive_buffer = receive_buffer,
      .receive_bytes = sizeof receive_buffer, .backfill_interval_ticks = 100, .hello_interval_ticks = 100000};
  fb_device_t device;
  uint32_t sequence = 0;
  (void)fb_frame_reader_init(&world.host, world.plain, sizeof world.plain);
  demand(fb_store_init_ram(&store, memory, sizeof memory, 4, 1, 2) == FB_OK);
  demand(fb_device_init(&device, &config) == FB_OK);
  while (world.n_left > 0) {
    step(&device, &world, &sequence);
  }
  return 0;
}
