/* A stand-in with as much of the vendor API as the port calls, so that a compiler reads the port; declares, does nothing. */
#pragma once
struct EepromMemory {
  template <typename T> T &get(int at, T &value);
  template <typename T> const T &put(int at, const T &value);
};
extern EepromMemory EEPROM;
