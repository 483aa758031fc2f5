#include <elf.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "fixtures.h"
#include "mirror/elf_facts.h"

static ElfFacts *
read_fixture(const char *name)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *path = fixture_path(name);
  ElfFacts *facts = elf_facts_read(path, &error);
  g_assert_no_error(error);
  return facts;
}

static void
test_program(void)
{
  g_autoptr(ElfFacts) facts = read_fixture("fixture-program");
  g_autoptr(GError) error = NULL;
  g_assert_true(facts->is_64);
  g_assert_cmpint(facts->machine, ==, elf_facts_host_machine());
  g_assert_cmpint(facts->type, ==, ET_DYN);
  g_assert_true(facts->is_pie);
  g_assert_false(facts->is_static);
  g_assert_nonnull(facts->interpreter);
  g_assert_true(g_file_test(facts->interpreter, G_FILE_TEST_EXISTS));
  g_assert_cmpuint(strlen(facts->build_id), ==, 40);
  g_assert_cmpstr(facts->needed[0], ==, "libfixture.so.1");
  g_assert_cmpstr(facts->runpath, ==, "$ORIGIN");
  g_assert_null(facts->rpath);
  g_assert_nonnull(elf_facts_segment(facts, facts->entry));
  g_assert_true(elf_facts_check_program(facts, &error));
}

static void
test_static_program(void)
{
  g_autoptr(ElfFacts) facts = read_fixture("fixture-static");
  g_assert_true(facts->is_static);
  g_assert_false(facts->is_pie);
  g_assert_cmpint(facts->type, ==, ET_EXEC);
  g_assert_null(facts->interpreter);
  g_assert_true(elf_facts_check_program(facts, NULL));
}

static void
test_library(void)
{
  g_autoptr(ElfFacts) facts = read_fixture("libfixture.so.1.2");
  g_autoptr(GError) error = NULL;
  g_assert_cmpstr(facts->soname, ==, "libfixture.so.1");
  g_assert_false(elf_facts_check_program(facts, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED);
  g_assert_nonnull(strstr(error->message, "shared library"));
}

/* Writes a file of these bytes and reads its facts, which are to fail with a message that has `word` in it.
 */
static void
expect_refusal(const void *bytes, gsize length, const char *word)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *path = g_build_filename(g_get_tmp_dir(), "doppel-elf-XXXXXX", NULL);
  int fd = g_mkstemp(path);
  g_assert_cmpint(fd, >=, 0);
  g_assert_cmpint(write(fd, bytes, length), ==, length);
  close(fd);
  g_autoptr(ElfFacts) facts = elf_facts_read(path, &error);
  g_unlink(path);
  g_assert_null(facts);
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED);
  if (!strstr(error->message, word))
    g_error("\"%s\" is not in: %s", word, error->message);
}

