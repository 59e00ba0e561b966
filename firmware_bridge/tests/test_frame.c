/*! @file
 * Frames into memory and into a sink, and back. */
#include "fb_codes.h"
#include "fb_frame.h"
#include "fb_test.h"

typedef struct {
  uint8_t bytes[1100];
  size_t used;
  size_t longest;
  fb_status_t status;
} sink_t;

static fb_status_t take(void *context, const uint8_t *data, size_t n_bytes) {
  sink_t *sink = (sink_t *)context;
  if (sink->status == FB_OK) {
    memcpy(sink->bytes + sink->used, data, n_bytes);
    sink->used += n_bytes;
    sink->longest = n_bytes > sink->longest ? n_bytes : sink->longest;
  }
  return sink->status;
}

static size_t make_frame(uint8_t *line, const uint8_t *payload, size_t n_payload) {
  fb_frame_writer_t writer;
  size_t len = 0;
  CHECK_EQUAL(FB_OK, fb_frame_writer_init(&writer, line, FB_FRAME_LINE_MAX(n_payload), NULL, NULL));
  fb_frame_begin(&writer, FB_TYPE_SAMPLES, 0x1234);
  fb_frame_append(&writer, payload, n_payload);
  CHECK_EQUAL(FB_OK, fb_frame_end(&writer, &len));
  return len;
}

static void frame_comes_back_from_memory_and_sink(void) {
  uint8_t payload[FB_PAYLOAD_MAX], line[FB_FRAME_LINE_MAX(FB_PAYLOAD_MAX)], buffer[FB_COBS_SINK_BYTES];
  uint8_t plain[FB_FRAME_READER_BYTES(FB_PAYLOAD_MAX)];
  CHECK_EQUAL(1023, sizeof line); /* R4 */
  for (size_t n_payload = 0; n_payload <= FB_PAYLOAD_MAX; n_payload += n_payload < 600 ? 1 : 51) {
    for (unsigned pattern = 0; pattern < 3; pattern++) {
      for (size_t k = 0; k < n_payload; k++) {
        payload[k] = (uint8_t)(pattern == 0 ? 0xFF : (pattern == 1 ? 0 : k));
      }
      sink_t sink = {.status = FB_OK};
      fb_frame_writer_t writer;
      size_t n_line = make_frame(line, payload, n_payload), len = 0;
      CHECK_EQUAL(FB_OK, fb_frame_writer_init(&writer, buffer, sizeof buffer, take, &sink));
      fb_frame_begin(&writer, FB_TYPE_SAMPLES, 0x1234);
      fb_frame_append(&writer, payload, n_payload);
      CHECK_EQUAL(FB_OK, fb_frame_end(&writer, &len));
      CHECK_EQUAL(n_line, len);
      CHECK_EQUAL(n_line, sink.used);
      CHECK(memcmp(line, sink.bytes, n_line) == 0);
      fb_frame_reader_t reader;
      fb_frame_t frame;
      CHECK_EQUAL(FB_OK, fb_frame_reader_init(&reader, plain, n_payload + FB_FRAME_OVERHEAD_BYTES));
      for (size_t k = 0; k + 1 < n_line; k++) {
        CHECK_EQUAL(FB_MORE, fb_frame_reader_push(&reader, line[k], &frame));
      }
      CHECK_EQUAL(FB_OK, fb_frame_reader_push(&reader, line[n_line - 1], &frame));
      CHECK_EQUAL(0x1234, frame.sequence);
      CHECK_EQUAL(FB_TYPE_SAMPLES, frame.type);
      CHECK_EQUAL(n_payload, frame.n_payload);
      CHECK(memcmp(payload, frame.payload, n_payload) == 0);
    }
  }
}

static void writer_says_what_went_wrong(void) {
  static const uint8_t payload[FB_PAYLOAD_MAX + 1] = {0};
  uint8_t line[FB_FRAME_LINE_MAX(FB_PAYLOAD_MAX)];
  fb_frame_writer_t writer;
  size_t len = 0;
  sink_t sink = {.status = FB_FAILED};
  CHECK_EQUAL(FB_OK, fb_frame_writer_init(&writer, line, sizeof line, NULL, NULL));
  fb_frame_begin(&writer, 1, 0);
  fb_frame_append(&writer, payload, sizeof payload);
  fb_frame_append_u8(&writer, 0);
  CHECK_EQUAL(FB_BAD_OVERLONG, fb_frame_end(&writer, &len));
  fb_frame_begin(&writer, 1, 0); /* and is good again */
  CHECK_EQUAL(FB_OK, fb_frame_end(&writer, &len));
  CHECK_EQUAL(FB_OK, fb_frame_writer_init(&writer, line, 12, NULL, NULL));
  fb_frame_begin(&writer, 1, 0);
  fb_frame_append_u32(&writer, 1);
  CHECK_EQUAL(FB_FULL, fb_frame_end(&writer, &len));
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_frame_writer_init(&writer, line, FB_COBS_SINK_BYTES - 1, take, &sink));
  CHECK_EQUAL(FB_OK, fb_frame_writer_init(&writer, line, FB_COBS_SINK_BYTES, take, &sink));
  fb_frame_begin(&writer, 1, 0);
  fb_frame_append(&writer, payload, 1000);
  CHECK_EQUAL(FB_FAILED, fb_frame_end(&writer, &len));
}

