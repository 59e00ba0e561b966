#include "ads1292r.h"

#define COMMAND_RESET 0x06u
#define COMMAND_START 0x08u
#define COMMAND_RDATAC 0x10u
#define COMMAND_SDATAC 0x11u
#define COMMAND_RREG 0x20u
#define COMMAND_WREG 0x40u

#define REGISTER_ID 0x00u
#define REGISTER_CONFIG1 0x01u
#define ID_ADS1292R 0x73u
#define N_SETTINGS 10u
#define START_UP_MS 100u

static const uint16_t RATES_HZ[] = {125u, 250u, 500u, 1000u}; /* in the order of CONFIG1's DR bits */
#define N_RATES (sizeof RATES_HZ / sizeof RATES_HZ[0])

static void command(const ads1292r_bus_t *bus, uint8_t code) {
  bus->transfer(bus->context, &code, NULL, 1u);
}

static uint8_t read_register(const ads1292r_bus_t *bus, uint8_t address) {
  const uint8_t out[3] = {(uint8_t)(COMMAND_RREG | address), 0u, 0u};
  uint8_t in[3] = {0u, 0u, 0u};
  bus->transfer(bus->context, out, in, sizeof out);
  return in[2];
}

static void write_registers(const ads1292r_bus_t *bus, const uint8_t settings[N_SETTINGS]) {
  uint8_t out[2u + N_SETTINGS] = {COMMAND_WREG | REGISTER_CONFIG1, N_SETTINGS - 1u};
  for (size_t k = 0u; k < N_SETTINGS; k++) {
    out[2u + k] = settings[k];
  }
  bus->transfer(bus->context, out, NULL, sizeof out);
}

fb_status_t ads1292r_begin(const ads1292r_bus_t *bus, uint32_t rate_hz) {
  uint8_t rate_bits = 0u;
  while (rate_bits < N_RATES && RATES_HZ[rate_bits] != rate_hz) {
    rate_bits++;
  }
  if (rate_bits == N_RATES) {
    return FB_BAD_ARGUMENT;
  }
  const uint8_t settings[N_SETTINGS] = {
      rate_bits, /* CONFIG1: continuous conversion */
      0xE0u,     /* CONFIG2: lead-off comparators and reference buffer on, 2.42 V */
      0x10u,     /* LOFF: direct current of 6 nA, comparators at 95 and 5 % */
      0x81u,     /* CH1SET: switched off, inputs shorted */
      0x00u,     /* CH2SET: gain 6, electrodes */
      0x2Cu,     /* RLD_SENS: driven leg from both inputs of channel 2 */
      0x0Cu,     /* LOFF_SENS: both inputs of channel 2 */
      0x00u,     /* LOFF_STAT: clock divider 4 */
      0x02u,     /* RESP1: no respiration; bit 1 must be set */
      0x03u,     /* RESP2: driven leg's reference from the supply; bit 0 must be set */
  };
  command(bus, COMMAND_RESET);
  bus->delay_ms(bus->context, START_UP_MS);
  command(bus, COMMAND_SDATAC); /* registers cannot be read while data flows */
  if (read_register(bus, REGISTER_ID) != ID_ADS1292R) {
    return FB_FAILED;
  }
  write_registers(bus, settings);
  if (read_register(bus, REGISTER_CONFIG1) != rate_bits) {
    return FB_FAILED;
  }
  command(bus, COMMAND_RDATAC);
  command(bus, COMMAND_START);
  return FB_OK;
}

uint32_t ads1292r_nearest_rate_hz(uint32_t rate_mhz) {
  uint32_t best = 0u;
  uint32_t best_off = UINT32_MAX;
  for (size_t k = 0u; rate_mhz > 0u && k < N_RATES; k++) {
    const uint32_t has_mhz = RATES_HZ[k] * 1000u;
    const uint32_t off = has_mhz > rate_mhz ? has_mhz - rate_mhz : rate_mhz - has_mhz;
    if (off < best_off) {
      best_off = off;
      best = RATES_HZ[k];
    }
  }
  return best;
}

static int32_t signed_24_bits(const uint8_t *data) {
  const uint32_t bits = ((uint32_t)data[0] << 16) | ((uint32_t)data[1] << 8) | data[2];
  return (bits & 0x800000u) != 0u ? (int32_t)bits - 0x1000000 : (int32_t)bits;
}

fb_status_t ads1292r_read(const ads1292r_bus_t *bus, ads1292r_frame_t *frame) {
  static const uint8_t NOTHING[ADS1292R_FRAME_BYTES] = {0u};
  uint8_t in[ADS1292R_FRAME_BYTES];
  bus->transfer(bus->context, NOTHING, in, sizeof in);
  if ((in[0] & 0xF0u) != 0xC0u) {
    return FB_FAILED;
  }
  frame->leads_off = (uint8_t)(((in[0] & 0x0Fu) << 1) | (in[1] >> 7));
  frame->ecg_counts = signed_24_bits(in + 6);
  return FB_OK;
}
