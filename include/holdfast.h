/* SPDX-License-Identifier: MIT
 * The ioctls of an open file on a Holdfast mount. docs/ABI.md explains each; this is C because it is
 * what C programs include. Every structure begins with its version and is checked exactly; reserved
 * fields must be zero. Sizes stay below FUSE's 16,383-byte limit.
 */
#ifndef HOLDFAST_H
#define HOLDFAST_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define HOLDFAST_ABI_VERSION 1

/* Names: 1 to 64 of A-Za-z0-9_- and a terminating NUL. */
#define HOLDFAST_NAME_BYTES 72

/* struct holdfast_seal.flags */
#define HOLDFAST_SEAL_BREAKABLE  0x01u /* else hard */
#define HOLDFAST_SEAL_FILL       0x02u /* allocate, zero, unshare, fsync, then seal */
#define HOLDFAST_SEAL_AS_IS      0x04u /* seal what there is; holes stay holes */
#define HOLDFAST_SEAL_PERSISTENT 0x08u /* survives remount; named requests only */
#define HOLDFAST_SEAL_CREATE     0x10u /* EEXIST when the request (uid, name) stands already */
#define HOLDFAST_SEAL_NAMED      0x20u /* a named request as setfattr makes it, not one bound to this handle */

/* Why a range cannot be sealed as it stands: struct holdfast_seal.defect */
#define HOLDFAST_DEFECT_NONE      0u
#define HOLDFAST_DEFECT_HOLE      1u
#define HOLDFAST_DEFECT_UNWRITTEN 2u
#define HOLDFAST_DEFECT_SHARED    3u

/* SEAL, UNSEAL, PIN, UNPIN. In: all but the last group. A handle-bound request is identified by
 * (handle, name), the empty name allowed, a handle-bound pin by (handle, name, blocks); a named one by
 * (inode, uid of the caller, name), "" meaning the default request of `holdfast.seal`. PIN and UNPIN take a
 * range, SEAL and UNSEAL must have offset = length = 0. */
struct holdfast_seal {
	__u32 version;
	__u32 flags;
	__u64 offset;        /* bytes; PIN and UNPIN only, rounded outward to blocks of 4096 */
	__u64 length;        /* likewise */
	__u32 grace_seconds; /* breakable: 0 for the mount's default */
	__u32 ttl_seconds;   /* 0: none */
	__s32 pid;           /* bound to this process (pid in the caller's view of the daemon's namespace), 0: not */
	__u32 signal;        /* breakable with pid: sent to the process when it is asked to let go; 0: none */
	char name[HOLDFAST_NAME_BYTES];
	/* Out, also when the call fails with EINVAL for what lies in the range. */
	__u64 generation;    /* of the map */
	__u64 seal_count;    /* standing requests of the file */
	__u32 defect;        /* HOLDFAST_DEFECT_* */
	__u32 reserved_out;
	__u64 defect_offset; /* bytes */
	__u64 defect_length;
};

/* A lease: a lock of one byte on the image, F_OFD_SETLK with F_RDLCK, at this offset and the inode's number. Whoever
 * maps blocks of a file directly takes it *before* asking where they are; while the descriptor or any mapping made from
 * it lives, nobody else gets them. docs/ABI.md, Leases. */
#define HOLDFAST_LEASE_OFFSET 0x4000000000000000ull

/* PREPARE: allocate, zero and unshare a range so that it can be sealed. Length 0: to the end of the file. With CONTIGUOUS
 * also in one run of the image that begins at a multiple of `alignment` bytes, moving what must move: what is not to be
 * had is no error, `fulfilled` and what follows tell. */
#define HOLDFAST_PREPARE_CONTIGUOUS 0x1u
/* Why there is no longer run: struct holdfast_prepare.obstacles */
#define HOLDFAST_OBSTACLE_HELD       0x1u /* blocks that a request holds: obstacle_inode, obstacle_name */
#define HOLDFAST_OBSTACLE_METADATA   0x2u /* the filesystem's own blocks */
#define HOLDFAST_OBSTACLE_QUARANTINE 0x4u /* blocks somebody may still reach they were taken from */
#define HOLDFAST_OBSTACLE_SPACE      0x8u /* not that much free, or nowhere to move what is in the way */
struct holdfast_prepare {
	__u32 version;
	__u32 flags;     /* HOLDFAST_PREPARE_* */
	__u64 offset;
	__u64 length;
	__u64 alignment; /* CONTIGUOUS: bytes, a power of two from 4096 to 2^30; 0: none asked for */
	/* Out, with CONTIGUOUS. */
	__u32 fulfilled; /* 1: one run, aligned */
	__u32 obstacles; /* HOLDFAST_OBSTACLE_*, when not fulfilled */
	__u64 fragments; /* runs the range is in */
	__u64 longest;   /* bytes of the longest of them */
	__u64 longest_free;   /* bytes of the longest free run of the volume */
	__u64 moved;          /* bytes of this file that were moved */
	__u64 evacuated;      /* bytes of other files that made room */
	__u64 obstacle_inode; /* HELD: one of the files, and */
	char obstacle_name[HOLDFAST_NAME_BYTES]; /* the request on it */
};

