#include "c2c/directory_crowd.h"

#include "c2c/directory_source.h"

#define SAMPLES 16

struct DirectoryCrowd {
  guint most, most_each;
  GPtrArray *visitors;
  GHashTable *holders; /* LinkCallerSource -> Holder */
};

typedef struct {
  LinkCallerSource source;
  GQueue visitors; /* the oldest first */
} Holder;

DirectoryCrowd *
directory_crowd_new(guint most, guint most_each)
{
  DirectoryCrowd *crowd = g_new0(DirectoryCrowd, 1);
  crowd->most = most;
  crowd->most_each = most_each;
  crowd->visitors = g_ptr_array_new();
  crowd->holders = g_hash_table_new_full(directory_source_hash, directory_source_equal, NULL, g_free);
  return crowd;
}

void
directory_crowd_free(DirectoryCrowd *crowd)
{
  g_ptr_array_unref(crowd->visitors);
  g_hash_table_unref(crowd->holders);
  g_free(crowd);
}

static DirectoryVisitor *
oldest_idle(const Holder *holder)
{
  for (GList *link = holder->visitors.head; link; link = link->next)
    if (!((DirectoryVisitor *)link->data)->busy)
      return link->data;
  return NULL;
}

DirectoryVisitor *
directory_crowd_surplus(DirectoryCrowd *crowd)
{
  DirectoryVisitor *chosen = NULL;
  guint most = 0;
  for (guint i = 0; i < SAMPLES && crowd->visitors->len > 0; i++) {
    guint nth = (guint)g_random_int_range(0, (gint32)crowd->visitors->len);
    const DirectoryVisitor *sample = crowd->visitors->pdata[nth];
    const Holder *holder = g_hash_table_lookup(crowd->holders, &sample->holder);
    DirectoryVisitor *oldest = holder->visitors.length > most ? oldest_idle(holder) : NULL;
    if (!oldest)
      continue;
    most = holder->visitors.length;
    chosen = oldest;
  }
  return chosen;
}

gboolean
directory_crowd_has_room(DirectoryCrowd *crowd, const LinkCallerSource *holder, DirectoryVisitor **leaving)
{
  const Holder *known = g_hash_table_lookup(crowd->holders, holder);
  *leaving = NULL;
  if (known && known->visitors.length >= crowd->most_each)
    *leaving = oldest_idle(known);
  else if (crowd->visitors->len >= crowd->most)
    *leaving = directory_crowd_surplus(crowd);
  else
    return TRUE;
  return *leaving != NULL;
}

void
directory_crowd_add(DirectoryCrowd *crowd, DirectoryVisitor *visitor)
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
directory_crowd_remove(DirectoryCrowd *crowd, DirectoryVisitor *visitor)
{
  Holder *holder = g_hash_table_lookup(crowd->holders, &visitor->holder);
  g_queue_unlink(&holder->visitors, &visitor->link);
  if (holder->visitors.length == 0)
    g_hash_table_remove(crowd->holders, &visitor->holder);
  g_ptr_array_remove_index_fast(crowd->visitors, visitor->index);
  if (visitor->index < crowd->visitors->len)
    ((DirectoryVisitor *)crowd->visitors->pdata[visitor->index])->index = visitor->index;
}

guint
directory_crowd_count(const DirectoryCrowd *crowd)
{
  return crowd->visitors->len;
}

DirectoryVisitor *
directory_crowd_nth(const DirectoryCrowd *crowd, guint n)
{
  return crowd->visitors->pdata[n];
}
