/* The functions that the user named, or that the program marks: where they are in the process, and
 * breakpoints at their entries. */
#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "controller/controller.h"
#include "mirror/elf_facts.h"
#include "mirror/symbols_link_map.h"

void
function_free(Function *function)
{
  g_clear_pointer(&function->query, symbols_query_free);
  g_array_unref(function->addresses);
  g_hash_table_unref(function->reasons);
  g_clear_pointer(&function->split, g_array_unref);
  g_clear_pointer(&function->forecast, page_forecast_free);
  g_clear_pointer(&function->blocks, g_array_unref);
  g_free(function->text);
  g_free(function);
}

void
function_reason(Function *function, const char *reason)
{
  gpointer count = g_hash_table_lookup(function->reasons, reason);
  g_hash_table_insert(function->reasons, g_strdup(reason), GUINT_TO_POINTER(GPOINTER_TO_UINT(count) + 1));
}

static Function *
function_new(const char *text)
{
  Function *function = g_new0(Function, 1);
  function->text = g_strdup(text);
  function->addresses = g_array_new(FALSE, FALSE, sizeof(guint64));
  function->reasons = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  return function;
}

/* Before the program runs: what it will be linked with must have the function, unless a library is named that
 * it may open later. */
static gboolean
check_named(GPtrArray *files, const SymbolQuery *query, GError **error)
{
  g_autoptr(GError) why = NULL;
  g_autoptr(GArray) found = symbols_find(files, query, &why);
  if (found)
    return TRUE;
  gboolean module_known = FALSE;
  for (guint i = 0; i < files->len; i++) {
    const ElfFacts *facts = symbols_facts(files->pdata[i]);
    module_known |= query->module && symbols_query_names_module(query, facts->path, facts->soname);
  }
  if (query->module && !module_known)
    return TRUE;
  g_propagate_error(error, g_steal_pointer(&why));
  return FALSE;
}

static GPtrArray *
open_link_map(const char *program, GError **error)
{
  GPtrArray *files = g_ptr_array_new_with_free_func((GDestroyNotify)symbols_close);
  g_autoptr(GPtrArray) map = symbols_link_map(program, NULL);
  for (guint i = 0; map && i < map->len; i++) {
    const LinkMapEntry *entry = map->pdata[i];
    SymbolFile *file = entry->path ? symbols_open(entry->path, NULL) : NULL;
    if (file)
      g_ptr_array_add(files, file);
  }
  return files;
}

static gboolean
is_taken(const Controller *controller, const char *text)
{
  for (guint i = 0; i < controller->functions->len; i++)
    if (g_str_equal(((const Function *)controller->functions->pdata[i])->text, text))
      return TRUE;
  return FALSE;
}

/* Names in a file are anybody's: what would steer a terminal is not to be told to the user. */
static gboolean
is_printable(const char *text)
{
  if (!g_utf8_validate(text, -1, NULL))
    return FALSE;
  for (; *text; text = g_utf8_next_char(text))
    if (!g_unichar_isprint(g_utf8_get_char(text)))
      return FALSE;
  return TRUE;
}

/* By its address, as several may have one name, or none. */
static void
add_marked(Controller *controller, const SymbolFile *file, const Symbol *symbol, gboolean library)
{
  g_autofree char *module = symbols_module_name(file);
  g_autofree char *place = g_strdup_printf("%s:0x%" G_GINT64_MODIFIER "x", module, symbol->vaddr);
  g_autoptr(SymbolQuery) query = symbols_query_parse(place, NULL);
  if (!query || !is_printable(place))
    return;
  g_autofree char *name = symbols_display_name(symbol);
  g_autofree char *text = library ? g_strdup_printf("%s:%s", module, name) : g_strdup(name);
  Function *function = function_new(is_printable(text) && !is_taken(controller, text) ? text : place);
  function->query = g_steal_pointer(&query);
  function->marked = TRUE;
  g_ptr_array_add(controller->functions, function);
}

/* Those that the program and the libraries that it is linked with mark themselves, by
 * include/doppel/offload.h. A script's interpreter is not looked into. */