/* DEFRAG: bring a range (length 0: all) of a file into as few runs of the image as free space allows. For who has it open
 * for writing, its owner and administrators. */
#define HOLDFAST_DEFRAG_SKIP_HELD 0x1u /* what requests hold is left where it is, and nobody recalled; else row 15 */
struct holdfast_defrag {
	__u32 version;
	__u32 flags;
	__u64 offset;
	__u64 length;
	/* Out. */
	__u64 fragments_before;
	__u64 fragments_after;
	__u64 moved;    /* bytes */
	__u64 skipped;  /* bytes held by requests */
	__u64 unplaced; /* bytes for which there was no longer run */
	__u32 obstacle_uid; /* of one of those requests: uid, process and name */
	__s32 obstacle_pid;
	char obstacle_name[HOLDFAST_NAME_BYTES];
};

/* MAP: extents from byte `offset` on, paged: call again from the end of the last extent until count is 0. */
#define HOLDFAST_EXTENT_UNWRITTEN 0x1u
#define HOLDFAST_EXTENT_SHARED    0x2u
struct holdfast_extent {
	__u64 logical;
	__u64 physical;
	__u64 length;
	__u32 flags;
	__u32 reserved;
};
#define HOLDFAST_MAP_EXTENTS 256
struct holdfast_map {
	__u32 version;
	__u32 count; /* out: extents filled */
	__u64 offset;
	__u64 generation; /* out */
	struct holdfast_extent extents[HOLDFAST_MAP_EXTENTS];
};

/* HOLDERS (of this file) and SEALS (of the whole mount, on any handle): a JSON array, the same as the
 * attributes holdfast.holders and holdfast.seals, paged by bytes of one snapshot. First call: cookie 0.
 * Pass the returned cookie and offset + length to go on; the page is the last when offset + length == total. */
#define HOLDFAST_JSON_BYTES 12288
struct holdfast_json {
	__u32 version;
	__u32 length; /* out: bytes in text */
	__u64 cookie;
	__u64 offset;
	__u64 total; /* out */
	char text[HOLDFAST_JSON_BYTES];
};

/* REVOKE: administrators only. Fences, then releases requests. */
#define HOLDFAST_REVOKE_ALL_FILES 0x1u /* of the whole mount */
#define HOLDFAST_REVOKE_BY_NAME   0x2u
#define HOLDFAST_REVOKE_BY_PID    0x4u
#define HOLDFAST_REVOKE_BY_INODE  0x8u /* of inode `inode` (unlinked ones too), else of the handle's file */
struct holdfast_revoke {
	__u32 version;
	__u32 flags;
	__u64 inode;
	__s32 pid;
	__u32 reserved;
	char name[HOLDFAST_NAME_BYTES];
	__u64 revoked; /* out: requests ended */
};

/* RECALL_STATUS: is this handle asked to let go? */
struct holdfast_recall_status {
	__u32 version;
	__u32 recalled;     /* out: 0 or 1 */
	__u64 remaining_ms; /* out: until the fence */
};

/* LAYOUT_GET: takes a request bound to this handle, as SEAL (length 0) or PIN (a range) does, and tells where the blocks
 * are. WRITE wants a handle open for writing, else one open for reading. docs/ABI.md, Layouts. */
#define HOLDFAST_LAYOUT_WRITE     0x01u /* stores through the image; else only loads */
#define HOLDFAST_LAYOUT_BREAKABLE 0x02u /* gives way to who needs the map changed; else hard */
#define HOLDFAST_LAYOUT_SHARED    0x04u /* WRITE beside handles that use the page cache: close-to-open consistency */
#define HOLDFAST_LAYOUT_AS_IS     0x08u /* holes and unwritten blocks are no error: `state` tells them */
#define HOLDFAST_LAYOUT_PAGE      0x10u /* takes nothing: more extents of the layout `layout_id`, from `cursor` on */

