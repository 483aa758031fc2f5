#include <elf.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "fixtures.h"
#include "mirror/symbols.h"

static SymbolFile *
open_fixture(const char *name)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *path = fixture_path(name);
  SymbolFile *file = symbols_open(path, &error);
  g_assert_no_error(error);
  return file;
}

static GPtrArray *
resolve(SymbolFile *file, const char *text)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(SymbolQuery) query = symbols_query_parse(text, &error);
  g_assert_no_error(error);
  GPtrArray *matches = symbols_resolve(file, query, &error);
  g_assert_no_error(error);
  return matches;
}

static void
expect_names(const char *fixture, const char *text, const char *const *names)
{
  g_autoptr(SymbolFile) file = open_fixture(fixture);
  g_autoptr(GPtrArray) matches = resolve(file, text);
  g_autoptr(GPtrArray) got = g_ptr_array_new_with_free_func(g_free);
  for (guint i = 0; i < matches->len; i++) {
    const Symbol *symbol = matches->pdata[i];
    g_ptr_array_add(got, symbols_display_name(symbol));
  }
  g_assert_cmpuint(got->len, ==, g_strv_length((char **)names));
  for (guint i = 0; names[i]; i++)
    g_assert_true(g_ptr_array_find_with_equal_func(got, names[i], g_str_equal, NULL));
}
#define EXPECT(fixture, text, ...) expect_names(fixture, text, (const char *const[]){__VA_ARGS__, NULL})
#define EXPECT_NONE(fixture, text) expect_names(fixture, text, (const char *const[]){NULL})

static void
test_c(void)
{
  EXPECT("fixture-program", "public_work", "public_work");
  EXPECT("fixture-program", "private_helper", "private_helper");
  EXPECT("fixture-program", "public_alias", "public_alias");
  EXPECT("fixture-program", "fixture-program:main", "main");
  EXPECT_NONE("fixture-program", "fixture_fast");
  EXPECT_NONE("fixture-program", "public_wor");
  EXPECT_NONE("fixture-program", "libfixture:public_work");
}

static void
test_stripped(void)
{
  EXPECT_NONE("fixture-program-stripped", "public_work");
  EXPECT("libfixture-stripped.so", "fixture_weak", "fixture_weak");
  EXPECT_NONE("libfixture-stripped.so", "__fixture_fast_wide");
}

static void
test_static(void)
{
  EXPECT("fixture-static", "static_work", "static_work");
  g_autoptr(SymbolFile) file = open_fixture("fixture-static");
  g_assert_cmpuint(symbols_count(file), >, 200);
}

static void
test_classes(void)
{
  const char *file = "fixture-classes";
  EXPECT(file, "doc::Page::render", "doc::Page::render(int)", "doc::Page::render(char const*, long) const");
  EXPECT(file, "doc::Page::render(int)", "doc::Page::render(int)");
  EXPECT(file, "doc::Page::render(char const *, long) const", "doc::Page::render(char const*, long) const");
  EXPECT(file, "_ZN3doc4Page6renderEi", "doc::Page::render(int)");
  EXPECT(file, "doc::scale", "int doc::scale<int>(int)", "double doc::scale<double>(double)");
  EXPECT(file, "doc::scale<int>", "int doc::scale<int>(int)");
  EXPECT(file, "doc::Page::operator<", "doc::Page::operator<(doc::Page const&) const");
  EXPECT(file, "doc::Page::operator<<", "doc::Page::operator<<(int)");
  EXPECT(file, "doc::Page::operator()", "doc::Page::operator()(int)");
  EXPECT(file, "doc::Page::Page", "doc::Page::Page(int)");
  EXPECT(file, "doc::Page::~Page", "doc::Page::~Page()");
  EXPECT(file, "(anonymous namespace)::hidden", "(anonymous namespace)::hidden(int)");
  g_autoptr(SymbolFile) opened = open_fixture(file);
  g_autoptr(GPtrArray) titles = resolve(opened, "doc::title");
  g_assert_cmpuint(titles->len, ==, 1);
  EXPECT_NONE(file, "Page::render");
  EXPECT_NONE(file, "doc::Page");
}

