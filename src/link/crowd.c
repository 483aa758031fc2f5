#include "link/crowd.h"

#include "link/caller_hash.h"

#define SAMPLES 16

struct LinkCrowd {
  guint most, most_each;
  GPtrArray *visitors;
  GHashTable *holders; /* LinkCallerSource -> Holder */
};

typedef struct {
  LinkCallerSource source;
  GQueue visitors; /* the oldest first */
} Holder;

LinkCrowd *
link_crowd_new(guint most, guint most_each)
{
  LinkCrowd *crowd = g_new0(LinkCrowd, 1);
  crowd->most = most;
  crowd->most_each = most_each;
  crowd->visitors = g_ptr_array_new();
  crowd->holders = g_hash_table_new_full(link_caller_source_hash, link_caller_source_is_same, NULL, g_free);
  return crowd;
}

void
link_crowd_free(LinkCrowd *crowd)
{
  g_ptr_array_unref(crowd->visitors);
  g_hash_table_unref(crowd->holders);
  g_free(crowd);
}

static LinkVisitor *
oldest_idle(const Holder *holder)
{
  for (GList *link = holder->visitors.head; link; link = link->next)
    if (!((LinkVisitor *)link->data)->busy)
      return link->data;
  return NULL;
}

LinkVisitor *
link_crowd_surplus(LinkCrowd *crowd)
{
  LinkVisitor *chosen = NULL;
  guint most = 0;
  for (guint i = 0; i < SAMPLES && crowd->visitors->len > 0; i++) {
    guint nth = (guint)g_random_int_range(0, (gint32)crowd->visitors->len);
    const LinkVisitor *sample = crowd->visitors->pdata[nth];
    const Holder *holder = g_hash_table_lookup(crowd->holders, &sample->holder);
    LinkVisitor *oldest = holder->visitors.length > most ? oldest_idle(holder) : NULL;
    if (!oldest)
      continue;
    most = holder->visitors.length;
    chosen = oldest;
  }
  return chosen;
}

gboolean
link_crowd_has_room(LinkCrowd *crowd, const LinkCallerSource *holder, LinkVisitor **leaving)
{
  const Holder *known = g_hash_table_lookup(crowd->holders, holder);
  *leaving = NULL;
  if (known && known->visitors.length >= crowd->most_each)
    *leaving = oldest_idle(known);
  else if (crowd->visitors->len >= crowd->most)
    *leaving = link_crowd_surplus(crowd);
  else
    return TRUE;
  return *leaving != NULL;
}

void
link_crowd_add(LinkCrowd *crowd, LinkVisitor *visitor)
{
  Holder *holder = g_hash_table_lookup(crowd->holders, &visitor->holder);
  if (!holder) {
    holder = g_new0(Holder, 1);
    holder->source = visitor->holder;
    g_queue_init(&holder->visitors);
    g_hash_table_add(crowd->holders, holder);
  }
  visitor->link = (GList){.data = visitor};
  g_queue_push_tail_link(&holder->visitors, &visitor->link);
  visitor->index = crowd->visitors->len;
  g_ptr_array_add(crowd->visitors, visitor);
}

void
link_crowd_remove(LinkCrowd *crowd, LinkVisitor *visitor)
{
  Holder *holder = g_hash_table_lookup(crowd->holders, &visitor->holder);
  g_queue_unlink(&holder->visitors, &visitor->link);
  if (holder->visitors.length == 0)
    g_hash_table_remove(crowd->holders, &visitor->holder);
  g_ptr_array_remove_index_fast(crowd->visitors, visitor->index);
  if (visitor->index < crowd->visitors->len)
    ((LinkVisitor *)crowd->visitors->pdata[visitor->index])->index = visitor->index;
}

guint
link_crowd_count(const LinkCrowd *crowd)
{
  return crowd->visitors->len;
}

LinkVisitor *
link_crowd_nth(const LinkCrowd *crowd, guint n)
{
  return crowd->visitors->pdata[n];
}
