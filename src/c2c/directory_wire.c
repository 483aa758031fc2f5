#include "c2c/directory_wire.h"

#include <string.h>

#include "base/error.h"

void
directory_signed_clear(DirectorySigned *signed_)
{
  g_clear_pointer(&signed_->statement, g_bytes_unref);
}

void
directory_signed_copy(DirectorySigned *to, const DirectorySigned *from)
{
  *to = *from;
  if (to->statement)
    g_bytes_ref(to->statement);
}

GArray *
directory_updates_new(void)
{
  GArray *updates = g_array_new(FALSE, TRUE, sizeof(DirectorySigned));
  g_array_set_clear_func(updates, (GDestroyNotify)directory_signed_clear);
  return updates;
}

GBytes *
directory_wire_bytes(const ProtobufCBinaryData *data)
{
  return g_bytes_new(data->data, data->len);
}

gboolean
directory_wire_key(const ProtobufCBinaryData *data, IdentityPublic *key)
{
  return wire_take(data, key->bytes, sizeof key->bytes);
}

gboolean
directory_wire_hash(const ProtobufCBinaryData *data, guint8 hash[RECORD_HASH_LENGTH])
{
  return wire_take(data, hash, RECORD_HASH_LENGTH);
}

gboolean
directory_wire_take(const Doppel__Wire__DirectorySigned *wire, DirectorySigned *signed_)
{
  if (wire->statement.len == 0 || wire->statement.len > DIRECTORY_SIGNED_MAX ||
      wire->signature.len != sizeof signed_->signature)
    return FALSE;
  signed_->statement = directory_wire_bytes(&wire->statement);
  memcpy(signed_->signature, wire->signature.data, sizeof signed_->signature);
  return TRUE;
}

void
directory_wire_give(const DirectorySigned *signed_, Doppel__Wire__DirectorySigned *wire)
{
  doppel__wire__directory_signed__init(wire);
  wire->statement = wire_borrow_bytes(signed_->statement);
  wire->signature = wire_borrow(signed_->signature, sizeof signed_->signature);
}

GBytes *
directory_signed_pack(const DirectorySigned *signed_)
{
  Doppel__Wire__DirectorySigned wire;
  directory_wire_give(signed_, &wire);
  return wire_pack(&wire.base);
}

gboolean
directory_signed_unpack(const void *data, gsize length, DirectorySigned *signed_, GError **error)
{
  Doppel__Wire__DirectorySigned *wire = doppel__wire__directory_signed__unpack(NULL, length, data);
  gboolean good = wire && directory_wire_take(wire, signed_);
  if (wire)
    doppel__wire__directory_signed__free_unpacked(wire, NULL);
  return good || doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                                  "what should be a directory's signed statement is none");
}

Doppel__Wire__DirectorySigned **
directory_wire_give_all(const GArray *updates)
{
  guint count = updates ? updates->len : 0;
  Doppel__Wire__DirectorySigned **wire = g_new0(Doppel__Wire__DirectorySigned *, count + 1);
  Doppel__Wire__DirectorySigned *room = g_new0(Doppel__Wire__DirectorySigned, count + 1);
  for (guint i = 0; i < count; i++) {
    directory_wire_give(&g_array_index(updates, DirectorySigned, i), &room[i]);
    wire[i] = &room[i];
  }
  wire[count] = room; /* so that it is found again */
  return wire;
}

void
directory_wire_free_all(Doppel__Wire__DirectorySigned **wire, guint count)
{
  g_free(wire[count]);
  g_free(wire);
}

gboolean
directory_wire_take_all(Doppel__Wire__DirectorySigned *const *wire, gsize count, gsize most, GArray **updates)
{
  if (count > most)
    return FALSE;
  *updates = directory_updates_new();
  for (gsize i = 0; i < count; i++) {
    DirectorySigned one = {0};
    if (!directory_wire_take(wire[i], &one))
      return FALSE;
    g_array_append_val(*updates, one);
  }
  return TRUE;
}
