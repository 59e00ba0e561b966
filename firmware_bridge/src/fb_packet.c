/*! @file
 * Payloads field by field, in the order of PROTOCOL.md, section 3; see fb_packet.h. */
#include "fb_packet.h"

#define STREAM_RECORD_BYTES 20u
#define CHANNEL_RECORD_BYTES 36u
#define FLAG_RUNNING 0x01u
#define FLAG_BACKFILL 0x01u

/* Bytes of a text, at most `most` + 1: enough to see that it is too long. */
static size_t text_bytes(const char *text, size_t most) {
  size_t n_bytes = 0u;
  while (n_bytes <= most && text[n_bytes] != '\0') {
    n_bytes++;
  }
  return n_bytes;
}

static bool is_same_text(const char *one, const char *other) {
  size_t k = 0u;
  while (one[k] != '\0' && one[k] == other[k]) {
    k++;
  }
  return one[k] == other[k];
}

/* Add a text that was checked, filled up with zeros. */
static void append_text(fb_frame_writer_t *writer, const char *text, size_t field_bytes) {
  const size_t n_bytes = text_bytes(text, field_bytes);
  for (size_t k = 0u; k < field_bytes; k++) {
    fb_frame_append_u8(writer, k < n_bytes ? (uint8_t)text[k] : 0u);
  }
}

static bool is_good_channel(const fb_channel_t *channel) {
  return text_bytes(channel->name, FB_NAME_TEXT_MAX) <= FB_NAME_TEXT_MAX && channel->gain_numerator != 0 &&
         channel->gain_denominator != 0u && channel->minimum_counts < channel->maximum_counts;
}

static bool is_good_stream(const fb_stream_t *stream) {
  const size_t n_name = text_bytes(stream->name, FB_NAME_TEXT_MAX);
  bool is_good = n_name >= 1u && n_name <= FB_NAME_TEXT_MAX && stream->stream_id != FB_WHOLE_DEVICE &&
                 stream->rate_mhz != 0u && stream->n_channels >= 1u && stream->n_channels <= FB_CHANNELS_MAX;
  for (size_t k = 0u; is_good && k < stream->n_channels; k++) {
    is_good = is_good_channel(&stream->channels[k]);
  }
  return is_good;
}

/* Whether neither number nor name of stream `at` belongs to one before it. */
static bool is_unique(const fb_stream_t *streams, size_t at) {
  for (size_t k = 0u; k < at; k++) {
    if (streams[k].stream_id == streams[at].stream_id || is_same_text(streams[k].name, streams[at].name)) {
      return false;
    }
  }
  return true;
}

fb_status_t fb_packet_check_hello(const fb_hello_t *hello) {
  bool is_good = hello->tick_rate_hz >= FB_TICK_RATE_MIN_HZ && hello->tick_rate_hz <= FB_TICK_RATE_MAX_HZ &&
                 hello->n_streams <= FB_STREAMS_MAX &&
                 text_bytes(hello->device_id, FB_ID_TEXT_MAX) <= FB_ID_TEXT_MAX &&
                 text_bytes(hello->model, FB_ID_TEXT_MAX) <= FB_ID_TEXT_MAX &&
                 text_bytes(hello->firmware, FB_ID_TEXT_MAX) <= FB_ID_TEXT_MAX;
  size_t n_channels = 0u;
  for (size_t k = 0u; is_good && k < hello->n_streams; k++) {
    is_good = is_good_stream(&hello->streams[k]) && is_unique(hello->streams, k);
    n_channels += hello->streams[k].n_channels;
  }
  is_good = is_good && FB_HELLO_BYTES(hello->n_streams, n_channels) <= FB_PAYLOAD_MAX;
  return is_good ? FB_OK : FB_BAD_ARGUMENT;
}

static void append_channel(fb_frame_writer_t *writer, const fb_channel_t *channel) {
  fb_frame_append_u8(writer, channel->kind_code);
  fb_frame_append_u8(writer, channel->unit_code);
  fb_frame_append_u8(writer, channel->resolution_bits);
  fb_frame_append_u8(writer, 0u);
  fb_frame_append_u32(writer, (uint32_t)channel->gain_numerator);
  fb_frame_append_u32(writer, channel->gain_denominator);
  fb_frame_append_u32(writer, (uint32_t)channel->offset_counts);
  fb_frame_append_u32(writer, (uint32_t)channel->minimum_counts);
  fb_frame_append_u32(writer, (uint32_t)channel->maximum_counts);
  append_text(writer, channel->name, FB_NAME_TEXT_MAX);
}

