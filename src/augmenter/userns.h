/* Leaving the machine: user and other namespaces of the calling process (namespaces(7), user_namespaces(7)).
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

/* TRUE where every user and group id of the machine has one in the caller's user namespace. */
gboolean userns_has_all_ids(void);

typedef struct {
  uid_t uid; /* the caller's own user inside, where there is a map of that one id only; (uid_t)-1: the same as
                outside */
  gid_t gid;
  gboolean sub_ids; /* a caller without privilege also maps its range of /etc/subuid, where it has one */
} UsernsIds;

/* TRUE where the caller has the capabilities to map every id that it sees, which root has. */
gboolean userns_is_privileged(void);

/* Moves the caller, which must have one thread, into a new user namespace: a privileged caller's maps every
 * id to itself, any other's maps its own. Afterwards the caller has all capabilities there and none outside.
 * *one_id tells that there is only the one. Adds to `notes` what it did without. */
gboolean userns_enter(const UsernsIds *ids, gboolean *one_id, GPtrArray *notes, GError **error);

typedef struct {
  const char *hostname; /* NULL: unchanged */
  gint64 monotonic_ns;  /* added to CLOCK_MONOTONIC of children */
  gint64 boottime_ns;   /* added to CLOCK_BOOTTIME of children */
} UsernsOthers;

/* New mount (all private), IPC, UTS, network (loopback up) and cgroup namespaces for the caller and new PID
 * and time namespaces for its children. The caller has capabilities in its user namespace. Needs /proc. */
gboolean userns_unshare_others(const UsernsOthers *others, GPtrArray *notes, GError **error);
