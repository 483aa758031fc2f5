/* The trials behind probe.h. Each runs in a child process of its own that may be spoilt: it may unshare,
 * filter, mount, and leave things open. TRUE when the feature does what the project needs; else errno or a
 * note says why not. */
#pragma once

#include <glib.h>
#include <sys/types.h>

#include "mirror/probe.h"

typedef struct {
  char text[200];
} ProbeNote;
void probe_note(ProbeNote *note, const char *format, ...) G_GNUC_PRINTF(2, 3);

typedef gboolean (*ProbeTrial)(ProbeNote *note);

/* A child of the trial that dies with it; in the child it runs `body` and exits. -1 with errno. */
pid_t probe_fork(void (*body)(void *data), void *data);
/* Kills and reaps it. errno stays. */
void probe_end(pid_t pid);

/* New namespaces (CLONE_NEW*), inside a new user namespace where the caller has no right to them as it is.
 * `in_user` says which it was. */
gboolean probe_unshare(int flags, gboolean *in_user);
/* A new user namespace whose only user, root, is the caller. */
gboolean probe_enter_user(void);

gboolean probe_ptrace(ProbeNote *note);
gboolean probe_freeze_layout(ProbeNote *note);
gboolean probe_proc_mem(ProbeNote *note);
gboolean probe_breakpoint(ProbeNote *note);
gboolean probe_pagemap_scan(ProbeNote *note);
gboolean probe_userfaultfd(ProbeNote *note);
gboolean probe_userfaultfd_kernel(ProbeNote *note);
gboolean probe_userfaultfd_events(ProbeNote *note);
gboolean probe_write_protect(ProbeNote *note);
gboolean probe_soft_dirty(ProbeNote *note);
gboolean probe_procmap_query(ProbeNote *note);
gboolean probe_tid_address(ProbeNote *note);
gboolean probe_seccomp_notify(ProbeNote *note);
gboolean probe_seccomp_killable(ProbeNote *note);
gboolean probe_seccomp_sync_wake(ProbeNote *note);
gboolean probe_seccomp_addfd(ProbeNote *note);
gboolean probe_pidfd_getfd(ProbeNote *note);
gboolean probe_set_tid(ProbeNote *note);
gboolean probe_cpuid_fault(ProbeNote *note); /* in arch/ */
gboolean probe_user_namespace(ProbeNote *note);
gboolean probe_pid_namespace(ProbeNote *note);
gboolean probe_mount_namespace(ProbeNote *note);
gboolean probe_net_namespace(ProbeNote *note);
gboolean probe_time_namespace(ProbeNote *note);
gboolean probe_overlay(ProbeNote *note);
gboolean probe_overlay_user(ProbeNote *note);
gboolean probe_cgroup_cpu(ProbeNote *note);
gboolean probe_mptcp(ProbeNote *note);
gboolean probe_tun(ProbeNote *note);
gboolean probe_fanotify(ProbeNote *note);
gboolean probe_inotify(ProbeNote *note);
