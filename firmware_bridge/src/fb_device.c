/*! @file
 * A device that answers its host; see fb_device.h.
 *
 * Nothing is sent but by `send`, which alone counts frames, so that a frame the line refused takes no number. */
#include "fb_device.h"

#define READ_BYTES 48u
#define LEAST_RECEIVE_BYTES FB_FRAME_READER_BYTES(FB_COMMAND_BYTES)
#define LEAST_SEND_BYTES FB_FRAME_LINE_MAX(FB_EVENT_BYTES(FB_EVENT_TEXT_MAX))

static uint32_t ticks_now(const fb_device_t *device) {
  return device->config->board.ticks(device->config->board.context);
}

/* Hand a frame that was written into the send buffer to the line.  The length comes by pointer, because arguments are
 * evaluated in any order and the call that writes the frame is one of them. */
static fb_status_t send(fb_device_t *device, fb_status_t written, const size_t *len) {
  const fb_device_config_t *config = device->config;
  if (written != FB_OK) {
    return written;
  }
  const fb_status_t status = config->board.write(config->board.context, config->send_buffer, *len);
  if (status == FB_OK) {
    device->sequence = (uint16_t)(device->sequence + 1u);
    device->counters.n_sent_frames++;
  } else {
    device->counters.n_refused_frames++;
  }
  return status;
}

static fb_hello_t hello_of(const fb_device_config_t *config, uint32_t ticks) {
  const fb_hello_t hello = {
      .boot_id = config->boot_id,
      .tick_rate_hz = config->tick_rate_hz,
      .ticks = ticks,
      .device_id = config->device_id,
      .model = config->model,
      .firmware = config->firmware,
      .streams = config->streams,
      .n_streams = config->n_streams,
  };
  return hello;
}

/* ---- beginning ---- */

/* Whether blocks of a stream fit a frame and its store. */
static bool is_good_state(const fb_stream_t *stream, const fb_device_stream_t *state) {
  const size_t sample_bytes = (size_t)stream->n_channels * state->bytes_per_value;
  const bool fits_store = state->store == NULL || (state->store->block_samples >= state->block_samples &&
                                                   state->store->sample_bytes == sample_bytes);
  return state->block != NULL && state->block_samples >= 1u &&
         (state->bytes_per_value == 2u || state->bytes_per_value == 3u) && fits_store &&
         FB_SAMPLES_BYTES(state->block_samples, stream->n_channels, state->bytes_per_value) <= FB_PAYLOAD_MAX;
}

static bool has_functions(const fb_board_t *board) {
  return board->write != NULL && board->ticks != NULL && (board->choose_rate == NULL) == (board->use_rate == NULL);
}

/* The longest frame that this device can send, on the line; streams and states have been checked. */
static size_t longest_line(const fb_device_config_t *config) {
  size_t n_channels = 0u, longest = LEAST_SEND_BYTES;
  for (size_t k = 0u; k < config->n_streams; k++) {
    const fb_device_stream_t *state = &config->stream_states[k];
    const size_t n_bytes =
        FB_SAMPLES_BYTES(state->block_samples, config->streams[k].n_channels, state->bytes_per_value);
    n_channels += config->streams[k].n_channels;
    longest = FB_FRAME_LINE_MAX(n_bytes) > longest ? FB_FRAME_LINE_MAX(n_bytes) : longest;
  }
  const size_t hello_bytes = FB_HELLO_BYTES(config->n_streams, n_channels);
  return FB_FRAME_LINE_MAX(hello_bytes) > longest ? FB_FRAME_LINE_MAX(hello_bytes) : longest;
}

static fb_status_t check(const fb_device_config_t *config) {
  const fb_hello_t hello = hello_of(config, 0u);
  if (!has_functions(&config->board) || fb_packet_check_hello(&hello) != FB_OK) {
    return FB_BAD_ARGUMENT;
  }
  for (size_t k = 0u; k < config->n_streams; k++) {
    if (!is_good_state(&config->streams[k], &config->stream_states[k])) {
      return FB_BAD_ARGUMENT;
    }
  }
  const bool is_room = config->send_bytes >= longest_line(config) && config->receive_bytes >= LEAST_RECEIVE_BYTES;
  return is_room ? FB_OK : FB_FULL;
}

