/*! @file
 * Byte stuffing; see fb_cobs.h.
 *
 * A run is a code byte and what follows it: code - 1 bytes that are not zero, then, unless the code is 255 or the data
 * ends, a zero that is not sent. */
#include "fb_cobs.h"

#define FULL_CODE 255u

/* Bytes of the open run, its code included: what its code will be. */
static size_t run_bytes(const fb_cobs_writer_t *writer) {
  return writer->used - writer->code_at;
}

static void store_byte(fb_cobs_writer_t *writer, uint8_t byte) {
  if (writer->used < writer->capacity) {
    writer->buffer[writer->used] = byte;
    writer->used++;
  } else {
    writer->status = FB_FULL;
  }
}

/* Give the sink all whole runs. */
static void give(fb_cobs_writer_t *writer) {
  if (writer->write == NULL || writer->status != FB_OK) {
    return;
  }
  writer->status = writer->write(writer->context, writer->buffer, writer->used);
  writer->n_given += writer->used;
  writer->used = 0u;
}

static void open_run(fb_cobs_writer_t *writer) {
  /* Given away only when the next run might not fit, so that the sink is called as seldom as can be. */
  if (writer->capacity - writer->used < FULL_CODE + 1u) {
    give(writer);
  }
  if (writer->used < writer->capacity) {
    writer->code_at = writer->used;
  }
  store_byte(writer, 0u);
}

static void close_run(fb_cobs_writer_t *writer) {
  writer->buffer[writer->code_at] = (uint8_t)run_bytes(writer);
}

fb_status_t fb_cobs_writer_init(fb_cobs_writer_t *writer, uint8_t *buffer, size_t capacity, fb_write_t write,
                                void *context) {
  if (write != NULL && capacity < FB_COBS_SINK_BYTES) {
    return FB_BAD_ARGUMENT;
  }
  writer->buffer = buffer;
  writer->capacity = capacity;
  writer->write = write;
  writer->context = context;
  fb_cobs_writer_begin(writer);
  return FB_OK;
}

void fb_cobs_writer_begin(fb_cobs_writer_t *writer) {
  writer->used = 0u;
  writer->code_at = 0u;
  writer->n_given = 0u;
  writer->status = FB_OK;
  store_byte(writer, 0u); /* the delimiter */
  open_run(writer);
}

void fb_cobs_writer_put(fb_cobs_writer_t *writer, uint8_t byte) {
  if (writer->status != FB_OK) {
    return;
  }
  /* Only now, because a full run at the very end is followed by no other. */
  const bool is_full = run_bytes(writer) == FULL_CODE;
  if (is_full) {
    close_run(writer);
    open_run(writer);
  }
  if (byte != 0u) {
    store_byte(writer, byte);
  } else {
    close_run(writer);
    open_run(writer);
  }
}

fb_status_t fb_cobs_writer_end(fb_cobs_writer_t *writer, size_t *len) {
  if (writer->status == FB_OK) {
    close_run(writer);
    store_byte(writer, 0u);
    give(writer);
  }
  if (writer->status == FB_OK) {
    *len = writer->n_given + writer->used;
  }
  return writer->status;
}

fb_status_t fb_cobs_encode(const uint8_t *data, size_t n_bytes, uint8_t *out, size_t capacity, size_t *len) {
  size_t used = 1u, code_at = 0u;
  if (capacity < used) {
    return FB_FULL;
  }
  for (size_t k = 0u; k < n_bytes; k++) {
    const bool is_full = used - code_at == FULL_CODE;
    if (used + (is_full ? 1u : 0u) >= capacity) {
      return FB_FULL;
    }
    if (is_full) {
      out[code_at] = FULL_CODE;
      code_at = used;
      used++;
    }
    if (data[k] == 0u) {
      out[code_at] = (uint8_t)(used - code_at);
      code_at = used;
    } else {
      out[used] = data[k];
    }
    used++;
  }
  out[code_at] = (uint8_t)(used - code_at);
  *len = used;
  return FB_OK;
}

fb_status_t fb_cobs_decode(const uint8_t *data, size_t n_bytes, uint8_t *out, size_t capacity, size_t *len) {
  size_t at = 0u, used = 0u;
  while (at < n_bytes) {
    const size_t code = data[at];
    const size_t next = at + code;
    if (code == 0u || next > n_bytes) {
      return FB_BAD_COBS;
    }
    const bool ends_in_zero = code < FULL_CODE && next < n_bytes;
    if (capacity - used < code - 1u + (ends_in_zero ? 1u : 0u)) {
      return FB_FULL;
    }
    for (at++; at < next; at++) {
      out[used] = data[at];
      used++;
    }
    if (ends_in_zero) {
      out[used] = 0u;
      used++;
    }
  }
  *len = used;
  return FB_OK;
}
