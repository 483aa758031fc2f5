#include "c2c/node_bind.h"

#include <string.h>

#include "base/error.h"
#include "identity/address.h"
#include "wire/c2c.pb-c.h"
#include "wire/message.h"

typedef Doppel__Wire__NodeBind WireBind;
typedef Doppel__Wire__NodeBound WireBound;
typedef Doppel__Wire__NodeDirectory WireDirectory;

void
node_bind_free(NodeBind *bind)
{
  if (!bind)
    return;
  g_clear_pointer(&bind->record, record_unref);
  g_clear_pointer(&bind->places, g_ptr_array_unref);
  g_free(bind);
}

void
node_bound_free(NodeBound *bound)
{
  if (!bound)
    return;
  g_clear_pointer(&bound->record, record_unref);
  g_free(bound->message);
  g_free(bound);
}

static ProtobufCBinaryData
data_of(GBytes *bytes)
{
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  return (ProtobufCBinaryData){length, (guint8 *)data};
}

GBytes *
node_bind_encode(const Record *record, const GPtrArray *places)
{
  g_autofree WireDirectory *directories = g_new(WireDirectory, places->len);
  g_autofree WireDirectory **list = g_new(WireDirectory *, places->len);
  g_autofree char **addresses = g_new(char *, places->len);
  for (guint i = 0; i < places->len; i++) {
    const DirectoryPlace *place = places->pdata[i];
    directories[i] = (WireDirectory)DOPPEL__WIRE__NODE_DIRECTORY__INIT;
    directories[i].name = place->name ? place->name : directories[i].name;
    addresses[i] = place->address;
    directories[i].n_addresses = 1;
    directories[i].addresses = &addresses[i];
    directories[i].key = (ProtobufCBinaryData){sizeof place->key.bytes, (guint8 *)place->key.bytes};
    list[i] = &directories[i];
  }
  WireBind bind = DOPPEL__WIRE__NODE_BIND__INIT;
  bind.record = data_of(record->bytes);
  bind.n_directories = places->len;
  bind.directories = list;
  return wire_pack(&bind.base);
}

/* Goes through the text that a file of directories has, and what checks that. */
static DirectoryPlace *
read_place(const WireDirectory *directory, GError **error)
{
  g_autoptr(DirectoryPlace) place = NULL;
  if (directory->n_addresses == 1 && directory->key.len == IDENTITY_PUBLIC_LENGTH &&
      identity_address_check(directory->addresses[0], NULL)) {
    IdentityPublic key;
    memcpy(key.bytes, directory->key.data, sizeof key.bytes);
    g_autofree char *fingerprint = identity_public_to_text(&key);
    g_autofree char *text = g_strconcat(directory->name, *directory->name ? "=" : "", directory->addresses[0],
                                        "=", fingerprint, NULL);
    place = directory_place_parse(text, NULL);
  }
  if (!place)
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a directory in a binding is none");
  return g_steal_pointer(&place);
}

static gboolean
read_bind(const WireBind *wire, NodeBind *bind, GError **error)
{
  if (wire->n_directories < 1 || wire->n_directories > NODE_BIND_PLACES_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a binding names no directory, or too many");
  bind->record = record_decode_unplaced(wire->record.data, wire->record.len, NULL, error);
  gboolean home = FALSE;
  for (gsize i = 0; bind->record && i < wire->n_directories; i++) {
    DirectoryPlace *place = read_place(wire->directories[i], error);
    if (!place)
      return FALSE;
    g_ptr_array_add(bind->places, place);
    home = home || identity_public_equal(&place->key, &bind->record->directory);
  }
  return bind->record && (home || doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                                                   "a binding does not say where its directory is"));
}

NodeBind *
node_bind_decode(const void *data, gsize length, GError **error)
{
  WireBind *wire = doppel__wire__node_bind__unpack(NULL, length, data);
  if (!wire) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a damaged binding");
    return NULL;
  }
  g_autoptr(NodeBind) bind = g_new0(NodeBind, 1);
  bind->places = g_ptr_array_new_with_free_func((GDestroyNotify)directory_place_free);
  gboolean good = read_bind(wire, bind, error);
  doppel__wire__node_bind__free_unpacked(wire, NULL);
  return good ? g_steal_pointer(&bind) : NULL;
}

GBytes *
node_bound_encode(const NodeBound *bound)
{
  WireBound wire = DOPPEL__WIRE__NODE_BOUND__INIT;
  wire.status = bound->status;
  if (bound->message)
    wire.message = bound->message;
  if (bound->record)
    wire.record = data_of(bound->record->bytes);
  wire.number = bound->number;
  return wire_pack(&wire.base);
}

/* The same user, keys and binding: the rest is the clone's to say. */
static gboolean
is_told(const Record *record, const Record *told)
{
  g_autoptr(RecordParts) parts = record_parts(record), expected = record_parts(told);
  gboolean same = g_bytes_equal(parts->root, expected->root) &&
                  g_bytes_equal(parts->binding, expected->binding) &&
                  parts->successions->len == expected->successions->len;
  for (guint i = 0; same && i < parts->successions->len; i++)
    same = g_bytes_equal(parts->successions->pdata[i], expected->successions->pdata[i]);
  return same;
}

static gboolean
read_bound(const WireBound *wire, const Record *told, NodeBound *bound, GError **error)
{
  if (wire->status > DIRECTORY_STATUS(UNKNOWN))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone's answer makes no sense");
  bound->status = wire->status;
  g_autofree char *words = g_utf8_make_valid(wire->message, strnlen(wire->message, DIRECTORY_MESSAGE_MAX));
  bound->message = *words ? g_strescape(words, "\"\\") : NULL;
  bound->number = wire->number;
  if (bound->status != DIRECTORY_STATUS(OK))
    return TRUE;
  bound->record = record_decode(wire->record.data, wire->record.len, &told->origin, error);
  return bound->record &&
         (is_told(bound->record, told) ||
          doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone has registered another record"));
}

NodeBound *
node_bound_decode(const void *data, gsize length, const Record *told, GError **error)
{
  WireBound *wire = doppel__wire__node_bound__unpack(NULL, length, data);
  if (!wire) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone sent a damaged answer");
    return NULL;
  }
  g_autoptr(NodeBound) bound = g_new0(NodeBound, 1);
  gboolean good = read_bound(wire, told, bound, error);
  doppel__wire__node_bound__free_unpacked(wire, NULL);
  return good ? g_steal_pointer(&bound) : NULL;
}
