/* Pairing and recovery: the clone host's end. */
#include <sodium.h>
#include <string.h>

#include "base/error.h"
#include "link/pair.h"
#include "link/pair_message.h"

#define STATUS(name) DOPPEL__WIRE__PAIR_REPLY__STATUS__##name

typedef Doppel__Wire__PairRequest Request;

typedef struct {
  Link *link;
  const LinkPairHost *calls;
  gpointer host;
  int timeout_ms;
  gboolean found;      /* a recovery goes on: of `clone`, by who has `key` */
  LinkPairClone clone; /* of the last answer */
  IdentityPublic key;
  IdentityProof proof;
  GBytes *hosting; /* of the last answer */
} Serving;

static gboolean
is_name(const char *name)
{
  return strlen(name) <= LINK_PAIR_NAME_MAX && g_utf8_validate(name, -1, NULL);
}

static gboolean
well_formed(const Request *request)
{
  switch (request->what_case) {
  case DOPPEL__WIRE__PAIR_REQUEST__WHAT_USE:
    return request->use->invitation.len == INVITATION_ID_LENGTH &&
           request->use->secret.len == INVITATION_SECRET_LENGTH && is_name(request->use->device_name);
  case DOPPEL__WIRE__PAIR_REQUEST__WHAT_REMOVE:
    return request->remove->clone.len == PAIRED_ID_LENGTH;
  case DOPPEL__WIRE__PAIR_REQUEST__WHAT_REMEMBER:
    return request->remember->clone.len == PAIRED_ID_LENGTH &&
           request->remember->key.len == IDENTITY_PUBLIC_LENGTH &&
           request->remember->seal.len == IDENTITY_SEAL_LENGTH;
  case DOPPEL__WIRE__PAIR_REQUEST__WHAT_FIND:
    return request->find->key.len == IDENTITY_PUBLIC_LENGTH;
  case DOPPEL__WIRE__PAIR_REQUEST__WHAT_RECOVER:
    return request->recover->signature.len == IDENTITY_SIGNATURE_LENGTH &&
           is_name(request->recover->device_name);
  case DOPPEL__WIRE__PAIR_REQUEST__WHAT_HOST:
    return request->host->clone.len == PAIRED_ID_LENGTH;
  default:
    return FALSE;
  }
}

static LinkPairResult
remember(const Serving *serving, const Doppel__Wire__PairRemember *asked, GError **error)
{
  IdentityPublic key;
  memcpy(key.bytes, asked->key.data, sizeof key.bytes);
  return serving->calls->remember(serving->host, asked->clone.data, link_peer(serving->link), &key,
                                  asked->seal.data, error);
}

/* The challenge makes the proof good for this conversation only. */
static LinkPairResult
find(Serving *serving, const Doppel__Wire__PairFind *asked, GError **error)
{
  memcpy(serving->key.bytes, asked->key.data, sizeof serving->key.bytes);
  LinkPairResult result = serving->calls->find(serving->host, &serving->key, &serving->clone, error);
  serving->found = result == LINK_PAIR_OK;
  if (!serving->found)
    return result;
  IdentityProof *proof = &serving->proof;
  randombytes_buf(proof->challenge, sizeof proof->challenge);
  proof->host = serving->clone.host;
  if (link_peer(serving->link))
    proof->device = *link_peer(serving->link);
  memcpy(proof->id, serving->clone.id, sizeof proof->id);
  return result;
}

static LinkPairResult
recover(Serving *serving, const Doppel__Wire__PairRecover *asked, GError **error)
{
  IdentityProof *proof = &serving->proof;
  proof->beside = asked->beside;
  if (!serving->found || !identity_recovery_verify(&serving->key, proof, asked->signature.data))
    return LINK_PAIR_UNKNOWN;
  serving->found = FALSE;
  return serving->calls->recover(serving->host, proof->id, &serving->key, &proof->device, asked->device_name,
                                 asked->beside, error);
}

static LinkPairResult
carry_out(Serving *serving, const Request *request, GError **error)
{
  const IdentityPublic *device = link_peer(serving->link);
  switch (request->what_case) {
  case DOPPEL__WIRE__PAIR_REQUEST__WHAT_USE:
    return serving->calls->use(serving->host, request->use->invitation.data, request->use->secret.data,
                               device, request->use->device_name, &serving->clone, error);
  case DOPPEL__WIRE__PAIR_REQUEST__WHAT_REMOVE:
    return serving->calls->remove(serving->host, request->remove->clone.data, device, error);
  case DOPPEL__WIRE__PAIR_REQUEST__WHAT_REMEMBER:
    return remember(serving, request->remember, error);
  case DOPPEL__WIRE__PAIR_REQUEST__WHAT_FIND:
    return find(serving, request->find, error);
  case DOPPEL__WIRE__PAIR_REQUEST__WHAT_HOST:
    return serving->calls->hosting(serving->host, request->host->clone.data, device, &serving->hosting,
                                   error);
  default:
    return recover(serving, request->recover, error);
  }
}

static void
fill_in(Serving *serving, Doppel__Wire__PairReply *reply)
{
  LinkPairClone *clone = &serving->clone;
  reply->clone = (ProtobufCBinaryData){sizeof clone->id, clone->id};
  reply->clone_key = (ProtobufCBinaryData){sizeof clone->key.bytes, clone->key.bytes};
  reply->clone_name = clone->name;
  reply->n_addresses = g_strv_length(clone->addresses);
  reply->addresses = clone->addresses;
  if (!serving->found)
    return;
  reply->seal = (ProtobufCBinaryData){sizeof clone->seal, clone->seal};
  reply->challenge = (ProtobufCBinaryData){sizeof serving->proof.challenge, serving->proof.challenge};
}

static gboolean
answer(Serving *serving, const Request *request, GError **error)
{
  Doppel__Wire__PairReply reply = DOPPEL__WIRE__PAIR_REPLY__INIT;
  g_autoptr(GError) problem = NULL;
  if (!request || !well_formed(request))
    reply.status = STATUS(MALFORMED);
  else
    reply.status = (Doppel__Wire__PairReply__Status)carry_out(serving, request, &problem);
  if (problem)
    reply.message = problem->message;
  if (reply.status == STATUS(OK) && serving->clone.addresses)
    fill_in(serving, &reply);
  if (reply.status == STATUS(OK) && serving->hosting)
    reply.hosting = (ProtobufCBinaryData){g_bytes_get_size(serving->hosting),
                                          (guint8 *)g_bytes_get_data(serving->hosting, NULL)};
  gboolean done = pair_send(serving->link, &reply.base, error);
  g_clear_pointer(&serving->hosting, g_bytes_unref);
  g_clear_pointer(&serving->clone.addresses, g_strfreev);
  return done;
}

static gboolean
serve_one(Serving *serving, GError **error)
{
  g_autoptr(LinkMessage) message = link_await(serving->link, serving->timeout_ms, error);
  if (!message)
    return FALSE;
  Request *request = doppel__wire__pair_request__unpack(NULL, message->length, message->data);
  gboolean done = answer(serving, request, error);
  if (request)
    doppel__wire__pair_request__free_unpacked(request, NULL);
  return done;
}

gboolean
link_pair_serve(Link *link, const LinkPairHost *calls, gpointer host, int timeout_ms, GError **error)
{
  Serving serving = {.link = link, .calls = calls, .host = host, .timeout_ms = timeout_ms};
  /* A recovery takes two requests. */
  gboolean good = serve_one(&serving, error) && (!serving.found || serve_one(&serving, error));
  return good && link_flush(link, PAIR_ANSWER_MS, error);
}