static void clear_conditions(fb_device_t *device) {
  for (size_t k = 0u; k < FB_DEVICE_CONDITIONS; k++) {
    device->conditions[k].is_used = false;
  }
}

static void forget_requests(fb_device_t *device) {
  device->first_answer = 0u;
  device->n_answers = 0u;
  device->backfill_count = 0u;
}

fb_status_t fb_device_init(fb_device_t *device, const fb_device_config_t *config) {
  static const fb_device_counters_t NOTHING = {0u, 0u, 0u, 0u, 0u};
  const fb_status_t status = check(config);
  if (status != FB_OK) {
    return status;
  }
  device->config = config;
  device->counters = NOTHING;
  device->sequence = 0u;
  device->is_link_up = true;
  device->is_hello_due = true;
  device->has_said_hello = false;
  device->hello_ticks = 0u;
  device->has_sent_backfill = false;
  device->backfill_ticks = 0u;
  forget_requests(device);
  clear_conditions(device);
  for (size_t k = 0u; k < config->n_streams; k++) {
    config->stream_states[k].n_collected = 0u;
    config->stream_states[k].n_unsent_samples = 0u;
    config->stream_states[k].has_new_rate = false;
  }
  /* Neither can fail: a writer without a sink, a buffer that was checked. */
  (void)fb_frame_writer_init(&device->writer, config->send_buffer, config->send_bytes, NULL, NULL);
  (void)fb_frame_reader_init(&device->reader, config->receive_buffer, config->receive_bytes);
  return FB_OK;
}

/* ---- samples ---- */

static fb_status_t send_block(fb_device_t *device, size_t stream_index) {
  const fb_stream_t *stream = &device->config->streams[stream_index];
  const fb_device_stream_t *state = &device->config->stream_states[stream_index];
  const fb_samples_t head = {
      .sequence = state->sequence,
      .ticks = state->ticks,
      .n_samples = state->n_collected,
      .stream_id = stream->stream_id,
      .n_channels = stream->n_channels,
      .bytes_per_value = state->bytes_per_value,
  };
  size_t len = 0u;
  (void)fb_packet_begin_samples(&device->writer, device->sequence, &head); /* checked by fb_device_init */
  fb_frame_append(&device->writer, state->block,
                  (size_t)state->n_collected * stream->n_channels * state->bytes_per_value);
  return send(device, fb_frame_end(&device->writer, &len), &len);
}

static void keep_block(fb_device_stream_t *state) {
  const fb_store_block_t block = {
      .sequence = state->sequence,
      .ticks = state->ticks,
      .last_ticks = state->last_ticks,
      .n_samples = state->n_collected,
  };
  (void)fb_store_put(state->store, &block, state->block); /* the store counts what it loses */
}

/* Send what was collected, keep it, and begin a new block. */
static fb_status_t complete_block(fb_device_t *device, size_t stream_index) {
  fb_device_stream_t *state = &device->config->stream_states[stream_index];
  const bool is_running = device->config->streams[stream_index].is_running;
  if (state->n_collected == 0u) {
    return FB_OK;
  }
  fb_status_t status = FB_FULL;
  if (is_running && device->is_link_up && device->has_said_hello) {
    status = send_block(device, stream_index);
  }
  const bool is_sent = status == FB_OK;
  if (!is_sent) {
    state->n_unsent_samples += state->n_collected;
  }
  if (state->store != NULL && !(is_sent && state->stores_only_unsent)) {
    keep_block(state);
  }
  state->n_collected = 0u;
  return is_running ? status : FB_OK;
}

static void collect(fb_device_stream_t *state, uint8_t n_channels, const int32_t *counts) {
  uint8_t *out = state->block + (size_t)state->n_collected * n_channels * state->bytes_per_value;
  for (size_t k = 0u; k < n_channels; k++) {
    const uint32_t bits = (uint32_t)counts[k];
    fb_put_u16(out, (uint16_t)(bits & 0xFFFFu));
    if (state->bytes_per_value == 3u) {
      out[2] = (uint8_t)((bits >> 16) & 0xFFu);
    }
    out += state->bytes_per_value;
  }
  state->n_collected++;
}

