/*! @file
 * What all of the firmware library shares: version, status, sizes of integers on the wire.
 *
 * The library is the device's half of firmware_bridge/PROTOCOL.md in C99:
 *
 *   fb_crc     CRC-32/ISO-HDLC                      fb_ring    interrupt -> main loop, without locks
 *   fb_cobs    byte stuffing                        fb_store   samples kept for back-fill
 *   fb_frame   frames out, frames in                fb_device  all of it glued: a device that answers its host
 *   fb_packet  payloads out, commands in            fb_codes.h the numbers of PROTOCOL.md, section 4
 *
 * Each module needs only those before it in its column and fb_common.h, and fb_device needs all but fb_ring; take what
 * you need and leave the rest out of the build.
 *
 * - No heap, no operating system, no floating point, no recursion, no variable-length arrays, no global variables.
 * - Everything that lasts is in a struct of the caller's, everything large in a buffer of the caller's.
 * - Functions that can fail return fb_status_t and nothing else; what they find is written through a pointer.  The
 *   others return what they are asked for.  Results through pointers are written only where the status says so.
 * - Pointers must not be NULL, unless a parameter says that they may.
 * - Thread safety: two calls with different structs never meet.  Calls with the same struct must not overlap; fb_ring
 *   alone may be used from an interrupt and the main loop at the same time.
 * - Needs <stdint.h>, <stddef.h> and <stdbool.h>, as every freestanding compiler has them.  Compilers may turn loops
 *   into calls of memcpy and memset.
 */
#ifndef FB_COMMON_H
#define FB_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*! Version of the library, by semantic versioning. */
#define FB_VERSION_MAJOR 1
#define FB_VERSION_MINOR 0
#define FB_VERSION_PATCH 0
#define FB_VERSION_TEXT "1.0.0"
/*! Version of the wire that every frame carries (PROTOCOL.md, R2). */
#define FB_PROTOCOL_VERSION 1u

/*! How a call ended.  FB_OK is 0; anything from FB_BAD_ARGUMENT on is an error. */
typedef enum {
  FB_OK = 0,        /*!< done */
  FB_MORE,          /*!< nothing to report yet: give more bytes */
  FB_FULL,          /*!< no room now: nothing was taken; try later or with more memory */
  FB_EMPTY,         /*!< nothing there */
  FB_BAD_ARGUMENT,  /*!< the caller's mistake: a number outside its range, a text that is too long */
  FB_BAD_COBS,      /*!< a code points past the end of its frame */
  FB_BAD_SHORT,     /*!< fewer bytes than header and checksum */
  FB_BAD_CRC,       /*!< the checksum is wrong */
  FB_BAD_OVERLONG,  /*!< more bytes than a frame, or the buffer for it, can have */
  FB_BAD_TRUNCATED, /*!< the stream ended within a frame */
  FB_BAD_VERSION,   /*!< a frame of another protocol version */
  FB_BAD_TYPE,      /*!< not the type of packet that was asked for */
  FB_BAD_LENGTH,    /*!< a payload shorter than its fields */
  FB_FAILED         /*!< a function of the board's (line or storage) failed */
} fb_status_t;

/*! Takes bytes for the line, or for whatever is behind `context`.
 *
 * @return FB_OK when all bytes were taken; FB_FULL when there is no room now and none was taken; FB_FAILED otherwise.
 */
typedef fb_status_t (*fb_write_t)(void *context, const uint8_t *data, size_t n_bytes);

/*! Write an unsigned number little-endian, whatever the byte order of the processor; 2 or 4 bytes at `out`. */
static inline void fb_put_u16(uint8_t *out, uint16_t value) {
  out[0] = (uint8_t)(value & 0xFFu);
  out[1] = (uint8_t)(value >> 8);
}

/*! @copydoc fb_put_u16 */
static inline void fb_put_u32(uint8_t *out, uint32_t value) {
  fb_put_u16(out, (uint16_t)(value & 0xFFFFu));
  fb_put_u16(out + 2, (uint16_t)(value >> 16));
}

/*! Read an unsigned little-endian number of 2 or 4 bytes at `in`, at any alignment. */
static inline uint16_t fb_get_u16(const uint8_t *in) {
  return (uint16_t)(in[0] | ((uint16_t)in[1] << 8));
}

/*! @copydoc fb_get_u16 */
static inline uint32_t fb_get_u32(const uint8_t *in) {
  return (uint32_t)fb_get_u16(in) | ((uint32_t)fb_get_u16(in + 2) << 16);
}

#ifdef __cplusplus
}
#endif

#endif /* FB_COMMON_H */
