/*! @file
 * Frames on the line (PROTOCOL.md, R1 to R7): 0x00 | COBS( version type sequence payload crc ) | 0x00.
 *
 * Out, into memory that a DMA channel then sends:
 *
 *   static uint8_t line[FB_FRAME_LINE_MAX(200)];
 *   fb_frame_writer_t writer;
 *   size_t n_bytes;
 *   fb_frame_writer_init(&writer, line, sizeof line, NULL, NULL);
 *   fb_frame_begin(&writer, FB_TYPE_SAMPLES, sequence++);
 *   fb_frame_append(&writer, payload, n_payload);           // as often as there are parts
 *   if (fb_frame_end(&writer, &n_bytes) == FB_OK) { uart_send(line, n_bytes); }
 *
 * or straight to a sink, with 257 bytes of buffer for a frame of any length (see fb_frame_writer_init).  In both ways
 * the payload is read once, checksum and stuffing are made in passing, and no second copy of the frame exists.
 *
 * In, byte by byte, with the bytes as an interrupt or a DMA buffer brought them:
 *
 *   fb_frame_t frame;
 *   if (fb_frame_reader_push(&reader, byte, &frame) == FB_OK) { ... }
 *
 * Thread safety: no state but the caller's.
 */
#ifndef FB_FRAME_H
#define FB_FRAME_H

#include "fb_cobs.h"
#include "fb_common.h"
#include "fb_crc.h"

