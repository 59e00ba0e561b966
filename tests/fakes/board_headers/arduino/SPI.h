/* A stand-in with as much of the vendor API as the port calls, so that a compiler reads the port; declares, does nothing. */
#pragma once
#include <stdint.h>
#define SPI_MODE1 1
struct SPISettings {
  SPISettings(uint32_t hz, int order, int mode);
};
struct SpiBus {
  void begin();
  void beginTransaction(SPISettings settings);
  uint8_t transfer(uint8_t byte);
  void endTransaction();
  void usingInterrupt(int number);
};
extern SpiBus SPI;
