/* A session's directory on disk, and removing what sessions that were killed left behind.
 *
 *   TMP/lock             held while a session's directory is made or swept
 *   TMP/session-XXXXXX/  one session's
 *        lock            held (flock(2)) as long as its Augmenter lives; the kernel lets go of it in any
 * death
 */
#pragma once

#include <glib.h>

#include "base/io.h"

typedef struct {
  char *path;  /* absolute, canonical: TMP/session-XXXXXX */
  char *tmp;   /* absolute, canonical: TMP */
  int tmp_fd;  /* of TMP; keeps working when the path is out of reach */
  int lock_fd; /* holds the lock */
} SessionDir;

/* Makes TMP (mode 0700) where it is missing and a session's directory in it. TMP must belong to the caller
 * and be writable to nobody else: DENIED otherwise. */
gboolean session_dir_make(SessionDir *dir, const char *tmp, GError **error);

/* Removes the directories of sessions whose Augmenter is gone. Needs the rights that the sessions had over
 * their files' owners. What cannot be removed stays and is tried again by the next session. */
void session_dir_sweep(const SessionDir *dir);

/* Removes the session's directory with everything in it; FALSE with an error naming what could not be
 * removed. */
gboolean session_dir_remove(const SessionDir *dir, GError **error);

/* Closes the descriptors (which lets go of the lock) and frees the names. */
void session_dir_clear(SessionDir *dir);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SessionDir, session_dir_clear)
