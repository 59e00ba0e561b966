/*! @file
 * CRC-32/ISO-HDLC, the one of zlib, Ethernet and PNG (PROTOCOL.md, R3).
 *
 *   uint32_t crc = FB_CRC32_START;
 *   crc = fb_crc32_iso_hdlc_update(crc, part, n_bytes);    // as often as there are parts
 *   crc = fb_crc32_iso_hdlc_finish(crc);
 *
 * A table of 16 entries (64 bytes of flash) takes two steps a byte.  Define FB_CRC_BITWISE=1 for the whole build to do
 * without the table, at eight steps a byte.
 *
 * Thread safety: no state but the caller's.  Stack: a few registers.
 */
#ifndef FB_CRC_H
#define FB_CRC_H

#include "fb_common.h"

#ifdef __cplusplus
extern "C" {
#endif

/*! What a checksum starts from. */
#define FB_CRC32_START 0xFFFFFFFFu

/*! Return `crc` carried on over `n_bytes` more bytes (0 is allowed, `data` may be NULL then). */
uint32_t fb_crc32_iso_hdlc_update(uint32_t crc, const uint8_t *data, size_t n_bytes);

/*! Return the checksum as it is sent, from what the last update returned. */
static inline uint32_t fb_crc32_iso_hdlc_finish(uint32_t crc) {
  return crc ^ 0xFFFFFFFFu;
}

/*! Return the checksum of `n_bytes` bytes; 0xCBF43926 for the nine letters "123456789". */
uint32_t fb_crc32_iso_hdlc(const uint8_t *data, size_t n_bytes);

#ifdef __cplusplus
}
#endif

#endif /* FB_CRC_H */
