/* The clone's end: which generations there are, and what is in one. */
#include <errno.h>
#include <unistd.h>

#include "base/error.h"
#include "replica/generation_lease.h"
#include "replica/path.h"
#include "replica/signature.h"
#include "replicator/receive_private.h"
#include "replicator/sync_path.h"

#define LIST_MAX 10000u /* generations that are told of: a line each */

static void
tell_rules(const GenerationRetention *retention, Doppel__Sync__Rules *rules)
{
  rules->last = retention->last;
  rules->hourly = retention->hours;
  rules->daily = retention->days;
  rules->weekly = retention->weeks;
  rules->monthly = retention->months;
}

gboolean
receiver_list(Receiver *receiver, GError **error)
{
  Doppel__Sync__Generations list = DOPPEL__SYNC__GENERATIONS__INIT;
  int store = receiver_store(receiver);
  g_autoptr(GError) problem = NULL;
  g_autoptr(GenerationHead) head = store < 0 ? NULL : generation_head_read(store, &problem);
  if (problem && !g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND)) {
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
  }
  guint count = head ? head->generations->len : 0, first = count > LIST_MAX ? count - LIST_MAX : 0;
  g_auto(GenerationRetention) retention = GENERATION_RETENTION_USUAL;
  if (head && !generation_retention_read(receiver->directory, &retention, error))
    return FALSE;
  g_autoptr(GHashTable) kept = head ? generation_retention_keep(head, &retention) : NULL;
  Doppel__Sync__Rules rules = DOPPEL__SYNC__RULES__INIT;
  tell_rules(&retention, &rules);
  g_autofree Doppel__Sync__Generation *messages = g_new(Doppel__Sync__Generation, count + 1);
  g_autofree Doppel__Sync__Generation **pointers = g_new(Doppel__Sync__Generation *, count + 1);
  for (guint i = first; i < count; i++) {
    pointers[list.n_generation++] = &messages[i];
    receiver_generation(head->generations->pdata[i], &messages[i]);
    messages[i].reasons = GPOINTER_TO_UINT(g_hash_table_lookup(kept, &messages[i].number));
  }
  list.generation = pointers;
  list.rules = &rules;
  return SYNC_SEND(receiver->link, GENERATIONS, generations, &list, error);
}

typedef struct {
  ReceiverAnswer answer;
  const char *path;  /* that was asked for */
  const char *place; /* the same in a layer */
  gboolean hashes, contents;
  gboolean links;     /* with contents always */
  GHashTable *linked; /* inode number (guint64 *) of what has several names to the first of them */
} Show;

/* The name under which the inode came already; otherwise this one is remembered. A generation shows an inode
 * under several names only where the device does. */
static const char *
first_name(Show *show, const struct stat *status, const char *path)
{
  guint64 inode = status->st_ino;
  if (!show->links || status->st_nlink < 2 || S_ISDIR(status->st_mode))
    return NULL;
  const char *first = g_hash_table_lookup(show->linked, &inode);
  if (!first)
    g_hash_table_insert(show->linked, g_memdup2(&inode, sizeof inode), g_strdup(path));
  return first;
}

static int
show_file(Show *show, const char *path, const GenerationEntry *entry, const char *name,
          const ReplicaFacts *facts)
{
  guint8 hash[GENERATION_CONTENT_HASH];
  g_auto(Fd) fd = receiver_open_file(entry->fd, name);
  if (fd < 0 || (show->hashes && !signature_hash_fd(fd, facts->size, hash)))
    return errno;
  if (!receiver_answer_add(&show->answer, path, facts, show->hashes ? hash : NULL,
                           DOPPEL__SYNC__CHANGE__PRESENT))
    return ECANCELED;
  return !show->contents || receiver_answer_content(&show->answer, fd, 0, facts->size) ? 0 : ECANCELED;
}

static int
show_entry(Show *show, const char *path, const GenerationEntry *entry, const char *name)
{
  g_auto(ReplicaFacts) facts = {0};
  int failure = replica_facts_read_at(entry->fd, name, REPLICA_READ_ALL, NULL, &facts);
  if (failure)
    return failure;
  generation_node_recognise(entry->fd, name, &facts);
  const char *first = first_name(show, &entry->status, path);
  if (first)
    return receiver_answer_link(&show->answer, path, first, &facts) ? 0 : ECANCELED;
  if (facts.type == REPLICA_FILE && (show->hashes || show->contents))
    return show_file(show, path, entry, name, &facts);
  return receiver_answer_add(&show->answer, path, &facts, NULL, DOPPEL__SYNC__CHANGE__PRESENT) ? 0
                                                                                               : ECANCELED;
}

static int
visit(const GenerationDirectory *directory, const char *name, const GenerationEntry *entry, const char *below,
      gpointer user_data)
{
  Show *show = user_data;
  g_autofree char *path = replica_path_join(show->path, below);
  return show_entry(show, path, entry, name);
}

static int
show_path(Show *show, const GenerationStack *stack, gboolean *is_directory)
{
  g_auto(GenerationDirectory) directory = {0};
  GenerationEntry entry;
  const char *name;
  int failure = generation_stack_find(stack, show->place, &directory, &name, &entry);
  *is_directory = !failure && S_ISDIR(entry.status.st_mode);
  return failure ? failure : show_entry(show, show->path, &entry, name);
}

static int
show_all(Show *show, const GenerationStack *stack, gboolean below)
{
  gboolean is_directory = FALSE;
  int failure = show_path(show, stack, &is_directory);
  if (!failure && below && is_directory)
    failure = generation_stack_visit(stack, show->place, visit, show);
  return failure;
}

gboolean
receiver_show(Receiver *receiver, const Doppel__Sync__Show *message, GError **error)
{
  g_autofree char *path = sync_path_take(&message->path, error);
  if (!path)
    return FALSE;
  if (receiver_store(receiver) < 0)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "nothing was synchronised to the clone %s yet",
                            receiver->place->name);
  g_autoptr(GenerationLease) lease =
      generation_lease_take(receiver_store(receiver), message->generation, error);
  g_autoptr(GenerationStack) stack = lease ? generation_lease_open(lease, error) : NULL;
  if (!stack)
    return FALSE;
  g_autofree char *place = replica_path_join(GENERATION_TREE, path);
  g_autoptr(GHashTable) linked = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
  Show show = {.path = path,
               .place = place,
               .linked = linked,
               .hashes = message->hashes,
               .contents = message->contents,
               .links = message->contents || message->links};
  receiver_answer_init(&show.answer, receiver, message->grant);
  int failure = show_all(&show, stack, message->below);
  if (failure == ENOENT || failure == ENOTDIR)
    doppel_error_set(&show.answer.error, DOPPEL_ERROR_NOT_FOUND,
                     "generation %" G_GUINT64_FORMAT " has no /%s", lease->number, path);
  else if (failure && !show.answer.error)
    doppel_error_set(&show.answer.error, DOPPEL_ERROR_FAILED, "the clone cannot read its copy of /%s: %s",
                     path, g_strerror(failure));
  return receiver_answer_end(&show.answer, error);
}
