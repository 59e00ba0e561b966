// A bedside ECG front end: an ADS1292R on SPI, DRDY on an interrupt, the line on Serial.  For 32-bit boards.
// Wires: CS 10, DRDY 2, START and PWDN high, SCK/MISO/MOSI as the board has them.
#include <EEPROM.h>
#include <SPI.h>
#include <string.h>

#include "bedside_ecg.h"

static const int PIN_CS = 10;
static const int PIN_DATA_READY = 2;
static const uint32_t SPI_HZ = 1000000;
static const size_t WAITING_BYTES = 512;

static bedside_ecg_t ecg;
static uint8_t waiting[WAITING_BYTES];  // Serial's own buffer is shorter than a frame on many boards
static size_t n_waiting = 0;

// ---- the three functions of board.h ----

extern "C" fb_status_t board_write(void *, const uint8_t *data, size_t n_bytes) {
  if (n_bytes > WAITING_BYTES - n_waiting) {
    return FB_FULL;
  }
  memcpy(waiting + n_waiting, data, n_bytes);
  n_waiting += n_bytes;
  return FB_OK;
}

extern "C" size_t board_read(uint8_t *data, size_t capacity) {
  size_t n_bytes = 0;
  while (n_bytes < capacity && Serial.available() > 0) {
    data[n_bytes++] = static_cast<uint8_t>(Serial.read());
  }
  return n_bytes;
}

extern "C" uint32_t board_ticks(void *) { return micros(); }

static void send_waiting() {
  const int room = Serial.availableForWrite();
  if (room <= 0 || n_waiting == 0) {
    return;
  }
  const size_t n_bytes = n_waiting < static_cast<size_t>(room) ? n_waiting : static_cast<size_t>(room);
  n_waiting -= Serial.write(waiting, n_bytes);
  memmove(waiting, waiting + n_bytes, n_waiting);
}

// ---- the front end ----

static void transfer(void *, const uint8_t *out, uint8_t *in, size_t n_bytes) {
  SPI.beginTransaction(SPISettings(SPI_HZ, MSBFIRST, SPI_MODE1));
  digitalWrite(PIN_CS, LOW);
  for (size_t k = 0; k < n_bytes; k++) {
    const uint8_t got = SPI.transfer(out[k]);
    if (in != NULL) {
      in[k] = got;
    }
    delayMicroseconds(10);  // the chip decodes a command byte in 4 of its clocks, 7.8 us
  }
  digitalWrite(PIN_CS, HIGH);
  SPI.endTransaction();
}

static void wait_ms(void *, uint32_t ms) { delay(ms); }

static void on_data_ready() { bedside_ecg_on_data_ready(&ecg, micros()); }

// A counter in EEPROM, so that the host sees every restart (R9).
static uint32_t next_boot_id() {
  uint32_t boot_id = 0;
  EEPROM.get(0, boot_id);
  boot_id++;
  EEPROM.put(0, boot_id);
  return boot_id;
}

void setup() {
  const ads1292r_bus_t bus = {transfer, wait_ms, NULL};
  Serial.begin(115200);
  SPI.begin();
  pinMode(PIN_CS, OUTPUT);
  digitalWrite(PIN_CS, HIGH);
  pinMode(PIN_DATA_READY, INPUT);
  SPI.usingInterrupt(digitalPinToInterrupt(PIN_DATA_READY));
  // A chip that does not answer is told to the host as a condition; the device speaks all the same.
  (void)bedside_ecg_begin(&ecg, &bus, "arduino-1", next_boot_id());
  attachInterrupt(digitalPinToInterrupt(PIN_DATA_READY), on_data_ready, FALLING);
}

void loop() {
  bedside_ecg_step(&ecg);
  send_waiting();
}
