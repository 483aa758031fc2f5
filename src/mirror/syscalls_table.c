#include "mirror/syscalls_table.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "mirror/syscalls_numbers.h"

/* Structures whose size the C library's headers do not give as the kernel knows it. */
#define SIZE_TIMESPEC   16 /* and timeval */
#define SIZE_ITIMERSPEC 32 /* and itimerval */
#define SIZE_TMS        32
#define SIZE_SIGINFO    128
#define SIZE_SIGEVENT   64
#define SIZE_MQ_ATTR    64
#define SIZE_STATX      256
#define SIZE_CACHESTAT  40
#define SIZE_CAP_HEADER 8
#define SIZE_CAP_DATA   24

/* clang-format off */
/* Arguments, as short as a table wants them. A number is the index of the argument that measures. */
#define INT             {SYSCALL_ARG_INT}
#define COUNT           {SYSCALL_ARG_INT, 0, 4} /* measures another argument; above 32 bits is noise */
#define ADDRESS         {SYSCALL_ARG_ADDRESS}
#define FD_             {SYSCALL_ARG_FD}
#define DIRFD           {SYSCALL_ARG_DIRFD}
#define PATH_           {SYSCALL_ARG_PATH}
#define STRING          {SYSCALL_ARG_STRING}
#define IN(count)       {SYSCALL_ARG_IN, count, 1}
#define OUT(count)      {SYSCALL_ARG_OUT, count, 1}
#define OUT_OF(count, size) {SYSCALL_ARG_OUT, count, size}
#define WHOLE(count)    {SYSCALL_ARG_OUT_WHOLE, count, 1}
#define BITS(count)     {SYSCALL_ARG_OUT_BITS, count, 1}
#define GIVES(size)     {SYSCALL_ARG_IN_FIXED, 0, size}
#define GETS(size)      {SYSCALL_ARG_OUT_FIXED, 0, size}
#define KEPT(size)      {SYSCALL_ARG_OUT_KEPT, 0, size}
#define BOTH(size)      {SYSCALL_ARG_INOUT_FIXED, 0, size}
#define SIZED           {SYSCALL_ARG_IN_SIZED}
#define GATHER(count)   {SYSCALL_ARG_IN_IOVEC, count}
#define SCATTER(count)  {SYSCALL_ARG_OUT_IOVEC, count}
#define ADDRESSEE(size) {SYSCALL_ARG_IN_SOCKADDR, size}
#define VALUE(length)   {SYSCALL_ARG_OUT_VALUE, length}
#define LENGTH          {SYSCALL_ARG_LENGTH_INOUT, 0, 4}
#define TWO_FDS         {SYSCALL_ARG_OUT_FDS, 0, 8}
#define FDSET           {SYSCALL_ARG_FDSET, 0}
#define SIGNALS(size)   {SYSCALL_ARG_SIGSET, size, 8}

/* Rows. */
#define ROW(call, kind, ...)     {.name = #call, .nr = __NR_##call, .class = SYSCALL_##kind, __VA_ARGS__}
#define NATIVE(call)             ROW(call, NATIVE)
#define CUT(call)                ROW(call, CUT)
#define SPECIAL(call, code, ...) ROW(call, SPECIAL, .handler = SYSCALL_HANDLER_##code, __VA_ARGS__)
#define ARGS(...)                .args = {__VA_ARGS__}
#define FLAGS(set)               .flags = set
#define RETURNS_FD               SYSCALL_RETURNS_FD
#define MAY_FORWARD              SYSCALL_MAY_FORWARD
#define SHORT                    SYSCALL_SHORT
#define OUTPUT                   SYSCALL_OUTPUT
#define INPUT                    SYSCALL_INPUT
#define BLOCKS                   SYSCALL_BLOCKS
#define CONSTANT                 SYSCALL_CONSTANT
#define READINESS                SYSCALL_READINESS

