#include "store_maker.h"

#include <string.h>
#include <unistd.h>
#include <xxhash.h>

StoreMaker *
store_maker_new(const char *path)
{
  g_autoptr(GError) error = NULL;
  StoreMaker *maker = g_new0(StoreMaker, 1);
  maker->paths = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  maker->store = generation_store_open(path, NULL, &error);
  g_assert_no_error(error);
  return maker;
}

void
store_maker_free(StoreMaker *maker)
{
  generation_store_free(maker->store);
  g_hash_table_unref(maker->paths);
  g_free(maker);
}

static GenerationOutcome
feed(StoreMaker *maker, GenerationStep *step)
{
  g_autoptr(GError) error = NULL;
  if (maker->number == 0) {
    GenerationAttempt attempt;
    g_assert_true(generation_store_begin(maker->store, &attempt, &error));
    maker->generation = attempt.generation;
  }
  step->number = ++maker->number;
  if (step->path && step->kind != GENERATION_REMOVE)
    g_hash_table_add(maker->paths, g_strdup(step->path));
  g_autoptr(GBytes) message = generation_step_pack(step);
  GenerationOutcome outcome = generation_store_feed(maker->store, message, &error);
  g_assert_no_error(error);
  generation_step_free(step);
  return outcome;
}

static GenerationStep *
place(const char *path, GenerationKind kind, ReplicaType type, guint32 mode, gint64 mtime)
{
  GenerationStep *step = generation_step_new(kind);
  step->path = g_strdup(path);
  step->facts.type = type;
  step->facts.mode = mode;
  step->facts.uid = getuid();
  step->facts.gid = getgid();
  step->facts.mtime_ns = mtime * G_GINT64_CONSTANT(1000000000);
  return step;
}

void
store_maker_directory(StoreMaker *maker, const char *path)
{
  feed(maker, place(path, GENERATION_PLACE, REPLICA_DIRECTORY, 0755, 1));
}

void
store_maker_link(StoreMaker *maker, const char *path, const char *target)
{
  GenerationStep *step = place(path, GENERATION_PLACE, REPLICA_SYMLINK, 0777, 1);
  step->facts.target = g_strdup(target);
  feed(maker, step);
}

void
store_maker_file(StoreMaker *maker, const char *path, const void *content, gsize length, guint64 zeros,
                 gint64 mtime)
{
  XXH128_canonical_t hash;
  g_autofree char *all = g_malloc0(length + zeros + 1);
  if (length)
    memcpy(all, content, length);
  XXH128_canonicalFromHash(&hash, XXH3_128bits(all, length + zeros));
  GenerationStep *step = place(path, GENERATION_WHOLE, REPLICA_FILE, 0644, mtime);
  step->facts.size = length + zeros;
  memcpy(step->hash, hash.digest, sizeof step->hash);
  const GenerationSegment segments[] = {{.kind = GENERATION_LITERAL, .length = length, .bytes = content},
                                        {.kind = GENERATION_ZEROS, .length = zeros}};
  for (guint i = 0; i < G_N_ELEMENTS(segments); i++)
    if (segments[i].length) {
      if (!step->segments)
        step->segments = g_array_new(FALSE, FALSE, sizeof(GenerationSegment));
      g_array_append_val(step->segments, segments[i]);
    }
  feed(maker, step);
}

static gboolean
is_in(gpointer path, gpointer value, gpointer removed)
{
  gsize length = strlen(removed);
  return strncmp(path, removed, length) == 0 && (((char *)path)[length] == '/' || !((char *)path)[length]);
}

void
store_maker_remove(StoreMaker *maker, const char *path)
{
  GenerationStep *step = generation_step_new(GENERATION_REMOVE);
  step->path = g_strdup(path);
  g_hash_table_foreach_remove(maker->paths, is_in, (gpointer)path);
  feed(maker, step);
}

void
store_maker_commit(StoreMaker *maker)
{
  GenerationStep *step = generation_step_new(GENERATION_COMMIT);
  g_assert_cmpuint(maker->number, >, 0);
  step->generation = maker->generation;
  step->nodes = g_hash_table_size(maker->paths);
  step->time_ns = (gint64)maker->generation * 1000000000;
  g_assert_cmpint(feed(maker, step), ==, GENERATION_COMPLETE);
  maker->number = 0;
}