static fb_status_t push_all(fb_frame_reader_t *reader, const uint8_t *data, size_t n_bytes, fb_frame_t *frame) {
  fb_status_t last = FB_MORE;
  for (size_t k = 0; k < n_bytes; k++) {
    const fb_status_t status = fb_frame_reader_push(reader, data[k], frame);
    last = status == FB_MORE ? last : status;
  }
  return last;
}

static void reader_counts_by_reason_and_goes_on(void) {
  uint8_t plain[16], line[64], garbage[40];
  fb_frame_reader_t reader;
  fb_frame_t frame;
  size_t n_line = make_frame(line, (const uint8_t *)"abc", 3);
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_frame_reader_init(&reader, plain, 7));
  CHECK_EQUAL(FB_OK, fb_frame_reader_init(&reader, plain, sizeof plain));
  CHECK_EQUAL(FB_MORE, push_all(&reader, (const uint8_t *)"\0\0\0", 3, &frame));
  CHECK_EQUAL(FB_BAD_COBS, push_all(&reader, (const uint8_t *)"\x09" "ab", 4, &frame));
  CHECK_EQUAL(FB_BAD_SHORT, push_all(&reader, (const uint8_t *)"\x03" "ab", 4, &frame));
  line[6] ^= 0x40;
  CHECK_EQUAL(FB_BAD_CRC, push_all(&reader, line, n_line, &frame));
  line[6] ^= 0x40;
  memset(garbage, 0x55, sizeof garbage);
  CHECK_EQUAL(FB_BAD_OVERLONG, push_all(&reader, garbage, sizeof garbage, &frame)); /* 2 pieces of 17, 6 wait */
  CHECK_EQUAL(FB_BAD_OVERLONG, fb_frame_reader_push(&reader, 0, &frame));
  memset(garbage, 0x01, 17); /* 17 zeros in 17 codes: one more than the buffer holds */
  garbage[17] = 0;
  CHECK_EQUAL(FB_OK, push_all(&reader, line, n_line, &frame));
  CHECK_EQUAL(3, frame.n_payload);
  CHECK_EQUAL(FB_OK, fb_frame_reader_reset(&reader));
  CHECK_EQUAL(FB_MORE, push_all(&reader, line, 5, &frame));
  CHECK_EQUAL(FB_BAD_TRUNCATED, fb_frame_reader_reset(&reader));
  CHECK_EQUAL(FB_OK, push_all(&reader, line, n_line, &frame));
  CHECK_EQUAL(2, reader.counters.n_frames);
  CHECK_EQUAL(1, reader.counters.n_cobs);
  CHECK_EQUAL(1, reader.counters.n_short);
  CHECK_EQUAL(1, reader.counters.n_crc);
  CHECK_EQUAL(3, reader.counters.n_overlong);
  CHECK_EQUAL(1, reader.counters.n_truncated);
  CHECK_EQUAL(3 + 3 + n_line - 2 + 40 + 4, reader.counters.n_dropped_bytes);
}

/* Stuffing that is short enough for the buffer and unstuffs to more than it holds. */
static void frame_that_unstuffs_too_long_is_overlong(void) {
  uint8_t plain[8];
  fb_frame_reader_t reader;
  fb_frame_t frame;
  CHECK_EQUAL(FB_OK, fb_frame_reader_init(&reader, plain, sizeof plain));
  CHECK_EQUAL(FB_BAD_CRC, push_all(&reader, (const uint8_t *)"\1\1\1\1\1\1\1\1\1\0", 10, &frame));
  uint8_t wide[300], line[320];
  memset(line, 0, sizeof line);
  CHECK_EQUAL(FB_OK, fb_frame_reader_init(&reader, wide, 254));
  memset(line, 1, 256); /* 256 codes are 255 zeros */
  CHECK_EQUAL(FB_BAD_OVERLONG, push_all(&reader, line, 257, &frame));
  CHECK_EQUAL(1, reader.counters.n_overlong);
}

void test_frame(void) {
  frame_comes_back_from_memory_and_sink();
  writer_says_what_went_wrong();
  reader_counts_by_reason_and_goes_on();
  frame_that_unstuffs_too_long_is_overlong();
}
