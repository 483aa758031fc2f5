/* Records: making them, and taking them apart to make the next one. */
#include <string.h>

#include "base/error.h"
#include "identity/record.h"
#include "identity/record_private.h"

#define VERSION 1

#define KEY_BYTES(key)                                                                                       \
  (ProtobufCBinaryData)                                                                                      \
  {                                                                                                          \
    sizeof(key)->bytes, (guint8 *)(key)->bytes                                                               \
  }
#define ID_BYTES(id)                                                                                         \
  (ProtobufCBinaryData)                                                                                      \
  {                                                                                                          \
    RECORD_ID_LENGTH, (guint8 *)(id)                                                                         \
  }

/* `counter`: who signs besides; NULL: nobody. */
static GBytes *
sign(const ProtobufCMessage *message, const char *purpose, const IdentityKey *signer,
     const IdentityKey *counter)
{
  g_autoptr(GBytes) statement = wire_pack(message);
  gsize length;
  const guint8 *data = g_bytes_get_data(statement, &length);
  guint8 signature[IDENTITY_SIGNATURE_LENGTH], accepted[IDENTITY_SIGNATURE_LENGTH];
  statement_sign(signer, purpose, data, length, signature);
  Doppel__Wire__Signed part = DOPPEL__WIRE__SIGNED__INIT;
  part.statement = (ProtobufCBinaryData){length, (guint8 *)data};
  part.signature = (ProtobufCBinaryData){sizeof signature, signature};
  if (counter) {
    statement_sign(counter, STATEMENT_SUCCESSOR, data, length, accepted);
    part.counter = (ProtobufCBinaryData){sizeof accepted, accepted};
  }
  return wire_pack(&part.base);
}

GBytes *
record_sign_root(const IdentityKey *key, const IdentityPublic *recovery)
{
  const IdentityPublic *public = identity_key_public(key);
  Doppel__Wire__UserRoot root = DOPPEL__WIRE__USER_ROOT__INIT;
  root.version = VERSION;
  root.key = KEY_BYTES(public);
  root.recovery = KEY_BYTES(recovery);
  return sign(&root.base, STATEMENT_USER_ROOT, key, NULL);
}

GBytes *
record_sign_succession(const IdentityPublic *origin, guint number, const IdentityKey *signer,
                       gboolean by_recovery, const IdentityKey *successor, const IdentityPublic *recovery,
                       gint64 time)
{
  const IdentityPublic *public = identity_key_public(successor);
  Doppel__Wire__Succession succession = DOPPEL__WIRE__SUCCESSION__INIT;
  succession.version = VERSION;
  succession.origin = KEY_BYTES(origin);
  succession.number = number;
  succession.key = KEY_BYTES(public);
  succession.recovery = KEY_BYTES(recovery);
  succession.time = time;
  succession.by_recovery = by_recovery;
  return sign(&succession.base, STATEMENT_SUCCESSION, signer, successor);
}

GBytes *
record_sign_binding(const IdentityKey *user, const RecordBinding *binding)
{
  Doppel__Wire__Binding wire = DOPPEL__WIRE__BINDING__INIT;
  wire.version = VERSION;
  wire.origin = KEY_BYTES(&binding->origin);
  wire.name = (char *)binding->name;
  wire.clone = ID_BYTES(binding->clone);
  wire.clone_key = KEY_BYTES(&binding->clone_key);
  wire.device = KEY_BYTES(&binding->device);
  wire.provider = KEY_BYTES(&binding->provider);
  wire.directory = KEY_BYTES(&binding->directory);
  wire.serial = binding->serial;
  wire.issued = binding->issued;
  wire.expires = binding->expires;
  wire.revoked = binding->revoked ? TRUE : FALSE;
  return sign(&wire.base, STATEMENT_BINDING, user, NULL);
}

GBytes *
record_sign_hosting(const IdentityKey *provider, const guint8 clone[RECORD_ID_LENGTH],
                    const IdentityPublic *clone_key, gint64 issued)
{
  const IdentityPublic *public = identity_key_public(provider);
  Doppel__Wire__Hosting hosting = DOPPEL__WIRE__HOSTING__INIT;
  hosting.version = VERSION;
  hosting.clone = ID_BYTES(clone);
  hosting.clone_key = KEY_BYTES(clone_key);
  hosting.provider = KEY_BYTES(public);
  hosting.issued = issued;
  return sign(&hosting.base, STATEMENT_HOSTING, provider, NULL);
}

GBytes *
record_sign_whereabouts(const IdentityKey *clone, const char *const *addresses, guint64 sequence,
                        gint64 issued, gint64 expires)
{
  const IdentityPublic *public = identity_key_public(clone);
  Doppel__Wire__Whereabouts whereabouts = DOPPEL__WIRE__WHEREABOUTS__INIT;
  whereabouts.version = VERSION;
  whereabouts.clone_key = KEY_BYTES(public);
  whereabouts.n_addresses = g_strv_length((char **)addresses);
  whereabouts.addresses = (char **)addresses;
  whereabouts.sequence = sequence;
  whereabouts.issued = issued;
  whereabouts.expires = expires;
  return sign(&whereabouts.base, STATEMENT_WHEREABOUTS, clone, NULL);
}

