/* What a clone's owner shares, and the index of it: names and the contents of texts (SQLite FTS5). Shared are
 * directories of the clone's newest generation; what others see of one is its name and what is in it.
 *
 * A symbolic link is never followed, nor shown; nor is a name that is not UTF-8, one that begins with '.'
 * unless the owner said so, and what one of the share's patterns matches. */
#pragma once

#include <glib.h>

#define SHARE_TEXT_MAX                                                                                       \
  (1u << 20) /* bytes: of a larger file, and of one that is no UTF-8, only the name is indexed */

typedef struct ShareIndex ShareIndex;

typedef struct {
  gint64 id;
  char *name;
  char *path; /* below the root of a generation; "" is the root */
  gboolean hidden;
  char **exclude;
  guint64 files, bytes; /* in the index */
  guint64 generation;   /* that the index is of; 0: none yet */
  gint64 indexed_us;    /* since 1970 */
  gboolean missing;     /* that generation has no such directory */
} Share;

void share_free(Share *share);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Share, share_free)

/* Whether what is at `relative` in the share is for others. */
gboolean share_admits(const Share *share, const char *relative);

/* Opens or makes shares.db in `directory`. NULL with an error. Any number of processes may have it open. */
ShareIndex *share_index_open(const char *directory, GError **error);
void share_index_close(ShareIndex *index);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ShareIndex, share_index_close)

/* USAGE where the name is taken. Nothing of it is found before it was indexed. */
gboolean share_index_add(ShareIndex *index, const char *name, const char *path, gboolean hidden,
                         const char *const *exclude, GError **error);

/* From its return on nothing of it is found any more. NOT_FOUND. */
gboolean share_index_remove(ShareIndex *index, const char *name, GError **error);

/* All of them, by name: of Share. */
GPtrArray *share_index_list(ShareIndex *index, GError **error);

/* The share that "name/path" is in; *relative points at the path in it. NOT_FOUND also where it is not
 * admitted: nobody is told that something is hidden. */
Share *share_index_find(ShareIndex *index, const char *path, const char **relative, GError **error);

/* Brings the index up to the newest generation of the store (a descriptor of its directory): looks at all
 * that is shared, reads what changed. May be killed, and begun again. *generation (may be NULL) is the one it
 * is of then. NOT_FOUND where the store has none. */
gboolean share_index_update(ShareIndex *index, int store, guint64 *generation, GError **error);

/* Whether a share is older than `generation`. */
gboolean share_index_is_behind(ShareIndex *index, guint64 generation);

typedef struct {
  const char *path; /* "name/path" */
  guint64 size;
  gint64 mtime_ns;
  double rank;         /* bm25: less is better */
  const char *snippet; /* "": the words are not in the content */
} ShareHit;

/* What `match` (search_query.h) finds, the best `limit` first. Where `cancelled` (asked often) or `hit` says
 * TRUE it ends, which is no error. */
gboolean share_index_search(ShareIndex *index, const char *match, guint limit,
                            gboolean (*cancelled)(gpointer data),
                            gboolean (*hit)(const ShareHit *hit, gpointer data), gpointer data,
                            GError **error);