static void
test_what_is_no_program(void)
{
  static const char script[] = "#!/usr/bin/python3 -E\nprint()\n", env[] = "#!/usr/bin/env perl\n",
                    bare[] = "#!\n", split[] = "#!/usr/bin/env -S python3 -I\n";
  expect_refusal(script, strlen(script), "Name that instead: /usr/bin/python3");
  expect_refusal(env, strlen(env), "Name that instead: perl");
  expect_refusal(split, strlen(split), "Name that instead: python3");
  expect_refusal(bare, strlen(bare), "script");
  expect_refusal("hello", 5, "not an ELF file");
  expect_refusal("", 0, "not an ELF file");
  expect_refusal("\177ELF", 4, "");
  g_autoptr(GError) error = NULL;
  g_autofree char *object = fixture_path("fixture-object");
  g_assert_null(elf_facts_read(object, &error));
  g_assert_nonnull(strstr(error->message, "neither a program nor a shared library"));
  g_clear_error(&error);
  g_assert_null(elf_facts_read("/", &error));
  g_assert_nonnull(strstr(error->message, "directory"));
  g_clear_error(&error);
  g_assert_null(elf_facts_read("/nonexistent/program", &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
}

static void
test_other_processor(void)
{
  g_autofree char *path = fixture_path("fixture-static");
  g_autofree char *bytes = NULL;
  gsize length;
  g_assert_true(g_file_get_contents(path, &bytes, &length, NULL));
  ((Elf64_Ehdr *)bytes)->e_machine = EM_RISCV;
  g_autofree char *copy = g_build_filename(g_get_tmp_dir(), "doppel-elf-XXXXXX", NULL);
  close(g_mkstemp(copy));
  g_assert_true(g_file_set_contents(copy, bytes, length, NULL));
  g_autoptr(GError) error = NULL;
  g_autoptr(ElfFacts) facts = elf_facts_read(copy, &error);
  g_assert_no_error(error);
  g_assert_false(elf_facts_check_program(facts, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED);
  g_assert_nonnull(strstr(error->message, "riscv"));
  g_clear_error(&error);
  ((Elf64_Ehdr *)bytes)->e_machine = elf_facts_host_machine();
  g_assert_true(g_file_set_contents(copy, bytes, length, NULL));
  g_assert_cmpint(chmod(copy, 04755), ==, 0);
  g_autoptr(ElfFacts) privileged = elf_facts_read(copy, &error);
  g_unlink(copy);
  g_assert_true(privileged->setuid);
  g_assert_false(elf_facts_check_program(privileged, &error));
  g_assert_nonnull(strstr(error->message, "privileges"));
}

static void
test_path(void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *shell = elf_facts_find_program("sh", &error);
  g_assert_no_error(error);
  g_assert_true(g_path_is_absolute(shell) && g_str_has_suffix(shell, "/sh"));
  g_autofree char *fixture = fixture_path("fixture-program");
  g_autofree char *same = elf_facts_find_program(fixture, &error);
  g_assert_cmpstr(same, ==, fixture);
  static const char *const missing[] = {"no-such-program-anywhere", "", "/nonexistent", "/tmp"};
  for (gsize i = 0; i < G_N_ELEMENTS(missing); i++) {
    g_assert_null(elf_facts_find_program(missing[i], &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
    g_clear_error(&error);
  }
}

/* The test's own addresses, from the map of its own process. */
static void
test_bias(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(ElfFacts) facts = elf_facts_read("/proc/self/exe", &error);
  g_assert_no_error(error);
  g_autofree char *own = g_file_read_link("/proc/self/exe", NULL);
  g_autofree char *maps = NULL;
  g_assert_true(g_file_get_contents("/proc/self/maps", &maps, NULL, NULL));
  g_auto(GStrv) lines = g_strsplit(maps, "\n", -1);
  guint mappings = 0;
  guint64 entry_seen = 0;
  for (char **line = lines; *line && **line; line++) {
    if (!g_str_has_suffix(*line, own))
      continue;
    unsigned long start, end, offset, bias;
    g_assert_cmpint(sscanf(*line, "%lx-%lx %*s %lx", &start, &end, &offset), ==, 3);
    guint64 got;
    g_assert_true(elf_facts_bias(facts, start, offset, &got));
    if (mappings++ == 0)
      bias = got;
    guint64 entry = bias + facts->entry;
    if (entry >= start && entry < end)
      entry_seen = entry;
  }
  g_assert_cmpuint(mappings, >=, 3);
  g_assert_cmphex(entry_seen, !=, 0);
  guint64 bias;
  g_assert_false(elf_facts_bias(facts, 0x1000, (guint64)1 << 40, &bias));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/elf_facts/program", test_program);
  g_test_add_func("/elf_facts/static", test_static_program);
  g_test_add_func("/elf_facts/library", test_library);
  g_test_add_func("/elf_facts/refused", test_what_is_no_program);
  g_test_add_func("/elf_facts/other-processor-and-set-uid", test_other_processor);
  g_test_add_func("/elf_facts/path", test_path);
  g_test_add_func("/elf_facts/bias", test_bias);
  return g_test_run();
}
