/* A path of a generation, made again: beside its place, and moved there when it is complete. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/generation_trash.h"
#include "replica/message.h"
#include "replica/path.h"
#include "replicator/conversation.h"
#include "replicator/history.h"
#include "replicator/sync_path.h"

typedef struct {
  char *path; /* from the place where the work is done */
  ReplicaFacts facts;
} Made;

typedef struct {
  Link *link;
  const char *path; /* in the generation */
  int directory;
  char *draft; /* name in it */
  HistoryRestored *restored;
  GArray *directories; /* of Made: their times are set last */
  Fd file;             /* whose content comes */
  Made content;
  guint64 position;
} Restoring;

static void
clear_made(gpointer pointer)
{
  Made *made = pointer;
  g_clear_pointer(&made->path, g_free);
  replica_facts_clear(&made->facts);
}

static gboolean
system_refused(const Restoring *restoring, const char *path, GError **error)
{
  const char *below = path + strlen(restoring->draft);
  return doppel_error_errno(error, "/%s%s cannot be restored", restoring->path, below);
}

/* `path` of an entry, as it is while the work is done: below the draft, never elsewhere. */
static char *
draft_path(const Restoring *restoring, const char *path)
{
  gsize length = strlen(restoring->path);
  if (strncmp(path, restoring->path, length) != 0 || (length && path[length] && path[length] != '/'))
    return NULL;
  path += length;
  return replica_path_join(restoring->draft, *path == '/' ? path + 1 : path);
}

static int
set_facts(Restoring *restoring, const Made *made)
{
  const char *name;
  g_auto(Fd) parent = replica_path_open_parent(restoring->directory, made->path, FALSE, &name);
  return parent < 0 ? errno
                    : generation_facts_set(parent, name, &made->facts, made->path + strlen(restoring->draft),
                                           &restoring->restored->losses);
}

static int
make_node(Restoring *restoring, int parent, const char *name, const Made *made)
{
  gboolean stands_in = FALSE;
  int failure = generation_node_make(parent, name, &made->facts, &stands_in);
  if (stands_in)
    generation_losses_add(&restoring->restored->losses, GENERATION_LOST_NODE,
                          made->path + strlen(restoring->draft));
  return failure ? failure : set_facts(restoring, made);
}

/* Takes what `made` points at. */
static gboolean
make_entry(Restoring *restoring, Made *made, GError **error)
{
  const char *name;
  g_auto(Fd) parent = replica_path_open_parent(restoring->directory, made->path, FALSE, &name);
  int failure = 0;
  if (parent < 0) {
    failure = errno;
  } else if (made->facts.type == REPLICA_DIRECTORY) {
    failure = mkdirat(parent, name, 0700) < 0 ? errno : 0;
  } else if (made->facts.type == REPLICA_FILE) {
    restoring->file = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    failure = restoring->file < 0 ? errno : 0;
  } else {
    failure = make_node(restoring, parent, name, made);
  }
  errno = failure;
  if (failure)
    return system_refused(restoring, made->path, error);
  restoring->restored->entries++;
  if (made->facts.type == REPLICA_DIRECTORY) {
    g_array_append_val(restoring->directories, *made);
    *made = (Made){0};
  } else if (made->facts.type == REPLICA_FILE) {
    restoring->content = *made;
    restoring->position = 0;
    *made = (Made){0};
  }
  return TRUE;
}

/* A further name of a file that is there already. */
static gboolean
make_link(Restoring *restoring, Made *made, const Doppel__Sync__Entry *entry, GError **error)
{
  const char *name, *old_name;
  g_autofree char *old = sync_path_take(&entry->link, error);
  g_autofree char *from = old ? draft_path(restoring, old) : NULL;
  if (!old)
    return FALSE;
  if (!from)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone tells of /%s what cannot be", old);
  g_auto(Fd) parent = replica_path_open_parent(restoring->directory, made->path, FALSE, &name);
  g_auto(Fd) old_parent = replica_path_open_parent(restoring->directory, from, FALSE, &old_name);
  if (parent < 0 || old_parent < 0 || linkat(old_parent, old_name, parent, name, 0) < 0)
    return system_refused(restoring, made->path, error);
  restoring->restored->entries++;
  return TRUE;
}

static gboolean
take_entry(Restoring *restoring, const Doppel__Sync__Entry *entry, GError **error)
{
  Made made = {0};
  g_autofree char *path = sync_path_take(&entry->path, error);
  if (!path || !replica_facts_all_from_message(entry->facts, &made.facts, error))
    return FALSE;
  made.path = draft_path(restoring, path);
  /* The content of a file comes before anything else. */
  gboolean good = made.path && made.facts.type != REPLICA_ABSENT && restoring->file < 0;
  if (!good)
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone tells of /%s what cannot be", path);
  if (good)
    good = entry->link.len ? make_link(restoring, &made, entry, error) : make_entry(restoring, &made, error);
  clear_made(&made);
  return good;
}

