#include "replica/hashes.h"

#include <errno.h>
#include <sodium.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

#include "replica/facts.h"

#define SEAL_SIZE 16
#define CHUNK     (128 * 1024)
#define TRIES     4
#define BUSY_MS                                                                                              \
  200 /* longer than this, computing the hash is no worse than waiting for another program's transaction */

static const char schema[] =
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
    "CREATE TABLE IF NOT EXISTS hashes(dev INTEGER, ino INTEGER, size INTEGER, mtime INTEGER,"
    " ctime INTEGER, hash BLOB, seal BLOB, PRIMARY KEY(dev, ino)) WITHOUT ROWID;";
static const char select_sql[] = "SELECT size, mtime, ctime, hash, seal FROM hashes WHERE dev=? AND ino=?";
static const char insert_sql[] = "INSERT OR REPLACE INTO hashes VALUES(?,?,?,?,?,?,?)";

struct ReplicaHashes {
  sqlite3 *db; /* NULL: nothing is remembered */
  sqlite3_stmt *select, *insert;
  guint64 found, computed;
};

typedef struct {
  gint64 dev, ino, size, mtime, ctime;
} Stamp;

static Stamp
stamp_of(const struct stat *st)
{
  return (Stamp){.dev = st->st_dev,
                 .ino = st->st_ino,
                 .size = st->st_size,
                 .mtime = st->st_mtim.tv_sec * 1000000000LL + st->st_mtim.tv_nsec,
                 .ctime = st->st_ctim.tv_sec * 1000000000LL + st->st_ctim.tv_nsec};
}

static void
seal_row(const Stamp *stamp, const guint8 hash[REPLICA_HASH_SIZE], guint8 seal[SEAL_SIZE])
{
  guint8 row[sizeof *stamp + REPLICA_HASH_SIZE];
  memcpy(row, stamp, sizeof *stamp);
  memcpy(row + sizeof *stamp, hash, REPLICA_HASH_SIZE);
  crypto_generichash(seal, SEAL_SIZE, row, sizeof row, NULL, 0);
}

static void
close_database(ReplicaHashes *hashes)
{
  sqlite3_finalize(hashes->select);
  sqlite3_finalize(hashes->insert);
  sqlite3_close(hashes->db);
  hashes->select = hashes->insert = NULL;
  hashes->db = NULL;
}

static gboolean
open_database(ReplicaHashes *hashes, const char *path)
{
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(path, &hashes->db, flags, NULL) == SQLITE_OK &&
      sqlite3_busy_timeout(hashes->db, BUSY_MS) == SQLITE_OK &&
      sqlite3_exec(hashes->db, schema, NULL, NULL, NULL) == SQLITE_OK &&
      sqlite3_prepare_v2(hashes->db, select_sql, -1, &hashes->select, NULL) == SQLITE_OK &&
      sqlite3_prepare_v2(hashes->db, insert_sql, -1, &hashes->insert, NULL) == SQLITE_OK)
    return TRUE;
  close_database(hashes);
  return FALSE;
}

ReplicaHashes *
replica_hashes_open(const char *path)
{
  ReplicaHashes *hashes = g_new0(ReplicaHashes, 1);
  if (open_database(hashes, path))
    return hashes;
  static const char *const parts[] = {"", "-wal", "-shm"};
  for (guint i = 0; i < G_N_ELEMENTS(parts); i++) {
    g_autofree char *part = g_strconcat(path, parts[i], NULL);
    unlink(part);
  }
  if (!open_database(hashes, path))
    g_info("%s cannot be used as a cache of hashes: files are hashed each time", path);
  return hashes;
}

void
replica_hashes_free(ReplicaHashes *hashes)
{
  if (!hashes)
    return;
  close_database(hashes);
  g_free(hashes);
}

void
replica_hashes_count(const ReplicaHashes *hashes, guint64 *found, guint64 *computed)
{
  *found = hashes->found;
  *computed = hashes->computed;
}

