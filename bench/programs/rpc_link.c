#include "programs/rpc_link.h"

typedef struct {
  IdentityKey *caller, *server;
} Keys;

static Keys
keys_load(const char *folder)
{
  GError *error = NULL;
  Keys keys = {0};
  g_autofree char *caller = g_build_filename(folder, "caller", NULL),
                  *server = g_build_filename(folder, "server", NULL);
  if (!(keys.caller = identity_key_load_or_create(caller, &error)) ||
      !(keys.server = identity_key_load_or_create(server, &error)))
    g_error("%s", error->message);
  return keys;
}

Link *
rpc_dial(const char *address, const char *keys)
{
  GError *error = NULL;
  Keys both = keys_load(keys);
  const guint8 clone[16] = {1};
  Link *link = link_dial((const char *[]){address, NULL}, both.caller, identity_key_public(both.server),
                         clone, NULL, &error);
  if (!link)
    g_error("%s", error->message);
  return link;
}

Link *
rpc_accept(int fd, const char *keys)
{
  GError *error = NULL;
  Keys both = keys_load(keys);
  LinkPreamble preamble;
  Link *link = link_preamble_read(fd, 5000, &preamble, &error)
                   ? link_accept(fd, &preamble, both.server, identity_key_public(both.caller), NULL, &error)
                   : NULL;
  if (!link)
    g_error("%s", error->message);
  return link;
}

void
rpc_send(Link *link, const ProtobufCMessage *message)
{
  GError *error = NULL;
  gsize length = protobuf_c_message_get_packed_size(message);
  g_autofree guint8 *packed = g_malloc(length);
  protobuf_c_message_pack(message, packed);
  if (!link_send(link, RPC_CHANNEL, &(struct iovec){packed, length}, 1, &error))
    g_error("link_send: %s", error->message);
}

LinkMessage *
rpc_receive(Link *link)
{
  LinkMessage *message;
  while (!(message = link_take(link)))
    if (!link_wait(link, -1, NULL) || !link_work(link, NULL))
      return link_take(link);
  return message;
}