/* Processes that EBUSY names. */
#define HOLDFAST_LAYOUT_BUSY 7
struct holdfast_layout {
	__u32 version;
	__u32 flags;         /* HOLDFAST_LAYOUT_* */
	__u64 offset;        /* bytes, rounded outward to blocks of 4096 */
	__u64 length;        /* 0: the whole file (offset 0 then) */
	__u32 grace_seconds; /* breakable: 0 for the mount's default */
	__u32 ttl_seconds;   /* 0: none */
	__u64 layout_id;     /* out; in with PAGE */
	__u64 cursor;        /* in with PAGE: byte of the file to go on from. Out: that of the next page, 0 when this was the last */
	/* Out. */
	__u64 generation;    /* of the map */
	__u64 inode;
	__u64 file_size;     /* bytes */
	__u64 lease_offset;  /* byte of the image to lock: to be held before this call, see Leases */
	__u64 image_device;  /* st_dev of the image, as stat(2) and makedev(3) have it */
	__u64 image_inode;   /* st_ino */
	__u64 image_rdev;    /* st_rdev of a block device, else 0 */
	__u64 image_bytes;   /* of the volume; the image may be longer */
	__u8 volume_uuid[16];
	/* Out, with EINVAL: why not. */
	__u32 defect;        /* HOLDFAST_DEFECT_* */
	__u32 busy_count;    /* with EBUSY: other handles that use the page cache */
	__u64 defect_offset;
	__u64 defect_length;
	__s32 busy_pid[HOLDFAST_LAYOUT_BUSY]; /* processes that opened them, the first so many; 0: none */
	__u32 extent_count;  /* filled below; they begin and end where the layout does, holes are left out */
	struct holdfast_extent extents[HOLDFAST_MAP_EXTENTS];
};

/* LAYOUT_RETURN: releases the layout; with SIZE and TIMES what was done with it becomes the file's. */
#define HOLDFAST_LAYOUT_SET_SIZE  0x1u /* to `size`: what lies between the old end and it has been stored through the layout */
#define HOLDFAST_LAYOUT_SET_TIMES 0x2u /* modification and change time: now */
struct holdfast_layout_return {
	__u32 version;
	__u32 flags;
	__u64 layout_id;
	__u64 size;       /* bytes; 0 without SET_SIZE */
	__u64 generation; /* out */
	__u64 file_size;  /* out */
};

/* Daemon control, on the root directory. */
struct holdfast_sync {
	__u32 version;
	__u32 reserved;
};
/* Remount: our own options, comma-separated and NUL-terminated. Administrators only. */
#define HOLDFAST_OPTIONS_BYTES 1024
struct holdfast_remount {
	__u32 version;
	__u32 reserved;
	char options[HOLDFAST_OPTIONS_BYTES];
};
/* RESIZE: makes the volume larger or smaller, while it is in use. Administrators only, on any handle. It may take minutes;
 * a signal ends it (EINTR), and the size is what it was. docs/ABI.md, Resize. */
#define HOLDFAST_RESIZE_GROW     0x1u /* to `size` bytes; 0: all that its file or device has */
#define HOLDFAST_RESIZE_SHRINK   0x2u
#define HOLDFAST_RESIZE_PROGRESS 0x4u /* changes nothing: how far is the one under way (ENODATA when there is none) */

/* struct holdfast_resize.outcome */
#define HOLDFAST_RESIZE_DONE       0u
#define HOLDFAST_RESIZE_OBSTRUCTED 1u /* ETXTBSY: `obstacles` */
#define HOLDFAST_RESIZE_NO_ROOM    2u /* ENOSPC: what is used does not fit */
#define HOLDFAST_RESIZE_TOO_SMALL  3u /* EINVAL: no volume with this journal is that small */

/* struct holdfast_resize_obstacle.reason */
#define HOLDFAST_RESIZE_OBSTACLE_REQUEST    0u /* a request that does not give way */
#define HOLDFAST_RESIZE_OBSTACLE_HOLDER     1u /* somebody may reach the blocks without one: a lease, a fenced holder */
#define HOLDFAST_RESIZE_OBSTACLE_QUARANTINE 2u /* the same, of blocks that have left the file */

