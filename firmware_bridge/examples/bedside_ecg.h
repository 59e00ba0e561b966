/*! @file
 * A bedside ECG front end: an ADS1292R at 250 Hz, lead-off told as a condition, the rate set by the host.
 *
 *   interrupt of DRDY:  bedside_ecg_on_data_ready
 *   main loop:          bedside_ecg_step, at least every 20 ms
 */
#ifndef BEDSIDE_ECG_H
#define BEDSIDE_ECG_H

#include "ads1292r.h"
#include "board.h"
#include "fb_ring.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BEDSIDE_PER_BLOCK 25u
#define BEDSIDE_RING_ELEMENTS 64u
#define BEDSIDE_SEND_BYTES FB_FRAME_LINE_MAX(FB_HELLO_BYTES(1u, 1u))

/*! One conversion, numbered by the interrupt. */
typedef struct {
  uint32_t sequence;
  uint32_t ticks;
  ads1292r_frame_t frame;
} bedside_sample_t;

/*! All of it.  Its fields are private. */
typedef struct {
  fb_device_t device;
  fb_device_config_t config;
  fb_stream_t stream;
  fb_device_stream_t state;
  fb_ring_t ring;
  uint8_t ring_memory[BEDSIDE_RING_ELEMENTS * sizeof(bedside_sample_t)];
  uint8_t block[FB_DEVICE_BLOCK_BYTES(BEDSIDE_PER_BLOCK, 1u, 3u)];
  uint8_t send_buffer[BEDSIDE_SEND_BYTES];
  uint8_t receive_buffer[FB_DEVICE_RECEIVE_BYTES];
  ads1292r_bus_t bus;
  volatile uint32_t n_converted;   /* counted by the interrupt */
  volatile bool is_bus_taken;      /* the main loop talks to the chip: the interrupt must not */
  volatile uint32_t n_bad_frames;  /* counted by the interrupt */
  uint16_t n_off;                  /* samples in a row with an electrode off */
  bool is_off;
} bedside_ecg_t;

/*! Set the chip up and begin a boot.  FB_FAILED where the chip does not answer: the device then says so itself. */
fb_status_t bedside_ecg_begin(bedside_ecg_t *ecg, const ads1292r_bus_t *bus, const char *device_id, uint32_t boot_id);

/*! DRDY interrupt: read one conversion, 9 bytes over SPI. */
void bedside_ecg_on_data_ready(bedside_ecg_t *ecg, uint32_t ticks);

/*! Main loop. */
void bedside_ecg_step(bedside_ecg_t *ecg);

#ifdef __cplusplus
}
#endif

#endif /* BEDSIDE_ECG_H */
