#include "clonedoc/server/log.h"

#include <string.h>

#include "base/error.h"

/* The first one takes what has no scheme. */
static const DocLogKind *const kinds[] = {
    &doc_log_sqlite,
    &doc_log_nats,
};

static const DocLogKind *
find_kind(const char *where, GError **error)
{
  const char *colon = strstr(where, "://");
  if (!colon)
    return kinds[0];
  g_autofree char *scheme = g_strndup(where, (gsize)(colon - where));
  for (guint i = 1; i < G_N_ELEMENTS(kinds); i++)
    if (g_str_equal(kinds[i]->scheme, scheme))
      return kinds[i];
  doppel_error_set(error, DOPPEL_ERROR_USAGE, "there is no kind of log \"%s\": name a folder%s%s", scheme,
                   G_N_ELEMENTS(kinds) > 1 ? ", or " : "",
                   G_N_ELEMENTS(kinds) > 1 ? kinds[G_N_ELEMENTS(kinds) - 1]->scheme : "");
  return NULL;
}

DocLog *
doc_log_open(const char *where, GError **error)
{
  const DocLogKind *kind = find_kind(where, error);
  return kind ? kind->open(where, error) : NULL;
}

void
doc_log_free(DocLog *log)
{
  if (log)
    log->kind->free(log);
}

gboolean
doc_log_append_all(DocLog *log, DocLogPut *puts, guint count, GError **error)
{
  g_return_val_if_fail(count <= DOC_LOG_BATCH_MAX, FALSE);
  return count == 0 || log->kind->append(log, puts, count, error);
}

DocLogOutcome
doc_log_append(DocLog *log, const DocName *document, guint64 number, GBytes *entry, GError **error)
{
  DocLogPut put = {.document = *document, .number = number, .entry = entry, .outcome = DOC_LOG_FAILED};
  doc_log_append_all(log, &put, 1, error);
  return put.outcome;
}

GPtrArray *
doc_log_read(DocLog *log, const DocName *document, guint64 from, guint count, gsize bytes, GError **error)
{
  return log->kind->read(log, document, MAX(from, 1), MIN(count, DOC_LOG_READ_MAX), bytes, error);
}

gboolean
doc_log_length(DocLog *log, const DocName *document, guint64 *length, GError **error)
{
  return log->kind->length(log, document, length, error);
}

void
doc_log_hurry(DocLog *log)
{
  if (log->kind->hurry)
    log->kind->hurry(log);
}

gboolean
doc_log_size(DocLog *log, guint64 *documents, guint64 *bytes, GError **error)
{
  return log->kind->size(log, documents, bytes, error);
}

GArray *
doc_log_documents(DocLog *log, const DocName *after, guint count, GError **error)
{
  if (log->kind->documents)
    return log->kind->documents(log, after, count, error);
  doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "a log of the kind %s does not list its documents",
                   log->kind->scheme);
  return NULL;
}
