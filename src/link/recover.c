#include "link/recover.h"

#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "link/pair.h"
#include "link/pair_message.h"

#define NOT_KNOWN_HERE                                                                                       \
  "no clone of that host has this recovery phrase: it is another host's, or a newer phrase was made since, " \
  "or it was voided"

gboolean
link_set_recovery(const PairedClone *clone, const IdentityKey *device, const IdentityRecovery *recovery,
                  GError **error)
{
  guint8 seal[IDENTITY_SEAL_LENGTH];
  IdentitySealed sealed = {.host = clone->host, .clone = clone->key};
  memcpy(sealed.id, clone->id, sizeof sealed.id);
  identity_recovery_seal(recovery, &sealed, seal);
  const IdentityPublic *key = identity_recovery_public(recovery);
  Doppel__Wire__PairRemember remember = DOPPEL__WIRE__PAIR_REMEMBER__INIT;
  remember.clone = (ProtobufCBinaryData){sizeof clone->id, (guint8 *)clone->id};
  remember.key = (ProtobufCBinaryData){sizeof key->bytes, (guint8 *)key->bytes};
  remember.seal = (ProtobufCBinaryData){sizeof seal, seal};
  Doppel__Wire__PairRequest request = DOPPEL__WIRE__PAIR_REQUEST__INIT;
  request.what_case = DOPPEL__WIRE__PAIR_REQUEST__WHAT_REMEMBER;
  request.remember = &remember;
  LinkOptions options = PAIR_OPTIONS;
  g_autoptr(Link) link =
      link_dial((const char *const *)clone->addresses, device, &clone->host, pair_host_id, &options, error);
  Doppel__Wire__PairReply *reply = link ? pair_ask(link, &request, PAIR_NOT_OURS, error) : NULL;
  pair_reply_free(reply);
  return reply != NULL;
}

/* Who answers at the address may be anybody: only the right host can have a seal of the key that it has
 * just proved to have. */
static gboolean
check_answer(const Doppel__Wire__PairReply *reply, const PairedClone *clone, const IdentityRecovery *recovery,
             GError **error)
{
  IdentitySealed sealed = {.host = clone->host, .clone = clone->key};
  memcpy(sealed.id, clone->id, sizeof sealed.id);
  if (reply->challenge.len != IDENTITY_CHALLENGE_LENGTH)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the host's answer lacks a challenge");
  if (reply->seal.len == IDENTITY_SEAL_LENGTH &&
      identity_recovery_check_seal(recovery, &sealed, reply->seal.data))
    return TRUE;
  return doppel_error_set(
      error, DOPPEL_ERROR_DENIED,
      "who answers there is not the host that this recovery phrase was made for, and says "
      "that it is: nothing was told to it; check the address, and how it was found");
}

PairedClone *
link_recover_read(const guint8 *data, gsize length, const IdentityRecovery *recovery,
                  const IdentityPublic *host, const char *const *addresses, const char *name,
                  guint8 challenge[IDENTITY_CHALLENGE_LENGTH], GError **error)
{
  Doppel__Wire__PairReply *reply = pair_read_reply(data, length, NOT_KNOWN_HERE, error);
  g_autoptr(PairedClone) clone = reply ? pair_read_clone(reply, host, addresses, name, error) : NULL;
  gboolean good = clone && check_answer(reply, clone, recovery, error);
  if (good)
    memcpy(challenge, reply->challenge.data, IDENTITY_CHALLENGE_LENGTH);
  pair_reply_free(reply);
  return good ? g_steal_pointer(&clone) : NULL;
}

static PairedClone *
find(Link *link, const IdentityRecovery *recovery, const char *const *addresses, const char *name,
     guint8 challenge[IDENTITY_CHALLENGE_LENGTH], GError **error)
{
  const IdentityPublic *key = identity_recovery_public(recovery);
  Doppel__Wire__PairFind find = DOPPEL__WIRE__PAIR_FIND__INIT;
  find.key = (ProtobufCBinaryData){sizeof key->bytes, (guint8 *)key->bytes};
  Doppel__Wire__PairRequest request = DOPPEL__WIRE__PAIR_REQUEST__INIT;
  request.what_case = DOPPEL__WIRE__PAIR_REQUEST__WHAT_FIND;
  request.find = &find;
  if (!pair_send(link, &request.base, error))
    return NULL;
  g_autoptr(LinkMessage) answer = link_await(link, PAIR_ANSWER_MS, error);
  return answer ? link_recover_read(answer->data, answer->length, recovery, link_peer(link), addresses, name,
                                    challenge, error)
                : NULL;
}

static gboolean
prove(Link *link, const IdentityRecovery *recovery, const IdentityProof *proof, GError **error)
{
  char host_name[LINK_PAIR_NAME_MAX + 1] = "";
  guint8 signature[IDENTITY_SIGNATURE_LENGTH];
  gethostname(host_name, sizeof host_name - 1);
  identity_recovery_prove(recovery, proof, signature);
  Doppel__Wire__PairRecover recover = DOPPEL__WIRE__PAIR_RECOVER__INIT;
  recover.signature = (ProtobufCBinaryData){sizeof signature, signature};
  recover.beside = proof->beside;
  recover.device_name = host_name;
  Doppel__Wire__PairRequest request = DOPPEL__WIRE__PAIR_REQUEST__INIT;
  request.what_case = DOPPEL__WIRE__PAIR_REQUEST__WHAT_RECOVER;
  request.recover = &recover;
  Doppel__Wire__PairReply *reply = pair_ask(link, &request, NOT_KNOWN_HERE, error);
  pair_reply_free(reply);
  return reply != NULL;
}

PairedClone *
link_recover(const char *const *addresses, const IdentityKey *device, const IdentityRecovery *recovery,
             const char *name, gboolean beside, GError **error)
{
  LinkOptions options = PAIR_OPTIONS;
  IdentityProof proof = {.device = *identity_key_public(device), .beside = beside};
  g_autoptr(Link) link = link_dial(addresses, device, NULL, pair_host_id, &options, error);
  g_autoptr(PairedClone) clone = link ? find(link, recovery, addresses, name, proof.challenge, error) : NULL;
  if (!clone)
    return NULL;
  proof.host = clone->host;
  memcpy(proof.id, clone->id, sizeof proof.id);
  return prove(link, recovery, &proof, error) ? g_steal_pointer(&clone) : NULL;
}