fb_status_t fb_device_push(fb_device_t *device, size_t stream_index, uint32_t sequence, uint32_t ticks,
                           const int32_t *counts) {
  if (stream_index >= device->config->n_streams) {
    return FB_BAD_ARGUMENT;
  }
  fb_device_stream_t *state = &device->config->stream_states[stream_index];
  const uint8_t n_channels = device->config->streams[stream_index].n_channels;
  for (size_t k = 0u; k < n_channels; k++) {
    if (!fb_packet_value_fits(counts[k], state->bytes_per_value)) {
      return FB_BAD_ARGUMENT;
    }
  }
  fb_status_t status = FB_OK;
  if (sequence != state->sequence + state->n_collected) {
    status = complete_block(device, stream_index); /* samples are missing: a frame holds consecutive ones only */
  }
  if (state->n_collected == 0u) {
    state->sequence = sequence;
    state->ticks = ticks;
  }
  state->last_ticks = ticks;
  collect(state, n_channels, counts);
  if (state->n_collected < state->block_samples) {
    return status;
  }
  const fb_status_t status_of_last = complete_block(device, stream_index);
  return status == FB_OK ? status_of_last : status;
}

fb_status_t fb_device_flush(fb_device_t *device, size_t stream_index) {
  return stream_index < device->config->n_streams ? complete_block(device, stream_index) : FB_BAD_ARGUMENT;
}

fb_status_t fb_device_send_reading(fb_device_t *device, const fb_reading_t *reading) {
  size_t len = 0u;
  if (!device->is_link_up) {
    return FB_FULL;
  }
  return send(device, fb_packet_write_reading(&device->writer, device->sequence, reading, &len), &len);
}

/* ---- answers ---- */

static fb_status_t send_answer(fb_device_t *device, fb_device_answer_t *answer) {
  size_t len = 0u;
  fb_status_t written;
  if (answer->is_time) {
    answer->as.time.sent_ticks = ticks_now(device);
    written = fb_packet_write_time_response(&device->writer, device->sequence, &answer->as.time, &len);
  } else {
    written = fb_packet_write_command_ack(&device->writer, device->sequence, &answer->as.ack, &len);
  }
  return send(device, written, &len);
}

static fb_status_t send_answers(fb_device_t *device) {
  fb_status_t status = FB_OK;
  while (device->n_answers > 0u && status == FB_OK) {
    status = send_answer(device, &device->answers[device->first_answer]);
    if (status == FB_OK) {
      device->first_answer = (device->first_answer + 1u) % FB_DEVICE_ANSWERS;
      device->n_answers--;
    }
  }
  return status;
}

static fb_device_answer_t *new_answer(fb_device_t *device) {
  fb_device_answer_t *answer = &device->answers[(device->first_answer + device->n_answers) % FB_DEVICE_ANSWERS];
  device->n_answers++;
  return answer;
}

/* ---- commands ---- */

static size_t index_of(const fb_device_config_t *config, uint8_t stream_id) {
  size_t k = 0u;
  while (k < config->n_streams && config->streams[k].stream_id != stream_id) {
    k++;
  }
  return k;
}

static void set_running(fb_device_t *device, size_t stream_index, bool is_running) {
  const fb_board_t *board = &device->config->board;
  fb_stream_t *stream = &device->config->streams[stream_index];
  if (stream->is_running == is_running) {
    return;
  }
  (void)complete_block(device, stream_index); /* what was collected belongs to the state before */
  stream->is_running = is_running;
  device->is_hello_due = true;
  if (board->run != NULL) {
    board->run(board->context, stream_index, is_running);
  }
}

static void obey_run(fb_device_t *device, const fb_command_t *command, size_t stream_index) {
  const size_t n_streams = device->config->n_streams;
  for (size_t k = 0u; k < n_streams; k++) {
    if (k == stream_index || command->stream_id == FB_WHOLE_DEVICE) {
      set_running(device, k, command->code == FB_COMMAND_START);
    }
  }
}

