/*! @file
 * Payloads of PROTOCOL.md, section 3: what a device sends, and what it hears.
 *
 * Each fb_packet_write_* makes one whole frame with a writer of fb_frame.h and returns its length on the line:
 *
 *   size_t len;
 *   const fb_samples_t block = {.stream_id = 1, .n_samples = 10, .n_channels = 1, .bytes_per_value = 2,
 *                               .sequence = first, .ticks = ticks_of_first};
 *   if (fb_packet_write_samples16(&writer, frame_sequence, &block, counts, &len) == FB_OK) {
 *     frame_sequence++;
 *     uart_send(line, len);
 *   }
 *
 * Text is UTF-8, ends with a zero, and stays the caller's.  Common parameters of all writers:
 *
 *   writer    made with fb_frame_writer_init
 *   sequence  counts the frames of this device, of every type, from 0 at boot (R7)
 *   len       bytes on the line; only with FB_OK
 *
 * Common results: FB_OK; FB_BAD_ARGUMENT where a field is out of range (nothing is written); those of fb_frame_end.
 *
 * Thread safety: no state but the caller's.
 */
#ifndef FB_PACKET_H
#define FB_PACKET_H

#include "fb_codes.h"
#include "fb_common.h"
#include "fb_frame.h"

#ifdef __cplusplus
extern "C" {
#endif

/*! Sizes of payloads, in bytes; FB_FRAME_LINE_MAX of them is what they take on the line. */
#define FB_HELLO_BYTES(n_streams, n_channels_of_all) (64u + 20u * (n_streams) + 36u * (n_channels_of_all))
#define FB_SAMPLES_BYTES(n_samples, n_channels, bytes_per_value) \
  (14u + (size_t)(n_samples) * (n_channels) * (bytes_per_value))
#define FB_READING_BYTES 20u
#define FB_EVENT_BYTES(n_text) (13u + (n_text))
#define FB_TIME_RESPONSE_BYTES 16u
#define FB_COMMAND_ACK_BYTES 8u
#define FB_TIME_REQUEST_BYTES 8u
#define FB_COMMAND_BYTES 12u

#define FB_STREAMS_MAX 16u
#define FB_CHANNELS_MAX 16u /*!< of one stream */
#define FB_ID_TEXT_MAX 16u  /*!< bytes of device_id, model and firmware, the ending zero not counted */
#define FB_NAME_TEXT_MAX 12u /*!< bytes of a stream's or channel's name */
#define FB_EVENT_TEXT_MAX 64u
#define FB_TICK_RATE_MIN_HZ 1000u
#define FB_TICK_RATE_MAX_HZ 1000000u

/*! One column of a stream: value = (count - offset_counts) x gain_numerator / gain_denominator, in `unit_code`
 * (R13). */
typedef struct {
  const char *name;    /*!< at most FB_NAME_TEXT_MAX bytes, such as "II" */
  uint8_t kind_code;   /*!< FB_KIND_* */
  uint8_t unit_code;   /*!< FB_UNIT_* */
  uint8_t resolution_bits; /*!< of the converter */
  int32_t gain_numerator;  /*!< not 0 */
  uint32_t gain_denominator; /*!< above 0 */
  int32_t offset_counts;   /*!< the count that means zero */
  int32_t minimum_counts;  /*!< smallest count that the converter gives; below maximum_counts */
  int32_t maximum_counts;  /*!< largest; the host sees saturation by these two */
} fb_channel_t;

/*! One stream that the device can send. */
typedef struct {
  const char *name; /*!< 1 to FB_NAME_TEXT_MAX bytes, unique, such as "ecg" */
  const fb_channel_t *channels;
  uint8_t n_channels; /*!< 1 to FB_CHANNELS_MAX */
  uint8_t stream_id;  /*!< 0 to 254, unique */
  bool is_running;    /*!< samples are being sent */
  uint32_t rate_mhz;  /*!< nominal rate in milli-hertz, above 0 */
} fb_stream_t;

/*! Who the device is and what it can send. */
typedef struct {
  uint32_t boot_id;      /*!< differs from that of the boot before: random, or a counter in flash (R9) */
  uint32_t tick_rate_hz; /*!< FB_TICK_RATE_MIN_HZ to FB_TICK_RATE_MAX_HZ */
  uint32_t ticks;        /*!< the device's clock now */
  const char *device_id; /*!< unique, such as a serial number; no person's data; at most FB_ID_TEXT_MAX bytes */
  const char *model;     /*!< at most FB_ID_TEXT_MAX bytes, as is the next */
  const char *firmware;
  const fb_stream_t *streams; /*!< may be NULL where n_streams is 0 */
  uint8_t n_streams;          /*!< at most FB_STREAMS_MAX */
} fb_hello_t;

/*! Consecutive samples of one stream, but for the samples themselves. */
typedef struct {
  uint32_t sequence; /*!< number of the first sample since boot, modulo 2^32; unsent ones count too (R11) */
  uint32_t ticks;    /*!< the device's clock at the first sample (R12) */
  uint16_t n_samples; /*!< per channel, at least 1; FB_SAMPLES_BYTES must fit FB_PAYLOAD_MAX */
  uint8_t stream_id;
  uint8_t n_channels;
  uint8_t bytes_per_value; /*!< 2 or 3 */
  bool is_backfill;        /*!< stored earlier, asked for now (R14) */
} fb_samples_t;

/*! A value that the device computed: mantissa x 10^exponent in the unit of the measure. */
typedef struct {
  uint32_t ticks;        /*!< when it was measured */
  uint32_t measure_code; /*!< FB_MEASURE_* */
  int32_t mantissa;      /*!< 0 where there is no value */
  int8_t exponent;
  uint8_t status_code;  /*!< FB_READING_* */
  uint8_t absent_code;  /*!< FB_ABSENT_*: there is no value, and why; never send a special number instead (R17) */
  uint16_t valid_for_s; /*!< it must not be shown when older; 0: the host's 15 s */
} fb_reading_t;

/*! A condition began or ended. */
typedef struct {
  uint32_t ticks;          /*!< when */
  int32_t value;           /*!< a number that goes with it, such as the battery's percent */
  const char *text;        /*!< for people, at most FB_EVENT_TEXT_MAX bytes; may be NULL */
  uint16_t condition_code; /*!< FB_CONDITION_*, or a number of your own: it is passed on (R18) */
  uint8_t stream_id;       /*!< FB_WHOLE_DEVICE: no single one */
  bool is_active;
} fb_event_t;

/*! The device's clock around a time request. */
typedef struct {
  uint8_t host_ns[8];      /*!< as it was asked: opaque, so no 64-bit arithmetic is needed */
  uint32_t received_ticks; /*!< when the request came */
  uint32_t sent_ticks;     /*!< when the answer was handed to the line */
} fb_time_response_t;

/*! What became of a command. */
typedef struct {
  uint32_t value; /*!< what was really set */
  uint16_t command_id;
  uint8_t code;
  uint8_t result_code; /*!< FB_RESULT_* */
} fb_command_ack_t;

/*! The host asks for something. */
typedef struct {
  uint32_t argument; /*!< set-rate: milli-hertz; backfill: first sequence */
  uint32_t count;    /*!< backfill: samples */
  uint16_t command_id;
  uint8_t code;      /*!< FB_COMMAND_*; answer any other with FB_RESULT_UNKNOWN_COMMAND */
  uint8_t stream_id; /*!< FB_WHOLE_DEVICE: all */
} fb_command_t;

/*! Return FB_OK where a host would take this hello, FB_BAD_ARGUMENT where one of its fields would make it drop it. */
fb_status_t fb_packet_check_hello(const fb_hello_t *hello);

/*! Write a hello; FB_BAD_ARGUMENT as fb_packet_check_hello. */
fb_status_t fb_packet_write_hello(fb_frame_writer_t *writer, uint16_t sequence, const fb_hello_t *hello, size_t *len);

/*! Begin a frame of samples and go on as you like: fb_frame_append with values already in the byte order of the wire,
 * or fb_packet_append_values, n_samples x n_channels of them in all; then fb_frame_end.  For samples that lie in two
 * places, such as a ring buffer.  FB_BAD_ARGUMENT where a field is outside its range or the samples would not fit. */
fb_status_t fb_packet_begin_samples(fb_frame_writer_t *writer, uint16_t sequence, const fb_samples_t *samples);

/*! Return whether `value` fits `bytes_per_value` 2 or 3. */
bool fb_packet_value_fits(int32_t value, uint8_t bytes_per_value);

/*! Add values of `bytes_per_value` 2 or 3 to a frame of samples; more significant bits are cut off. */
void fb_packet_append_values(fb_frame_writer_t *writer, const int32_t *values, size_t n_values,
                             uint8_t bytes_per_value);

/*! Write samples of 16 bits.
 *
 * @param samples  bytes_per_value must be 2
 * @param counts   n_samples x n_channels: sample after sample, each with all its channels
 */
fb_status_t fb_packet_write_samples16(fb_frame_writer_t *writer, uint16_t sequence, const fb_samples_t *samples,
                                      const int16_t *counts, size_t *len);

/*! Write samples of 16 or 24 bits out of 32-bit integers.
 *
 * @param counts  as above, sign-extended; FB_BAD_ARGUMENT where one does not fit `bytes_per_value`: nothing is clipped
 *                silently
 */
fb_status_t fb_packet_write_samples32(fb_frame_writer_t *writer, uint16_t sequence, const fb_samples_t *samples,
                                      const int32_t *counts, size_t *len);

/*! Write a reading. */
fb_status_t fb_packet_write_reading(fb_frame_writer_t *writer, uint16_t sequence, const fb_reading_t *reading,
                                    size_t *len);

/*! Write an event; FB_BAD_ARGUMENT where its text is too long. */
fb_status_t fb_packet_write_event(fb_frame_writer_t *writer, uint16_t sequence, const fb_event_t *event, size_t *len);

/*! Write the answer to a time request. */
fb_status_t fb_packet_write_time_response(fb_frame_writer_t *writer, uint16_t sequence,
                                          const fb_time_response_t *response, size_t *len);

/*! Write the answer to a command. */
fb_status_t fb_packet_write_command_ack(fb_frame_writer_t *writer, uint16_t sequence, const fb_command_ack_t *ack,
                                        size_t *len);

/*! Read a time request.
 *
 * @param host_ns  the 8 bytes to be echoed; only with FB_OK
 * @return FB_OK; FB_BAD_VERSION, FB_BAD_TYPE or FB_BAD_LENGTH.  Bytes after the last known field are ignored (R15).
 */
fb_status_t fb_packet_read_time_request(const fb_frame_t *frame, uint8_t host_ns[8]);

/*! Read a command; results as above.  Whether code and stream are known is the caller's to say in its ack. */
fb_status_t fb_packet_read_command(const fb_frame_t *frame, fb_command_t *command);

#ifdef __cplusplus
}
#endif

#endif /* FB_PACKET_H */
