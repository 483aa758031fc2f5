#include "c2c/share_message.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/line.h"
#include "c2c/service_message.h"
#include "replica/path.h"

#define USER_MAX 256

void
share_message_free(ShareMessage *message)
{
  if (message)
    doppel__share__message__free_unpacked(message, NULL);
}

gboolean
share_name_is_good(const char *name)
{
  return name[0] && name[0] != '.' && !strchr(name, '/') && line_is_plain(name, 0, SHARE_NAME_MAX);
}

/* "share/path". */
static gboolean
is_path(const char *path)
{
  gsize length = strlen(path);
  return length > 0 && length < SHARE_PATH_MAX && g_utf8_validate(path, length, NULL) &&
         replica_path_valid(path, length);
}

static gboolean
is_place(const ProtobufCBinaryData *path)
{
  return path->len == 0 ||
         (path->len < SHARE_PATH_MAX && replica_path_valid((const char *)path->data, path->len));
}

static gboolean
are_patterns(char **patterns, gsize count)
{
  gboolean good = count <= SHARE_PATTERNS_MAX;
  for (gsize i = 0; good && i < count; i++)
    good = patterns[i][0] && line_is_plain(patterns[i], 0, SHARE_PATTERN_MAX);
  return good;
}

static gboolean
is_query(const Doppel__Share__Query *query)
{
  gsize length = strlen(query->words);
  gboolean good = length <= SHARE_WORDS_MAX && g_utf8_validate(query->words, length, NULL) &&
                  query->n_user <= SHARE_USERS_MAX && query->limit <= SHARE_LIMIT_MOST &&
                  query->wait_ms <= SHARE_WAIT_MOST;
  for (gsize i = 0; good && i < query->n_user; i++)
    good = query->user[i][0] && line_is_plain(query->user[i], 0, USER_MAX);
  return good;
}

static gboolean
is_good(gconstpointer unpacked)
{
  const ShareMessage *message = unpacked;
  switch (message->what_case) {
  case DOPPEL__SHARE__MESSAGE__WHAT_SHARE:
    return is_place(&message->share->path) &&
           (!message->share->name[0] || share_name_is_good(message->share->name)) &&
           are_patterns(message->share->exclude, message->share->n_exclude);
  case DOPPEL__SHARE__MESSAGE__WHAT_UNSHARE:
    return line_is_plain(message->unshare->name, 0, SHARE_PATH_MAX);
  case DOPPEL__SHARE__MESSAGE__WHAT_LIST:
  case DOPPEL__SHARE__MESSAGE__WHAT_END:
    return TRUE;
  case DOPPEL__SHARE__MESSAGE__WHAT_ROW:
    return share_name_is_good(message->row->name) && is_place(&message->row->path) &&
           are_patterns(message->row->exclude, message->row->n_exclude);
  case DOPPEL__SHARE__MESSAGE__WHAT_QUERY:
    return is_query(message->query);
  case DOPPEL__SHARE__MESSAGE__WHAT_HIT:
    return is_path(message->hit->path) && isfinite(message->hit->rank) &&
           message->hit->size < SHARE_SIZE_MAX &&
           line_is_plain(message->hit->snippet, 0, SHARE_SNIPPET_MAX) &&
           line_is_plain(message->hit->user, 0, USER_MAX);
  case DOPPEL__SHARE__MESSAGE__WHAT_PEER:
    return line_is_plain(message->peer->user, 0, USER_MAX) &&
           line_is_plain(message->peer->words, 0, SHARE_SNIPPET_MAX);
  case DOPPEL__SHARE__MESSAGE__WHAT_FAILED:
    return message->failed->why != DOPPEL__SHARE__WHY__NONE &&
           line_is_plain(message->failed->words, 0, SHARE_SNIPPET_MAX);
  case DOPPEL__SHARE__MESSAGE__WHAT_FETCH:
    return is_path(message->fetch->path) && message->fetch->size < SHARE_SIZE_MAX &&
           message->fetch->offset <= message->fetch->size;
  case DOPPEL__SHARE__MESSAGE__WHAT_FOUND:
    return message->found->size < SHARE_SIZE_MAX && message->found->offset <= message->found->size &&
           message->found->mode <= 07777;
  case DOPPEL__SHARE__MESSAGE__WHAT_CHUNK:
    return message->chunk->data.len > 0 && message->chunk->data.len <= SERVICE_CHUNK_MAX;
  case DOPPEL__SHARE__MESSAGE__WHAT_FINISHED:
    return message->finished->hash.len == 32;
  default:
    return FALSE;
  }
}