static void
test_versions(void)
{
  for (int stripped = 0; stripped < 2; stripped++) {
    g_autoptr(SymbolFile) file = open_fixture(stripped ? "libfixture-stripped.so" : "libfixture.so.1.2");
    g_autoptr(GPtrArray) both = resolve(file, "fixture_versioned");
    g_autoptr(GPtrArray) old = resolve(file, "fixture_versioned@FIXTURE_1");
    g_autoptr(GPtrArray) new = resolve(file, "libfixture:fixture_versioned@@FIXTURE_2");
    g_autoptr(GPtrArray) none = resolve(file, "fixture_versioned@FIXTURE_3");
    g_assert_cmpuint(both->len, ==, 2);
    g_assert_cmpuint(old->len, ==, 1);
    g_assert_cmpuint(new->len, ==, 1);
    g_assert_cmpuint(none->len, ==, 0);
    g_assert_cmphex(((Symbol *)old->pdata[0])->vaddr, !=, ((Symbol *)new->pdata[0])->vaddr);
  }
}

static void
test_indirect(void)
{
  g_autoptr(SymbolFile) file = open_fixture("libfixture.so.1.2");
  g_autoptr(GPtrArray) matches = resolve(file, "fixture_fast");
  g_assert_cmpuint(matches->len, ==, 1);
  const Symbol *symbol = matches->pdata[0];
  g_assert_cmpint(symbol->kind, ==, SYMBOL_IFUNC);
  g_autoptr(GPtrArray) implementations = symbols_implementations(file, symbol);
  g_assert_cmpuint(implementations->len, ==, 2);
  g_autoptr(SymbolFile) stripped = open_fixture("libfixture-stripped.so");
  g_autoptr(GPtrArray) again = resolve(stripped, "fixture_fast");
  g_autoptr(GPtrArray) unnamed = symbols_implementations(stripped, again->pdata[0]);
  g_assert_cmpuint(unnamed->len, ==, 0);
  /* The program's word that will hold the chosen function. */
  g_autoptr(SymbolFile) program = open_fixture("fixture-program-stripped");
  g_assert_true(symbols_imports(program, "fixture_fast"));
  g_assert_false(symbols_imports(program, "public_work"));
  g_autoptr(GArray) slots = symbols_slots(program, "fixture_fast", 0);
  g_assert_cmpuint(slots->len, ==, 1);
  g_autoptr(GArray) none = symbols_slots(program, "no_such_function", 0);
  g_assert_cmpuint(none->len, ==, 0);
}

static void
test_static_indirect(void)
{
  g_autoptr(SymbolFile) file = open_fixture("fixture-static");
  guint indirect = 0, with_slot = 0;
  for (guint i = 0; i < symbols_count(file); i++) {
    const Symbol *symbol = symbols_at(file, i);
    if (symbol->kind != SYMBOL_IFUNC)
      continue;
    g_autoptr(GArray) slots = symbols_slots(file, symbol->name, symbol->vaddr);
    indirect++;
    with_slot += slots->len > 0;
  }
  /* Which C library functions are indirect is the processor's affair; those that are used have a slot. */
  if (indirect == 0)
    g_test_skip("this C library has no indirect functions");
  else
    g_assert_cmpuint(with_slot, >, 0);
}

