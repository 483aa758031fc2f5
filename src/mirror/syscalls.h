/* The table of system calls: what becomes of each when the mirror makes it (CloneCloud section 3.3,
 * "Augmenter").
 *
 * One row per call of Linux 6.18, for x86-64 and for the generic table that aarch64 uses. The seccomp filter
 * (syscall_filter.h), the routing in the Augmenter and the marshalling of forwarded calls (pincall.h) all
 * read it. docs/system-calls.md explains the classes. Argument indexes count from 0. */
#pragma once

#include <glib.h>
#include <linux/audit.h>

#if defined(__x86_64__)
#define SYSCALL_AUDIT_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define SYSCALL_AUDIT_ARCH AUDIT_ARCH_AARCH64
#else
#error "the table of system calls knows x86-64 and aarch64 only"
#endif

#define SYSCALL_ARGS 6

typedef enum {
  SYSCALL_CUT,     /* the block ends before the call and the device makes it */
  SYSCALL_NATIVE,  /* the mirror makes it, it is never stopped */
  SYSCALL_FD,      /* forwarded where a descriptor is a pin, else native */
  SYSCALL_PATH,    /* the path is checked first, then native; forwarded where the path is a device's
                      (MAY_FORWARD) */
  SYSCALL_FORWARD, /* always made by the primary */
  SYSCALL_SPECIAL, /* code decides, see SyscallHandler */
} SyscallClass;

/* What has to be thought of before a SPECIAL call is let through. */
typedef enum {
  SYSCALL_HANDLER_NONE,
  SYSCALL_HANDLER_FORK,      /* a new process or thread */
  SYSCALL_HANDLER_EXEC,      /* another program in this process */
  SYSCALL_HANDLER_EXIT,      /* of a thread, or of all of them */
  SYSCALL_HANDLER_WAIT,      /* for a child: the mirror's own, or one that the primary had before */
  SYSCALL_HANDLER_SIGNAL,    /* to a process: inside the mirror natively, outside forwarded */
  SYSCALL_HANDLER_SIGACTION, /* native; the capture must look at the handlers again */
  SYSCALL_HANDLER_SIGWAIT,   /* waits for a signal, which may reach the primary while it blocks it */
  SYSCALL_HANDLER_PIDFD,     /* descriptors of processes */
  SYSCALL_HANDLER_GROUP,     /* process groups and sessions, inside the mirror or outside */
  SYSCALL_HANDLER_MAP,       /* a mapping of a descriptor (anonymous ones are never stopped) */
  SYSCALL_HANDLER_POLL,      /* a set of descriptors, pins and others mixed */
  SYSCALL_HANDLER_EPOLL,     /* the same, kept in the kernel */
  SYSCALL_HANDLER_LOCAL, /* makes a descriptor without a file behind it (pipe, eventfd, socketpair, inotify,
                            …) */
  SYSCALL_HANDLER_CWD,   /* native after the check of the path; a change that goes home with the delta */
  SYSCALL_HANDLER_UMASK, /* the same without a path */
  SYSCALL_HANDLER_LIMIT, /* resource limits: the device's are the truth, the mirror gets the same where it can
                          */
  SYSCALL_HANDLER_CLOSE_RANGE, /* native, but for CLOSE_RANGE_UNSHARE, which is a cut */
  SYSCALL_HANDLER_MEMORY,      /* natively, once what it is about is there */
  SYSCALL_HANDLER_CPU_TIME,    /* what the primary has used, plus what the mirror has */
  SYSCALL_HANDLER_CPU,         /* answered with a processor that the device has too */
  SYSCALL_HANDLER_PRCTL,       /* by option: syscall_prctl_class() */
  SYSCALL_HANDLER_PERSONALITY, /* a question is answered without the flag that doppel set; a change is a cut
                                */
  SYSCALL_HANDLER_MEMBARRIER,  /* a registration: made on both sides, since it is a property of the process */
  SYSCALL_HANDLERS,
} SyscallHandler;

typedef enum {
  SYSCALL_RETURNS_FD = 1 << 0,  /* the return value is a new descriptor */
  SYSCALL_MAY_FORWARD = 1 << 1, /* of PATH and SPECIAL: the device accepts it as a forwarded call */
  SYSCALL_SHORT = 1 << 2,       /* may do less than asked, so long buffers may be cut down */
  SYSCALL_OUTPUT = 1 << 3,      /* appends bytes to what its first descriptor names */
  SYSCALL_INPUT = 1 << 4,       /* takes bytes away from what its first descriptor names */
  SYSCALL_BLOCKS = 1 << 5,      /* may wait for something outside the process */
  SYSCALL_CONSTANT =
      1 << 6, /* FORWARD, but the answer stays the same during a block: ask once, with equal arguments */
  SYSCALL_READINESS = 1 << 7, /* asks which descriptors are ready and changes nothing */
} SyscallFlags;

