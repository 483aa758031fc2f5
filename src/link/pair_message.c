#include "link/pair_message.h"

#include <sodium.h>

#include "base/error.h"

#define CHANNEL 1

const guint8 pair_host_id[WIRE_ID_LENGTH];

gboolean
pair_send(Link *link, const ProtobufCMessage *message, GError **error)
{
  gsize length = protobuf_c_message_get_packed_size(message);
  g_autofree guint8 *bytes = g_malloc(length);
  protobuf_c_message_pack(message, bytes);
  struct iovec piece = {bytes, length};
  gboolean done = link_send(link, CHANNEL, &piece, 1, error);
  sodium_memzero(bytes, length);
  return done;
}

static gboolean
check_status(const Doppel__Wire__PairReply *reply, const char *unknown, GError **error)
{
  static const struct {
    DoppelErrorCode code;
    const char *text;
  } answers[] = {
      [DOPPEL__WIRE__PAIR_REPLY__STATUS__UNKNOWN] = {DOPPEL_ERROR_NOT_FOUND, NULL},
      [DOPPEL__WIRE__PAIR_REPLY__STATUS__EXPIRED] =
          {DOPPEL_ERROR_DENIED, "the invitation has expired: ask for a new one and use it in time"},
      [DOPPEL__WIRE__PAIR_REPLY__STATUS__USED] =
          {DOPPEL_ERROR_DENIED,
           "the invitation has been used already, by another device: if that was none of yours, "
           "revoke its clone with \"doppeld revoke\"; ask for a new invitation"},
      [DOPPEL__WIRE__PAIR_REPLY__STATUS__WRONG] =
          {DOPPEL_ERROR_DENIED, "the secret is not the one of this invitation: copy it again"},
      [DOPPEL__WIRE__PAIR_REPLY__STATUS__LOCKED] =
          {DOPPEL_ERROR_DENIED,
           "somebody has tried too many wrong secrets with this invitation: ask for a new one"},
      [DOPPEL__WIRE__PAIR_REPLY__STATUS__FAILED] = {DOPPEL_ERROR_FAILED, "the host could not do it"},
      [DOPPEL__WIRE__PAIR_REPLY__STATUS__MALFORMED] =
          {DOPPEL_ERROR_UNSUPPORTED,
           "the host does not understand this device's request: install the same version "
           "on both"},
  };
  if (reply->status == DOPPEL__WIRE__PAIR_REPLY__STATUS__OK)
    return TRUE;
  if (reply->status < 0 || reply->status >= G_N_ELEMENTS(answers))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the host gave an answer that does not exist");
  g_autofree char *printable = g_strescape(reply->message, NULL);
  const char *text = answers[reply->status].text;
  return doppel_error_set(error, answers[reply->status].code, "%s%s%.300s", text ? text : unknown,
                          *printable ? ": " : "", printable);
}

void
pair_reply_free(Doppel__Wire__PairReply *reply)
{
  if (reply)
    doppel__wire__pair_reply__free_unpacked(reply, NULL);
}

Doppel__Wire__PairReply *
pair_read_reply(const guint8 *data, gsize length, const char *unknown, GError **error)
{
  Doppel__Wire__PairReply *reply = doppel__wire__pair_reply__unpack(NULL, length, data);
  if (!reply) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the host sent a damaged answer");
    return NULL;
  }
  if (check_status(reply, unknown, error))
    return reply;
  pair_reply_free(reply);
  return NULL;
}

Doppel__Wire__PairReply *
pair_ask(Link *link, const Doppel__Wire__PairRequest *request, const char *unknown, GError **error)
{
  if (!pair_send(link, &request->base, error))
    return NULL;
  g_autoptr(LinkMessage) answer = link_await(link, PAIR_ANSWER_MS, error);
  return answer ? pair_read_reply(answer->data, answer->length, unknown, error) : NULL;
}