static gboolean
look_up(ReplicaHashes *hashes, const Stamp *stamp, guint8 hash[REPLICA_HASH_SIZE])
{
  if (!hashes || !hashes->db)
    return FALSE;
  sqlite3_stmt *row = hashes->select;
  gboolean found = FALSE;
  sqlite3_bind_int64(row, 1, stamp->dev);
  sqlite3_bind_int64(row, 2, stamp->ino);
  if (sqlite3_step(row) == SQLITE_ROW && sqlite3_column_int64(row, 0) == stamp->size &&
      sqlite3_column_int64(row, 1) == stamp->mtime && sqlite3_column_int64(row, 2) == stamp->ctime &&
      sqlite3_column_bytes(row, 3) == REPLICA_HASH_SIZE && sqlite3_column_bytes(row, 4) == SEAL_SIZE) {
    guint8 seal[SEAL_SIZE];
    memcpy(hash, sqlite3_column_blob(row, 3), REPLICA_HASH_SIZE);
    seal_row(stamp, hash, seal);
    found = memcmp(seal, sqlite3_column_blob(row, 4), SEAL_SIZE) == 0;
  }
  sqlite3_reset(row);
  if (found)
    hashes->found++;
  return found;
}

static void
remember(ReplicaHashes *hashes, const Stamp *stamp, const guint8 hash[REPLICA_HASH_SIZE])
{
  if (!hashes || !hashes->db)
    return;
  guint8 seal[SEAL_SIZE];
  seal_row(stamp, hash, seal);
  sqlite3_stmt *row = hashes->insert;
  const gint64 columns[] = {stamp->dev, stamp->ino, stamp->size, stamp->mtime, stamp->ctime};
  for (guint i = 0; i < G_N_ELEMENTS(columns); i++)
    sqlite3_bind_int64(row, i + 1, columns[i]);
  sqlite3_bind_blob(row, 6, hash, REPLICA_HASH_SIZE, SQLITE_STATIC);
  sqlite3_bind_blob(row, 7, seal, SEAL_SIZE, SQLITE_STATIC);
  sqlite3_step(row);
  sqlite3_reset(row);
  sqlite3_clear_bindings(row);
}

gboolean
replica_hash_fd(int fd, guint8 hash[static REPLICA_HASH_SIZE])
{
  crypto_generichash_state state;
  crypto_generichash_init(&state, NULL, 0, REPLICA_HASH_SIZE);
  g_autofree guint8 *chunk = g_malloc(CHUNK);
  for (gint64 offset = 0;;) {
    ssize_t got = pread(fd, chunk, CHUNK, offset);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return FALSE;
    if (got == 0)
      break;
    crypto_generichash_update(&state, chunk, got);
    offset += got;
  }
  crypto_generichash_final(&state, hash, REPLICA_HASH_SIZE);
  return TRUE;
}

gboolean
replica_hashes_get(ReplicaHashes *hashes, int fd, struct stat *after, guint8 hash[static REPLICA_HASH_SIZE])
{
  struct stat before;
  if (fstat(fd, &before) < 0)
    return FALSE;
  for (guint tries = 0; tries < TRIES; tries++) {
    Stamp stamp = stamp_of(&before);
    gint64 began_ns = replica_now_ns();
    gboolean found = look_up(hashes, &stamp, hash);
    if (!found && !replica_hash_fd(fd, hash))
      return FALSE;
    if (fstat(fd, after) < 0)
      return FALSE;
    Stamp now = stamp_of(after);
    if (memcmp(&stamp, &now, sizeof now) == 0) {
      if (!found && hashes)
        hashes->computed++;
      if (!found && !replica_facts_racy(&(ReplicaFacts){.ctime_ns = now.ctime}, began_ns))
        remember(hashes, &now, hash);
      return TRUE;
    }
    before = *after;
  }
  errno = EAGAIN;
  return FALSE;
}
