#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/error.h"
#include "replica/generation_store_private.h"
#include "replica/generation_trash.h"
#include "replica/path.h"

#define LOG_LIMIT (256u << 20) /* bytes */

void
generation_store_free(GenerationStore *store)
{
  if (!store)
    return;
  generation_attempt_clear(store);
  g_clear_pointer(&store->head, generation_head_free);
  generation_losses_clear(&store->losses);
  g_array_unref(store->parts);
  io_close(&store->layers);
  io_close(&store->lock);
  io_close(&store->directory);
  io_close(&store->base);
  g_free(store);
}

/* The numbers of all layers that there are. */
static GArray *
list_layers(const GenerationStore *store)
{
  Fd fd = openat(store->layers, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *listing = fd < 0 ? NULL : fdopendir(fd);
  if (!listing) {
    io_close(&fd);
    return NULL;
  }
  GArray *layers = g_array_new(FALSE, FALSE, sizeof(guint64));
  for (struct dirent *entry; (entry = readdir(listing));) {
    guint64 number = generation_layer_number(entry->d_name);
    if (number)
      g_array_append_val(layers, number);
  }
  closedir(listing);
  return layers;
}

int
generation_store_open_layer(GenerationStore *store, guint64 number)
{
  char name[GENERATION_LAYER_NAME];
  generation_layer_name(number, name);
  return replica_path_open_child(store->layers, name, O_PATH | O_DIRECTORY);
}

int
generation_store_make_layer(GenerationStore *store, guint64 *number)
{
  char name[GENERATION_LAYER_NAME];
  *number = store->last_layer + 1;
  generation_layer_name(*number, name);
  if (mkdirat(store->layers, name, 0700) < 0)
    return -1;
  store->last_layer = *number;
  return generation_store_open_layer(store, *number);
}

gboolean
generation_store_flush(GenerationStore *store, GError **error)
{
  return (syncfs(store->lock) == 0 && fsync(store->directory) == 0) ||
         doppel_error_errno(error, "cannot bring the clone's files to the disk");
}

static void
add_all(GHashTable *set, const GArray *numbers)
{
  for (guint i = 0; i < numbers->len; i++)
    g_hash_table_add(set, g_memdup2(&g_array_index(numbers, guint64, i), sizeof(guint64)));
}

/* What HEAD and the attempt name. */
static GHashTable *
named_layers(const GenerationStore *store)
{
  GHashTable *named = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
  for (guint i = 0; i < store->head->generations->len; i++)
    add_all(named, ((const GenerationRecord *)store->head->generations->pdata[i])->layers);
  add_all(named, store->parts);
  if (store->top)
    g_hash_table_add(named, g_memdup2(&store->top, sizeof store->top));
  return named;
}

/* Renames a layer to what is removed by whoever finds it, and notes that. */
static gboolean
discard_layer(const GenerationStore *store, guint64 layer, int leases, GPtrArray *trash, GError **error)
{
  gboolean held;
  char name[GENERATION_LAYER_NAME];
  if (!generation_lease_look(leases, GENERATION_LEASE_LAYER, layer, &held, error))
    return FALSE;
  if (held)
    return TRUE;
  generation_layer_name(layer, name);
  g_autofree char *unnamed = g_strconcat(GENERATION_TRASH "layer-", name, NULL);
  if (renameat(store->layers, name, store->layers, unnamed) < 0)
    return doppel_error_errno(error, "cannot remove layer %s of the clone", name);
  g_ptr_array_add(trash, g_steal_pointer(&unnamed));
  return TRUE;
}

/* Renames what nothing names; returns the new names. Under the lock, so that no lease is taken meanwhile. */
static GPtrArray *
discard(GenerationStore *store, GError **error)
{
  g_auto(Fd) lock = generation_lease_lock(store->directory, error);
  g_auto(Fd) leases = lock < 0 ? -1 : generation_lease_file(store->directory, error);
  if (leases < 0)
    return NULL;
  g_autoptr(GArray) layers = list_layers(store);
  if (!layers) {
    doppel_error_errno(error, "cannot list the layers of the clone");
    return NULL;
  }
  g_autoptr(GHashTable) named = named_layers(store);
  g_autoptr(GPtrArray) trash = g_ptr_array_new_with_free_func(g_free);
  for (guint i = 0; i < layers->len; i++) {
    guint64 layer = g_array_index(layers, guint64, i);
    if (!g_hash_table_contains(named, &layer) && !discard_layer(store, layer, leases, trash, error))
      return NULL;
  }
  return g_steal_pointer(&trash);
}

gboolean
generation_store_sweep(GenerationStore *store, GError **error)
{
  g_autoptr(GPtrArray) trash = discard(store, error);
  errno = 0;
  for (guint i = 0; trash && !errno && i < trash->len; i++)
    errno = generation_trash_remove(store->layers, trash->pdata[i]);
  if (errno)
    return doppel_error_errno(error, "cannot remove a layer of the clone");
  return trash != NULL;
}

gboolean
generation_store_move_head(GenerationStore *store, GenerationHead *head, GError **error)
{
  g_autoptr(GenerationHead) mine = head;
  g_auto(Fd) lock = generation_lease_lock(store->directory, error);
  if (lock < 0 || !generation_head_write(store->directory, head, error))
    return FALSE;
  generation_head_free(store->head);
  store->head = g_steal_pointer(&mine);
  io_close(&lock);
  g_autoptr(GError) failure = NULL;
  if (!generation_store_sweep(store, &failure))
    g_warning("%s", failure->message);
  return TRUE;
}

static gboolean
make_directories(GenerationStore *store, const char *path, GError **error)
{
  static const char *const inside[] = {"layers", "empty"};
  if (mkdir(path, 0700) < 0 && errno != EEXIST)
    return doppel_error_errno(error, "cannot make the clone's store %s", path);
  store->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (store->directory < 0)
    return doppel_error_errno(error, "cannot open the clone's store %s", path);
  for (guint i = 0; i < G_N_ELEMENTS(inside); i++)
    if (mkdirat(store->directory, inside[i], 0700) < 0 && errno != EEXIST)
      return doppel_error_errno(error, "cannot make %s/%s", path, inside[i]);
  store->layers = replica_path_open_child(store->directory, "layers", O_RDONLY | O_DIRECTORY);
  store->lock = openat(store->directory, "writer.lock", O_CREAT | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (store->layers < 0 || store->lock < 0)
    return doppel_error_errno(error, "cannot open the clone's store %s", path);
  if (flock(store->lock, LOCK_EX | LOCK_NB) == 0)
    return TRUE;
  return doppel_error_set(error, DOPPEL_ERROR_FAILED, "somebody else is writing to the clone's store %s",
                          path);
}

/* Layers are made of what not every file system lets one make: an overlay takes no whiteouts, NFS no user
 * attributes. */
static gboolean
check_file_system(GenerationStore *store, const char *path, GError **error)
{
  static const char probe[] = GENERATION_TRASH "probe", kept[] = GENERATION_TRASH "kept";
  char proc[REPLICA_PROC_MAX];
  replica_path_proc(proc, store->layers, kept);
  gboolean good = mknodat(store->layers, probe, S_IFCHR, makedev(0, 0)) == 0 &&
                  mkdirat(store->layers, kept, 0700) == 0 &&
                  lsetxattr(proc, GENERATION_OPAQUE, "y", 1, 0) == 0;
  int failure = good ? 0 : errno;
  unlinkat(store->layers, probe, 0);
  unlinkat(store->layers, kept, AT_REMOVEDIR);
  if (good || failure == ENOSPC || failure == EDQUOT) /* a store on a full disk is read all the same */
    return TRUE;
  return doppel_error_set(
      error, DOPPEL_ERROR_UNSUPPORTED,
      "a clone's files cannot be kept in %s (%s): its file system must have whiteouts and "
      "user.* attributes, as ext4, xfs, btrfs and (Linux 6.6) tmpfs, but not overlay, do",
      path, g_strerror(failure));
}

/* A store whose layers are there, but not the list of them, is no new one. */
static gboolean
read_head(GenerationStore *store, const char *path, GError **error)
{
  g_autoptr(GError) failure = NULL;
  g_autoptr(GArray) layers = list_layers(store);
  if (!layers)
    return doppel_error_errno(error, "cannot list the layers in %s", path);
  for (guint i = 0; i < layers->len; i++)
    store->last_layer = MAX(store->last_layer, g_array_index(layers, guint64, i));
  store->head = generation_head_read(store->directory, &failure);
  if (!store->head && g_error_matches(failure, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND) && layers->len == 0) {
    store->head = generation_head_new();
    return generation_head_write(store->directory, store->head, error);
  }
  if (store->head)
    return TRUE;
  g_propagate_prefixed_error(error, g_steal_pointer(&failure), "%s: ", path);
  return FALSE;
}

GenerationStore *
generation_store_open(const char *path, const GenerationStoreOptions *options, GError **error)
{
  g_autoptr(GenerationStore) store = g_new0(GenerationStore, 1);
  store->directory = store->layers = store->lock = store->base = -1;
  if (options && options->public_base)
    store->base = open(options->public_base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  store->parts = g_array_new(FALSE, FALSE, sizeof(guint64));
  store->log_limit = options && options->log_limit ? options->log_limit : LOG_LIMIT;
  if (!make_directories(store, path, error) || !read_head(store, path, error))
    return NULL;
  errno = generation_trash_sweep(store->layers);
  if (errno) {
    doppel_error_errno(error, "cannot remove what was left in %s", path);
    return NULL;
  }
  if (!check_file_system(store, path, error))
    return NULL;
  /* An attempt that cannot be continued now, for want of space, can be later: generation_store_begin() says.
   */
  generation_attempt_recover(store, NULL);
  return g_steal_pointer(&store);
}

int
generation_store_directory(const GenerationStore *store)
{
  return store->directory;
}

const GenerationHead *
generation_store_head(const GenerationStore *store)
{
  return store->head;
}

const GenerationLosses *
generation_store_losses(const GenerationStore *store)
{
  return &store->losses;
}
