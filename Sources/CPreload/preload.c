/* See preload.h for why this is C. */
#include "preload.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>

struct holdfast_real holdfast_real_functions;
int holdfast_is_enabled_now;
int holdfast_is_verbose_now;
int holdfast_is_eager_now;

/* Of the initial static block: no allocation, so a signal's handler may touch them first. */
static __thread uint32_t transfers __attribute__((tls_model("initial-exec")));
static __thread uint32_t is_asking __attribute__((tls_model("initial-exec")));
uint32_t *holdfast_thread_transfers(void) { return &transfers; }
uint32_t *holdfast_thread_is_asking(void) { return &is_asking; }

/* EntryPoints+Open.swift, Fork.swift */
int holdfast_preload_open(const char *path, int flags, unsigned mode);
int holdfast_preload_openat(int directory, const char *path, int flags, unsigned mode);
int holdfast_preload_fcntl(int fd, int command, void *argument);
void holdfast_preload_before_fork(void);
int holdfast_preload_before_remap(void *address, size_t length);
void holdfast_preload_in_child(void);
void holdfast_preload_at_exit(void);

/* Two threads may do this at once: both write the same. The last member says that all are there. */
void holdfast_resolve(void) {
#define RESOLVE(member, name) \
  holdfast_real_functions.member = (__typeof__(holdfast_real_functions.member))dlsym(RTLD_NEXT, name)
  RESOLVE(open, "open64");
  RESOLVE(openat, "openat64");
  RESOLVE(close, "close");
  RESOLVE(close_range, "close_range");
  RESOLVE(fclose, "fclose");
  RESOLVE(dup, "dup");
  RESOLVE(dup2, "dup2");
  RESOLVE(dup3, "dup3");
  RESOLVE(fcntl, "fcntl64");
  RESOLVE(lockf, "lockf64");
  RESOLVE(read, "read");
  RESOLVE(write, "write");
  RESOLVE(pread, "pread64");
  RESOLVE(pwrite, "pwrite64");
  RESOLVE(readv, "readv");
  RESOLVE(writev, "writev");
  RESOLVE(preadv, "preadv64");
  RESOLVE(pwritev, "pwritev64");
  RESOLVE(preadv2, "preadv64v2");
  RESOLVE(pwritev2, "pwritev64v2");
  RESOLVE(mmap, "mmap64");
  RESOLVE(munmap, "munmap");
  RESOLVE(fsync, "fsync");
  RESOLVE(fdatasync, "fdatasync");
  RESOLVE(ftruncate, "ftruncate64");
  RESOLVE(fallocate, "fallocate64");
  __atomic_thread_fence(__ATOMIC_RELEASE);
  RESOLVE(posix_fallocate, "posix_fallocate64");
#undef RESOLVE
}

static int is_set(const char *name) {
  const char *value = getenv(name);
  return value && value[0] == '1' && !value[1];
}

__attribute__((constructor)) static void start(void) {
  holdfast_next();
  if (!is_set("HOLDFAST_DIRECT")) return;
  holdfast_is_verbose_now = is_set("HOLDFAST_DIRECT_VERBOSE");
  holdfast_is_eager_now = is_set("HOLDFAST_DIRECT_EAGER");
  holdfast_is_enabled_now = pthread_atfork(holdfast_preload_before_fork, NULL, holdfast_preload_in_child) == 0;
}

__attribute__((destructor)) static void end(void) {
  if (holdfast_is_enabled_now) holdfast_preload_at_exit();
}

void *holdfast_own_memory(size_t bytes) {
  void *start = (void *)syscall(SYS_mmap, NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0L);
  if (start == MAP_FAILED) return NULL;
  if (syscall(SYS_madvise, start, bytes, MADV_WIPEONFORK) == 0) return start;
  syscall(SYS_munmap, start, bytes);
  return NULL;
}

int holdfast_start_thread(void *(*body)(void *)) {
  enum { STACK_BYTES = 256 << 10 }; /* a page of a layout is 8.4 KiB, the lines of /proc/self/maps 4 */
  pthread_attr_t attributes;
  pthread_t thread;
  sigset_t all, before;
  sigfillset(&all);
  if (pthread_attr_init(&attributes) != 0) return ENOMEM;
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int code = pthread_create(&thread, &attributes, body, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  return code;
}

void holdfast_explain(uint64_t inode, int code) {
  char line[160];
  int length = snprintf(
      line, sizeof line, "holdfast-preload: inode %llu: through the mount: %s\n", (unsigned long long)inode, strerror(code));
  if (length > 0) (void)!syscall(SYS_write, 2, line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
}

/* The variadic functions. A mode is read only where open(2) says there is one. */
#define MODE(flags)                            \
  unsigned mode = 0;                           \
  if (holdfast_open_takes_mode(flags)) {       \
    va_list list;                              \
    va_start(list, flags);                     \
    mode = va_arg(list, unsigned);             \
    va_end(list);                              \
  }

int open(const char *path, int flags, ...) {
  MODE(flags)
  return holdfast_preload_open(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
  MODE(flags)
  return holdfast_preload_open(path, flags, mode);
}
int openat(int directory, const char *path, int flags, ...) {
  MODE(flags)
  return holdfast_preload_openat(directory, path, flags, mode);
}
int openat64(int directory, const char *path, int flags, ...) {
  MODE(flags)
  return holdfast_preload_openat(directory, path, flags, mode);
}

/* As libc does: whatever the command, one word. */
#define FCNTL                                  \
  va_list list;                                \
  va_start(list, command);                     \
  void *argument = va_arg(list, void *);       \
  va_end(list);                                \
  return holdfast_preload_fcntl(fd, command, argument);

int fcntl(int fd, int command, ...) { FCNTL }
int fcntl64(int fd, int command, ...) { FCNTL }

/* What only shrinks stays within its blocks. */
void *mremap(void *address, size_t old_length, size_t length, int flags, ...) {
  va_list list;
  va_start(list, flags);
  void *wanted = va_arg(list, void *);
  va_end(list);
  if (holdfast_is_enabled_now && (length > old_length || old_length == 0) &&
      holdfast_preload_before_remap(address, old_length) != 0) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  void *(*next)(void *, size_t, size_t, int, ...) = (void *(*)(void *, size_t, size_t, int, ...))dlsym(RTLD_NEXT, "mremap");
  return next(address, old_length, length, flags, wanted);
}