#define HOLDFAST_COMMAND_BYTES 16
struct holdfast_resize_obstacle {
	__u64 inode;
	__u64 offset;   /* bytes of the file; length 0 for blocks that have left it */
	__u64 length;
	__u64 image_end; /* bytes of the image: it keeps the volume from being smaller than this */
	__u32 reason;   /* HOLDFAST_RESIZE_OBSTACLE_* */
	__s32 pid;      /* of the holder, 0 when not known */
	__u32 uid;
	__u32 reserved;
	char name[HOLDFAST_NAME_BYTES];
	char command[HOLDFAST_COMMAND_BYTES]; /* of the holder; both end with a NUL */
};

#define HOLDFAST_RESIZE_OBSTACLES 100
struct holdfast_resize {
	__u32 version;
	__u32 flags;         /* one of HOLDFAST_RESIZE_* */
	__u64 size;          /* bytes; 0 with PROGRESS */
	/* Out, also when the call fails with ETXTBSY, ENOSPC or EINVAL for what `outcome` says. */
	__u32 outcome;
	__u32 cut_errno;     /* the volume is smaller, but its file could not be cut: why; else 0 */
	__u64 previous_size; /* bytes */
	__u64 current_size;
	__u64 smallest_size; /* that is possible now */
	__u64 moved_blocks;  /* of 4096 bytes */
	__u64 planned_blocks;
	__u32 obstacle_count; /* all there are, the first HOLDFAST_RESIZE_OBSTACLES of them below */
	__u32 reserved;
	struct holdfast_resize_obstacle obstacles[HOLDFAST_RESIZE_OBSTACLES];
};
/* INFO: a JSON object about the mount: daemon pid, image, label, uuid, options, usage. */

#define HOLDFAST_IOC_MAGIC 'H'
#define HOLDFAST_IOC_SEAL          _IOWR(HOLDFAST_IOC_MAGIC, 0x01, struct holdfast_seal)
#define HOLDFAST_IOC_UNSEAL        _IOWR(HOLDFAST_IOC_MAGIC, 0x02, struct holdfast_seal)
#define HOLDFAST_IOC_PIN           _IOWR(HOLDFAST_IOC_MAGIC, 0x03, struct holdfast_seal)
#define HOLDFAST_IOC_UNPIN         _IOWR(HOLDFAST_IOC_MAGIC, 0x04, struct holdfast_seal)
#define HOLDFAST_IOC_PREPARE       _IOWR(HOLDFAST_IOC_MAGIC, 0x05, struct holdfast_prepare)
#define HOLDFAST_IOC_LAYOUT_GET    _IOWR(HOLDFAST_IOC_MAGIC, 0x06, struct holdfast_layout)
#define HOLDFAST_IOC_LAYOUT_RETURN _IOWR(HOLDFAST_IOC_MAGIC, 0x07, struct holdfast_layout_return)
#define HOLDFAST_IOC_RECALL_STATUS _IOWR(HOLDFAST_IOC_MAGIC, 0x08, struct holdfast_recall_status)
#define HOLDFAST_IOC_HOLDERS       _IOWR(HOLDFAST_IOC_MAGIC, 0x09, struct holdfast_json)
#define HOLDFAST_IOC_MAP           _IOWR(HOLDFAST_IOC_MAGIC, 0x0a, struct holdfast_map)
#define HOLDFAST_IOC_SEALS         _IOWR(HOLDFAST_IOC_MAGIC, 0x0b, struct holdfast_json)
#define HOLDFAST_IOC_REVOKE        _IOWR(HOLDFAST_IOC_MAGIC, 0x0c, struct holdfast_revoke)
#define HOLDFAST_IOC_SYNC          _IOWR(HOLDFAST_IOC_MAGIC, 0x0d, struct holdfast_sync)
#define HOLDFAST_IOC_REMOUNT       _IOWR(HOLDFAST_IOC_MAGIC, 0x0e, struct holdfast_remount)
#define HOLDFAST_IOC_INFO          _IOWR(HOLDFAST_IOC_MAGIC, 0x0f, struct holdfast_json)
#define HOLDFAST_IOC_RESIZE        _IOWR(HOLDFAST_IOC_MAGIC, 0x10, struct holdfast_resize)
#define HOLDFAST_IOC_DEFRAG        _IOWR(HOLDFAST_IOC_MAGIC, 0x11, struct holdfast_defrag)

/* The functions of libholdfast, for programs that use it. */
#ifndef HOLDFAST_NO_LIBRARY
#include "holdfast-client.h"
#endif

#endif
