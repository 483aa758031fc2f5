/* doppel symbols: what can be named for off-loading. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cmd/cmd.h"
#include "cmd/table.h"
#include "mirror/symbols.h"
#include "mirror/symbols_demangle.h"
#include "mirror/symbols_link_map.h"

static const char summary[] =
    "Lists the functions of PROGRAM and of the libraries that it is linked with, as \"doppel run -f\" takes "
    "them: NAME, or\n"
    "MODULE:NAME where several modules have one of that name. A C++ name may be cut before its parenthesis.\n"
    "\n"
    "Without PATTERN or options: the program's own functions, and those of its libraries that it calls "
    "itself. With PATTERN (a\n"
    "part of the name, or a shell pattern with * and ?): every function in every module whose name has it.\n"
    "\n"
    "Behind the kind of some it says \"marked\": their authors say that they are worth off-loading "
    "(DOPPEL_OFFLOAD(3)), and\n"
    "\"doppel run\" without -f watches them.";

static const char notes[] = "Stripped files show only what they export. In a file whose symbols are gone a "
                            "function can still be named by its\n"
                            "address: MODULE:0xADDRESS. An \"ifunc\" is one of several functions that the "
                            "loader chooses among at the start.\n"
                            "\n"
                            "Example: doppel symbols --lib sqlite3 sqlite3 'sqlite3_*step*'";

typedef struct {
  gboolean json, all, marked;
  char **libraries;
  const char *pattern; /* NULL: none */
  GPtrArray *files;    /* of SymbolFile *, the program first */
  Table *table;
  guint left_out;
} Listing;

static const TableColumn columns[] = {
    {"MODULE", "module"}, {"SIZE", "size", TABLE_NUMBER},
    {"KIND", NULL},       {NULL, "kind"},
    {"NAME", "name"},     {NULL, "marked", TABLE_BOOLEAN},
    {NULL, "address"},    {NULL, "symbol"},
    {NULL, "version"},    {NULL, "path"},
};

static const char *
kind_name(const Symbol *symbol)
{
  if (symbol->kind == SYMBOL_IFUNC)
    return "ifunc";
  if (symbol->kind == SYMBOL_ADDRESS)
    return "nameless";
  static const char *const names[] = {
      [SYMBOL_LOCAL] = "local", [SYMBOL_GLOBAL] = "global", [SYMBOL_WEAK] = "weak"};
  return names[symbol->binding];
}

static gboolean
matches_pattern(const char *pattern, const char *name)
{
  g_autofree char *low_pattern = g_ascii_strdown(pattern, -1);
  g_autofree char *low_name = g_ascii_strdown(name, -1);
  return strpbrk(pattern, "*?") ? g_pattern_match_simple(low_pattern, low_name)
                                : strstr(low_name, low_pattern) != NULL;
}

/* Names that the compiler and the C library put into every program. */
static gboolean
is_scaffolding(const char *name)
{
  static const char *const names[] = {
      "_init", "_fini", "_start", "frame_dummy", "register_tm_clones", "deregister_tm_clones"};
  for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
    if (g_str_equal(names[i], name))
      return TRUE;
  return g_str_has_prefix(name, "__do_global_") || g_str_has_prefix(name, "__libc_csu_");
}

static gboolean
wanted_module(const Listing *listing, const SymbolFile *file)
{
  if (!listing->libraries)
    return TRUE;
  const ElfFacts *facts = symbols_facts(file);
  for (char **library = listing->libraries; *library; library++) {
    SymbolQuery query = {.module = *library};
    if (symbols_query_names_module(&query, facts->path, facts->soname))
      return TRUE;
  }
  return FALSE;
}

static gboolean
wanted_symbol(const Listing *listing, const SymbolFile *file, const Symbol *symbol, const char *name)
{
  gboolean marked = symbols_is_marked(file, symbol);
  if (listing->marked && !marked)
    return FALSE;
  if (listing->pattern)
    return matches_pattern(listing->pattern, name) || matches_pattern(listing->pattern, symbol->name);
  if (listing->all || marked)
    return TRUE;
  if (is_scaffolding(symbol->name))
    return FALSE;
  const SymbolFile *program = listing->files->pdata[0];
  return listing->libraries || file == program ||
         (symbol->dynamic && symbol->binding != SYMBOL_LOCAL && symbols_imports(program, symbol->name));
}

static void
add_row(Listing *listing, const SymbolFile *file, const Symbol *symbol, const char *name)
{
  g_autofree char *module = symbols_module_name(file);
  g_autofree char *size = symbol->size > 0 ? g_strdup_printf("%" G_GUINT64_FORMAT, symbol->size) : NULL;
  g_autofree char *address = g_strdup_printf("0x%" G_GINT64_MODIFIER "x", symbol->vaddr);
  gboolean marked = symbols_is_marked(file, symbol);
  const char *kind = kind_name(symbol);
  g_autofree char *shown = g_strconcat(kind, marked ? " marked" : "", NULL);
  table_add(listing->table,
            (const char *const[]){module, size, shown, kind, name, marked ? "true" : "false", address,
                                  symbol->name, symbol->version, symbols_facts(file)->path});
}