static const ServiceShape shape = {&doppel__share__message__descriptor, is_good,
                                   "a message about shared files"};

ShareMessage *
share_message_unpack(const void *data, gsize length, GError **error)
{
  return service_message_unpack(&shape, data, length, error);
}

ShareMessage *
share_message_receive(int fd, GError **error)
{
  return service_message_receive(fd, &shape, error);
}

gboolean
share_message_put(int fd, Doppel__Share__Message__WhatCase which, void *message, GError **error)
{
  ShareMessage whole = DOPPEL__SHARE__MESSAGE__INIT;
  whole.what_case = which;
  whole.share = message;
  return service_message_send(fd, &whole.base, error);
}

gboolean
share_message_end(int fd, GError **error)
{
  Doppel__Share__End end = DOPPEL__SHARE__END__INIT;
  return share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_END, &end, error);
}

static const struct {
  DoppelErrorCode code;
  Doppel__Share__Why why;
} reasons[] = {
    {DOPPEL_ERROR_USAGE, DOPPEL__SHARE__WHY__MISUSED},
    {DOPPEL_ERROR_NOT_FOUND, DOPPEL__SHARE__WHY__NOT_FOUND},
    {DOPPEL_ERROR_HOSTILE, DOPPEL__SHARE__WHY__MALFORMED},
    {DOPPEL_ERROR_GONE, DOPPEL__SHARE__WHY__LATER},
    {DOPPEL_ERROR_FAILED, DOPPEL__SHARE__WHY__BROKEN},
};

gboolean
share_message_fail(int fd, const GError *why, GError **error)
{
  Doppel__Share__Failed failed = DOPPEL__SHARE__FAILED__INIT;
  g_autofree char *words = line_of(why->message, SHARE_SNIPPET_MAX);
  failed.why = DOPPEL__SHARE__WHY__BROKEN;
  for (guint i = 0; i < G_N_ELEMENTS(reasons); i++)
    if (g_error_matches(why, DOPPEL_ERROR, reasons[i].code))
      failed.why = reasons[i].why;
  failed.words = words;
  return share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_FAILED, &failed, error);
}

int
share_message_unable(int fd, const char *service, const char *words, const GError *why)
{
  g_autoptr(GError) told = g_error_new_literal(DOPPEL_ERROR, DOPPEL_ERROR_FAILED, words);
  /* Who closes with a question unread takes the answer from under the asker's eyes. */
  g_autoptr(ShareMessage) question = share_message_receive(fd, NULL);
  if (question)
    share_message_fail(fd, told, NULL);
  return service_message_ended(service, why);
}

gboolean
share_message_failed(const Doppel__Share__Failed *failed, GError **error)
{
  DoppelErrorCode code = DOPPEL_ERROR_FAILED;
  for (guint i = 0; i < G_N_ELEMENTS(reasons); i++)
    if (failed->why == reasons[i].why)
      code = reasons[i].code;
  return doppel_error_set(error, code, "%s", failed->words[0] ? failed->words : "it failed");
}

int
share_message_serve(int fd, const char *service, ShareAnswer answer, void *data)
{
  g_autoptr(GError) error = NULL;
  while (!error) {
    g_autoptr(GError) problem = NULL;
    g_autoptr(ShareMessage) question = share_message_receive(fd, &error);
    if (question && !answer(fd, question, data, &problem))
      share_message_fail(fd, problem, &error);
  }
  return service_message_ended(service, error);
}
