#include "mirror/page_index.h"

#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/io.h"
#include "mirror/page_file.h"

enum {
  NONE = 0,
  KEYS_LIMIT = 1 << 24,
  REMOVED_MAX = 1024
}; /* entry 0 holds no key: its links are the ends of the list */

typedef struct {
  PageKey key;
  guint32 older, newer; /* 0's: the newest, and the oldest */
  guint32 next;         /* in its bucket, or among the free ones */
} Entry;

struct PageIndex {
  char *path;
  guint max, count, used; /* `used`: entries that ever held a key */
  guint32 free;
  Entry *entries;   /* max + 1 */
  guint32 *buckets; /* a power of two of at least `max` */
  guint32 mask;
  guint64 seed; /* a file cannot be made whose keys are all in one bucket */
  guint8 identity[PAGE_INDEX_IDENTITY];
  GHashTable *removed; /* PageKey; since the file was last seen */
  struct stat seen;    /* the file then */
};

static const PageFileKind kind = {"doppelPI", 1, PAGE_INDEX_IDENTITY + (gsize)KEYS_LIMIT * sizeof(PageKey)};

static guint32 *
bucket_of(const PageIndex *index, const PageKey *key)
{
  return &index->buckets[XXH3_64bits_withSeed(key, sizeof *key, index->seed) & index->mask];
}

static guint32
find(const PageIndex *index, const PageKey *key)
{
  guint32 at = *bucket_of(index, key);
  while (at && !page_key_equal(&index->entries[at].key, key))
    at = index->entries[at].next;
  return at;
}

static void
unlink_entry(PageIndex *index, guint32 at)
{
  Entry *entries = index->entries;
  entries[entries[at].older].newer = entries[at].newer;
  entries[entries[at].newer].older = entries[at].older;
}

/* As the one that is newer than `older`: the newest where that is entries[0].older, the oldest where it is 0.
 */
static void
link_entry(PageIndex *index, guint32 at, guint32 older)
{
  Entry *entries = index->entries;
  entries[at].older = older;
  entries[at].newer = entries[older].newer;
  entries[entries[at].newer].older = at;
  entries[older].newer = at;
}

static void
drop(PageIndex *index, guint32 at)
{
  guint32 *link = bucket_of(index, &index->entries[at].key);
  while (*link != at)
    link = &index->entries[*link].next;
  *link = index->entries[at].next;
  unlink_entry(index, at);
  index->entries[at].next = index->free;
  index->free = at;
  index->count--;
}

static void
insert(PageIndex *index, const PageKey *key, guint32 older)
{
  guint32 at = index->free;
  if (at)
    index->free = index->entries[at].next;
  else
    at = ++index->used;
  guint32 *bucket = bucket_of(index, key);
  index->entries[at].key = *key;
  index->entries[at].next = *bucket;
  *bucket = at;
  link_entry(index, at, older);
  index->count++;
}

static void
clear(PageIndex *index)
{
  memset(index->buckets, 0, (index->mask + 1) * sizeof *index->buckets);
  index->entries[0] = (Entry){0};
  index->count = index->used = index->free = 0;
}

gboolean
page_index_has(PageIndex *index, const PageKey *key)
{
  guint32 at = find(index, key);
  if (!at)
    return FALSE;
  unlink_entry(index, at);
  link_entry(index, at, index->entries[0].older);
  return TRUE;
}

void
page_index_add(PageIndex *index, const PageKey *key)
{
  if (g_hash_table_size(index->removed))
    g_hash_table_remove(index->removed, key);
  if (page_index_has(index, key))
    return;
  if (index->count == index->max)
    drop(index, index->entries[0].newer);
  insert(index, key, index->entries[0].older);
}

void
page_index_remove(PageIndex *index, const PageKey *key)
{
  guint32 at = find(index, key);
  if (at)
    drop(index, at);
  if (g_hash_table_size(index->removed) < REMOVED_MAX)
    g_hash_table_add(index->removed, g_memdup2(key, sizeof *key));
}

guint
page_index_count(const PageIndex *index)
{
  return index->count;
}

gboolean
page_index_set_identity(PageIndex *index, const guint8 identity[static PAGE_INDEX_IDENTITY])
{
  if (memcmp(index->identity, identity, sizeof index->identity) == 0)
    return TRUE;
  memcpy(index->identity, identity, sizeof index->identity);
  clear(index);
  g_hash_table_remove_all(index->removed);
  return FALSE;
}

/* ---- the file: the identity, and keys from the oldest to the newest ---- */

