/* clonedocd list and check: what the log holds, read beside a running server. */
#include <stdio.h>

#include "base/error.h"
#include "clonedoc/history.h"
#include "cmd/table.h"
#include "daemon/clonedocd.h"

#define PAGE        512
#define SLICE       512
#define SLICE_BYTES (1u << 20)

static const TableColumn columns[] = {
    {"DOCUMENT", "document", TABLE_TEXT},
    {"ENTRIES", "entries", TABLE_NUMBER},
    {"BYTES", "bytes", TABLE_NUMBER},
};

/* Calls `look` for each document. FALSE where it does, or the log cannot be read. */
static gboolean
for_each(DocLog *log,
         gboolean (*look)(DocLog *log, const DocLogDocument *document, gpointer data, GError **error),
         gpointer data, GError **error)
{
  DocName after, *from = NULL;
  for (guint count = PAGE; count == PAGE;) {
    g_autoptr(GArray) page = doc_log_documents(log, from, PAGE, error);
    if (!page)
      return FALSE;
    for (guint i = 0; i < page->len; i++)
      if (!look(log, &g_array_index(page, DocLogDocument, i), data, error))
        return FALSE;
    count = page->len;
    if (count > 0)
      after = g_array_index(page, DocLogDocument, count - 1).name;
    from = &after;
  }
  return TRUE;
}

static gboolean
add_row(DocLog *log, const DocLogDocument *document, gpointer table, GError **error)
{
  g_autofree char *name = clonedocd_name_to_text(&document->name);
  g_autofree char *entries = g_strdup_printf("%" G_GUINT64_FORMAT, document->length);
  g_autofree char *bytes = g_strdup_printf("%" G_GUINT64_FORMAT, document->bytes);
  const char *const cells[] = {name, entries, bytes};
  table_add(table, cells);
  return TRUE;
}

static gboolean
list(ClonedocdPlace *place, gboolean json, GError **error)
{
  g_autoptr(DocLog) log = clonedocd_place_complete(place, error) ? clonedocd_place_look(place, error) : NULL;
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  if (!log || !for_each(log, add_row, table, error))
    return FALSE;
  table_print(table, json, stdout);
  return fflush(stdout) == 0 || doppel_error_errno(error, "cannot write");
}

int
clonedocd_list(int argc, char **argv)
{
  g_auto(ClonedocdPlace) place = {0};
  gboolean json = FALSE;
  GOptionEntry entries[] = {
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print JSON", NULL},
      {"log", 0, 0, G_OPTION_ARG_STRING, &place.log, CLONEDOCD_LOG_HELP, "WHERE"},
      {"state", 0, 0, G_OPTION_ARG_FILENAME, &place.state, CLONEDOCD_STATE_HELP, "DIR"},
      {NULL},
  };
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new(NULL);
  g_option_context_add_main_entries(context, entries, NULL);
  g_option_context_set_summary(
      context, "Lists the documents: the hash that is a document's name, how many entries it "
               "has and how long they are\ntogether. Nothing else of them can be known here.");
  int status;
  if (!clonedocd_parse(context, &argc, &argv, 0, &status))
    return status;
  return list(&place, json, &error) ? 0 : clonedocd_fail("list", error);
}

/* ---- check ---- */

typedef struct {
  const DocName *only; /* NULL: all */
  guint64 documents, entries, damaged;
} Check;

static gboolean
take(DocHistory *history, GBytes *bytes, GError **error)
{
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  g_autoptr(DocEnvelope) envelope = doc_envelope_decode(data, length, error);
  DocVerdict verdict;
  return envelope && doc_history_take(history, doc_history_number(history) + 1, envelope, &verdict, error);
}

/* Reads a document as its members do. */
static gboolean
recompute(DocLog *log, DocHistory *history, GError **error)
{
  for (;;) {
    g_autoptr(GPtrArray) entries = doc_log_read(log, doc_history_document(history),
                                                doc_history_number(history) + 1, SLICE, SLICE_BYTES, error);
    if (!entries)
      return FALSE;
    for (guint i = 0; i < entries->len; i++)
      if (!take(history, entries->pdata[i], error))
        return FALSE;
    if (entries->len == 0)
      return TRUE;
  }
}

static gboolean
check_one(DocLog *log, const DocLogDocument *document, gpointer data, GError **error)
{
  Check *check = data;
  g_autoptr(GError) why = NULL;
  if (check->only && !doc_name_equal(check->only, &document->name))
    return TRUE;
  g_autoptr(DocHistory) history = doc_history_new(&document->name);
  g_autofree char *name = clonedocd_name_to_text(&document->name);
  gboolean good = recompute(log, history, &why);
  check->documents++;
  check->entries += doc_history_number(history);
  if (good && doc_history_number(history) >= document->length)
    return TRUE;
  check->damaged++;
  printf("%s: after entry %" G_GUINT64_FORMAT ": %s\n", name, doc_history_number(history),
         why ? why->message : "entries that are counted are not there");
  return TRUE;
}

static gboolean
check_all(ClonedocdPlace *place, const char *text, GError **error)
{
  DocName name;
  Check check = {.only = text ? &name : NULL};
  if (text && !clonedocd_name_from_text(text, &name, error))
    return FALSE;
  g_autoptr(DocLog) log = clonedocd_place_complete(place, error) ? clonedocd_place_look(place, error) : NULL;
  if (!log || !for_each(log, check_one, &check, error))
    return FALSE;
  if (text && check.documents == 0)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                            "there is no document %s here: see \"clonedocd list\"", text);
  printf("%" G_GUINT64_FORMAT " documents with %" G_GUINT64_FORMAT " entries, %" G_GUINT64_FORMAT
         " documents are damaged\n",
         check.documents, check.entries, check.damaged);
  if (fflush(stdout) != 0)
    return doppel_error_errno(error, "cannot write");
  return check.damaged == 0 ||
         doppel_error_set(error, DOPPEL_ERROR_FAILED,
                          "put a copy of the log in its place; what came after the copy the members submit "
                          "again");
}

int
clonedocd_check(int argc, char **argv)
{
  g_auto(ClonedocdPlace) place = {0};
  g_autofree char *document = NULL;
  GOptionEntry entries[] = {
      {"document", 0, 0, G_OPTION_ARG_STRING, &document, "Only that one (as \"clonedocd list\" prints it)",
       "NAME"},
      {"log", 0, 0, G_OPTION_ARG_STRING, &place.log, CLONEDOCD_LOG_HELP, "WHERE"},
      {"state", 0, 0, G_OPTION_ARG_FILENAME, &place.state, CLONEDOCD_STATE_HELP, "DIR"},
      {NULL},
  };
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new(NULL);
  g_option_context_add_main_entries(context, entries, NULL);
  g_option_context_set_summary(
      context, "Verifies every entry of every document, or of one, as its members do, and says "
               "what is damaged.\nExit status 1 where something is. It may run beside \"clonedocd serve\".");
  int status;
  if (!clonedocd_parse(context, &argc, &argv, 0, &status))
    return status;
  return check_all(&place, document, &error) ? 0 : clonedocd_fail("check", error);
}
