/* SPDX-License-Identifier: MIT
 * libholdfast: sealing files of a Holdfast mount and using their blocks on the image itself. Included by holdfast.h;
 * link with `pkg-config --cflags --libs holdfast`. libholdfast(3) explains each, docs/CLIENT.md how to use them.
 *
 * Every function answers 0 or a result, or -1 (NULL) with errno; holdfast_last_error() then says what, why and what to do.
 * All may be called by any number of threads. An `fd` is a descriptor of a file on the mount, opened by the program; what is bound to its
 * open file description ends with the last descriptor of that.
 */
#ifndef HOLDFAST_CLIENT_H
#define HOLDFAST_CLIENT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What this thread's last call that failed says, one line; "" before any did. Valid until its next call. */
const char *holdfast_last_error(void);

/* Seals. flags: HOLDFAST_SEAL_*; name: NULL or "" for the default request. Ranges are bytes, rounded outward to blocks.
 * HOLDFAST_SEAL_PERSISTENT goes with HOLDFAST_SEAL_NAMED only (else EINVAL); what was taken with NAMED is released with NAMED. */
int holdfast_seal(int fd, unsigned flags, const char *name);
int holdfast_unseal(int fd, unsigned flags, const char *name);
int holdfast_pin(int fd, uint64_t offset, uint64_t length, unsigned flags, const char *name);
int holdfast_unpin(int fd, uint64_t offset, uint64_t length, unsigned flags, const char *name);

/* Gives a range blocks, zeroed and unshared, so that it can be sealed. Length 0: to the end of the file. */
int holdfast_prepare(int fd, uint64_t offset, uint64_t length);

/* The file's map, from its beginning: fills at most `capacity` extents and answers how many there are. */
ssize_t holdfast_extents(int fd, struct holdfast_extent *extents, size_t capacity, uint64_t *generation);

/* A descriptor that polls readable (POLLIN) while a breakable request of fd's handle is asked for, and for good once one was
 * taken away. The caller closes it. */
int holdfast_recall_fd(int fd);

/* 0: not asked for. 1: asked for, and taken away in *remaining_ms (may be NULL). -1 with ESTALE: taken away. */
int holdfast_recall_status(int fd, uint64_t *remaining_ms);

/* A layout: the request, the lease on the image, the extents. */
typedef struct holdfast_direct holdfast_direct;

/* Beside HOLDFAST_LAYOUT_*: reads and writes bypass the image's page cache (O_DIRECT). Mappings never do. */
#define HOLDFAST_LAYOUT_UNCACHED 0x80000000u

struct holdfast_layout_request {
	uint32_t flags;         /* HOLDFAST_LAYOUT_* but PAGE */
	uint32_t grace_seconds; /* BREAKABLE: 0 for the mount's default */
	uint32_t ttl_seconds;   /* 0: none */
	uint32_t reserved;      /* 0 */
	uint64_t offset;        /* bytes */
	uint64_t length;        /* 0: the whole file */
	const char *image;      /* path of the mounted image; NULL: ask the mount */
};

/* request NULL: the whole file, hard, for reading. fd may be closed afterwards: the layout has its own of the same
 * open file description. That has one layout of a range: asking for the same range again takes the first one's place, which
 * is over then, also when this call fails afterwards. For a second one open the file again. */
holdfast_direct *holdfast_layout_get(int fd, const struct holdfast_layout_request *request);

/* Releases it, whatever the answer. flags: HOLDFAST_LAYOUT_SET_SIZE (to `size`), HOLDFAST_LAYOUT_SET_TIMES. Without SET_SIZE
 * the file is as long as holdfast_pwrite made it; after a store by that, the times are set anyway. Mappings stay.
 * EINVAL: other flags, or `layout` is NULL. */
int holdfast_layout_return(holdfast_direct *layout, unsigned flags, uint64_t size);

/* Bytes of the file: at the grant, or what holdfast_pwrite made of it. */
uint64_t holdfast_layout_size(const holdfast_direct *layout);
uint64_t holdfast_layout_generation(const holdfast_direct *layout);
/* As holdfast_extents, of the layout: flags tell what may not be stored into. */
size_t holdfast_layout_extents(const holdfast_direct *layout, struct holdfast_extent *extents, size_t capacity);
/* As holdfast_recall_fd and holdfast_recall_status, of its handle. */
int holdfast_layout_recall_fd(const holdfast_direct *layout);
int holdfast_layout_recall_status(holdfast_direct *layout, uint64_t *remaining_ms);

/* pread(2) and so on, on the image. Reads end with the file and the layout; a write is refused as a whole where it is
 * not all in blocks that may be stored into. EINVAL: more than SSIZE_MAX bytes, parts fewer than 0 or more than 1024
 * (IOV_MAX); EFAULT: `bytes`, `parts` or a part's iov_base is NULL and there is something to transfer. */
ssize_t holdfast_pread(holdfast_direct *layout, void *bytes, size_t count, uint64_t offset);
ssize_t holdfast_pwrite(holdfast_direct *layout, const void *bytes, size_t count, uint64_t offset);
ssize_t holdfast_preadv(holdfast_direct *layout, const struct iovec *parts, int count, uint64_t offset);
ssize_t holdfast_pwritev(holdfast_direct *layout, const struct iovec *parts, int count, uint64_t offset);
/* Stores, by mappings too, are on the image's device when it returns. */
int holdfast_layout_sync(holdfast_direct *layout);

#define HOLDFAST_MAP_POPULATE 0x1u /* no fault later */
#define HOLDFAST_MAP_SYNC     0x2u /* MAP_SYNC: EOPNOTSUPP without DAX */
#define HOLDFAST_MAP_DIRECT   0x4u /* a hole is an error for a mapping for reading, too; else it shows zeros */

/* Maps a range, contiguous over any number of extents; offset a multiple of 4096, length rounded up to one. prot: PROT_READ, or
 * PROT_READ | PROT_WRITE. It outlives layout and file, and holds the lease until it is unmapped. NULL with errno. */
void *holdfast_map(holdfast_direct *layout, uint64_t offset, size_t length, int prot, unsigned flags);
/* Whether devices may pin pages of a mapping for long (io_uring_register_buffers(3), RDMA): 0, or -1 with EOPNOTSUPP and
 * the reason in holdfast_last_error(). Ask when pinning failed with EFAULT, or before.
 * A pin outlives holdfast_unmap, the lease does not: unregister first. */
int holdfast_layout_pinnable(holdfast_direct *layout);
/* munmap(2) of all of it, with its errnos. */
int holdfast_unmap(void *start, size_t length);

#ifdef __cplusplus
}
#endif
#endif
