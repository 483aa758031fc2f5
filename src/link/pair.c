#include "link/pair.h"

#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "identity/address.h"
#include "wire/pair.pb-c.h"

#define CHANNEL   1
#define ANSWER_MS 10000
#define PAIR_OPTIONS                                                                                         \
  (LinkOptions)                                                                                              \
  {                                                                                                          \
    .resume_ms = 0, .connect_ms = 5000, .keepalive_ms = 5000, .multipath = FALSE                             \
  }

static const guint8 the_host[WIRE_ID_LENGTH];

static gboolean
send_message(Link *link, const ProtobufCMessage *message, GError **error)
{
  gsize length = protobuf_c_message_get_packed_size(message);
  g_autofree guint8 *bytes = g_malloc(length);
  protobuf_c_message_pack(message, bytes);
  struct iovec piece = {bytes, length};
  gboolean done = link_send(link, CHANNEL, &piece, 1, error);
  sodium_memzero(bytes, length);
  return done;
}

static LinkMessage *
wait_message(Link *link, int timeout_ms, GError **error)
{
  gint64 deadline = clock_now_ns() + timeout_ms * G_GINT64_CONSTANT(1000000);
  for (;;) {
    LinkMessage *message = link_take(link);
    if (message)
      return message;
    gint64 left = (deadline - clock_now_ns() + 999999) / 1000000;
    if (left <= 0) {
      doppel_error_set(error, DOPPEL_ERROR_GONE, "the other end did not answer within %d ms", timeout_ms);
      return NULL;
    }
    g_autoptr(GError) problem = NULL;
    if (!link_wait(link, left, error))
      return NULL;
    if (!link_work(link, &problem) && !(message = link_take(link))) {
      g_propagate_error(error, g_steal_pointer(&problem));
      return NULL;
    }
    if (message)
      return message;
  }
}

/* The device's end. */

static gboolean
check_status(const Doppel__Wire__PairReply *reply, GError **error)
{
  static const struct {
    DoppelErrorCode code;
    const char *text;
  } answers[] = {
      [DOPPEL__WIRE__PAIR_REPLY__STATUS__UNKNOWN] =
          {DOPPEL_ERROR_NOT_FOUND,
           "the host does not know this invitation or clone (any more): ask for a new "
           "invitation"},
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
  return doppel_error_set(error, answers[reply->status].code, "%s%s%.300s", answers[reply->status].text,
                          *printable ? ": " : "", printable);
}

/* The host's answer to a request, owned by the caller. */
static LinkMessage *
ask(const char *const *addresses, const IdentityKey *device, const IdentityPublic *host,
    const Doppel__Wire__PairRequest *request, GError **error)
{
  LinkOptions options = PAIR_OPTIONS;
  g_autoptr(Link) link = link_dial(addresses, device, host, the_host, &options, error);
  return link && send_message(link, &request->base, error) ? wait_message(link, ANSWER_MS, error) : NULL;
}

static Doppel__Wire__PairReply *
read_reply(const guint8 *data, gsize length, GError **error)
{
  Doppel__Wire__PairReply *reply = doppel__wire__pair_reply__unpack(NULL, length, data);
  if (!reply) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the host sent a damaged answer");
    return NULL;
  }
  if (check_status(reply, error))
    return reply;
  doppel__wire__pair_reply__free_unpacked(reply, NULL);
  return NULL;
}

static char **
copy_addresses(const Doppel__Wire__PairReply *reply)
{
  g_autoptr(GPtrArray) addresses = g_ptr_array_new_with_free_func(g_free);
  for (gsize i = 0; i < MIN(reply->n_addresses, INVITATION_ADDRESSES_MAX); i++)
    if (identity_address_check(reply->addresses[i], NULL))
      g_ptr_array_add(addresses, g_strdup(reply->addresses[i]));
  g_ptr_array_add(addresses, NULL);
  return (char **)g_ptr_array_steal(addresses, NULL);
}

static PairedClone *
read_clone(const Doppel__Wire__PairReply *reply, const Invitation *invitation, const char *name,
           GError **error)
{
  g_autoptr(PairedClone) clone = g_new0(PairedClone, 1);
  clone->addresses = copy_addresses(reply);
  if (reply->clone.len != PAIRED_ID_LENGTH || reply->clone_key.len != IDENTITY_PUBLIC_LENGTH ||
      !clone->addresses[0]) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                     "the host's answer lacks the clone's name, key or addresses");
    return NULL;
  }
  clone->name = g_strdup(name ? name : reply->clone_name);
  if (!paired_name_check(clone->name, error))
    return NULL;
  memcpy(clone->id, reply->clone.data, sizeof clone->id);
  memcpy(clone->key.bytes, reply->clone_key.data, sizeof clone->key.bytes);
  clone->host = invitation->host;
  clone->since = g_get_real_time() / G_USEC_PER_SEC;
  return g_steal_pointer(&clone);
}

PairedClone *
link_pair_read(const guint8 *data, gsize length, const Invitation *invitation, const char *name,
               GError **error)
{
  Doppel__Wire__PairReply *reply = read_reply(data, length, error);
  if (!reply)
    return NULL;
  PairedClone *clone = read_clone(reply, invitation, name, error);
  doppel__wire__pair_reply__free_unpacked(reply, NULL);
  return clone;
}

