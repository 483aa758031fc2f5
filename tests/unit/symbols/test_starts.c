#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "fixtures.h"
#include "mirror/symbols.h"
#include "mirror/symbols_starts.h"

static GArray *
starts_of(const char *fixture)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *path = fixture_path(fixture);
  g_auto(Fd) fd = open(path, O_RDONLY | O_CLOEXEC);
  g_autoptr(ElfFacts) facts = elf_facts_read_fd(fd, path, &error);
  g_assert_no_error(error);
  return symbols_starts_read(fd, facts);
}

/* The functions of the file `named` that the compiler made: it writes down their lengths. Of _start the
 * unwinding table says that nobody called it. */
static GPtrArray *
compiled_functions(const SymbolFile *named)
{
  GPtrArray *functions = g_ptr_array_new();
  for (guint i = 0; i < symbols_count(named); i++) {
    const Symbol *symbol = symbols_at(named, i),
                 *last = functions->len > 0 ? functions->pdata[functions->len - 1] : NULL;
    if (symbol->size > 0 && strcmp(symbol->name, "_start") != 0 && (!last || last->vaddr != symbol->vaddr))
      g_ptr_array_add(functions, (gpointer)symbol);
  }
  return functions;
}

/* The table of `fixture` has the functions of `named`, all of them and nothing else: no half of a function,
 * no stub of the linkage table. */
static void
expect_functions(const char *fixture, const char *named)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *path = fixture_path(named);
  g_autoptr(SymbolFile) symbols = symbols_open(path, &error);
  g_assert_no_error(error);
  g_autoptr(GPtrArray) functions = compiled_functions(symbols);
  g_autoptr(GArray) starts = starts_of(fixture);
  guint found = 0;
  for (guint i = 0; i < starts->len; i++) {
    const SymbolsStart *start = &g_array_index(starts, SymbolsStart, i);
    if (!start->begins)
      continue;
    g_assert_cmpuint(found, <, functions->len);
    const Symbol *symbol = functions->pdata[found++];
    g_test_message("%s", symbol->name);
    g_assert_cmphex(start->vaddr, ==, symbol->vaddr);
    g_assert_cmpuint(start->size, ==, symbol->size);
  }
  g_assert_cmpuint(found, ==, functions->len);
  g_assert_cmpuint(found, >, 2);
}

static void
test_program(void)
{
  expect_functions("fixture-program", "fixture-program");
  expect_functions("fixture-program-stripped", "fixture-program");
}

static void
test_library(void)
{
  expect_functions("libfixture-stripped.so", "libfixture.so.1.2");
}

static void
test_halves(void)
{
  expect_functions("fixture-halves-stripped", "fixture-halves");
}

/* The other half is there, and no function. */
static void
test_parts(void)
{
  g_autoptr(GArray) starts = starts_of("fixture-halves-stripped");
  guint parts = 0;
  for (guint i = 0; i < starts->len; i++)
    parts += !g_array_index(starts, SymbolsStart, i).begins;
  /* That half, _start, and the linkage table, whose frames are not as after a call. */
  g_assert_cmpuint(parts, >=, 2);
}

static void
test_enclosing(void)
{
  g_autoptr(GArray) starts = starts_of("fixture-halves-stripped");
  for (guint i = 0; i < starts->len; i++) {
    const SymbolsStart *start = &g_array_index(starts, SymbolsStart, i);
    const SymbolsStart *next = i + 1 < starts->len ? start + 1 : NULL;
    g_assert_true(symbols_starts_enclosing(starts, start->vaddr) == start);
    g_assert_true(symbols_starts_enclosing(starts, start->vaddr + start->size - 1) == start);
    if (!next || next->vaddr > start->vaddr + start->size)
      g_assert_null(symbols_starts_enclosing(starts, start->vaddr + start->size));
  }
  g_assert_null(symbols_starts_enclosing(starts, 0));
}

/* An unwinding table says nothing where it is missing, or where it is damaged at any place. */
static void
test_damaged(void)
{
  g_autofree char *path = fixture_path("fixture-halves-stripped");
  g_autofree char *whole = NULL;
  gsize length;
  g_assert_true(g_file_get_contents(path, &whole, &length, NULL));
  for (gsize at = 0; at < length; at += 4) {
    g_autofree char *name = g_strdup_printf("%s/damaged-XXXXXX", g_get_tmp_dir());
    g_auto(Fd) fd = g_mkstemp(name);
    unlink(name);
    g_assert_true(io_write_all(fd, whole, length));
    g_assert_cmpint(pwrite(fd, "\377\377\377\377", 4, at), ==, 4);
    g_autoptr(ElfFacts) facts = elf_facts_read_fd(fd, "damaged", NULL);
    if (!facts)
      continue;
    g_autoptr(GArray) starts = symbols_starts_read(fd, facts);
    for (guint i = 0; i < starts->len; i++) {
      const SymbolsStart *start = &g_array_index(starts, SymbolsStart, i);
      g_assert_cmpuint(start->size, >, 0);
      g_assert_nonnull(elf_facts_segment(facts, start->vaddr));
      g_assert_true(i == 0 || start[-1].vaddr < start->vaddr);
    }
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/starts/program", test_program);
  g_test_add_func("/starts/library", test_library);
  g_test_add_func("/starts/halves", test_halves);
  g_test_add_func("/starts/parts", test_parts);
  g_test_add_func("/starts/enclosing", test_enclosing);
  g_test_add_func("/starts/damaged", test_damaged);
  return g_test_run();
}
