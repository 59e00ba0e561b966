/*! @file
 * The least a device links to send samples: what `make size` measures as the encode path. */
#include "fb_packet.h"

/* The board's memory, counted apart from the library's. */
static int16_t counts[10];
static uint8_t line[FB_FRAME_LINE_MAX(FB_SAMPLES_BYTES(10, 1, 2))];
static fb_samples_t block;
/* The library's. */
static fb_frame_writer_t writer;
volatile uint8_t uart;

void entry(void);
void entry(void) {
  uint16_t frame_sequence = 0u;
  block.n_samples = 10u;
  block.n_channels = 1u;
  block.bytes_per_value = 2u;
  (void)fb_frame_writer_init(&writer, line, sizeof line, NULL, NULL);
  for (;;) {
    size_t len = 0u;
    if (fb_packet_write_samples16(&writer, frame_sequence, &block, counts, &len) == FB_OK) {
      for (size_t k = 0u; k < len; k++) {
        uart = line[k];
      }
    }
    frame_sequence++;
    block.sequence += 10u;
  }
}
