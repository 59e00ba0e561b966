/* A stand-in with as much of the vendor API as the port calls, so that a compiler reads the port; declares, does nothing. */
#pragma once
#include <stdint.h>
#include <zephyr/device.h>
struct sensor_value { int32_t val1, val2; };
enum sensor_channel { SENSOR_CHAN_ACCEL_XYZ, SENSOR_CHAN_GREEN };
int sensor_sample_fetch(const struct device *dev);
int sensor_channel_get(const struct device *dev, enum sensor_channel chan, struct sensor_value *value);
int64_t sensor_value_to_micro(const struct sensor_value *value);
