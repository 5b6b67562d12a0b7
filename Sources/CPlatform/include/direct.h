/* The system calls of direct access (HoldfastDirect), each answering its result or minus the errno. By number and not
 * by libc's names, because a library that puts itself in front of those names (LD_PRELOAD) is made of the same code and
 * must not meet itself; and because Embedded Swift has neither libc's module nor its errno.
 */
#ifndef HOLDFAST_DIRECT_H
#define HOLDFAST_DIRECT_H

#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "platform.h"

#ifndef MAP_SYNC
#define MAP_SYNC 0x80000
#endif
#ifndef MAP_SHARED_VALIDATE
#define MAP_SHARED_VALIDATE 0x03
#endif

static const int holdfast_o_direct = O_DIRECT;

static inline int64_t holdfast_result(long result) { return result < 0 ? -(int64_t)errno : (int64_t)result; }

static inline int holdfast_direct_open(const char *path, int flags) {
  return (int)holdfast_result(syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC | O_NOCTTY, 0));
}
static inline void holdfast_direct_close(int fd) { syscall(SYS_close, fd); }
static inline int holdfast_direct_ioctl(int fd, uint32_t request, void *argument) {
  return (int)holdfast_result(syscall(SYS_ioctl, fd, (unsigned long)request, argument));
}

/* What tells one file or device from every other: as stat(2) has it. */
struct holdfast_identity {
  uint64_t device, inode, rdev;
};
static inline int holdfast_identify(int fd, struct holdfast_identity *identity) {
  struct stat status;
  if (fstat(fd, &status) != 0) return -errno;
  identity->device = status.st_dev;
  identity->inode = status.st_ino;
  identity->rdev = S_ISBLK(status.st_mode) ? status.st_rdev : 0;
  return 0;
}

/* A shared open-file-description lock of one byte. 0 or minus the errno. */
static inline int holdfast_direct_lease(int fd, int64_t byte) {
  struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1, .l_pid = 0};
  return (int)holdfast_result(syscall(SYS_fcntl, fd, F_OFD_SETLK, &lock));
}

static inline int64_t holdfast_direct_pread(int fd, void *bytes, size_t count, int64_t offset) {
  return holdfast_result(syscall(SYS_pread64, fd, bytes, count, offset));
}
static inline int64_t holdfast_direct_pwrite(int fd, const void *bytes, size_t count, int64_t offset) {
  return holdfast_result(syscall(SYS_pwrite64, fd, bytes, count, offset));
}
static inline int64_t holdfast_direct_preadv(int fd, const struct iovec *parts, int count, int64_t offset) {
  return holdfast_result(syscall(SYS_preadv, fd, parts, (long)count, offset, 0L));
}
static inline int64_t holdfast_direct_pwritev(int fd, const struct iovec *parts, int count, int64_t offset) {
  return holdfast_result(syscall(SYS_pwritev, fd, parts, (long)count, offset, 0L));
}
static inline int holdfast_direct_datasync(int fd) { return (int)holdfast_result(syscall(SYS_fdatasync, fd)); }

/* mmap(2): the address, or minus the errno (no mapping begins in the last page). */
static inline int64_t holdfast_direct_map(
    uintptr_t address, size_t length, int protection, int flags, int fd, int64_t offset) {
  return holdfast_result(syscall(SYS_mmap, address, length, (long)protection, (long)flags, (long)fd, offset));
}
static inline int holdfast_direct_unmap(uintptr_t address, size_t length) {
  return (int)holdfast_result(syscall(SYS_munmap, address, length));
}
static const int holdfast_map_reserve = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
static const int holdfast_map_shared = MAP_SHARED;
static const int holdfast_map_shared_sync = MAP_SHARED_VALIDATE | MAP_SYNC;
static const int holdfast_map_fixed = MAP_FIXED;
static const int holdfast_map_populate = MAP_POPULATE;

#endif
