/*! @file
 * Packets have the golden bytes; what a host would drop is not sent. */
#include "fb_packet.h"
#include "fb_test.h"
#include "vectors.h"

static uint8_t line[FB_FRAME_LINE_MAX(FB_PAYLOAD_MAX)];
static fb_frame_writer_t writer;
static size_t len;

static void begin(void) {
  len = 0;
  CHECK_EQUAL(FB_OK, fb_frame_writer_init(&writer, line, sizeof line, NULL, NULL));
}

#define CHECK_LINE(...)                             \
  do {                                              \
    static const uint8_t golden[] = __VA_ARGS__;    \
    CHECK_EQUAL(sizeof golden, len);                \
    CHECK(memcmp(golden, line, sizeof golden) == 0); \
  } while (0)

static fb_channel_t channel;
static fb_stream_t streams[3];
static fb_hello_t hello;

static void make_hello(void) {
  const fb_channel_t ecg = {.name = "II", .kind_code = FB_KIND_ECG, .unit_code = FB_UNIT_MILLIVOLT,
                            .resolution_bits = 16, .gain_numerator = 1, .gain_denominator = 200,
                            .minimum_counts = -32768, .maximum_counts = 32767};
  const fb_stream_t stream = {.name = "ecg", .channels = &channel, .n_channels = 1, .is_running = true,
                              .rate_mhz = 250000};
  const fb_hello_t it = {.boot_id = 7, .tick_rate_hz = 32768, .device_id = "VE-0001", .model = "bedside",
                         .firmware = "1.0.0", .streams = streams, .n_streams = 1};
  channel = ecg;
  streams[0] = streams[1] = streams[2] = stream;
  streams[1].stream_id = 1;
  streams[1].name = "ecg2";
  streams[2].stream_id = 2;
  streams[2].name = "eco";
  hello = it;
}

static void packets_have_the_golden_bytes(void) {
  static const int16_t counts16[] = {1, -1, 32767, -32768};
  static const int32_t counts32[] = {1, -1, 32767, -32768};
  static const int32_t counts24[] = {1, -8388608};
  fb_samples_t samples = {.n_samples = 4, .sequence = 1000, .ticks = 0x20000, .n_channels = 1, .bytes_per_value = 2};
  begin();
  make_hello();
  CHECK_EQUAL(FB_OK, fb_packet_write_hello(&writer, 5, &hello, &len));
  CHECK_LINE(LINE_HELLO);
  CHECK_EQUAL(FB_OK, fb_packet_write_samples16(&writer, 5, &samples, counts16, &len));
  CHECK_LINE(LINE_SAMPLES);
  CHECK_EQUAL(FB_OK, fb_packet_write_samples32(&writer, 5, &samples, counts32, &len));
  CHECK_LINE(LINE_SAMPLES);
  samples.n_samples = 2;
  samples.bytes_per_value = 3;
  CHECK_EQUAL(FB_OK, fb_packet_write_samples32(&writer, 5, &samples, counts24, &len));
  CHECK_LINE(LINE_SAMPLES_INT24);
  const fb_reading_t reading = {.ticks = 65536, .measure_code = FB_MEASURE_SPO2_PCT, .mantissa = 975, .exponent = -1,
                                .valid_for_s = 15};
  CHECK_EQUAL(FB_OK, fb_packet_write_reading(&writer, 5, &reading, &len));
  CHECK_LINE(LINE_READING);
  const fb_event_t event = {.ticks = 65536, .condition_code = FB_CONDITION_LEAD_OFF, .is_active = true, .text = "RA"};
  CHECK_EQUAL(FB_OK, fb_packet_write_event(&writer, 5, &event, &len));
  CHECK_LINE(LINE_EVENT);
  const fb_time_response_t response = {{0x00, 0xCA, 0x9A, 0x3B, 0, 0, 0, 0}, 0x8000, 0x8020};
  CHECK_EQUAL(FB_OK, fb_packet_write_time_response(&writer, 5, &response, &len));
  CHECK_LINE(LINE_TIME_RESPONSE);
  const fb_command_ack_t ack = {.command_id = 1, .code = FB_COMMAND_IDENTIFY};
  CHECK_EQUAL(FB_OK, fb_packet_write_command_ack(&writer, 5, &ack, &len));
  CHECK_LINE(LINE_COMMAND_ACK);
}

static fb_status_t refused_hello(void) {
  const fb_status_t status = fb_packet_write_hello(&writer, 0, &hello, &len);
  make_hello();
  return status;
}

#define CHECK_REFUSED(change)                            \
  do {                                                   \
    change;                                              \
    CHECK_EQUAL(FB_BAD_ARGUMENT, refused_hello());       \
  } while (0)

