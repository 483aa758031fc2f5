#include "mirror/symbols_marks.h"

#include "mirror/symbols_starts.h"

static const Symbol *
marked_function(SymbolFile *file, const GArray *starts, guint64 mark)
{
  const Symbol *symbol = symbols_enclosing(file, mark);
  if (symbol)
    return symbol;
  const SymbolsStart *start = symbols_starts_enclosing(starts, mark);
  return start && start->begins ? symbols_by_address(file, start->vaddr, NULL) : NULL;
}

static int
compare(gconstpointer a, gconstpointer b)
{
  const Symbol *left = *(const Symbol *const *)a, *right = *(const Symbol *const *)b;
  return left->vaddr < right->vaddr ? -1 : left->vaddr > right->vaddr;
}

static void
drop_duplicates(GPtrArray *marked)
{
  g_ptr_array_sort(marked, compare);
  guint kept = 0;
  for (guint i = 0; i < marked->len; i++)
    if (kept == 0 || compare(&marked->pdata[i], &marked->pdata[kept - 1]) != 0)
      marked->pdata[kept++] = marked->pdata[i];
  g_ptr_array_set_size(marked, kept);
}

GPtrArray *
symbols_marks_resolve(SymbolFile *file, int fd)
{
  GPtrArray *marked = g_ptr_array_new();
  const ElfFacts *facts = symbols_facts(file);
  if (facts->marks->len == 0)
    return marked;
  g_autoptr(GArray) starts = symbols_starts_read(fd, facts);
  for (guint i = 0; i < facts->marks->len; i++) {
    const Symbol *symbol = marked_function(file, starts, g_array_index(facts->marks, guint64, i));
    if (symbol)
      g_ptr_array_add(marked, (gpointer)symbol);
  }
  drop_duplicates(marked);
  return marked;
}