static uint8_t obey_set_rate(fb_device_t *device, const fb_command_t *command, size_t stream_index, uint32_t *value) {
  const fb_board_t *board = &device->config->board;
  fb_stream_t *stream = &device->config->streams[stream_index];
  *value = stream->rate_mhz;
  if (command->argument == stream->rate_mhz) {
    return FB_RESULT_DONE;
  }
  if (board->choose_rate == NULL) {
    return FB_RESULT_NOT_SUPPORTED;
  }
  const uint32_t rate_mhz = board->choose_rate(board->context, stream_index, command->argument);
  if (rate_mhz == 0u) {
    return FB_RESULT_BAD_ARGUMENT;
  }
  if (rate_mhz != stream->rate_mhz) {
    stream->rate_mhz = rate_mhz;
    device->config->stream_states[stream_index].has_new_rate = true;
    device->is_hello_due = true;
  }
  *value = rate_mhz;
  return FB_RESULT_DONE;
}

static uint8_t obey_backfill(fb_device_t *device, const fb_command_t *command, size_t stream_index, uint32_t *value) {
  const fb_store_t *store = device->config->stream_states[stream_index].store;
  fb_store_found_t found;
  if (store == NULL) {
    return FB_RESULT_NOT_SUPPORTED;
  }
  if (device->backfill_count > 0u) {
    return FB_RESULT_BUSY;
  }
  const fb_status_t status = fb_store_find(store, command->argument, command->count, &found);
  if (status != FB_OK) {
    return status == FB_EMPTY ? FB_RESULT_DONE : FB_RESULT_FAILED;
  }
  const uint32_t n_asked = command->count - (found.sequence - command->argument);
  const uint32_t n_held = store->next_sequence - found.sequence;
  device->backfill_stream = stream_index;
  device->backfill_sequence = found.sequence;
  device->backfill_count = n_asked < n_held ? n_asked : n_held;
  *value = device->backfill_count;
  return FB_RESULT_DONE;
}

static uint8_t obey(fb_device_t *device, const fb_command_t *command, uint32_t *value) {
  const size_t stream_index = index_of(device->config, command->stream_id);
  const bool is_for_all = command->stream_id == FB_WHOLE_DEVICE;
  if (command->code == FB_COMMAND_IDENTIFY) {
    device->is_hello_due = true;
    return FB_RESULT_DONE;
  }
  if (command->code < FB_COMMAND_START || command->code > FB_COMMAND_BACKFILL) {
    return FB_RESULT_UNKNOWN_COMMAND;
  }
  if (!is_for_all && stream_index == device->config->n_streams) {
    return FB_RESULT_UNKNOWN_STREAM;
  }
  if (command->code == FB_COMMAND_START || command->code == FB_COMMAND_STOP) {
    obey_run(device, command, stream_index);
    return FB_RESULT_DONE;
  }
  if (is_for_all) {
    return FB_RESULT_BAD_ARGUMENT;
  }
  if (command->code == FB_COMMAND_SET_RATE) {
    return obey_set_rate(device, command, stream_index, value);
  }
  return obey_backfill(device, command, stream_index, value);
}

static void answer_command(fb_device_t *device, const fb_command_t *command) {
  fb_command_ack_t ack = {.value = 0u, .command_id = command->command_id, .code = command->code};
  ack.result_code = obey(device, command, &ack.value);
  fb_device_answer_t *answer = new_answer(device);
  answer->is_time = false;
  answer->as.ack = ack;
}

static void answer_time(fb_device_t *device, const uint8_t host_ns[8], uint32_t ticks) {
  fb_device_answer_t *answer = new_answer(device);
  answer->is_time = true;
  answer->as.time.received_ticks = ticks;
  for (size_t k = 0u; k < sizeof answer->as.time.host_ns; k++) {
    answer->as.time.host_ns[k] = host_ns[k];
  }
}

static void hear(fb_device_t *device, const fb_frame_t *frame, uint32_t ticks) {
  uint8_t host_ns[8];
  fb_command_t command;
  const bool is_time = fb_packet_read_time_request(frame, host_ns) == FB_OK;
  const bool is_command = fb_packet_read_command(frame, &command) == FB_OK;
  if (!is_time && !is_command) {
    device->counters.n_ignored_frames++;
    return;
  }
  if (device->n_answers == FB_DEVICE_ANSWERS) {
    device->counters.n_dropped_requests++; /* undone, because it could not be answered */
    return;
  }
  if (is_time) {
    answer_time(device, host_ns, ticks);
  } else {
    answer_command(device, &command);
  }
  (void)send_answers(device); /* what finds no room now is sent by a poll */
}

