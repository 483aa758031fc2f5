/* A binding as a node takes it, and its answer as a device does. */
#include "c2c/node_bind.h"
#include "identity/address.h"

static const Record *
some_record(void)
{
  static Record *record;
  if (record)
    return record;
  const guint8 user_seed[IDENTITY_SEED_LENGTH] = {1}, host_seed[IDENTITY_SEED_LENGTH] = {2};
  g_autoptr(IdentityKey) user = identity_key_from_seed(user_seed), host = identity_key_from_seed(host_seed);
  RecordBinding binding = {.origin = *identity_key_public(user),
                           .name = "alice",
                           .provider = *identity_key_public(host),
                           .serial = 1,
                           .expires = 2};
  g_autoptr(GBytes) root = record_sign_root(user, identity_key_public(host));
  g_autoptr(GBytes) bound = record_sign_binding(user, &binding);
  g_autoptr(GBytes) hosting = record_sign_hosting(host, binding.clone, &binding.clone_key, 0);
  record = record_assemble(root, NULL, 0, bound, hosting, NULL, NULL);
  return record;
}

static void
try_bind(const guint8 *data, gsize length)
{
  g_autoptr(NodeBind) bind = node_bind_decode(data, length, NULL);
  if (!bind)
    return;
  if (bind->places->len < 1 || bind->places->len > NODE_BIND_PLACES_MAX ||
      !record_name_check(bind->record->name, NULL))
    __builtin_trap();
  g_autoptr(GBytes) again = node_bind_encode(bind->record, bind->places);
  gsize size;
  const void *bytes = g_bytes_get_data(again, &size);
  g_autoptr(NodeBind) same = node_bind_decode(bytes, size, NULL);
  if (!same || same->places->len != bind->places->len)
    __builtin_trap();
}

/* The record in front of what the fuzzer says, so that the rest is looked at. */
static void
try_with_record(const guint8 *data, gsize length)
{
  gsize size;
  const guint8 *record = g_bytes_get_data(some_record()->bytes, &size);
  g_autoptr(GByteArray) message = g_byte_array_new();
  const guint8 head[] = {0x0a, 0x80 | (size & 0x7f), size >> 7};
  g_byte_array_append(message, head, sizeof head);
  g_byte_array_append(message, record, size);
  if (length > 0)
    g_byte_array_append(message, data, length);
  try_bind(message->data, message->len);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  try_bind(data, length);
  try_with_record(data, length);
  g_autoptr(NodeBound) bound = node_bound_decode(data, length, some_record(), NULL);
  /* Nobody who fuzzes can sign whereabouts. */
  if (bound && (bound->record || bound->status == DIRECTORY_STATUS(OK)))
    __builtin_trap();
  return 0;
}
