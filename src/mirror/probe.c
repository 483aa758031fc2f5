#include "mirror/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "mirror/probe_trials.h"

#define TRIAL_MS 3000

typedef struct {
  const char *name, *use, *instead, *advice;
  ProbeTrial trial;
} Row;

#define ROOT_OR_SYSCTL(knob) "run as root, or have the administrator set " knob
#define OLD_KERNEL(version)  "a newer kernel has it (Linux " version ")"

static const Row rows[PROBE_COUNT] = {
    [PROBE_PTRACE] = {"ptrace", "start, stop and read the program", "nothing: doppel run cannot work",
                      ROOT_OR_SYSCTL("kernel.yama.ptrace_scope to 1 or 0; in a container allow ptrace"),
                      probe_ptrace},
    [PROBE_FREEZE_LAYOUT] =
        {"freeze-layout", "give the program the same addresses on both sides",
         "the mirror's mappings are moved after its start, or the program runs on the device",
         "in a container, allow personality(2)", probe_freeze_layout},
    [PROBE_PROC_MEM] = {"proc-mem", "write the pages that the program itself may only read",
                        "their protection is changed around the write",
                        "boot without proc_mem.force_override=never", probe_proc_mem},
    [PROBE_BREAKPOINT] = {"hardware-breakpoint",
                          "stop at up to a handful of functions without changing the program's text",
                          "a trap instruction is written at the function's entry",
                          "on a virtual machine, have it given the debug registers", probe_breakpoint},
    [PROBE_PAGEMAP_SCAN] = {"pagemap-scan", "ask which pages were written, and forget it, in one call",
                            "soft-dirty bits, or else hashes of the pages", OLD_KERNEL("6.7"),
                            probe_pagemap_scan},
    [PROBE_USERFAULTFD] = {"userfaultfd", "write-protect pages to learn which are written",
                           "soft-dirty bits, or else hashes of the pages",
                           "in a container, allow userfaultfd(2)", probe_userfaultfd},
    [PROBE_USERFAULTFD_KERNEL] = {"userfaultfd-kernel",
                                  "as a clone: fetch a block's pages when they are touched",
                                  "all pages that changed come before the block begins",
                                  ROOT_OR_SYSCTL("vm.unprivileged_userfaultfd to 1"),
                                  probe_userfaultfd_kernel},
    [PROBE_USERFAULTFD_EVENTS] =
        {"userfaultfd-events", "leave memory in the clone until the program touches it (--lazy-return)",
         "all that a block wrote comes home with its result",
         ROOT_OR_SYSCTL("vm.unprivileged_userfaultfd to 1") ", or let this user open "
                                                            "/dev/userfaultfd; " OLD_KERNEL("6.7"),
         probe_userfaultfd_events},
    [PROBE_WRITE_PROTECT] = {"write-protect-async", "track written pages without stopping the program",
                             "soft-dirty bits, or else hashes of the pages", OLD_KERNEL("6.7"),
                             probe_write_protect},
    [PROBE_SOFT_DIRTY] =
        {"soft-dirty", "track written pages on kernels without the above",
         "write-protect-async where there is one, or else hashes of the pages",
         "nothing is needed where write-protect-async is found; else a kernel with CONFIG_MEM_SOFT_DIRTY",
         probe_soft_dirty},
    [PROBE_PROCMAP_QUERY] = {"procmap-query", "look up one mapping without reading all",
                             "/proc/PID/maps is read", OLD_KERNEL("6.11"), probe_procmap_query},
    [PROBE_TID_ADDRESS] = {"tid-address", "carry over where a thread's end is told",
                           "threads that end in the clone bring the block home first",
                           "a kernel with CONFIG_CHECKPOINT_RESTORE, as distributions' are",
                           probe_tid_address},
    [PROBE_SECCOMP_NOTIFY] = {"seccomp-notify", "look at the mirror's system calls",
                              "nothing: this machine cannot be a clone host",
                              "in a container, allow seccomp(2); " OLD_KERNEL("5.0"), probe_seccomp_notify},
    [PROBE_SECCOMP_KILLABLE] = {"seccomp-killable",
                                "keep a signal from interrupting a call that is being answered",
                                "an interrupted call is noticed and made again", OLD_KERNEL("5.19"),
                                probe_seccomp_killable},
    [PROBE_SECCOMP_SYNC_WAKE] = {"seccomp-sync-wake",
                                 "answer a system call on the same processor, three times as fast",
                                 "ordinary wake-ups", OLD_KERNEL("6.6"), probe_seccomp_sync_wake},
    [PROBE_SECCOMP_ADDFD] = {"seccomp-addfd", "give the mirror a descriptor as a call's result",
                             "the descriptor is made by a call injected into the mirror", OLD_KERNEL("5.14"),
                             probe_seccomp_addfd},
    [PROBE_PIDFD_GETFD] = {"pidfd-getfd", "take a descriptor over from the program",
                           "it is passed over a socket by injected calls", OLD_KERNEL("5.6"),
                           probe_pidfd_getfd},
    [PROBE_SET_TID] = {"set-tid", "give the mirror's threads the ids of the program's",
                       "the id is chosen through ns_last_pid", OLD_KERNEL("5.5"), probe_set_tid},
    [PROBE_CPUID_FAULT] =
        {"cpuid-faulting", "answer the program's own questions for processor features",
         "only the C library's choices are steered: a program that asks the processor itself and finds what "
         "the other side lacks runs on the device",
         "Intel processors since 2012 and AMD's since Zen 4 have it; virtual machines often hide it",
         probe_cpuid_fault},
    [PROBE_USER_NAMESPACE] = {"user-namespace", "be root inside the sandbox only",
                              "as root, the sandbox is made without one",
                              ROOT_OR_SYSCTL("kernel.unprivileged_userns_clone to 1 (Debian) or "
                                             "kernel.apparmor_restrict_unprivileged_userns to 0 (Ubuntu)"),
                              probe_user_namespace},
    [PROBE_PID_NAMESPACE] = {"pid-namespace", "give the mirror the process ids of the device",
                             "nothing: this machine cannot be a clone host",
                             ROOT_OR_SYSCTL("user.max_pid_namespaces above 0"), probe_pid_namespace},
    [PROBE_MOUNT_NAMESPACE] = {"mount-namespace", "give the mirror a root of its own",
                               "nothing: this machine cannot be a clone host",
                               ROOT_OR_SYSCTL("user.max_mnt_namespaces above 0"), probe_mount_namespace},
    [PROBE_NET_NAMESPACE] = {"net-namespace", "keep the mirror off the host's network",
                             "nothing: this machine cannot be a clone host",
                             ROOT_OR_SYSCTL("user.max_net_namespaces above 0"), probe_net_namespace},
    [PROBE_TIME_NAMESPACE] = {"time-namespace", "let the mirror's monotonic clock go on from the device's",
                              "blocks of programs that read that clock see it jump",
                              "a kernel with CONFIG_TIME_NS (Linux 5.6)", probe_time_namespace},
    [PROBE_OVERLAY] = {"overlay", "keep a block's file changes apart from the clone's files",
                       "overlay-user, where that is found", "load the overlay module: modprobe overlay",
                       probe_overlay},
    [PROBE_OVERLAY_USER] = {"overlay-user", "the same without being root",
                            "doppel has to be run as root to have a clone here", OLD_KERNEL("5.11"),
                            probe_overlay_user},
    [PROBE_CGROUP_CPU] = {"cgroup-cpu", "limit the processor time and memory of a clone",
                          "limits of setrlimit(2) only",
                          "run as root, or under a systemd unit with Delegate=yes", probe_cgroup_cpu},
    [PROBE_MPTCP] = {"mptcp", "keep a link over two networks at once",
                     "TCP, re-connected when the network changes",
                     "sysctl net.mptcp.enabled=1; " OLD_KERNEL("5.6"), probe_mptcp},
    [PROBE_TUN] = {"tun", "a network device for clones' own traffic",
                   "clones have no network device of their own",
                   "modprobe tun; in a container, allow /dev/net/tun", probe_tun},
    [PROBE_FANOTIFY] = {"fanotify", "as the agent: be told of changes in whole file systems",
                        "inotify, where that is found; else the tree is walked",
                        "run the agent as root, on a root that is no overlay; " OLD_KERNEL("5.9"),
                        probe_fanotify},
    [PROBE_INOTIFY] = {"inotify", "as the agent: be told of changes in each directory",
                       "the tree is walked at each synchronisation",
                       "have the administrator raise fs.inotify.max_user_instances and max_user_watches",
                       probe_inotify},
};

