#include "replicator/device_restore.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "identity/key.h"
#include "replica/path.h"
#include "replicator/conversation.h"
#include "replicator/device_restore_private.h"
#include "replicator/manifest.h"

#define SAVE_BYTES (64u << 20)
#define SAVE_NS    (2 * G_GINT64_CONSTANT(1000000000))

void
device_restored_clear(DeviceRestored *restored)
{
  g_clear_pointer(&restored->aside, g_ptr_array_unref);
  generation_losses_clear(&restored->losses);
}

void
restoring_report(DeviceRestoring *restoring)
{
  if (restoring->options->progress)
    restoring->options->progress(restoring->options->user, &restoring->progress);
}

static void
enter(DeviceRestoring *restoring, DeviceRestorePhase phase)
{
  restoring->progress.phase = phase;
  restoring_report(restoring);
}

gboolean
restoring_refused(DeviceRestoring *restoring, const char *path, GError **error)
{
  const char *root = restoring->options->root;
  return doppel_error_errno(error, "%s/%s cannot be restored", strcmp(root, "/") == 0 ? "" : root, path);
}

gboolean
restoring_save(DeviceRestoring *restoring, gboolean now, GError **error)
{
  gint64 time = clock_now_ns();
  if (!now && restoring->unsaved < SAVE_BYTES && time - restoring->saved_at < SAVE_NS)
    return TRUE;
  /* An index that knows of a file which a power cut takes back would have the next synchronisation tell that
   * it is empty. */
  if (restoring->elsewhere)
    sync();
  else if (syncfs(restoring->root) < 0)
    return doppel_error_errno(error, "what was restored cannot be written to the disk");
  restoring->unsaved = 0;
  restoring->saved_at = clock_now_ns();
  return tree_index_save(restoring->index->tree, error);
}

/* What this device has is that generation, as far as it knows. */
static gboolean
is_restored(const DeviceRestoring *restoring, guint64 generation)
{
  g_autofree char *root = clone_index_root(restoring->index->directory);
  return restoring->index->state.head == generation && strcmp(root, restoring->options->root) == 0;
}

static gboolean
refuse_root(const DeviceRestoring *restoring, guint64 generation, const char *name, GError **error)
{
  const char *root = restoring->options->root;
  if (is_restored(restoring, generation))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "%s was restored from generation %" G_GUINT64_FORMAT
                            " completely, or synchronised "
                            "to it: with --onto all of it is compared, and what differs restored again",
                            root, generation);
  return doppel_error_set(
      error, DOPPEL_ERROR_USAGE,
      "%s is not empty (there is \"%.255s\"): with --onto the device is restored there all the same, and "
      "what is in the way keeps its content as NAME" DEVICE_RESTORE_ASIDE,
      root, name);
}

/* An empty file system has a directory of its own. */
static gboolean
is_empty(DeviceRestoring *restoring, guint64 generation, GError **error)
{
  g_autoptr(GArray) entries = tree_walk_list(restoring->root);
  if (!entries)
    return doppel_error_errno(error, "%s cannot be read", restoring->options->root);
  for (guint i = 0; i < entries->len; i++) {
    const char *name = g_array_index(entries, TreeEntry, i).name;
    if (strcmp(name, "lost+found") != 0)
      return refuse_root(restoring, generation, name, error);
  }
  return TRUE;
}

/* The generation that is being restored to this root already; 0: none is. */
static guint64
going_on(const DeviceRestoring *restoring)
{
  g_autofree char *root = NULL;
  guint64 generation = clone_index_restoring(restoring->index->directory, &root);
  return root && strcmp(root, restoring->options->root) == 0 ? generation : 0;
}

/* The index is what is left to be done. */
static gboolean
was_begun(const DeviceRestoring *restoring, const Doppel__Sync__Welcome *welcome)
{
  const CloneIndexState *state = &restoring->index->state;
  guint64 generation = going_on(restoring), asked = restoring->options->generation;
  return generation && state->head == generation && (!asked || asked == generation) &&
         welcome->store.len == sizeof state->store &&
         memcmp(state->store, welcome->store.data, sizeof state->store) == 0;
}

/* The manifest becomes the index, before anything is made. In this order: whoever is killed in between has an
 * index that knows nothing, or a marker that says so. */
