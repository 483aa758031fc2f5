#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "clonedoc/server/jet_private.h"

#define NUMBER_HEADER "Doc-Number"
#define AFTER_HEADER  "Nats-Expected-Last-Subject-Sequence" /* NATS compares it, and keeps it */
#define MARK          "-" /* where else a document's name is: what jet_stream_mark() writes */

void
jet_entry_clear(JetEntry *entry)
{
  g_clear_pointer(&entry->entry, g_bytes_unref);
}

void
jet_answer_clear(JetAnswer *answer)
{
  jet_entry_clear(&answer->entry);
}

static void
free_answer(gpointer answer)
{
  jet_answer_clear(answer);
  g_free(answer);
}

void
jet_stream_forget(JetStream *stream)
{
  g_queue_clear_full(&stream->waiting, free_answer);
}

static char *
subject_of(const JetStream *stream, const DocName *document)
{
  GString *subject = g_string_new(NULL);
  g_string_printf(subject, "doppel.%s.", stream->name);
  for (guint i = 0; i < sizeof document->bytes; i++)
    g_string_append_printf(subject, "%02x", document->bytes[i]);
  return g_string_free(subject, FALSE);
}

/* ---- what comes ---- */

static const char *
header(natsMsg *message, const char *name)
{
  const char *value = NULL;
  return natsMsgHeader_Get(message, name, &value) == NATS_OK ? value : NULL;
}

static gboolean
read_name(const JetStream *stream, const char *subject, DocName *document)
{
  g_autofree char *start = g_strdup_printf("doppel.%s.", stream->name);
  if (!subject || !g_str_has_prefix(subject, start) ||
      strlen(subject) != strlen(start) + 2 * sizeof document->bytes)
    return FALSE;
  const char *digits = subject + strlen(start);
  for (guint i = 0; i < sizeof document->bytes; i++) {
    int high = g_ascii_xdigit_value(digits[2 * i]), low = g_ascii_xdigit_value(digits[2 * i + 1]);
    if (high < 0 || low < 0)
      return FALSE;
    document->bytes[i] = (guint8)(high << 4 | low);
  }
  return TRUE;
}

/* FALSE: there is no such message of a document. Where it is none of jet_stream_put() it has no `entry`.
 * HOSTILE. */
static gboolean
read_entry(const JetStream *stream, natsMsg *message, const char *subject, guint64 sequence, JetEntry *entry)
{
  int length = natsMsg_GetDataLength(message);
  *entry = (JetEntry){.sequence = sequence};
  if (sequence == 0 || sequence > G_MAXINT64 || !read_name(stream, subject, &entry->document)) {
    entry->sequence = 0;
    return FALSE;
  }
  if (length >= 0 && length <= DOC_ENVELOPE_MAX &&
      jet_answer_number(header(message, NUMBER_HEADER), &entry->number) && entry->number > 0 &&
      jet_answer_number(header(message, AFTER_HEADER), &entry->after) && entry->after < sequence &&
      (entry->number == 1) == (entry->after == 0))
    entry->entry = g_bytes_new(natsMsg_GetData(message), (gsize)length);
  return TRUE;
}

static void
read_asked(const JetStream *stream, natsMsg *message, JetEntry *entry)
{
  g_autofree char *name = g_strdup_printf("doppel-%s", stream->name);
  guint64 sequence;
  *entry = (JetEntry){0};
  if (g_strcmp0(header(message, "Nats-Stream"), name) == 0 &&
      jet_answer_number(header(message, "Nats-Sequence"), &sequence))
    read_entry(stream, message, header(message, "Nats-Subject"), sequence, entry);
}

static void
read_ack(const JetStream *stream, natsMsg *message, JetAck *ack)
{
  g_autofree char *name = g_strdup_printf("doppel-%s", stream->name);
  /* "503": nobody is there who would take it. */
  if (header(message, "Status") ||
      !jet_answer_ack(ack, natsMsg_GetData(message), (gsize)MAX(natsMsg_GetDataLength(message), 0), name))
    *ack = (JetAck){.fate = JET_LATER};
}