/* Parts come from this device, its host or a record that was decoded; a host's is foreign. The owner of the
 * messages is `opened`. */
static Doppel__Wire__Signed *
open_part(GBytes *part, GPtrArray *opened, GError **error)
{
  gsize length;
  const void *data = g_bytes_get_data(part, &length);
  ProtobufCMessage *message = length <= RECORD_MAX ? record_unpack(&doppel__wire__signed__descriptor, data,
                                                                   length, "signed part", error)
                                                   : NULL;
  if (message)
    g_ptr_array_add(opened, message);
  else if (length > RECORD_MAX)
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a part of a record is too long");
  return (Doppel__Wire__Signed *)message;
}

Record *
record_assemble(GBytes *root, GBytes *const *successions, guint count, GBytes *binding, GBytes *hosting,
                GBytes *whereabouts, GError **error)
{
  g_autoptr(GPtrArray) opened = g_ptr_array_new_with_free_func((GDestroyNotify)record_free_message);
  g_autoptr(GPtrArray) chain = g_ptr_array_new();
  Doppel__Wire__Record wire = DOPPEL__WIRE__RECORD__INIT;
  for (guint i = 0; i < count; i++) {
    Doppel__Wire__Signed *part = open_part(successions[i], opened, error);
    if (!part)
      return NULL;
    g_ptr_array_add(chain, part);
  }
  wire.n_successions = chain->len;
  wire.successions = (Doppel__Wire__Signed **)chain->pdata;
  wire.root = open_part(root, opened, error);
  wire.binding = wire.root ? open_part(binding, opened, error) : NULL;
  wire.hosting = wire.binding ? open_part(hosting, opened, error) : NULL;
  if (!wire.hosting || (whereabouts && !(wire.whereabouts = open_part(whereabouts, opened, error))))
    return NULL;
  g_autoptr(GBytes) bytes = wire_pack(&wire.base);
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  return whereabouts ? record_decode(data, length, NULL, error)
                     : record_decode_unplaced(data, length, NULL, error);
}

static void
take_keys(const ProtobufCBinaryData *of_key, const ProtobufCBinaryData *of_recovery, IdentityPublic *key,
          IdentityPublic *recovery)
{
  if (key)
    memcpy(key->bytes, of_key->data, sizeof key->bytes);
  if (recovery)
    memcpy(recovery->bytes, of_recovery->data, sizeof recovery->bytes);
}

/* A record's bytes were checked when it was made. */
void
record_keys_after(const Record *record, guint count, IdentityPublic *key, IdentityPublic *recovery)
{
  g_assert(count <= record->successions);
  gsize length;
  const void *data = g_bytes_get_data(record->bytes, &length);
  Doppel__Wire__Record *wire = doppel__wire__record__unpack(NULL, length, data);
  const ProtobufCBinaryData *statement =
      count > 0 ? &wire->successions[count - 1]->statement : &wire->root->statement;
  if (count > 0) {
    Doppel__Wire__Succession *succession =
        doppel__wire__succession__unpack(NULL, statement->len, statement->data);
    take_keys(&succession->key, &succession->recovery, key, recovery);
    doppel__wire__succession__free_unpacked(succession, NULL);
  } else {
    Doppel__Wire__UserRoot *root = doppel__wire__user_root__unpack(NULL, statement->len, statement->data);
    take_keys(&root->key, &root->recovery, key, recovery);
    doppel__wire__user_root__free_unpacked(root, NULL);
  }
  doppel__wire__record__free_unpacked(wire, NULL);
}

/* Likewise. */
RecordParts *
record_parts(const Record *record)
{
  gsize length;
  const void *data = g_bytes_get_data(record->bytes, &length);
  Doppel__Wire__Record *wire = doppel__wire__record__unpack(NULL, length, data);
  g_assert(wire);
  RecordParts *parts = g_new0(RecordParts, 1);
  parts->root = wire_pack(&wire->root->base);
  parts->binding = wire_pack(&wire->binding->base);
  parts->hosting = wire_pack(&wire->hosting->base);
  parts->whereabouts = wire->whereabouts ? wire_pack(&wire->whereabouts->base) : NULL;
  parts->successions = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  for (gsize i = 0; i < wire->n_successions; i++)
    g_ptr_array_add(parts->successions, wire_pack(&wire->successions[i]->base));
  doppel__wire__record__free_unpacked(wire, NULL);
  return parts;
}

void
record_parts_free(RecordParts *parts)
{
  if (!parts)
    return;
  g_clear_pointer(&parts->root, g_bytes_unref);
  g_clear_pointer(&parts->binding, g_bytes_unref);
  g_clear_pointer(&parts->hosting, g_bytes_unref);
  g_clear_pointer(&parts->whereabouts, g_bytes_unref);
  g_clear_pointer(&parts->successions, g_ptr_array_unref);
  g_free(parts);
}