static void hello_that_a_host_would_drop_is_refused(void) {
  fb_channel_t many[16];
  fb_stream_t wide[2];
  begin();
  make_hello();
  CHECK_REFUSED(hello.tick_rate_hz = 999);
  CHECK_REFUSED(hello.tick_rate_hz = 1000001);
  CHECK_REFUSED(hello.n_streams = 17);
  CHECK_REFUSED(hello.device_id = "seventeen letters");
  CHECK_REFUSED(hello.model = "seventeen letters");
  CHECK_REFUSED(hello.firmware = "seventeen letters");
  CHECK_REFUSED(streams[0].name = "");
  CHECK_REFUSED(streams[0].name = "thirteen char");
  CHECK_REFUSED(streams[0].stream_id = 255);
  CHECK_REFUSED(streams[0].rate_mhz = 0);
  CHECK_REFUSED(streams[0].n_channels = 0);
  CHECK_REFUSED(streams[0].n_channels = 17);
  CHECK_REFUSED(channel.name = "thirteen char");
  CHECK_REFUSED(channel.gain_numerator = 0);
  CHECK_REFUSED(channel.gain_denominator = 0);
  CHECK_REFUSED(channel.maximum_counts = channel.minimum_counts);
  CHECK_REFUSED((hello.n_streams = 2, streams[1].stream_id = 0));
  CHECK_REFUSED((hello.n_streams = 2, streams[1].name = "ecg"));
  for (size_t k = 0; k < 16; k++) {
    many[k] = channel;
  }
  wide[0] = streams[0];
  wide[1] = streams[1];
  wide[0].channels = wide[1].channels = many;
  wide[0].n_channels = wide[1].n_channels = 16; /* 64 + 2 x 20 + 32 x 36 bytes are more than a frame */
  CHECK_REFUSED((hello.n_streams = 2, hello.streams = wide));
  hello.n_streams = 3;
  CHECK_EQUAL(FB_OK, fb_packet_write_hello(&writer, 0, &hello, &len));
  hello.n_streams = 0;
  hello.streams = NULL;
  CHECK_EQUAL(FB_OK, fb_packet_write_hello(&writer, 0, &hello, &len));
}

static void samples_that_cannot_be_are_refused(void) {
  static const int32_t counts[4] = {0, 0, 0, 0};
  static const int16_t counts16[4] = {0, 0, 0, 0};
  const fb_samples_t good = {.n_samples = 2, .n_channels = 2, .bytes_per_value = 2};
  fb_samples_t bad[8];
  begin();
  for (size_t k = 0; k < 8; k++) {
    bad[k] = good;
  }
  bad[0].n_samples = 0;
  bad[1].n_channels = 0;
  bad[2].n_channels = 17;
  bad[3].bytes_per_value = 1;
  bad[4].bytes_per_value = 4;
  bad[5].stream_id = 255;
  bad[6].n_samples = 249; /* x 2 x 2 + 14 = 1010 */
  for (size_t k = 0; k < 7; k++) {
    CHECK_EQUAL(FB_BAD_ARGUMENT, fb_packet_begin_samples(&writer, 0, &bad[k]));
  }
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_packet_write_samples16(&writer, 0, &bad[5], counts16, &len));
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_packet_write_samples32(&writer, 0, &bad[5], counts, &len));
  bad[7].bytes_per_value = 3;
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_packet_write_samples16(&writer, 0, &bad[7], counts16, &len));
  for (unsigned at = 0; at < 4; at++) {
    const int32_t wrong[4] = {32768, -32769, 8388608, -8388609};
    int32_t values[4] = {0, 0, 0, 0};
    values[at] = wrong[at];
    fb_samples_t samples = good;
    samples.bytes_per_value = at < 2 ? 2 : 3;
    CHECK_EQUAL(FB_BAD_ARGUMENT, fb_packet_write_samples32(&writer, 0, &samples, values, &len));
  }
}

static void event_text_has_a_length(void) {
  fb_event_t event = {.text = "1234567890123456789012345678901234567890123456789012345678901234"};
  begin();
  CHECK_EQUAL(FB_OK, fb_packet_write_event(&writer, 0, &event, &len));
  event.text = "12345678901234567890123456789012345678901234567890123456789012345";
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_packet_write_event(&writer, 0, &event, &len));
  event.text = NULL;
  CHECK_EQUAL(FB_OK, fb_packet_write_event(&writer, 0, &event, &len));
}

static fb_frame_t read_line(const uint8_t *data, size_t n_bytes) {
  static uint8_t plain[64];
  fb_frame_reader_t reader;
  fb_frame_t frame = {0};
  CHECK_EQUAL(FB_OK, fb_frame_reader_init(&reader, plain, sizeof plain));
  for (size_t k = 0; k < n_bytes; k++) {
    (void)fb_frame_reader_push(&reader, data[k], &frame);
  }
  CHECK_EQUAL(1, reader.counters.n_frames);
  return frame;
}

static void requests_are_read(void) {
  static const uint8_t time_line[] = LINE_TIME_REQUEST, command_line[] = LINE_COMMAND_SET_RATE;
  uint8_t host_ns[8];
  fb_command_t command;
  fb_frame_t frame = read_line(time_line, sizeof time_line);
  CHECK_EQUAL(FB_OK, fb_packet_read_time_request(&frame, host_ns));
  CHECK_EQUAL(0x3B9ACA00u, fb_get_u32(host_ns));
  CHECK_EQUAL(0, fb_get_u32(host_ns + 4));
  CHECK_EQUAL(FB_BAD_TYPE, fb_packet_read_command(&frame, &command));
  frame = read_line(command_line, sizeof command_line);
  CHECK_EQUAL(FB_OK, fb_packet_read_command(&frame, &command));
  CHECK_EQUAL(2, command.command_id);
  CHECK_EQUAL(FB_COMMAND_SET_RATE, command.code);
  CHECK_EQUAL(0, command.stream_id);
  CHECK_EQUAL(500000, command.argument);
  CHECK_EQUAL(0, command.count);
  frame.n_payload = 11;
  CHECK_EQUAL(FB_BAD_LENGTH, fb_packet_read_command(&frame, &command));
  frame.version = 2;
  CHECK_EQUAL(FB_BAD_VERSION, fb_packet_read_command(&frame, &command));
}

void test_packet(void) {
  packets_have_the_golden_bytes();
  hello_that_a_host_would_drop_is_refused();
  samples_that_cannot_be_are_refused();
  event_text_has_a_length();
  requests_are_read();
}
