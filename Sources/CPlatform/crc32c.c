#include "platform.h"

#include <string.h>

/* Bit-reflected Castagnoli polynomial, RFC 3720 appendix B.4. */
#define POLYNOMIAL 0x82f63b78u

static uint32_t table[256];

__attribute__((constructor)) static void fill_table(void) {
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) ? POLYNOMIAL : 0);
    table[byte] = crc;
  }
}

static uint32_t by_table(uint32_t crc, const uint8_t *p, size_t length) {
  while (length--) crc = (crc >> 8) ^ table[(crc ^ *p++) & 0xff];
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const uint8_t *p, size_t length) {
  uint64_t wide = crc;
  for (; length >= 8; p += 8, length -= 8) {
    uint64_t word;
    memcpy(&word, p, 8);
    wide = __builtin_ia32_crc32di(wide, word);
  }
  crc = (uint32_t)wide;
  while (length--) crc = __builtin_ia32_crc32qi(crc, *p++);
  return crc;
}
static int has_instruction(void) { return __builtin_cpu_supports("sse4.2"); }
#else
static uint32_t by_instruction(uint32_t crc, const uint8_t *p, size_t length) { return by_table(crc, p, length); }
static int has_instruction(void) { return 0; }
#endif

uint32_t holdfast_crc32c(uint32_t crc, const void *bytes, size_t length) {
  crc = ~crc;
  crc = has_instruction() ? by_instruction(crc, bytes, length) : by_table(crc, bytes, length);
  return ~crc;
}
