/* The clones that this device is paired with: a text file (clones.conf) in the directory of the user's keys.
 */
#pragma once

#include <glib.h>

#include "identity/key.h"

#define PAIRED_ID_LENGTH 16
#define PAIRED_NAME_MAX  64

typedef struct {
  char *name;                  /* how this device's user calls it */
  guint8 id[PAIRED_ID_LENGTH]; /* how its host calls it */
  IdentityPublic key, host;    /* the clone's key, and its host's */
  char **addresses;            /* "host:port" */
  gint64 since;                /* seconds since 1970 */
  gboolean has_successor;      /* a recovery phrase was made or typed here since that key is kept: */
  IdentityPublic successor;    /* public half of its successor key (recovery.h) */
} PairedClone;
void paired_clone_free(PairedClone *clone);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PairedClone, paired_clone_free)

/* Letters, digits, '.', '_' and '-', at most PAIRED_NAME_MAX, and not "local". */
gboolean paired_name_check(const char *name, GError **error);

/* All of them, in the order of their names; an empty array where there are none. */
GPtrArray *paired_list(GError **error);

/* The clone `name`; with NULL the only one there is. NOT_FOUND with what there is and how to pair. */
PairedClone *paired_find(const char *name, GError **error);

/* Adds a clone; USAGE where the name is taken. */
gboolean paired_add(const PairedClone *clone, GError **error);

/* Where a clone can be reached from now on (it has told, or the user). */
gboolean paired_set_addresses(const char *name, const char *const *addresses, GError **error);

/* The successor key of the clone's recovery phrase from now on. */
gboolean paired_set_successor(const char *name, const IdentityPublic *successor, GError **error);

gboolean paired_remove(const char *name, GError **error);
