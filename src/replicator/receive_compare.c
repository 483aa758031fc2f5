/* The clone's end: what differs between two generations. The layers that both have in common show the same
 * inode: only what does not is compared. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "replica/generation_lease.h"
#include "replica/path.h"
#include "replica/signature.h"
#include "replicator/receive_private.h"
#include "replicator/sync_path.h"

typedef struct {
  dev_t dev;
  ino_t ino;
  gboolean kept; /* the newer generation has the path, too */
} Former;

typedef struct {
  ReceiverAnswer answer;
  const char *path; /* below which is compared */
  const GenerationStack *older;
  GHashTable *former; /* path to Former, of the older generation */
} Comparison;

static int
remember(Comparison *comparison, const char *path, const struct stat *status)
{
  Former *former = g_new(Former, 1);
  *former = (Former){.dev = status->st_dev, .ino = status->st_ino};
  g_hash_table_insert(comparison->former, g_strdup(path), former);
  return 0;
}

static int
visit_older(const GenerationDirectory *directory, const char *name, const GenerationEntry *entry,
            const char *below, gpointer user_data)
{
  Comparison *comparison = user_data;
  g_autofree char *path = replica_path_join(comparison->path, below);
  return remember(comparison, path, &entry->status);
}

static int
read_facts(int directory, const char *name, ReplicaFacts *facts)
{
  int failure = replica_facts_read_at(directory, name, REPLICA_READ_ALL, NULL, facts);
  if (!failure)
    generation_node_recognise(directory, name, facts);
  return failure;
}

static int
same_content(const GenerationEntry *a, const char *name_a, const GenerationEntry *b, const char *name_b,
             guint64 size, gboolean *same)
{
  guint8 hashes[2][GENERATION_CONTENT_HASH];
  g_auto(Fd) fd_a = receiver_open_file(a->fd, name_a);
  g_auto(Fd) fd_b = receiver_open_file(b->fd, name_b);
  if (fd_a < 0 || fd_b < 0 || !signature_hash_fd(fd_a, size, hashes[0]) ||
      !signature_hash_fd(fd_b, size, hashes[1]))
    return errno;
  *same = memcmp(hashes[0], hashes[1], sizeof hashes[0]) == 0;
  return 0;
}

/* A directory's times say no more than that something in it changed. */
static guint
differing(const ReplicaFacts *was, const ReplicaFacts *is)
{
  guint what = REPLICA_FACT_ALL & ~REPLICA_FACT_HASH;
  return replica_facts_differ(was, is, is->type == REPLICA_DIRECTORY ? what & ~REPLICA_FACT_MTIME : what);
}

static int
compare_entry(Comparison *comparison, const char *path, const GenerationEntry *entry, const char *name,
              const ReplicaFacts *is, Doppel__Sync__Change *change)
{
  g_auto(GenerationDirectory) directory = {0};
  g_auto(ReplicaFacts) was = {0};
  GenerationEntry before;
  const char *name_before;
  gboolean same = TRUE;
  g_autofree char *place = replica_path_join(GENERATION_TREE, path);
  int failure = generation_stack_find(comparison->older, place, &directory, &name_before, &before);
  if (!failure)
    failure = read_facts(before.fd, name_before, &was);
  if (failure)
    return failure;
  guint differ = differing(&was, is);
  const guint content = REPLICA_FACT_TYPE | REPLICA_FACT_SIZE | REPLICA_FACT_TARGET | REPLICA_FACT_RDEV;
  if (!(differ & content) && is->type == REPLICA_FILE)
    failure = same_content(&before, name_before, entry, name, is->size, &same);
  *change = !same || (differ & content) ? DOPPEL__SYNC__CHANGE__CONTENT
            : differ                    ? DOPPEL__SYNC__CHANGE__METADATA
                                        : DOPPEL__SYNC__CHANGE__PRESENT;
  return failure;
}

static int
visit_newer(const GenerationDirectory *directory, const char *name, const GenerationEntry *entry,
            const char *below, gpointer user_data)
{
  Comparison *comparison = user_data;
  g_auto(ReplicaFacts) facts = {0};
  g_autofree char *path = replica_path_join(comparison->path, below);
  Former *former = g_hash_table_lookup(comparison->former, path);
  Doppel__Sync__Change change = DOPPEL__SYNC__CHANGE__ADDED;
  if (former)
    former->kept = TRUE;
  if (former && former->dev == entry->status.st_dev && former->ino == entry->status.st_ino)
    return 0;
  int failure = read_facts(entry->fd, name, &facts);
  if (!failure && former)
    failure = compare_entry(comparison, path, entry, name, &facts, &change);
  if (failure || change == DOPPEL__SYNC__CHANGE__PRESENT)
    return failure;
  return receiver_answer_add(&comparison->answer, path, &facts, NULL, change) ? 0 : ECANCELED;
}

/* One that may be missing, or be no directory. */
static int
visit_path(const GenerationStack *stack, const char *path, GenerationVisit visit, Comparison *comparison)
{
  g_auto(GenerationDirectory) directory = {0};
  GenerationEntry entry;
  const char *name;
  g_autofree char *place = replica_path_join(GENERATION_TREE, path);
  int failure = generation_stack_find(stack, place, &directory, &name, &entry);
  if (failure)
    return failure == ENOENT || failure == ENOTDIR ? 0 : failure;
  failure = visit(&directory, name, &entry, "", comparison);
  return failure || !S_ISDIR(entry.status.st_mode) ? failure
                                                   : generation_stack_visit(stack, place, visit, comparison);
}

static void
tell_removed(Comparison *comparison)
{
  GHashTableIter iter;
  gpointer path, former;
  g_hash_table_iter_init(&iter, comparison->former);
  while (g_hash_table_iter_next(&iter, &path, &former))
    if (!((Former *)former)->kept &&
        !receiver_answer_add(&comparison->answer, path, NULL, NULL, DOPPEL__SYNC__CHANGE__REMOVED))
      return;
}

static void
compare(Comparison *comparison, const GenerationStack *newer)
{
  int failure = visit_path(comparison->older, comparison->path, visit_older, comparison);
  if (!failure)
    failure = visit_path(newer, comparison->path, visit_newer, comparison);
  if (!failure)
    tell_removed(comparison);
  else if (!comparison->answer.error)
    doppel_error_set(&comparison->answer.error, DOPPEL_ERROR_FAILED,
                     "the clone cannot read its copy of /%s: %s", comparison->path, g_strerror(failure));
}

gboolean
receiver_compare(Receiver *receiver, const Doppel__Sync__Compare *message, GError **error)
{
  g_autofree char *path = sync_path_take(&message->path, error);
  if (!path)
    return FALSE;
  int store = receiver_store(receiver);
  if (store < 0)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "nothing was synchronised to the clone %s yet",
                            receiver->place->name);
  g_autoptr(GenerationLease) older = generation_lease_take(store, message->older, error);
  g_autoptr(GenerationLease) newer = older ? generation_lease_take(store, message->newer, error) : NULL;
  g_autoptr(GenerationStack) before = newer ? generation_lease_open(older, error) : NULL;
  g_autoptr(GenerationStack) after = before ? generation_lease_open(newer, error) : NULL;
  if (!after)
    return FALSE;
  g_autoptr(GHashTable) former = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  Comparison comparison = {.path = path, .older = before, .former = former};
  receiver_answer_init(&comparison.answer, receiver, message->grant);
  compare(&comparison, after);
  return receiver_answer_end(&comparison.answer, error);
}
