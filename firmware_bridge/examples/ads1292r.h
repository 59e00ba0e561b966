/*! @file
 * The ADS1292R, a 24-bit front end for one ECG lead with lead-off detection, over SPI (mode 1, at most 20 MHz).
 *
 * Commands, the frame of 72 bits and its 24 status bits are those of the data sheet (Texas Instruments SBAS502C): 1100,
 * LOFF_STAT[4:0], GPIO[1:0], 13 zeros, then two channels, most significant byte first.
 * Tested against a model of the chip, not against the chip.
 */
#ifndef ADS1292R_H
#define ADS1292R_H

#include "fb_common.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ADS1292R_FRAME_BYTES 9u
/*! Gain of the ECG channel, with the internal reference of 2.42 V: microvolts of one count as a fraction,
 * 2,420,000 / (6 x (2^23 - 1)). */
#define ADS1292R_GAIN_NUMERATOR 1210000
#define ADS1292R_GAIN_DENOMINATOR 25165821u
#define ADS1292R_MINIMUM_COUNTS (-8388608)
#define ADS1292R_MAXIMUM_COUNTS 8388607

/*! The board's part. */
typedef struct {
  /*! Send and receive `n_bytes` with chip select held low for all of them; `in` may be NULL. */
  void (*transfer)(void *context, const uint8_t *out, uint8_t *in, size_t n_bytes);
  void (*delay_ms)(void *context, uint32_t ms);
  void *context;
} ads1292r_bus_t;

/*! One conversion. */
typedef struct {
  int32_t ecg_counts;  /*!< channel 2 */
  uint8_t leads_off;   /*!< LOFF_STAT[4:0]: RLD, IN2N, IN2P, IN1N, IN1P; 1 is off */
} ads1292r_frame_t;

/*! Lead-off bits of the ECG channel and of the driven leg. */
#define ADS1292R_OFF_IN2P 0x04u
#define ADS1292R_OFF_IN2N 0x08u
#define ADS1292R_OFF_RLD 0x10u

/*! Set the chip up and start it.
 *
 * @param rate_hz  125, 250, 500 or 1000
 * @return FB_OK; FB_BAD_ARGUMENT for another rate; FB_FAILED where the chip does not answer with its id and settings
 */
fb_status_t ads1292r_begin(const ads1292r_bus_t *bus, uint32_t rate_hz);

/*! Return the rate nearest to `rate_mhz` (milli-hertz) that the chip has of those above, in hertz; 0 for 0. */
uint32_t ads1292r_nearest_rate_hz(uint32_t rate_mhz);

/*! Read the conversion that DRDY announced.  FB_FAILED where the frame does not begin with 1100: a loose wire. */
fb_status_t ads1292r_read(const ads1292r_bus_t *bus, ads1292r_frame_t *frame);

#ifdef __cplusplus
}
#endif

#endif /* ADS1292R_H */
