/* What both twins must have alike, as hashes: one for each part, so that a difference can be named. */
#include <sodium.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "mirror/twin.h"

enum { PAGE = 4096, HASH_BYTES = 16 };

/* Where a part is a section of small state: which. The device's resource limits are no part: they are not the
 * mirror's. */
static const struct {
  const char *name;
  guint32 kind;
} parts[] = {
    {"memory", 0},
    {"descriptors", 0},
    {"mappings", MIRROR_SECTION_LAYOUT},
    {"heap, mask or directory", MIRROR_SECTION_MISC},
    {"signal actions", MIRROR_SECTION_SIGNALS},
    {"registers", MIRROR_SECTION_REGISTERS},
    {"extended registers", MIRROR_SECTION_EXTENDED},
    {"threads", MIRROR_SECTION_THREAD},
};

static void
hash_memory(MirrorProcess *process, const MirrorLayout *layout, crypto_generichash_state *hash)
{
  static guint8 page[PAGE], zeros[PAGE];
  for (guint i = 0; i < layout->mappings->len; i++) {
    const MirrorMapping *mapping = &g_array_index(layout->mappings, MirrorMapping, i);
    if (!(mapping->prot & PROT_READ) || mapping->kind > MIRROR_MAP_SHARED)
      continue;
    for (guint64 at = mapping->start; at < mapping->end; at += PAGE) {
      /* Past a mapped file's end there is nothing to read on either side. */
      if (!mirror_memory_read(process, at, page, PAGE, NULL) || memcmp(page, zeros, PAGE) == 0)
        continue;
      crypto_generichash_update(hash, (guint8 *)&at, sizeof at);
      crypto_generichash_update(hash, page, PAGE);
    }
  }
}

/* What is a thing of the device's on one side is a placeholder on the other, and what the block made is a pin
 * once it has come home: of those only the number counts. */
static void
hash_files(const MirrorFiles *files, crypto_generichash_state *hash)
{
  for (guint i = 0; i < files->len; i++) {
    const MirrorFile *file = files->pdata[i];
    gboolean named = file->kind == MIRROR_FILE_REPLICA;
    const guint64 numbers[] = {file->number, file->close_on_exec, named ? file->flags : 0,
                               named ? file->offset : 0};
    crypto_generichash_update(hash, (const guint8 *)numbers, sizeof numbers);
    if (named)
      crypto_generichash_update(hash, (const guint8 *)file->path, strlen(file->path) + 1);
  }
}

static int
by_key(gconstpointer a, gconstpointer b)
{
  guint64 first = *(const guint64 *)a, second = *(const guint64 *)b;
  return (first > second) - (first < second);
}

static void
hash_sections(const MirrorState *state, guint32 kind, crypto_generichash_state *hash)
{
  g_autoptr(GList) keys = g_list_sort(g_hash_table_get_keys((GHashTable *)state), by_key);
  for (const GList *at = keys; at; at = at->next) {
    const guint64 *key = at->data;
    if (*key >> 32 != kind)
      continue;
    gsize length;
    const guint8 *bytes = g_bytes_get_data(mirror_state_get(state, kind, (guint32)*key), &length);
    crypto_generichash_update(hash, (const guint8 *)key, sizeof *key);
    crypto_generichash_update(hash, bytes, length);
  }
}

GBytes *
mirror_twin_digest(MirrorTwin *twin, const MirrorFiles *files, GError **error)
{
  gboolean children;
  g_autoptr(MirrorLayout) layout = mirror_layout_read(twin->process, error);
  g_autoptr(GHashTable) state = layout ? mirror_state_read(twin->process, layout, files, twin->counts,
                                                           twin->user, NULL, &children, error)
                                       : NULL;
  if (!state)
    return NULL;
  guint8 *digest = g_malloc(G_N_ELEMENTS(parts) * HASH_BYTES);
  for (guint i = 0; i < G_N_ELEMENTS(parts); i++) {
    crypto_generichash_state hash;
    crypto_generichash_init(&hash, NULL, 0, HASH_BYTES);
    if (parts[i].kind)
      hash_sections(state, parts[i].kind, &hash);
    else if (i == 0)
      hash_memory(twin->process, layout, &hash);
    else
      hash_files(files, &hash);
    crypto_generichash_final(&hash, digest + i * HASH_BYTES, HASH_BYTES);
  }
  return g_bytes_new_take(digest, G_N_ELEMENTS(parts) * HASH_BYTES);
}

char *
mirror_digest_differ(GBytes *own, GBytes *other)
{
  const guint8 *a = g_bytes_get_data(own, NULL), *b = g_bytes_get_data(other, NULL);
  if (g_bytes_equal(own, other))
    return NULL;
  if (g_bytes_get_size(own) != g_bytes_get_size(other))
    return g_strdup("digests' lengths");
  GString *names = g_string_new(NULL);
  for (guint i = 0; i < G_N_ELEMENTS(parts); i++)
    if (memcmp(a + i * HASH_BYTES, b + i * HASH_BYTES, HASH_BYTES) != 0)
      g_string_append_printf(names, "%s%s", names->len ? "; " : "", parts[i].name);
  return g_string_free(names, FALSE);
}
