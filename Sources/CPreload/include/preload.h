/* What libholdfast-preload.so needs in C, and nothing else:
 *  - libc's variadic entry points (open, openat, fcntl) in front of which it stands: Swift defines no variadic function;
 *  - thread-local variables, and what runs before main and after fork: Embedded Swift has neither;
 *  - the real functions behind ours, dlsym(RTLD_NEXT), typed by libc's headers;
 *  - system calls whose structures or macros Swift does not import, each answering its result or minus the errno.
 */
#ifndef HOLDFAST_PRELOAD_H
#define HOLDFAST_PRELOAD_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "../../CPlatform/include/direct.h"

#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>

/* The next definition of each function after ours: libc's, or another preloaded library's. */
struct holdfast_real {
  int (*open)(const char *, int, ...);
  int (*openat)(int, const char *, int, ...);
  int (*close)(int);
  int (*close_range)(unsigned, unsigned, int);
  int (*fclose)(FILE *);
  int (*dup)(int);
  int (*dup2)(int, int);
  int (*dup3)(int, int, int);
  int (*fcntl)(int, int, ...);
  int (*lockf)(int, int, int64_t);
  ssize_t (*read)(int, void *, size_t);
  ssize_t (*write)(int, const void *, size_t);
  ssize_t (*pread)(int, void *, size_t, int64_t);
  ssize_t (*pwrite)(int, const void *, size_t, int64_t);
  ssize_t (*readv)(int, const struct iovec *, int);
  ssize_t (*writev)(int, const struct iovec *, int);
  ssize_t (*preadv)(int, const struct iovec *, int, int64_t);
  ssize_t (*pwritev)(int, const struct iovec *, int, int64_t);
  ssize_t (*preadv2)(int, const struct iovec *, int, int64_t, int);
  ssize_t (*pwritev2)(int, const struct iovec *, int, int64_t, int);
  void *(*mmap)(void *, size_t, int, int, int, int64_t);
  int (*munmap)(void *, size_t);
  int (*fsync)(int);
  int (*fdatasync)(int);
  int (*ftruncate)(int, int64_t);
  int (*fallocate)(int, int, int64_t, int64_t);
  int (*posix_fallocate)(int, int64_t, int64_t);
};
extern struct holdfast_real holdfast_real_functions;
void holdfast_resolve(void);
/* HOLDFAST_DIRECT=1 was in the environment at the start. */
extern int holdfast_is_enabled_now;
extern int holdfast_is_verbose_now;
static inline int holdfast_is_enabled(void) { return holdfast_is_enabled_now; }
/* HOLDFAST_DIRECT_EAGER=1, for tests: a layout that was returned is asked for again at once. */
extern int holdfast_is_eager_now;
static inline int holdfast_is_eager(void) { return holdfast_is_eager_now; }
static inline int holdfast_is_verbose(void) { return holdfast_is_verbose_now; }

static inline const struct holdfast_real *holdfast_next(void) {
  if (!holdfast_real_functions.posix_fallocate) holdfast_resolve();
  return &holdfast_real_functions;
}

static inline int holdfast_real_open(const char *path, int flags, unsigned mode) {
  return holdfast_next()->open(path, flags, mode);
}
static inline int holdfast_real_openat(int directory, const char *path, int flags, unsigned mode) {
  return holdfast_next()->openat(directory, path, flags, mode);
}
static inline int holdfast_real_fcntl(int fd, int command, void *argument) {
  return holdfast_next()->fcntl(fd, command, argument);
}

/* Of this thread: transfers on the image that a signal's handler may be interrupting, and whether it speaks with the keeper. */
uint32_t *holdfast_thread_transfers(void);
uint32_t *holdfast_thread_is_asking(void);

static inline int holdfast_errno(void) { return errno; }
static inline void holdfast_set_errno(int code) { errno = code; }

/* Memory that is zeros in a child that has its own: fork(2) and clone(2) without CLONE_VM. NULL: no memory, or Linux before 4.14. */
void *holdfast_own_memory(size_t bytes);

static inline int holdfast_getpid(void) { return (int)syscall(SYS_getpid); }
static inline int holdfast_gettid(void) { return (int)syscall(SYS_gettid); }

static inline int holdfast_futex_wait(uint32_t *word, uint32_t value, int64_t milliseconds) {
  struct timespec time = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000};
  return (int)holdfast_result(
      syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, milliseconds < 0 ? NULL : &time, NULL, 0));
}
static inline void holdfast_futex_wake(uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1 << 30, NULL, NULL, 0); }

