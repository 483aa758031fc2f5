#include "replica/tree_inodes.h"

#define FIRST_ROOM 4096 /* entries, a power of two */

typedef struct {
  guint64 ino;
  gint64 id; /* 0: free */
} Entry;

struct TreeInodes {
  Entry *entries;
  gsize room, count;
};

TreeInodes *
tree_inodes_new(void)
{
  TreeInodes *inodes = g_new0(TreeInodes, 1);
  inodes->room = FIRST_ROOM;
  inodes->entries = g_new0(Entry, FIRST_ROOM);
  return inodes;
}

void
tree_inodes_free(TreeInodes *inodes)
{
  if (!inodes)
    return;
  g_free(inodes->entries);
  g_free(inodes);
}

static gsize
place_of(const TreeInodes *inodes, guint64 ino)
{
  return (ino * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15) >> 24) & (inodes->room - 1);
}

static void
insert(TreeInodes *inodes, Entry entry)
{
  gsize at = place_of(inodes, entry.ino);
  while (inodes->entries[at].id)
    at = (at + 1) & (inodes->room - 1);
  inodes->entries[at] = entry;
  inodes->count++;
}

static void
grow(TreeInodes *inodes)
{
  g_autofree Entry *old = inodes->entries;
  gsize room = inodes->room;
  inodes->room = 2 * room;
  inodes->count = 0;
  inodes->entries = g_new0(Entry, inodes->room);
  for (gsize i = 0; i < room; i++)
    if (old[i].id)
      insert(inodes, old[i]);
}

void
tree_inodes_add(TreeInodes *inodes, guint64 ino, gint64 id)
{
  if (inodes->count >= inodes->room / 3 * 2)
    grow(inodes);
  insert(inodes, (Entry){.ino = ino, .id = id});
}

void
tree_inodes_find(const TreeInodes *inodes, guint64 ino, GArray *ids)
{
  for (gsize at = place_of(inodes, ino); inodes->entries[at].id; at = (at + 1) & (inodes->room - 1))
    if (inodes->entries[at].ino == ino) {
      gint64 id = inodes->entries[at].id;
      g_array_append_val(ids, id);
    }
}