typedef enum {
  SYSCALL_ARG_NONE,        /* the call has no such argument */
  SYSCALL_ARG_INT,         /* a number, passed on as it is */
  SYSCALL_ARG_ADDRESS,     /* an address that means something in this process only: NULL where the call is
                              forwarded */
  SYSCALL_ARG_FD,          /* a descriptor */
  SYSCALL_ARG_DIRFD,       /* a directory's descriptor or AT_FDCWD */
  SYSCALL_ARG_PATH,        /* NUL-terminated, at most 4096 bytes */
  SYSCALL_ARG_STRING,      /* NUL-terminated, at most 256 bytes: the name of something that is no path */
  SYSCALL_ARG_IN,          /* array: argument `with` counts its elements of `size` bytes */
  SYSCALL_ARG_OUT,         /* the same as room; the return value counts the elements that came */
  SYSCALL_ARG_OUT_WHOLE,   /* the same, filled altogether by a call that succeeds */
  SYSCALL_ARG_OUT_BITS,    /* bits, argument `with` minus one of them, in whole longs; filled altogether */
  SYSCALL_ARG_IN_FIXED,    /* a structure of `size` bytes */
  SYSCALL_ARG_OUT_FIXED,   /* the same, filled by a call that succeeds */
  SYSCALL_ARG_INOUT_FIXED, /* the same, read and written, by a call that fails too */
  SYSCALL_ARG_OUT_KEPT,    /* filled, or in part, or not at all: what is not written stays as it was in the
                              mirror */
  SYSCALL_ARG_IN_SIZED,    /* a structure whose first 32 bits are its size */
  SYSCALL_ARG_IN_IOVEC,    /* argument `with` counts the pieces */
  SYSCALL_ARG_OUT_IOVEC,   /* the return value counts the bytes */
  SYSCALL_ARG_IN_MSGHDR,   /* of one message to send; `with` unused */
  SYSCALL_ARG_OUT_MSGHDR,  /* of one message to receive */
  SYSCALL_ARG_IN_MMSGHDR,  /* argument `with` counts the messages */
  SYSCALL_ARG_OUT_MMSGHDR, /* the same */
  SYSCALL_ARG_IN_SOCKADDR, /* argument `with` is its length */
  SYSCALL_ARG_OUT_VALUE, /* argument `with` points to its room, and to its length afterwards (socket address,
                            option) */
  SYSCALL_ARG_LENGTH_INOUT, /* that pointer, to 32 bits */
  SYSCALL_ARG_OUT_FDS,      /* two new descriptors */
  SYSCALL_ARG_POLLFDS,      /* argument `with` counts them */
  SYSCALL_ARG_FDSET,        /* argument `with` is the number of the highest descriptor plus one */
  SYSCALL_ARG_SIGSET,       /* argument `with` is its size, 8 */
  SYSCALL_ARG_SIGSET_PAIR,  /* pointer to {sigset *, size}: pselect6 */
  SYSCALL_ARG_IOCTL,        /* by the request in argument `with`: syscall_argument() tells */
  SYSCALL_ARG_FCNTL,        /* by the command in argument `with` */
  SYSCALL_ARG_UNSUPPORTED,  /* of syscall_argument() only: a request that cannot be forwarded */
} SyscallArgKind;

typedef struct {
  guint8 kind; /* SyscallArgKind */
  guint8 with; /* index of the argument that measures this one */
  guint16 size;
} SyscallArg;

/* What a call does to the thing that a path names; a set of bits. */
typedef enum {
  SYSCALL_PATH_LOOKS = 1 << 0,   /* at metadata */
  SYSCALL_PATH_OPENS = 1 << 1,   /* for reading its content */
  SYSCALL_PATH_WRITES = 1 << 2,  /* may change its content */
  SYSCALL_PATH_CREATES = 1 << 3, /* may come into being */
  SYSCALL_PATH_REMOVES = 1 << 4, /* may cease to be (by this name) */
  SYSCALL_PATH_CHANGES = 1 << 5, /* metadata changes */
  SYSCALL_PATH_ENTERS = 1 << 6,  /* becomes the working directory */
  SYSCALL_PATH_RUNS = 1 << 7,    /* is executed */
} SyscallPathUse;