static Probe probes[PROBE_COUNT];

void
probe_note(ProbeNote *note, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_vsnprintf(note->text, sizeof note->text, format, arguments);
  va_end(arguments);
}

pid_t
probe_fork(void (*body)(void *data), void *data)
{
  pid_t parent = getpid();
  pid_t pid = fork();
  if (pid != 0)
    return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  /* In a PID namespace of its own the parent is 0. */
  if (getppid() == parent || getppid() == 0)
    body(data);
  _exit(0);
}

void
probe_end(pid_t pid)
{
  int saved = errno;
  if (pid > 0) {
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
      ;
  }
  errno = saved;
}

typedef struct {
  gboolean present;
  ProbeNote note;
} Answer;

typedef struct {
  ProbeTrial trial;
  int pipe;
} Trial;

static void
try_in_child(void *data)
{
  const Trial *trial = data;
  Answer answer = {0};
  struct sigaction plain = {.sa_handler = SIG_DFL};
  sigset_t none;
  sigemptyset(&none);
  for (int number = 1; number < NSIG; number++)
    sigaction(number, &plain, NULL);
  sigprocmask(SIG_SETMASK, &none, NULL);
  errno = 0;
  answer.present = trial->trial(&answer.note);
  if (!answer.present && !answer.note.text[0])
    probe_note(&answer.note, "%s", errno ? g_strerror(errno) : "it has no effect");
  io_write_all(trial->pipe, &answer, sizeof answer);
}

