/* System calls of the mounted stress that Swift's Glibc module does not show, and the two things only a
 * forked child can do: hold a seal and die, or live just to be named in one. */
#ifndef HOLDFAST_STRESS_H
#define HOLDFAST_STRESS_H

#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "platform.h"

static inline int holdfast_rename(const char *from, const char *to, unsigned flags) {
  return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}

static inline int holdfast_fallocate(int fd, int mode, int64_t offset, int64_t length) {
  return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}

static inline int64_t holdfast_copy_file_range(int from, int64_t from_offset, int to, int64_t to_offset, size_t length) {
  return syscall(SYS_copy_file_range, from, &from_offset, to, &to_offset, length, 0);
}

static inline int64_t holdfast_seek_data(int fd, int64_t offset) { return lseek(fd, offset, 3 /* SEEK_DATA */); }
static inline int64_t holdfast_seek_hole(int fd, int64_t offset) { return lseek(fd, offset, 4 /* SEEK_HOLE */); }

/* Closes every descriptor from `first` on. The child must not keep other handles open. */
static inline void holdfast_close_from(unsigned first) { syscall(SYS_close_range, first, ~0u, 0); }

/* A process that does nothing until it is killed or nobody holds the other end of the pipe `lifeline` any more;
 * -1 with errno. (PR_SET_PDEATHSIG would end it with the thread that started it.) */
static inline pid_t holdfast_start_sleeper(int lifeline) {
  pid_t child = fork();
  if (child != 0) return child;
  dup2(lifeline, 0);
  holdfast_close_from(1);
  char byte;
  while (read(0, &byte, 1) < 0) {
  }
  _exit(0);
}

static inline void holdfast_end_process(pid_t child) {
  kill(child, SIGKILL);
  while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
  }
}

/* A child opens `path` for reading, makes one ioctl, and then exits, or is killed. Returns the ioctl's (or
 * open's) errno, 0 for success, -1 when there was no child. The child is gone when this returns. */
static inline int holdfast_hold_in_child(const char *path, unsigned long request, void *argument, int killed) {
  int ends[2];
  if (pipe(ends) != 0) return -1;
  pid_t child = fork();
  if (child < 0) {
    close(ends[0]);
    close(ends[1]);
    return -1;
  }
  if (child == 0) {
    int code = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(ends[1], 0);
    holdfast_close_from(1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, request, argument) < 0) code = errno;
    if (write(0, &code, sizeof code) != sizeof code) _exit(2);
    while (killed) pause();
    _exit(0);
  }
  close(ends[1]);
  int code = -1;
  ssize_t got;
  while ((got = read(ends[0], &code, sizeof code)) < 0 && errno == EINTR) {
  }
  if (got != sizeof code) code = -1;
  close(ends[0]);
  if (killed) kill(child, SIGKILL);
  while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
  }
  return code;
}

/* A child opens `path` for reading and makes one ioctl; `code` is the ioctl's (or open's) errno, 0 for success. It holds
 * what it got until it is killed, by `holdfast_end_process` or with the thread that started it. -1 when there is none. */
static inline pid_t holdfast_start_holder(const char *path, unsigned long request, void *argument, int *code) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return -1;
  pid_t child = fork();
  if (child == 0) {
    int told = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    dup2(ends[1], 0);
    if (fd > 1) {
      dup2(fd, 1);
      close(fd);
    }
    holdfast_close_from(2);
    if (fd < 0 || ioctl(1, request, argument) < 0) told = errno;
    if (write(0, &told, sizeof told) != sizeof told) _exit(2);
    for (;;) pause();
  }
  close(ends[1]);
  ssize_t got = -1;
  if (child > 0) {
    while ((got = read(ends[0], code, sizeof *code)) < 0 && errno == EINTR) {
    }
    if (got != sizeof *code) *code = EIO;
  }
  close(ends[0]);
  return child;
}

/* A child that truncates `path`, if it is let. */
static inline pid_t holdfast_start_truncation(const char *path, int64_t size) {
  pid_t child = fork();
  if (child != 0) return child;
  holdfast_close_from(0);
  truncate(path, size);
  _exit(0);
}

/* Memory that is freed stays with the process. */
static inline void holdfast_keep_freed_memory(void) {
  mallopt(M_MMAP_THRESHOLD, 32 << 20); /* the most there is: half of an arena's heap */
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 16 << 20);
}

#endif
