/* What a job did to files, in one file: of each mount point the messages of its delta (replica/pack.h), one
 * mount point after the other. It is written where the job ran and read where the files are.
 *
 * Each message has a head of two numbers, 32 bits each, little-endian: the mount point's place in
 * JobState.mountpoint, and the message's length in bytes. */
#pragma once

#include <glib.h>

/* Called for each message, in order. FALSE with an error ends the reading. */
typedef gboolean (*JobChangesFunc)(guint mountpoint, const guint8 *data, gsize length, gpointer user,
                                   GError **error);

/* Reads a file of changes below so many mount points, from its start. FALSE with HOSTILE for what is none. */
gboolean job_changes_read(int fd, guint mountpoints, JobChangesFunc take, gpointer user, GError **error);

/* Appends one message. FALSE with errno. */
gboolean job_changes_append(int fd, guint mountpoint, const guint8 *data, gsize length);