static Answer
run_trial(ProbeTrial function)
{
  Answer answer = {0};
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    probe_note(&answer.note, "%s", g_strerror(errno));
    return answer;
  }
  Trial trial = {function, ends[1]};
  pid_t child = probe_fork(try_in_child, &trial);
  close(ends[1]);
  struct pollfd wait = {.fd = ends[0], .events = POLLIN};
  gint64 until = clock_now_ns() + (gint64)TRIAL_MS * 1000000;
  int ready;
  do
    ready = poll(&wait, 1, clock_left_ms(until));
  while (ready < 0 && errno == EINTR);
  if (ready == 0)
    probe_note(&answer.note, "no answer within %d s", TRIAL_MS / 1000);
  else if (io_read_all(ends[0], &answer, sizeof answer) != sizeof answer) {
    answer.present = FALSE;
    probe_note(&answer.note, "the trial was killed");
  }
  answer.note.text[sizeof answer.note.text - 1] = '\0';
  close(ends[0]);
  probe_end(child);
  return answer;
}

static gboolean
is_left_out(const char *name)
{
  const char *text = g_getenv("DOPPEL_WITHOUT");
  g_auto(GStrv) names = g_strsplit(text ? text : "", ",", -1);
  return g_strv_contains((const char *const *)names, name);
}

const Probe *
probe_get(ProbeFeature feature)
{
  const Row *row = &rows[feature];
  Probe *probe = &probes[feature];
  if (probe->name)
    return probe;
  *probe = (Probe){row->name, row->use, row->instead, row->advice, FALSE, "left out by $DOPPEL_WITHOUT"};
  if (!is_left_out(row->name)) {
    Answer answer = run_trial(row->trial);
    probe->present = answer.present;
    probe->detail = g_intern_string(answer.note.text);
  }
  return probe;
}

gboolean
probe_has(ProbeFeature feature)
{
  return probe_get(feature)->present;
}
