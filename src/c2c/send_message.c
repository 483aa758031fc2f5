#include "c2c/send_message.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/line.h"
#include "c2c/service_message.h"
#include "identity/record.h"

/* For a name that "directory/name" and "key:..." stand in, too. */
#define USER_MAX 256

void
send_message_free(SendMessage *message)
{
  if (message)
    doppel__send__message__free_unpacked(message, NULL);
}

static gboolean
is_text(const char *text, gsize most)
{
  gsize length = strlen(text);
  return length <= most && g_utf8_validate(text, length, NULL);
}

static gboolean
is_offer(const Doppel__Send__Offer *offer)
{
  /* A name is cleaned by who keeps it, whatever is in it. */
  return offer->item.len == SEND_ITEM && offer->hash.len == SEND_HASH && offer->size < SEND_SIZE_MAX &&
         is_text(offer->name, 4096) && offer->mode <= 07777;
}

static gboolean
is_receipt(const Doppel__Send__Receipt *receipt)
{
  return receipt->statement.len > 0 && receipt->statement.len <= 1024 &&
         receipt->signature.len == IDENTITY_SIGNATURE_LENGTH && receipt->key.len == IDENTITY_PUBLIC_LENGTH;
}

static gboolean
is_row(const Doppel__Send__Row *row)
{
  return row->id > 0 && row->id <= G_MAXINT64 && line_is_plain(row->user, 0, USER_MAX) &&
         line_is_plain(row->name, 1, SEND_NAME_MAX) && !strchr(row->name, '/') && row->size < SEND_SIZE_MAX &&
         row->hash.len == SEND_HASH && row->done <= row->size &&
         line_is_plain(row->words, 0, SEND_WORDS_MAX) && row->mode <= 07777 &&
         (!row->receipt || is_receipt(row->receipt));
}

static gboolean
is_good(gconstpointer unpacked)
{
  const SendMessage *message = unpacked;
  switch (message->what_case) {
  case DOPPEL__SEND__MESSAGE__WHAT_OFFER:
    return is_offer(message->offer);
  case DOPPEL__SEND__MESSAGE__WHAT_POST:
    return message->post->offer && is_offer(message->post->offer) &&
           line_is_plain(message->post->user, 1, USER_MAX);
  case DOPPEL__SEND__MESSAGE__WHAT_WANTED:
    return message->wanted->offset < SEND_SIZE_MAX;
  case DOPPEL__SEND__MESSAGE__WHAT_CHUNK:
    return message->chunk->data.len > 0 && message->chunk->data.len <= SERVICE_CHUNK_MAX;
  case DOPPEL__SEND__MESSAGE__WHAT_REFUSED:
    return message->refused->why != DOPPEL__SEND__WHY__NONE &&
           is_text(message->refused->words, SEND_WORDS_MAX);
  case DOPPEL__SEND__MESSAGE__WHAT_RECEIPT:
    return is_receipt(message->receipt);
  case DOPPEL__SEND__MESSAGE__WHAT_KEPT:
    return message->kept->id > 0 && message->kept->id <= G_MAXINT64;
  case DOPPEL__SEND__MESSAGE__WHAT_ROW:
    return is_row(message->row);
  case DOPPEL__SEND__MESSAGE__WHAT_FOUND:
    return is_row(message->found);
  case DOPPEL__SEND__MESSAGE__WHAT_GET:
    return message->get->offset < SEND_SIZE_MAX && message->get->id <= G_MAXINT64;
  case DOPPEL__SEND__MESSAGE__WHAT_WATCH:
    return message->watch->id <= G_MAXINT64;
  case DOPPEL__SEND__MESSAGE__WHAT_CANCEL:
    return message->cancel->id <= G_MAXINT64;
  case DOPPEL__SEND__MESSAGE__WHAT_REMOVE:
    return message->remove->id <= G_MAXINT64;
  case DOPPEL__SEND__MESSAGE__WHAT_LIST:
  case DOPPEL__SEND__MESSAGE__WHAT_END:
    return TRUE;
  default:
    return FALSE;
  }
}

static const ServiceShape shape = {&doppel__send__message__descriptor, is_good,
                                   "a message about a file that is sent"};

SendMessage *
send_message_unpack(const void *data, gsize length, GError **error)
{
  return service_message_unpack(&shape, data, length, error);
}

SendMessage *
send_message_receive(int fd, GError **error)
{
  return service_message_receive(fd, &shape, error);
}

gboolean
send_message_put(int fd, Doppel__Send__Message__WhatCase which, void *message, GError **error)
{
  SendMessage whole = DOPPEL__SEND__MESSAGE__INIT;
  whole.what_case = which;
  whole.offer = message;
  return service_message_send(fd, &whole.base, error);
}

gboolean
send_message_refuse(int fd, SendWhy why, const char *words, GError **error)
{
  Doppel__Send__Refused refused = DOPPEL__SEND__REFUSED__INIT;
  g_autofree char *line = line_of(words, SEND_WORDS_MAX);
  refused.why = why;
  refused.words = line;
  return send_message_put(fd, DOPPEL__SEND__MESSAGE__WHAT_REFUSED, &refused, error);
}

static SendWhy
why_of(const GError *error)
{
  if (g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND))
    return DOPPEL__SEND__WHY__UNKNOWN;
  return g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE) ? DOPPEL__SEND__WHY__MALFORMED
                                                                    : DOPPEL__SEND__WHY__LATER;
}

gboolean
send_message_fail(int fd, const GError *problem, GError **error)
{
  return send_message_refuse(fd, why_of(problem), problem->message, error);
}

int
send_message_unable(int fd, const char *service, const char *words, const GError *why)
{
  /* Who closes with a question unread takes the answer from under the asker's eyes. */
  g_autoptr(SendMessage) question = send_message_receive(fd, NULL);
  if (question)
    send_message_refuse(fd, DOPPEL__SEND__WHY__LATER, words, NULL);
  return service_message_ended(service, why);
}

gboolean
send_message_end(int fd, GError **error)
{
  Doppel__Send__End end = DOPPEL__SEND__END__INIT;
  return send_message_put(fd, DOPPEL__SEND__MESSAGE__WHAT_END, &end, error);
}

static gboolean
read_at(int file, guint8 *data, gsize length, guint64 offset, GError **error)
{
  while (length > 0) {
    gssize got = pread(file, data, length, offset);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return doppel_error_errno(error, "cannot read what is to be sent");
    if (got == 0)
      return doppel_error_set(error, DOPPEL_ERROR_MISMATCH, "the file became shorter while it was sent");
    data += got;
    length -= got;
    offset += got;
  }
  return TRUE;
}

gboolean
send_message_content(int fd, int file, guint64 offset, guint64 size, SendProgress progress, gpointer data,
                     GError **error)
{
  g_autofree guint8 *buffer = g_malloc(SERVICE_CHUNK);
  while (offset < size) {
    Doppel__Send__Chunk chunk = DOPPEL__SEND__CHUNK__INIT;
    chunk.data.len = MIN(size - offset, SERVICE_CHUNK);
    chunk.data.data = buffer;
    if (!read_at(file, buffer, chunk.data.len, offset, error) ||
        !send_message_put(fd, DOPPEL__SEND__MESSAGE__WHAT_CHUNK, &chunk, error))
      return FALSE;
    offset += chunk.data.len;
    if (progress && !progress(offset, size, data))
      return doppel_error_set(error, DOPPEL_ERROR_ABORTED, "it was cancelled");
  }
  return TRUE;
}
