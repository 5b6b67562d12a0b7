/* libfuse 3's low-level API for Swift, and the few system headers a mount needs that Glibc's module lacks.
 * Swift imports neither function-like macros nor variadics: what we use of those is re-exported here. */
#ifndef HOLDFAST_CFUSE3_SHIM_H
#define HOLDFAST_CFUSE3_SHIM_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define FUSE_USE_VERSION 312
#include <fuse3/fuse.h>
#include <fuse3/fuse_lowlevel.h>
#include <linux/fs.h>
#include <sys/mount.h>

/* fuse_session_new is a macro in newer versions of the library. */
static inline struct fuse_session *holdfast_session_new(const struct fuse_lowlevel_ops *operations, void *userdata) {
  char name[] = "holdfast";
  char *arguments[] = {name, NULL};
  struct fuse_args args = FUSE_ARGS_INIT(1, arguments);
  return fuse_session_new(&args, operations, sizeof(*operations), userdata);
}

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
#endif
