#include "replicator/sync_memory.h"

#include <string.h>

#include "base/error.h"

#define GROUP "last"

static char *
path_of(const char *directory)
{
  return g_build_filename(directory, "memory", NULL);
}

void
sync_memory_clear(SyncMemory *memory)
{
  g_free(memory->failure);
  *memory = (SyncMemory){0};
}

/* Where in a SyncMemory its numbers are. */
static const struct {
  const char *key;
  gsize offset, size;
} numbers[] = {
#define NUMBER(name)                                                                                         \
  {                                                                                                          \
#name, G_STRUCT_OFFSET(SyncMemory, name), sizeof((SyncMemory *)0)->name                                  \
  }
    NUMBER(generation), NUMBER(time),      NUMBER(nodes),        NUMBER(bytes),
    NUMBER(sent),       NUMBER(failures),  NUMBER(last_failure), NUMBER(big_entries),
    NUMBER(big_bytes),  NUMBER(big_since), NUMBER(walked),
#undef NUMBER
};

void
sync_memory_load(SyncMemory *memory, const char *directory)
{
  g_autofree char *path = path_of(directory);
  g_autoptr(GKeyFile) file = g_key_file_new();
  *memory = (SyncMemory){0};
  if (!g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, NULL))
    return;
  for (guint i = 0; i < G_N_ELEMENTS(numbers); i++) {
    gint64 number = g_key_file_get_int64(file, GROUP, numbers[i].key, NULL);
    guint small = (guint)CLAMP(number, 0, G_MAXINT32);
    number = MAX(number, 0);
    memcpy((char *)memory + numbers[i].offset,
           numbers[i].size == sizeof number ? (void *)&number : (void *)&small, numbers[i].size);
  }
  memory->seconds = CLAMP(g_key_file_get_double(file, GROUP, "seconds", NULL), 0, 1e9);
  memory->failure = g_key_file_get_string(file, GROUP, "failure", NULL);
}

gboolean
sync_memory_save(const SyncMemory *memory, const char *directory, GError **error)
{
  g_autofree char *path = path_of(directory);
  g_autoptr(GKeyFile) file = g_key_file_new();
  for (guint i = 0; i < G_N_ELEMENTS(numbers); i++) {
    gint64 number = 0;
    guint small = 0;
    memcpy(numbers[i].size == sizeof number ? (void *)&number : (void *)&small,
           (const char *)memory + numbers[i].offset, numbers[i].size);
    g_key_file_set_int64(file, GROUP, numbers[i].key, numbers[i].size == sizeof number ? number : small);
  }
  g_key_file_set_double(file, GROUP, "seconds", memory->seconds);
  if (memory->failure)
    g_key_file_set_string(file, GROUP, "failure", memory->failure);
  g_autofree char *text = g_key_file_to_data(file, NULL, NULL);
  g_autoptr(GError) problem = NULL;
  return g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, &problem) ||
         doppel_error_set(error, DOPPEL_ERROR_FAILED, "cannot be written down: %s", problem->message);
}

static void
note_failure(SyncMemory *memory, const GError *error)
{
  memory->failures++;
  memory->last_failure = g_get_real_time() / G_USEC_PER_SEC;
  g_free(memory->failure);
  memory->failure = g_utf8_make_valid(error->message, -1);
}

void
sync_memory_note(SyncMemory *memory, const ReplicatorResult *result, const GError *error)
{
  gint64 now = g_get_real_time() / G_USEC_PER_SEC;
  if (error) {
    note_failure(memory, error);
    return;
  }
  memory->failures = 0;
  g_clear_pointer(&memory->failure, g_free);
  memory->generation = result->generation;
  memory->time = result->time_ns / G_GINT64_CONSTANT(1000000000);
  if (result->made) {
    memory->nodes = result->nodes;
    memory->bytes = result->bytes;
    memory->sent = result->sent;
    memory->seconds = result->took_ns / 1e9;
  }
  if (result->walked)
    memory->walked = now;
  memory->big_entries = result->later ? result->later->len : 0;
  memory->big_bytes = result->later_bytes;
  memory->big_since = memory->big_entries == 0 ? 0 : memory->big_since ? memory->big_since : now;
}