static void
list_file(Listing *listing, const SymbolFile *file)
{
  g_autofree char *last = NULL;
  guint64 last_vaddr = 0;
  for (guint i = 0; i < symbols_count(file); i++) {
    const Symbol *symbol = symbols_at(file, i);
    g_autofree char *name = symbols_display_name(symbol);
    /* A constructor has two symbols of one name where they are one function. */
    if (last && last_vaddr == symbol->vaddr && g_str_equal(last, name))
      continue;
    if (!wanted_symbol(listing, file, symbol, name)) {
      listing->left_out++;
      continue;
    }
    add_row(listing, file, symbol, name);
    g_free(last);
    last = g_steal_pointer(&name);
    last_vaddr = symbol->vaddr;
  }
  /* Of those without a name only marked ones are known here. */
  for (guint i = 0; i < symbols_marked(file)->len; i++) {
    const Symbol *symbol = symbols_marked(file)->pdata[i];
    if (symbol->kind == SYMBOL_ADDRESS && wanted_symbol(listing, file, symbol, symbol->name))
      add_row(listing, file, symbol, symbol->name);
  }
}

static gboolean
open_modules(Listing *listing, const char *program, GError **error)
{
  g_autofree char *path = elf_facts_find_program(program, error);
  if (!path)
    return FALSE;
  g_autoptr(GPtrArray) map = symbols_link_map(path, error);
  if (!map)
    return FALSE;
  const LinkMapEntry *first = map->pdata[0];
  if (!elf_facts_check_program(first->facts, error))
    return FALSE;
  for (guint i = 0; i < map->len; i++) {
    const LinkMapEntry *entry = map->pdata[i];
    if (!entry->path) {
      fprintf(stderr, "doppel symbols: %s, which %s needs, was not found\n", entry->name, entry->needed_by);
      continue;
    }
    SymbolFile *file = symbols_open(entry->path, error);
    if (!file)
      return FALSE;
    g_ptr_array_add(listing->files, file);
  }
  return TRUE;
}

static gboolean
list_modules(Listing *listing, const char *program, GError **error)
{
  guint modules = 0;
  for (guint i = 0; i < listing->files->len; i++) {
    const SymbolFile *file = listing->files->pdata[i];
    if (!wanted_module(listing, file))
      continue;
    modules++;
    list_file(listing, file);
  }
  if (modules > 0)
    return TRUE;
  g_autoptr(GString) names = g_string_new(NULL);
  for (guint i = 0; i < listing->files->len; i++) {
    g_autofree char *name = symbols_module_name(listing->files->pdata[i]);
    g_string_append_printf(names, "%s%s", i > 0 ? ", " : "", name);
  }
  return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "%s has no library \"%s\"; it is made of %s",
                          program, listing->libraries[0], names->str);
}

static void
tell_rest(const Listing *listing)
{
  if (listing->json || listing->all)
    return;
  if (table_rows(listing->table) == 0 && listing->marked)
    fprintf(stderr, "No function is marked%s.\n", listing->pattern ? " that matches" : "");
  else if (table_rows(listing->table) == 0)
    fprintf(stderr, "No function matches, of %u.\n", listing->left_out);
  else if (!listing->pattern && !listing->marked && listing->left_out > 0)
    fprintf(stderr, "%u more can be named: give a PATTERN, --lib LIB or --all.\n", listing->left_out);
}

int
cmd_symbols(int argc, char **argv)
{
  Listing listing = {0};
  g_auto(GStrv) libraries = NULL;
  const GOptionEntry options[] = {
      {"lib", 'l', 0, G_OPTION_ARG_STRING_ARRAY, &libraries,
       "Only this library, every function of it; repeatable", "LIB"},
      {"all", 'a', 0, G_OPTION_ARG_NONE, &listing.all, "Every function of the program and all its libraries",
       NULL},
      {"marked", 'm', 0, G_OPTION_ARG_NONE, &listing.marked,
       "Only functions that are marked for off-loading in the program or its libraries", NULL},
      {"json", 0, 0, G_OPTION_ARG_NONE, &listing.json, "Print JSON, with addresses, symbols and paths", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("PROGRAM [PATTERN]");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 1, 2))
    return 2;
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func((GDestroyNotify)symbols_close);
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  listing.libraries = libraries;
  listing.pattern = argv[2];
  listing.files = files;
  listing.table = table;
  if (!open_modules(&listing, argv[1], &error) || !list_modules(&listing, argv[1], &error))
    return cmd_fail("symbols", error);
  if (listing.json || table_rows(table) > 0)
    table_print(table, listing.json, stdout);
  tell_rest(&listing);
  return table_rows(table) > 0 ? 0 : 1;
}