/* Paths. NAMES: what it does to the thing, where the path, its directory and the flags are, and what is followed. */
#define NAMES(uses, at, directory, flag, how, ...) \
  {.use = uses, .path = at, .dirfd = directory, .flags = flag, .follow = SYSCALL_FOLLOW_##how, __VA_ARGS__}
#define ONE(...) .paths = {NAMES(__VA_ARGS__)}
#define TWO(...) .paths = {__VA_ARGS__}
#define CWD      SYSCALL_AT_CWD
#define LOOKS    SYSCALL_PATH_LOOKS
#define OPENS    SYSCALL_PATH_OPENS
#define WRITES   SYSCALL_PATH_WRITES
#define CREATES  SYSCALL_PATH_CREATES
#define REMOVES  SYSCALL_PATH_REMOVES
#define CHANGES  SYSCALL_PATH_CHANGES
#define EMPTY    .empty = TRUE
#define OPTIONAL .optional = TRUE

const SyscallRow syscalls_table[] = {
  /* Memory. mmap with MAP_ANONYMOUS is malloc's: it must cost nothing. */
  SPECIAL(mmap, MAP, ARGS(ADDRESS, INT, INT, INT, FD_, INT),
          .native_when = {SYSCALL_WHEN_BITS, 3, 0x20 /* MAP_ANONYMOUS, of both architectures */}),
  NATIVE(munmap), NATIVE(mprotect), NATIVE(brk), NATIVE(mincore), NATIVE(msync),
  /* What they do to a page must not be done to one that is missing (augmenter/demand.c). */
  SPECIAL(mremap, MEMORY, ARGS(ADDRESS, INT, INT, INT, ADDRESS)), SPECIAL(madvise, MEMORY, ARGS(ADDRESS, INT, INT)),
  NATIVE(mlock), NATIVE(mlock2), NATIVE(munlock), NATIVE(mlockall), NATIVE(munlockall),
  CUT(remap_file_pages), CUT(pkey_mprotect), CUT(pkey_alloc), CUT(pkey_free), CUT(memfd_secret), CUT(mseal),
  CUT(map_shadow_stack), CUT(userfaultfd), CUT(process_madvise), CUT(process_vm_readv), CUT(process_vm_writev),
  CUT(process_mrelease), CUT(mbind), CUT(set_mempolicy), CUT(set_mempolicy_home_node), CUT(migrate_pages),
  CUT(move_pages),
  ROW(get_mempolicy, FORWARD, ARGS(GETS(4), BITS(2), INT, ADDRESS, INT)),

  /* Threads and their synchronisation. Thread ids are the same in both twins. */
  NATIVE(futex), NATIVE(futex_waitv), NATIVE(futex_wake), NATIVE(futex_wait), NATIVE(futex_requeue),
  NATIVE(set_robust_list), NATIVE(get_robust_list), NATIVE(set_tid_address), NATIVE(rseq), NATIVE(sched_yield),
  NATIVE(getpid), NATIVE(gettid), NATIVE(restart_syscall),
  SPECIAL(membarrier, MEMBARRIER, ARGS(INT, INT, INT), FLAGS(MAY_FORWARD),
          .native_when = {SYSCALL_WHEN_NO_BITS, 0, 4 | 16 | 64 | 256 /* MEMBARRIER_CMD_REGISTER_* */}),
  SPECIAL(getcpu, CPU, ARGS(ADDRESS, ADDRESS, ADDRESS)),

  /* Processes. */
  SPECIAL(clone, FORK, ARGS(INT, ADDRESS, ADDRESS, ADDRESS, ADDRESS)),
  SPECIAL(clone3, FORK, ARGS(ADDRESS, INT)),
  SPECIAL(fork, FORK), SPECIAL(vfork, FORK),
  SPECIAL(execve, EXEC, ARGS(PATH_, ADDRESS, ADDRESS), ONE(SYSCALL_PATH_RUNS, 0, CWD, -1, ALWAYS)),
  SPECIAL(execveat, EXEC, ARGS(DIRFD, PATH_, ADDRESS, ADDRESS, INT), ONE(SYSCALL_PATH_RUNS, 1, 0, 4, UNLESS, EMPTY)),
  SPECIAL(exit, EXIT, ARGS(INT)), SPECIAL(exit_group, EXIT, ARGS(INT)),
  /* wait4 leaves its results alone where it returns 0, so what is there must survive the way there and back. */
  SPECIAL(wait4, WAIT, ARGS(INT, KEPT(4), INT, KEPT(sizeof(struct rusage))), FLAGS(MAY_FORWARD | BLOCKS)),
  SPECIAL(waitid, WAIT, ARGS(INT, INT, KEPT(SIZE_SIGINFO), INT, KEPT(sizeof(struct rusage))),
          FLAGS(MAY_FORWARD | BLOCKS)),
  SPECIAL(pidfd_open, PIDFD, ARGS(INT, INT), FLAGS(RETURNS_FD | MAY_FORWARD)),
  SPECIAL(pidfd_getfd, PIDFD, ARGS(FD_, INT, INT), FLAGS(RETURNS_FD)),
  SPECIAL(setpgid, GROUP, ARGS(INT, INT), FLAGS(MAY_FORWARD)), SPECIAL(getpgid, GROUP, ARGS(INT), FLAGS(MAY_FORWARD)),
  SPECIAL(getpgrp, GROUP, FLAGS(MAY_FORWARD)), SPECIAL(getsid, GROUP, ARGS(INT), FLAGS(MAY_FORWARD)),
  SPECIAL(setsid, GROUP),
  ROW(getppid, FORWARD),
  SPECIAL(prctl, PRCTL, ARGS(INT, INT, INT, INT, INT), FLAGS(MAY_FORWARD)),
  SPECIAL(arch_prctl, PRCTL, ARGS(INT, ADDRESS)),
  SPECIAL(personality, PERSONALITY, ARGS(INT)),
  CUT(ptrace), CUT(kcmp), CUT(unshare), CUT(setns), CUT(seccomp), CUT(landlock_create_ruleset), CUT(landlock_add_rule),
  CUT(landlock_restrict_self), CUT(modify_ldt), CUT(set_thread_area), CUT(get_thread_area), CUT(iopl), CUT(ioperm),
  CUT(perf_event_open), CUT(bpf), CUT(acct), CUT(uretprobe), CUT(uprobe),

  /* Signals. What waits for one, or asks, concerns the primary too: it may be the one that gets it. */
  NATIVE(rt_sigprocmask), NATIVE(rt_sigreturn), NATIVE(sigaltstack),
  SPECIAL(rt_sigaction, SIGACTION, ARGS(INT, ADDRESS, ADDRESS, INT)),
  SPECIAL(rt_sigpending, SIGWAIT, ARGS(WHOLE(1), INT), FLAGS(MAY_FORWARD)),
  SPECIAL(rt_sigtimedwait, SIGWAIT, ARGS(SIGNALS(3), GETS(SIZE_SIGINFO), GIVES(SIZE_TIMESPEC), INT),
          FLAGS(MAY_FORWARD | BLOCKS)),
  SPECIAL(rt_sigsuspend, SIGWAIT, ARGS(SIGNALS(1), INT), FLAGS(MAY_FORWARD | BLOCKS)),
  SPECIAL(pause, SIGWAIT, FLAGS(MAY_FORWARD | BLOCKS)),
  SPECIAL(kill, SIGNAL, ARGS(INT, INT), FLAGS(MAY_FORWARD)), SPECIAL(tkill, SIGNAL, ARGS(INT, INT), FLAGS(MAY_FORWARD)),
  SPECIAL(tgkill, SIGNAL, ARGS(INT, INT, INT), FLAGS(MAY_FORWARD)),
  SPECIAL(rt_sigqueueinfo, SIGNAL, ARGS(INT, INT, GIVES(SIZE_SIGINFO)), FLAGS(MAY_FORWARD)),
  SPECIAL(rt_tgsigqueueinfo, SIGNAL, ARGS(INT, INT, INT, GIVES(SIZE_SIGINFO)), FLAGS(MAY_FORWARD)),
  SPECIAL(pidfd_send_signal, SIGNAL, ARGS(FD_, INT, GIVES(SIZE_SIGINFO), INT), FLAGS(MAY_FORWARD)),

  /* Time. Clocks of the world run alike on both sides; those of the processor do not (the mask leaves out
   * CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, and the clocks of other processes and of descriptors). */
  SPECIAL(clock_gettime, CPU_TIME, ARGS(INT, GETS(SIZE_TIMESPEC)), .native_when = {SYSCALL_WHEN_ONE_OF, 0, ~0xcu}, FLAGS(MAY_FORWARD)),
  SPECIAL(times, CPU_TIME, ARGS(GETS(SIZE_TMS)), FLAGS(MAY_FORWARD)),
  SPECIAL(getrusage, CPU_TIME, ARGS(INT, GETS(sizeof(struct rusage))), FLAGS(MAY_FORWARD)),
  NATIVE(clock_getres), NATIVE(clock_nanosleep), NATIVE(nanosleep), NATIVE(gettimeofday), NATIVE(time),
  CUT(clock_settime), CUT(settimeofday), CUT(adjtimex), CUT(clock_adjtime),
  /* Timers end in signals to the primary, also after the block: they are the primary's. */
  ROW(alarm, FORWARD, ARGS(INT)),
  ROW(getitimer, FORWARD, ARGS(INT, GETS(SIZE_ITIMERSPEC))),
  ROW(setitimer, FORWARD, ARGS(INT, GIVES(SIZE_ITIMERSPEC), GETS(SIZE_ITIMERSPEC))),
  ROW(timer_create, FORWARD, ARGS(INT, GIVES(SIZE_SIGEVENT), GETS(4))),
  ROW(timer_settime, FORWARD, ARGS(INT, INT, GIVES(SIZE_ITIMERSPEC), GETS(SIZE_ITIMERSPEC))),
  ROW(timer_gettime, FORWARD, ARGS(INT, GETS(SIZE_ITIMERSPEC))),
  ROW(timer_getoverrun, FORWARD, ARGS(INT)), ROW(timer_delete, FORWARD, ARGS(INT)),

  /* Who and where the process is: the device's answers. Changes of identity are cuts, so these stay as they are. */
  ROW(getuid, FORWARD, FLAGS(CONSTANT)), ROW(geteuid, FORWARD, FLAGS(CONSTANT)), ROW(getgid, FORWARD, FLAGS(CONSTANT)),
  ROW(getegid, FORWARD, FLAGS(CONSTANT)), ROW(getresuid, FORWARD, ARGS(GETS(4), GETS(4), GETS(4)), FLAGS(CONSTANT)),
  ROW(getresgid, FORWARD, ARGS(GETS(4), GETS(4), GETS(4)), FLAGS(CONSTANT)),
  ROW(getgroups, FORWARD, ARGS(COUNT, OUT_OF(0, 4)), FLAGS(CONSTANT)),
  ROW(capget, FORWARD, ARGS(BOTH(SIZE_CAP_HEADER), KEPT(SIZE_CAP_DATA)), FLAGS(CONSTANT)),
  CUT(setuid), CUT(setgid), CUT(setreuid), CUT(setregid), CUT(setresuid), CUT(setresgid), CUT(setfsuid), CUT(setfsgid),
  CUT(setgroups), CUT(capset),
  ROW(uname, FORWARD, ARGS(GETS(sizeof(struct utsname)))),
  ROW(sethostname, FORWARD, ARGS(IN(1), COUNT)), ROW(setdomainname, FORWARD, ARGS(IN(1), COUNT)),
  ROW(sysinfo, FORWARD, ARGS(GETS(sizeof(struct sysinfo)))),
  ROW(syslog, FORWARD, ARGS(INT, OUT(2), COUNT), FLAGS(BLOCKS)),

  /* Scheduling: of the primary's own threads, for a block does not last; the number of processors is the device's. */
  ROW(sched_getaffinity, FORWARD, ARGS(INT, COUNT, OUT(1))), ROW(sched_setaffinity, FORWARD, ARGS(INT, COUNT, IN(1))),
  ROW(sched_getscheduler, FORWARD, ARGS(INT)), ROW(sched_setscheduler, FORWARD, ARGS(INT, INT, GIVES(4))),
  ROW(sched_getparam, FORWARD, ARGS(INT, GETS(4))), ROW(sched_setparam, FORWARD, ARGS(INT, GIVES(4))),
  ROW(sched_getattr, FORWARD, ARGS(INT, WHOLE(2), COUNT, INT)), ROW(sched_setattr, FORWARD, ARGS(INT, SIZED, INT)),
  ROW(sched_rr_get_interval, FORWARD, ARGS(INT, GETS(SIZE_TIMESPEC))),
  NATIVE(sched_get_priority_max), NATIVE(sched_get_priority_min),
  ROW(getpriority, FORWARD, ARGS(INT, INT)), ROW(setpriority, FORWARD, ARGS(INT, INT, INT)),
  ROW(ioprio_get, FORWARD, ARGS(INT, INT)), ROW(ioprio_set, FORWARD, ARGS(INT, INT, INT)),
  SPECIAL(getrlimit, LIMIT, ARGS(INT, GETS(sizeof(struct rlimit))), FLAGS(MAY_FORWARD)),
  SPECIAL(setrlimit, LIMIT, ARGS(INT, GIVES(sizeof(struct rlimit))), FLAGS(MAY_FORWARD)),
  SPECIAL(prlimit64, LIMIT, ARGS(INT, INT, GIVES(sizeof(struct rlimit)), GETS(sizeof(struct rlimit))),
          FLAGS(MAY_FORWARD)),

  /* Descriptors themselves. A placeholder follows close and dup by itself, and so does what the other twin learns from
   * /proc/PID/fd; stopping each close of an ordinary file would buy nothing. */
  NATIVE(close), NATIVE(dup), NATIVE(dup2), NATIVE(dup3),
  SPECIAL(close_range, CLOSE_RANGE, ARGS(INT, INT, INT)),
  /* F_DUPFD, F_GETFD and F_SETFD are 0, 1 and 2. */
  ROW(fcntl, FD, ARGS(FD_, INT, {SYSCALL_ARG_FCNTL, 1}), FLAGS(BLOCKS), .native_when = {SYSCALL_WHEN_ONE_OF, 1, 7}),
  ROW(ioctl, FD, ARGS(FD_, INT, {SYSCALL_ARG_IOCTL, 1}), FLAGS(BLOCKS)),

  /* Bytes in and out. */
  ROW(read, FD, ARGS(FD_, OUT(2), INT), FLAGS(SHORT | INPUT | BLOCKS)),
  ROW(write, FD, ARGS(FD_, IN(2), INT), FLAGS(SHORT | OUTPUT | BLOCKS)),
  ROW(readv, FD, ARGS(FD_, SCATTER(2), INT), FLAGS(SHORT | INPUT | BLOCKS)),
  ROW(writev, FD, ARGS(FD_, GATHER(2), INT), FLAGS(SHORT | OUTPUT | BLOCKS)),
  ROW(pread64, FD, ARGS(FD_, OUT(2), INT, INT), FLAGS(SHORT | BLOCKS)),
  ROW(pwrite64, FD, ARGS(FD_, IN(2), INT, INT), FLAGS(SHORT | BLOCKS)),
  ROW(preadv, FD, ARGS(FD_, SCATTER(2), INT, INT, INT), FLAGS(SHORT | BLOCKS)),
  ROW(pwritev, FD, ARGS(FD_, GATHER(2), INT, INT, INT), FLAGS(SHORT | BLOCKS)),
  ROW(preadv2, FD, ARGS(FD_, SCATTER(2), INT, INT, INT, INT), FLAGS(SHORT | BLOCKS)),
  ROW(pwritev2, FD, ARGS(FD_, GATHER(2), INT, INT, INT, INT), FLAGS(SHORT | BLOCKS)),
  ROW(sendfile, FD, ARGS(FD_, FD_, BOTH(8), INT), FLAGS(BLOCKS)),
  ROW(splice, FD, ARGS(FD_, BOTH(8), FD_, BOTH(8), INT, INT), FLAGS(BLOCKS)),
  ROW(tee, FD, ARGS(FD_, FD_, INT, INT), FLAGS(BLOCKS)),
  ROW(vmsplice, FD, ARGS(FD_, ADDRESS, INT, INT), FLAGS(BLOCKS)),
  ROW(copy_file_range, FD, ARGS(FD_, BOTH(8), FD_, BOTH(8), INT, INT), FLAGS(BLOCKS)),
  ROW(lseek, FD, ARGS(FD_, INT, INT)),

  /* Files by descriptor. */
  ROW(fstat, FD, ARGS(FD_, GETS(sizeof(struct stat)))), ROW(fstatfs, FD, ARGS(FD_, GETS(sizeof(struct statfs)))),
  ROW(fsync, FD, ARGS(FD_), FLAGS(BLOCKS)), ROW(fdatasync, FD, ARGS(FD_), FLAGS(BLOCKS)),
  ROW(syncfs, FD, ARGS(FD_), FLAGS(BLOCKS)), ROW(ftruncate, FD, ARGS(FD_, INT)),
  ROW(fallocate, FD, ARGS(FD_, INT, INT, INT)), ROW(flock, FD, ARGS(FD_, INT), FLAGS(BLOCKS)),
  ROW(fadvise64, FD, ARGS(FD_, INT, INT, INT)), ROW(readahead, FD, ARGS(FD_, INT, INT)),
  ROW(sync_file_range, FD, ARGS(FD_, INT, INT, INT)), ROW(fchmod, FD, ARGS(FD_, INT)), ROW(fchown, FD, ARGS(FD_, INT, INT)),
  ROW(getdents, FD, ARGS(FD_, OUT(2), COUNT), FLAGS(SHORT)), ROW(getdents64, FD, ARGS(FD_, OUT(2), COUNT), FLAGS(SHORT)),
  ROW(fsetxattr, FD, ARGS(FD_, STRING, IN(3), INT, INT)), ROW(fgetxattr, FD, ARGS(FD_, STRING, OUT(3), INT)),
  ROW(flistxattr, FD, ARGS(FD_, OUT(2), INT)), ROW(fremovexattr, FD, ARGS(FD_, STRING)),
  ROW(cachestat, FD, ARGS(FD_, GIVES(16), GETS(SIZE_CACHESTAT), INT)),
  NATIVE(sync),

  /* Sockets: all of them are the device's. */
  ROW(socket, FORWARD, ARGS(INT, INT, INT), FLAGS(RETURNS_FD)),
  ROW(bind, FD, ARGS(FD_, ADDRESSEE(2), COUNT)), ROW(connect, FD, ARGS(FD_, ADDRESSEE(2), COUNT), FLAGS(BLOCKS)),
  ROW(listen, FD, ARGS(FD_, INT)),
  ROW(accept, FD, ARGS(FD_, VALUE(2), LENGTH), FLAGS(RETURNS_FD | BLOCKS)),
  ROW(accept4, FD, ARGS(FD_, VALUE(2), LENGTH, INT), FLAGS(RETURNS_FD | BLOCKS)),
  ROW(getsockname, FD, ARGS(FD_, VALUE(2), LENGTH)), ROW(getpeername, FD, ARGS(FD_, VALUE(2), LENGTH)),
  ROW(sendto, FD, ARGS(FD_, IN(2), INT, INT, ADDRESSEE(5), COUNT), FLAGS(SHORT | OUTPUT | BLOCKS)),
  ROW(recvfrom, FD, ARGS(FD_, OUT(2), INT, INT, VALUE(5), LENGTH), FLAGS(SHORT | INPUT | BLOCKS)),
  ROW(sendmsg, FD, ARGS(FD_, {SYSCALL_ARG_IN_MSGHDR}, INT), FLAGS(SHORT | OUTPUT | BLOCKS)),
  ROW(recvmsg, FD, ARGS(FD_, {SYSCALL_ARG_OUT_MSGHDR}, INT), FLAGS(SHORT | INPUT | BLOCKS)),
  ROW(sendmmsg, FD, ARGS(FD_, {SYSCALL_ARG_IN_MMSGHDR, 2}, COUNT, INT), FLAGS(SHORT | OUTPUT | BLOCKS)),
  ROW(recvmmsg, FD, ARGS(FD_, {SYSCALL_ARG_OUT_MMSGHDR, 2}, COUNT, INT, BOTH(SIZE_TIMESPEC)), FLAGS(SHORT | BLOCKS)),
  ROW(shutdown, FD, ARGS(FD_, INT)), ROW(setsockopt, FD, ARGS(FD_, INT, INT, IN(4), COUNT)),
  ROW(getsockopt, FD, ARGS(FD_, INT, INT, VALUE(4), LENGTH)),

  /* POSIX message queues are the device's too. */
  ROW(mq_open, FORWARD, ARGS(STRING, INT, INT, GIVES(SIZE_MQ_ATTR)), FLAGS(RETURNS_FD)),
  ROW(mq_unlink, FORWARD, ARGS(STRING)),
  ROW(mq_timedsend, FD, ARGS(FD_, IN(2), INT, INT, GIVES(SIZE_TIMESPEC)), FLAGS(BLOCKS)),
  ROW(mq_timedreceive, FD, ARGS(FD_, OUT(2), INT, GETS(4), GIVES(SIZE_TIMESPEC)), FLAGS(BLOCKS)),
  ROW(mq_getsetattr, FD, ARGS(FD_, GIVES(SIZE_MQ_ATTR), GETS(SIZE_MQ_ATTR))), CUT(mq_notify),

  /* Waiting for descriptors. The kernel writes the time that remains back into the timeouts of these three. */
  SPECIAL(poll, POLL, ARGS({SYSCALL_ARG_POLLFDS, 1}, COUNT, INT), FLAGS(MAY_FORWARD | BLOCKS | READINESS)),
  SPECIAL(ppoll, POLL, ARGS({SYSCALL_ARG_POLLFDS, 1}, COUNT, BOTH(SIZE_TIMESPEC), SIGNALS(4), INT),
          FLAGS(MAY_FORWARD | BLOCKS | READINESS)),
  SPECIAL(select, POLL, ARGS(COUNT, FDSET, FDSET, FDSET, BOTH(SIZE_TIMESPEC)), FLAGS(MAY_FORWARD | BLOCKS | READINESS)),
  SPECIAL(pselect6, POLL, ARGS(COUNT, FDSET, FDSET, FDSET, BOTH(SIZE_TIMESPEC), {SYSCALL_ARG_SIGSET_PAIR}),
          FLAGS(MAY_FORWARD | BLOCKS | READINESS)),
  SPECIAL(epoll_create, EPOLL, ARGS(INT), FLAGS(RETURNS_FD | MAY_FORWARD)),
  SPECIAL(epoll_create1, EPOLL, ARGS(INT), FLAGS(RETURNS_FD | MAY_FORWARD)),
  SPECIAL(epoll_ctl, EPOLL, ARGS(FD_, INT, FD_, GIVES(sizeof(struct epoll_event))), FLAGS(MAY_FORWARD)),
  SPECIAL(epoll_wait, EPOLL, ARGS(FD_, OUT_OF(2, sizeof(struct epoll_event)), COUNT, INT),
          FLAGS(MAY_FORWARD | BLOCKS | SHORT)),
  SPECIAL(epoll_pwait, EPOLL, ARGS(FD_, OUT_OF(2, sizeof(struct epoll_event)), COUNT, INT, SIGNALS(5), INT),
          FLAGS(MAY_FORWARD | BLOCKS | SHORT)),
  SPECIAL(epoll_pwait2, EPOLL,
          ARGS(FD_, OUT_OF(2, sizeof(struct epoll_event)), COUNT, GIVES(SIZE_TIMESPEC), SIGNALS(5), INT),
          FLAGS(MAY_FORWARD | BLOCKS | SHORT)),

  /* Descriptors without a file. */
  SPECIAL(pipe, LOCAL, ARGS(TWO_FDS), FLAGS(MAY_FORWARD)), SPECIAL(pipe2, LOCAL, ARGS(TWO_FDS, INT), FLAGS(MAY_FORWARD)),
  SPECIAL(socketpair, LOCAL, ARGS(INT, INT, INT, TWO_FDS), FLAGS(MAY_FORWARD)),
  SPECIAL(eventfd, LOCAL, ARGS(INT), FLAGS(RETURNS_FD | MAY_FORWARD)),
  SPECIAL(eventfd2, LOCAL, ARGS(INT, INT), FLAGS(RETURNS_FD | MAY_FORWARD)),
  SPECIAL(timerfd_create, LOCAL, ARGS(INT, INT), FLAGS(RETURNS_FD | MAY_FORWARD)),
  ROW(timerfd_settime, FD, ARGS(FD_, INT, GIVES(SIZE_ITIMERSPEC), GETS(SIZE_ITIMERSPEC))),
  ROW(timerfd_gettime, FD, ARGS(FD_, GETS(SIZE_ITIMERSPEC))),
  SPECIAL(signalfd, LOCAL, ARGS(FD_, SIGNALS(2), INT), FLAGS(RETURNS_FD | MAY_FORWARD)),
  SPECIAL(signalfd4, LOCAL, ARGS(FD_, SIGNALS(2), INT, INT), FLAGS(RETURNS_FD | MAY_FORWARD)),
  SPECIAL(memfd_create, LOCAL, ARGS(STRING, INT), FLAGS(RETURNS_FD)),
  SPECIAL(inotify_init, LOCAL, FLAGS(RETURNS_FD | MAY_FORWARD)),
  SPECIAL(inotify_init1, LOCAL, ARGS(INT), FLAGS(RETURNS_FD | MAY_FORWARD)),
  SPECIAL(inotify_add_watch, LOCAL, ARGS(FD_, PATH_, INT), FLAGS(MAY_FORWARD), ONE(LOOKS, 1, CWD, -1, ALWAYS)),
  SPECIAL(inotify_rm_watch, LOCAL, ARGS(FD_, INT), FLAGS(MAY_FORWARD)),

  /* Paths: opening. */
  ROW(open, PATH, ARGS(PATH_, INT, INT), FLAGS(RETURNS_FD | MAY_FORWARD | BLOCKS), ONE(OPENS, 0, CWD, 1, OPEN)),
  ROW(openat, PATH, ARGS(DIRFD, PATH_, INT, INT), FLAGS(RETURNS_FD | MAY_FORWARD | BLOCKS), ONE(OPENS, 1, 0, 2, OPEN)),
  ROW(openat2, PATH, ARGS(DIRFD, PATH_, IN(3), INT), FLAGS(RETURNS_FD | MAY_FORWARD | BLOCKS), ONE(OPENS, 1, 0, 2, OPEN)),
  ROW(creat, PATH, ARGS(PATH_, INT), FLAGS(RETURNS_FD | MAY_FORWARD | BLOCKS), ONE(OPENS, 0, CWD, -1, OPEN)),

  /* Paths: looking. */
  ROW(stat, PATH, ARGS(PATH_, GETS(sizeof(struct stat))), FLAGS(MAY_FORWARD), ONE(LOOKS, 0, CWD, -1, ALWAYS)),
  ROW(lstat, PATH, ARGS(PATH_, GETS(sizeof(struct stat))), FLAGS(MAY_FORWARD), ONE(LOOKS, 0, CWD, -1, NEVER)),
  ROW(newfstatat, PATH, ARGS(DIRFD, PATH_, GETS(sizeof(struct stat)), INT), FLAGS(MAY_FORWARD),
      ONE(LOOKS, 1, 0, 3, UNLESS, EMPTY, OPTIONAL)),
  ROW(statx, PATH, ARGS(DIRFD, PATH_, INT, INT, GETS(SIZE_STATX)), FLAGS(MAY_FORWARD),
      ONE(LOOKS, 1, 0, 2, UNLESS, EMPTY, OPTIONAL)),
  ROW(access, PATH, ARGS(PATH_, INT), FLAGS(MAY_FORWARD), ONE(LOOKS, 0, CWD, -1, ALWAYS)),
  ROW(faccessat, PATH, ARGS(DIRFD, PATH_, INT), FLAGS(MAY_FORWARD), ONE(LOOKS, 1, 0, -1, ALWAYS)),
  ROW(faccessat2, PATH, ARGS(DIRFD, PATH_, INT, INT), FLAGS(MAY_FORWARD), ONE(LOOKS, 1, 0, 3, UNLESS, EMPTY)),
  ROW(readlink, PATH, ARGS(PATH_, OUT(2), COUNT), FLAGS(MAY_FORWARD), ONE(LOOKS, 0, CWD, -1, NEVER)),
  ROW(readlinkat, PATH, ARGS(DIRFD, PATH_, OUT(3), COUNT), FLAGS(MAY_FORWARD), ONE(LOOKS, 1, 0, -1, NEVER)),
  ROW(statfs, PATH, ARGS(PATH_, GETS(sizeof(struct statfs))), FLAGS(MAY_FORWARD), ONE(LOOKS, 0, CWD, -1, ALWAYS)),
  ROW(getxattr, PATH, ARGS(PATH_, STRING, OUT(3), INT), FLAGS(MAY_FORWARD), ONE(LOOKS, 0, CWD, -1, ALWAYS)),
  ROW(lgetxattr, PATH, ARGS(PATH_, STRING, OUT(3), INT), FLAGS(MAY_FORWARD), ONE(LOOKS, 0, CWD, -1, NEVER)),
  ROW(getxattrat, PATH, ARGS(DIRFD, PATH_, INT, STRING, ADDRESS, INT), ONE(LOOKS, 1, 0, 2, UNLESS, EMPTY, OPTIONAL)),
  ROW(listxattr, PATH, ARGS(PATH_, OUT(2), INT), FLAGS(MAY_FORWARD), ONE(LOOKS, 0, CWD, -1, ALWAYS)),
  ROW(llistxattr, PATH, ARGS(PATH_, OUT(2), INT), FLAGS(MAY_FORWARD), ONE(LOOKS, 0, CWD, -1, NEVER)),
  ROW(listxattrat, PATH, ARGS(DIRFD, PATH_, INT, OUT(4), INT), FLAGS(MAY_FORWARD),
      ONE(LOOKS, 1, 0, 2, UNLESS, EMPTY, OPTIONAL)),
  ROW(file_getattr, PATH, ARGS(DIRFD, PATH_, WHOLE(3), INT, INT), FLAGS(MAY_FORWARD),
      ONE(LOOKS, 1, 0, 4, UNLESS, EMPTY, OPTIONAL)),

  /* Paths: changing. Of those that may name a descriptor instead, the device takes that form. */
  ROW(truncate, PATH, ARGS(PATH_, INT), ONE(WRITES, 0, CWD, -1, ALWAYS)),
  ROW(chmod, PATH, ARGS(PATH_, INT), ONE(CHANGES, 0, CWD, -1, ALWAYS)),
  ROW(fchmodat, PATH, ARGS(DIRFD, PATH_, INT), ONE(CHANGES, 1, 0, -1, ALWAYS)),
  ROW(fchmodat2, PATH, ARGS(DIRFD, PATH_, INT, INT), FLAGS(MAY_FORWARD), ONE(CHANGES, 1, 0, 3, UNLESS, EMPTY)),
  ROW(chown, PATH, ARGS(PATH_, INT, INT), ONE(CHANGES, 0, CWD, -1, ALWAYS)),
  ROW(lchown, PATH, ARGS(PATH_, INT, INT), ONE(CHANGES, 0, CWD, -1, NEVER)),
  ROW(fchownat, PATH, ARGS(DIRFD, PATH_, INT, INT, INT), FLAGS(MAY_FORWARD), ONE(CHANGES, 1, 0, 4, UNLESS, EMPTY)),
  ROW(utime, PATH, ARGS(PATH_, GIVES(16)), ONE(CHANGES, 0, CWD, -1, ALWAYS)),
  ROW(utimes, PATH, ARGS(PATH_, GIVES(2 * SIZE_TIMESPEC)), ONE(CHANGES, 0, CWD, -1, ALWAYS)),
  ROW(futimesat, PATH, ARGS(DIRFD, PATH_, GIVES(2 * SIZE_TIMESPEC)), FLAGS(MAY_FORWARD),
      ONE(CHANGES, 1, 0, -1, ALWAYS, OPTIONAL)),
  ROW(utimensat, PATH, ARGS(DIRFD, PATH_, GIVES(2 * SIZE_TIMESPEC), INT), FLAGS(MAY_FORWARD),
      ONE(CHANGES, 1, 0, 3, UNLESS, EMPTY, OPTIONAL)),
  ROW(setxattr, PATH, ARGS(PATH_, STRING, IN(3), INT, INT), ONE(CHANGES, 0, CWD, -1, ALWAYS)),
  ROW(lsetxattr, PATH, ARGS(PATH_, STRING, IN(3), INT, INT), ONE(CHANGES, 0, CWD, -1, NEVER)),
  ROW(setxattrat, PATH, ARGS(DIRFD, PATH_, INT, STRING, ADDRESS, INT), ONE(CHANGES, 1, 0, 2, UNLESS, EMPTY, OPTIONAL)),
  ROW(removexattr, PATH, ARGS(PATH_, STRING), ONE(CHANGES, 0, CWD, -1, ALWAYS)),
  ROW(lremovexattr, PATH, ARGS(PATH_, STRING), ONE(CHANGES, 0, CWD, -1, NEVER)),
  ROW(removexattrat, PATH, ARGS(DIRFD, PATH_, INT, STRING), FLAGS(MAY_FORWARD),
      ONE(CHANGES, 1, 0, 2, UNLESS, EMPTY, OPTIONAL)),
  ROW(file_setattr, PATH, ARGS(DIRFD, PATH_, IN(3), INT, INT), FLAGS(MAY_FORWARD),
      ONE(CHANGES, 1, 0, 4, UNLESS, EMPTY, OPTIONAL)),

  /* Paths: names come and go. */
  ROW(mkdir, PATH, ARGS(PATH_, INT), ONE(CREATES, 0, CWD, -1, NEVER)),
  ROW(mkdirat, PATH, ARGS(DIRFD, PATH_, INT), ONE(CREATES, 1, 0, -1, NEVER)),
  ROW(mknod, PATH, ARGS(PATH_, INT, INT), ONE(CREATES, 0, CWD, -1, NEVER)),
  ROW(mknodat, PATH, ARGS(DIRFD, PATH_, INT, INT), ONE(CREATES, 1, 0, -1, NEVER)),
  ROW(rmdir, PATH, ARGS(PATH_), ONE(REMOVES, 0, CWD, -1, NEVER)),
  ROW(unlink, PATH, ARGS(PATH_), ONE(REMOVES, 0, CWD, -1, NEVER)),
  ROW(unlinkat, PATH, ARGS(DIRFD, PATH_, INT), ONE(REMOVES, 1, 0, -1, NEVER)),
  ROW(rename, PATH, ARGS(PATH_, PATH_),
      TWO(NAMES(REMOVES, 0, CWD, -1, NEVER), NAMES(CREATES | REMOVES, 1, CWD, -1, NEVER))),
  ROW(renameat, PATH, ARGS(DIRFD, PATH_, DIRFD, PATH_),
      TWO(NAMES(REMOVES, 1, 0, -1, NEVER), NAMES(CREATES | REMOVES, 3, 2, -1, NEVER))),
  /* RENAME_EXCHANGE and RENAME_WHITEOUT leave something under the old name. */
  ROW(renameat2, PATH, ARGS(DIRFD, PATH_, DIRFD, PATH_, INT),
      TWO(NAMES(CREATES | REMOVES, 1, 0, -1, NEVER), NAMES(CREATES | REMOVES, 3, 2, -1, NEVER))),
  ROW(link, PATH, ARGS(PATH_, PATH_), TWO(NAMES(LOOKS | CHANGES, 0, CWD, -1, NEVER), NAMES(CREATES, 1, CWD, -1, NEVER))),
  ROW(linkat, PATH, ARGS(DIRFD, PATH_, DIRFD, PATH_, INT),
      TWO(NAMES(LOOKS | CHANGES, 1, 0, 4, IF, EMPTY), NAMES(CREATES, 3, 2, -1, NEVER))),
  /* The first argument of these is the link's text, no path that is looked up. */
  ROW(symlink, PATH, ARGS(STRING, PATH_), ONE(CREATES, 1, CWD, -1, NEVER)),
  ROW(symlinkat, PATH, ARGS(STRING, DIRFD, PATH_), ONE(CREATES, 2, 1, -1, NEVER)),

  /* Where the process stands. */
  SPECIAL(chdir, CWD, ARGS(PATH_), ONE(SYSCALL_PATH_ENTERS, 0, CWD, -1, ALWAYS)),
  SPECIAL(fchdir, CWD, ARGS(FD_)),
  NATIVE(getcwd),
  SPECIAL(umask, UMASK, ARGS(INT)),
  CUT(chroot),

  /* The machine, and objects of the kernel that are found by number, key or handle. */
  NATIVE(getrandom),
  CUT(shmget), CUT(shmat), CUT(shmctl), CUT(shmdt), CUT(semget), CUT(semop), CUT(semtimedop), CUT(semctl), CUT(msgget),
  CUT(msgsnd), CUT(msgrcv), CUT(msgctl), CUT(add_key), CUT(request_key), CUT(keyctl), CUT(name_to_handle_at),
  CUT(open_by_handle_at), CUT(lookup_dcookie), CUT(fanotify_init), CUT(fanotify_mark),
  CUT(io_setup), CUT(io_destroy), CUT(io_submit), CUT(io_cancel), CUT(io_getevents), CUT(io_pgetevents),
  CUT(io_uring_setup), CUT(io_uring_enter), CUT(io_uring_register),
  CUT(mount), CUT(umount2), CUT(pivot_root), CUT(open_tree), CUT(open_tree_attr), CUT(move_mount), CUT(mount_setattr),
  CUT(fsopen), CUT(fsconfig), CUT(fsmount), CUT(fspick), CUT(statmount), CUT(listmount), CUT(quotactl), CUT(quotactl_fd),
  CUT(swapon), CUT(swapoff), CUT(reboot), CUT(kexec_load), CUT(kexec_file_load), CUT(init_module), CUT(finit_module),
  CUT(delete_module), CUT(vhangup), CUT(lsm_get_self_attr), CUT(lsm_set_self_attr), CUT(lsm_list_modules), CUT(sysfs),
  CUT(ustat), CUT(uselib),

  /* Numbers without a call behind them: ENOSYS on every kernel. */
  NATIVE(_sysctl), NATIVE(create_module), NATIVE(get_kernel_syms), NATIVE(query_module), NATIVE(nfsservctl),
  NATIVE(getpmsg), NATIVE(putpmsg), NATIVE(afs_syscall), NATIVE(tuxcall), NATIVE(security), NATIVE(epoll_ctl_old),
  NATIVE(epoll_wait_old), NATIVE(vserver),
};
/* clang-format on */

const guint syscalls_table_length = G_N_ELEMENTS(syscalls_table);
