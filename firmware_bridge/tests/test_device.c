/*! @file
 * The device with a line that can be busy and a clock that the test moves. */
#include "fb_device.h"
#include "fb_test.h"

#define LINE_BYTES 8192u

static uint8_t line[LINE_BYTES];
static size_t n_line;
static fb_status_t line_status;
static uint32_t now;
static uint32_t nearest_mhz, used_mhz;
static int running;

static fb_status_t write_line(void *context, const uint8_t *data, size_t n_bytes) {
  (void)context;
  if (line_status == FB_OK) {
    CHECK(n_line + n_bytes <= LINE_BYTES);
    memcpy(line + n_line, data, n_bytes);
    n_line += n_bytes;
  }
  return line_status;
}

static uint32_t read_ticks(void *context) {
  (void)context;
  return now;
}

static uint32_t choose_rate(void *context, size_t stream_index, uint32_t rate_mhz) {
  (void)context;
  (void)stream_index;
  (void)rate_mhz;
  return nearest_mhz;
}

static void use_rate(void *context, size_t stream_index, uint32_t rate_mhz) {
  (void)context;
  (void)stream_index;
  used_mhz = rate_mhz;
}

static void run(void *context, size_t stream_index, bool is_running) {
  (void)context;
  (void)stream_index;
  running += is_running ? 1 : -1;
}

static const fb_channel_t CHANNELS[2] = {
    {.name = "II", .kind_code = FB_KIND_ECG, .unit_code = FB_UNIT_MILLIVOLT, .resolution_bits = 16,
     .gain_numerator = 1, .gain_denominator = 200, .minimum_counts = -32768, .maximum_counts = 32767},
    {.name = "V1", .kind_code = FB_KIND_ECG, .unit_code = FB_UNIT_MILLIVOLT, .resolution_bits = 24,
     .gain_numerator = 1, .gain_denominator = 200, .minimum_counts = -8388608, .maximum_counts = 8388607},
};
static uint8_t blocks[2][32], store_memory[FB_STORE_BYTES(8, 4, 1, 2)], send_buffer[512], receive_buffer[64];
static fb_store_t store;
static fb_stream_t streams[2];
static fb_device_stream_t states[2];
static fb_device_config_t config;
static fb_device_t device;

static void describe(void) {
  const fb_stream_t one = {"ecg", &CHANNELS[0], 1, 1, true, 250000}, other = {"wide", CHANNELS, 2, 2, true, 100000};
  const fb_device_stream_t state = {.block = blocks[0], .block_samples = 4, .bytes_per_value = 2, .store = &store};
  const fb_device_stream_t wide = {.block = blocks[1], .block_samples = 4, .bytes_per_value = 3};
  const fb_device_config_t it = {
      .board = {write_line, read_ticks, choose_rate, use_rate, run, NULL}, .boot_id = 7, .tick_rate_hz = 1000000,
      .device_id = "VE-0001", .model = "bedside", .firmware = "1.0.0", .streams = streams, .stream_states = states,
      .n_streams = 2, .send_buffer = send_buffer, .send_bytes = sizeof send_buffer, .receive_buffer = receive_buffer,
      .receive_bytes = sizeof receive_buffer, .backfill_interval_ticks = 20000};
  CHECK_EQUAL(FB_OK, fb_store_init_ram(&store, store_memory, sizeof store_memory, 4, 1, 2));
  streams[0] = one;
  streams[1] = other;
  states[0] = state;
  states[1] = wide;
  config = it;
  n_line = 0;
  line_status = FB_OK;
  now = 0;
  running = 0;
  nearest_mhz = used_mhz = 0;
}

static void boot(void) {
  describe();
  CHECK_EQUAL(FB_OK, fb_device_init(&device, &config));
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
}

/* Take the line: types of its frames in order, as text "1 2 6"; the last frame with its payload. */
static fb_frame_t last_frame;
static uint8_t last_bytes[1016];
static uint16_t first_sequence;

