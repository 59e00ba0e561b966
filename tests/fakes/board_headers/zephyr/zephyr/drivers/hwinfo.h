/* A stand-in with as much of the vendor API as the port calls, so that a compiler reads the port; declares, does nothing. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
ssize_t hwinfo_get_device_id(uint8_t *buffer, size_t length);