/* Nanoseconds of CLOCK_MONOTONIC. */
static inline uint64_t holdfast_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* What a descriptor is, without asking a FUSE daemon. */
struct holdfast_descriptor_status {
  uint64_t device, inode;
  int is_regular;
};
static inline int holdfast_look(int fd, struct holdfast_descriptor_status *status) {
  struct statx found;
  if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &found) != 0) return -errno;
  status->device = makedev(found.stx_dev_major, found.stx_dev_minor);
  status->inode = found.stx_ino;
  status->is_regular = S_ISREG(found.stx_mode);
  return 0;
}
static inline int holdfast_is_fuse(int fd) {
  struct statfs status;
  return syscall(SYS_fstatfs, fd, &status) == 0 && status.f_type == 0x65735546;
}

static inline int holdfast_raw_open(const char *path, int flags) {
  return (int)holdfast_result(syscall(SYS_openat, AT_FDCWD, path, flags, 0));
}
static inline int holdfast_raw_fcntl(int fd, int command, long argument) {
  return (int)holdfast_result(syscall(SYS_fcntl, fd, command, argument));
}
static inline int holdfast_raw_dup3(int from, int to, int flags) {
  return (int)holdfast_result(syscall(SYS_dup3, from, to, flags));
}
static inline int64_t holdfast_raw_lseek(int fd, int64_t offset, int whence) {
  return holdfast_result(syscall(SYS_lseek, fd, offset, whence));
}
static inline int64_t holdfast_raw_read(int fd, void *bytes, size_t count) {
  return holdfast_result(syscall(SYS_read, fd, bytes, count));
}
static inline int64_t holdfast_raw_write(int fd, const void *bytes, size_t count) {
  return holdfast_result(syscall(SYS_write, fd, bytes, count));
}
static inline int holdfast_raw_eventfd(void) { return (int)holdfast_result(syscall(SYS_eventfd2, 0, O_CLOEXEC | O_NONBLOCK)); }
static inline int holdfast_raw_poll(struct pollfd *files, unsigned count, int milliseconds) {
  struct timespec time = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000};
  return (int)holdfast_result(syscall(SYS_ppoll, files, count, milliseconds < 0 ? NULL : &time, NULL, 8));
}

/* A thread of ours, with all signals blocked: 0 or an errno. It belongs to no join. */
int holdfast_start_thread(void *(*body)(void *));
/* This thread gets a table of descriptors of its own, empty. 0 or minus the errno. */
static inline int holdfast_own_descriptors(void) {
  return (int)holdfast_result(syscall(SYS_close_range, 0u, ~0u, 2u /* CLOSE_RANGE_UNSHARE */));
}

/* setrlimit(2): a write beyond it is SIGXFSZ, on the image as well, where offsets are others. */
static inline int holdfast_has_file_size_limit(void) {
  struct rlimit limit;
  return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}
/* mremap(2) of a whole mapping over another one: its address, or minus the errno. */
static inline int64_t holdfast_raw_mremap(uintptr_t address, size_t length, uintptr_t place) {
  return holdfast_result(syscall(SYS_mremap, address, length, length, (long)(MREMAP_MAYMOVE | MREMAP_FIXED), place));
}

/* What a second open(2) of the same file must not repeat. */
static const int holdfast_open_once = O_CREAT | O_EXCL | O_TRUNC | O_NOFOLLOW | O_TMPFILE | O_NOCTTY;
/* No file, or one whose every wait is to be EAGAIN: a recall of our own layout would be one. */
static const int holdfast_open_unserved = O_PATH | O_NONBLOCK;
static const int holdfast_open_syncs = O_DSYNC; /* O_SYNC has this bit, too */
static inline int holdfast_open_takes_mode(int flags) { return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE; }
static inline int holdfast_is_shared_mapping(int flags) {
  return (flags & MAP_TYPE) == MAP_SHARED || (flags & MAP_TYPE) == MAP_SHARED_VALIDATE;
}
/* libc's end of a program that overruns a buffer. */
void __chk_fail(void) __attribute__((noreturn));
static inline void holdfast_chk_fail(void) { __chk_fail(); }

/* Says on the standard error why a file is served by the mount. */
void holdfast_explain(uint64_t inode, int code);

static const int holdfast_map_type = MAP_TYPE;
static const int holdfast_map_fixed_noreplace = MAP_FIXED_NOREPLACE;
static inline uint64_t holdfast_device(unsigned major, unsigned minor) { return makedev(major, minor); }
static const int holdfast_write_appends = RWF_APPEND, holdfast_write_syncs = RWF_SYNC;
static const int holdfast_close_range_marks = 1 << 2; /* CLOSE_RANGE_CLOEXEC */
static const int holdfast_close_range_unshares = 1 << 1;
static void *const holdfast_map_failed = MAP_FAILED;

#endif
