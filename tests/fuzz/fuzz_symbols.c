/* An ELF file: facts, symbols, relocations, near names, unwinding tables, marks. */
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "mirror/symbols.h"
#include "mirror/symbols_starts.h"

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  g_auto(Fd) fd = memfd_create("fuzz", MFD_CLOEXEC);
  if (!io_write_all(fd, data, length))
    return 0;
  g_autoptr(SymbolFile) file = symbols_open_fd(fd, "fuzz", NULL);
  if (!file)
    return 0;
  g_autoptr(GPtrArray) files = g_ptr_array_new();
  g_ptr_array_add(files, file);
  static const char *const queries[] = {"main", "doc::Page::render", "fuzz:0x1139", "0x1000", "fuzz+0x1000"};
  for (gsize i = 0; i < G_N_ELEMENTS(queries); i++) {
    g_autoptr(SymbolQuery) query = symbols_query_parse(queries[i], NULL);
    GArray *found = symbols_find(files, query, NULL);
    if (found)
      g_array_unref(found);
  }
  for (guint i = 0; i < symbols_count(file); i++) {
    g_free(symbols_display_name(symbols_at(file, i)));
    g_ptr_array_unref(symbols_implementations(file, symbols_at(file, i)));
    if (i > 64)
      break;
  }
  g_autoptr(GArray) starts = symbols_starts_read(fd, symbols_facts(file));
  for (guint i = 0; i < starts->len; i++)
    g_assert_nonnull(symbols_starts_enclosing(starts, g_array_index(starts, SymbolsStart, i).vaddr));
  const GPtrArray *marked = symbols_marked(file);
  g_assert_cmpuint(marked->len, <=, ELF_FACTS_MARKS_MAX);
  for (guint i = 0; i < marked->len; i++) {
    const Symbol *symbol = marked->pdata[i];
    g_assert_true(symbols_is_marked(file, symbol));
    g_assert_nonnull(elf_facts_segment(symbols_facts(file), symbol->vaddr));
  }
  guint64 bias;
  elf_facts_bias(symbols_facts(file), 0x555555554000, 0x1000, &bias);
  return 0;
}
