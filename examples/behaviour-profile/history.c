#include "history.h"

#include <string.h>

static gboolean
bad(GError **error, const char *message)
{
  g_set_error_literal(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, message);
  return FALSE;
}

static void
visit_free(gpointer data)
{
  Visit *visit = data;
  g_free(visit->words);
  g_free(visit);
}

/* The words of a text: letters and digits that follow one another, in lower case. */
static void
find_words(const Tree *tree, const char *text, GArray *words)
{
  g_autofree char *lower = g_utf8_strdown(text, -1);
  char *begin = NULL, *next;
  for (char *c = lower;; c = next) {
    gunichar letter = g_utf8_get_char(c);
    next = g_utf8_next_char(c);
    if (g_unichar_isalnum(letter)) {
      begin = begin ? begin : c;
      continue;
    }
    *c = '\0';
    gint64 found = begin ? tree_find_word(tree, begin) : -1;
    guint32 word = (guint32)found;
    if (found >= 0)
      g_array_append_val(words, word);
    begin = NULL;
    if (letter == 0)
      return;
  }
}

/* TIME, ADDRESS and TITLE, divided by tabs. */
static gboolean
parse_line(const Tree *tree, const char *line, Visit *visit, GError **error)
{
  if (!g_utf8_validate(line, -1, NULL))
    return bad(error, "this is not UTF-8");
  g_auto(GStrv) fields = g_strsplit(line, "\t", 3);
  if (g_strv_length(fields) != 3)
    return bad(error, "a line is TIME, ADDRESS and TITLE, divided by tabs");
  g_autoptr(GDateTime) time = g_date_time_new_from_iso8601(fields[0], NULL);
  if (!time)
    return bad(error, "the time has to be like 2026-01-31T12:00:00Z");
  visit->time = g_date_time_to_unix(time);
  GArray *words = g_array_new(FALSE, FALSE, sizeof(guint32));
  find_words(tree, fields[2], words);
  visit->n_words = words->len;
  visit->words = (guint32 *)g_array_free(words, FALSE);
  return TRUE;
}

static int
by_time(gconstpointer a, gconstpointer b)
{
  const Visit *x = *(Visit *const *)a, *y = *(Visit *const *)b;
  return (x->time > y->time) - (x->time < y->time);
}

GPtrArray *
history_load(const char *path, const Tree *tree, GError **error)
{
  g_autofree char *text = NULL;
  gsize length;
  if (!g_file_get_contents(path, &text, &length, error))
    return NULL;
  if (strlen(text) != length) {
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s: this is no text: it has a byte 0", path);
    return NULL;
  }
  g_autoptr(GPtrArray) visits = g_ptr_array_new_with_free_func(visit_free);
  gsize number = 1;
  for (char *line = text, *end; *line; line = end, number++) {
    end = line + strcspn(line, "\n");
    if (*end)
      *end++ = '\0';
    if (*line == '\0' || *line == '#')
      continue;
    Visit *visit = g_new0(Visit, 1);
    g_ptr_array_add(visits, visit);
    if (!parse_line(tree, line, visit, error)) {
      g_prefix_error(error, "%s:%zu: ", path, number);
      return NULL;
    }
  }
  if (visits->len == 0) {
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s: there is no visit in it", path);
    return NULL;
  }
  g_ptr_array_sort(visits, by_time);
  return g_steal_pointer(&visits);
}
