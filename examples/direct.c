/* direct.c FILE: stores into a file's blocks by memory, on the image, and reads them back through the mount.
 *
 *     cc direct.c -o direct $(pkg-config --cflags --libs holdfast) && ./direct /mnt/data
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <holdfast.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int failed(const char *what) {
  fprintf(stderr, "%s: %s\n", what, holdfast_last_error());
  return 1;
}

int main(int argc, char **argv) {
  static const char greeting[] = "stored past the filesystem";
  if (argc != 2) {
    fprintf(stderr, "usage: direct FILE\n");
    return 2;
  }
  int fd = open(argv[1], O_RDWR | O_CLOEXEC);
  if (fd < 0) {
    perror(argv[1]);
    return 1;
  }
  /* Until it is returned no block of the file moves, and nobody's page cache stands between. */
  struct holdfast_layout_request request = {.flags = HOLDFAST_LAYOUT_WRITE};
  holdfast_direct *layout = holdfast_layout_get(fd, &request);
  if (!layout) return failed("layout");
  size_t size = (size_t)holdfast_layout_size(layout);
  if (size < sizeof greeting) {
    fprintf(stderr, "%s: shorter than what is to be stored\n", argv[1]);
    return 1;
  }
  char *bytes = holdfast_map(
      layout, 0, size, PROT_READ | PROT_WRITE, HOLDFAST_MAP_DIRECT | HOLDFAST_MAP_POPULATE);
  if (!bytes) return failed("map");
  memcpy(bytes, greeting, sizeof greeting);
  char direct[sizeof greeting] = "";
  if (holdfast_pread(layout, direct, sizeof direct, 0) != sizeof direct) return failed("read");
  if (holdfast_unmap(bytes, size) != 0) return failed("unmap");
  if (holdfast_layout_return(layout, 0, 0) != 0) return failed("return");

  char mounted[sizeof greeting] = "";
  if (pread(fd, mounted, sizeof mounted, 0) != sizeof mounted || memcmp(mounted, greeting, sizeof greeting) != 0 ||
      memcmp(direct, greeting, sizeof greeting) != 0) {
    fprintf(stderr, "%s: the mount does not show what was stored\n", argv[1]);
    return 1;
  }
  printf("%s: %s\n", argv[1], mounted);
  close(fd);
  return 0;
}
