/* The file of a trace: whole events, whatever their names are and whenever the writer ends. That it is JSON,
 * tests/integration/trace checks. */
#include <glib/gstdio.h>
#include <locale.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "controller/trace.h"

static char *
temporary(void)
{
  char *path = NULL;
  int fd = g_file_open_tmp("doppel-trace-XXXXXX", &path, NULL);
  g_assert_cmpint(fd, >=, 0);
  close(fd);
  return path;
}

static char *
contents(const char *path)
{
  char *text = NULL;
  g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
  return text;
}

static guint
lines_with(const char *text, const char *what)
{
  guint found = 0;
  for (const char *at = strstr(text, what); at; at = strstr(at + 1, what))
    found++;
  return found;
}

static void
test_strings(void)
{
  static const char *const rows[][2] = {
      {"plain", "\"plain\""},
      {"a\"b\\c", "\"a\\\"b\\\\c\""},
      {"line\n\ttab", "\"line\\u000a\\u0009tab\""},
      {"\x7f", "\"\\u007f\""},
      {"\xc3\xa9", "\"\xc3\xa9\""},
      {"bad\xff", "\"bad\xef\xbf\xbd\""},
      {"", "\"\""},
  };
  for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
    g_autoptr(GString) json = g_string_new(NULL);
    json_append_string(json, rows[i][0]);
    g_assert_cmpstr(json->str, ==, rows[i][1]);
  }
}

/* Nanoseconds are kept, and a locale's comma does not come in. */
static void
test_numbers(void)
{
  g_autofree char *path = temporary();
  setlocale(LC_ALL, "de_DE.UTF-8");
  Trace *trace = trace_new(path, 100, NULL);
  trace_event(trace, TRACE_FILES, 0, "first", 0, 1234567, NULL);
  trace_event(trace, TRACE_FILES, 0, "backwards", 100, 7, "\"a\":1");
  trace_end(trace);
  g_autofree char *text = contents(path);
  g_assert_nonnull(strstr(text, "\"dur\":1234.567}"));
  g_assert_nonnull(strstr(text, "\"dur\":0.000,\"args\":{\"a\":1}}"));
  g_unlink(path);
}

/* Each track's lane is named once, before its first event. */
static void
test_names(void)
{
  g_autofree char *path = temporary();
  Trace *trace = trace_new(path, 1000, NULL);
  for (int i = 0; i < 3; i++)
    for (guint lane = 0; lane < 3; lane++)
      trace_event(trace, TRACE_CALLS, lane, "read", 0, 1, NULL);
  trace_end(trace);
  g_autofree char *text = contents(path);
  g_assert_cmpuint(lines_with(text, "\"name\":\"forwarded calls\""), ==, 1);
  g_assert_cmpuint(lines_with(text, "\"name\":\"forwarded calls 2\""), ==, 1);
  g_assert_cmpuint(lines_with(text, "\"name\":\"forwarded calls 3\""), ==, 1);
  g_assert_cmpuint(lines_with(text, "\"name\":\"read\""), ==, 9);
  g_unlink(path);
}

static void
test_limit(void)
{
  g_autofree char *path = temporary();
  Trace *trace = trace_new(path, 50, NULL);
  for (int i = 0; i < 10000; i++)
    trace_event(trace, TRACE_PULLS, 0, "pull", 0, 1, NULL);
  trace_end(trace);
  g_autofree char *text = contents(path);
  g_assert_cmpuint(lines_with(text, "\"ph\":"), ==, 51);
  g_assert_cmpuint(lines_with(text, "no more was recorded"), ==, 1);
  g_assert_true(g_str_has_suffix(text, "}\n]\n"));
  g_unlink(path);
}

/* What was written is whole events, when the writer is killed; after a flush, all of them. */
static void
test_killed(void)
{
  g_autofree char *path = temporary();
  pid_t child = fork();
  if (child == 0) {
    Trace *trace = trace_new(path, 100000, NULL);
    for (int i = 0; i < 3000; i++)
      trace_event(trace, TRACE_PULLS, 0, "pull", 0, 1, NULL);
    trace_flush(trace);
    for (int i = 0; i < 3000; i++)
      trace_event(trace, TRACE_PULLS, 0, "late", 0, 1, NULL);
    raise(SIGKILL);
  }
  g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
  g_autofree char *text = contents(path);
  g_assert_cmpuint(lines_with(text, "\"pull\""), ==, 3000);
  g_assert_cmpuint(lines_with(text, "\"late\""), >, 0);
  g_assert_cmpuint(lines_with(text, "\"late\""), <, 3000);
  g_assert_true(g_str_has_prefix(text, "[\n{"));
  g_assert_true(g_str_has_suffix(text, "}"));
  g_unlink(path);
}

static void
test_unwritable(void)
{
  g_autoptr(GError) error = NULL;
  g_assert_null(trace_new("/nowhere/trace.json", 10, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  g_assert_nonnull(strstr(error->message, "/nowhere/trace.json"));
}

static void
test_none(void)
{
  trace_event(NULL, TRACE_PULLS, 0, "pull", 0, 1, NULL);
  trace_instant(NULL, TRACE_PULLS, "pull", 0, NULL);
  trace_wire(NULL, 0, 1, 2);
  trace_flush(NULL);
  trace_end(NULL);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/trace/strings", test_strings);
  g_test_add_func("/trace/numbers", test_numbers);
  g_test_add_func("/trace/names", test_names);
  g_test_add_func("/trace/limit", test_limit);
  g_test_add_func("/trace/killed", test_killed);
  g_test_add_func("/trace/unwritable", test_unwritable);
  g_test_add_func("/trace/none", test_none);
  return g_test_run();
}
