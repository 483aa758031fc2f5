#include <string.h>

#include "base/error.h"
#include "mirror/symbols.h"
#include "mirror/symbols_demangle.h"

#define NEAR_NAMES    5
#define ALIASES_LIMIT 4096 /* names of one address that are looked at */

const Symbol *
symbols_enclosing(const SymbolFile *file, guint64 vaddr)
{
  guint low = 0, high = symbols_count(file);
  while (low < high) {
    guint middle = low + (high - low) / 2;
    if (symbols_at(file, middle)->vaddr <= vaddr)
      low = middle + 1;
    else
      high = middle;
  }
  /* Of the names of the nearest beginning, one may have no size. */
  guint last = low > ALIASES_LIMIT ? low - ALIASES_LIMIT : 0;
  for (guint i = low; i > last && symbols_at(file, i - 1)->vaddr == symbols_at(file, low - 1)->vaddr; i--) {
    const Symbol *symbol = symbols_at(file, i - 1);
    if (symbol->vaddr == vaddr || vaddr - symbol->vaddr < symbol->size)
      return symbol;
  }
  return NULL;
}

/* Of the names of one address, the one that people know: public before local, as asked before an alias. */
static int
renown(const SymbolQuery *query, const Symbol *symbol)
{
  return (g_strcmp0(query->name, symbol->name) == 0 ? 4 : 0) + (symbol->dynamic ? 2 : 0) +
         (symbol->binding == SYMBOL_GLOBAL);
}

static void
add_match(GPtrArray *matches, const SymbolQuery *query, const Symbol *symbol)
{
  /* Symbols come by address, so that the same address can only be the last one's. */
  const Symbol **last = matches->len > 0 ? (const Symbol **)&matches->pdata[matches->len - 1] : NULL;
  if (!last || (*last)->vaddr != symbol->vaddr)
    g_ptr_array_add(matches, (gpointer)symbol);
  else if (renown(query, symbol) > renown(query, *last))
    *last = symbol;
}

static const Symbol *
find_by_offset(SymbolFile *file, guint64 offset, GError **error)
{
  const ElfFacts *facts = symbols_facts(file);
  for (guint i = 0; i < facts->segments->len; i++) {
    const ElfSegment *segment = &g_array_index(facts->segments, ElfSegment, i);
    if (offset >= segment->offset && offset - segment->offset < segment->file_size)
      return symbols_by_address(file, segment->vaddr + (offset - segment->offset), error);
  }
  doppel_error_set(error, DOPPEL_ERROR_USAGE,
                   "0x%" G_GINT64_MODIFIER "x is not in the code of %s: it is no "
                   "offset of a function's first byte in that file",
                   offset, facts->path);
  return NULL;
}

GPtrArray *
symbols_resolve(SymbolFile *file, const SymbolQuery *query, GError **error)
{
  g_autoptr(GPtrArray) matches = g_ptr_array_new();
  if (!symbols_query_names_module(query, symbols_facts(file)->path, symbols_facts(file)->soname))
    return g_steal_pointer(&matches);
  if (query->is_address) {
    const Symbol *symbol = query->is_offset ? find_by_offset(file, query->address, error)
                                            : symbols_by_address(file, query->address, error);
    if (!symbol)
      return NULL;
    g_ptr_array_add(matches, (gpointer)symbol);
    return g_steal_pointer(&matches);
  }
  g_autoptr(GPtrArray) parts = g_ptr_array_new();
  for (guint i = 0; i < symbols_count(file); i++) {
    const Symbol *symbol = symbols_at(file, i);
    SymbolsMatch match = symbols_query_matches(query, symbol->name, symbol->version);
    if (match != SYMBOLS_NO_MATCH)
      add_match(match == SYMBOLS_MATCH ? matches : parts, query, symbol);
  }
  return matches->len > 0 ? g_steal_pointer(&matches) : g_steal_pointer(&parts);
}

