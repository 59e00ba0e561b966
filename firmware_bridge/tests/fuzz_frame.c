/*! @file
 * Any bytes: the reader and the stuffing neither crash nor accept what they should not; `make fuzz`. */
#include <stdlib.h>
#include <string.h>

#include "fb_packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void demand(bool claim) {
  if (!claim) {
    abort();
  }
}

/* What is stuffed comes back, in memory of exactly the size that is promised. */
static void stuff(const uint8_t *data, size_t n_bytes) {
  const size_t most = FB_COBS_ENCODED_MAX(n_bytes);
  uint8_t *stuffed = (uint8_t *)malloc(most);
  size_t n_stuffed = 0, n_plain = 0;
  demand(fb_cobs_encode(data, n_bytes, stuffed, most, &n_stuffed) == FB_OK);
  demand(memchr(stuffed, 0, n_stuffed) == NULL);
  demand(fb_cobs_decode(stuffed, n_stuffed, stuffed, n_stuffed, &n_plain) == FB_OK);
  demand(n_plain == n_bytes && (n_bytes == 0 || memcmp(stuffed, data, n_bytes) == 0));
  free(stuffed);
}

/* Any bytes unstuff within their own length, or not at all. */
static void unstuff(const uint8_t *data, size_t n_bytes) {
  uint8_t *plain = (uint8_t *)malloc(n_bytes + 1);
  size_t n_plain = 0;
  if (fb_cobs_decode(data, n_bytes, plain, n_bytes, &n_plain) == FB_OK) {
    demand(n_plain <= n_bytes);
  }
  free(plain);
}

/* Every byte is a delimiter, in a frame, dropped or still waiting; an accepted frame can be written again. */
static void read_all(const uint8_t *data, size_t n_bytes, size_t capacity) {
  uint8_t *plain = (uint8_t *)malloc(capacity);
  uint8_t line[FB_FRAME_LINE_MAX(FB_PAYLOAD_MAX)];
  fb_frame_reader_t reader;
  fb_frame_t frame;
  demand(fb_frame_reader_init(&reader, plain, capacity) == FB_OK);
  size_t n_delimiters = 0, n_in_frames = 0, n_pending = 0;
  for (size_t k = 0; k < n_bytes; k++) {
    n_pending = reader.n_encoded;
    const fb_status_t status = fb_frame_reader_push(&reader, data[k], &frame);
    n_delimiters += data[k] == 0 ? 1 : 0;
    if (status == FB_OK) {
      fb_frame_writer_t writer;
      fb_command_t command;
      uint8_t host_ns[8];
      size_t len = 0;
      n_in_frames += n_pending;
      (void)fb_packet_read_command(&frame, &command);
      (void)fb_packet_read_time_request(&frame, host_ns);
      demand(fb_frame_writer_init(&writer, line, sizeof line, NULL, NULL) == FB_OK);
      fb_frame_begin(&writer, frame.type, frame.sequence);
      fb_frame_append(&writer, frame.payload, frame.n_payload);
      demand(fb_frame_end(&writer, &len) == FB_OK && len <= FB_FRAME_LINE_MAX(frame.n_payload));
    }
  }
  demand(n_delimiters + n_in_frames + reader.counters.n_dropped_bytes + reader.n_encoded == n_bytes);
  free(plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
  if (n_bytes < 2) {
    return 0;
  }
  const size_t capacity = FB_FRAME_OVERHEAD_BYTES + (size_t)data[0] * 4u % (FB_PAYLOAD_MAX + 1u);
  stuff(data + 1, n_bytes - 1);
  unstuff(data + 1, n_bytes - 1);
  read_all(data + 1, n_bytes - 1, capacity);
  return 0;
}
