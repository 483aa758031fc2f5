#include "controller/device_told.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "replica/message.h"

struct DeviceTold {
  Fd root;
  ReplicaHashes *hashes;
  GHashTable *tellings; /* path to DeviceTelling, not owned */
  GPtrArray *all;       /* of DeviceTelling */
};

static void
telling_free(DeviceTelling *telling)
{
  g_free(telling->path);
  replica_facts_clear(&telling->facts);
  g_free(telling);
}

DeviceTold *
device_told_new(ReplicaHashes *hashes)
{
  DeviceTold *told = g_new0(DeviceTold, 1);
  told->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  told->hashes = hashes;
  told->tellings = g_hash_table_new(g_str_hash, g_str_equal);
  told->all = g_ptr_array_new_with_free_func((GDestroyNotify)telling_free);
  return told;
}

void
device_told_free(DeviceTold *told)
{
  io_close(&told->root);
  g_hash_table_unref(told->tellings);
  g_ptr_array_unref(told->all);
  g_free(told);
}

const GPtrArray *
device_told_all(const DeviceTold *told)
{
  return told->all;
}

static int
read_facts(DeviceTold *told, const char *path, gboolean content, ReplicaFacts *facts)
{
  guint flags = REPLICA_READ_PSEUDO | (content ? REPLICA_READ_HASH : 0);
  int failure = replica_facts_read(told->root, path + 1, flags, told->hashes, facts);
  /* What cannot be read can still be looked at; its content then cannot be had. */
  return failure && content ? replica_facts_read(told->root, path + 1, REPLICA_READ_PSEUDO, NULL, facts)
                            : failure;
}

/* Whether what is there now is, as far as times and numbers tell, what was told. */
static gboolean
unchanged(const DeviceTelling *telling)
{
  struct stat now;
  const ReplicaFacts *then = &telling->facts;
  if (lstat(telling->path, &now) < 0)
    return telling->failure == errno;
  if (telling->failure || replica_facts_racy(then, telling->read_ns))
    return FALSE;
  return then->dev == now.st_dev && then->ino == now.st_ino && then->nlink == now.st_nlink &&
         then->ctime_ns == now.st_ctim.tv_sec * 1000000000LL + now.st_ctim.tv_nsec &&
         then->mtime_ns == now.st_mtim.tv_sec * 1000000000LL + now.st_mtim.tv_nsec &&
         (then->type != REPLICA_FILE || then->size == (guint64)now.st_size);
}

/* Reads it anew. A content that changed although size and time of modification did not can be told by its
 * hash only. */
static void
renew(DeviceTold *told, DeviceTelling *telling, gboolean content)
{
  const guint visible = REPLICA_FACT_TYPE | REPLICA_FACT_SIZE | REPLICA_FACT_MTIME;
  g_auto(ReplicaFacts) before = telling->facts;
  telling->facts = (ReplicaFacts){0};
  telling->content = content;
  telling->read_ns = replica_now_ns();
  telling->failure = read_facts(told, telling->path, content, &telling->facts);
  const ReplicaFacts *now = &telling->facts;
  if (now->type != REPLICA_FILE || content || !replica_facts_equal(&before, now, visible) ||
      replica_facts_equal(&before, now, REPLICA_FACT_INODE))
    return;
  replica_facts_clear(&telling->facts);
  telling->content = TRUE;
  telling->failure = read_facts(told, telling->path, TRUE, &telling->facts);
}

const DeviceTelling *
device_told_read(DeviceTold *told, const char *path, gboolean content, gboolean asked, gboolean *news)
{
  DeviceTelling *telling = g_hash_table_lookup(told->tellings, path);
  *news = FALSE;
  if (telling) {
    telling->asked |= asked;
    if (unchanged(telling) && (!content || telling->content || telling->facts.type != REPLICA_FILE))
      return telling;
    *news = TRUE;
    renew(told, telling, content || telling->content);
    return telling;
  }
  if (told->all->len >= DEVICE_TOLD_MAX)
    return NULL;
  *news = TRUE;
  telling = g_new0(DeviceTelling, 1);
  telling->path = g_strdup(path);
  telling->content = content;
  telling->asked = asked;
  telling->read_ns = replica_now_ns();
  telling->failure = read_facts(told, path, content, &telling->facts);
  g_ptr_array_add(told->all, telling);
  g_hash_table_insert(told->tellings, telling->path, telling);
  return telling;
}

GPtrArray *
device_told_stale(DeviceTold *told)
{
  GPtrArray *stale = g_ptr_array_new();
  for (guint i = 0; i < told->all->len; i++) {
    DeviceTelling *telling = told->all->pdata[i];
    if (unchanged(telling))
      continue;
    renew(told, telling, FALSE);
    g_ptr_array_add(stale, telling);
  }
  return stale;
}

ReplicaSeen *
device_told_seen(const DeviceTold *told, const char *directory)
{
  ReplicaSeen *seen = replica_seen_new();
  gsize length = strcmp(directory, "/") == 0 ? 0 : strlen(directory);
  for (guint i = 0; i < told->all->len; i++) {
    const DeviceTelling *telling = told->all->pdata[i];
    gboolean below = strncmp(telling->path, directory, length) == 0 && telling->path[length] == '/';
    if (below && (!telling->failure || telling->failure == ENOENT || telling->failure == ENOTDIR))
      replica_seen_add(seen, telling->path + length + 1, &telling->facts);
  }
  return seen;
}

Doppel__Engine__Told *
device_telling_pack(const DeviceTelling *telling, const char *name)
{
  Doppel__Engine__Told *message = g_new(Doppel__Engine__Told, 1);
  doppel__engine__told__init(message);
  g_autoptr(GBytes) facts = replica_facts_pack(&telling->facts, telling->failure);
  message->path.data = (guint8 *)g_strdup(name ? name : telling->path);
  message->path.len = strlen((char *)message->path.data);
  message->facts.data = g_bytes_unref_to_data(g_steal_pointer(&facts), &message->facts.len);
  return message;
}

void
device_packed_free(Doppel__Engine__Told *told)
{
  g_free(told->path.data);
  g_free(told->facts.data);
  g_free(told);
}
