/*! @file
 * Consistent overhead byte stuffing: any bytes as bytes without a zero (Cheshire & Baker 1999,
 * doi:10.1109/90.769765; PROTOCOL.md, R1).
 *
 * Whole buffers with fb_cobs_encode and fb_cobs_decode, byte by byte with fb_cobs_writer_t, which keeps one run of at
 * most 254 bytes and so needs no second buffer.  The output is the shortest there is: no code follows a full last one.
 *
 * Thread safety: no state but the caller's.  Time: proportional to the bytes.
 */
#ifndef FB_COBS_H
#define FB_COBS_H

#include "fb_common.h"

#ifdef __cplusplus
extern "C" {
#endif

/*! Most bytes that `n_bytes` can become. */
#define FB_COBS_ENCODED_MAX(n_bytes) ((n_bytes) + (n_bytes) / 254u + 1u)
/*! Smallest buffer of a writer with a sink: one code with 254 bytes, a delimiter before and after. */
#define FB_COBS_SINK_BYTES 257u

/*! Write `data` stuffed to `out`, which must not overlap it.
 *
 * @param n_bytes   may be 0: the result is one byte then
 * @param capacity  bytes at `out`; FB_COBS_ENCODED_MAX(n_bytes) are always enough
 * @param len       bytes written; only with FB_OK
 * @return FB_OK, or FB_FULL where `capacity` is too small (what is at `out` is not defined then)
 */
fb_status_t fb_cobs_encode(const uint8_t *data, size_t n_bytes, uint8_t *out, size_t capacity, size_t *len);

/*! Write what was stuffed to `out`, which may be `data` itself: the result is never longer.
 *
 * @param data      without delimiters
 * @param capacity  bytes at `out`; n_bytes are always enough
 * @param len       bytes written; only with FB_OK
 * @return FB_OK; FB_BAD_COBS where a code is zero or points past the end; FB_FULL where `capacity` is too small
 */
fb_status_t fb_cobs_decode(const uint8_t *data, size_t n_bytes, uint8_t *out, size_t capacity, size_t *len);

/*! Stuffs byte by byte, into memory or, run by run, into a sink.  Its fields are private. */
typedef struct {
  uint8_t *buffer;
  size_t capacity;
  fb_write_t write; /* NULL: all stays in `buffer` */
  void *context;
  size_t used;    /* bytes in `buffer` */
  size_t code_at; /* where the open run's code will be */
  size_t n_given; /* bytes that the sink has taken */
  fb_status_t status;
} fb_cobs_writer_t;

/*! Make a writer.
 *
 * @param buffer    of the caller, as long as the writer lives
 * @param capacity  of `buffer`: the longest result with its delimiters (FB_COBS_ENCODED_MAX + 2), or with a sink
 *                  FB_COBS_SINK_BYTES
 * @param write     sink; NULL keeps everything in `buffer`.  Called with one or several runs at a time.
 * @param context   handed to `write`; may be NULL
 * @return FB_OK, or FB_BAD_ARGUMENT for a sink with less than FB_COBS_SINK_BYTES of buffer
 */
fb_status_t fb_cobs_writer_init(fb_cobs_writer_t *writer, uint8_t *buffer, size_t capacity, fb_write_t write,
                                void *context);

/*! Begin anew with a delimiter.  What was begun before is dropped; what a sink has seen of it is ended by this
 * delimiter. */
void fb_cobs_writer_begin(fb_cobs_writer_t *writer);

/*! Add a byte.  An error (FB_FULL, or what the sink returned) stays until the next begin, so that only end need be
 * asked. */
void fb_cobs_writer_put(fb_cobs_writer_t *writer, uint8_t byte);

/*! End with a delimiter.
 *
 * @param len  bytes from the first delimiter to the last, in the buffer or given to the sink; only with FB_OK
 * @return FB_OK; FB_FULL where the buffer is too small; or what the sink returned
 */
fb_status_t fb_cobs_writer_end(fb_cobs_writer_t *writer, size_t *len);

#ifdef __cplusplus
}
#endif

#endif /* FB_COBS_H */