static void append_stream(fb_frame_writer_t *writer, const fb_stream_t *stream) {
  fb_frame_append_u8(writer, stream->stream_id);
  fb_frame_append_u8(writer, stream->n_channels);
  fb_frame_append_u8(writer, stream->is_running ? FLAG_RUNNING : 0u);
  fb_frame_append_u8(writer, 0u);
  fb_frame_append_u32(writer, stream->rate_mhz);
  append_text(writer, stream->name, FB_NAME_TEXT_MAX);
  for (size_t k = 0u; k < stream->n_channels; k++) {
    append_channel(writer, &stream->channels[k]);
  }
}

fb_status_t fb_packet_write_hello(fb_frame_writer_t *writer, uint16_t sequence, const fb_hello_t *hello, size_t *len) {
  if (fb_packet_check_hello(hello) != FB_OK) {
    return FB_BAD_ARGUMENT;
  }
  fb_frame_begin(writer, FB_TYPE_HELLO, sequence);
  fb_frame_append_u32(writer, hello->boot_id);
  fb_frame_append_u32(writer, hello->tick_rate_hz);
  fb_frame_append_u32(writer, hello->ticks);
  append_text(writer, hello->device_id, FB_ID_TEXT_MAX);
  append_text(writer, hello->model, FB_ID_TEXT_MAX);
  append_text(writer, hello->firmware, FB_ID_TEXT_MAX);
  fb_frame_append_u8(writer, hello->n_streams);
  fb_frame_append_u8(writer, STREAM_RECORD_BYTES);
  fb_frame_append_u8(writer, CHANNEL_RECORD_BYTES);
  fb_frame_append_u8(writer, 0u);
  for (size_t k = 0u; k < hello->n_streams; k++) {
    append_stream(writer, &hello->streams[k]);
  }
  return fb_frame_end(writer, len);
}

static bool is_good_block(const fb_samples_t *samples) {
  return samples->n_samples >= 1u && samples->n_channels >= 1u && samples->n_channels <= FB_CHANNELS_MAX &&
         (samples->bytes_per_value == 2u || samples->bytes_per_value == 3u) &&
         samples->stream_id != FB_WHOLE_DEVICE &&
         FB_SAMPLES_BYTES(samples->n_samples, samples->n_channels, samples->bytes_per_value) <= FB_PAYLOAD_MAX;
}

fb_status_t fb_packet_begin_samples(fb_frame_writer_t *writer, uint16_t sequence, const fb_samples_t *samples) {
  if (!is_good_block(samples)) {
    return FB_BAD_ARGUMENT;
  }
  fb_frame_begin(writer, FB_TYPE_SAMPLES, sequence);
  fb_frame_append_u8(writer, samples->stream_id);
  fb_frame_append_u8(writer, samples->is_backfill ? FLAG_BACKFILL : 0u);
  fb_frame_append_u16(writer, samples->n_samples);
  fb_frame_append_u32(writer, samples->sequence);
  fb_frame_append_u32(writer, samples->ticks);
  fb_frame_append_u8(writer, samples->n_channels);
  fb_frame_append_u8(writer, samples->bytes_per_value);
  return FB_OK;
}

void fb_packet_append_values(fb_frame_writer_t *writer, const int32_t *values, size_t n_values,
                             uint8_t bytes_per_value) {
  for (size_t k = 0u; k < n_values; k++) {
    uint8_t bytes[4];
    fb_put_u32(bytes, (uint32_t)values[k]);
    fb_frame_append(writer, bytes, bytes_per_value);
  }
}

static size_t n_values_of(const fb_samples_t *samples) {
  return (size_t)samples->n_samples * samples->n_channels;
}

fb_status_t fb_packet_write_samples16(fb_frame_writer_t *writer, uint16_t sequence, const fb_samples_t *samples,
                                      const int16_t *counts, size_t *len) {
  if (samples->bytes_per_value != 2u || fb_packet_begin_samples(writer, sequence, samples) != FB_OK) {
    return FB_BAD_ARGUMENT;
  }
  const size_t n_values = n_values_of(samples);
  for (size_t k = 0u; k < n_values; k++) {
    fb_frame_append_u16(writer, (uint16_t)counts[k]);
  }
  return fb_frame_end(writer, len);
}

bool fb_packet_value_fits(int32_t value, uint8_t bytes_per_value) {
  const int32_t most = bytes_per_value == 2u ? 0x7FFF : 0x7FFFFF;
  return value >= -most - 1 && value <= most;
}

