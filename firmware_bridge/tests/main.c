/*! @file
 * Runs the C tests; `make test`. */
#include "fb_test.h"

unsigned fb_test_failures = 0u;
unsigned fb_test_checks = 0u;

int main(void) {
  test_cobs();
  test_frame();
  test_packet();
  test_ring();
  test_store();
  test_device();
  printf("%u checks, %u failed\n", fb_test_checks, fb_test_failures);
  return fb_test_failures == 0u ? 0 : 1;
}
