/* System calls and constants the mounted tests make that Swift cannot import: Linux's own ones (glibc's module is
 * compiled without _GNU_SOURCE), variadics, macros with casts. Thin wrappers, nothing else. */
#ifndef MOUNTED_SUPPORT_H
#define MOUNTED_SUPPORT_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
/* The same fd_set as Swift's module of glibc has: see CPlatform's platform.h. */
#include <features.h>
#pragma push_macro("__USE_XOPEN")
#undef __USE_XOPEN
#include <sys/select.h>
#pragma pop_macro("__USE_XOPEN")

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static const int hmt_o_direct = O_DIRECT;
static const int hmt_o_tmpfile = O_TMPFILE;
static const int hmt_o_path = O_PATH;
static const int hmt_seek_data = SEEK_DATA;
static const int hmt_seek_hole = SEEK_HOLE;
static const int hmt_at_empty_path = AT_EMPTY_PATH;
static const int hmt_at_symlink_follow = AT_SYMLINK_FOLLOW;
static const long hmt_utime_now = UTIME_NOW;
static const long hmt_utime_omit = UTIME_OMIT;

static const int hmt_keep_size = FALLOC_FL_KEEP_SIZE;
static const int hmt_punch_hole = FALLOC_FL_PUNCH_HOLE;
static const int hmt_zero_range = FALLOC_FL_ZERO_RANGE;
static const int hmt_collapse_range = FALLOC_FL_COLLAPSE_RANGE;
static const int hmt_insert_range = FALLOC_FL_INSERT_RANGE;

static const unsigned long hmt_ficlone = FICLONE;
static const unsigned long hmt_getflags = FS_IOC_GETFLAGS;
static const unsigned long hmt_setflags = FS_IOC_SETFLAGS;
static const unsigned long hmt_fsgetxattr = FS_IOC_FSGETXATTR;
static const unsigned long hmt_fssetxattr = FS_IOC_FSSETXATTR;
static const uint32_t hmt_immutable_flag = FS_IMMUTABLE_FL;
static const uint32_t hmt_append_flag = FS_APPEND_FL;
static const uint32_t hmt_no_dump_flag = FS_NODUMP_FL;

static const unsigned int hmt_rename_noreplace = RENAME_NOREPLACE;
static const unsigned int hmt_rename_exchange = RENAME_EXCHANGE;
static const unsigned int hmt_rename_whiteout = RENAME_WHITEOUT;

static inline const char *hmt_error_name(int code) { return strerrorname_np(code); }
static inline int hmt_open(const char *path, int flags, mode_t mode) { return open(path, flags | O_CLOEXEC, mode); }
static inline int hmt_ioctl(int fd, unsigned long request, void *argument) { return ioctl(fd, request, argument); }
static inline int hmt_fallocate(int fd, int mode, int64_t offset, int64_t length) {
  return fallocate(fd, mode, offset, length);
}
static inline int hmt_rename(const char *from, const char *to, unsigned int flags) {
  return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}
static inline ssize_t hmt_copy_file_range(int in, int64_t from, int out, int64_t to, size_t length) {
  loff_t a = from, b = to;
  return syscall(SYS_copy_file_range, in, &a, out, &b, length, 0);
}
static inline int hmt_mknod(const char *path, mode_t mode, unsigned int major, unsigned int minor) {
  return mknod(path, mode, makedev(major, minor));
}
static inline unsigned int hmt_major(dev_t device) { return major(device); }
static inline unsigned int hmt_minor(dev_t device) { return minor(device); }
static inline int hmt_syncfs(int fd) { return syncfs(fd); }
static inline int hmt_umount(const char *path, int lazy) { return (int)syscall(SYS_umount2, path, lazy ? 2 : 0); }
static inline int hmt_mount(const char *source, const char *target, const char *type) {
  return (int)syscall(SYS_mount, source, target, type, 0, "");
}
static inline int hmt_remount(const char *target, int read_only) {
  return (int)syscall(SYS_mount, "none", target, NULL, 32 /* MS_REMOUNT */ | (read_only ? 1 : 0), NULL);
}

