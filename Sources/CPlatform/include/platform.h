/* What Swift cannot import or express on Linux, and nothing else:
 *  - CRC-32C by the CPU's instruction (no intrinsics in Swift) with a table for other processors;
 *  - ioctl numbers and variadic system calls (Swift does not import _IOWR or variadics).
 */
#ifndef HOLDFAST_PLATFORM_H
#define HOLDFAST_PLATFORM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
/* Swift's own module of glibc is compiled without _GNU_SOURCE and calls fd_set's member __fds_bits; with it the
 * member is fds_bits, and an import of both modules fails on the difference. Get the former. */
#include <features.h>
#pragma push_macro("__USE_XOPEN")
#undef __USE_XOPEN
#include <sys/select.h>
#pragma pop_macro("__USE_XOPEN")

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

/* CRC-32C (Castagnoli) of `length` bytes, continuing from `crc` (0 to start). */
uint32_t holdfast_crc32c(uint32_t crc, const void *bytes, size_t length);

/* Size in bytes of an open block device, or -1 with errno. */
static inline int64_t holdfast_block_device_size(int fd) {
  uint64_t size = 0;
  return ioctl(fd, BLKGETSIZE64, &size) < 0 ? -1 : (int64_t)size;
}

/* The block size of an open block device, by which the kernel caches it; root's alone. */
static inline int holdfast_set_block_size(int fd, int size) { return ioctl(fd, BLKBSZSET, &size); }

static inline int holdfast_open(const char *path, int flags, mode_t mode) { return open(path, flags, mode); }

/* dup(2), not kept by programs that are started. */
static inline int holdfast_duplicate(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, 0); }

static inline int holdfast_ioctl(int fd, unsigned long request, void *argument) {
  return ioctl(fd, request, argument);
}

/* FS_IOC_GETFLAGS's bits, 0 where there are none. */
static inline uint32_t holdfast_inode_flags(int fd) {
  unsigned int flags = 0;
  return ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0 ? 0 : flags;
}

/* Open-file-description lock over one byte range; type is F_RDLCK, F_WRLCK or F_UNLCK. 0, or -1 with errno. */
static inline int holdfast_ofd_lock(int fd, short type, int64_t start, int64_t length) {
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length, .l_pid = 0};
  return fcntl(fd, F_OFD_SETLK, &lock);
}

/* A lock as fcntl(2) tells of it: `length` 0 reaches to the end of all offsets, `pid` is -1 for one of an open file
 * description. */
struct holdfast_lock {
  int64_t start;
  int64_t length;
  pid_t pid;
};

/* Whether somebody else's lock lies in a byte range: 1, and `found` is one of them; 0 none; -1 with errno. */
static inline int holdfast_ofd_find_lock(int fd, int64_t start, int64_t length, struct holdfast_lock *found) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = length, .l_pid = 0};
  if (fcntl(fd, F_OFD_GETLK, &lock) < 0) return -1;
  if (lock.l_type == F_UNLCK) return 0;
  found->start = lock.l_start;
  found->length = lock.l_len;
  found->pid = lock.l_pid;
  return 1;
}

/* umount2(2): glibc's <sys/mount.h> cannot be included beside <linux/fs.h>. */
static inline int holdfast_umount(const char *path, int flags) { return (int)syscall(SYS_umount2, path, flags); }

/* As many descriptors as the process may have: requests bound to processes hold one for each. By the system call, since
 * <sys/resource.h> is another with _GNU_SOURCE than Swift's module of glibc has. */
static inline void holdfast_raise_descriptor_limit(void) {
  struct {
    uint64_t current, maximum;
  } limit;
  const int descriptors = 7; /* RLIMIT_NOFILE of the generic ABI: x86, Arm, RISC-V */
  if (syscall(SYS_prlimit64, 0, descriptors, NULL, &limit) != 0 || limit.current == limit.maximum) return;
  limit.current = limit.maximum;
  (void)syscall(SYS_prlimit64, 0, descriptors, &limit, NULL);
}

/* POSIX_SPAWN_SETSID, which glibc has for _GNU_SOURCE only. */
static const int holdfast_spawn_setsid = POSIX_SPAWN_SETSID;

static inline int holdfast_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }
static inline int holdfast_pidfd_send_signal(int pidfd, int signal) {
  return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

#endif
