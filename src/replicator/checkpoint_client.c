#include "replicator/checkpoint_client.h"

#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

/* A clone answers RESUME when all of the program's memory is in its place. */
enum { ANSWER_MS = 120000, RESUME_MS = 900000, TEXT_DIGITS = 12, TEXT_LEAST = 4 };

CheckpointClient *
checkpoint_client_open(const char *name, GError **error)
{
  g_autoptr(CheckpointClient) client = g_new0(CheckpointClient, 1);
  client->clone = paired_find(name, error);
  g_autoptr(IdentityKey) own = client->clone ? identity_device_key(error) : NULL;
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  if (own)
    client->link = link_dial((const char *const *)client->clone->addresses, own, &client->clone->key,
                             client->clone->id, &options, error);
  return client->link ? g_steal_pointer(&client) : NULL;
}

void
checkpoint_client_free(CheckpointClient *client)
{
  g_clear_pointer(&client->link, link_free);
  g_clear_pointer(&client->clone, paired_clone_free);
  g_free(client);
}

static gboolean
unexpected(GError **error)
{
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                          "the clone answered something else than what was asked");
}

/* The answer, unless it is a refusal. */
static CheckpointMessage *
hear(CheckpointClient *client, int timeout_ms, GError **error)
{
  g_autoptr(CheckpointMessage) answer = checkpoint_message_wait(client->link, timeout_ms, error);
  if (!answer || answer->kind_case != DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_REFUSAL)
    return g_steal_pointer(&answer);
  DoppelErrorCode code =
      answer->refusal->code < DOPPEL_ERROR_ABORTED && answer->refusal->code != DOPPEL_ERROR_GONE
          ? (DoppelErrorCode)answer->refusal->code
          : DOPPEL_ERROR_FAILED;
  g_autofree char *printable = g_strescape(answer->refusal->reason, "\"");
  doppel_error_set(error, code, "%.1000s", printable);
  return NULL;
}

static gboolean
hear_number(CheckpointClient *client, int timeout_ms, guint64 *number, GError **error)
{
  g_autoptr(CheckpointMessage) answer = hear(client, timeout_ms, error);
  if (!answer)
    return FALSE;
  if (answer->kind_case != DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_NUMBER)
    return unexpected(error);
  *number = answer->number->number;
  return TRUE;
}

GPtrArray *
checkpoint_client_list(CheckpointClient *client, GError **error)
{
  g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)checkpoint_message_free);
  Doppel__Wire__CheckpointNumber all = DOPPEL__WIRE__CHECKPOINT_NUMBER__INIT;
  if (!CHECKPOINT_SEND(client->link, LIST, list, &all, error))
    return NULL;
  for (;;) {
    g_autoptr(CheckpointMessage) answer = hear(client, ANSWER_MS, error);
    if (!answer)
      return NULL;
    if (answer->kind_case == DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_NUMBER &&
        answer->number->number == list->len)
      return g_steal_pointer(&list);
    if (answer->kind_case != DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_SUMMARY) {
      unexpected(error);
      return NULL;
    }
    g_ptr_array_add(list, g_steal_pointer(&answer));
  }
}

char *
checkpoint_run_text(const guint8 run[CHECKPOINT_RUN])
{
  GString *text = g_string_new(NULL);
  for (guint i = 0; i < TEXT_DIGITS / 2; i++)
    g_string_append_printf(text, "%02x", run[i]);
  return g_string_free(text, FALSE);
}

const Doppel__Wire__CheckpointSummary *
checkpoint_client_find(const GPtrArray *list, const char *text, GError **error)
{
  const Doppel__Wire__CheckpointSummary *found = NULL;
  for (guint i = 0; i < list->len; i++) {
    const Doppel__Wire__CheckpointSummary *summary = ((CheckpointMessage *)list->pdata[i])->summary;
    g_autofree char *name = checkpoint_run_text(summary->run.data);
    if (!summary->chain->n_link || (text && (strlen(text) < TEXT_LEAST || !g_str_has_prefix(name, text))))
      continue;
    if (found && text) {
      doppel_error_set(error, DOPPEL_ERROR_USAGE, "several runs' names begin with %s: say more of it", text);
      return NULL;
    }
    found = summary;
  }
  if (found)
    return found;
  if (text)
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                     "there is no checkpoint %s; \"doppel checkpoints\" lists those there are", text);
  else
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                     "the clone keeps no checkpoint; \"doppel run --checkpoint 60s -- PROGRAM\" makes some");
  return NULL;
}

