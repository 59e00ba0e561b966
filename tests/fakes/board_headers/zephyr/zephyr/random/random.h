/* A stand-in with as much of the vendor API as the port calls, so that a compiler reads the port; declares, does nothing. */
#pragma once
#include <stdint.h>
uint32_t sys_rand32_get(void);
