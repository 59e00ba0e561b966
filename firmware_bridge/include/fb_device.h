/*! @file
 * A whole device of PROTOCOL.md: streams in, an answering line out.  Thin glue over the other modules, and optional.
 *
 *   1. Describe the device in a const fb_device_config_t, its streams in an array of fb_device_stream_t.
 *   2. fb_device_init after power-on; the hello is sent by the first poll.
 *   3. In the main loop, without waiting for anything:
 *        bytes from the line          -> fb_device_receive
 *        samples from the interrupt   -> fb_device_push, one sample with all its channels at a time
 *        computed values              -> fb_device_send_reading
 *        a lead fell off, battery low -> fb_device_set_condition
 *        always                       -> fb_device_poll, at least every 20 ms
 *
 * What it does by itself: hello at boot, when asked and when a stream changed (R9); every time request and every
 * command answered once and in order (R19); conditions told when they begin and end, and again with every hello (R18);
 * samples counted whether they are sent or not (R11); stored samples sent when asked for, between live ones (R14); a
 * new rate acknowledged, said by a hello, then used (R19).
 *
 * The line may be busy: fb_board_t.write says FB_FULL and takes nothing.  Answers, hellos and conditions then wait for
 * the next poll.  A block of samples does not wait, newer ones are on their way: it is counted as unsent, the host sees
 * the step in `sequence`, and a stream with a store has it when the host asks.
 *
 * Thread safety: calls with one device must not overlap, and the board's functions run within them: main loop only, or
 * one task.  Bring samples and bytes from interrupts with fb_ring.
 */
#ifndef FB_DEVICE_H
#define FB_DEVICE_H

#include "fb_common.h"
#include "fb_frame.h"
#include "fb_packet.h"
#include "fb_store.h"

