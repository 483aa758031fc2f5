#include "profile/file.h"

#include <string.h>

#include "base/io.h"
#include "mirror/symbols_starts.h"

static void
clear_place(gpointer place)
{
  g_free(((ProfilePlace *)place)->name);
}

ProfileFile *
profile_file_new(ProfileObject *object)
{
  ProfileFile *file = g_new0(ProfileFile, 1);
  file->object = object;
  file->places = g_array_new(FALSE, FALSE, sizeof(ProfilePlace));
  g_array_set_clear_func(file->places, clear_place);
  return file;
}

void
profile_file_free(ProfileFile *file)
{
  if (!file)
    return;
  profile_object_free(file->object);
  g_array_unref(file->places);
  g_free(file);
}

void
profile_file_add(ProfileFile *file, guint64 vaddr, guint64 size, guint64 offset, const char *name)
{
  ProfilePlace place = {.vaddr = vaddr, .size = MAX(size, 1), .offset = offset, .name = g_strdup(name)};
  g_array_append_val(file->places, place);
}

/* Of an address's names people know the exported one, without underscores, short. */
static gboolean
is_better_known(const Symbol *symbol, const Symbol *than)
{
  guint left = 4 * symbol->dynamic + 2 * (symbol->name[0] != '_') + (symbol->binding == SYMBOL_GLOBAL);
  guint right = 4 * than->dynamic + 2 * (than->name[0] != '_') + (than->binding == SYMBOL_GLOBAL);
  return left != right ? left > right : strlen(symbol->name) < strlen(than->name);
}

/* The functions of the tables, one per address. Whether there is more than what the loader needs. */
static gboolean
add_symbols(ProfileFile *file, const SymbolFile *symbols)
{
  gboolean whole = FALSE;
  for (guint i = 0, next; i < symbols_count(symbols); i = next) {
    const Symbol *best = symbols_at(symbols, i);
    guint64 size = 0;
    for (next = i; next < symbols_count(symbols) && symbols_at(symbols, next)->vaddr == best->vaddr; next++) {
      const Symbol *symbol = symbols_at(symbols, next);
      size = MAX(size, symbol->size);
      whole = whole || !symbol->dynamic;
      if (is_better_known(symbol, best))
        best = symbol;
    }
    profile_file_add(file, best->vaddr, size, best->offset, best->name);
  }
  return whole;
}

static int
compare_places(gconstpointer a, gconstpointer b)
{
  const ProfilePlace *left = a, *right = b;
  return left->vaddr != right->vaddr ? (left->vaddr < right->vaddr ? -1 : 1) : 0;
}

/* Adds what begins where no symbol is. */
static void
add_starts(ProfileFile *file, const SymbolFile *symbols, int fd)
{
  const ElfFacts *facts = symbols_facts(symbols);
  g_autoptr(GArray) starts = symbols_starts_read(fd, facts);
  for (guint i = 0; i < starts->len; i++) {
    const SymbolsStart *start = &g_array_index(starts, SymbolsStart, i);
    const ElfSegment *segment = elf_facts_segment(facts, start->vaddr);
    if (start->begins && !symbols_enclosing(symbols, start->vaddr))
      profile_file_add(file, start->vaddr, start->size, segment->offset + (start->vaddr - segment->vaddr),
                       NULL);
  }
  g_array_sort(file->places, compare_places);
}

ProfileFile *
profile_file_read(const char *path, GError **error)
{
  g_auto(Fd) fd = profile_object_open(path, error);
  if (fd < 0)
    return NULL;
  g_autoptr(SymbolFile) symbols = symbols_open_fd(fd, path, error);
  ProfileObject *object = symbols ? profile_object_read_fd(fd, symbols_facts(symbols), error) : NULL;
  if (!object)
    return NULL;
  ProfileFile *file = profile_file_new(object);
  if (!add_symbols(file, symbols))
    add_starts(file, symbols, fd);
  return file;
}

const ProfilePlace *
profile_file_find(const ProfileFile *file, guint64 vaddr)
{
  guint low = 0, high = file->places->len;
  while (low < high) {
    guint middle = low + (high - low) / 2;
    if (g_array_index(file->places, ProfilePlace, middle).vaddr <= vaddr)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == 0)
    return NULL;
  const ProfilePlace *place = &g_array_index(file->places, ProfilePlace, low - 1);
  return vaddr - place->vaddr < place->size ? place : NULL;
}