#ifdef __cplusplus
extern "C" {
#endif

/*! Bytes around the payload before stuffing: version, type, sequence, crc. */
#define FB_FRAME_OVERHEAD_BYTES 8u
/*! Longest frame before stuffing (R4). */
#define FB_FRAME_PLAIN_MAX 1016u
/*! Longest payload (R4). */
#define FB_PAYLOAD_MAX (FB_FRAME_PLAIN_MAX - FB_FRAME_OVERHEAD_BYTES)
/*! Most bytes that a payload of `n_payload` becomes on the line, delimiters included. */
#define FB_FRAME_LINE_MAX(n_payload) (FB_COBS_ENCODED_MAX((n_payload) + FB_FRAME_OVERHEAD_BYTES) + 2u)
/*! Buffer of a reader that takes payloads up to `n_payload`. */
#define FB_FRAME_READER_BYTES(n_payload) ((n_payload) + FB_FRAME_OVERHEAD_BYTES)

/*! Writes one frame after the other.  Its fields are private. */
typedef struct {
  fb_cobs_writer_t cobs;
  uint32_t crc;
  size_t n_payload;
} fb_frame_writer_t;

/*! Make a writer.
 *
 * @param buffer    of the caller, as long as the writer lives
 * @param capacity  without a sink FB_FRAME_LINE_MAX of the longest payload; with one FB_COBS_SINK_BYTES
 * @param write     sink that takes each frame in pieces of at most `capacity` bytes, or NULL: the frame is left in
 *                  `buffer`, from its first byte on
 * @param context   handed to `write`; may be NULL
 * @return FB_OK, or FB_BAD_ARGUMENT for a sink with too small a buffer
 */
fb_status_t fb_frame_writer_init(fb_frame_writer_t *writer, uint8_t *buffer, size_t capacity, fb_write_t write,
                                 void *context);

/*! Begin a frame.  One that was begun and not ended is dropped (behind a sink the host drops it, by its checksum).
 *
 * @param type      of packet, FB_TYPE_* in fb_codes.h
 * @param sequence  counts the frames of this side, of every type; 65,535 is followed by 0 (R7)
 */
void fb_frame_begin(fb_frame_writer_t *writer, uint8_t type, uint16_t sequence);

/*! Add to the payload.  `n_bytes` may be 0.  Errors wait for fb_frame_end. */
void fb_frame_append(fb_frame_writer_t *writer, const uint8_t *data, size_t n_bytes);

/*! Add one little-endian number to the payload; signed ones are cast to unsigned by the caller. */
void fb_frame_append_u8(fb_frame_writer_t *writer, uint8_t value);
/*! @copydoc fb_frame_append_u8 */
void fb_frame_append_u16(fb_frame_writer_t *writer, uint16_t value);
/*! @copydoc fb_frame_append_u8 */
void fb_frame_append_u32(fb_frame_writer_t *writer, uint32_t value);

/*! End the frame with checksum and delimiter.
 *
 * @param len  bytes on the line, both delimiters included; only with FB_OK
 * @return FB_OK; FB_FULL where the buffer is too small; FB_BAD_OVERLONG for more than FB_PAYLOAD_MAX bytes of payload;
 *         or what the sink returned.  After an error nothing of the frame may be sent; what a sink took already has no
 *         end, and the host drops it (R5, R6).
 */
fb_status_t fb_frame_end(fb_frame_writer_t *writer, size_t *len);

/*! A frame whose checksum was right. */
typedef struct {
  uint8_t version; /*!< anything: fb_packet refuses what is not FB_PROTOCOL_VERSION */
  uint8_t type;
  uint16_t sequence;
  const uint8_t *payload; /*!< in the reader's buffer, until the next push */
  size_t n_payload;
} fb_frame_t;

/*! What a reader has seen since it was made; each counter wraps at 2^32. */
typedef struct {
  uint32_t n_frames;
  uint32_t n_cobs;          /*!< dropped: a code points past the end */
  uint32_t n_short;         /*!< dropped: fewer bytes than header and checksum */
  uint32_t n_crc;           /*!< dropped: the checksum is wrong */
  uint32_t n_overlong;      /*!< dropped: pieces of more bytes than the buffer is for */
  uint32_t n_truncated;     /*!< dropped: half a frame at a reset */
  uint32_t n_dropped_bytes; /*!< in all of those, delimiters not counted */
} fb_frame_counters_t;

/*! Finds frames among bytes.  Read `counters`; the other fields are private. */
typedef struct {
  uint8_t *buffer;
  size_t capacity;
  size_t n_encoded; /* bytes since the last delimiter, or since the last piece that was dropped */
  size_t n_plain;   /* bytes that they unstuff to */
  uint8_t code;     /* of the open run */
  uint8_t n_left;   /* bytes that are still to come in it */
  bool is_overlong;
  fb_frame_counters_t counters;
} fb_frame_reader_t;

/*! Make a reader.
 *
 * @param buffer    of the caller, as long as the reader lives; holds one frame without its stuffing
 * @param capacity  longest frame taken, FB_FRAME_READER_BYTES(longest payload); at least FB_FRAME_OVERHEAD_BYTES.
 *                  A longer frame is dropped and counted as overlong.  64 are enough for whatever a host says.
 * @return FB_OK, or FB_BAD_ARGUMENT for less capacity
 */
fb_status_t fb_frame_reader_init(fb_frame_reader_t *reader, uint8_t *buffer, size_t capacity);

/*! Take one byte of the stream.  Time: a few instructions; at a delimiter the checksum of one frame.
 *
 * @param frame  only with FB_OK: the frame that this byte, a delimiter, completed
 * @return FB_OK; FB_MORE; or why something was dropped and counted: FB_BAD_COBS, FB_BAD_SHORT, FB_BAD_CRC,
 *         FB_BAD_OVERLONG.  Go on with the next byte whatever it was: the reader finds its way back by itself.
 */
fb_status_t fb_frame_reader_push(fb_frame_reader_t *reader, uint8_t byte, fb_frame_t *frame);

/*! Start over as on a new link.
 *
 * @return FB_OK, or FB_BAD_TRUNCATED where half a frame was dropped and counted
 */
fb_status_t fb_frame_reader_reset(fb_frame_reader_t *reader);

#ifdef __cplusplus
}
#endif

#endif /* FB_FRAME_H */
