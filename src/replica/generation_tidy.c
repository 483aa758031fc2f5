/* Retention and compaction of a store: which generations stay, and which layers become one. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "replica/generation_merge.h"
#include "replica/generation_store_private.h"

#define BOTTOM_REST_S 3600

GenerationHead *
generation_head_copy(const GenerationHead *head)
{
  GenerationHead *copy = generation_head_new();
  memcpy(copy->identity, head->identity, sizeof copy->identity);
  for (guint i = 0; i < head->generations->len; i++) {
    const GenerationRecord *record = head->generations->pdata[i];
    GenerationRecord *mine = g_memdup2(record, sizeof *record);
    mine->layers = g_array_copy(record->layers);
    g_ptr_array_add(copy->generations, mine);
  }
  return copy;
}

static guint64
layer_at(const GenerationRecord *record, guint index)
{
  return g_array_index(record->layers, guint64, index);
}

/* Where, in the record's stack, the run of `count` layers is that begins with `first`: its length where it is
 * not. Layers follow each other in the same order wherever they do. */
static guint
find_run(const GenerationRecord *record, const guint64 *run, guint count)
{
  for (guint i = 0; i + count <= record->layers->len; i++)
    if (memcmp(&g_array_index(record->layers, guint64, i), run, count * sizeof *run) == 0)
      return i;
  return record->layers->len;
}

static void
replace_run(GenerationHead *head, const GArray *run, guint64 merged)
{
  for (guint i = 0; i < head->generations->len; i++) {
    GenerationRecord *record = head->generations->pdata[i];
    guint at = find_run(record, (const guint64 *)run->data, run->len);
    if (at == record->layers->len)
      continue;
    g_array_remove_range(record->layers, at, run->len);
    g_array_insert_val(record->layers, at, merged);
  }
}

/* The record's layers from index `from` up to `end`. */
static GenerationStack *
open_layers(GenerationStore *store, const GenerationRecord *record, guint from, guint end, GError **error)
{
  g_autoptr(GenerationStack) stack = generation_stack_new();
  for (guint i = from; i < end; i++) {
    int layer = generation_store_open_layer(store, layer_at(record, i));
    if (layer < 0) {
      doppel_error_errno(error, "cannot open a layer of the clone");
      return NULL;
    }
    generation_stack_add(stack, layer);
  }
  return g_steal_pointer(&stack);
}

static gboolean
fill_merged(GenerationStore *store, const GenerationRecord *record, guint from, guint count, int into,
            GError **error)
{
  g_autoptr(GenerationStack) run = open_layers(store, record, from, from + count, error);
  g_autoptr(GenerationStack) below =
      run ? open_layers(store, record, from + count, record->layers->len, error) : NULL;
  if (!below)
    return FALSE;
  errno = generation_merge(run, below, into);
  return errno == 0 || doppel_error_errno(error, "cannot merge %u layers of the clone", count);
}

/* Merges `count` layers of the record from index `from` on, for all generations that have them so. */
static gboolean
merge_run(GenerationStore *store, GenerationHead *head, const GenerationRecord *record, guint from,
          guint count, GError **error)
{
  guint64 merged;
  g_auto(Fd) into = generation_store_make_layer(store, &merged);
  if (into < 0)
    return doppel_error_errno(error, "cannot make a layer of the clone");
  if (!fill_merged(store, record, from, count, into, error))
    return FALSE;
  g_autoptr(GArray) run = g_array_new(FALSE, FALSE, sizeof(guint64));
  g_array_append_vals(run, &g_array_index(record->layers, guint64, from), count);
  replace_run(head, run, merged);
  return TRUE;
}

/* Removes the records of what is neither to be kept nor read. */
static gboolean
drop_records(GenerationStore *store, GenerationHead *head, const GenerationRetention *retention,
             GError **error)
{
  if (!retention)
    return TRUE;
  g_autoptr(GHashTable) kept = generation_retention_keep(head, retention);
  g_auto(Fd) lock = generation_lease_lock(store->directory, error);
  g_auto(Fd) leases = lock < 0 ? -1 : generation_lease_file(store->directory, error);
  if (leases < 0)
    return FALSE;
  for (guint i = head->generations->len; i-- > 0;) {
    const GenerationRecord *record = head->generations->pdata[i];
    gboolean held;
    if (!generation_lease_look(leases, GENERATION_LEASE_NUMBER, record->number, &held, error))
      return FALSE;
    if (!held && !g_hash_table_contains(kept, &record->number))
      g_ptr_array_remove_index(head->generations, i);
  }
  return TRUE;
}

/* The layers with which a generation begins: what is above such a one must be told from it. */
static GHashTable *
tops_of(const GenerationHead *head)
{
  GHashTable *tops = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
  for (guint i = 0; i < head->generations->len; i++) {
    guint64 top = layer_at(head->generations->pdata[i], 0);
    g_hash_table_add(tops, g_memdup2(&top, sizeof top));
  }
  return tops;
}

/* Whether the layer at the bottom, which has most of the tree, was made lately: then it is left alone, or
 * every synchronisation of a first hour would take it up. */
static gboolean
bottom_is_fresh(GenerationStore *store, const GenerationRecord *record)
{
  g_auto(Fd) layer = generation_store_open_layer(store, layer_at(record, record->layers->len - 1));
  struct stat status;
  return layer >= 0 && fstat(layer, &status) == 0 &&
         g_get_real_time() / G_USEC_PER_SEC - status.st_mtim.tv_sec < BOTTOM_REST_S;
}

/* Merges what no generation tells apart, in the record's stack. */
static gboolean
merge_between(GenerationStore *store, GenerationHead *head, const GenerationRecord *record, GError **error)
{
  for (guint from = 0; from < record->layers->len; from++) {
    g_autoptr(GHashTable) tops = tops_of(head);
    guint end = from + 1;
    while (end < record->layers->len &&
           !g_hash_table_contains(tops, &g_array_index(record->layers, guint64, end)))
      end++;
    if (end == record->layers->len && end - from > 1 && bottom_is_fresh(store, record))
      end--;
    if (end - from > 1 && !merge_run(store, head, record, from, end - from, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
merge_all(GenerationStore *store, GenerationHead *head, guint stack, GError **error)
{
  for (guint i = head->generations->len; i-- > 0;)
    if (!merge_between(store, head, head->generations->pdata[i], error))
      return FALSE;
  const GenerationRecord *last = generation_head_last(head);
  if (!last || last->layers->len <= stack)
    return TRUE;
  /* A quarter more than must be, so that the large layer at the bottom is not taken up each time. */
  guint left = MAX(stack - stack / 4, 1), count = last->layers->len - left + 1;
  return merge_run(store, head, last, last->layers->len - count, count, error);
}

gboolean
generation_store_tidy(GenerationStore *store, const GenerationRetention *retention, guint stack,
                      GError **error)
{
  GenerationHead *head = generation_head_copy(store->head);
  if (drop_records(store, head, retention, error) && merge_all(store, head, stack, error) &&
      generation_store_flush(store, error))
    return generation_store_move_head(store, head, error);
  generation_head_free(head);
  g_autoptr(GError) failure = NULL;
  if (!generation_store_sweep(store, &failure)) /* what was being merged */
    g_warning("%s", failure->message);
  return FALSE;
}
