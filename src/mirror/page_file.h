/* Small files that remember something about pages between runs: read and replaced as a whole, under a
 * checksum. They hold hints. A file that is missing, damaged, cut short, of another kind or of a later
 * version counts as empty, and nothing is synced. The checksum finds damage, not malice: who can write into
 * the directory can make any file, so what a file says is checked by who reads it all the same. */
#pragma once

#include <glib.h>

typedef struct {
  char magic[8];
  guint32 version; /* of what is in it; a file of another one is empty */
  gsize bytes_max; /* a longer one is no such file */
} PageFileKind;

/* What the file holds; NULL where that counts as empty. */
GBytes *page_file_load(const char *path, const PageFileKind *kind);

/* Replaces the file, for readers at one moment. With a lock of its directory held, so that no two write the
 * same temporary file. Mode 0600. FALSE with an error: the file is as it was. */
gboolean page_file_save(const char *path, const PageFileKind *kind, const guint8 *bytes, gsize length,
                        GError **error);

/* Locks the directory of `path`, which is made (0700) if need be, against others that do the same. A
 * descriptor to be closed, or -1 with an error when it cannot be had, or not within 100 ms. */
int page_file_lock(const char *path, GError **error);
