/* The host's public base (replica/public_base.h) as its operator keeps it: which sources - packages,
 * directories - were added, and which contents came with each. A directory in the host's state:
 *
 *   catalogue.db   sources, contents, and which belongs to which, an SQLite database (WAL)
 *   lock           held by whoever changes it
 *   unpacked/      a package, while it is added
 *
 * and what replica/public_base.h says. The database is the truth: contents that it does not name are removed
 * by whoever changes the base next. The order of each change is such that a crash at any moment leaves a base
 * in which everything that devices are told of is there. */
#pragma once

#include "base/database.h"
#include "base/io.h"

typedef struct {
  char *directory;
  Fd fd, lock;
  sqlite3 *catalogue;
} DaemonBase;

typedef enum { DAEMON_BASE_DIRECTORY, DAEMON_BASE_PACKAGE } DaemonBaseKind;

typedef struct {
  char *name; /* of the directory, its path; of a package, name_version_architecture */
  DaemonBaseKind kind;
  gint64 added;     /* seconds since 1970 */
  guint64 files;    /* that were looked at */
  guint64 contents; /* different ones of it that the base has */
  guint64 bytes;    /* of them */
  guint64 missing;  /* that it had, and has lost */
} DaemonBaseSource;
void daemon_base_source_free(DaemonBaseSource *source);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DaemonBaseSource, daemon_base_source_free)

/* Is called now and then while something goes on: how many files, and bytes of them, were gone through. */
typedef struct {
  void (*tell)(gpointer user_data, const char *what, guint64 files, guint64 bytes);
  gpointer user_data;
} DaemonBaseProgress;

/* Opens the base in `directory`, made if it is missing. To write it takes the lock, and puts in order what a
 * crash may have left; GONE where somebody else has it. NULL with an error. */
DaemonBase *daemon_base_open(const char *directory, gboolean write, GError **error);
void daemon_base_close(DaemonBase *base);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DaemonBase, daemon_base_close)

/* What adding came to. */
typedef struct {
  guint64 files;        /* regular files that were looked at */
  guint64 small;        /* of them, too small to be worth a name */
  guint64 private;      /* files and directories that others may not read */
  guint64 fresh, bytes; /* contents that are new in the base, and bytes of them */
} DaemonBaseAdded;

/* Adds the contents of a directory's files, as one source; of one that was added before, they take the place
 * of what came then. Only files are taken that everybody on this machine may read, on this file system, below
 * no directory that others may not search: what is in the base is everybody's. FALSE with an error: then the
 * base has what it had. */
gboolean daemon_base_add_directory(DaemonBase *base, const char *path, const DaemonBaseProgress *progress,
                                   DaemonBaseAdded *added, GError **error);

/* The same of a Debian package (deb(5)), which dpkg-deb unpacks. All of its files are public. */
gboolean daemon_base_add_package(DaemonBase *base, const char *path, const DaemonBaseProgress *progress,
                                 DaemonBaseAdded *added, GError **error);

/* All sources by name: of DaemonBaseSource. NULL with an error. */
GPtrArray *daemon_base_sources(DaemonBase *base, GError **error);

/* Removes a source, and the contents that no other one has: *bytes of them. NOT_FOUND where there is none. */
gboolean daemon_base_remove(DaemonBase *base, const char *name, guint64 *bytes, GError **error);

/* What a check found. */
typedef struct {
  guint64 contents, bytes;  /* that are as they should be */
  guint64 damaged, missing; /* that are not: they are given up, until their source is added again */
  GPtrArray *sources;       /* names (char *) of the sources that lack one by now, sorted */
} DaemonBaseChecked;
void daemon_base_checked_clear(DaemonBaseChecked *checked);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DaemonBaseChecked, daemon_base_checked_clear)

/* Reads everything. FALSE with an error. */
gboolean daemon_base_check(DaemonBase *base, const DaemonBaseProgress *progress, DaemonBaseChecked *checked,
                           GError **error);