static const char *take_types(void) {
  static char text[256];
  static uint8_t plain[1016];
  size_t at = 0;
  unsigned n_frames = 0;
  fb_frame_reader_t reader;
  fb_frame_t frame;
  text[0] = '\0';
  CHECK_EQUAL(FB_OK, fb_frame_reader_init(&reader, plain, sizeof plain));
  for (size_t k = 0; k < n_line; k++) {
    if (fb_frame_reader_push(&reader, line[k], &frame) == FB_OK) {
      first_sequence = n_frames == 0 ? frame.sequence : first_sequence;
      CHECK_EQUAL((uint16_t)(first_sequence + n_frames), frame.sequence); /* R7: no number is left out */
      n_frames++;
      at += (size_t)snprintf(text + at, sizeof text - at, "%s%u", at == 0 ? "" : " ", frame.type);
      last_frame = frame;
      memcpy(last_bytes, frame.payload, frame.n_payload);
      last_frame.payload = last_bytes;
    }
  }
  CHECK_EQUAL(0, reader.counters.n_dropped_bytes);
  n_line = 0;
  return text;
}

#define CHECK_TYPES(expected)                                             \
  do {                                                                    \
    const char *found_types = take_types();                               \
    fb_test_checks++;                                                     \
    if (strcmp(expected, found_types) != 0) {                             \
      fb_test_failures++;                                                 \
      printf("%s:%d: expected frames %s, found %s\n", __FILE__, __LINE__, expected, found_types); \
    }                                                                     \
  } while (0)

static void hear(uint8_t type, const uint8_t *payload, size_t n_payload) {
  uint8_t bytes[128];
  fb_frame_writer_t writer;
  size_t len = 0;
  CHECK_EQUAL(FB_OK, fb_frame_writer_init(&writer, bytes, sizeof bytes, NULL, NULL));
  fb_frame_begin(&writer, type, 0);
  fb_frame_append(&writer, payload, n_payload);
  CHECK_EQUAL(FB_OK, fb_frame_end(&writer, &len));
  fb_device_receive(&device, bytes, len, now);
}

static void command(uint8_t code, uint8_t stream_id, uint32_t argument, uint32_t count) {
  uint8_t payload[12] = {0x34, 0x12, code, stream_id};
  fb_put_u32(payload + 4, argument);
  fb_put_u32(payload + 8, count);
  hear(FB_TYPE_COMMAND, payload, sizeof payload);
}

static void ask_time(void) {
  const uint8_t payload[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  hear(FB_TYPE_TIME_REQUEST, payload, sizeof payload);
}

/* The last frame must be an ack with this result and value. */
static void check_ack(uint8_t result, uint32_t value) {
  CHECK_EQUAL(FB_TYPE_COMMAND_ACK, last_frame.type);
  CHECK_EQUAL(0x1234, fb_get_u16(last_bytes));
  CHECK_EQUAL(result, last_bytes[3]);
  CHECK_EQUAL(value, fb_get_u32(last_bytes + 4));
}

static fb_status_t push(size_t stream_index, uint32_t sequence, int32_t value) {
  const int32_t counts[2] = {value, value};
  return fb_device_push(&device, stream_index, sequence, 4000 * sequence, counts);
}

static void push_block(uint32_t first) {
  for (uint32_t k = 0; k < 4; k++) {
    (void)push(0, first + k, (int32_t)(first + k));
  }
}

static void hello_comes_first_and_samples_follow(void) {
  describe();
  CHECK_EQUAL(FB_OK, fb_device_init(&device, &config));
  push_block(0); /* nobody knows yet what they are */
  CHECK_TYPES("");
  CHECK_EQUAL(4, states[0].n_unsent_samples);
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
  push_block(4);
  CHECK_TYPES("1 2");
  CHECK_EQUAL(4, fb_get_u32(last_bytes + 4));
  CHECK_EQUAL(16000, fb_get_u32(last_bytes + 8));
  CHECK_EQUAL(4, fb_get_u16(last_bytes + 2));
  CHECK_EQUAL(FB_OK, push(0, 8, 1));
  CHECK_EQUAL(FB_OK, push(0, 11, 2)); /* two were dropped by a ring: a frame of its own */
  CHECK_TYPES("2");
  CHECK_EQUAL(1, fb_get_u16(last_bytes + 2));
  CHECK_EQUAL(FB_OK, fb_device_flush(&device, 0));
  CHECK_TYPES("2");
  CHECK_EQUAL(11, fb_get_u32(last_bytes + 4));
  CHECK_EQUAL(FB_OK, fb_device_flush(&device, 0));
  CHECK_TYPES("");
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_device_flush(&device, 2));
  CHECK_EQUAL(FB_BAD_ARGUMENT, push(2, 0, 0));
  CHECK_EQUAL(FB_BAD_ARGUMENT, push(0, 12, 32768));
  for (uint32_t k = 0; k < 4; k++) {
    CHECK_EQUAL(FB_OK, push(1, k, -8388608));
  }
  CHECK_TYPES("2");
  CHECK_EQUAL(3, last_bytes[13]);
  CHECK_EQUAL(0x80, last_bytes[14 + 2]);
}