static gboolean
begin(DeviceRestoring *restoring, const Doppel__Sync__Welcome *welcome, GError **error)
{
  CloneIndex *index = restoring->index;
  guint64 newest = welcome->head ? welcome->head->number : 0;
  guint64 generation = restoring->options->generation ? restoring->options->generation : newest;
  if (!generation || welcome->store.len != sizeof index->state.store)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                            "nothing was synchronised to this clone: there is nothing to restore");
  gboolean ours = going_on(restoring) != 0;
  if (!ours && !restoring->options->onto && !is_empty(restoring, generation, error))
    return FALSE;
  if (!clone_index_reset(index, error) ||
      !clone_index_set_restoring(index->directory, generation, restoring->options->root, error) ||
      !manifest_receive(restoring->link, index->tree, generation, TRUE, error))
    return FALSE;
  memcpy(index->state.store, welcome->store.data, sizeof index->state.store);
  index->state.head = generation;
  index->state.head_time_ns = generation == newest ? welcome->head->time_ns : 0;
  restoring->restored->resumed = ours;
  return clone_index_save(index, error);
}

static gboolean
is_own(const DeviceRestoring *restoring, const char *path)
{
  return restoring->own && strcmp(path, restoring->own) == 0;
}

static void
free_directory(gpointer pointer)
{
  RestoringDirectory *directory = pointer;
  g_free(directory->path);
  g_free(directory);
}

static void
add_directory(DeviceRestoring *restoring, gint64 id, const char *path)
{
  RestoringDirectory *directory = g_new(RestoringDirectory, 1);
  *directory = (RestoringDirectory){.id = id, .path = g_strdup(path)};
  g_ptr_array_add(restoring->directories, directory);
}

/* The directories in one, which is there. What else is in it is counted. */
static gboolean
make_directories_in(DeviceRestoring *restoring, guint number, GError **error)
{
  const RestoringDirectory in = *(RestoringDirectory *)restoring->directories->pdata[number];
  g_autoptr(GArray) children = tree_index_children(restoring->index->tree, in.id);
  for (guint i = 0; i < children->len; i++) {
    const TreeNode *node = &g_array_index(children, TreeNode, i);
    g_autofree char *path = replica_path_join(in.path, node->name);
    restoring->progress.paths++;
    restoring->progress.bytes += node->facts.size;
    if (node->facts.type != REPLICA_DIRECTORY || is_own(restoring, path))
      continue;
    if (!restoring_make_directory(restoring, node, path, error))
      return FALSE;
    add_directory(restoring, node->id, path);
    restoring->progress.paths_done++;
  }
  restoring_report(restoring);
  return TRUE;
}

static gboolean
make_directories(DeviceRestoring *restoring, GError **error)
{
  enter(restoring, DEVICE_RESTORE_MAKING);
  add_directory(restoring, TREE_ROOT, "");
  for (guint i = 0; i < restoring->directories->len; i++)
    if (!make_directories_in(restoring, i, error))
      return FALSE;
  return TRUE;
}

static gboolean
fill_entry(DeviceRestoring *restoring, const TreeNode *node, const char *path, GError **error)
{
  if (node->facts.type != REPLICA_FILE)
    return restoring_make_node(restoring, node, path, error);
  int adopted = restoring_adopt(restoring, node, path, error);
  return adopted > 0 || (adopted == 0 && restoring_want(restoring, node, path, error));
}

/* Whether a further name of an inode was made with the first one of it, or waits for it. */
static gboolean
comes_with_another(DeviceRestoring *restoring, const TreeNode *node)
{
  g_auto(TreeNode) now = {0};
  if (!node->facts.ino || node->facts.dev)
    return FALSE;
  if (tree_index_node(restoring->index->tree, node->id, &now) && !now.dirty)
    return TRUE;
  for (guint i = 0; i < restoring->waiting->len; i++) {
    const RestoringFile *file = restoring->waiting->pdata[i];
    if (file->node.facts.ino == node->facts.ino)
      return TRUE;
  }
  return FALSE;
}