/* MAP_SHARED of a file; NULL with errno. */
static inline void *hmt_map(int fd, size_t length, int writable) {
  void *start = mmap(NULL, length, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
  return start == MAP_FAILED ? NULL : start;
}

/* FIBMAP: the number of a block of the file becomes that of the device's. */
static const unsigned long hmt_fibmap = FIBMAP;

/* Swapping: `path` gets priority over what the machine swaps to by itself. */
static inline int hmt_swapon(const char *path) { return (int)syscall(SYS_swapon, path, 0x8000 | 32000); }
static inline int hmt_swapoff(const char *path) { return (int)syscall(SYS_swapoff, path); }

/* Private memory; NULL with errno. And a wish to the kernel to swap it out. */
static inline void *hmt_map_private(size_t length) {
  void *start = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return start == MAP_FAILED ? NULL : start;
}
static inline int hmt_page_out(void *start, size_t length) { return madvise(start, length, 21 /* MADV_PAGEOUT */); }

/* Faults of this process that waited for a device: getrusage(2)'s tenth word, as <sys/resource.h> is another with
 * _GNU_SOURCE than Swift's module of glibc has. */
static inline long hmt_major_faults(void) {
  long usage[18];
  return syscall(SYS_getrusage, 0, usage) == 0 ? usage[9] : -1;
}

/* A descriptor of another process, duplicated. */
static inline int hmt_descriptor_of(pid_t pid, int descriptor) {
  int process = (int)syscall(SYS_pidfd_open, pid, 0);
  if (process < 0) return -1;
  int duplicate = (int)syscall(SYS_pidfd_getfd, process, descriptor, 0);
  int code = errno;
  close(process);
  errno = code;
  return duplicate;
}

/* An epoll set that waits for EPOLLPRI of one file; what came within so many milliseconds, 0 nothing. */
static inline int hmt_epoll_priority(int fd) {
  int set = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLPRI};
  return set < 0 || epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) != 0 ? -1 : set;
}
static inline int hmt_epoll_events(int set, int milliseconds) {
  struct epoll_event event = {0};
  int count = epoll_wait(set, &event, 1, milliseconds);
  return count == 1 ? (int)event.events : count;
}

/* Locks: POSIX (of the process) or of the open file description. -1 with errno. */
static inline int hmt_record_lock(int fd, int ofd, short type, int64_t start, int64_t length) {
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length, .l_pid = 0};
  return fcntl(fd, ofd ? F_OFD_SETLK : F_SETLK, &lock);
}

/* Whether somebody else's lock lies on a byte: 1, 0, or -1 with errno. */
static inline int hmt_is_locked(int fd, int64_t byte) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1, .l_pid = 0};
  if (fcntl(fd, F_OFD_GETLK, &lock) < 0) return -1;
  return lock.l_type != F_UNLCK;
}

/* File handles (open_by_handle_at): opaque bytes. */
#define HMT_HANDLE_BYTES 128
struct hmt_handle {
  struct {
    unsigned int handle_bytes;
    int handle_type;
    unsigned char bytes[HMT_HANDLE_BYTES];
  } handle;
};
static inline int hmt_handle_of(const char *path, struct hmt_handle *handle) {
  int mount = 0;
  handle->handle.handle_bytes = HMT_HANDLE_BYTES;
  return (int)syscall(SYS_name_to_handle_at, AT_FDCWD, path, handle, &mount, 0);
}
static inline int hmt_open_handle(int mount, struct hmt_handle *handle, int flags) {
  return (int)syscall(SYS_open_by_handle_at, mount, handle, flags | O_CLOEXEC);
}

/* One descriptor through a socket. */
static inline int hmt_send_descriptor(int socket, int fd) {
  char byte = 'd', control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec part = {.iov_base = &byte, .iov_len = 1};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &fd, sizeof(int));
  return sendmsg(socket, &message, 0) == 1 ? 0 : -1;
}
static inline int hmt_receive_descriptor(int socket) {
  char byte, control[CMSG_SPACE(sizeof(int))];
  struct iovec part = {.iov_base = &byte, .iov_len = 1};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
  if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1) return -1;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  int fd = -1;
  if (header) memcpy(&fd, CMSG_DATA(header), sizeof(int));
  return fd;
}
static inline int hmt_socket_pair(int ends[2]) { return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends); }
static inline int hmt_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

/* fork(2), which Swift hides: for the test agent, whose one thread only waits in the child. */
static inline pid_t hmt_fork(void) { return fork(); }
static inline int hmt_memory_file(void) { return memfd_create("captured", MFD_CLOEXEC); }
/* A child has ended and nobody has waited for it. */
static inline int hmt_is_zombie(pid_t child) {
  siginfo_t information = {0};
  return waitid(P_PID, (id_t)child, &information, WEXITED | WNOHANG | WNOWAIT) == 0 && information.si_pid == child;
}
static inline pid_t hmt_thread_id(void) { return (pid_t)syscall(SYS_gettid); }
static inline int hmt_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

/* Becomes another user for good; keeps CAP_LINUX_IMMUTABLE alone if asked to. */
static inline int hmt_become(uid_t uid, gid_t gid, int keep_immutable) {
  if (syscall(SYS_setgroups, 0, NULL) < 0) return -1;
  if (keep_immutable && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) return -1;
  if (syscall(SYS_setresgid, gid, gid, gid) < 0 || syscall(SYS_setresuid, uid, uid, uid) < 0) return -1;
  if (!keep_immutable) return 0;
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct data[2] = {{0}, {0}};
  data[0].effective = data[0].permitted = 1u << CAP_LINUX_IMMUTABLE;
  return (int)syscall(SYS_capset, &header, data);
}
#endif