static void busy_line_loses_samples_and_nothing_else(void) {
  boot();
  CHECK_TYPES("1");
  line_status = FB_FULL;
  ask_time();
  command(FB_COMMAND_IDENTIFY, FB_WHOLE_DEVICE, 0, 0);
  push_block(0);
  CHECK_EQUAL(FB_FULL, fb_device_poll(&device));
  CHECK_EQUAL(4, states[0].n_unsent_samples);
  const fb_reading_t reading = {.measure_code = FB_MEASURE_SPO2_PCT, .mantissa = 97};
  CHECK_EQUAL(FB_FULL, fb_device_send_reading(&device, &reading));
  now = 500;
  line_status = FB_OK;
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
  CHECK_TYPES("5 6 1");
  CHECK_EQUAL(FB_OK, fb_device_send_reading(&device, &reading));
  CHECK_TYPES("3");
  CHECK_EQUAL(1, first_sequence - 3); /* hello 0, then 1 2 3: what was refused took no number */
  line_status = FB_FULL;
  for (unsigned k = 0; k < FB_DEVICE_ANSWERS + 2; k++) {
    command(k % 2 ? 99 : FB_COMMAND_STOP, FB_WHOLE_DEVICE, 0, 0);
  }
  CHECK_EQUAL(2, device.counters.n_dropped_requests);
  line_status = FB_FAILED;
  CHECK_EQUAL(FB_FAILED, fb_device_poll(&device));
  line_status = FB_OK;
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
  CHECK_TYPES("6 6 6 6 6 6 6 6 1");
}

static void old_block_whose_end_fails_reports_it(void) {
  boot();
  CHECK_EQUAL(FB_OK, push(0, 0, 0));
  line_status = FB_FULL;
  CHECK_EQUAL(FB_FULL, push(0, 5, 0));
  line_status = FB_OK;
  states[0].block_samples = 1;
  line_status = FB_FULL;
  states[0].n_collected = 0;
  CHECK_EQUAL(FB_FULL, push(0, 9, 0));
}

static void time_is_answered_with_both_clocks(void) {
  boot();
  (void)take_types();
  now = 1000;
  line_status = FB_FULL;
  ask_time();
  now = 1700;
  line_status = FB_OK;
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
  CHECK_TYPES("5");
  CHECK_EQUAL(0x04030201u, fb_get_u32(last_bytes));
  CHECK_EQUAL(0x08070605u, fb_get_u32(last_bytes + 4));
  CHECK_EQUAL(1000, fb_get_u32(last_bytes + 8));
  CHECK_EQUAL(1700, fb_get_u32(last_bytes + 12));
}

static void commands_are_obeyed_and_answered(void) {
  boot();
  (void)take_types();
  command(77, 1, 0, 0);
  (void)take_types();
  check_ack(FB_RESULT_UNKNOWN_COMMAND, 0);
  command(0, 1, 0, 0);
  (void)take_types();
  check_ack(FB_RESULT_UNKNOWN_COMMAND, 0);
  command(FB_COMMAND_START, 9, 0, 0);
  (void)take_types();
  check_ack(FB_RESULT_UNKNOWN_STREAM, 0);
  command(FB_COMMAND_SET_RATE, FB_WHOLE_DEVICE, 1000, 0);
  (void)take_types();
  check_ack(FB_RESULT_BAD_ARGUMENT, 0);
  command(FB_COMMAND_START, 1, 0, 0); /* it runs already: no news */
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
  CHECK_TYPES("6");
  check_ack(FB_RESULT_DONE, 0);
  (void)push(0, 0, 0);
  command(FB_COMMAND_STOP, 1, 0, 0); /* what was collected is sent before */
  CHECK_EQUAL(-1, running);
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
  CHECK_TYPES("2 6 1");
  CHECK_EQUAL(0, last_bytes[64 + 2]);
  push_block(1);
  CHECK_TYPES("");
  CHECK_EQUAL(4, states[0].n_unsent_samples);
  config.board.run = NULL;
  command(FB_COMMAND_START, FB_WHOLE_DEVICE, 0, 0);
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
  CHECK_TYPES("6 1");
  CHECK_EQUAL(1, last_bytes[64 + 2]);
}