static Doppel__Wire__CheckpointWhich
which(const guint8 run[CHECKPOINT_RUN], gboolean force, gboolean again)
{
  Doppel__Wire__CheckpointWhich message = DOPPEL__WIRE__CHECKPOINT_WHICH__INIT;
  message.run = (ProtobufCBinaryData){CHECKPOINT_RUN, (guint8 *)run};
  message.force = force;
  message.again = again;
  return message;
}

gboolean
checkpoint_client_remove(CheckpointClient *client, const guint8 run[CHECKPOINT_RUN], gboolean force,
                         GError **error)
{
  Doppel__Wire__CheckpointWhich message = which(run, force, FALSE);
  guint64 number;
  return CHECKPOINT_SEND(client->link, REMOVE, remove, &message, error) &&
         hear_number(client, ANSWER_MS, &number, error);
}

guint64
checkpoint_client_resume(CheckpointClient *client, const guint8 run[CHECKPOINT_RUN], gboolean force,
                         gboolean again, GError **error)
{
  Doppel__Wire__CheckpointWhich message = which(run, force, again);
  guint64 number = 0;
  if (!CHECKPOINT_SEND(client->link, RESUME, resume, &message, error) ||
      !hear_number(client, RESUME_MS, &number, error))
    return 0;
  if (!number)
    unexpected(error);
  return number;
}

static gboolean
unexpected_size(GError **error)
{
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                          "the clone sent more or less than it said that there is");
}

/* All that answers one request for what has `size` bytes. *last where nothing follows. */
static gboolean
hear_window(CheckpointClient *client, guint64 *offset, guint64 size, gboolean *last, int file, GError **error)
{
  guint64 until = *offset + CHECKPOINT_WINDOW;
  for (*last = FALSE; !*last && *offset < until;) {
    g_autoptr(CheckpointMessage) answer = hear(client, ANSWER_MS, error);
    if (!answer)
      return FALSE;
    const Doppel__Wire__CheckpointBytes *piece = answer->piece;
    if (answer->kind_case != DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_PIECE || piece->offset != *offset ||
        piece->bytes.len > until - *offset)
      return unexpected(error);
    if (piece->bytes.len > size - *offset || (piece->last && piece->bytes.len < size - *offset))
      return unexpected_size(error);
    if (!io_write_all(file, piece->bytes.data, piece->bytes.len))
      return doppel_error_errno(error, "cannot keep what comes from the clone");
    *offset += piece->bytes.len;
    *last = piece->last;
  }
  return TRUE;
}

gboolean
checkpoint_client_take(CheckpointClient *client, const guint8 run[CHECKPOINT_RUN], gboolean force,
                       gboolean again, int file, GError **error)
{
  Doppel__Wire__CheckpointWhich message = which(run, force, again);
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  message.device = host;
  if (!CHECKPOINT_SEND(client->link, TAKE, take, &message, error))
    return FALSE;
  g_autoptr(CheckpointMessage) answer = hear(client, ANSWER_MS, error);
  if (!answer)
    return FALSE;
  if (answer->kind_case != DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_SUMMARY || !answer->summary->chain->n_link)
    return unexpected(error);
  guint64 offset = 0, size = answer->summary->chain->link[0]->bytes;
  for (gboolean last = FALSE; !last;) {
    Doppel__Wire__CheckpointFetch fetch = DOPPEL__WIRE__CHECKPOINT_FETCH__INIT;
    fetch.offset = offset;
    if (!CHECKPOINT_SEND(client->link, FETCH, fetch, &fetch, error) ||
        !hear_window(client, &offset, size, &last, file, error))
      return FALSE;
  }
  return TRUE;
}

gboolean
checkpoint_client_content(CheckpointClient *client, const CheckpointFile *named, int file, GError **error)
{
  guint64 offset = 0;
  for (gboolean last = !named->size; !last;) {
    Doppel__Wire__CheckpointContent content = DOPPEL__WIRE__CHECKPOINT_CONTENT__INIT;
    content.file = (CheckpointFile *)named;
    content.offset = offset;
    if (!CHECKPOINT_SEND(client->link, CONTENT, content, &content, error) ||
        !hear_window(client, &offset, named->size, &last, file, error))
      return FALSE;
  }
  return checkpoint_file_fits(named, file) ||
         doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone sent another file than the program had");
}