/* The tokens of puts are odd. */
static gboolean
read_answer(const JetStream *stream, natsMsg *message, JetAnswer *answer)
{
  const char *subject = natsMsg_GetSubject(message), *token = subject ? strrchr(subject, '.') : NULL;
  *answer = (JetAnswer){0};
  if (!token || !jet_answer_number(token + 1, &answer->token))
    return FALSE;
  answer->stored = answer->token & 1;
  if (answer->stored)
    read_ack(stream, message, &answer->ack);
  else
    read_asked(stream, message, &answer->entry);
  return TRUE;
}

static gboolean
receive(JetStream *stream, JetAnswer *answer, int timeout_ms)
{
  gint64 deadline = clock_now_ns() + (gint64)timeout_ms * 1000000;
  while (jet_is_connected(stream)) {
    natsMsg *message = NULL;
    if (natsSubscription_NextMsg(&message, stream->answers, MAX(clock_left_ms(deadline), 1)) != NATS_OK)
      return FALSE;
    gboolean good = read_answer(stream, message, answer);
    natsMsg_Destroy(message);
    if (good || clock_left_ms(deadline) == 0)
      return good;
  }
  g_usleep(1000u * (guint)CLAMP(timeout_ms, 1, 10));
  return FALSE;
}

gboolean
jet_stream_answer(JetStream *stream, JetAnswer *answer, int timeout_ms)
{
  JetAnswer *first = g_queue_pop_head(&stream->waiting);
  if (!first)
    return receive(stream, answer, timeout_ms);
  *answer = *first;
  g_free(first);
  return TRUE;
}

/* Waits for the answer to this one question; others are kept. */
static gboolean
answer_to(JetStream *stream, guint64 token, JetAnswer *answer, gint64 deadline)
{
  gint64 attempt = MIN(deadline, clock_now_ns() + JET_ATTEMPT_MS * G_GINT64_CONSTANT(1000000));
  while (receive(stream, answer, clock_left_ms(attempt))) {
    if (answer->token == token)
      return TRUE;
    g_queue_push_tail(&stream->waiting, g_memdup2(answer, sizeof *answer));
    *answer = (JetAnswer){0};
  }
  return FALSE;
}

/* ---- what goes ---- */

/* Takes the message. */
static gboolean
publish(JetStream *stream, natsMsg *message, natsStatus status)
{
  if (status == NATS_OK)
    status = natsConnection_PublishMsg(stream->connection, message);
  natsMsg_Destroy(message);
  return status == NATS_OK;
}

static guint64
send_put(JetStream *stream, const char *subject, guint64 number, guint64 after, GBytes *entry)
{
  if (!jet_is_connected(stream))
    return 0;
  gsize length = 0;
  const void *data = entry ? g_bytes_get_data(entry, &length) : NULL;
  guint64 token = 2 * ++stream->tokens + 1;
  g_autofree char *reply = g_strdup_printf("%s.%" G_GUINT64_FORMAT, stream->inbox, token);
  char text[32];
  natsMsg *message = NULL;
  natsStatus s = natsMsg_Create(&message, subject, reply, data, (int)length);
  if (entry && s == NATS_OK) {
    g_snprintf(text, sizeof text, "%" G_GUINT64_FORMAT, number);
    s = natsMsgHeader_Set(message, NUMBER_HEADER, text);
  }
  if (entry && s == NATS_OK) {
    g_snprintf(text, sizeof text, "%" G_GUINT64_FORMAT, after);
    s = natsMsgHeader_Set(message, AFTER_HEADER, text);
  }
  return publish(stream, message, s) ? token : 0;
}

