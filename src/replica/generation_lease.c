#include "replica/generation_lease.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/generation_head.h"
#include "replica/path.h"

#define LOCK_NAME "head.lock"
#define FILE_NAME "leases"
#define LAYERS_AT                                                                                            \
  (G_GINT64_CONSTANT(1) << 62) /* bytes of the file below are generations, from there on layers */

void
generation_layer_name(guint64 layer, char name[static GENERATION_LAYER_NAME])
{
  g_snprintf(name, GENERATION_LAYER_NAME, "%08" G_GUINT64_FORMAT, layer);
}

guint64
generation_layer_number(const char *name)
{
  guint64 layer;
  char same[GENERATION_LAYER_NAME];
  if (!g_ascii_string_to_unsigned(name, 10, 1, G_MAXINT64 / 4, &layer, NULL))
    return 0;
  generation_layer_name(layer, same);
  return strcmp(same, name) == 0 ? layer : 0;
}

int
generation_lease_lock(int store, GError **error)
{
  Fd lock = openat(store, LOCK_NAME, O_CREAT | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
  int result = -1;
  if (lock >= 0)
    do
      result = flock(lock, LOCK_EX);
    while (result < 0 && errno == EINTR);
  if (result == 0)
    return lock;
  doppel_error_errno(error, "cannot lock the clone's store");
  io_close(&lock);
  return -1;
}

void
generation_lease_free(GenerationLease *lease)
{
  if (!lease)
    return;
  io_close(&lease->file);
  io_close(&lease->layers);
  g_clear_pointer(&lease->stack, g_array_unref);
  g_free(lease);
}

int
generation_lease_file(int store, GError **error)
{
  int file = openat(store, FILE_NAME, O_CREAT | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file < 0)
    doppel_error_errno(error, "cannot open the leases of the clone's store");
  return file;
}

static struct flock
lock_of(GenerationLeaseKind kind, guint64 number, short type)
{
  return (struct flock){.l_type = type,
                        .l_whence = SEEK_SET,
                        .l_start = (kind == GENERATION_LEASE_LAYER ? LAYERS_AT : 0) + (gint64)number,
                        .l_len = 1};
}

static gboolean
hold(const GenerationLease *lease, GenerationLeaseKind kind, guint64 number)
{
  struct flock lock = lock_of(kind, number, F_RDLCK);
  return fcntl(lease->file, F_OFD_SETLK, &lock) == 0;
}

gboolean
generation_lease_look(int leases, GenerationLeaseKind kind, guint64 number, gboolean *held, GError **error)
{
  struct flock lock = lock_of(kind, number, F_WRLCK);
  if (fcntl(leases, F_OFD_GETLK, &lock) < 0)
    return doppel_error_errno(error, "cannot look at the leases of the clone's store");
  *held = lock.l_type != F_UNLCK;
  return TRUE;
}

static gboolean
hold_all(const GenerationLease *lease)
{
  gboolean held = hold(lease, GENERATION_LEASE_NUMBER, lease->number);
  for (guint i = 0; held && i < lease->stack->len; i++)
    held = hold(lease, GENERATION_LEASE_LAYER, g_array_index(lease->stack, guint64, i));
  return held;
}

GenerationLease *
generation_lease_take(int store, guint64 number, GError **error)
{
  g_autoptr(GenerationLease) lease = g_new0(GenerationLease, 1);
  lease->file = lease->layers = -1;
  g_auto(Fd) lock = generation_lease_lock(store, error);
  g_autoptr(GenerationHead) head = lock < 0 ? NULL : generation_head_read(store, error);
  if (!head)
    return NULL;
  GenerationRecord *record = number ? generation_head_find(head, number) : generation_head_last(head);
  if (!record) {
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                     "the clone has no generation %" G_GUINT64_FORMAT " (any more)", number);
    return NULL;
  }
  lease->number = record->number;
  lease->stack = g_array_copy(record->layers);
  lease->layers = replica_path_open_child(store, "layers", O_PATH | O_DIRECTORY);
  lease->file = generation_lease_file(store, error);
  if (lease->file < 0)
    return NULL;
  if (lease->layers < 0 || !hold_all(lease)) {
    doppel_error_errno(error, "cannot hold generation %" G_GUINT64_FORMAT " of the clone", lease->number);
    return NULL;
  }
  return g_steal_pointer(&lease);
}

GenerationStack *
generation_lease_open(const GenerationLease *lease, GError **error)
{
  g_autoptr(GenerationStack) stack = generation_stack_new();
  for (guint i = 0; i < lease->stack->len; i++) {
    char name[GENERATION_LAYER_NAME];
    generation_layer_name(g_array_index(lease->stack, guint64, i), name);
    int layer = replica_path_open_child(lease->layers, name, O_PATH | O_DIRECTORY);
    if (layer < 0) {
      doppel_error_errno(error, "cannot open layer %s of the clone", name);
      return NULL;
    }
    generation_stack_add(stack, layer);
  }
  return g_steal_pointer(&stack);
}