GPtrArray *
symbols_implementations(const SymbolFile *file, const Symbol *ifunc)
{
  GPtrArray *found = g_ptr_array_new();
  gsize length = strlen(ifunc->name);
  for (guint i = 0; i < symbols_count(file); i++) {
    const Symbol *symbol = symbols_at(file, i);
    if (symbol->kind != SYMBOL_FUNCTION || symbol->vaddr == ifunc->vaddr)
      continue;
    const char *name = symbol->name;
    gboolean version = strncmp(name, ifunc->name, length) == 0 && name[length] == '.' &&
                       !g_str_has_suffix(name, ".resolver");
    gboolean libc = name[0] == '_' && name[1] == '_' && strncmp(name + 2, ifunc->name, length) == 0 &&
                    name[length + 2] == '_';
    if (version || libc)
      g_ptr_array_add(found, (gpointer)symbol);
  }
  return found;
}

typedef struct {
  guint distance;
  char *text;
} Near;

static int
compare_near(gconstpointer a, gconstpointer b)
{
  const Near *left = a, *right = b;
  return left->distance != right->distance ? (left->distance < right->distance ? -1 : 1)
                                           : strcmp(left->text, right->text);
}

static void
clear_near(gpointer near)
{
  g_free(((Near *)near)->text);
}

/* Keeps the best few. Takes `text`. */
static void
add_near(GArray *nears, guint distance, char *text)
{
  Near near = {distance, text};
  for (guint i = 0; i < nears->len; i++)
    if (g_str_equal(g_array_index(nears, Near, i).text, text)) {
      g_free(text);
      return;
    }
  g_array_append_val(nears, near);
  g_array_sort(nears, compare_near);
  if (nears->len > NEAR_NAMES)
    g_array_set_size(nears, NEAR_NAMES);
}

/* Damerau and Levenshtein's distance with neighbours transposed, in lower case; `limit` + 1 for anything
 * beyond it. */
static guint
edit_distance(const char *a, const char *b, guint limit)
{
  gsize rows = strlen(a), columns = strlen(b);
  if (rows > 255 || columns > 255 || rows > columns + limit || columns > rows + limit)
    return limit + 1;
  guint16 line[3][257];
  for (gsize j = 0; j <= columns; j++)
    line[0][j] = j;
  for (gsize i = 1; i <= rows; i++) {
    guint16 *now = line[i % 3], *before = line[(i + 2) % 3], *earlier = line[(i + 1) % 3];
    guint best = now[0] = i;
    for (gsize j = 1; j <= columns; j++) {
      char x = g_ascii_tolower(a[i - 1]), y = g_ascii_tolower(b[j - 1]);
      now[j] = MIN(MIN(before[j] + 1, now[j - 1] + 1), before[j - 1] + (x != y));
      if (i > 1 && j > 1 && x == g_ascii_tolower(b[j - 2]) && g_ascii_tolower(a[i - 2]) == y)
        now[j] = MIN(now[j], earlier[j - 2] + 1);
      best = MIN(best, now[j]);
    }
    if (best > limit)
      return limit + 1;
  }
  return line[rows % 3][columns];
}

static gboolean
contains(const char *text, const char *part)
{
  gsize length = strlen(part);
  for (; *text; text++)
    if (g_ascii_strncasecmp(text, part, length) == 0)
      return TRUE;
  return FALSE;
}

/* "ns::C::method<int>(long)" -> "method" */
static char *
last_component(const char *name)
{
  gsize length = strcspn(name, "(<");
  const char *start = name;
  for (const char *at = name; (at = strstr(at, "::")) && (gsize)(at - name) < length; at += 2)
    start = at + 2;
  return g_strndup(start, name + length - start);
}

