#include "cmd/table.h"

#include <string.h>

struct Table {
  const TableColumn *columns;
  guint count;
  GPtrArray *cells; /* of char *, row after row */
};

Table *
table_new(const TableColumn *columns, guint count)
{
  Table *table = g_new0(Table, 1);
  *table = (Table){columns, count, g_ptr_array_new_with_free_func(g_free)};
  return table;
}

void
table_free(Table *table)
{
  if (!table)
    return;
  g_ptr_array_unref(table->cells);
  g_free(table);
}

/* Valid UTF-8 without control characters; quotes and backslashes escaped too where it is for JSON. */
static char *
escape(const char *text, gboolean json)
{
  g_autofree char *valid = g_utf8_make_valid(text, -1);
  GString *out = g_string_new(NULL);
  for (const char *at = valid; *at; at = g_utf8_next_char(at)) {
    gunichar c = g_utf8_get_char(at);
    if (json && (c == '"' || c == '\\'))
      g_string_append_printf(out, "\\%c", (char)c);
    else if (c < 0x20 || (c >= 0x7f && c < 0xa0))
      g_string_append_printf(out, "\\u%04x", c);
    else
      g_string_append_unichar(out, c);
  }
  return g_string_free(out, FALSE);
}

void
table_add(Table *table, const char *const *cells)
{
  for (guint i = 0; i < table->count; i++)
    g_ptr_array_add(table->cells, g_strdup(cells[i]));
}

guint
table_rows(const Table *table)
{
  return table->cells->len / table->count;
}

static const char *
cell(const Table *table, guint row, guint column)
{
  return table->cells->pdata[row * table->count + column];
}

static void
print_json(const Table *table, FILE *file)
{
  fputc('[', file);
  for (guint row = 0; row < table_rows(table); row++) {
    fputs(row > 0 ? ",\n {" : "\n {", file);
    const char *separator = "";
    for (guint i = 0; i < table->count; i++) {
      const char *value = cell(table, row, i);
      if (!table->columns[i].key)
        continue;
      g_autofree char *escaped = escape(value ? value : "null", TRUE);
      const char *quote = value && table->columns[i].kind == TABLE_TEXT ? "\"" : "";
      fprintf(file, "%s\"%s\": %s%s%s", separator, table->columns[i].key, quote, escaped, quote);
      separator = ", ";
    }
    fputc('}', file);
  }
  fputs(table_rows(table) > 0 ? "\n]\n" : "]\n", file);
}

static void
print_padded(FILE *file, const char *text, gsize width, gboolean right, gboolean last)
{
  gsize length = g_utf8_strlen(text, -1);
  int padding = width > length ? width - length : 0;
  if (right)
    fprintf(file, "%*s", padding, "");
  fputs(text, file);
  if (!right && !last)
    fprintf(file, "%*s", padding, "");
  fputs(last ? "\n" : "  ", file);
}

static void
print_text(const Table *table, FILE *file)
{
  guint rows = table_rows(table), last = 0;
  g_autofree gsize *widths = g_new0(gsize, table->count);
  g_autoptr(GPtrArray) escaped = g_ptr_array_new_with_free_func(g_free);
  for (guint i = 0; i < table->count; i++)
    if (table->columns[i].title) {
      widths[i] = g_utf8_strlen(table->columns[i].title, -1);
      last = i;
    }
  for (guint row = 0; row < rows; row++)
    for (guint i = 0; i < table->count; i++) {
      const char *value = cell(table, row, i);
      char *text = escape(value ? value : "", FALSE);
      g_ptr_array_add(escaped, text);
      widths[i] = MAX(widths[i], (gsize)g_utf8_strlen(text, -1));
    }
  for (guint i = 0; i <= last; i++)
    if (table->columns[i].title)
      print_padded(file, table->columns[i].title, widths[i], table->columns[i].kind == TABLE_NUMBER,
                   i == last);
  for (guint row = 0; row < rows; row++)
    for (guint i = 0; i <= last; i++)
      if (table->columns[i].title)
        print_padded(file, escaped->pdata[row * table->count + i], widths[i],
                     table->columns[i].kind == TABLE_NUMBER, i == last);
}

void
table_print(const Table *table, gboolean json, FILE *file)
{
  if (json)
    print_json(table, file);
  else
    print_text(table, file);
}