static void new_rate_is_acknowledged_then_said_then_used(void) {
  boot();
  (void)take_types();
  command(FB_COMMAND_SET_RATE, 1, 500000, 0);
  (void)take_types();
  check_ack(FB_RESULT_BAD_ARGUMENT, 250000);
  command(FB_COMMAND_SET_RATE, 1, 250000, 0);
  (void)take_types();
  check_ack(FB_RESULT_DONE, 250000);
  nearest_mhz = 250000;
  command(FB_COMMAND_SET_RATE, 1, 251000, 0);
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
  CHECK_TYPES("6");
  nearest_mhz = 512000;
  (void)push(0, 0, 0);
  command(FB_COMMAND_SET_RATE, 1, 500000, 0);
  CHECK_EQUAL(0, used_mhz);
  CHECK_TYPES("6");
  check_ack(FB_RESULT_DONE, 512000);
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
  CHECK_TYPES("2 1"); /* the old rate's sample, then the new rate */
  CHECK_EQUAL(512000, fb_get_u32(last_bytes + 64 + 4));
  CHECK_EQUAL(512000, used_mhz);
  config.board.choose_rate = NULL;
  command(FB_COMMAND_SET_RATE, 1, 100000, 0);
  (void)take_types();
  check_ack(FB_RESULT_NOT_SUPPORTED, 512000);
}

static void stored_samples_are_sent_when_asked_for(void) {
  boot();
  command(FB_COMMAND_BACKFILL, 2, 0, 10);
  (void)take_types();
  check_ack(FB_RESULT_NOT_SUPPORTED, 0);
  command(FB_COMMAND_BACKFILL, FB_WHOLE_DEVICE, 0, 10);
  (void)take_types();
  check_ack(FB_RESULT_BAD_ARGUMENT, 0);
  command(FB_COMMAND_BACKFILL, 1, 0, 10);
  (void)take_types();
  check_ack(FB_RESULT_DONE, 0);
  for (uint32_t k = 0; k < 4; k++) {
    push_block(4 * k);
  }
  (void)take_types();
  command(FB_COMMAND_BACKFILL, 1, 2, 9);
  (void)take_types();
  check_ack(FB_RESULT_DONE, 9);
  command(FB_COMMAND_BACKFILL, 1, 0, 1);
  (void)take_types();
  check_ack(FB_RESULT_BUSY, 0);
  line_status = FB_FULL;
  CHECK_EQUAL(FB_FULL, fb_device_poll(&device));
  line_status = FB_OK;
  const uint32_t firsts[3] = {2, 4, 8}, counts[3] = {2, 4, 3};
  for (unsigned k = 0; k < 3; k++) {
    CHECK_EQUAL(FB_OK, fb_device_poll(&device));
    CHECK_EQUAL(FB_OK, fb_device_poll(&device)); /* not before its time */
    CHECK_TYPES("2");
    CHECK_EQUAL(1, last_bytes[1]);
    CHECK_EQUAL(firsts[k], fb_get_u32(last_bytes + 4));
    CHECK_EQUAL(4000 * firsts[k], fb_get_u32(last_bytes + 8));
    CHECK_EQUAL(counts[k], fb_get_u16(last_bytes + 2));
    CHECK_EQUAL(firsts[k], fb_get_u16(last_bytes + 14));
    now += 20000;
  }
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
  CHECK_TYPES("");
  command(FB_COMMAND_BACKFILL, 1, 0, 1000);
  (void)take_types();
  check_ack(FB_RESULT_DONE, 16);
  fb_store_clear(&store); /* overwritten before it was sent */
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
  CHECK_TYPES("");
  CHECK_EQUAL(0, device.backfill_count);
}

static int reads_left;
static fb_status_t failing_read(void *context, uint32_t at, uint8_t *data, size_t n_bytes) {
  (void)context;
  memcpy(data, store_memory + at, n_bytes);
  return reads_left-- > 0 ? FB_OK : FB_FAILED;
}
static fb_status_t good_write(void *context, uint32_t at, const uint8_t *data, size_t n_bytes) {
  (void)context;
  memcpy(store_memory + at, data, n_bytes);
  return FB_OK;
}

