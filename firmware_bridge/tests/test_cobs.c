/*! @file
 * CRC and stuffing against the golden vectors and at the edges of buffers. */
#include "fb_cobs.h"
#include "fb_crc.h"
#include "fb_test.h"
#include "vectors.h"

static void crc_has_its_check_value(void) {
  CHECK_EQUAL(0xCBF43926u, fb_crc32_iso_hdlc((const uint8_t *)"123456789", 9));
  CHECK_EQUAL(0u, fb_crc32_iso_hdlc(NULL, 0));
  uint32_t crc = fb_crc32_iso_hdlc_update(FB_CRC32_START, (const uint8_t *)"1234", 4);
  crc = fb_crc32_iso_hdlc_update(crc, (const uint8_t *)"56789", 5);
  CHECK_EQUAL(0xCBF43926u, fb_crc32_iso_hdlc_finish(crc));
}

static void stuffing_has_the_golden_bytes(void) {
  for (size_t k = 0; k < sizeof COBS_VECTORS / sizeof COBS_VECTORS[0]; k++) {
    uint8_t out[2048];
    size_t len = 0;
    CHECK_EQUAL(FB_OK, fb_cobs_encode(COBS_VECTORS[k].plain, COBS_VECTORS[k].n_plain, out,
                                      FB_COBS_ENCODED_MAX(COBS_VECTORS[k].n_plain), &len));
    CHECK_EQUAL(COBS_VECTORS[k].n_stuffed, len);
    CHECK(memcmp(out, COBS_VECTORS[k].stuffed, len) == 0);
    CHECK_EQUAL(FB_OK, fb_cobs_decode(out, len, out, len, &len)); /* in place */
    CHECK_EQUAL(COBS_VECTORS[k].n_plain, len);
    CHECK(memcmp(out, COBS_VECTORS[k].plain, len) == 0);
  }
}

static void every_smaller_buffer_is_refused(void) {
  uint8_t plain[600], out[700], stuffed[700];
  size_t whole = 0, len = 0;
  for (size_t k = 0; k < sizeof plain; k++) {
    plain[k] = (uint8_t)(k % 300 == 299 ? 0 : 1 + k % 255);
  }
  CHECK_EQUAL(FB_OK, fb_cobs_encode(plain, sizeof plain, stuffed, sizeof stuffed, &whole));
  for (size_t capacity = 0; capacity < whole; capacity++) {
    CHECK_EQUAL(FB_FULL, fb_cobs_encode(plain, sizeof plain, out, capacity, &len));
  }
  CHECK_EQUAL(FB_OK, fb_cobs_encode(plain, sizeof plain, out, whole, &len));
  for (size_t capacity = 0; capacity < sizeof plain; capacity++) {
    CHECK_EQUAL(FB_FULL, fb_cobs_decode(stuffed, whole, out, capacity, &len));
  }
  CHECK_EQUAL(FB_OK, fb_cobs_decode(stuffed, whole, out, sizeof plain, &len));
}

static void impossible_stuffing_is_refused(void) {
  static const uint8_t BAD[][4] = {{5, 0x11, 0x22, 0x33}, {0, 1, 1, 1}, {2, 7, 3, 1}};
  uint8_t out[8];
  size_t len = 77;
  for (size_t k = 0; k < 3; k++) {
    CHECK_EQUAL(FB_BAD_COBS, fb_cobs_decode(BAD[k], 4, out, sizeof out, &len));
  }
  CHECK_EQUAL(77, len);
}

static void writer_stops_at_the_end_of_its_buffer(void) {
  uint8_t buffer[16];
  fb_cobs_writer_t writer;
  for (size_t capacity = 0; capacity <= 8; capacity++) {
    size_t len = 0;
    memset(buffer, 0xAA, sizeof buffer);
    CHECK_EQUAL(FB_OK, fb_cobs_writer_init(&writer, buffer, capacity, NULL, NULL));
    for (unsigned k = 0; k < 5; k++) {
      fb_cobs_writer_put(&writer, (uint8_t)(k % 2));
    }
    CHECK_EQUAL(capacity < 8 ? FB_FULL : FB_OK, fb_cobs_writer_end(&writer, &len));
    CHECK_EQUAL(capacity < 8 ? 0 : 8, len);
    CHECK_EQUAL(0xAA, buffer[capacity]);
  }
  CHECK_EQUAL(FB_BAD_ARGUMENT, fb_cobs_writer_init(&writer, buffer, sizeof buffer, (fb_write_t)1, NULL));
}

/* A full run whose next code finds no room, then a zero: nothing is written past the end. */
static void writer_stops_after_a_full_run(void) {
  uint8_t buffer[300];
  fb_cobs_writer_t writer;
  size_t len = 0;
  memset(buffer, 0xAA, sizeof buffer);
  CHECK_EQUAL(FB_OK, fb_cobs_writer_init(&writer, buffer, 256, NULL, NULL));
  for (unsigned k = 0; k < 254; k++) {
    fb_cobs_writer_put(&writer, 7);
  }
  fb_cobs_writer_put(&writer, 0);
  fb_cobs_writer_put(&writer, 0);
  CHECK_EQUAL(FB_FULL, fb_cobs_writer_end(&writer, &len));
  CHECK_EQUAL(0xAA, buffer[256]);
}

void test_cobs(void) {
  crc_has_its_check_value();
  stuffing_has_the_golden_bytes();
  every_smaller_buffer_is_refused();
  impossible_stuffing_is_refused();
  writer_stops_at_the_end_of_its_buffer();
  writer_stops_after_a_full_run();
}
