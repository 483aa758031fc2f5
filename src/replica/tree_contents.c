#include "replica/tree_contents.h"

#include <string.h>

#define SIZE_BITS  21   /* of the map of sizes, as a power of two */
#define FIRST_ROOM 4096 /* entries, a power of two */
#define SAME_MAX   8    /* entries of one content: more would make a walk of each question */

typedef struct {
  guint32 hash, id; /* id 0: free */
} Entry;

struct TreeContents {
  guint64 *sizes; /* bits */
  Entry *entries;
  guint32 room, count;
};

TreeContents *
tree_contents_new(void)
{
  TreeContents *contents = g_new0(TreeContents, 1);
  contents->sizes = g_new0(guint64, (1u << SIZE_BITS) / 64);
  contents->room = FIRST_ROOM;
  contents->entries = g_new0(Entry, FIRST_ROOM);
  return contents;
}

void
tree_contents_free(TreeContents *contents)
{
  if (!contents)
    return;
  g_free(contents->sizes);
  g_free(contents->entries);
  g_free(contents);
}

static guint32
bit_of(guint64 size)
{
  return size * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15) >> (64 - SIZE_BITS);
}

/* A content's hash is as good as any part of it. */
static guint32
short_hash(const guint8 *hash)
{
  guint32 head;
  memcpy(&head, hash, sizeof head);
  return head;
}

static void
insert(TreeContents *contents, Entry entry)
{
  guint same = 0;
  guint32 mask = contents->room - 1, at = entry.hash & mask;
  for (; contents->entries[at].id; at = (at + 1) & mask)
    if (contents->entries[at].hash == entry.hash && ++same == SAME_MAX)
      return;
  contents->entries[at] = entry;
  contents->count++;
}

static void
grow(TreeContents *contents)
{
  g_autofree Entry *old = contents->entries;
  guint32 room = contents->room;
  contents->room = 2 * room;
  contents->count = 0;
  contents->entries = g_new0(Entry, contents->room);
  for (guint32 i = 0; i < room; i++)
    if (old[i].id)
      insert(contents, old[i]);
}

void
tree_contents_add(TreeContents *contents, gint64 id, guint64 size,
                  const guint8 hash[static GENERATION_CONTENT_HASH])
{
  guint32 bit = bit_of(size);
  contents->sizes[bit / 64] |= G_GUINT64_CONSTANT(1) << bit % 64;
  if (id <= 0 || id > G_MAXUINT32)
    return;
  if (contents->count >= contents->room / 3 * 2 && contents->room <= G_MAXUINT32 / 4)
    grow(contents);
  if (contents->count + 1 < contents->room)
    insert(contents, (Entry){.hash = short_hash(hash), .id = id});
}

gboolean
tree_contents_has_size(const TreeContents *contents, guint64 size)
{
  guint32 bit = bit_of(size);
  return contents->sizes[bit / 64] >> bit % 64 & 1;
}

void
tree_contents_find(const TreeContents *contents, const guint8 hash[static GENERATION_CONTENT_HASH],
                   GArray *ids)
{
  guint32 wanted = short_hash(hash), mask = contents->room - 1;
  for (guint32 at = wanted & mask; contents->entries[at].id; at = (at + 1) & mask)
    if (contents->entries[at].hash == wanted) {
      gint64 id = contents->entries[at].id;
      g_array_append_val(ids, id);
    }
}