/* How far a name is from what was asked: 0 is the same last component, G_MAXUINT not near at all. */
static guint
name_distance(const char *wanted, const char *wanted_last, const char *name)
{
  guint limit = MAX(1, strlen(wanted_last) / 3);
  g_autofree char *last = last_component(name);
  guint whole = edit_distance(wanted, name, limit);
  guint part = edit_distance(wanted_last, last, limit);
  guint best = MIN(whole, part);
  if (best <= limit)
    return best;
  if (strlen(wanted_last) >= 3 && contains(last, wanted_last))
    return limit + 1 + (strlen(last) - strlen(wanted_last)) / 4;
  if (strlen(last) >= 4 && contains(wanted_last, last))
    return limit + 2 + (strlen(wanted_last) - strlen(last)) / 2;
  return G_MAXUINT;
}

static char *
near_names(GPtrArray *files, const SymbolQuery *query, gboolean any_module)
{
  g_autoptr(GArray) nears = g_array_new(FALSE, FALSE, sizeof(Near));
  g_array_set_clear_func(nears, clear_near);
  g_autofree char *wanted_last = last_component(query->name);
  for (guint i = 0; i < files->len; i++) {
    const SymbolFile *file = files->pdata[i];
    if (!any_module &&
        !symbols_query_names_module(query, symbols_facts(file)->path, symbols_facts(file)->soname))
      continue;
    g_autofree char *module = symbols_module_name(file);
    for (guint j = 0; j < symbols_count(file); j++) {
      const Symbol *symbol = symbols_at(file, j);
      g_autofree char *bare = symbols_demangle_bare(symbol->name);
      const char *name = bare ? bare : symbol->name;
      guint distance = name_distance(query->name, wanted_last, name);
      if (distance != G_MAXUINT)
        add_near(nears, distance, g_strdup_printf("%s (%s)", name, module));
    }
  }
  g_autoptr(GString) text = g_string_new(NULL);
  for (guint i = 0; i < nears->len; i++)
    g_string_append_printf(text, "%s%s", i > 0 ? ", " : "", g_array_index(nears, Near, i).text);
  return text->len > 0 ? g_strdup(text->str) : NULL;
}

char *
symbols_suggest(GPtrArray *files, const SymbolQuery *query)
{
  if (query->is_address)
    return NULL;
  char *near = near_names(files, query, FALSE);
  return near || !query->module ? near : near_names(files, query, TRUE);
}

static gboolean
no_such_module(GPtrArray *files, const SymbolQuery *query, GError **error)
{
  g_autoptr(GString) modules = g_string_new(NULL);
  for (guint i = 0; i < files->len; i++) {
    const SymbolFile *file = files->pdata[i];
    if (symbols_query_names_module(query, symbols_facts(file)->path, symbols_facts(file)->soname))
      return FALSE;
    g_autofree char *name = symbols_module_name(file);
    g_string_append_printf(modules, "%s%s", i > 0 ? ", " : "", name);
  }
  doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "no library \"%s\" for the function %s; there are %s",
                   query->module, query->text, modules->str);
  return TRUE;
}

GArray *
symbols_find(GPtrArray *files, const SymbolQuery *query, GError **error)
{
  g_autoptr(GArray) found = g_array_new(FALSE, FALSE, sizeof(SymbolFound));
  if (query->module && no_such_module(files, query, error))
    return NULL;
  /* An address without LIB is the program's, which comes first. */
  guint count = query->is_address && !query->module ? MIN(files->len, 1) : files->len;
  for (guint i = 0; i < count; i++) {
    g_autoptr(GPtrArray) matches = symbols_resolve(files->pdata[i], query, error);
    if (!matches)
      return NULL;
    for (guint j = 0; j < matches->len; j++) {
      SymbolFound one = {files->pdata[i], matches->pdata[j]};
      g_array_append_val(found, one);
    }
  }
  if (found->len > 0)
    return g_steal_pointer(&found);
  g_autofree char *near = symbols_suggest(files, query);
  if (near)
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "no function \"%s\"; near names: %s", query->text, near);
  else
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                     "no function \"%s\" in the program or its libraries, nor a near name; \"doppel "
                     "symbols\" lists what there is",
                     query->text);
  return NULL;
}