static void
test_addresses(void)
{
  g_autoptr(SymbolFile) file = open_fixture("fixture-program");
  g_autoptr(GPtrArray) named = resolve(file, "public_work");
  const Symbol *work = named->pdata[0];
  g_assert_cmpuint(work->size, >, 0);
  g_autofree char *text = g_strdup_printf("0x%" G_GINT64_MODIFIER "x", work->vaddr);
  g_autoptr(GPtrArray) found = resolve(file, text);
  g_assert_cmphex(((Symbol *)found->pdata[0])->vaddr, ==, work->vaddr);
  g_assert_true(symbols_enclosing(file, work->vaddr + work->size - 1)->vaddr == work->vaddr);

  g_autoptr(SymbolFile) stripped = open_fixture("fixture-program-stripped");
  g_autoptr(GPtrArray) bare = resolve(stripped, text);
  const Symbol *symbol = bare->pdata[0];
  g_assert_cmpint(symbol->kind, ==, SYMBOL_ADDRESS);
  g_assert_cmphex(symbol->vaddr, ==, work->vaddr);
  g_assert_cmphex(symbol->offset, ==, work->offset);

  g_autoptr(GError) error = NULL;
  g_assert_null(symbols_by_address(file, work->vaddr + 1, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  g_assert_nonnull(strstr(error->message, "inside public_"));
  g_clear_error(&error);
  g_assert_null(symbols_by_address(file, 0x7fffffffffff, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  g_clear_error(&error);
  g_assert_null(symbols_by_address(file, 0, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
}

/* As plans name functions, of files with symbols and without, by any of the file's names. */
static void
test_file_offsets(void)
{
  g_autoptr(SymbolFile) file = open_fixture("fixture-program"),
                        stripped = open_fixture("fixture-program-stripped");
  g_autoptr(GPtrArray) named = resolve(file, "public_work");
  const Symbol *work = named->pdata[0];
  SymbolFile *const files[] = {file, stripped};
  for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
    g_autofree char *text =
        g_strdup_printf("%s+0x%" G_GINT64_MODIFIER "x", symbols_facts(files[i])->path, work->offset);
    g_autoptr(GPtrArray) found = resolve(files[i], text);
    g_assert_cmpuint(found->len, ==, 1);
    g_assert_cmphex(((Symbol *)found->pdata[0])->vaddr, ==, work->vaddr);
  }
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) all = g_ptr_array_new();
  g_ptr_array_add(all, file);
  g_autofree char *inside = g_strdup_printf("fixture-program+0x%" G_GINT64_MODIFIER "x", work->offset + 1);
  g_autoptr(SymbolQuery) query = symbols_query_parse(inside, NULL);
  g_assert_null(symbols_find(all, query, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  g_clear_error(&error);
  g_autoptr(SymbolQuery) beyond = symbols_query_parse("fixture-program+0x7fffffffffff", NULL);
  g_assert_null(symbols_find(all, beyond, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  g_clear_error(&error);
  g_autoptr(SymbolQuery) elsewhere = symbols_query_parse("other+0x10", NULL);
  g_assert_null(symbols_find(all, elsewhere, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
}

/* A library's real path means it under the name that it is linked by. */
static void
test_linked_names(void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *folder = g_dir_make_tmp("doppel-symbols-XXXXXX", &error);
  g_assert_no_error(error);
  g_autofree char *file = g_build_filename(folder, "libz.so.1.2", NULL);
  g_autofree char *link = g_build_filename(folder, "libz.so.1", NULL);
  g_autofree char *text = g_strconcat(file, "+0x10", NULL), *other = g_strconcat(folder, "/none+0x10", NULL);
  g_assert_true(g_file_set_contents(file, "", 0, NULL));
  g_assert_cmpint(symlink("libz.so.1.2", link), ==, 0);
  g_autoptr(SymbolQuery) query = symbols_query_parse(text, NULL);
  g_autoptr(SymbolQuery) absent = symbols_query_parse(other, NULL);
  g_assert_true(symbols_query_names_module(query, link, NULL));
  g_assert_false(symbols_query_names_module(absent, link, NULL));
  unlink(link);
  unlink(file);
  rmdir(folder);
}

/* The bytes at a symbol's offset in the file are the function: its own code, as this process has it in
 * memory. */
int symbols_test_landmark(int x);
__attribute__((noinline)) int
symbols_test_landmark(int x)
{
  return x * 77 + 5;
}

static void
test_offsets(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(SymbolFile) own = symbols_open("/proc/self/exe", &error);
  g_assert_no_error(error);
  g_autoptr(GPtrArray) matches = resolve(own, "symbols_test_landmark");
  g_assert_cmpuint(matches->len, ==, 1);
  const Symbol *symbol = matches->pdata[0];
  g_autofree char *bytes = NULL;
  gsize length;
  g_assert_true(g_file_get_contents("/proc/self/exe", &bytes, &length, NULL));
  g_assert_cmpuint(symbol->offset + symbol->size, <=, length);
  g_assert_cmpmem(bytes + symbol->offset, symbol->size, (const void *)(gsize)symbols_test_landmark,
                  symbol->size);
}

static void
expect_suggestion(GPtrArray *files, const char *text, const char *near)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(SymbolQuery) query = symbols_query_parse(text, &error);
  g_autoptr(GArray) found = symbols_find(files, query, &error);
  g_assert_null(found);
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
  if (!strstr(error->message, near))
    g_error("\"%s\" is not in: %s", near, error->message);
}

static void
test_suggestions(void)
{
  g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func((GDestroyNotify)symbols_close);
  g_ptr_array_add(files, open_fixture("fixture-program"));
  g_ptr_array_add(files, open_fixture("libfixture.so.1.2"));
  g_ptr_array_add(files, open_fixture("fixture-classes"));
  expect_suggestion(files, "pulbic_work", "public_work (fixture-program)");
  expect_suggestion(files, "Public_Work", "public_work (fixture-program)");
  expect_suggestion(files, "versioned", "fixture_versioned (libfixture.so.1)");
  expect_suggestion(files, "Page::render", "doc::Page::render (fixture-classes)");
  expect_suggestion(files, "render", "doc::Page::render (fixture-classes)");
  expect_suggestion(files, "libfixture:fixture_waek", "fixture_weak (libfixture.so.1)");
  expect_suggestion(files, "libfixture:public_work", "public_work (fixture-program)");
  expect_suggestion(files, "libfxture:fixture_weak", "no library \"libfxture\"");
  expect_suggestion(files, "xyzzy_plugh_0815", "nor a near name");
}

static void
test_find(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func((GDestroyNotify)symbols_close);
  g_ptr_array_add(files, open_fixture("fixture-program"));
  g_ptr_array_add(files, open_fixture("libfixture.so.1.2"));
  g_autoptr(SymbolQuery) query = symbols_query_parse("fixture_weak", NULL);
  g_autoptr(GArray) found = symbols_find(files, query, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(found->len, ==, 1);
  const SymbolFound *one = &g_array_index(found, SymbolFound, 0);
  g_assert_true(one->file == files->pdata[1]);
  g_assert_cmpint(one->symbol->binding, ==, SYMBOL_WEAK);
}

/* Any byte of a file may be anything: whatever comes of it, no crash and no endless loop. */
static void
test_damaged(void)
{
  static const char *const fixtures[] = {"libfixture.so.1.2", "fixture-program", "fixture-classes"};
  guint32 seed = 1863;
  guint opened = 0;
  GRand *random = g_rand_new_with_seed(seed);
  g_test_message("seed %u", seed);
  g_autofree char *copy = g_build_filename(g_get_tmp_dir(), "doppel-elf-XXXXXX", NULL);
  int fd = g_mkstemp(copy);
  g_unlink(copy);
  for (int round = 0; round < 3000; round++) {
    g_autofree char *path = fixture_path(fixtures[round % G_N_ELEMENTS(fixtures)]);
    g_autofree char *bytes = NULL;
    gsize length;
    g_assert_true(g_file_get_contents(path, &bytes, &length, NULL));
    /* The tables of headers lie at both ends of the file: damage these most. */
    for (int flips = g_rand_int_range(random, 1, 24); flips > 0; flips--) {
      guint where = g_rand_int_range(random, 0, 3);
      gsize span = where == 0 ? MIN(length, 1024) : where == 1 ? MIN(length, 4096) : length;
      gsize at = where == 1 ? length - 1 - g_rand_int_range(random, 0, span)
                            : (gsize)g_rand_int_range(random, 0, span);
      bytes[at] = g_rand_boolean(random) ? g_rand_int(random) : (g_rand_boolean(random) ? 0xff : 0);
    }
    if (round % 7 == 0)
      length = g_rand_int_range(random, 0, length);
    g_assert_cmpint(ftruncate(fd, 0), ==, 0);
    g_assert_cmpint(pwrite(fd, bytes, length, 0), ==, length);
    g_autoptr(SymbolFile) file = symbols_open_fd(fd, "damaged", NULL);
    if (!file)
      continue;
    opened++;
    g_autoptr(SymbolQuery) query = symbols_query_parse("doc::Page::render", NULL);
    g_autoptr(GPtrArray) files = g_ptr_array_new();
    g_ptr_array_add(files, file);
    g_autoptr(GArray) found = symbols_find(files, query, NULL);
    symbols_enclosing(file, 0x1139);
  }
  close(fd);
  g_rand_free(random);
  /* Damage that leaves nothing to read would test nothing. */
  g_test_message("%u of 3000 could still be read", opened);
  g_assert_cmpuint(opened, >, 300);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/symbols/c", test_c);
  g_test_add_func("/symbols/stripped", test_stripped);
  g_test_add_func("/symbols/static", test_static);
  g_test_add_func("/symbols/classes", test_classes);
  g_test_add_func("/symbols/versions", test_versions);
  g_test_add_func("/symbols/indirect", test_indirect);
  g_test_add_func("/symbols/static-indirect", test_static_indirect);
  g_test_add_func("/symbols/addresses", test_addresses);
  g_test_add_func("/symbols/file-offsets", test_file_offsets);
  g_test_add_func("/symbols/linked-names", test_linked_names);
  g_test_add_func("/symbols/offsets", test_offsets);
  g_test_add_func("/symbols/suggestions", test_suggestions);
  g_test_add_func("/symbols/find", test_find);
  g_test_add_func("/symbols/damaged", test_damaged);
  return g_test_run();
}
