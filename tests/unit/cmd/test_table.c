#include <glib.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/table.h"

static const TableColumn columns[] = {
    {"NAME", "name"},
    {"SIZE", "size", TABLE_NUMBER},
    {"SHOWN", NULL},
    {NULL, "good", TABLE_BOOLEAN},
};

static char *
printed(const Table *table, gboolean json)
{
  char *text = NULL;
  gsize length;
  FILE *file = open_memstream(&text, &length);
  table_print(table, json, file);
  fclose(file);
  char *copy = g_strdup(text);
  free(text);
  return copy;
}

static void
test_text(void)
{
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  table_add(table, (const char *const[]){"a", "5", "x", "true"});
  table_add(table, (const char *const[]){"längér", NULL, "y", "false"});
  g_autofree char *text = printed(table, FALSE);
  g_assert_cmpstr(text, ==,
                  "NAME    SIZE  SHOWN\n"
                  "a          5  x\n"
                  "längér        y\n");
  g_assert_cmpuint(table_rows(table), ==, 2);
}

static void
test_json(void)
{
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  g_autofree char *empty = printed(table, TRUE);
  g_assert_cmpstr(empty, ==, "[]\n");
  table_add(table, (const char *const[]){"say \"\\hi\"\n", "5", "x", "true"});
  table_add(table, (const char *const[]){NULL, NULL, "y", "false"});
  g_autofree char *text = printed(table, TRUE);
  g_assert_cmpstr(text, ==,
                  "[\n"
                  " {\"name\": \"say \\\"\\\\hi\\\"\\u000a\", \"size\": 5, \"good\": true},\n"
                  " {\"name\": null, \"size\": null, \"good\": false}\n"
                  "]\n");
}

/* A symbol's name may hold anything: no byte of it may reach the terminal as a command, nor break the JSON.
 */
static void
test_hostile(void)
{
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  table_add(table, (const char *const[]){"\033[2J\xff\xc2\x9b", "0", "", "true"});
  for (int json = 0; json < 2; json++) {
    g_autofree char *text = printed(table, json);
    g_assert_true(g_utf8_validate(text, -1, NULL));
    for (const char *at = text; *at; at = g_utf8_next_char(at))
      g_assert_true(*at == '\n' || !g_unichar_iscntrl(g_utf8_get_char(at)));
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/table/text", test_text);
  g_test_add_func("/table/json", test_json);
  g_test_add_func("/table/hostile", test_hostile);
  return g_test_run();
}
