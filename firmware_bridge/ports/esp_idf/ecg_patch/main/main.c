/* The patch on ESP-IDF: an analogue front end on an ADC pin, samples kept in a flash partition, frames on UART 1. */
#include <stdio.h>

#include "driver/gpio.h"
#include "driver/uart.h"
#include "ecg_patch.h"
#include "esp_adc/adc_oneshot.h"
#include "esp_mac.h"
#include "esp_partition.h"
#include "esp_random.h"
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

#define LINE UART_NUM_1
#define PIN_TX 17
#define PIN_RX 18
#define PIN_CABLE GPIO_NUM_4 /* low while the cable is in; on a radio ask the radio */
#define ECG_CHANNEL ADC_CHANNEL_0
#define LINE_BUFFER_BYTES 2048
#define ERASE_BYTES 4096u
#define ALIGN_BYTES 16u /* what an encrypted partition asks for */

static ecg_patch_t patch;
static adc_oneshot_unit_handle_t adc;

/* ---- the three functions of board.h ---- */

fb_status_t board_write(void *context, const uint8_t *data, size_t n_bytes) {
  size_t room = 0u;
  (void)context;
  if (uart_get_tx_buffer_free_size(LINE, &room) != ESP_OK || room < n_bytes) {
    return FB_FULL;
  }
  return uart_write_bytes(LINE, data, n_bytes) == (int)n_bytes ? FB_OK : FB_FAILED;
}

size_t board_read(uint8_t *data, size_t capacity) {
  const int n_bytes = uart_read_bytes(LINE, data, (uint32_t)capacity, 0);
  return n_bytes > 0 ? (size_t)n_bytes : 0u;
}

uint32_t board_ticks(void *context) {
  (void)context;
  return (uint32_t)esp_timer_get_time();
}

/* ---- the store: a partition ---- */

static fb_status_t read_flash(void *context, uint32_t at, uint8_t *data, size_t n_bytes) {
  return esp_partition_read(context, at, data, n_bytes) == ESP_OK ? FB_OK : FB_FAILED;
}

static fb_status_t write_flash(void *context, uint32_t at, const uint8_t *data, size_t n_bytes) {
  uint8_t last[ALIGN_BYTES];
  const size_t n_whole = n_bytes / ALIGN_BYTES * ALIGN_BYTES;
  if (n_whole > 0u && esp_partition_write(context, at, data, n_whole) != ESP_OK) {
    return FB_FAILED;
  }
  if (n_whole == n_bytes) {
    return FB_OK;
  }
  for (size_t k = 0u; k < ALIGN_BYTES; k++) {
    last[k] = n_whole + k < n_bytes ? data[n_whole + k] : 0xFFu;
  }
  return esp_partition_write(context, at + n_whole, last, ALIGN_BYTES) == ESP_OK ? FB_OK : FB_FAILED;
}

static fb_status_t erase_flash(void *context, uint32_t at, size_t n_bytes) {
  return esp_partition_erase_range(context, at, n_bytes) == ESP_OK ? FB_OK : FB_FAILED;
}

/* ---- samples ---- */

static void on_timer(void *context) {
  int counts = 0;
  (void)context;
  const uint32_t ticks = board_ticks(NULL);
  if (adc_oneshot_read(adc, ECG_CHANNEL, &counts) == ESP_OK) {
    ecg_patch_on_sample(&patch, ticks, counts);
  } else {
    ecg_patch_miss_sample(&patch);
  }
}

static void begin_sampling(void) {
  static const adc_oneshot_unit_init_cfg_t UNIT = {.unit_id = ADC_UNIT_1};
  static const adc_oneshot_chan_cfg_t CHANNEL = {.atten = ADC_ATTEN_DB_12, .bitwidth = ADC_BITWIDTH_12};
  static const esp_timer_create_args_t TIMER = {.callback = on_timer, .name = "ecg"};
  esp_timer_handle_t timer;
  ESP_ERROR_CHECK(adc_oneshot_new_unit(&UNIT, &adc));
  ESP_ERROR_CHECK(adc_oneshot_config_channel(adc, ECG_CHANNEL, &CHANNEL));
  ESP_ERROR_CHECK(esp_timer_create(&TIMER, &timer));
  ESP_ERROR_CHECK(esp_timer_start_periodic(timer, BOARD_TICK_RATE_HZ / PATCH_RATE_HZ));
}

static void begin_line(void) {
  const uart_config_t settings = {.baud_rate = 115200,
                                  .data_bits = UART_DATA_8_BITS,
                                  .parity = UART_PARITY_DISABLE,
                                  .stop_bits = UART_STOP_BITS_1,
                                  .flow_ctrl = UART_HW_FLOWCTRL_DISABLE};
  ESP_ERROR_CHECK(uart_driver_install(LINE, LINE_BUFFER_BYTES, LINE_BUFFER_BYTES, 0, NULL, 0));
  ESP_ERROR_CHECK(uart_param_config(LINE, &settings));
  ESP_ERROR_CHECK(uart_set_pin(LINE, PIN_TX, PIN_RX, UART_PIN_NO_CHANGE, UART_PIN_NO_CHANGE));
  ESP_ERROR_CHECK(gpio_set_direction(PIN_CABLE, GPIO_MODE_INPUT));
  ESP_ERROR_CHECK(gpio_set_pull_mode(PIN_CABLE, GPIO_PULLUP_ONLY));
}

void app_main(void) {
  static char device_id[FB_ID_TEXT_MAX + 1u];
  uint8_t mac[6];
  const esp_partition_t *flash =
      esp_partition_find_first(ESP_PARTITION_TYPE_DATA, ESP_PARTITION_SUBTYPE_ANY, "samples");
  ESP_ERROR_CHECK(flash == NULL ? ESP_FAIL : ESP_OK);
  const fb_storage_t storage = {.read = read_flash,
                                .write = write_flash,
                                .erase = erase_flash,
                                .context = (void *)(uintptr_t)flash,
                                .size_bytes = flash->size,
                                .erase_bytes = ERASE_BYTES,
                                .align_bytes = ALIGN_BYTES};
  ESP_ERROR_CHECK(esp_efuse_mac_get_default(mac));
  (void)snprintf(device_id, sizeof device_id, "%02x%02x%02x%02x%02x%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
  begin_line();
  ESP_ERROR_CHECK(ecg_patch_begin(&patch, &storage, NULL, device_id, esp_random()) == FB_OK ? ESP_OK : ESP_FAIL);
  begin_sampling();
  for (;;) {
    ecg_patch_set_link(&patch, gpio_get_level(PIN_CABLE) == 0);
    ecg_patch_step(&patch);
    vTaskDelay(pdMS_TO_TICKS(10));
  }
}
