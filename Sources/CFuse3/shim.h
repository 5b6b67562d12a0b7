/* libfuse 3's low-level API for Swift, and the few system headers a mount needs that Glibc's module lacks.
 * Swift imports neither function-like macros nor variadics: what we use of those is re-exported here. */
#ifndef HOLDFAST_CFUSE3_SHIM_H
#define HOLDFAST_CFUSE3_SHIM_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
/* The same fd_set as Swift's module of glibc has: see CPlatform's platform.h. */
#include <features.h>
#pragma push_macro("__USE_XOPEN")
#undef __USE_XOPEN
#include <sys/select.h>
#pragma pop_macro("__USE_XOPEN")

#define FUSE_USE_VERSION 312
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <fuse3/fuse_lowlevel.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/xattr.h>
#include <unistd.h>

/* fuse_session_new is a macro in newer versions of the library. */
static inline struct fuse_session *holdfast_session_new(const struct fuse_lowlevel_ops *operations, void *userdata) {
  char name[] = "holdfast";
  char *arguments[] = {name, NULL};
  struct fuse_args args = FUSE_ARGS_INIT(1, arguments);
  return fuse_session_new(&args, operations, sizeof(*operations), userdata);
}

/* Glibc's module is compiled without _GNU_SOURCE and lacks these. */
static inline int holdfast_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }
static inline void holdfast_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }
static inline int holdfast_sync_filesystem(int fd) { return syncfs(fd); }
static inline int holdfast_detach(const char *mount_point) { return umount2(mount_point, MNT_DETACH); }

static const unsigned int holdfast_fs_ioc_getflags = FS_IOC_GETFLAGS;
static const unsigned int holdfast_fs_ioc_setflags = FS_IOC_SETFLAGS;
static const unsigned int holdfast_fs_ioc_fsgetxattr = FS_IOC_FSGETXATTR;
static const unsigned int holdfast_fs_ioc_fssetxattr = FS_IOC_FSSETXATTR;

/* mount(2)'s flags, which are an enumeration in glibc and macros in the kernel's header. */
static const unsigned long holdfast_ms_rdonly = MS_RDONLY;
static const unsigned long holdfast_ms_nosuid = MS_NOSUID;
static const unsigned long holdfast_ms_nodev = MS_NODEV;
static const unsigned long holdfast_ms_noexec = MS_NOEXEC;
static const unsigned long holdfast_ms_synchronous = MS_SYNCHRONOUS;
static const unsigned long holdfast_ms_dirsync = MS_DIRSYNC;
static const unsigned long holdfast_ms_noatime = MS_NOATIME;
static const unsigned long holdfast_ms_nodiratime = MS_NODIRATIME;
static const unsigned long holdfast_ms_relatime = MS_RELATIME;
static const unsigned long holdfast_ms_strictatime = MS_STRICTATIME;
static const unsigned long holdfast_ms_lazytime = MS_LAZYTIME;

static const int holdfast_xattr_create = XATTR_CREATE;
static const int holdfast_xattr_replace = XATTR_REPLACE;
#endif