typedef enum {
  SYSCALL_FOLLOW_ALWAYS,
  SYSCALL_FOLLOW_NEVER,
  SYSCALL_FOLLOW_UNLESS, /* AT_SYMLINK_NOFOLLOW is in the flags */
  SYSCALL_FOLLOW_IF,     /* AT_SYMLINK_FOLLOW is in the flags */
  SYSCALL_FOLLOW_OPEN,   /* neither O_NOFOLLOW nor O_CREAT with O_EXCL is in the flags of an open */
} SyscallFollow;

#define SYSCALL_AT_CWD (-1) /* as SyscallPath.dirfd: a relative path starts at the working directory */

typedef struct {
  guint8 use;     /* SyscallPathUse bits; 0: the row has no such path. Of an open: what its flags may add */
  gint8 path;     /* argument index */
  gint8 dirfd;    /* argument index or SYSCALL_AT_CWD */
  gint8 flags;    /* index of the argument with AT_ or O_ flags (of openat2: struct open_how *), or -1 */
  guint8 follow;  /* SyscallFollow: of the last component */
  gboolean empty; /* with AT_EMPTY_PATH the path may be "" and `dirfd` is meant */
  gboolean optional; /* the path may be NULL and `dirfd` is meant */
} SyscallPath;

/* When a call of another class than NATIVE needs no stop either; only the low 32 bits of an argument are
 * looked at. */
typedef enum {
  SYSCALL_WHEN_NEVER,
  SYSCALL_WHEN_BITS,    /* any of `mask` is set */
  SYSCALL_WHEN_NO_BITS, /* none of `mask` is set */
  SYSCALL_WHEN_ONE_OF,  /* the value is below 32 and its bit is in `mask` */
} SyscallWhen;

typedef struct {
  const char *name;
  gint nr;                       /* on the running architecture; negative: it has no such call */
  guint8 class;                  /* SyscallClass */
  guint8 handler;                /* SyscallHandler */
  guint16 flags;                 /* SyscallFlags */
  SyscallArg args[SYSCALL_ARGS]; /* all NONE in NATIVE and CUT rows: those never leave the process */
  SyscallPath paths[2];
  struct {
    guint8 test; /* SyscallWhen */
    guint8 arg;
    guint32 mask;
  } native_when;
} SyscallRow;

/* The row of a call of the running architecture, in constant time; NULL for a number without a row. */
const SyscallRow *syscall_row(long nr);

/* The row of a name, also where the running architecture has no such call. */
const SyscallRow *syscall_row_named(const char *name);

/* All rows, in the table's order. */
const SyscallRow *syscall_rows(guint *count);

const char *syscall_class_name(SyscallClass class);
const char *syscall_handler_name(SyscallHandler handler);

/* Whether the filter lets this call through without a stop. */
gboolean syscall_runs_unstopped(const SyscallRow *row, const guint64 args[SYSCALL_ARGS]);

/* What argument `index` is in this very call: ioctl and fcntl arguments resolved by their request, an option
 * that holds pointers of its own (socket filters, …) as UNSUPPORTED. Never IOCTL or FCNTL. */
SyscallArg syscall_argument(const SyscallRow *row, const guint64 args[SYSCALL_ARGS], guint index);

/* Whether a call on a pin is right on its placeholder, because it concerns the descriptor and not the thing:
 * close-on-exec flags and duplicates. Such a call is native. */
gboolean syscall_stays_on_placeholder(const SyscallRow *row, const guint64 args[SYSCALL_ARGS]);

/* Of prctl and arch_prctl by their option: NATIVE, FORWARD (its arguments are plain numbers) or CUT. */
SyscallClass syscall_prctl_class(const SyscallRow *row, const guint64 args[SYSCALL_ARGS]);

/* The O_ flags of a row that opens. openat2's are in memory: the caller reads the first 8 bytes of its struct
 * open_how and passes them as `how_flags`, which the other calls ignore. */
guint64 syscall_open_flags(const SyscallRow *row, const guint64 args[SYSCALL_ARGS], guint64 how_flags);

/* SyscallPathUse bits of path 0 or 1 in this very call: an open's flags are taken into account. 0: no such
 * path. */
guint syscall_path_use(const SyscallRow *row, guint index, const guint64 args[SYSCALL_ARGS],
                       guint64 how_flags);

/* Whether the last component of path 0 or 1 is followed where it is a symbolic link. */
gboolean syscall_path_follows(const SyscallRow *row, guint index, const guint64 args[SYSCALL_ARGS],
                              guint64 how_flags);

/* Whether descriptors that this call makes are to be close-on-exec. */
gboolean syscall_makes_cloexec(const SyscallRow *row, const guint64 args[SYSCALL_ARGS], guint64 how_flags);
