/* Contents that come from the device. The device sends what it was granted; each part that was taken grants
 * another. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "augmenter/paths_private.h"
#include "base/error.h"
#include "replica/path.h"

enum {
  AHEAD = 8 /* parts on their way, of 256 KiB at most */,
  GRANT = 4,
  PULLS_MAX = 16,
  TRIES = 5,
  NOTES_MAX = 64
};

typedef struct {
  char *path, *rest;
  guint64 id;
  PathsLayer *layer;
  ReplicaPull *pull;
  guint taken; /* since the last grant */
  guint tries;
  gboolean replaces;   /* another version of the file */
  ReplicaFacts parent; /* its directory before, whose times a pull that fails has changed */
  int parent_depth;
} PathsPull;

/* What a pull that came to nothing did to its directory: nothing that the block did. */
static void
restore_parent(PathsPull *pull)
{
  g_autofree char *parent = replica_path_parent(pull->rest);
  const char *name;
  g_auto(Fd) above = replica_path_open_parent(pull->layer->replica->merged, parent, FALSE, &name);
  if (above >= 0 && pull->parent.type == REPLICA_DIRECTORY && pull->parent_depth >= 0 &&
      replica_facts_set(above, name, &pull->parent, REPLICA_FACT_MTIME) == 0)
    replica_baseline_note(pull->layer->baseline, pull->layer->replica, parent, pull->parent_depth, NULL);
}

static void
drop(PathsPull *pull)
{
  if (!pull->pull)
    return;
  g_clear_pointer(&pull->pull, replica_pull_free);
  restore_parent(pull);
}

void
pull_free(gpointer data)
{
  PathsPull *pull = data;
  g_clear_pointer(&pull->pull, replica_pull_free);
  replica_facts_clear(&pull->parent);
  g_free(pull->path);
  g_free(pull->rest);
  g_free(pull);
}

static gboolean
ask(Paths *paths, PathsPull *pull, GBytes *request, guint more, GError **error)
{
  Doppel__Engine__AskContent message = DOPPEL__ENGINE__ASK_CONTENT__INIT;
  message.id = pull->id;
  message.mountpoint = pull->layer->number;
  message.more = more;
  message.has_request = request != NULL;
  if (request)
    message.request.data = (guint8 *)g_bytes_get_data(request, &message.request.len);
  return ENGINE_SEND(paths->augmenter->link, ASK_CONTENT, ask_content, &message, error);
}

static gboolean
begin(Paths *paths, PathsPull *pull, GError **error)
{
  g_autofree char *parent = replica_path_parent(pull->rest);
  guint flags = g_hash_table_contains(paths->held_open, pull->path) ? REPLICA_PULL_IN_PLACE : 0;
  struct stat former;
  pull->replaces = layers_look(paths, pull->path, &former) && S_ISREG(former.st_mode) && former.st_size > 0;
  replica_facts_clear(&pull->parent);
  pull->parent_depth = replica_baseline_depth(pull->layer->replica, parent);
  replica_facts_read(pull->layer->replica->merged, parent, 0, NULL, &pull->parent);
  pull->id = ++paths->next_id;
  pull->taken = 0;
  pull->pull = replica_pull_new(&pull->layer->copy, pull->rest, flags, error);
  if (!pull->pull)
    return FALSE;
  g_autoptr(GBytes) request = replica_pull_request(pull->pull);
  return ask(paths, pull, request, AHEAD, error);
}

static PathsVerdict
refuse(char **reason, const char *path, const GError *error)
{
  g_free(*reason);
  *reason = g_strdup_printf("%s: %s", path, error->message);
  return PATHS_CUT;
}

PathsVerdict
pull_start(Paths *paths, PathsLayer *layer, const char *path, const char *rest, char **reason)
{
  if (g_hash_table_contains(paths->pulls, path) || g_hash_table_size(paths->pulls) >= PULLS_MAX)
    return PATHS_WAIT;
  PathsPull *pull = g_new0(PathsPull, 1);
  g_autoptr(GError) error = NULL;
  pull->path = g_strdup(path);
  pull->rest = g_strdup(rest);
  pull->layer = layer;
  if (begin(paths, pull, &error)) {
    g_hash_table_insert(paths->pulls, pull->path, pull);
    return PATHS_WAIT;
  }
  drop(pull);
  pull_free(pull);
  return refuse(reason, path, error);
}

static PathsPull *
find(Paths *paths, guint64 id)
{
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, paths->pulls);
  while (g_hash_table_iter_next(&iter, NULL, &value))
    if (((PathsPull *)value)->id == id)
      return value;
  return NULL;
}

static void
note_pulled(Paths *paths, const PathsPull *pull, const ReplicaFacts *facts)
{
  KnownPath *known = known_find(paths, pull->path);
  if (!known)
    return;
  replica_facts_clear(&known->facts);
  replica_facts_copy(&known->facts, facts);
  known->failure = 0;
  known->fresh = FRESH_WHOLE;
  if (pull->replaces && paths->notes->len < NOTES_MAX)
    g_ptr_array_add(paths->notes,
                    g_strdup_printf("%s is another version there: the device's is used", pull->path));
}

/* It cannot be had: whoever waits for it will be told so. */
static void
end_in_trouble(Paths *paths, PathsPull *pull, const char *why)
{
  KnownPath *known = known_find(paths, pull->path);
  if (known) {
    g_free(known->trouble);
    known->trouble = g_strdup(why);
  }
  drop(pull);
  g_hash_table_remove(paths->pulls, pull->path);
}

static gboolean
finish(Paths *paths, PathsPull *pull)
{
  g_auto(ReplicaFacts) facts = {0};
  g_autoptr(GError) why = NULL;
  if (!replica_pull_finish(pull->pull, &facts, &why)) {
    end_in_trouble(paths, pull, why->message);
    return TRUE;
  }
  note_pulled(paths, pull, &facts);
  g_hash_table_remove(paths->pulls, pull->path);
  return TRUE;
}

/* It changed while it was read: once more, but not for ever. */
static gboolean
again(Paths *paths, PathsPull *pull, const char *reason)
{
  g_autoptr(GError) why = NULL;
  drop(pull);
  if (++pull->tries >= TRIES)
    end_in_trouble(paths, pull, reason);
  else if (!begin(paths, pull, &why))
    end_in_trouble(paths, pull, why->message);
  return TRUE;
}

gboolean
pulls_take(Paths *paths, const Doppel__Engine__Content *content, GError **error)
{
  PathsPull *pull = find(paths, content->id);
  if (!pull) /* one that was given up may still be on its way */
    return content->id <= paths->next_id ||
           doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the device sent content that was not asked for");
  if (content->error && content->again)
    return again(paths, pull, content->error);
  if (content->error) {
    end_in_trouble(paths, pull, content->error);
    return TRUE;
  }
  g_autoptr(GError) why = NULL;
  if (!replica_pull_push(pull->pull, content->part.data, content->part.len, &why)) {
    end_in_trouble(paths, pull, why->message);
    return TRUE;
  }
  if (replica_pull_done(pull->pull))
    return finish(paths, pull);
  if (++pull->taken < GRANT)
    return TRUE;
  pull->taken = 0;
  return ask(paths, pull, NULL, GRANT, error);
}