static void
prepare_marked(Controller *controller)
{
  g_autoptr(GPtrArray) map = symbols_link_map(controller->program, NULL);
  for (guint i = 0; map && i < map->len; i++) {
    const LinkMapEntry *entry = map->pdata[i];
    if (!entry->facts || entry->facts->marks->len == 0)
      continue;
    /* As it will be named in the process. */
    g_autofree char *path = realpath(entry->path, NULL);
    g_autoptr(SymbolFile) file = path ? symbols_open(path, NULL) : NULL;
    for (guint k = 0; file && k < symbols_marked(file)->len; k++)
      add_marked(controller, file, symbols_marked(file)->pdata[k], i > 0);
  }
  if (controller->functions->len == 0)
    return;
  g_autoptr(GString) names = g_string_new(NULL);
  for (guint i = 0; i < controller->functions->len; i++)
    g_string_append_printf(names, "%s%s", i > 0 ? ", " : "",
                           ((const Function *)controller->functions->pdata[i])->text);
  explain(controller, "no -f says what to watch; the program marks for off-loading: %s", names->str);
}

gboolean
functions_prepare(Controller *controller, GError **error)
{
  char **texts = controller->options->functions;
  if (controller->options->whole) {
    controller->whole = function_new("(whole program)");
    g_ptr_array_add(controller->functions, controller->whole);
    return TRUE;
  }
  if (!texts || !*texts) {
    if (controller->options->place != RUN_PLACE_DEVICE)
      prepare_marked(controller);
    return TRUE;
  }
  g_autoptr(GPtrArray) files = open_link_map(controller->program, error);
  for (; *texts; texts++) {
    Function *function = function_new(*texts);
    g_ptr_array_add(controller->functions, function);
    function->query = symbols_query_parse(*texts, error);
    if (!function->query)
      return FALSE;
    /* A script's interpreter is not looked into before it runs. */
    if (files->len && !check_named(files, function->query, error))
      return FALSE;
  }
  return TRUE;
}

/* ---- in the process ---- */

static SymbolFile *
module_file(Controller *controller, const char *path)
{
  SymbolFile *file = g_hash_table_lookup(controller->module_paths, path);
  if (file || g_hash_table_contains(controller->module_paths, path))
    return file;
  file = symbols_open(path, NULL);
  g_hash_table_insert(controller->module_paths, g_strdup(path), file);
  if (file)
    g_ptr_array_add(controller->modules, file);
  return file;
}

/* A resolver's own address is not what runs: the linkage tables say what it chose, once the loader has asked
 * it. */
static guint64
indirect_target(Controller *controller, SymbolFile *file, const Symbol *symbol, guint64 bias)
{
  g_autoptr(GArray) slots = symbols_slots(file, symbol->name, symbol->vaddr);
  for (guint i = 0; i < slots->len; i++) {
    guint64 target = 0;
    if (mirror_memory_read(controller->process, g_array_index(slots, guint64, i) + bias, &target, 8, NULL) &&
        target)
      return target;
  }
  return 0;
}

static void
add_address(Function *function, guint64 address)
{
  for (guint i = 0; i < function->addresses->len; i++)
    if (g_array_index(function->addresses, guint64, i) == address)
      return;
  if (!address)
    return;
  function->seen = TRUE;
  g_array_append_val(function->addresses, address);
}

static void
look_in_module(Controller *controller, const MirrorMapping *mapping)
{
  guint64 bias;
  SymbolFile *file = module_file(controller, mapping->path);
  if (!file || !elf_facts_bias(symbols_facts(file), mapping->start, mapping->offset, &bias))
    return;
  for (guint i = 0; i < controller->functions->len; i++) {
    Function *function = controller->functions->pdata[i];
    /* Without a library's name the first module that has it is meant, as for the loader. */
    if (function->addresses->len && !function->query->module)
      continue;
    g_autoptr(GPtrArray) found = symbols_resolve(file, function->query, NULL);
    for (guint k = 0; found && k < found->len; k++) {
      const Symbol *symbol = found->pdata[k];
      /* Another file of the same name has something else there. */
      if (function->marked && !symbols_is_marked(file, symbol))
        continue;
      add_address(function, symbol->kind == SYMBOL_IFUNC ? indirect_target(controller, file, symbol, bias)
                                                         : symbol->vaddr + bias);
    }
  }
}

