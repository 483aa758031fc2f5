/* What this kernel, processor and environment really offer: each feature that the project uses is tried once,
 * when first asked for, in a child process that has a few seconds. Versions are not compared: containers,
 * security modules and configurations make them lie. Every feature has a fallback or a clear refusal;
 * `instead` says which.
 *
 * For tests, $DOPPEL_WITHOUT holds the names of features, separated by commas, that are to count as missing.
 */
#pragma once

#include <glib.h>

typedef enum {
  PROBE_PTRACE,
  PROBE_FREEZE_LAYOUT, /* personality(ADDR_NO_RANDOMIZE) */
  PROBE_PROC_MEM,      /* writing to read-only pages through /proc/PID/mem */
  PROBE_BREAKPOINT,    /* a hardware execution breakpoint */
  PROBE_PAGEMAP_SCAN,
  PROBE_USERFAULTFD,        /* any, for faults in user mode at least */
  PROBE_USERFAULTFD_KERNEL, /* also for faults inside system calls */
  PROBE_USERFAULTFD_EVENTS, /* that, and it tells of forks and changed mappings, while pages are tracked */
  PROBE_WRITE_PROTECT,      /* userfaultfd's WP_ASYNC and WP_UNPOPULATED with PAGEMAP_SCAN */
  PROBE_SOFT_DIRTY,
  PROBE_PROCMAP_QUERY,
  PROBE_TID_ADDRESS, /* PR_GET_TID_ADDRESS */
  PROBE_SECCOMP_NOTIFY,
  PROBE_SECCOMP_KILLABLE,  /* SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV */
  PROBE_SECCOMP_SYNC_WAKE, /* SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP */
  PROBE_SECCOMP_ADDFD,     /* SECCOMP_IOCTL_NOTIF_ADDFD with SEND */
  PROBE_PIDFD_GETFD,
  PROBE_SET_TID, /* clone3(2) with set_tid, in a PID namespace of its own */
  PROBE_CPUID_FAULT,
  PROBE_USER_NAMESPACE,
  PROBE_PID_NAMESPACE,
  PROBE_MOUNT_NAMESPACE,
  PROBE_NET_NAMESPACE,
  PROBE_TIME_NAMESPACE,
  PROBE_OVERLAY,      /* overlayfs with the rights that the caller has */
  PROBE_OVERLAY_USER, /* overlayfs inside a user namespace */
  PROBE_CGROUP_CPU,
  PROBE_MPTCP,
  PROBE_TUN,
  PROBE_FANOTIFY, /* of whole file systems */
  PROBE_INOTIFY,
  PROBE_COUNT
} ProbeFeature;

typedef struct {
  const char *name;    /* "pagemap-scan": in --json and $DOPPEL_WITHOUT */
  const char *use;     /* what the project does with it */
  const char *instead; /* what happens where it is missing */
  const char *advice;  /* what the user can do about it */
  gboolean present;
  const char *detail; /* what the trial showed: the system's error, or a remark; "" for nothing to say */
} Probe;

/* The result, kept for the life of the process. Blocks for some milliseconds the first time. Not for use by
 * several threads, nor while a child of the caller may be reaped by a waitpid(-1) elsewhere. */
const Probe *probe_get(ProbeFeature feature);
gboolean probe_has(ProbeFeature feature);