static gboolean
fill_directory(DeviceRestoring *restoring, const RestoringDirectory *directory, GError **error)
{
  g_autoptr(GArray) children = tree_index_children(restoring->index->tree, directory->id);
  for (guint i = 0; i < children->len; i++) {
    const TreeNode *node = &g_array_index(children, TreeNode, i);
    g_autofree char *path = replica_path_join(directory->path, node->name);
    if (node->facts.type == REPLICA_DIRECTORY || is_own(restoring, path) ||
        comes_with_another(restoring, node))
      continue;
    if (!node->dirty) { /* from another time */
      restoring->restored->kept++;
      restoring->progress.paths_done++;
      restoring->progress.bytes_done += node->facts.size;
    } else if (!fill_entry(restoring, node, path, error)) {
      return FALSE;
    }
  }
  restoring_report(restoring);
  return restoring_save(restoring, FALSE, error);
}

static gboolean
fill(DeviceRestoring *restoring, GError **error)
{
  enter(restoring, DEVICE_RESTORE_FILLING);
  for (guint i = 0; i < restoring->directories->len; i++)
    if (!fill_directory(restoring, restoring->directories->pdata[i], error))
      return FALSE;
  return restoring_fetch(restoring, error);
}

/* From the deepest up: once a directory has its mode, what is in it may be out of reach. */
static gboolean
complete(DeviceRestoring *restoring, GError **error)
{
  enter(restoring, DEVICE_RESTORE_COMPLETING);
  for (guint i = restoring->directories->len; i > 0; i--)
    if (!restoring_complete_directory(restoring, restoring->directories->pdata[i - 1], error))
      return FALSE;
  return restoring_save(restoring, TRUE, error) &&
         clone_index_set_root(restoring->index->directory, restoring->options->root, error) &&
         clone_index_set_restoring(restoring->index->directory, 0, NULL, error);
}

/* Where this device's keys and indexes are must not become what another device had there. */
static char *
own_place(const char *root)
{
  g_autofree char *directory = identity_directory();
  char real[PATH_MAX];
  gsize length = strcmp(root, "/") == 0 ? 0 : strlen(root);
  if (!realpath(directory, real) || strncmp(real, root, length) != 0 || real[length] != '/')
    return NULL;
  return g_strdup(real + length + 1);
}

static gboolean
open_root(DeviceRestoring *restoring, GError **error)
{
  struct stat status;
  restoring->root = open(restoring->options->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (restoring->root < 0 || fstat(restoring->root, &status) < 0)
    return doppel_error_errno(error, "nothing can be restored to %s", restoring->options->root);
  restoring->root_dev = status.st_dev;
  restoring->near.root = restoring->root;
  restoring->own = own_place(restoring->options->root);
  return TRUE;
}

static gboolean
restore(DeviceRestoring *restoring, GError **error)
{
  if (!open_root(restoring, error))
    return FALSE;
  enter(restoring, DEVICE_RESTORE_ASKING);
  g_autoptr(SyncMessage) welcome = conversation_hello(restoring->link, FALSE, error);
  if (!welcome)
    return FALSE;
  restoring->restored->resumed = was_begun(restoring, welcome->welcome);
  if (!restoring->restored->resumed && !begin(restoring, welcome->welcome, error))
    return FALSE;
  restoring->search = signature_search_new(tree_index_key(restoring->index->tree));
  restoring->saved_at = clock_now_ns();
  restoring->restored->generation = restoring->index->state.head;
  gboolean good = make_directories(restoring, error) && fill(restoring, error) && complete(restoring, error);
  if (good)
    conversation_bye(restoring->link);
  else
    restoring_save(restoring, TRUE, NULL);
  return good;
}

gboolean
replicator_restore_device(Link *link, CloneIndex *index, const DeviceRestoreOptions *options,
                          DeviceRestored *restored, GError **error)
{
  *restored = (DeviceRestored){.aside = g_ptr_array_new_with_free_func(g_free)};
  DeviceRestoring restoring = {.link = link,
                               .index = index,
                               .options = options,
                               .restored = restored,
                               .root = -1,
                               .directories = g_ptr_array_new_with_free_func(free_directory),
                               .waiting = g_ptr_array_new_with_free_func(restoring_file_free)};
  gboolean good = restore(&restoring, error);
  restored->paths = restoring.progress.paths;
  restored->bytes = restoring.progress.bytes;
  tree_near_clear(&restoring.near);
  g_clear_pointer(&restoring.search, signature_search_free);
  g_ptr_array_unref(restoring.directories);
  g_ptr_array_unref(restoring.waiting);
  g_free(restoring.own);
  io_close(&restoring.root);
  return good;
}