#ifdef __cplusplus
extern "C" {
#endif

/*! Answers that can wait for a busy line; a request beyond them is dropped undone and counted: the host asks again. */
#ifndef FB_DEVICE_ANSWERS
#define FB_DEVICE_ANSWERS 8u
#endif
/*! Conditions remembered, active or lately ended. */
#ifndef FB_DEVICE_CONDITIONS
#define FB_DEVICE_CONDITIONS 8u
#endif
/*! The end of a condition is repeated with so many hellos, so that a host that lost it does not wait for ever. */
#ifndef FB_DEVICE_ENDED_HELLOS
#define FB_DEVICE_ENDED_HELLOS 6u
#endif

/*! Bytes at fb_device_config_t.receive_buffer: longest command, and room for fields of later versions (R15). */
#define FB_DEVICE_RECEIVE_BYTES 64u

/*! Bytes of samples collected for one block: fb_device_stream_t.block. */
#define FB_DEVICE_BLOCK_BYTES(block_samples, n_channels, bytes_per_value) \
  ((size_t)(block_samples) * (n_channels) * (bytes_per_value))

/*! What the board does for the device.  `context` is handed to all of them. */
typedef struct {
  /*! Send a whole frame, or nothing: FB_OK, FB_FULL while the line is busy (it is offered again or counted), FB_FAILED.
   * Must not wait and must copy what it takes. */
  fb_write_t write;
  /*! Return the device's clock: counts at tick_rate_hz, wraps at 2^32, never stops or steps within a boot (R12). */
  uint32_t (*ticks)(void *context);
  /*! Return the rate nearest to `rate_mhz` (milli-hertz) that stream `stream_index` can have, 0 where it can have none
   * like it.  NULL: rates cannot be changed. */
  uint32_t (*choose_rate)(void *context, size_t stream_index, uint32_t rate_mhz);
  /*! Use the rate from now on: the host has been told.  Drop samples that were taken and not pushed yet, they belong to
   * the old rate; in `sequence` they count.  NULL where choose_rate is. */
  void (*use_rate)(void *context, size_t stream_index, uint32_t rate_mhz);
  /*! The host started or stopped a stream.  While stopped, go on counting `sequence` (R11); pushing is optional.  May
   * be NULL. */
  void (*run)(void *context, size_t stream_index, bool is_running);
  void *context; /*!< may be NULL */
} fb_board_t;

/*! One stream.  The board fills the first part before fb_device_init; the rest is private but for the counter. */
typedef struct {
  uint8_t *block;         /*!< of the caller: FB_DEVICE_BLOCK_BYTES */
  uint16_t block_samples; /*!< samples of one frame, at least 1 */
  uint8_t bytes_per_value; /*!< 2 or 3 */
  fb_store_t *store;      /*!< initialised with the same block_samples, channels and bytes; NULL: nothing is kept */
  bool stores_only_unsent; /*!< keep only what could not be sent, to spare flash; what the line lost is then gone */

  uint32_t n_unsent_samples; /*!< counter: not sent live (line busy or down, no hello yet, or stream stopped) */
  uint16_t n_collected;
  uint32_t sequence;
  uint32_t ticks;
  uint32_t last_ticks;
  bool has_new_rate;
} fb_device_stream_t;

/*! What a device is.  Must live as long as the device; may lie in flash, except for `streams` and `stream_states`. */
typedef struct {
  fb_board_t board;
  uint32_t boot_id;      /*!< differs from that of the boot before (R9) */
  uint32_t tick_rate_hz; /*!< of fb_board_t.ticks */
  const char *device_id; /*!< at most 16 bytes each */
  const char *model;
  const char *firmware;
  fb_stream_t *streams;             /*!< what the hello says; is_running and rate_mhz change when the host says so */
  fb_device_stream_t *stream_states; /*!< as many, in the same order */
  uint8_t n_streams;                /*!< 0 to FB_STREAMS_MAX */
  uint8_t *send_buffer;             /*!< holds the longest frame on the line: FB_FRAME_LINE_MAX of the longest payload,
                                         which is the hello (FB_HELLO_BYTES) or a block (FB_SAMPLES_BYTES) */
  size_t send_bytes;
  uint8_t *receive_buffer; /*!< FB_DEVICE_RECEIVE_BYTES, or more */
  size_t receive_bytes;
  uint32_t hello_interval_ticks;    /*!< say hello so often without being asked; 0: never.  10 s for a device that
                                         cannot receive (R19) */
  uint32_t backfill_interval_ticks; /*!< at least so long between two back-fill frames, so that live ones always find
                                         room (R14); 20 ms are five times real time for blocks of 100 ms */
} fb_device_config_t;

/*! An answer that is due. Private. */
typedef struct {
  bool is_time;
  union {
    fb_time_response_t time;
    fb_command_ack_t ack;
  } as;
} fb_device_answer_t;

/*! A condition that holds or held. Private. */
typedef struct {
  fb_event_t event;
  bool is_used;
  bool is_due;
  uint8_t n_hellos_left; /* after its end */
} fb_device_condition_t;

/*! What a device counts; each counter wraps at 2^32. */
typedef struct {
  uint32_t n_sent_frames;
  uint32_t n_refused_frames;   /*!< offers that the line did not take; most were offered again */
  uint32_t n_dropped_requests; /*!< from the host, undone and unanswered, because FB_DEVICE_ANSWERS were waiting */
  uint32_t n_ignored_frames;   /*!< from the host: another version, an unknown type, too short, or our own echo */
  uint32_t n_forgotten_conditions; /*!< more at a time than FB_DEVICE_CONDITIONS */
} fb_device_counters_t;

/*! The state of a device.  Read `counters` and `reader.counters`; the other fields are private. */
typedef struct {
  const fb_device_config_t *config;
  fb_frame_writer_t writer;
  fb_frame_reader_t reader;
  fb_device_counters_t counters;
  uint16_t sequence;
  bool is_link_up;
  bool is_hello_due;
  bool has_said_hello;
  uint32_t hello_ticks;
  fb_device_answer_t answers[FB_DEVICE_ANSWERS];
  size_t first_answer;
  size_t n_answers;
  fb_device_condition_t conditions[FB_DEVICE_CONDITIONS];
  size_t backfill_stream;
  uint32_t backfill_sequence; /* of the next sample to send */
  uint32_t backfill_count; /* samples still asked for; 0: none */
  uint32_t backfill_ticks;
  bool has_sent_backfill;
} fb_device_t;

/*! Begin a boot: counters at 0, the link taken to be up, a hello due.  Nothing is written yet.
 *
 * @return FB_OK; FB_BAD_ARGUMENT where a host would not take the hello (fb_packet_check_hello), where a block would not
 *         fit a frame or its store, or a function of the board's is missing; FB_FULL where send_buffer or receive_buffer is too small
 */
fb_status_t fb_device_init(fb_device_t *device, const fb_device_config_t *config);

/*! Take bytes from the line, of any number and cut anywhere, and do what they ask for.
 *
 * @param n_bytes  may be 0
 * @param ticks    the device's clock when the last of them came: a time request is answered with it, so the interrupt's
 *                 own reading makes the host's clock better
 */
void fb_device_receive(fb_device_t *device, const uint8_t *data, size_t n_bytes, uint32_t ticks);

/*! Take one sample.  It is sent with the block that it completes; a step in `sequence` completes a block early.
 *
 * @param stream_index  place in fb_device_config_t.streams
 * @param sequence      number of the sample since boot, modulo 2^32, counted where it is taken: lost ones count too
 * @param ticks         the device's clock when it was taken
 * @param counts        n_channels values
 * @return FB_OK; FB_FULL or FB_FAILED where a block was completed and could not be sent (it is counted, and kept if
 *         there is a store); FB_BAD_ARGUMENT where a count does not fit bytes_per_value or the index is none: the
 *         sample is not taken, and the host sees it as lost
 */
fb_status_t fb_device_push(fb_device_t *device, size_t stream_index, uint32_t sequence, uint32_t ticks,
                           const int32_t *counts);

/*! Send what a block holds so far, before it is full; for a low rate or before sleep.  Results as fb_device_push. */
fb_status_t fb_device_flush(fb_device_t *device, size_t stream_index);

/*! Send a reading now.
 *
 * @return FB_OK; FB_FULL where the line is busy or down: try later, with a newer value; FB_FAILED
 */
fb_status_t fb_device_send_reading(fb_device_t *device, const fb_reading_t *reading);

/*! Say that a condition begins, holds or is over.  Calling it again with nothing changed does nothing.
 *
 * @param event  copied; its text must live as long as the device, its ticks are when the condition began or ended.
 *               condition_code and stream_id tell one condition from another.
 * @return FB_OK: it is told with the next poll; FB_BAD_ARGUMENT for a text that is too long; FB_FULL where
 *         FB_DEVICE_CONDITIONS others are active: it is not told, and counted
 */
fb_status_t fb_device_set_condition(fb_device_t *device, const fb_event_t *event);

/*! Ask for a hello with the next poll, as after a change of a stream's description. */
void fb_device_say_hello(fb_device_t *device);

/*! Tell whether the link is up, where the board knows (a radio, USB).  While it is down nothing is written, half a
 * received frame is dropped, blocks are kept by their stores; when it comes back a hello is due. */
void fb_device_set_link(fb_device_t *device, bool is_up);

/*! Write what is due and finds room: answers, hello, conditions, then at most one frame of back-fill.
 *
 * @return FB_OK; FB_FULL where something is still waiting for the line; FB_FAILED where the line failed
 */
fb_status_t fb_device_poll(fb_device_t *device);

#ifdef __cplusplus
}
#endif

#endif /* FB_DEVICE_H */