guint64
jet_stream_put(JetStream *stream, const DocName *document, guint64 number, guint64 after, GBytes *entry)
{
  g_autofree char *subject = subject_of(stream, document);
  return send_put(stream, subject, number, after, entry);
}

guint64
jet_stream_ask(JetStream *stream, const DocName *document, guint64 sequence)
{
  if (!jet_is_connected(stream))
    return 0;
  guint64 token = 2 * ++stream->tokens;
  g_autofree char *reply = g_strdup_printf("%s.%" G_GUINT64_FORMAT, stream->inbox, token);
  g_autofree char *subject = g_strdup_printf("$JS.API.DIRECT.GET.doppel-%s", stream->name);
  g_autofree char *wanted = subject_of(stream, document);
  g_autofree char *question =
      g_strdup_printf("{\"seq\":%" G_GUINT64_FORMAT ",\"next_by_subj\":\"%s\"}", sequence + 1, wanted);
  natsMsg *message = NULL;
  natsStatus s = natsMsg_Create(&message, subject, reply, question, (int)strlen(question));
  return publish(stream, message, s) ? token : 0;
}

/* ---- one question at a time ---- */

static gboolean
damaged(const JetStream *stream, const DocName *document, guint64 sequence, GError **error)
{
  g_autofree char *subject = subject_of(stream, document);
  return doppel_error_set(
      error, DOPPEL_ERROR_HOSTILE,
      "message %" G_GUINT64_FORMAT
      " in the log of documents %s (subject %s) is no entry: somebody else has written it",
      sequence, stream->where, subject);
}

gboolean
jet_stream_next(JetStream *stream, const DocName *document, guint64 sequence, JetEntry *entry,
                gint64 deadline, GError **error)
{
  for (guint attempts = 0;; attempts++) {
    g_auto(JetAnswer) answer = {0};
    guint64 token = jet_stream_ask(stream, document, sequence);
    gboolean came = token != 0 && answer_to(stream, token, &answer, deadline);
    if (came && doc_name_equal(&answer.entry.document, document) && answer.entry.sequence > sequence) {
      if (!answer.entry.entry)
        return damaged(stream, document, answer.entry.sequence, error);
      *entry = answer.entry;
      answer.entry.entry = NULL;
      jet_helped(stream);
      return TRUE;
    }
    /* The members have it within some milliseconds of one another. */
    if (came && attempts < 8 && clock_left_ms(deadline) > 0)
      g_usleep(1000u << attempts);
    else if (!jet_may_go_on(stream, deadline, "a message that it counts is not there", error))
      return FALSE;
  }
}

static gboolean
is_of(const JetAnswer *answer, const DocName *document, guint64 sequence)
{
  return doc_name_equal(&answer->entry.document, document) && answer->entry.sequence > sequence &&
         answer->entry.entry;
}

/* Asks `window` questions and takes what comes, each answer to its place. */
static void
ask_many(JetStream *stream, const DocName *document, guint64 sequence, JetAnswer *answers, guint window,
         gint64 deadline)
{
  guint asked = 0, came = 0;
  guint64 first = 0;
  for (guint64 token; asked < window && (token = jet_stream_ask(stream, document, sequence + asked)) != 0;
       asked++)
    first = asked == 0 ? token : first;
  gint64 attempt = MIN(deadline, clock_now_ns() + JET_ATTEMPT_MS * G_GINT64_CONSTANT(1000000));
  JetAnswer answer;
  while (came < asked && receive(stream, &answer, clock_left_ms(attempt))) {
    guint64 place = (answer.token - first) / 2;
    if (answer.stored || answer.token < first || place >= asked || answers[place].token != 0) {
      g_queue_push_tail(&stream->waiting, g_memdup2(&answer, sizeof answer));
      continue;
    }
    answers[place] = answer;
    came++;
  }
}

static void
clear_entry(gpointer entry)
{
  jet_entry_clear(entry);
}

