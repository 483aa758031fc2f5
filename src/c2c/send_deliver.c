#include "c2c/send_deliver.h"

#include <sys/stat.h>

#include "base/error.h"
#include "base/line.h"
#include "c2c/service_message.h"
#include "replica/hashes.h"

G_STATIC_ASSERT(SEND_HASH == REPLICA_HASH_SIZE);

void
send_delivery_clear(SendDelivery *delivery)
{
  g_clear_pointer(&delivery->answer, send_message_free);
}

gboolean
send_offer_from_file(int file, Doppel__Send__Offer *offer, guint8 hash[SEND_HASH], GError **error)
{
  struct stat status;
  if (fstat(file, &status) < 0)
    return doppel_error_errno(error, "cannot look at it");
  if (!S_ISREG(status.st_mode))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "it is no regular file: pack it with tar(1), say");
  if (status.st_size >= (gint64)SEND_SIZE_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "it is too large");
  if (!replica_hash_fd(file, hash))
    return doppel_error_errno(error, "cannot read it");
  offer->size = status.st_size;
  offer->hash = (ProtobufCBinaryData){SEND_HASH, hash};
  offer->mode = status.st_mode & 07777;
  offer->mtime_ns = status.st_mtim.tv_sec * G_GINT64_CONSTANT(1000000000) + status.st_mtim.tv_nsec;
  return TRUE;
}

static gboolean
refused(SendMessage *answer, SendDelivery *delivery, GError **error)
{
  g_autofree char *words = line_of(answer->refused->words, SEND_WORDS_MAX);
  delivery->why = answer->refused->why;
  return doppel_error_set(error, DOPPEL_ERROR_DENIED, "%s", *words ? words : "it was refused");
}

static gboolean
is_taken(const SendMessage *answer)
{
  return answer->what_case == DOPPEL__SEND__MESSAGE__WHAT_RECEIPT ||
         answer->what_case == DOPPEL__SEND__MESSAGE__WHAT_KEPT;
}

/* Who refuses in the middle says why before closing: that is more than that the stream broke. */
static gboolean
explain(int fd, SendDelivery *delivery, GError **error)
{
  g_autoptr(SendMessage) answer = send_message_receive(fd, NULL);
  if (answer && answer->what_case == DOPPEL__SEND__MESSAGE__WHAT_REFUSED) {
    g_clear_error(error);
    return refused(answer, delivery, error);
  }
  return FALSE;
}

gboolean
send_deliver(int fd, Doppel__Send__Message__WhatCase which, void *message, guint64 size, int file,
             SendProgress progress, gpointer data, SendDelivery *delivery, GError **error)
{
  g_autoptr(GError) problem = NULL;
  g_autoptr(SendMessage) answer = NULL;
  if (send_message_put(fd, which, message, error))
    answer = send_message_receive(fd, error);
  if (answer && answer->what_case == DOPPEL__SEND__MESSAGE__WHAT_WANTED && answer->wanted->offset <= size) {
    delivery->resumed = answer->wanted->offset;
    if (!send_message_content(fd, file, answer->wanted->offset, size, progress, data, &problem)) {
      gboolean stream = g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
      g_propagate_error(error, g_steal_pointer(&problem));
      return stream && explain(fd, delivery, error);
    }
    g_clear_pointer(&answer, send_message_free);
    answer = send_message_receive(fd, error);
  }
  if (!answer)
    return FALSE;
  if (answer->what_case == DOPPEL__SEND__MESSAGE__WHAT_REFUSED)
    return refused(answer, delivery, error);
  if (!is_taken(answer))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the other clone's answer is none");
  delivery->answer = g_steal_pointer(&answer);
  return TRUE;
}
