#include "link/budget.h"

#include "link/caller_hash.h"

#define SOURCES_MAX 65536 /* beyond that strangers share what one would have */
#define SECOND      G_GINT64_CONSTANT(1000000000)

typedef struct {
  LinkCallerSource source;
  gint64 full_at; /* CLOCK_MONOTONIC ns: when the bucket will be full again */
} Bucket;

struct LinkBudget {
  guint rate, burst;
  GHashTable *buckets; /* of Bucket, by their source */
  Bucket strangers;
  guint swept_at;    /* number of buckets after the last sweep, */
  gint64 swept_when; /* CLOCK_MONOTONIC ns: and when that was */
};

LinkBudget *
link_budget_new(guint rate, guint burst)
{
  LinkBudget *budget = g_new0(LinkBudget, 1);
  budget->rate = rate;
  budget->burst = burst;
  budget->buckets = g_hash_table_new_full(link_caller_source_hash, link_caller_source_is_same, NULL, g_free);
  return budget;
}

void
link_budget_free(LinkBudget *budget)
{
  if (!budget)
    return;
  g_hash_table_unref(budget->buckets);
  g_free(budget);
}

static gboolean
is_full(gpointer key, gpointer value, gpointer now)
{
  return ((Bucket *)value)->full_at <= *(gint64 *)now;
}

/* Looks at all only when there are twice as many as the last time, a constant price for each; or, where there
 * may be no more, once in a second: who filled it may have gone. */
static gboolean
is_sweep_due(const LinkBudget *budget, guint count, gint64 now)
{
  return count >= SOURCES_MAX ? now - budget->swept_when >= SECOND
                              : count >= 1024 && count >= 2 * budget->swept_at;
}

static Bucket *
find_bucket(LinkBudget *budget, const LinkCallerSource *source, gint64 now)
{
  Bucket *bucket = g_hash_table_lookup(budget->buckets, source);
  if (bucket)
    return bucket;
  guint count = g_hash_table_size(budget->buckets);
  if (is_sweep_due(budget, count, now)) {
    g_hash_table_foreach_remove(budget->buckets, is_full, &now);
    budget->swept_at = count = g_hash_table_size(budget->buckets);
    budget->swept_when = now;
  }
  if (count >= SOURCES_MAX)
    return &budget->strangers;
  bucket = g_new0(Bucket, 1);
  bucket->source = *source;
  g_hash_table_add(budget->buckets, bucket);
  return bucket;
}

gboolean
link_budget_take(LinkBudget *budget, const LinkCallerSource *source, guint price, gint64 now)
{
  if (budget->rate == 0)
    return TRUE;
  Bucket *bucket = find_bucket(budget, source, now);
  gint64 token = SECOND / budget->rate;
  gint64 full_at = MAX(bucket->full_at, now) + price * token;
  if (full_at - now > budget->burst * token)
    return FALSE;
  bucket->full_at = full_at;
  return TRUE;
}

guint
link_budget_sources(const LinkBudget *budget)
{
  return g_hash_table_size(budget->buckets);
}
