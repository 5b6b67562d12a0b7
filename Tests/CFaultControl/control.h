/* What the mounted tests and the fault shim (Tests/FaultShim) share: a file that both map. The test fills in a rule and
 * switches it on last; the shim, inside the daemon, looks at it before every call on the image. */
#ifndef HOLDFAST_FAULT_CONTROL_H
#define HOLDFAST_FAULT_CONTROL_H
#include <stdint.h>

enum { HOLDFAST_FAULT_OFF = 0, HOLDFAST_FAULT_READ = 1, HOLDFAST_FAULT_WRITE = 2, HOLDFAST_FAULT_SYNC = 3 };

struct holdfast_fault_rule {
  uint32_t operation; /* HOLDFAST_FAULT_…; off: the rest means nothing */
  int32_t error;      /* the errno of a call that fails */
  uint64_t start;     /* bytes of the image, [start, end); a sync has none and always matches */
  uint64_t end;
  uint64_t skip;   /* matching calls that go through first */
  uint64_t count;  /* how many fail then */
  uint64_t seen;   /* matching calls so far; the shim's */
  uint64_t failed; /* … of these failed; the shim's */
};

enum { HOLDFAST_FAULT_RULES = 8 };

struct holdfast_fault_control {
  uint64_t device; /* the image, as stat(2) names it */
  uint64_t inode;
  struct holdfast_fault_rule rules[HOLDFAST_FAULT_RULES];
};

static inline void holdfast_fault_switch(struct holdfast_fault_rule *rule, uint32_t operation) {
  __atomic_store_n(&rule->operation, operation, __ATOMIC_RELEASE);
}
static inline uint64_t holdfast_fault_failed(const struct holdfast_fault_rule *rule) {
  return __atomic_load_n(&rule->failed, __ATOMIC_ACQUIRE);
}
#endif
