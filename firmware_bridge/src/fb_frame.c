/*! @file
 * Frames out and in; see fb_frame.h. */
#include "fb_frame.h"

#define HEADER_BYTES 4u
#define CRC_BYTES 4u
#define FULL_CODE 255u

fb_status_t fb_frame_writer_init(fb_frame_writer_t *writer, uint8_t *buffer, size_t capacity, fb_write_t write,
                                 void *context) {
  writer->crc = FB_CRC32_START;
  writer->n_payload = 0u;
  return fb_cobs_writer_init(&writer->cobs, buffer, capacity, write, context);
}

static void put(fb_frame_writer_t *writer, const uint8_t *data, size_t n_bytes) {
  writer->crc = fb_crc32_iso_hdlc_update(writer->crc, data, n_bytes);
  for (size_t k = 0u; k < n_bytes; k++) {
    fb_cobs_writer_put(&writer->cobs, data[k]);
  }
}

void fb_frame_begin(fb_frame_writer_t *writer, uint8_t type, uint16_t sequence) {
  uint8_t header[HEADER_BYTES] = {FB_PROTOCOL_VERSION, type, 0u, 0u};
  fb_put_u16(header + 2, sequence);
  writer->crc = FB_CRC32_START;
  writer->n_payload = 0u;
  fb_cobs_writer_begin(&writer->cobs);
  put(writer, header, HEADER_BYTES);
}

void fb_frame_append(fb_frame_writer_t *writer, const uint8_t *data, size_t n_bytes) {
  if (n_bytes > FB_PAYLOAD_MAX - writer->n_payload) {
    writer->cobs.status = FB_BAD_OVERLONG;
    return;
  }
  writer->n_payload += n_bytes;
  put(writer, data, n_bytes);
}

void fb_frame_append_u8(fb_frame_writer_t *writer, uint8_t value) {
  fb_frame_append(writer, &value, 1u);
}

void fb_frame_append_u16(fb_frame_writer_t *writer, uint16_t value) {
  uint8_t bytes[2];
  fb_put_u16(bytes, value);
  fb_frame_append(writer, bytes, sizeof bytes);
}

void fb_frame_append_u32(fb_frame_writer_t *writer, uint32_t value) {
  uint8_t bytes[4];
  fb_put_u32(bytes, value);
  fb_frame_append(writer, bytes, sizeof bytes);
}

fb_status_t fb_frame_end(fb_frame_writer_t *writer, size_t *len) {
  uint8_t crc[CRC_BYTES];
  fb_put_u32(crc, fb_crc32_iso_hdlc_finish(writer->crc));
  put(writer, crc, CRC_BYTES);
  return fb_cobs_writer_end(&writer->cobs, len);
}

/* Forget the open frame; the counters stay. */
static void start_over(fb_frame_reader_t *reader) {
  reader->n_encoded = 0u;
  reader->n_plain = 0u;
  reader->code = FULL_CODE; /* so that no zero is put in front of the first run */
  reader->n_left = 0u;
  reader->is_overlong = false;
}

fb_status_t fb_frame_reader_init(fb_frame_reader_t *reader, uint8_t *buffer, size_t capacity) {
  static const fb_frame_counters_t NOTHING = {0u, 0u, 0u, 0u, 0u, 0u, 0u};
  if (capacity < FB_FRAME_OVERHEAD_BYTES) {
    return FB_BAD_ARGUMENT;
  }
  reader->buffer = buffer;
  reader->capacity = capacity;
  reader->counters = NOTHING;
  start_over(reader);
  return FB_OK;
}

static fb_status_t dropped(fb_frame_reader_t *reader, uint32_t *counter, size_t n_bytes, fb_status_t reason) {
  *counter += 1u;
  reader->counters.n_dropped_bytes += (uint32_t)n_bytes;
  return reason;
}

/* Keep a byte of the frame; one that finds no room is counted all the same, so that the frame is found too long. */
static void keep(fb_frame_reader_t *reader, uint8_t byte) {
  if (reader->n_plain < reader->capacity) {
    reader->buffer[reader->n_plain] = byte;
  }
  reader->n_plain++;
}

/* Take a byte between two delimiters. */
static fb_status_t take(fb_frame_reader_t *reader, uint8_t byte) {
  fb_status_t status = FB_MORE;
  const size_t most = reader->capacity + reader->capacity / (FULL_CODE - 1u) + 1u;
  if (reader->n_encoded == most) {
    status = dropped(reader, &reader->counters.n_overlong, most, FB_BAD_OVERLONG);
    start_over(reader);
    reader->is_overlong = true;
  }
  reader->n_encoded++;
  if (reader->n_left > 0u) {
    keep(reader, byte);
    reader->n_left--;
    return status;
  }
  if (reader->code != FULL_CODE) {
    keep(reader, 0u); /* the zero that the run before stood for */
  }
  reader->code = byte;
  reader->n_left = (uint8_t)(byte - 1u);
  return status;
}

/* The checksum and what it covers, of a frame that has both. */
static bool is_intact(const fb_frame_reader_t *reader) {
  const size_t n_covered = reader->n_plain - CRC_BYTES;
  return fb_crc32_iso_hdlc(reader->buffer, n_covered) == fb_get_u32(reader->buffer + n_covered);
}

/* Say what the bytes before a delimiter were. */
static fb_status_t finish(fb_frame_reader_t *reader, fb_frame_t *frame) {
  fb_frame_counters_t *counters = &reader->counters;
  const size_t n_bytes = reader->n_encoded;
  if (n_bytes == 0u) {
    return FB_MORE;
  }
  if (reader->is_overlong) {
    return dropped(reader, &counters->n_overlong, n_bytes, FB_BAD_OVERLONG);
  }
  if (reader->n_left > 0u) {
    return dropped(reader, &counters->n_cobs, n_bytes, FB_BAD_COBS);
  }
  if (reader->n_plain < FB_FRAME_OVERHEAD_BYTES) {
    return dropped(reader, &counters->n_short, n_bytes, FB_BAD_SHORT);
  }
  if (reader->n_plain > reader->capacity) {
    return dropped(reader, &counters->n_overlong, n_bytes, FB_BAD_OVERLONG);
  }
  if (!is_intact(reader)) {
    return dropped(reader, &counters->n_crc, n_bytes, FB_BAD_CRC);
  }
  counters->n_frames++;
  frame->version = reader->buffer[0];
  frame->type = reader->buffer[1];
  frame->sequence = fb_get_u16(reader->buffer + 2);
  frame->payload = reader->buffer + HEADER_BYTES;
  frame->n_payload = reader->n_plain - FB_FRAME_OVERHEAD_BYTES;
  return FB_OK;
}

fb_status_t fb_frame_reader_push(fb_frame_reader_t *reader, uint8_t byte, fb_frame_t *frame) {
  if (byte != 0u) {
    return take(reader, byte);
  }
  const fb_status_t status = finish(reader, frame);
  start_over(reader);
  return status;
}

fb_status_t fb_frame_reader_reset(fb_frame_reader_t *reader) {
  const size_t n_bytes = reader->n_encoded;
  start_over(reader);
  return n_bytes == 0u ? FB_OK : dropped(reader, &reader->counters.n_truncated, n_bytes, FB_BAD_TRUNCATED);
}
