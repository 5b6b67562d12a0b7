/* io_uring with one registered buffer, which pins its pages for long. */
#ifndef REGISTERED_BUFFERS_H
#define REGISTERED_BUFFERS_H
#include <stddef.h>
#include <stdint.h>

struct hmt_ring;

/* Registers [start, start + length). NULL with minus the errno in `code`; `is_refused`: by the registration itself. */
struct hmt_ring *hmt_ring_open(void *start, size_t length, int *code, int *is_refused);

/* One READ_FIXED from (into the buffer), or WRITE_FIXED to, a file at `offset`. Bytes, or minus the errno. */
int hmt_ring_read(struct hmt_ring *ring, int fd, uint64_t offset, void *into, unsigned count);
int hmt_ring_write(struct hmt_ring *ring, int fd, uint64_t offset, const void *from, unsigned count);

/* Lets go of the pages, too. */
void hmt_ring_close(struct hmt_ring *ring);
#endif
