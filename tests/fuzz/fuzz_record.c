/* A user's record. The signatures hide what is behind them from a fuzzer, so that statements which make sense
 * are also changed as its bytes say, and signed by whom they are to be signed by. */
#include <string.h>

#include "identity/address.h"
#include "identity/record.h"
#include "identity/statement.h"
#include "input.h"
#include "wire/record.pb-c.h"

static void
check(const Record *record)
{
  if (!record_name_check(record->name, NULL) || record->serial == 0 || record->issued >= record->expires ||
      record->successions > RECORD_SUCCESSIONS_MAX || record->recoveries > record->successions ||
      g_strv_length(record->addresses) > RECORD_ADDRESSES_MAX || record_compare(record, record) != 0)
    __builtin_trap();
  for (char **address = record->addresses; *address; address++)
    if (!identity_address_check(*address, NULL))
      __builtin_trap();
  g_autoptr(RecordParts) parts = record_parts(record);
  g_autoptr(Record) same =
      record_assemble(parts->root, (GBytes *const *)parts->successions->pdata, parts->successions->len,
                      parts->binding, parts->hosting, parts->whereabouts, NULL);
  if (!same || !g_bytes_equal(same->bytes, record->bytes))
    __builtin_trap();
}

static void
try_bytes(const guint8 *data, gsize length)
{
  g_autoptr(Record) record = record_decode(data, length, NULL, NULL);
  g_autoptr(Record) unplaced = record_decode_unplaced(data, length, NULL, NULL);
  if (record && (!unplaced || (record->sequence == 0 && !record->revoked)))
    __builtin_trap();
  if (unplaced)
    check(unplaced);
}

enum { ORIGIN, KEY, RECOVERY, CLONE, PROVIDER, KEYS };

typedef struct {
  IdentityKey *keys[KEYS];
  GBytes *parts[5]; /* packed Signed: root, succession, binding, hosting, whereabouts */
} World;

static void
make_world(World *world)
{
  static const char *const addresses[] = {"192.0.2.1:1", "[2001:db8::1]:2", NULL};
  for (guint i = 0; i < KEYS; i++) {
    guint8 seed[IDENTITY_SEED_LENGTH] = {i + 1};
    world->keys[i] = identity_key_from_seed(seed);
  }
  const IdentityPublic *recovery = identity_key_public(world->keys[RECOVERY]);
  RecordBinding binding = {.origin = *identity_key_public(world->keys[ORIGIN]),
                           .name = "alice",
                           .clone_key = *identity_key_public(world->keys[CLONE]),
                           .provider = *identity_key_public(world->keys[PROVIDER]),
                           .serial = 3,
                           .issued = 5,
                           .expires = 9};
  world->parts[0] = record_sign_root(world->keys[ORIGIN], recovery);
  world->parts[1] =
      record_sign_succession(&binding.origin, 1, world->keys[ORIGIN], FALSE, world->keys[KEY], recovery, 7);
  world->parts[2] = record_sign_binding(world->keys[KEY], &binding);
  world->parts[3] =
      record_sign_hosting(world->keys[PROVIDER], binding.clone, &binding.clone_key, binding.issued);
  world->parts[4] = record_sign_whereabouts(world->keys[CLONE], addresses, 4, 5, 6);
}

/* The statement of a part with some bytes taken out of it, and others put in. */
static GByteArray *
change(const Doppel__Wire__Signed *part, Input *input)
{
  GByteArray *statement = g_byte_array_sized_new(1); /* never NULL, even when it is empty */
  g_byte_array_append(statement, part->statement.data, part->statement.len);
  for (guint left = input_below(input, 4); left > 0; left--) {
    guint at = input_number(input, 1) % (statement->len + 1);
    guint taken = input_below(input, 40), wanted = input_number(input, 1);
    gsize length;
    taken = MIN(taken, statement->len - at);
    const guint8 *more = input_bytes(input, wanted, &length);
    GByteArray *changed = g_byte_array_sized_new(1);
    g_byte_array_append(changed, statement->data, at);
    if (length > 0)
      g_byte_array_append(changed, more, length);
    g_byte_array_append(changed, statement->data + at + taken, statement->len - at - taken);
    g_byte_array_unref(statement);
    statement = changed;
  }
  return statement;
}

static void
try_signed(const World *world, Input *input)
{
  static const char *const purposes[] = {STATEMENT_USER_ROOT, STATEMENT_SUCCESSION, STATEMENT_BINDING,
                                         STATEMENT_HOSTING, STATEMENT_WHEREABOUTS};
  static const guint signers[] = {ORIGIN, ORIGIN, KEY, PROVIDER, CLONE};
  Doppel__Wire__Record wire = DOPPEL__WIRE__RECORD__INIT;
  Doppel__Wire__Signed made[5], *chain[] = {&made[1]};
  GByteArray *statements[5];
  guint8 signatures[5][IDENTITY_SIGNATURE_LENGTH], counter[IDENTITY_SIGNATURE_LENGTH];
  for (guint i = 0; i < 5; i++) {
    gsize length;
    const void *data = g_bytes_get_data(world->parts[i], &length);
    Doppel__Wire__Signed *part = doppel__wire__signed__unpack(NULL, length, data);
    statements[i] = change(part, input);
    doppel__wire__signed__free_unpacked(part, NULL);
    statement_sign(world->keys[signers[i]], purposes[i], statements[i]->data, statements[i]->len,
                   signatures[i]);
    made[i] = (Doppel__Wire__Signed)DOPPEL__WIRE__SIGNED__INIT;
    made[i].statement = (ProtobufCBinaryData){statements[i]->len, statements[i]->data};
    made[i].signature = (ProtobufCBinaryData){IDENTITY_SIGNATURE_LENGTH, signatures[i]};
  }
  statement_sign(world->keys[KEY], STATEMENT_SUCCESSOR, statements[1]->data, statements[1]->len, counter);
  made[1].counter = (ProtobufCBinaryData){sizeof counter, counter};
  wire.root = &made[0];
  wire.n_successions = 1;
  wire.successions = chain;
  wire.binding = &made[2];
  wire.hosting = &made[3];
  wire.whereabouts = input_below(input, 8) == 7 ? NULL : &made[4];
  gsize length = doppel__wire__record__get_packed_size(&wire);
  g_autofree guint8 *bytes = g_malloc(length);
  doppel__wire__record__pack(&wire, bytes);
  try_bytes(bytes, length);
  for (guint i = 0; i < 5; i++)
    g_byte_array_unref(statements[i]);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  static World world;
  if (!world.keys[0])
    make_world(&world);
  try_bytes(data, length);
  Input input = {data, length};
  try_signed(&world, &input);
  g_autofree char *name = g_strndup((const char *)data, length);
  record_name_check(name, NULL);
  return 0;
}