PairedClone *
link_pair(const Invitation *invitation, const IdentityKey *device, const char *name, GError **error)
{
  char host_name[LINK_PAIR_NAME_MAX + 1] = "";
  gethostname(host_name, sizeof host_name - 1);
  Doppel__Wire__PairInvitation use = DOPPEL__WIRE__PAIR_INVITATION__INIT;
  use.invitation = (ProtobufCBinaryData){sizeof invitation->id, (guint8 *)invitation->id};
  use.secret = (ProtobufCBinaryData){sizeof invitation->secret, (guint8 *)invitation->secret};
  use.device_name = host_name;
  Doppel__Wire__PairRequest request = DOPPEL__WIRE__PAIR_REQUEST__INIT;
  request.what_case = DOPPEL__WIRE__PAIR_REQUEST__WHAT_USE;
  request.use = &use;

  g_autoptr(LinkMessage) answer =
      ask((const char *const *)invitation->addresses, device, &invitation->host, &request, error);
  return answer ? link_pair_read(answer->data, answer->length, invitation, name, error) : NULL;
}

gboolean
link_unpair(const PairedClone *clone, const IdentityKey *device, GError **error)
{
  Doppel__Wire__PairRemoval removal = DOPPEL__WIRE__PAIR_REMOVAL__INIT;
  removal.clone = (ProtobufCBinaryData){sizeof clone->id, (guint8 *)clone->id};
  Doppel__Wire__PairRequest request = DOPPEL__WIRE__PAIR_REQUEST__INIT;
  request.what_case = DOPPEL__WIRE__PAIR_REQUEST__WHAT_REMOVE;
  request.remove = &removal;
  g_autoptr(LinkMessage) answer =
      ask((const char *const *)clone->addresses, device, &clone->host, &request, error);
  Doppel__Wire__PairReply *reply = answer ? read_reply(answer->data, answer->length, error) : NULL;
  if (!reply)
    return FALSE;
  doppel__wire__pair_reply__free_unpacked(reply, NULL);
  return TRUE;
}

/* The clone host's end. */

static gboolean
well_formed(const Doppel__Wire__PairRequest *request)
{
  switch (request->what_case) {
  case DOPPEL__WIRE__PAIR_REQUEST__WHAT_USE:
    return request->use->invitation.len == INVITATION_ID_LENGTH &&
           request->use->secret.len == INVITATION_SECRET_LENGTH &&
           strlen(request->use->device_name) <= LINK_PAIR_NAME_MAX &&
           g_utf8_validate(request->use->device_name, -1, NULL);
  case DOPPEL__WIRE__PAIR_REQUEST__WHAT_REMOVE:
    return request->remove->clone.len == PAIRED_ID_LENGTH;
  default:
    return FALSE;
  }
}

static LinkPairResult
carry_out(const Doppel__Wire__PairRequest *request, const IdentityPublic *device, const LinkPairHost *calls,
          gpointer host, LinkPairClone *clone, GError **error)
{
  if (request->what_case == DOPPEL__WIRE__PAIR_REQUEST__WHAT_USE)
    return calls->use(host, request->use->invitation.data, request->use->secret.data, device,
                      request->use->device_name, clone, error);
  return calls->remove(host, request->remove->clone.data, device, error);
}

static gboolean
answer(Link *link, const Doppel__Wire__PairRequest *request, const LinkPairHost *calls, gpointer host,
       GError **error)
{
  Doppel__Wire__PairReply reply = DOPPEL__WIRE__PAIR_REPLY__INIT;
  LinkPairClone clone = {0};
  g_autoptr(GError) problem = NULL;
  if (!request || !well_formed(request))
    reply.status = DOPPEL__WIRE__PAIR_REPLY__STATUS__MALFORMED;
  else
    reply.status =
        (Doppel__Wire__PairReply__Status)carry_out(request, link_peer(link), calls, host, &clone, &problem);
  if (problem)
    reply.message = problem->message;
  if (reply.status == DOPPEL__WIRE__PAIR_REPLY__STATUS__OK && clone.addresses) {
    reply.clone = (ProtobufCBinaryData){sizeof clone.id, clone.id};
    reply.clone_key = (ProtobufCBinaryData){sizeof clone.key.bytes, clone.key.bytes};
    reply.clone_name = clone.name;
    reply.n_addresses = g_strv_length(clone.addresses);
    reply.addresses = clone.addresses;
  }
  gboolean done = send_message(link, &reply.base, error) && link_flush(link, ANSWER_MS, error);
  g_strfreev(clone.addresses);
  return done;
}

gboolean
link_pair_serve(Link *link, const LinkPairHost *calls, gpointer host, int timeout_ms, GError **error)
{
  g_autoptr(LinkMessage) message = wait_message(link, timeout_ms, error);
  if (!message)
    return FALSE;
  Doppel__Wire__PairRequest *request =
      doppel__wire__pair_request__unpack(NULL, message->length, message->data);
  gboolean done = answer(link, request, calls, host, error);
  if (request)
    doppel__wire__pair_request__free_unpacked(request, NULL);
  return done;
}
