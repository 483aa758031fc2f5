/* Hashes of contents (BLAKE2b-256), and a cache of them that survives restarts.
 *
 * An entry is good while the file's (device, inode, size, mtime, ctime) are what they were. A file whose
 * ctime is so young that a further change could have left it alone is not remembered. Each row carries a seal
 * over its columns: a damaged cache costs time, never correctness. */
#pragma once

#include <glib.h>
#include <sys/stat.h>

#define REPLICA_HASH_SIZE 32

typedef struct ReplicaHashes ReplicaHashes;

/* Opens or makes the cache at `path` (SQLite, WAL); a damaged one is made anew. Never fails: where it cannot
 * be had, nothing is remembered. */
ReplicaHashes *replica_hashes_open(const char *path);
void replica_hashes_free(ReplicaHashes *hashes);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ReplicaHashes, replica_hashes_free)

/* The hash of the regular file `fd`, from the cache where it is known. `hashes` may be NULL. On return *after
 * is fstat() of what was hashed. FALSE with errno; EAGAIN where the file kept changing. */
gboolean replica_hashes_get(ReplicaHashes *hashes, int fd, struct stat *after,
                            guint8 hash[static REPLICA_HASH_SIZE]);

/* How many hashes came from the cache, and how many were computed. */
void replica_hashes_count(const ReplicaHashes *hashes, guint64 *found, guint64 *computed);

/* BLAKE2b-256 of all of `fd` from its start; the offset is not moved. FALSE with errno. */
gboolean replica_hash_fd(int fd, guint8 hash[static REPLICA_HASH_SIZE]);
