/* A program that knows nothing of Holdfast: random calls on one file, each result said on standard output. What it says, and what it
 * leaves in the file, must be the same with libholdfast-preload.so in front of libc as without. C because that is
 * what the library stands in front of: libc's variadic, 64-suffixed and fortified names, called as C programs call
 * them.
 *
 *     preload-agent random SEED OPERATIONS FILE
 *     preload-agent append COUNT FILE         so many records of 64 bytes, by write(2) on an O_APPEND handle
 *     preload-agent share COUNT FILE          a parent and a child take records of 64 bytes from one open file description
 *     preload-agent handler COUNT FILE        write(2) in a signal's handler, in the middle of others
 *     preload-agent start COUNT LIBRARY       what the library adds to the start of /bin/true (medians, microseconds)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HANDLES = 6, MOST_BYTES = 40000, LARGEST_FILE = 400000 };

static uint64_t state;
static uint64_t next(void) {
  state += 0x9e3779b97f4a7c15u;
  uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}
static uint64_t below(uint64_t bound) { return next() % bound; }

static uint8_t buffer[MOST_BYTES];
static uint64_t digest(const void *bytes, size_t count) {
  uint64_t hash = 1469598103934665603u;
  for (size_t index = 0; index < count; index++) hash = (hash ^ ((const uint8_t *)bytes)[index]) * 1099511628211u;
  return hash;
}

static int handles[HANDLES];
static int flags_of[HANDLES];

static void say(int number, const char *what, long result) {
  printf("%d %s %ld %d\n", number, what, result, result < 0 ? errno : 0);
}
static void say_bytes(int number, const char *what, long result) {
  printf("%d %s %ld %d %" PRIx64 "\n", number, what, result, result < 0 ? errno : 0, digest(buffer, result > 0 ? result : 0));
}

/* Half of them whole blocks. */
static size_t some_count(void) { return below(2) ? 1 + below(MOST_BYTES) : 4096 * (1 + below(9)); }
static off_t some_offset(void) { return below(2) ? (off_t)below(LARGEST_FILE) : (off_t)(4096 * below(LARGEST_FILE / 4096)); }
static void fill(size_t count) {
  uint64_t value = next();
  for (size_t index = 0; index < count; index++) buffer[index] = (uint8_t)(value >> (index % 8 * 8)) + (uint8_t)(index >> 8);
}

static void split(struct iovec *parts, size_t count) {
  size_t first = below(count + 1), second = below(count - first + 1);
  parts[0] = (struct iovec){buffer, first};
  parts[1] = (struct iovec){buffer + first, second};
  parts[2] = (struct iovec){buffer + first + second, count - first - second};
}

static int reopen(const char *path, int slot) {
  static const int kinds[] = {O_RDWR, O_RDWR, O_RDWR, O_RDONLY, O_WRONLY, O_RDWR | O_APPEND, O_WRONLY | O_APPEND, O_RDWR | O_SYNC,
                              O_RDWR | O_DSYNC, O_RDWR | O_CREAT};
  int flags = kinds[below(sizeof kinds / sizeof *kinds)];
  if (below(40) == 0) flags |= O_TRUNC;
  flags_of[slot] = flags;
  switch (below(4)) {
    case 0: return open(path, flags, 0644);
    case 1: return open64(path, flags, 0644);
    case 2: return openat(AT_FDCWD, path, flags, 0644);
    default: return openat64(AT_FDCWD, path, flags, 0644);
  }
}

/* Stores and loads through a shared mapping, within the file. */
static void map(int number, int fd) {
  struct stat status;
  if (fstat(fd, &status) != 0 || status.st_size == 0) return;
  off_t first = (off_t)below(status.st_size) & ~4095;
  size_t length = status.st_size - first;
  int writes = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR && below(3);
  uint8_t *start = mmap(NULL, length, PROT_READ | (writes ? PROT_WRITE : 0), MAP_SHARED, fd, first);
  if (start == MAP_FAILED) {
    say(number, "mmap", -1);
    return;
  }
  if (writes) {
    size_t place = below(length), count = 1 + below(length - place);
    memset(start + place, (int)below(256), count > 5000 ? 5000 : count);
    if (below(2)) say(number, "msync", msync(start, length, MS_SYNC));
  }
  printf("%d mmap %zu %" PRIx64 "\n", number, length, digest(start, length));
  /* What a call of the same program sees while the mapping stands. */
  ssize_t got = pread(fd, buffer, 4096, first);
  printf("%d seen %zd %" PRIx64 "\n", number, got, digest(buffer, got > 0 ? got : 0));
  say(number, "munmap", munmap(start, length));
}