GArray *
jet_stream_some(JetStream *stream, const DocName *document, guint64 sequence, guint window, gint64 deadline,
                GError **error)
{
  g_autoptr(GArray) entries = g_array_new(FALSE, FALSE, sizeof(JetEntry));
  g_array_set_clear_func(entries, clear_entry);
  g_autofree JetAnswer *answers = g_new0(JetAnswer, window);
  guint64 last = sequence;
  if (window > 1)
    ask_many(stream, document, sequence, answers, window, deadline);
  for (guint i = 0; i < window && is_of(&answers[i], document, sequence + i); i++) {
    if (answers[i].entry.sequence <= last)
      continue;
    last = answers[i].entry.sequence;
    g_array_append_val(entries, answers[i].entry);
    answers[i].entry.entry = NULL;
  }
  for (guint i = 0; i < window; i++)
    jet_answer_clear(&answers[i]);
  JetEntry entry;
  if (entries->len == 0 && !jet_stream_next(stream, document, sequence, &entry, deadline, error))
    return NULL;
  if (entries->len == 0)
    g_array_append_val(entries, entry);
  return g_steal_pointer(&entries);
}

gboolean
jet_stream_mark(JetStream *stream, gint64 deadline, GError **error)
{
  g_autofree char *subject = g_strdup_printf("doppel.%s." MARK, stream->name);
  for (;;) {
    g_auto(JetAnswer) answer = {0};
    guint64 token = send_put(stream, subject, 0, 0, NULL);
    if (token != 0 && answer_to(stream, token, &answer, deadline) && answer.ack.fate == JET_STORED) {
      jet_helped(stream);
      return TRUE;
    }
    const char *words = answer.ack.words[0] ? answer.ack.words : "nothing is stored";
    if (answer.ack.fate == JET_REFUSED)
      return doppel_error_set(error, DOPPEL_ERROR_FAILED, "the log of documents %s refuses: %s",
                              stream->where, words);
    if (!jet_may_go_on(stream, deadline, words, error))
      return FALSE;
  }
}

/* The leader's answer: 1, 0, -1 as jet_stream_last(), -2: there may be a better one. */
static int
ask_last(JetStream *stream, const DocName *document, JetEntry *entry, gint64 deadline, GError **error)
{
  g_autofree char *name = g_strdup_printf("doppel-%s", stream->name);
  g_autofree char *subject = subject_of(stream, document);
  natsMsg *message = NULL;
  jsErrCode code = 0;
  jsOptions options;
  jsOptions_Init(&options);
  options.Wait = CLAMP(clock_left_ms(deadline), 1, JET_ATTEMPT_MS);
  if (!jet_is_connected(stream))
    return -2;
  natsStatus s = js_GetLastMsg(&message, stream->context, name, subject, &options, &code);
  if (s != NATS_OK && code == JSNoMessageFoundErr)
    return 0;
  if (s != NATS_OK && code == JSStreamNotFoundErr) {
    doppel_error_set(error, DOPPEL_ERROR_FAILED,
                     "the stream %s is not there any more: somebody has removed the log of documents %s",
                     name, stream->where);
    return -1;
  }
  if (s != NATS_OK)
    return -2;
  guint64 sequence = natsMsg_GetSequence(message);
  read_entry(stream, message, natsMsg_GetSubject(message), sequence, entry);
  natsMsg_Destroy(message);
  if (entry->entry && doc_name_equal(&entry->document, document))
    return 1;
  jet_entry_clear(entry);
  damaged(stream, document, sequence, error);
  return -1;
}

int
jet_stream_last(JetStream *stream, const DocName *document, JetEntry *entry, gint64 deadline, GError **error)
{
  for (;;) {
    int found = ask_last(stream, document, entry, deadline, error);
    if (found >= 0)
      jet_helped(stream);
    if (found >= -1)
      return found;
    if (!jet_may_go_on(stream, deadline, "nobody leads", error))
      return -1;
  }
}
