/* The sandbox that a mirror lives in (CloneCloud section 3: the clone's isolation), made by and around the
 * calling process.
 *
 * The caller, the Augmenter, is a process with one thread that was forked for this. It turns itself into one
 * in new user, mount, IPC, UTS, network and cgroup namespaces whose root is an overlay of the clone's; its
 * children are also in new PID and time namespaces, with an init of their own. The caller itself stays in its
 * PID namespace: it sees the mirror's processes by its own ids through `proc_fd`, and they cannot see it.
 * From here on it cannot start threads, and every child it forks is inside. Its own /proc/self is under
 * `proc_fd`, not in /proc. A caller that is not root must be dumpable (PR_SET_DUMPABLE), as it is after an
 * exec; it is no longer so afterwards.
 *
 * Needs Linux 5.12; user namespaces; for a root with mounts below it, or for one in a container, see
 * docs/decisions/0002-sandbox.md. */
#pragma once

#include <glib.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "augmenter/limits.h"
#include "augmenter/overlay.h"

typedef struct {
  gboolean local;   /* the clone's root is this machine's own; `root` is not looked at */
  const char *root; /* directory with the clone's root */
  const char *tmp;  /* directory of doppel's alone (mode 0700; made if missing): sessions' changes live here.
                       Hidden in the clone */
  const char *hidden;   /* another directory that the clone has no business with, without links; NULL: none */
  const char *hostname; /* of the device; NULL: unchanged */
  gint64 monotonic_ns;  /* the device's CLOCK_MONOTONIC minus this machine's */
  gint64 boottime_ns;   /* the device's CLOCK_BOOTTIME minus this machine's */
  SandboxUpper upper;
  guint64 upper_bytes; /* size of changes kept in memory; 0: half of this machine's memory */
  gboolean own_id_as;  /* not root: the caller's own user is `uid` and `gid` inside; else they are the same as
                          outside */
  uid_t uid;
  gid_t gid;
  gboolean sub_ids; /* not root: map the range of /etc/subuid too (costs some milliseconds) */
  const char *const
      *writable;        /* not root: NULL-terminated paths inside below which the mirror will write, besides
                         * /tmp, the caller's home and working directory; see sandbox_can_write() */
  SandboxLimits limits; /* of all of the mirror's processes together */
} SandboxSpec;

typedef struct Sandbox {
  int proc_fd;       /* procfs of the Augmenter's PID namespace; /proc inside belongs to the mirror */
  pid_t init;        /* pid 1 of the mirror's PID namespace, as the Augmenter sees it */
  pid_t pid_max;     /* ids in the mirror's PID namespace are below this */
  gboolean one_id;   /* only one user exists inside: groups cannot be set, other owners show as 65534 */
  GPtrArray *layers; /* of SandboxLayer, shorter mount points first */
  GPtrArray *notes;  /* of char *: what is weaker than it should be, and why; for --explain */
  struct SandboxPrivate *private;
} Sandbox;

/* Enters. NULL with an error: then the process is neither here nor there and must exit (after reporting).
 * Removes what killed sessions left in spec->tmp. */
Sandbox *sandbox_enter(const SandboxSpec *spec, GError **error);

/* Kills every process inside, reaps all of the caller's children, removes the session's files and control
 * groups. The caller is then good for nothing but reporting and exiting. */
void sandbox_free(Sandbox *sandbox);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Sandbox, sandbox_free)

/* The layer that holds `path` (absolute, no links, as the mirror sees it); *rest is the path below the
 * layer's mount point, without leading slash ("" for itself). NULL where it is in none (/dev, /proc, /sys,
 * read-only places). */
const SandboxLayer *sandbox_layer_of(const Sandbox *sandbox, const char *path, const char **rest);

/* FALSE where a write to `path` (as for sandbox_layer_of()), or making or removing it, cannot be done in the
 * clone although the device's user may: started without privilege, the clone cannot hold copies of files and
 * directories of other owners, and the program would see EOVERFLOW or EROFS. Such a call ends the block. */
gboolean sandbox_can_write(const Sandbox *sandbox, const char *path);

/* The next process or thread made inside gets this id, if it is free (a thread that is made in the mirror by
 * injection keeps the id of its twin). Nothing else inside may be forking meanwhile. */
gboolean sandbox_next_pid(Sandbox *sandbox, pid_t pid, GError **error);

typedef struct {
  int resource; /* RLIMIT_... */
  struct rlimit limit;
} SandboxRlimit;

typedef struct {
  int from; /* the caller's descriptor */
  int to;   /* its number in the child */
} SandboxFd;

typedef struct {
  const char *path; /* of the program inside; the child's AT_EXECFN */
  char *const *argv;
  char *const *envp;
  const char *cwd;  /* NULL: / */
  pid_t wanted_pid; /* in the mirror's PID namespace; 0: any */
  uid_t uid;
  gid_t gid;
  const gid_t *groups;
  gsize group_count;
  mode_t umask;
  unsigned long personality;    /* ADDR_NO_RANDOMIZE makes twins of equal layout */
  const SandboxRlimit *rlimits; /* a hard limit that this machine does not grant is cut, with a note */
  gsize rlimit_count;
  const SandboxFd *fds; /* what the child has open; all others are closed. Each `to` once */
  gsize fd_count;
  guint64 ignored_signals; /* bit N-1 for signal N; all others have their default action */
  guint64 blocked_signals;
} SandboxSpawn;

/* Starts a child that waits, just before its execve(), for sandbox_release(). Meanwhile it can be seized
 * (PTRACE_SEIZE). It has all rights of the caller until it is released and then none that reach beyond its
 * user's files (see spawn.c). Returns its id as the caller sees it or -1 with an error. The caller reaps it.
 */
pid_t sandbox_spawn(Sandbox *sandbox, const SandboxSpawn *spawn, GError **error);

/* For a child that the caller has forked itself, in the sandbox, to run what is no program of the clone's
 * root: gives up, for good, what sandbox_spawn()'s children give up before their exec, with the limits, the
 * working directory, the umask, the user and the groups of `spawn`, of which nothing else counts. Descriptors
 * and signals are the caller's business. Afterwards it can be looked into by what runs inside: its memory
 * must hold nothing that is not the program's. FALSE with errno: it must exit. */
gboolean sandbox_give_up_rights(const Sandbox *sandbox, const SandboxSpawn *spawn);

/* Lets it go on and waits until the program has been loaded (a tracer finds it in its PTRACE_EVENT_EXEC
 * stop). FALSE with the reason: then the child exits with status 127. */
gboolean sandbox_release(Sandbox *sandbox, pid_t pid, GError **error);
