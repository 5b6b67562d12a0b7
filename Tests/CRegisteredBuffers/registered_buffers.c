#include "registered_buffers.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/uio.h>

struct hmt_ring {
  struct io_uring ring;
};

struct hmt_ring *hmt_ring_open(void *start, size_t length, int *code, int *is_refused) {
  *is_refused = 0;
  struct hmt_ring *made = calloc(1, sizeof *made);
  *code = made ? io_uring_queue_init(4, &made->ring, 0) : -ENOMEM;
  if (*code < 0) {
    free(made);
    return NULL;
  }
  struct iovec part = {.iov_base = start, .iov_len = length};
  *code = io_uring_register_buffers(&made->ring, &part, 1);
  if (*code == 0) return made;
  *is_refused = 1;
  hmt_ring_close(made);
  return NULL;
}

static int finish(struct hmt_ring *ring) {
  int code = io_uring_submit_and_wait(&ring->ring, 1);
  struct io_uring_cqe *entry = NULL;
  if (code >= 0) code = io_uring_wait_cqe(&ring->ring, &entry);
  if (code < 0) return code;
  code = entry->res;
  io_uring_cqe_seen(&ring->ring, entry);
  return code;
}

int hmt_ring_read(struct hmt_ring *ring, int fd, uint64_t offset, void *into, unsigned count) {
  struct io_uring_sqe *entry = io_uring_get_sqe(&ring->ring);
  if (!entry) return -EBUSY;
  io_uring_prep_read_fixed(entry, fd, into, count, offset, 0);
  return finish(ring);
}

int hmt_ring_write(struct hmt_ring *ring, int fd, uint64_t offset, const void *from, unsigned count) {
  struct io_uring_sqe *entry = io_uring_get_sqe(&ring->ring);
  if (!entry) return -EBUSY;
  io_uring_prep_write_fixed(entry, fd, from, count, offset, 0);
  return finish(ring);
}

void hmt_ring_close(struct hmt_ring *ring) {
  io_uring_queue_exit(&ring->ring);
  free(ring);
}
