/*! @file
 * A patch that loses its link: ECG at 250 Hz, a minute of it kept, sent when the host asks for what it missed (R14).
 *
 *   timer interrupt:  ecg_patch_on_sample
 *   main loop:        ecg_patch_set_link when the link comes or goes, ecg_patch_step at least every 20 ms
 */
#ifndef ECG_PATCH_H
#define ECG_PATCH_H

#include "board.h"
#include "fb_ring.h"
#include "fb_store.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PATCH_RATE_HZ 250u
#define PATCH_PER_BLOCK 25u
#define PATCH_STORED_BLOCKS 600u /* one minute: 40 KB of RAM; a flash of 1 MB holds 26 minutes */
#define PATCH_RING_ELEMENTS 64u
#define PATCH_SEND_BYTES FB_FRAME_LINE_MAX(FB_HELLO_BYTES(1u, 1u))
#define PATCH_STORE_BYTES FB_STORE_BYTES(PATCH_STORED_BLOCKS, PATCH_PER_BLOCK, 1u, 2u)

/*! One conversion, numbered by its interrupt. */
typedef struct {
  uint32_t sequence;
  uint32_t ticks;
  int32_t counts;
} patch_sample_t;

/*! All of it but the store's memory.  Its fields are private. */
typedef struct {
  fb_device_t device;
  fb_device_config_t config;
  fb_stream_t stream;
  fb_device_stream_t state;
  fb_store_t store;
  fb_ring_t ring;
  uint8_t ring_memory[PATCH_RING_ELEMENTS * sizeof(patch_sample_t)];
  uint8_t block[FB_DEVICE_BLOCK_BYTES(PATCH_PER_BLOCK, 1u, 2u)];
  uint8_t send_buffer[PATCH_SEND_BYTES];
  uint8_t receive_buffer[FB_DEVICE_RECEIVE_BYTES];
  uint32_t n_converted; /* counted by the interrupt */
} ecg_patch_t;

/*! Begin a boot.
 *
 * @param storage    flash; NULL: `memory`
 * @param memory     PATCH_STORE_BYTES of RAM, or NULL
 * @param device_id  must live as long as the patch
 * @return as fb_device_init and fb_store_init
 */
fb_status_t ecg_patch_begin(ecg_patch_t *patch, const fb_storage_t *storage, uint8_t *memory, const char *device_id,
                            uint32_t boot_id);

/*! Timer interrupt: one conversion, 12 bits. */
void ecg_patch_on_sample(ecg_patch_t *patch, uint32_t ticks, int32_t counts);

/*! Timer interrupt where the conversion could not be read: it is counted, so that the host sees it as lost (R11). */
void ecg_patch_miss_sample(ecg_patch_t *patch);

/*! Main loop: the link came or went; calling it with no change does nothing. */
void ecg_patch_set_link(ecg_patch_t *patch, bool is_up);

/*! Main loop. */
void ecg_patch_step(ecg_patch_t *patch);

#ifdef __cplusplus
}
#endif

#endif /* ECG_PATCH_H */
