/*! @file
 * CRC-32/ISO-HDLC, least significant bit first; see fb_crc.h. */
#include "fb_crc.h"

#ifndef FB_CRC_BITWISE
#define FB_CRC_BITWISE 0
#endif

/* Reflected polynomial of CRC-32/ISO-HDLC. */
#define POLYNOMIAL 0xEDB88320u

#if !FB_CRC_BITWISE
/* What four zero bits after a nibble of 0 to 15 make of it. */
static const uint32_t NIBBLES[16] = {
    0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u, 0x4DB26158u, 0x5005713Cu,
    0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu, 0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
};
#endif

static uint32_t with_byte(uint32_t crc, uint8_t byte) {
  crc ^= byte;
#if FB_CRC_BITWISE
  for (unsigned bit = 0u; bit < 8u; bit++) {
    crc = (crc >> 1) ^ ((crc & 1u) != 0u ? POLYNOMIAL : 0u);
  }
  return crc;
#else
  crc = (crc >> 4) ^ NIBBLES[crc & 0xFu];
  return (crc >> 4) ^ NIBBLES[crc & 0xFu];
#endif
}

uint32_t fb_crc32_iso_hdlc_update(uint32_t crc, const uint8_t *data, size_t n_bytes) {
  for (size_t k = 0u; k < n_bytes; k++) {
    crc = with_byte(crc, data[k]);
  }
  return crc;
}

uint32_t fb_crc32_iso_hdlc(const uint8_t *data, size_t n_bytes) {
  return fb_crc32_iso_hdlc_finish(fb_crc32_iso_hdlc_update(FB_CRC32_START, data, n_bytes));
}