static gboolean
end_content(Restoring *restoring, GError **error)
{
  int failure = ftruncate(restoring->file, restoring->position) < 0 ? errno : 0;
  if (!failure)
    failure = set_facts(restoring, &restoring->content);
  io_close(&restoring->file);
  errno = failure;
  gboolean good = !failure || system_refused(restoring, restoring->content.path, error);
  clear_made(&restoring->content);
  return good;
}

static gboolean
take_data(Restoring *restoring, const Doppel__Sync__Data *data, GError **error)
{
  guint64 size = restoring->content.facts.size;
  if (restoring->file < 0 || data->bytes.len > size - restoring->position ||
      data->zeros > size - restoring->position - data->bytes.len ||
      (data->last && restoring->position + data->bytes.len + data->zeros != size))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "the clone sends a content that does not fit its size");
  for (gsize done = 0; done < data->bytes.len;) {
    ssize_t wrote =
        pwrite(restoring->file, data->bytes.data + done, data->bytes.len - done, restoring->position + done);
    if (wrote < 0 && errno != EINTR)
      return system_refused(restoring, restoring->content.path, error);
    done += MAX(wrote, 0);
  }
  restoring->position += data->bytes.len + data->zeros;
  restoring->restored->bytes += data->bytes.len + data->zeros;
  return !data->last || end_content(restoring, error);
}

static gboolean
take_message(Restoring *restoring, const SyncMessage *message, GError **error)
{
  if (message->kind_case == DOPPEL__SYNC__MESSAGE__KIND_DATA)
    return take_data(restoring, message->data, error);
  for (gsize i = 0; i < message->entries->n_entry; i++)
    if (!take_entry(restoring, message->entries->entry[i], error))
      return FALSE;
  return TRUE;
}

static gboolean
set_directories(Restoring *restoring, GError **error)
{
  for (guint i = restoring->directories->len; i > 0; i--) {
    const Made *made = &g_array_index(restoring->directories, Made, i - 1);
    errno = set_facts(restoring, made);
    if (errno)
      return system_refused(restoring, made->path, error);
  }
  return TRUE;
}

static gboolean
receive(Restoring *restoring, guint64 generation, GError **error)
{
  Doppel__Sync__Show show = DOPPEL__SYNC__SHOW__INIT;
  guint taken = 0;
  show.generation = generation;
  show.path = replica_path_to_message(restoring->path);
  show.below = show.contents = TRUE;
  show.grant = CONVERSATION_GRANT;
  if (!SYNC_SEND(restoring->link, SHOW, show, &show, error))
    return FALSE;
  for (;;) {
    gboolean end;
    g_autoptr(SyncMessage) message = conversation_next(restoring->link, &taken, &end, error);
    if (!message || (!end && !take_message(restoring, message, error)))
      return FALSE;
    if (end)
      break;
  }
  if (restoring->file >= 0 || restoring->restored->entries == 0)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone ended in the middle of /%s",
                            restoring->path);
  return set_directories(restoring, error);
}

static gboolean
move_to_place(const Restoring *restoring, const char *name, gboolean replace, GError **error)
{
  int directory = restoring->directory;
  if (renameat2(directory, restoring->draft, directory, name, RENAME_NOREPLACE) == 0)
    return TRUE;
  if (errno == EEXIST && !replace)
    return doppel_error_set(
        error, DOPPEL_ERROR_USAGE,
        "%s is there already: say with -o where else /%s is to go, or --force to replace it", name,
        restoring->path);
  if (errno == EEXIST && renameat2(directory, restoring->draft, directory, name, RENAME_EXCHANGE) == 0)
    return TRUE; /* the draft is now what was there, and goes with the drafts */
  return doppel_error_errno(error, "%s cannot be restored", name);
}

/* Before anything is fetched. */
static gboolean
is_free(int directory, const char *name, gboolean replace, GError **error)
{
  struct stat status;
  return replace || fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) < 0 ||
         doppel_error_set(error, DOPPEL_ERROR_USAGE,
                          "%s is there already: say with -o where else it is to go, or --force to replace it",
                          name);
}

void
history_restored_clear(HistoryRestored *restored)
{
  generation_losses_clear(&restored->losses);
}

gboolean
history_restore(Link *link, guint64 generation, const char *path, int directory, const char *name,
                gboolean replace, HistoryRestored *restored, GError **error)
{
  *restored = (HistoryRestored){0};
  if (!is_free(directory, name, replace, error))
    return FALSE;
  g_autoptr(SyncMessage) welcome = conversation_hello(link, FALSE, error);
  if (!welcome)
    return FALSE;
  g_autoptr(GArray) directories = g_array_new(FALSE, FALSE, sizeof(Made));
  g_array_set_clear_func(directories, clear_made);
  g_autofree char *draft = g_strdup_printf(".doppel-restore-%08x", g_random_int());
  Restoring restoring = {.link = link,
                         .path = path,
                         .directory = directory,
                         .draft = draft,
                         .restored = restored,
                         .directories = directories,
                         .file = -1};
  gboolean good = receive(&restoring, generation, error) && move_to_place(&restoring, name, replace, error);
  io_close(&restoring.file);
  clear_made(&restoring.content);
  generation_trash_remove(directory, draft);
  if (good)
    conversation_bye(link);
  return good;
}