static gboolean
is_other_file(const struct stat *a, const struct stat *b)
{
  return a->st_dev != b->st_dev || a->st_ino != b->st_ino || a->st_size != b->st_size ||
         a->st_ctim.tv_sec != b->st_ctim.tv_sec || a->st_ctim.tv_nsec != b->st_ctim.tv_nsec;
}

/* What the file holds, if its length makes sense; and how many keys. */
static GBytes *
load_keys(const char *path, const guint8 **identity, const PageKey **keys, gsize *count)
{
  gsize length;
  g_autoptr(GBytes) bytes = page_file_load(path, &kind);
  const guint8 *data = bytes ? g_bytes_get_data(bytes, &length) : NULL;
  if (!data || length < PAGE_INDEX_IDENTITY || (length - PAGE_INDEX_IDENTITY) % sizeof(PageKey))
    return NULL;
  *identity = data;
  *keys = (const PageKey *)(data + PAGE_INDEX_IDENTITY);
  *count = (length - PAGE_INDEX_IDENTITY) / sizeof(PageKey);
  return g_steal_pointer(&bytes);
}

static void
note_file(PageIndex *index)
{
  if (stat(index->path, &index->seen) < 0)
    memset(&index->seen, 0, sizeof index->seen);
}

/* From their newest on, each older than all that are there, while there is room. */
static void
merge(PageIndex *index)
{
  const guint8 *identity;
  const PageKey *keys;
  gsize count;
  struct stat now;
  if (stat(index->path, &now) < 0 || !is_other_file(&now, &index->seen))
    return;
  g_autoptr(GBytes) bytes = load_keys(index->path, &identity, &keys, &count);
  if (!bytes || memcmp(identity, index->identity, PAGE_INDEX_IDENTITY) != 0)
    return;
  while (count-- > 0 && index->count < index->max)
    if (!g_hash_table_contains(index->removed, &keys[count]) && !find(index, &keys[count]))
      insert(index, &keys[count], NONE);
}

gboolean
page_index_save(PageIndex *index, GError **error)
{
  g_auto(Fd) lock = page_file_lock(index->path, error);
  if (lock < 0)
    return FALSE;
  merge(index);
  gsize length = PAGE_INDEX_IDENTITY + index->count * sizeof(PageKey);
  g_autofree guint8 *bytes = g_malloc(length);
  guint8 *to = bytes + PAGE_INDEX_IDENTITY;
  memcpy(bytes, index->identity, PAGE_INDEX_IDENTITY);
  for (guint32 at = index->entries[0].newer; at; at = index->entries[at].newer, to += sizeof(PageKey))
    memcpy(to, &index->entries[at].key, sizeof(PageKey));
  if (!page_file_save(index->path, &kind, bytes, length, error))
    return FALSE;
  g_hash_table_remove_all(index->removed);
  note_file(index);
  return TRUE;
}

static guint
hash_key(gconstpointer key)
{
  return XXH3_64bits(key, sizeof(PageKey));
}

static gboolean
equal_keys(gconstpointer a, gconstpointer b)
{
  return page_key_equal(a, b);
}

PageIndex *
page_index_load(const char *path, guint max)
{
  const guint8 *identity;
  const PageKey *keys;
  gsize count;
  g_return_val_if_fail(max > 0 && max <= KEYS_LIMIT, NULL);
  PageIndex *index = g_new0(PageIndex, 1);
  index->path = g_strdup(path);
  index->max = max;
  for (index->mask = 1; index->mask < max; index->mask <<= 1)
    ;
  index->entries = g_new0(Entry, max + 1);
  index->buckets = g_new0(guint32, index->mask--);
  index->removed = g_hash_table_new_full(hash_key, equal_keys, g_free, NULL);
  if (getrandom(&index->seed, sizeof index->seed, GRND_NONBLOCK) != sizeof index->seed)
    index->seed = g_get_monotonic_time() ^ (guint64)(gsize)index;
  note_file(index);
  g_autoptr(GBytes) bytes = load_keys(path, &identity, &keys, &count);
  if (!bytes)
    return index;
  memcpy(index->identity, identity, PAGE_INDEX_IDENTITY);
  for (gsize i = count > max ? count - max : 0; i < count; i++)
    page_index_add(index, &keys[i]);
  return index;
}

void
page_index_free(PageIndex *index)
{
  if (!index)
    return;
  g_hash_table_unref(index->removed);
  g_free(index->entries);
  g_free(index->buckets);
  g_free(index->path);
  g_free(index);
}