fb_status_t fb_packet_write_samples32(fb_frame_writer_t *writer, uint16_t sequence, const fb_samples_t *samples,
                                      const int32_t *counts, size_t *len) {
  const size_t n_values = n_values_of(samples);
  /* All of them first: a sink would have seen half a frame already. */
  for (size_t k = 0u; k < n_values; k++) {
    if (!fb_packet_value_fits(counts[k], samples->bytes_per_value)) {
      return FB_BAD_ARGUMENT;
    }
  }
  const fb_status_t status = fb_packet_begin_samples(writer, sequence, samples);
  if (status != FB_OK) {
    return status;
  }
  fb_packet_append_values(writer, counts, n_values, samples->bytes_per_value);
  return fb_frame_end(writer, len);
}

fb_status_t fb_packet_write_reading(fb_frame_writer_t *writer, uint16_t sequence, const fb_reading_t *reading,
                                    size_t *len) {
  fb_frame_begin(writer, FB_TYPE_READING, sequence);
  fb_frame_append_u32(writer, reading->ticks);
  fb_frame_append_u32(writer, reading->measure_code);
  fb_frame_append_u32(writer, (uint32_t)reading->mantissa);
  fb_frame_append_u8(writer, (uint8_t)reading->exponent);
  fb_frame_append_u8(writer, reading->status_code);
  fb_frame_append_u8(writer, reading->absent_code);
  fb_frame_append_u8(writer, 0u);
  fb_frame_append_u16(writer, reading->valid_for_s);
  fb_frame_append_u16(writer, 0u);
  return fb_frame_end(writer, len);
}

fb_status_t fb_packet_write_event(fb_frame_writer_t *writer, uint16_t sequence, const fb_event_t *event, size_t *len) {
  const size_t n_text = event->text == NULL ? 0u : text_bytes(event->text, FB_EVENT_TEXT_MAX);
  if (n_text > FB_EVENT_TEXT_MAX) {
    return FB_BAD_ARGUMENT;
  }
  fb_frame_begin(writer, FB_TYPE_EVENT, sequence);
  fb_frame_append_u32(writer, event->ticks);
  fb_frame_append_u16(writer, event->condition_code);
  fb_frame_append_u8(writer, event->stream_id);
  fb_frame_append_u8(writer, event->is_active ? 1u : 0u);
  fb_frame_append_u32(writer, (uint32_t)event->value);
  fb_frame_append_u8(writer, (uint8_t)n_text);
  if (n_text > 0u) {
    append_text(writer, event->text, n_text);
  }
  return fb_frame_end(writer, len);
}

fb_status_t fb_packet_write_time_response(fb_frame_writer_t *writer, uint16_t sequence,
                                          const fb_time_response_t *response, size_t *len) {
  fb_frame_begin(writer, FB_TYPE_TIME_RESPONSE, sequence);
  fb_frame_append(writer, response->host_ns, sizeof response->host_ns);
  fb_frame_append_u32(writer, response->received_ticks);
  fb_frame_append_u32(writer, response->sent_ticks);
  return fb_frame_end(writer, len);
}

fb_status_t fb_packet_write_command_ack(fb_frame_writer_t *writer, uint16_t sequence, const fb_command_ack_t *ack,
                                        size_t *len) {
  fb_frame_begin(writer, FB_TYPE_COMMAND_ACK, sequence);
  fb_frame_append_u16(writer, ack->command_id);
  fb_frame_append_u8(writer, ack->code);
  fb_frame_append_u8(writer, ack->result_code);
  fb_frame_append_u32(writer, ack->value);
  return fb_frame_end(writer, len);
}

/* Whether a frame can be read as a packet of `type` with at least `n_bytes` of payload (R15: more is ignored). */
static fb_status_t check(const fb_frame_t *frame, uint8_t type, size_t n_bytes) {
  if (frame->version != FB_PROTOCOL_VERSION) {
    return FB_BAD_VERSION;
  }
  if (frame->type != type) {
    return FB_BAD_TYPE;
  }
  return frame->n_payload < n_bytes ? FB_BAD_LENGTH : FB_OK;
}

fb_status_t fb_packet_read_time_request(const fb_frame_t *frame, uint8_t host_ns[8]) {
  const fb_status_t status = check(frame, FB_TYPE_TIME_REQUEST, FB_TIME_REQUEST_BYTES);
  for (size_t k = 0u; status == FB_OK && k < FB_TIME_REQUEST_BYTES; k++) {
    host_ns[k] = frame->payload[k];
  }
  return status;
}

fb_status_t fb_packet_read_command(const fb_frame_t *frame, fb_command_t *command) {
  const fb_status_t status = check(frame, FB_TYPE_COMMAND, FB_COMMAND_BYTES);
  if (status == FB_OK) {
    command->command_id = fb_get_u16(frame->payload);
    command->code = frame->payload[2];
    command->stream_id = frame->payload[3];
    command->argument = fb_get_u32(frame->payload + 4);
    command->count = fb_get_u32(frame->payload + 8);
  }
  return status;
}
