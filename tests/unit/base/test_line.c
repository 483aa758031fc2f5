/* Words of others as one line: all that fits, and nothing that steers a terminal. */
#include <string.h>

#include "base/line.h"

static void
test_words(void)
{
  static const struct {
    const char *words;
    gsize most;
    const char *line;
  } cases[] = {
      {"", 9, ""},
      {"", 0, ""},
      {"nine long", 9, "nine long"},
      {"nine long", 8, "nine lon"},
      {"nine long", 0, ""},
      {"a\tb\r\nc\033[1md\177", 99, "a b  c [1md "},
      {"\xc2\x9b"
       "1m",
       99, "  1m"}, /* the CSI of one character */
      {"\xc3\xa4\xe2\x82\xac", 5, "\xc3\xa4\xe2\x82\xac"},
      {"\xc3\xa4\xe2\x82\xac", 4, "\xc3\xa4"}, /* no part of a letter */
      {"\xc3\xa4\xe2\x82\xac", 2, "\xc3\xa4"},
      {"\xc3\xa4\xe2\x82\xac", 1, ""},
      {"a\xff"
       "b",
       99,
       "a\xef\xbf\xbd"
       "b"}, /* a wrong byte becomes three */
      {"a\xff"
       "b",
       4, "a\xef\xbf\xbd"},
      {"a\xff"
       "b",
       3, "a"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autofree char *line = line_of(cases[i].words, cases[i].most);
    g_assert_cmpstr(line, ==, cases[i].line);
    g_assert_true(line_is_plain(line, 0, cases[i].most));
  }
}

static void
test_plain(void)
{
  static const struct {
    const char *text;
    gsize least, most;
    gboolean plain;
  } cases[] = {
      {"", 0, 0, TRUE},       {"", 1, 9, FALSE},         {"abc", 3, 3, TRUE},   {"abc", 4, 9, FALSE},
      {"abc", 0, 2, FALSE},   {"\xc3\xa4", 2, 2, TRUE},  {"\xc3", 0, 9, FALSE}, {"a\nb", 0, 9, FALSE},
      {"a\177", 0, 9, FALSE}, {"\xc2\x9b", 0, 9, FALSE},
  };
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++)
    g_assert_cmpint(line_is_plain(cases[i].text, cases[i].least, cases[i].most), ==, cases[i].plain);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/line/words", test_words);
  g_test_add_func("/line/plain", test_plain);
  return g_test_run();
}