gboolean
functions_watch(Controller *controller, Function *function, GError **error)
{
  if (controller->options->place == RUN_PLACE_DEVICE || function->again_ns)
    return TRUE;
  for (guint i = 0; i < function->addresses->len; i++)
    if (!mirror_breakpoint_add(controller->process, g_array_index(function->addresses, guint64, i), TRUE,
                               error))
      return FALSE;
  function->watched = function->addresses->len > 0;
  return TRUE;
}

void
functions_unwatch(Controller *controller, Function *function)
{
  for (guint i = 0; i < function->addresses->len; i++)
    mirror_breakpoint_remove(controller->process, g_array_index(function->addresses, guint64, i), NULL);
  function->watched = FALSE;
}

static gboolean
all_found(const Controller *controller)
{
  for (guint i = 0; i < controller->functions->len; i++)
    if (!((Function *)controller->functions->pdata[i])->addresses->len)
      return FALSE;
  return TRUE;
}

gboolean
functions_modules_changed(Controller *controller, GError **error)
{
  g_autoptr(MirrorLayout) layout = mirror_layout_read(controller->process, error);
  if (!layout)
    return FALSE;
  const char *last = NULL;
  for (guint i = 0; i < layout->areas->len; i++) {
    const MirrorMapping *mapping = &g_array_index(layout->areas, MirrorMapping, i);
    if (mapping->kind == MIRROR_MAP_FILE && mapping->path != last)
      look_in_module(controller, mapping);
    last = mapping->path ? mapping->path : last;
  }
  for (guint i = 0; i < controller->functions->len; i++)
    if (!functions_watch(controller, controller->functions->pdata[i], error))
      return FALSE;
  if (controller->loader_hook && all_found(controller)) {
    if (!mirror_breakpoint_remove(controller->process, controller->loader_hook, error))
      return FALSE;
    controller->loader_hook = 0;
  }
  return TRUE;
}

/* Where the loader tells debuggers that its list of libraries has changed (r_debug's r_brk). */
static gboolean
hook_loader(Controller *controller, GError **error)
{
  g_autoptr(MirrorLayout) layout = mirror_layout_read(controller->process, error);
  g_autoptr(SymbolQuery) query = symbols_query_parse("_dl_debug_state", error);
  if (!layout || !query)
    return FALSE;
  for (guint i = 0; i < layout->areas->len && !controller->loader_hook; i++) {
    const MirrorMapping *mapping = &g_array_index(layout->areas, MirrorMapping, i);
    SymbolFile *file = mapping->kind == MIRROR_MAP_FILE ? module_file(controller, mapping->path) : NULL;
    guint64 bias;
    if (!file || !elf_facts_bias(symbols_facts(file), mapping->start, mapping->offset, &bias))
      continue;
    g_autoptr(GPtrArray) found = symbols_resolve(file, query, NULL);
    if (found && found->len)
      controller->loader_hook = ((const Symbol *)found->pdata[0])->vaddr + bias;
  }
  if (!controller->loader_hook)
    return TRUE;
  return mirror_breakpoint_add(controller->process, controller->loader_hook, FALSE, error);
}

gboolean
functions_new_image(Controller *controller, GError **error)
{
  controller->loader_hook = 0;
  for (guint i = 0; i < controller->functions->len; i++) {
    Function *function = controller->functions->pdata[i];
    g_array_set_size(function->addresses, 0);
    function->watched = FALSE;
  }
  if (!controller->functions->len || controller->options->place == RUN_PLACE_DEVICE ||
      controller->options->whole)
    return TRUE;
  return functions_modules_changed(controller, error) &&
         (all_found(controller) || hook_loader(controller, error));
}

void
functions_report_unseen(Controller *controller)
{
  if (controller->options->place == RUN_PLACE_DEVICE || controller->options->whole)
    return;
  for (guint i = 0; i < controller->functions->len; i++) {
    const Function *function = controller->functions->pdata[i];
    if (!function->seen && !function->marked)
      g_printerr("doppel: %s was never there: the program loaded no library that has it (doppel symbols "
                 "lists what can be named)\n",
                 function->text);
  }
}

Function *
functions_at(Controller *controller, guint64 address)
{
  for (guint i = 0; i < controller->functions->len; i++) {
    Function *function = controller->functions->pdata[i];
    for (guint k = 0; k < function->addresses->len; k++)
      if (g_array_index(function->addresses, guint64, k) == address)
        return function;
  }
  return NULL;
}