void fb_device_receive(fb_device_t *device, const uint8_t *data, size_t n_bytes, uint32_t ticks) {
  fb_frame_t frame;
  for (size_t k = 0u; device->is_link_up && k < n_bytes; k++) {
    if (fb_frame_reader_push(&device->reader, data[k], &frame) == FB_OK) {
      hear(device, &frame, ticks);
    }
  }
}

/* ---- hello and conditions ---- */

/* A new rate: what was collected at the old one goes before the hello. */
static void complete_old_rates(fb_device_t *device) {
  for (size_t k = 0u; k < device->config->n_streams; k++) {
    if (device->config->stream_states[k].has_new_rate) {
      (void)complete_block(device, k);
    }
  }
}

static void use_new_rates(fb_device_t *device) {
  const fb_device_config_t *config = device->config;
  for (size_t k = 0u; k < config->n_streams; k++) {
    if (config->stream_states[k].has_new_rate) {
      config->stream_states[k].has_new_rate = false;
      config->board.use_rate(config->board.context, k, config->streams[k].rate_mhz);
    }
  }
}

/* What holds is told again with every hello, what is over a few times more (R18). */
static void repeat_conditions(fb_device_t *device, uint32_t ticks) {
  for (size_t k = 0u; k < FB_DEVICE_CONDITIONS; k++) {
    fb_device_condition_t *condition = &device->conditions[k];
    if (!condition->is_used || condition->is_due) {
      continue;
    }
    if (condition->event.is_active) {
      condition->event.ticks = ticks; /* it holds now; the clock may have wrapped since it began */
    } else if (condition->n_hellos_left == 0u) {
      condition->is_used = false;
      continue;
    } else {
      condition->n_hellos_left--;
    }
    condition->is_due = true;
  }
}

static fb_status_t send_hello(fb_device_t *device) {
  const uint32_t interval = device->config->hello_interval_ticks;
  const uint32_t ticks = ticks_now(device);
  const bool is_time = interval != 0u && device->has_said_hello && ticks - device->hello_ticks >= interval;
  if (!device->is_hello_due && !is_time) {
    return FB_OK;
  }
  complete_old_rates(device);
  const fb_hello_t hello = hello_of(device->config, ticks);
  size_t len = 0u;
  const fb_status_t status =
      send(device, fb_packet_write_hello(&device->writer, device->sequence, &hello, &len), &len);
  if (status == FB_OK) {
    device->is_hello_due = false;
    device->has_said_hello = true;
    device->hello_ticks = ticks;
    use_new_rates(device);
    repeat_conditions(device, ticks);
  }
  return status;
}

static fb_status_t send_conditions(fb_device_t *device) {
  fb_status_t status = FB_OK;
  for (size_t k = 0u; k < FB_DEVICE_CONDITIONS && status == FB_OK; k++) {
    fb_device_condition_t *condition = &device->conditions[k];
    size_t len = 0u;
    if (!condition->is_used || !condition->is_due) {
      continue;
    }
    status = send(device, fb_packet_write_event(&device->writer, device->sequence, &condition->event, &len), &len);
    condition->is_due = status != FB_OK;
  }
  return status;
}

static fb_device_condition_t *find_condition(fb_device_t *device, const fb_event_t *event) {
  for (size_t k = 0u; k < FB_DEVICE_CONDITIONS; k++) {
    fb_device_condition_t *condition = &device->conditions[k];
    if (condition->is_used && condition->event.condition_code == event->condition_code &&
        condition->event.stream_id == event->stream_id) {
      return condition;
    }
  }
  return NULL;
}

/* An entry that can be taken: unused, else one whose end has been told; NULL where there is none. */
static fb_device_condition_t *free_condition(fb_device_t *device) {
  fb_device_condition_t *over = NULL;
  for (size_t k = 0u; k < FB_DEVICE_CONDITIONS; k++) {
    fb_device_condition_t *condition = &device->conditions[k];
    if (!condition->is_used) {
      return condition;
    }
    if (!condition->event.is_active && !condition->is_due) {
      over = condition;
    }
  }
  return over;
}

static bool is_short_text(const char *text) {
  size_t n_bytes = 0u;
  while (text != NULL && n_bytes <= FB_EVENT_TEXT_MAX && text[n_bytes] != '\0') {
    n_bytes++;
  }
  return n_bytes <= FB_EVENT_TEXT_MAX;
}

