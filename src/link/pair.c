#include "link/pair.h"

#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "identity/address.h"
#include "identity/record.h"
#include "link/pair_message.h"

/* The host's answer to a request, owned by the caller. */
static LinkMessage *
ask(const char *const *addresses, const IdentityKey *device, const IdentityPublic *host,
    const Doppel__Wire__PairRequest *request, GError **error)
{
  LinkOptions options = PAIR_OPTIONS;
  g_autoptr(Link) link = link_dial(addresses, device, host, pair_host_id, &options, error);
  return link && pair_send(link, &request->base, error) ? link_await(link, PAIR_ANSWER_MS, error) : NULL;
}

/* Those that are known to lead there, and then those that the host names. */
static char **
copy_addresses(const Doppel__Wire__PairReply *reply, const char *const *known)
{
  g_autoptr(GPtrArray) addresses = g_ptr_array_new_with_free_func(g_free);
  for (; known && *known; known++)
    g_ptr_array_add(addresses, g_strdup(*known));
  for (gsize i = 0; i < MIN(reply->n_addresses, INVITATION_ADDRESSES_MAX); i++)
    if (identity_address_check(reply->addresses[i], NULL) &&
        !g_ptr_array_find_with_equal_func(addresses, reply->addresses[i], g_str_equal, NULL))
      g_ptr_array_add(addresses, g_strdup(reply->addresses[i]));
  g_ptr_array_add(addresses, NULL);
  return (char **)g_ptr_array_steal(addresses, NULL);
}

PairedClone *
pair_read_clone(const Doppel__Wire__PairReply *reply, const IdentityPublic *host, const char *const *known,
                const char *name, GError **error)
{
  g_autoptr(PairedClone) clone = g_new0(PairedClone, 1);
  clone->addresses = copy_addresses(reply, known);
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
  clone->host = *host;
  clone->since = g_get_real_time() / G_USEC_PER_SEC;
  return g_steal_pointer(&clone);
}

PairedClone *
link_pair_read(const guint8 *data, gsize length, const Invitation *invitation, const char *name,
               GError **error)
{
  Doppel__Wire__PairReply *reply = pair_read_reply(data, length, PAIR_UNKNOWN, error);
  if (!reply)
    return NULL;
  PairedClone *clone = pair_read_clone(reply, &invitation->host, NULL, name, error);
  pair_reply_free(reply);
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
  Doppel__Wire__PairReply *reply =
      answer ? pair_read_reply(answer->data, answer->length, PAIR_UNKNOWN, error) : NULL;
  pair_reply_free(reply);
  return reply != NULL;
}

GBytes *
link_pair_hosting(const PairedClone *clone, const IdentityKey *device, GError **error)
{
  Doppel__Wire__PairHost host = DOPPEL__WIRE__PAIR_HOST__INIT;
  host.clone = (ProtobufCBinaryData){sizeof clone->id, (guint8 *)clone->id};
  Doppel__Wire__PairRequest request = DOPPEL__WIRE__PAIR_REQUEST__INIT;
  request.what_case = DOPPEL__WIRE__PAIR_REQUEST__WHAT_HOST;
  request.host = &host;
  g_autoptr(LinkMessage) answer =
      ask((const char *const *)clone->addresses, device, &clone->host, &request, error);
  Doppel__Wire__PairReply *reply =
      answer ? pair_read_reply(answer->data, answer->length, PAIR_NOT_OURS, error) : NULL;
  if (!reply)
    return NULL;
  GBytes *hosting = NULL;
  if (record_check_hosting(reply->hosting.data, reply->hosting.len, clone->id, &clone->key, &clone->host,
                           error))
    hosting = g_bytes_new(reply->hosting.data, reply->hosting.len);
  pair_reply_free(reply);
  return hosting;
}
