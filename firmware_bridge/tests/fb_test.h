/*! @file
 * Checks for the C tests: no framework, the line number and both values when one fails. */
#ifndef FB_TEST_H
#define FB_TEST_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

extern unsigned fb_test_failures;
extern unsigned fb_test_checks;

#define CHECK(claim)                                                      \
  do {                                                                    \
    fb_test_checks++;                                                     \
    if (!(claim)) {                                                       \
      fb_test_failures++;                                                 \
      printf("%s:%d: not true: %s\n", __FILE__, __LINE__, #claim);        \
    }                                                                     \
  } while (0)

#define CHECK_EQUAL(expected, found)                                                                     \
  do {                                                                                                   \
    const unsigned long fb_expected = (unsigned long)(expected), fb_found = (unsigned long)(found);      \
    fb_test_checks++;                                                                                    \
    if (fb_expected != fb_found) {                                                                       \
      fb_test_failures++;                                                                                \
      printf("%s:%d: %s: expected %lu, found %lu\n", __FILE__, __LINE__, #found, fb_expected, fb_found); \
    }                                                                                                    \
  } while (0)

void test_cobs(void);
void test_frame(void);
void test_packet(void);
void test_ring(void);
void test_store(void);
void test_device(void);

#endif /* FB_TEST_H */
