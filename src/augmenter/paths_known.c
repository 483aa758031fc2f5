#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "augmenter/paths_private.h"
#include "base/error.h"
#include "replica/message.h"
#include "replica/path.h"

void
known_free(KnownPath *known)
{
  replica_facts_clear(&known->facts);
  g_free(known->trouble);
  g_free(known);
}

KnownPath *
known_find(const Paths *paths, const char *path)
{
  return g_hash_table_lookup(paths->known, path);
}

static gboolean
has_id(const GArray *ranges, guint32 id)
{
  for (guint i = 0; i < ranges->len; i++) {
    const IdRange *range = &g_array_index(ranges, IdRange, i);
    if (id >= range->first && id - range->first < range->count)
      return TRUE;
  }
  return FALSE;
}

static gboolean
room_for_one(const Paths *paths, GError **error)
{
  return g_hash_table_size(paths->known) < PATHS_KNOWN_MAX ||
         doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "the session looks at more than %u paths",
                          PATHS_KNOWN_MAX);
}

static char *
take_path(const char *directory, const ProtobufCBinaryData *from, GError **error)
{
  const char *text = (const char *)from->data;
  gboolean valid;
  if (directory) {
    gsize prefix = strcmp(directory, "/") == 0 ? 0 : strlen(directory);
    valid = replica_path_valid(text, from->len) && !memchr(text, '/', from->len) &&
            prefix + 1 + from->len < REPLICA_PATH_MAX;
    if (valid)
      return g_strdup_printf("%.*s/%.*s", (int)prefix, directory, (int)from->len, text);
  } else {
    valid = from->len == 1 && *text == '/';
    valid |= from->len > 1 && *text == '/' && replica_path_valid(text + 1, from->len - 1);
    if (valid)
      return g_strndup(text, from->len);
  }
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the device spoke of a path that is none");
  return NULL;
}

gboolean
known_tell(Paths *paths, const char *directory, const Doppel__Engine__Told *told, char **path, GError **error)
{
  g_autofree char *named = take_path(directory, &told->path, error);
  g_auto(ReplicaFacts) facts = {0};
  int failure;
  if (!named || !room_for_one(paths, error) ||
      !replica_facts_unpack(told->facts.data, told->facts.len, &facts, &failure, error))
    return FALSE;
  gboolean odd = !failure && (!has_id(paths->uids, facts.uid) || !has_id(paths->gids, facts.gid));
  KnownPath *former = known_find(paths, named);
  gboolean same = former && former->failure == failure && former->facts.hashed == facts.hashed &&
                  replica_facts_equal(&former->facts, &facts, REPLICA_FACT_ALL & ~REPLICA_FACT_INODE);
  if (path)
    *path = g_strdup(named);
  /* A name in a listing that is as it was: nothing new. What is told on its own has changed, even if that
   * does not show. */
  if (directory && same) {
    former->facts.dev = facts.dev;
    former->facts.ino = facts.ino;
    former->facts.blocks = facts.blocks;
    former->facts.directory_size = facts.directory_size;
    former->facts.ctime_ns = facts.ctime_ns;
    return TRUE;
  }
  KnownPath *known = g_new0(KnownPath, 1);
  known->facts = facts;
  facts = (ReplicaFacts){0};
  known->failure = failure;
  known->odd_owner = odd;
  g_hash_table_insert(paths->known, g_steal_pointer(&named), known);
  return TRUE;
}

KnownPath *
known_failed(Paths *paths, const char *path, int failure)
{
  KnownPath *known = g_new0(KnownPath, 1);
  known->failure = failure;
  g_hash_table_insert(paths->known, g_strdup(path), known);
  return known;
}

/* Who the clone does not know owns nothing here: the copy's owner stands for it. */
void
known_copy_facts(const KnownPath *known, const ReplicaFacts *own, ReplicaFacts *facts)
{
  replica_facts_copy(facts, &known->facts);
  if (!known->odd_owner)
    return;
  facts->uid = own ? own->uid : geteuid();
  facts->gid = own ? own->gid : getegid();
}