fb_status_t fb_device_set_condition(fb_device_t *device, const fb_event_t *event) {
  if (!is_short_text(event->text)) {
    return FB_BAD_ARGUMENT;
  }
  fb_device_condition_t *entry = find_condition(device, event);
  if (entry == NULL && !event->is_active) {
    return FB_OK; /* never began */
  }
  if (entry != NULL && entry->event.is_active == event->is_active && entry->event.value == event->value &&
      entry->event.text == event->text) {
    return FB_OK;
  }
  if (entry == NULL) {
    entry = free_condition(device);
  }
  if (entry == NULL) {
    device->counters.n_forgotten_conditions++;
    return FB_FULL;
  }
  entry->event = *event;
  entry->is_used = true;
  entry->is_due = true;
  entry->n_hellos_left = FB_DEVICE_ENDED_HELLOS;
  return FB_OK;
}

void fb_device_say_hello(fb_device_t *device) {
  device->is_hello_due = true;
}

/* ---- back-fill ---- */

static fb_status_t write_stored(fb_device_t *device, const fb_store_found_t *found, size_t *len) {
  const fb_stream_t *stream = &device->config->streams[device->backfill_stream];
  const fb_device_stream_t *state = &device->config->stream_states[device->backfill_stream];
  const fb_samples_t head = {
      .sequence = found->sequence,
      .ticks = found->ticks,
      .n_samples = found->n_samples,
      .stream_id = stream->stream_id,
      .n_channels = stream->n_channels,
      .bytes_per_value = state->bytes_per_value,
      .is_backfill = true,
  };
  const size_t n_bytes = (size_t)found->n_samples * stream->n_channels * state->bytes_per_value;
  fb_status_t status = fb_packet_begin_samples(&device->writer, device->sequence, &head);
  for (size_t at = 0u; status == FB_OK && at < n_bytes; at += READ_BYTES) {
    uint8_t piece[READ_BYTES];
    const size_t n_piece = n_bytes - at < READ_BYTES ? n_bytes - at : READ_BYTES;
    status = fb_store_read(state->store, found, at, piece, n_piece);
    fb_frame_append(&device->writer, piece, status == FB_OK ? n_piece : 0u);
  }
  return status == FB_OK ? fb_frame_end(&device->writer, len) : status;
}

static fb_status_t send_stored(fb_device_t *device) {
  fb_store_found_t found;
  size_t len = 0u;
  const uint32_t ticks = ticks_now(device);
  if (device->backfill_count == 0u) {
    return FB_OK;
  }
  if (device->has_sent_backfill && ticks - device->backfill_ticks < device->config->backfill_interval_ticks) {
    return FB_OK;
  }
  const fb_store_t *store = device->config->stream_states[device->backfill_stream].store;
  fb_status_t status = fb_store_find(store, device->backfill_sequence, device->backfill_count, &found);
  if (status == FB_OK) {
    status = write_stored(device, &found, &len);
  }
  if (status != FB_OK) { /* overwritten since, or the storage failed: the host has what there was */
    device->backfill_count = 0u;
    return FB_OK;
  }
  status = send(device, FB_OK, &len);
  if (status == FB_OK) {
    device->backfill_count -= found.sequence - device->backfill_sequence + found.n_samples;
    device->backfill_sequence = found.sequence + found.n_samples;
    device->backfill_ticks = ticks;
    device->has_sent_backfill = true;
  }
  return status;
}

/* ---- link ---- */

void fb_device_set_link(fb_device_t *device, bool is_up) {
  if (is_up == device->is_link_up) {
    return;
  }
  device->is_link_up = is_up;
  if (is_up) {
    device->is_hello_due = true;
    return;
  }
  (void)fb_frame_reader_reset(&device->reader);
  forget_requests(device); /* who asked is gone */
}

fb_status_t fb_device_poll(fb_device_t *device) {
  if (!device->is_link_up) {
    return FB_OK;
  }
  fb_status_t status = send_answers(device);
  if (status == FB_OK) {
    status = send_hello(device);
  }
  if (status == FB_OK) {
    status = send_conditions(device);
  }
  return status == FB_OK ? send_stored(device) : status;
}