static void child(int number, int fd, const char *path) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    /* Its offset is ours. */
    fill(500);
    (void)!write(fd, buffer, 500);
    int own = open(path, O_RDWR);
    (void)!pwrite(own, buffer, 300, 8192);
    close(own);
    _exit(0);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  printf("%d child %d at %ld\n", number, status, (long)lseek(fd, 0, SEEK_CUR));
}

/* By the seed: mappings, and holes, put a file on other ways for the rest of its life. */
static int maps, makes_holes;

static void step(int number, const char *path) {
  int slot = (int)below(HANDLES), other = (int)below(HANDLES), fd = handles[slot];
  size_t count = some_count();
  off_t offset = some_offset();
  struct iovec parts[3];
  switch (below(34)) {
    case 0: case 1:
      if (fd >= 0) say(number, "close", close(fd));
      handles[slot] = reopen(path, slot);
      say(number, "open", handles[slot]);
      break;
    case 2:
      say(number, "dup2", dup2(fd, handles[other]));
      break;
    case 3: {
      int copy = below(2) ? dup(fd) : fcntl(fd, F_DUPFD_CLOEXEC, 0);
      say(number, "dup", copy);
      if (copy >= 0 && below(2)) {
        close(fd);
        handles[slot] = copy;
      } else if (copy >= 0) {
        close(copy);
      }
      break;
    }
    case 4: {
      int flags = fcntl(fd, F_GETFL);
      say(number, "setfl", fcntl(fd, F_SETFL, flags ^ O_APPEND));
      break;
    }
    case 5: case 6: case 7:
      say_bytes(number, "read", read(fd, buffer, count));
      break;
    case 8: case 9: case 10:
      fill(count);
      say(number, "write", write(fd, buffer, count));
      break;
    case 11: case 12: case 13:
      say_bytes(number, "pread", below(2) ? pread(fd, buffer, count, offset) : pread64(fd, buffer, count, offset));
      break;
    case 14: case 15: case 16: case 17:
      fill(count);
      say(number, "pwrite", below(2) ? pwrite(fd, buffer, count, offset) : pwrite64(fd, buffer, count, offset));
      break;
    case 18:
      split(parts, count);
      say_bytes(number, "readv", readv(fd, parts, 3));
      break;
    case 19:
      fill(count);
      split(parts, count);
      say(number, "writev", writev(fd, parts, 3));
      break;
    case 20:
      split(parts, count);
      say_bytes(number, "preadv", below(2) ? preadv(fd, parts, 3, offset) : preadv2(fd, parts, 3, below(2) ? offset : -1, 0));
      break;
    case 21:
      fill(count);
      split(parts, count);
      say(number, "pwritev", below(2) ? pwritev(fd, parts, 3, offset) : pwritev2(fd, parts, 3, below(2) ? offset : -1, 0));
      break;
    case 22: case 23: {
      static const int places[] = {SEEK_SET, SEEK_CUR, SEEK_END};
      int place = places[below(3)];
      say(number, "lseek", (long)lseek(fd, place == SEEK_SET ? offset : (off_t)below(9000) - 6000, place));
      break;
    }
    case 24:
      if (!makes_holes && below(4)) break;
      say(number, "ftruncate", below(2) ? ftruncate(fd, offset) : ftruncate64(fd, offset));
      break;
    case 25: {
      static const int modes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE};
      say(number, "fallocate", fallocate(fd, modes[below(makes_holes ? 4 : 2)], offset, (off_t)count));
      break;
    }
    case 26:
      say(number, "posix_fallocate", posix_fallocate(fd, offset, (off_t)count));
      break;
    case 27:
      say(number, "fsync", below(2) ? fsync(fd) : fdatasync(fd));
      break;
    case 28: case 29: case 30:
      if (maps) map(number, fd);
      break;
    case 31: {
      off_t from = offset, to = some_offset();
      say(number, "copy_file_range", (long)copy_file_range(fd, &from, handles[other], &to, count > 9000 ? 9000 : count, 0));
      break;
    }
    case 32: {
      int ends[2];
      if (pipe(ends) != 0) break;
      off_t from = offset;
      long sent = sendfile(ends[1], fd, &from, 4000);
      say(number, "sendfile", sent);
      if (sent > 0) say_bytes(number, "received", read(ends[0], buffer, 4000));
      close(ends[0]);
      close(ends[1]);
      break;
    }
    case 33:
      child(number, fd, path);
      break;
  }
  struct stat status;
  if (stat(path, &status) == 0) printf("%d size %ld\n", number, (long)status.st_size);
}

