/* What is at a path: everything that lstat(2) and its kin say, comparable between two machines.
 *
 * The device tells its facts to the clone before a block uses a path, and a delta carries the facts of what
 * it changes. */
#pragma once

#include <glib.h>
#include <sys/stat.h>

#include "replica/hashes.h"

typedef enum {
  REPLICA_ABSENT,
  REPLICA_FILE,
  REPLICA_DIRECTORY,
  REPLICA_SYMLINK,
  REPLICA_FIFO,
  REPLICA_SOCKET,
  REPLICA_CHARACTER_DEVICE,
  REPLICA_BLOCK_DEVICE,
} ReplicaType;

typedef struct {
  ReplicaType type;
  guint32 mode; /* permission bits, 07777 */
  guint32 uid, gid;
  guint64 size; /* bytes, of files; 0 otherwise */
  gint64 mtime_ns;
  guint64 rdev; /* of devices */
  guint32 nlink;
  char *target;    /* of symbolic links */
  GBytes *xattrs;  /* see xattrs.h; NULL: none */
  gboolean pseudo; /* on a file system that the kernel makes up: proc, sysfs, ... */
  gboolean hashed; /* `hash` is known */
  guint8 hash[REPLICA_HASH_SIZE];
  /* Of the machine that read them: the device tells them to its clone, which does not compare them with its
   * own. */
  guint64 dev, ino;
  guint64 blocks;         /* of 512 bytes */
  guint64 directory_size; /* bytes, of directories; 0 otherwise */
  gint64 ctime_ns;
} ReplicaFacts;

void replica_facts_clear(ReplicaFacts *facts);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ReplicaFacts, replica_facts_clear)

/* Sets what lstat(2) says; the rest is left as it is. */
void replica_facts_from_stat(ReplicaFacts *facts, const struct stat *st);

/* Makes `to` (empty or cleared) a copy of its own. */
void replica_facts_copy(ReplicaFacts *to, const ReplicaFacts *from);

enum {
  REPLICA_READ_FOLLOW = 1, /* symbolic links on the way (never the last) are followed, inside the root */
  REPLICA_READ_HASH = 2,   /* the content of a file too */
  REPLICA_READ_PSEUDO = 4, /* say whether it is on a pseudo file system */
  REPLICA_READ_ALL = 8,    /* all extended attributes, of symbolic links, too (xattrs.h) */
};

/* Fills `facts` (which need not be initialised) with what is at `path` below `root`. `hashes` may be NULL. 0,
 * or an errno: then `facts` is empty, its type REPLICA_ABSENT. EAGAIN: the file kept changing while it was
 * read. */
int replica_facts_read(int root, const char *path, guint flags, ReplicaHashes *hashes, ReplicaFacts *facts);

/* The same for one name in a directory. */
int replica_facts_read_at(int directory, const char *name, guint flags, ReplicaHashes *hashes,
                          ReplicaFacts *facts);

/* What the kernel shows for an id that has no place in the reader's user namespace (its default overflowuid):
 * it may be any. */
#define REPLICA_ID_UNMAPPED 65534

enum {
  REPLICA_FACT_TYPE = 1 << 0,
  REPLICA_FACT_MODE = 1 << 1,  /* but of symbolic links */
  REPLICA_FACT_OWNER = 1 << 2, /* an unmapped id is equal to every other */
  REPLICA_FACT_SIZE = 1 << 3,  /* of files; in a delta: the content */
  REPLICA_FACT_MTIME = 1 << 4,
  REPLICA_FACT_RDEV = 1 << 5, /* of devices */
  REPLICA_FACT_TARGET = 1 << 6,
  REPLICA_FACT_XATTRS = 1 << 7,
  REPLICA_FACT_HASH = 1 << 8,        /* where both are known */
  REPLICA_FACT_INODE = 1 << 9,       /* dev, ino, ctime: of two readings on one machine */
  REPLICA_FACT_ALL_XATTRS = 1 << 10, /* to be set: XATTRS are all that there are, as READ_ALL reads them */
  REPLICA_FACT_METADATA = REPLICA_FACT_MODE | REPLICA_FACT_OWNER | REPLICA_FACT_MTIME | REPLICA_FACT_XATTRS,
  REPLICA_FACT_ALL = (1 << 9) - 1,
};

/* Whether what `fd` (O_PATH will do) is open on is on a file system that the kernel makes up; TRUE where that
 * cannot be told. */
gboolean replica_facts_pseudo(int fd);

/* Which of the facts in `what` differ: 0 when all are equal. */
guint replica_facts_differ(const ReplicaFacts *a, const ReplicaFacts *b, guint what);
gboolean replica_facts_equal(const ReplicaFacts *a, const ReplicaFacts *b, guint what);

/* Whether a change of the file after `read_ns` (replica_now_ns()) could have left its ctime as it is here:
 * the clock of a file system ticks coarsely. What was learnt about such a file must not be remembered by its
 * times. */
gboolean replica_facts_racy(const ReplicaFacts *facts, gint64 read_ns);

/* Sets on `name` in `directory` what `what` selects of METADATA: owner, attributes, mode, times, in the order
 * in which none undoes another. Never follows a symbolic link. 0, or an errno. */
int replica_facts_set(int directory, const char *name, const ReplicaFacts *facts, guint what);

/* CLOCK_REALTIME_COARSE, the clock that file systems stamp with: it may lag, and so do the stamps. */
gint64 replica_now_ns(void);
