#include "replica/origin.h"

#include "replica/path.h"

#define SAME (REPLICA_FACT_TYPE | REPLICA_FACT_SIZE | REPLICA_FACT_MTIME)

/* Whether a file below could be a copied-up one: those with several hard links get no mark at all. */
static gboolean
is_candidate(const ReplicaRow *row, ReplicaType type)
{
  return row->before.below && row->before.facts->type == type &&
         (type != REPLICA_FILE || row->before.facts->nlink == 1);
}

static gboolean
is_copied_up(const ReplicaView *view)
{
  return view->facts && view->node && view->node->mark.origin;
}

/* Something renamed keeps its size and times, as something that was only opened does. */
static gboolean
looks_like(const ReplicaRow *row, const ReplicaFacts *now)
{
  return is_candidate(row, now->type) && replica_facts_equal(row->before.facts, now, SAME);
}

static ReplicaRow *
own_path(GPtrArray *names, GHashTable *claimed, const ReplicaFacts *now, gboolean alike)
{
  for (guint i = 0; i < names->len; i++) {
    ReplicaRow *row = names->pdata[i];
    if (!g_hash_table_contains(claimed, row) && (alike ? looks_like(row, now) : is_candidate(row, now->type)))
      return row;
  }
  return NULL;
}

/* Whether nothing was renamed to `path`, nor to a directory on the way. */
static gboolean
never_renamed(GHashTable *renamed, const char *path)
{
  g_autofree char *at = g_strdup(path);
  while (*at) {
    if (g_hash_table_contains(renamed, at))
      return FALSE;
    char *above = replica_path_parent(at);
    g_free(at);
    at = above;
  }
  return TRUE;
}

ReplicaRow *
replica_origin_guess(GPtrArray *rows, GPtrArray *names, GHashTable *claimed, GHashTable *renamed)
{
  const ReplicaFacts *now = ((ReplicaRow *)names->pdata[0])->after.facts;
  ReplicaRow *own = own_path(names, claimed, now, TRUE), *alike = NULL, *lost = NULL;
  if (own)
    return own;
  own = own_path(names, claimed, now, FALSE);
  if (own && renamed && never_renamed(renamed, own->path))
    return own;
  guint count_lost = 0, count_alike = 0;
  for (guint i = 0; i < rows->len; i++) {
    ReplicaRow *row = rows->pdata[i];
    if (!is_candidate(row, now->type) || g_hash_table_contains(claimed, row))
      continue;
    gboolean has_itself = is_copied_up(&row->after) && looks_like(row, row->after.facts);
    if (!has_itself && looks_like(row, now)) {
      count_alike++;
      alike = row;
    }
    if (!is_copied_up(&row->after)) {
      count_lost++;
      lost = row;
    }
  }
  if (count_alike > 1)
    return NULL;
  if (alike || (own && count_lost == 0))
    return alike ? alike : own;
  return !own && count_lost == 1 ? lost : NULL;
}