static void failing_store_ends_a_request(void) {
  const fb_storage_t storage = {failing_read, good_write, NULL, NULL, sizeof store_memory, 0, 0};
  boot();
  states[0].stores_only_unsent = true;
  CHECK_EQUAL(FB_OK, fb_store_init(&store, &storage, 4, 1, 2));
  push_block(0);
  CHECK_EQUAL(0, store.n_blocks); /* it was sent */
  line_status = FB_FULL;
  push_block(4);
  line_status = FB_OK;
  CHECK_EQUAL(1, store.n_blocks);
  (void)take_types();
  reads_left = 0;
  command(FB_COMMAND_BACKFILL, 1, 4, 4);
  (void)take_types();
  check_ack(FB_RESULT_FAILED, 0);
  reads_left = 4; /* enough to find it twice, not to read it */
  command(FB_COMMAND_BACKFILL, 1, 4, 4);
  (void)take_types();
  check_ack(FB_RESULT_DONE, 4);
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
  CHECK_TYPES("");
}

static void conditions_are_told_and_repeated(void) {
  fb_event_t lead = {.ticks = 100, .condition_code = FB_CONDITION_LEAD_OFF, .stream_id = 1, .is_active = false};
  boot();
  (void)take_types();
  CHECK_EQUAL(FB_OK, fb_device_set_condition(&device, &lead)); /* never began */
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
  CHECK_TYPES("");
  lead.is_active = true;
  CHECK_EQUAL(FB_OK, fb_device_set_condition(&device, &lead));
  CHECK_EQUAL(FB_OK, fb_device_set_condition(&device, &lead));
  line_status = FB_FULL;
  CHECK_EQUAL(FB_FULL, fb_device_poll(&device));
  line_status = FB_OK;
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
  CHECK_TYPES("4");
  CHECK_EQUAL(100, fb_get_u32(last_bytes));
  now = 5000;
  fb_device_say_hello(&device);
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
  CHECK_TYPES("1 4");
  CHECK_EQUAL(5000, fb_get_u32(last_bytes)); /* it holds now */
  lead.value = 3;
  CHECK_EQUAL(FB_OK, fb_device_set_condition(&device, &lead));
  lead.text = "RA";
  CHECK_EQUAL(FB_OK, fb_device_set_condition(&device, &lead));
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
  CHECK_TYPES("4");
  lead.is_active = false;
  CHECK_EQUAL(FB_OK, fb_device_set_condition(&device, &lead));
  for (unsigned k = 0; k < FB_DEVICE_ENDED_HELLOS + 1; k++) { /* told once, then with six hellos */
    CHECK_EQUAL(FB_OK, fb_device_poll(&device));
    CHECK_TYPES(k == 0 ? "4" : "1 4");
    CHECK_EQUAL(0, last_bytes[7]);
    fb_device_say_hello(&device);
  }
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
  CHECK_TYPES("1");
  lead.text = "12345678901234567890123456789012345678901234567890123456789012345";
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_device_set_condition(&device, &lead));
}

static void more_conditions_than_fit_are_counted(void) {
  fb_event_t event = {.is_active = true, .stream_id = FB_WHOLE_DEVICE};
  boot();
  for (unsigned k = 0; k < FB_DEVICE_CONDITIONS; k++) {
    event.condition_code = (uint16_t)(k + 1);
    CHECK_EQUAL(FB_OK, fb_device_set_condition(&device, &event));
  }
  event.stream_id = 1;
  CHECK_EQUAL(FB_FULL, fb_device_set_condition(&device, &event));
  event.stream_id = FB_WHOLE_DEVICE;
  event.is_active = false;
  CHECK_EQUAL(FB_OK, fb_device_set_condition(&device, &event));
  event.is_active = true;
  event.condition_code = 99;
  CHECK_EQUAL(FB_FULL, fb_device_set_condition(&device, &event)); /* the end of the other is not told yet */
  CHECK_EQUAL(2, device.counters.n_forgotten_conditions);
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
  CHECK_EQUAL(FB_OK, fb_device_set_condition(&device, &event));
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
  CHECK_TYPES("1 4 4 4 4 4 4 4 4 4");
}

