#include "mirror/symbols_link_map.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

#define MODULE_LIMIT 4096
#define CACHE_LIMIT  (64u << 20)

/* /etc/ld.so.cache as glibc 2.2 and later write it (its sysdeps/generic/dl-cache.h): a header, entries,
 * strings. */
#define CACHE_MAGIC "glibc-ld.so.cache1.1"
typedef struct {
  char magic[20];
  guint32 count, strings_length;
  guint8 flags, padding[3];
  guint32 extension_offset;
  guint32 unused[3];
} CacheHeader;

typedef struct {
  gint32 flags;
  guint32 key, value; /* offsets of the name and of the path, from the header */
  guint32 os_version;
  guint64 hwcap;
} CacheEntry;

/* The kind of library in an entry's flags: ELF for libc 6, and the ABI in the second byte. */
static const struct {
  guint16 machine;
  gboolean is_64;
  gint32 flags;
  const char *lib;      /* what $LIB stands for on Debian */
  const char *platform; /* $PLATFORM */
} abis[] = {
    {EM_X86_64, TRUE, 0x0303, "lib/x86_64-linux-gnu", "x86_64"},
    {EM_AARCH64, TRUE, 0x0a03, "lib/aarch64-linux-gnu", "aarch64"},
    {EM_386, FALSE, 0x0003, "lib/i386-linux-gnu", "i686"},
};

typedef struct {
  GPtrArray *modules;
  GHashTable *names; /* of needed names that were looked for */
  guint abi;         /* index into abis; G_N_ELEMENTS(abis): not known */
  guint16 machine;
  gboolean is_64;
  char *cache; /* NULL: none */
  gsize cache_length;
} Search;

static void
entry_free(LinkMapEntry *entry)
{
  g_free(entry->name);
  g_free(entry->path);
  g_free(entry->needed_by);
  elf_facts_free(entry->facts);
  g_free(entry);
}

/* Adds the library at `path` if it is one for this program. */
static gboolean
add_module(Search *search, const char *name, const char *path, const char *needed_by)
{
  g_autoptr(ElfFacts) facts = elf_facts_read(path, NULL);
  if (!facts || facts->machine != search->machine || facts->is_64 != search->is_64)
    return FALSE;
  for (guint i = 0; i < search->modules->len; i++) {
    const LinkMapEntry *other = search->modules->pdata[i];
    if (other->facts && other->facts->device == facts->device && other->facts->inode == facts->inode)
      return TRUE;
  }
  LinkMapEntry *entry = g_new0(LinkMapEntry, 1);
  *entry = (LinkMapEntry){g_strdup(name), g_strdup(path), g_strdup(needed_by), g_steal_pointer(&facts)};
  g_ptr_array_add(search->modules, entry);
  return TRUE;
}

static char *
expand(const Search *search, const char *folder, const char *origin)
{
  gboolean known = search->abi < G_N_ELEMENTS(abis);
  const struct {
    const char *name, *value;
  } tokens[] = {
      {"ORIGIN", origin},
      {"LIB", known ? abis[search->abi].lib : "lib"},
      {"PLATFORM", known ? abis[search->abi].platform : ""},
  };
  GString *text = g_string_new(folder);
  for (gsize i = 0; i < G_N_ELEMENTS(tokens); i++) {
    g_autofree char *bare = g_strconcat("$", tokens[i].name, NULL);
    g_autofree char *braced = g_strconcat("${", tokens[i].name, "}", NULL);
    g_string_replace(text, braced, tokens[i].value, 0);
    g_string_replace(text, bare, tokens[i].value, 0);
  }
  return g_string_free(text, FALSE);
}

static gboolean
search_path(Search *search, const char *name, const char *path, const ElfFacts *needer)
{
  if (!path)
    return FALSE;
  g_autofree char *origin = g_path_get_dirname(needer->path);
  g_auto(GStrv) folders = g_strsplit_set(path, ":;", -1);
  for (char **folder = folders; *folder; folder++) {
    g_autofree char *expanded = expand(search, **folder ? *folder : ".", origin);
    g_autofree char *candidate = g_build_filename(expanded, name, NULL);
    if (add_module(search, name, candidate, needer->path))
      return TRUE;
  }
  return FALSE;
}

static const char *
cache_string(const char *base, gsize length, guint32 offset)
{
  return offset < length && memchr(base + offset, '\0', length - offset) ? base + offset : NULL;
}

