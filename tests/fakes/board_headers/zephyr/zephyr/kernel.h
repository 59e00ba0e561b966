/* A stand-in with as much of the vendor API as the port calls, so that a compiler reads the port; declares, does nothing. */
#pragma once
#include <stdint.h>
struct k_timer { int unused; };
typedef struct { int64_t ticks; } k_timeout_t;
typedef struct k_thread *k_tid_t;
typedef void (*k_thread_entry_t)(void *first, void *second, void *third);
k_timeout_t K_MSEC(int ms);
#define K_TICKS_FOREVER (-1)
#define K_TIMER_DEFINE(name, expiry, stop) struct k_timer name
#define K_THREAD_DEFINE(name, stack, entry, p1, p2, p3, priority, options, delay) \
  k_thread_entry_t name##_entry = entry; extern const k_tid_t name
uint32_t k_timer_status_sync(struct k_timer *timer);
void k_timer_start(struct k_timer *timer, k_timeout_t duration, k_timeout_t period);
void k_thread_start(k_tid_t thread);
int32_t k_msleep(int32_t ms);
int64_t k_uptime_ticks(void);
uint64_t k_ticks_to_us_floor64(uint64_t ticks);
