/* What a mirror may use of this machine: a control group of its own, version 2 or 1, where one can be made
 * (the kernel's admin-guide/cgroup-v2.rst, cgroup-v1/), and resource limits (setrlimit(2)). */
#pragma once

#include <glib.h>
#include <sys/resource.h>

typedef struct {
  guint64 memory_bytes; /* 0: not limited */
  guint cpu_percent;    /* of one processor: 250 is two and a half; 0: not limited */
  guint pids;           /* processes and threads; 0: not limited */
} SandboxLimits;

/* Control groups made for one session. */
typedef struct {
  GArray *groups; /* of LimitsGroup */
} Limits;

/* Makes a group below the caller's own in each hierarchy that is needed. Called while the machine's /sys is
 * in view. What cannot be limited is noted, never an error: whether that will do is the caller's to decide.
 * `name` is unique on the machine. */
void limits_make(Limits *limits, const SandboxLimits *wanted, const char *name, GPtrArray *notes);

/* Moves the calling process. FALSE with errno. Allowed to a process that has given up its rights, as the
 * caller of limits_make() opened the files. */
gboolean limits_join(const Limits *limits);

/* Removes the groups, which must be empty. */
void limits_remove(Limits *limits);

/* Removes groups called `name` that a killed session left below the caller's own. */
void limits_remove_stale(const char *name);

/* `wanted` as far as the caller may set it: the hard limit cannot be raised without CAP_SYS_RESOURCE on the
 * machine. FALSE where something was cut. */
gboolean limits_clip(int resource, struct rlimit *wanted);
