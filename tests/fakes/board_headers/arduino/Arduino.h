/* A stand-in with as much of the vendor API as the port calls, so that a compiler reads the port; declares, does nothing. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#define OUTPUT 1
#define INPUT 0
#define HIGH 1
#define LOW 0
#define FALLING 2
#define MSBFIRST 1
uint32_t micros();
void delay(uint32_t ms);
void delayMicroseconds(unsigned us);
void pinMode(int pin, int mode);
void digitalWrite(int pin, int level);
int digitalPinToInterrupt(int pin);
void attachInterrupt(int number, void (*handler)(), int mode);
struct SerialPort {
  void begin(unsigned long baud);
  int available();
  int read();
  int availableForWrite();
  size_t write(const uint8_t *data, size_t n_bytes);
};
extern SerialPort Serial;