static int run_random(uint64_t seed, int operations, const char *path) {
  state = seed;
  maps = seed & 1;
  makes_holes = seed & 2;
  for (int slot = 0; slot < HANDLES; slot++) handles[slot] = open(path, O_RDWR);
  for (int number = 0; number < operations; number++) step(number, path);
  for (int slot = 0; slot < HANDLES; slot++) close(handles[slot]);
  return 0;
}

static int run_append(int count, const char *path) {
  int fd = open(path, O_WRONLY | O_APPEND);
  char record[65];
  for (int number = 0; number < count; number++) {
    snprintf(record, sizeof record, "%-20d%-20d%-23d\n", getpid(), number, number);
    if (write(fd, record, 64) != 64) return 1;
  }
  return close(fd);
}

/* Each record is taken once. */
static int run_share(int count, const char *path) {
  int fd = open(path, O_RDWR);
  char record[64];
  pid_t pid = fork();
  for (;;) {
    ssize_t got = read(fd, record, sizeof record);
    if (got == 0) break;
    if (got != sizeof record) return 1;
    int number = atoi(record);
    if (number < 0 || number >= count) return 2;
    /* Noted in the file that stands in for memory between the two. */
    char mark = '+';
    char before;
    int marks = 3;
    if (pread(marks, &before, 1, number) != 1 || before != '-') return 3;
    if (pwrite(marks, &mark, 1, number) != 1) return 4;
  }
  if (pid == 0) _exit(0);
  int status = 1;
  waitpid(pid, &status, 0);
  return status;
}

static int handled;
static volatile sig_atomic_t rounds;
static void handle(int signal) {
  (void)signal;
  int code = errno;
  char byte = 'h';
  if (write(handled, &byte, 1) == 1) rounds++;
  errno = code;
}

/* As many bytes as were written, whoever wrote them. */
static int run_handler(int count, const char *path) {
  handled = open(path, O_RDWR);
  struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  struct itimerval time = {{0, 300}, {0, 300}};
  setitimer(ITIMER_REAL, &time, NULL);
  long written = 0;
  memset(buffer, 'm', 100);
  for (int number = 0; number < count; number++) written += write(handled, buffer, 100);
  memset(&time, 0, sizeof time);
  setitimer(ITIMER_REAL, &time, NULL);
  long end = (long)lseek(handled, 0, SEEK_CUR);
  printf("%ld %ld\n", end - written - rounds, (long)rounds > 0 ? 1L : 0L);
  return 0;
}

static double microseconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}
static double start_once(char *const *environment) {
  static char *words[] = {"/bin/true", NULL};
  double before = microseconds();
  pid_t pid;
  int status;
  if (posix_spawn(&pid, words[0], NULL, NULL, words, environment) != 0 || waitpid(pid, &status, 0) != pid) exit(1);
  return microseconds() - before;
}
static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}
static int run_start(int count, const char *library) {
  static char preload[4096];
  snprintf(preload, sizeof preload, "LD_PRELOAD=%s", library);
  char *without[] = {"PATH=/bin", NULL}, *with[] = {preload, "HOLDFAST_DIRECT=1", NULL};
  double *plain = calloc(count, sizeof *plain), *preloaded = calloc(count, sizeof *preloaded);
  for (int round = 0; round < count; round++) {
    plain[round] = start_once(without);
    preloaded[round] = start_once(with);
  }
  qsort(plain, count, sizeof *plain, ascending);
  qsort(preloaded, count, sizeof *preloaded, ascending);
  double before = plain[count / 2], after = preloaded[count / 2];
  printf("/bin/true %.0f us, preloaded %.0f us: +%.0f us\n", before, after, after - before);
  return 0;
}

int main(int count, char **words) {
  if (count == 5 && !strcmp(words[1], "random")) {
    /* Whatever else whoever started us had open: the numbers that open(2) answers are compared. */
    close_range(3, ~0u, 0);
    return run_random(strtoull(words[2], NULL, 10), atoi(words[3]), words[4]);
  }
  if (count == 4 && !strcmp(words[1], "append")) return run_append(atoi(words[2]), words[3]);
  if (count == 4 && !strcmp(words[1], "share")) return run_share(atoi(words[2]), words[3]);
  if (count == 4 && !strcmp(words[1], "handler")) return run_handler(atoi(words[2]), words[3]);
  if (count == 4 && !strcmp(words[1], "start") && atoi(words[2]) > 0) return run_start(atoi(words[2]), words[3]);
  fprintf(stderr, "usage: see main.c\n");
  return 64;
}
