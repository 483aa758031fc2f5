/* What the verbs about other people's clones and files have in common. */
#pragma once

#include "base/io.h"
#include "identity/key.h"

/* A stream to a service: of `user`'s clone, or (NULL) of the own one. Errors as service_node's dial(). */
int friends_dial(const char *user, const char *service, GError **error);

/* A line on standard error that tells how far a file is, where that is a terminal, and from its second second
 * on. */
typedef struct {
  const char *what;
  gboolean wanted;
  gint64 begun_us, shown_us;
  guint64 from; /* bytes that were there at the beginning */
  gboolean shown;
} FriendsProgress;

void friends_progress_begin(FriendsProgress *progress, const char *what, gboolean wanted);
/* As a SendProgress; data is the FriendsProgress. */
gboolean friends_progress_tell(guint64 done, guint64 size, gpointer data);
void friends_progress_end(FriendsProgress *progress);

/* A file that comes from elsewhere: it grows as ".doppel-TAG.part" in its directory, from which another call
 * goes on, and gets its name when all of it is there and has the right hash. */
typedef struct {
  Fd directory, file;
  char *part;
  guint64 offset; /* of the next byte */
} FriendsFile;

/* TAG is of letters, digits and '-'. FALSE with an error. */
gboolean friends_file_begin(FriendsFile *file, const char *directory, const char *tag, guint64 most,
                            GError **error);
gboolean friends_file_write(FriendsFile *file, const void *data, gsize length, GError **error);

/* Checks the hash (32 bytes), and gives it the name. `exact`: that name or none, over what is there only with
 * `force`; else a number is added where something is there. *as is the name that it has, the caller's. With a
 * wrong hash nothing is left, and the error is MISMATCH. */
gboolean friends_file_finish(FriendsFile *file, const guint8 hash[32], guint32 mode, gint64 mtime_ns,
                             const char *name, gboolean exact, gboolean force, char **as, GError **error);
void friends_file_clear(FriendsFile *file);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(FriendsFile, friends_file_clear)

/* A number of an item that was typed. FALSE with USAGE. */
gboolean friends_parse_id(const char *word, guint64 *id, GError **error);
