/* The ECG front end on a workstation, with a model of its chip: bedside_ecg LINK [OFF_AT_S OFF_FOR_S]. */
#include "bedside_ecg.h"

#include <stdio.h>
#include <string.h>

#include "host_board.h"

/* The chip as far as the driver can see it: commands, registers, frames.  Registers are deaf while data flows. */
typedef struct {
  uint8_t registers[12];
  bool is_flowing;
  bool is_off;
  uint32_t ticks;
} chip_t;

static chip_t chip;
static bedside_ecg_t ecg;

static void put_frame(uint8_t *in) {
  /* One count is 1210000 / 25165821 microvolts. */
  const int64_t counts = (int64_t)host_board_ecg_uv(chip.ticks) * ADS1292R_GAIN_DENOMINATOR / ADS1292R_GAIN_NUMERATOR;
  const uint32_t bits = (uint32_t)(chip.is_off ? 0x7FFFFF : counts);
  const uint8_t leads = chip.is_off ? ADS1292R_OFF_IN2P : 0u;
  memset(in, 0, ADS1292R_FRAME_BYTES);
  in[0] = (uint8_t)(0xC0u | (leads >> 1));
  in[1] = (uint8_t)((leads & 1u) << 7);
  in[6] = (uint8_t)(bits >> 16);
  in[7] = (uint8_t)(bits >> 8);
  in[8] = (uint8_t)bits;
}

static void transfer(void *context, const uint8_t *out, uint8_t *in, size_t n_bytes) {
  (void)context;
  const uint8_t address = out[0] & 0x1Fu;
  if (n_bytes == ADS1292R_FRAME_BYTES && in != NULL && chip.is_flowing) {
    put_frame(in);
  } else if (n_bytes == 1u && out[0] == 0x06u) {
    memset(&chip.registers, 0, sizeof chip.registers);
    chip.registers[0] = 0x73u;
    chip.is_flowing = true; /* as after power-on */
  } else if (n_bytes == 1u && (out[0] == 0x10u || out[0] == 0x11u)) {
    chip.is_flowing = out[0] == 0x10u;
  } else if (!chip.is_flowing && (out[0] & 0xE0u) == 0x20u && in != NULL) {
    in[2] = chip.registers[address];
  } else if (!chip.is_flowing && (out[0] & 0xE0u) == 0x40u) {
    memcpy(chip.registers + address, out + 2, n_bytes - 2u);
  }
}

static void delay_ms(void *context, uint32_t ms) {
  (void)context;
  (void)ms;
}

int main(int n_arguments, char **arguments) {
  const ads1292r_bus_t bus = {.transfer = transfer, .delay_ms = delay_ms};
  if (n_arguments != 2 && n_arguments != 4) {
    fprintf(stderr, "usage: %s LINK [OFF_AT_S OFF_FOR_S]\n", arguments[0]);
    return 2;
  }
  host_board_begin(arguments[1]);
  if (bedside_ecg_begin(&ecg, &bus, "host-bedside", host_board_boot_id()) != FB_OK) {
    return 1;
  }
  for (uint32_t next = 0u; host_board_wait();) {
    while ((int32_t)(board_ticks(NULL) - next) >= 0) {
      chip.ticks = next;
      chip.is_off = n_arguments == 4 && host_board_is_within(arguments[2], arguments[3]);
      bedside_ecg_on_data_ready(&ecg, next);
      next += BOARD_TICK_RATE_HZ / (125u << (chip.registers[1] & 0x03u));
    }
    bedside_ecg_step(&ecg);
  }
  return 0;
}
