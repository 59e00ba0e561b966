/* A stand-in with as much of the vendor API as the port calls, so that a compiler reads the port; declares, does nothing. */
#pragma once
struct device { const char *name; };
#define DT_ALIAS(alias) alias
#define DEVICE_DT_GET(node) (&device_##node)
extern const struct device device_bridge_uart, device_ppg, device_accel0;
#undef DEVICE_DT_GET
#define DEVICE_OF(node) (&device_##node)
#define DEVICE_DT_GET(node) DEVICE_OF(node)
