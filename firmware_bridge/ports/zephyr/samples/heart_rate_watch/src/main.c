/* The watch on Zephyr: aliases `ppg` (such as maxim,max30101) and `accel0` in the devicetree, frames on `bridge-uart`. */
#include <zephyr/device.h>
#include <zephyr/drivers/hwinfo.h>
#include <zephyr/drivers/sensor.h>
#include <zephyr/drivers/uart.h>
#include <zephyr/kernel.h>
#include <zephyr/random/random.h>
#include <zephyr/sys/ring_buffer.h>

#include "heart_rate_watch.h"

static const struct device *const line = DEVICE_DT_GET(DT_ALIAS(bridge_uart));
static const struct device *const light = DEVICE_DT_GET(DT_ALIAS(ppg));
static const struct device *const accelerometer = DEVICE_DT_GET(DT_ALIAS(accel0));

RING_BUF_DECLARE(to_line, 1024);
RING_BUF_DECLARE(from_line, 256);
K_TIMER_DEFINE(sampling_timer, NULL, NULL);

static heart_rate_watch_t watch;

/* ---- the three functions of board.h ---- */

fb_status_t board_write(void *context, const uint8_t *data, size_t n_bytes) {
  (void)context;
  if (ring_buf_space_get(&to_line) < n_bytes) {
    return FB_FULL;
  }
  (void)ring_buf_put(&to_line, data, (uint32_t)n_bytes);
  uart_irq_tx_enable(line);
  return FB_OK;
}

size_t board_read(uint8_t *data, size_t capacity) {
  return ring_buf_get(&from_line, data, (uint32_t)capacity);
}

uint32_t board_ticks(void *context) {
  (void)context;
  /* From 64 bits: the cycle counter wraps where microseconds do not. */
  return (uint32_t)k_ticks_to_us_floor64((uint64_t)k_uptime_ticks());
}

static void on_line(const struct device *uart, void *context) {
  uint8_t data[16];
  (void)context;
  while (uart_irq_update(uart) != 0 && uart_irq_is_pending(uart) != 0) {
    if (uart_irq_rx_ready(uart) > 0) {
      const int n_bytes = uart_fifo_read(uart, data, (int)sizeof data);
      (void)ring_buf_put(&from_line, data, n_bytes > 0 ? (uint32_t)n_bytes : 0u);
    }
    if (uart_irq_tx_ready(uart) > 0) {
      uint8_t *next;
      const uint32_t n_bytes = ring_buf_get_claim(&to_line, &next, sizeof data);
      const int n_taken = n_bytes > 0u ? uart_fifo_fill(uart, next, (int)n_bytes) : 0;
      (void)ring_buf_get_finish(&to_line, n_taken > 0 ? (uint32_t)n_taken : 0u);
      if (n_bytes == 0u) {
        uart_irq_tx_disable(uart);
      }
    }
  }
}

/* ---- sensors: a thread of higher priority than main, one producer for each ring ---- */

static int16_t gravity_counts(const struct sensor_value *value) {
  const int64_t counts = sensor_value_to_micro(value) * 4096 / 9806650;
  return (int16_t)(counts > INT16_MAX ? INT16_MAX : counts < INT16_MIN ? INT16_MIN : counts);
}

static void sample(void *first, void *second, void *third) {
  (void)first;
  (void)second;
  (void)third;
  for (uint32_t n = 0u;; n++) {
    struct sensor_value green;
    struct sensor_value axes[3];
    (void)k_timer_status_sync(&sampling_timer);
    const uint32_t ticks = board_ticks(NULL);
    if (sensor_sample_fetch(light) == 0 && sensor_channel_get(light, SENSOR_CHAN_GREEN, &green) == 0) {
      heart_rate_watch_on_light(&watch, ticks, green.val1);
    } else {
      heart_rate_watch_miss_light(&watch);
    }
    if (n % (WATCH_LIGHT_RATE_HZ / WATCH_ACCELERATION_RATE_HZ) != 0u) {
      continue;
    }
    if (sensor_sample_fetch(accelerometer) == 0 &&
        sensor_channel_get(accelerometer, SENSOR_CHAN_ACCEL_XYZ, axes) == 0) {
      const int16_t counts[3] = {gravity_counts(&axes[0]), gravity_counts(&axes[1]), gravity_counts(&axes[2])};
      heart_rate_watch_on_acceleration(&watch, ticks, counts);
    } else {
      heart_rate_watch_miss_acceleration(&watch);
    }
  }
}

K_THREAD_DEFINE(sampling, 1024, sample, NULL, NULL, NULL, -1, 0, K_TICKS_FOREVER);

int main(void) {
  static const char HEX[] = "0123456789abcdef";
  static char device_id[FB_ID_TEXT_MAX + 1u] = "zephyr-watch";
  uint8_t serial[8];
  const ssize_t n_bytes = hwinfo_get_device_id(serial, sizeof serial);
  for (ssize_t k = 0; k < n_bytes; k++) {
    device_id[2 * k] = HEX[serial[k] >> 4];
    device_id[2 * k + 1] = HEX[serial[k] & 0x0Fu];
    device_id[2 * k + 2] = '\0';
  }
  if (heart_rate_watch_begin(&watch, device_id, sys_rand32_get()) != FB_OK) {
    return 1;
  }
  (void)uart_irq_callback_user_data_set(line, on_line, NULL);
  uart_irq_rx_enable(line);
  k_timer_start(&sampling_timer, K_MSEC(10), K_MSEC(10));
  k_thread_start(sampling);
  for (;;) {
    heart_rate_watch_step(&watch);
    (void)k_msleep(5);
  }
}