static gboolean
search_cache(Search *search, const char *name, const ElfFacts *needer)
{
  if (!search->cache || search->abi == G_N_ELEMENTS(abis))
    return FALSE;
  /* Distributions may still put the older table before this one. */
  const char *base = memmem(search->cache, search->cache_length, CACHE_MAGIC, strlen(CACHE_MAGIC));
  if (!base)
    return FALSE;
  gsize length = search->cache_length - (base - search->cache);
  CacheHeader header;
  if (length < sizeof header)
    return FALSE;
  memcpy(&header, base, sizeof header);
  gsize count = MIN(header.count, (length - sizeof header) / sizeof(CacheEntry));
  for (gsize i = 0; i < count; i++) {
    CacheEntry entry;
    memcpy(&entry, base + sizeof header + i * sizeof entry, sizeof entry);
    const char *key = cache_string(base, length, entry.key);
    /* Entries with hardware capabilities name faster copies; which one the loader takes is known only to the
     * process. */
    if (entry.flags != abis[search->abi].flags || entry.hwcap != 0 || !key || !g_str_equal(key, name))
      continue;
    const char *value = cache_string(base, length, entry.value);
    if (value && add_module(search, name, value, needer->path))
      return TRUE;
  }
  return FALSE;
}

static gboolean
search_defaults(Search *search, const char *name, const ElfFacts *needer)
{
  return !needer->no_default_path &&
         search_path(search, name, "/$LIB:/usr/$LIB:/lib64:/usr/lib64:/lib:/usr/lib:/usr/local/lib", needer);
}

static void
find_library(Search *search, const char *name, const ElfFacts *needer)
{
  if (!g_hash_table_add(search->names, g_strdup(name)) || search->modules->len >= MODULE_LIMIT)
    return;
  const LinkMapEntry *program = search->modules->pdata[0];
  if (strchr(name, '/')) {
    g_autofree char *origin = g_path_get_dirname(needer->path);
    g_autofree char *path = expand(search, name, origin);
    if (add_module(search, name, path, needer->path))
      return;
  } else if ((!needer->runpath && (search_path(search, name, needer->rpath, needer) ||
                                   search_path(search, name, program->facts->rpath, program->facts))) ||
             search_path(search, name, g_getenv("LD_LIBRARY_PATH"), needer) ||
             search_path(search, name, needer->runpath, needer) || search_cache(search, name, needer) ||
             search_defaults(search, name, needer)) {
    return;
  }
  LinkMapEntry *missing = g_new0(LinkMapEntry, 1);
  *missing = (LinkMapEntry){.name = g_strdup(name), .needed_by = g_strdup(needer->path)};
  g_ptr_array_add(search->modules, missing);
}

static void
add_preloaded(Search *search, const ElfFacts *program)
{
  const char *text = g_getenv("LD_PRELOAD");
  g_auto(GStrv) names = g_strsplit_set(text ? text : "", ": ", -1);
  for (char **name = names; *name; name++)
    if (**name)
      find_library(search, *name, program);
}

static void
add_interpreter(Search *search, const ElfFacts *program)
{
  g_autofree char *name = g_path_get_basename(program->interpreter);
  add_module(search, name, program->interpreter, program->path);
}

static void
read_cache(Search *search)
{
  g_auto(Fd) fd = open("/etc/ld.so.cache", O_RDONLY | O_CLOEXEC);
  struct stat status;
  if (fd < 0 || fstat(fd, &status) != 0 || status.st_size <= 0 || status.st_size > CACHE_LIMIT)
    return;
  search->cache = g_malloc(status.st_size);
  gssize got = io_read_all(fd, search->cache, status.st_size);
  search->cache_length = MAX(got, 0);
}

GPtrArray *
symbols_link_map(const char *program, GError **error)
{
  g_autoptr(ElfFacts) facts = elf_facts_read(program, error);
  if (!facts)
    return NULL;
  Search search = {.machine = facts->machine, .is_64 = facts->is_64};
  while (search.abi < G_N_ELEMENTS(abis) &&
         (abis[search.abi].machine != facts->machine || abis[search.abi].is_64 != facts->is_64))
    search.abi++;
  search.modules = g_ptr_array_new_with_free_func((GDestroyNotify)entry_free);
  search.names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  read_cache(&search);
  LinkMapEntry *first = g_new0(LinkMapEntry, 1);
  *first =
      (LinkMapEntry){.name = g_strdup(program), .path = g_strdup(program), .facts = g_steal_pointer(&facts)};
  g_ptr_array_add(search.modules, first);
  if (first->facts->interpreter) {
    add_preloaded(&search, first->facts);
    for (guint i = 0; i < search.modules->len; i++) {
      const LinkMapEntry *entry = search.modules->pdata[i];
      for (char **needed = entry->facts ? entry->facts->needed : NULL; needed && *needed; needed++)
        find_library(&search, *needed, entry->facts);
    }
    add_interpreter(&search, first->facts);
  }
  g_hash_table_unref(search.names);
  g_free(search.cache);
  return search.modules;
}