static void link_that_is_down_is_left_alone(void) {
  boot();
  (void)take_types();
  line_status = FB_FULL;
  ask_time();
  line_status = FB_OK;
  fb_device_set_link(&device, true); /* no news */
  fb_device_set_link(&device, false);
  push_block(0);
  ask_time();
  const fb_reading_t reading = {.measure_code = FB_MEASURE_SPO2_PCT};
  CHECK_EQUAL(FB_FULL, fb_device_send_reading(&device, &reading));
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
  CHECK_TYPES("");
  CHECK_EQUAL(4, states[0].n_unsent_samples);
  fb_device_set_link(&device, true);
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
  CHECK_TYPES("1"); /* and not the answer to who is gone */
  command(FB_COMMAND_BACKFILL, 1, 0, 4);
  CHECK_EQUAL(FB_OK, fb_device_poll(&device));
  CHECK_TYPES("6 2");
}

static void hello_is_repeated_by_a_device_that_cannot_hear(void) {
  describe();
  config.hello_interval_ticks = 10000000;
  CHECK_EQUAL(FB_OK, fb_device_init(&device, &config));
  for (unsigned k = 0; k < 31; k++) {
    CHECK_EQUAL(FB_OK, fb_device_poll(&device));
    now += 1000000;
  }
  CHECK_TYPES("1 1 1 1");
}

static void what_is_no_request_is_ignored(void) {
  boot();
  (void)take_types();
  hear(FB_TYPE_HELLO, NULL, 0); /* our own echo */
  hear(0xC0, NULL, 0);
  hear(FB_TYPE_COMMAND, (const uint8_t *)"abc", 3);
  CHECK_EQUAL(3, device.counters.n_ignored_frames);
  CHECK_TYPES("");
}

static fb_status_t init_with(void) {
  const fb_status_t status = fb_device_init(&device, &config);
  describe();
  return status;
}

#define CHECK_INIT(expected, change)      \
  do {                                    \
    change;                               \
    CHECK_EQUAL(expected, init_with());   \
  } while (0)

static void devices_that_cannot_be_are_refused(void) {
  describe();
  CHECK_INIT(FB_BAD_ARGUMENT, config.board.write = NULL);
  CHECK_INIT(FB_BAD_ARGUMENT, config.board.ticks = NULL);
  CHECK_INIT(FB_BAD_ARGUMENT, config.board.use_rate = NULL);
  CHECK_INIT(FB_BAD_ARGUMENT, config.tick_rate_hz = 1);
  CHECK_INIT(FB_BAD_ARGUMENT, states[1].block = NULL);
  CHECK_INIT(FB_BAD_ARGUMENT, states[1].block_samples = 0);
  CHECK_INIT(FB_BAD_ARGUMENT, states[1].bytes_per_value = 1);
  CHECK_INIT(FB_BAD_ARGUMENT, states[1].block_samples = 166);
  CHECK_INIT(FB_BAD_ARGUMENT, states[0].block_samples = 5); /* more than its store takes */
  CHECK_INIT(FB_BAD_ARGUMENT, states[0].bytes_per_value = 3);
  CHECK_INIT(FB_FULL, states[1].block_samples = 100);
  CHECK_INIT(FB_FULL, config.send_bytes = FB_FRAME_LINE_MAX(FB_HELLO_BYTES(2, 3)) - 1);
  CHECK_INIT(FB_OK, config.send_bytes = FB_FRAME_LINE_MAX(FB_HELLO_BYTES(2, 3)));
  CHECK_INIT(FB_FULL, config.receive_bytes = 19);
  CHECK_INIT(FB_OK, config.n_streams = 0);
}

void test_device(void) {
  hello_comes_first_and_samples_follow();
  busy_line_loses_samples_and_nothing_else();
  old_block_whose_end_fails_reports_it();
  time_is_answered_with_both_clocks();
  commands_are_obeyed_and_answered();
  new_rate_is_acknowledged_then_said_then_used();
  stored_samples_are_sent_when_asked_for();
  failing_store_ends_a_request();
  conditions_are_told_and_repeated();
  more_conditions_than_fit_are_counted();
  link_that_is_down_is_left_alone();
  hello_is_repeated_by_a_device_that_cannot_hear();
  what_is_no_request_is_ignored();
  devices_that_cannot_be_are_refused();
}
