/* A library for LD_PRELOAD that makes chosen calls of the daemon on its image fail, for the mounted tests.
 *
 * Why at all: what shall be tested is the installed daemon with its real descriptors, threads and kernel mount, at a
 * chosen call. The kernel's own means (dm-error, dm-flakey, dm-dust, fault injection) are not in every kernel; a FUSE
 * filesystem below ours would add a second daemon to every test; ptrace would slow the first one down.
 * Why C: it defines libc's own names and runs before, and inside, whatever calls them, the Swift runtime's start included.
 *
 * HOLDFAST_FAULTS names the control file (Tests/CFaultControl). Only calls on the image named there are looked at.
 */
#define _GNU_SOURCE
#include "../CFaultControl/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct holdfast_fault_control *control;

__attribute__((constructor)) static void open_control(void) {
  const char *path = getenv("HOLDFAST_FAULTS");
  if (!path) return;
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void *start = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (start != MAP_FAILED) control = start;
}

/* The errno the call is to fail with, or 0. */
static int fault(uint32_t operation, int fd, uint64_t offset, uint64_t count) {
  if (!control) return 0;
  int is_image = -1;
  for (int i = 0; i < HOLDFAST_FAULT_RULES; i++) {
    struct holdfast_fault_rule *rule = &control->rules[i];
    if (__atomic_load_n(&rule->operation, __ATOMIC_ACQUIRE) != operation) continue;
    if (operation != HOLDFAST_FAULT_SYNC && (offset >= rule->end || offset + count <= rule->start)) continue;
    if (is_image < 0) {
      struct stat status;
      is_image = fstat(fd, &status) == 0 && status.st_dev == control->device && status.st_ino == control->inode;
    }
    if (!is_image) return 0;
    uint64_t number = __atomic_fetch_add(&rule->seen, 1, __ATOMIC_ACQ_REL);
    if (number < rule->skip || number - rule->skip >= rule->count) continue;
    __atomic_fetch_add(&rule->failed, 1, __ATOMIC_ACQ_REL);
    return rule->error;
  }
  return 0;
}

#define FAIL_IF(code)     \
  do {                    \
    int failure = (code); \
    if (failure) {        \
      errno = failure;    \
      return -1;          \
    }                     \
  } while (0)

ssize_t pread(int fd, void *buffer, size_t count, off_t offset) {
  FAIL_IF(fault(HOLDFAST_FAULT_READ, fd, (uint64_t)offset, count));
  return syscall(SYS_pread64, fd, buffer, count, offset);
}

ssize_t pwrite(int fd, const void *buffer, size_t count, off_t offset) {
  FAIL_IF(fault(HOLDFAST_FAULT_WRITE, fd, (uint64_t)offset, count));
  return syscall(SYS_pwrite64, fd, buffer, count, offset);
}

ssize_t pread64(int fd, void *buffer, size_t count, off64_t offset) { return pread(fd, buffer, count, offset); }
ssize_t pwrite64(int fd, const void *buffer, size_t count, off64_t offset) { return pwrite(fd, buffer, count, offset); }

int fdatasync(int fd) {
  FAIL_IF(fault(HOLDFAST_FAULT_SYNC, fd, 0, 0));
  return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd) {
  FAIL_IF(fault(HOLDFAST_FAULT_SYNC, fd, 0, 0));
  return (int)syscall(SYS_fsync, fd);
}
