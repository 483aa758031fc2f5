/* Records that somebody has made up, put together from others', changed or broken: none of them is taken. */
#include <string.h>

#include "base/error.h"
#include "identity/statement.h"
#include "record_world.h"
#include "wire/record.pb-c.h"

static GBytes *
pack(const ProtobufCMessage *message)
{
  gsize length = protobuf_c_message_get_packed_size(message);
  guint8 *bytes = g_malloc(length + 1);
  protobuf_c_message_pack(message, bytes);
  return g_bytes_new_take(bytes, length);
}

static Record *
decode(GBytes *bytes, const IdentityPublic *origin, GError **error)
{
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  return record_decode(data, length, origin, error);
}

static void
assert_refused(GBytes *bytes, DoppelErrorCode code)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Record) record = decode(bytes, NULL, &error);
  g_assert_null(record);
  g_assert_error(error, DOPPEL_ERROR, code);
}

/* A user who has one succession, so that a record has a part of every kind. */
static WorldUser *
some_user(guint number, const char *name)
{
  WorldUser *user = world_user_new(number, name);
  world_succeed(user, number + 50, FALSE);
  return user;
}

static Doppel__Wire__Record *
unpack(const Record *record)
{
  gsize length;
  const void *data = g_bytes_get_data(record->bytes, &length);
  return doppel__wire__record__unpack(NULL, length, data);
}

enum { PARTS = 5 };

static Doppel__Wire__Signed **
part_of(Doppel__Wire__Record *wire, guint part)
{
  Doppel__Wire__Signed **parts[PARTS] = {&wire->root, &wire->successions[0], &wire->binding, &wire->hosting,
                                         &wire->whereabouts};
  return parts[part];
}

/* Not one bit can be another. */
static void
test_bits(void)
{
  g_autoptr(WorldUser) user = some_user(1000, "alice");
  g_autoptr(Record) record = world_record(user, 1, 1, NULL);
  gsize length;
  const guint8 *data = g_bytes_get_data(record->bytes, &length);
  g_autofree guint8 *changed = g_memdup2(data, length);
  for (gsize bit = 0; bit < 8 * length; bit++) {
    g_autoptr(GError) error = NULL;
    changed[bit / 8] ^= 1 << bit % 8;
    g_autoptr(Record) other = record_decode(changed, length, NULL, &error);
    g_assert_null(other);
    g_assert_nonnull(error);
    changed[bit / 8] ^= 1 << bit % 8;
  }
}

static void
test_cut(void)
{
  g_autoptr(WorldUser) user = some_user(1000, "alice");
  g_autoptr(Record) record = world_record(user, 1, 1, NULL);
  gsize length;
  const guint8 *data = g_bytes_get_data(record->bytes, &length);
  for (gsize cut = 0; cut < length; cut++)
    g_assert_null(record_decode(data, cut, NULL, NULL));
  g_autofree guint8 *longer = g_malloc0(RECORD_MAX + 1);
  memcpy(longer, data, length);
  for (gsize more = 1; length + more <= RECORD_MAX + 1; more += 1 + more / 2)
    g_assert_null(record_decode(longer, length + more, NULL, NULL));
}

static void
test_noise(void)
{
  for (guint i = 0; i < 2000; i++) {
    guint8 noise[512];
    for (gsize j = 0; j < sizeof noise; j++)
      noise[j] = g_test_rand_int();
    g_assert_null(record_decode(noise, 1 + i % sizeof noise, NULL, NULL));
  }
}

/* Each signature in turn: none, another key's, that of another statement by the right key. */
static void
test_signatures(void)
{
  static const char *const purposes[PARTS] = {STATEMENT_USER_ROOT, STATEMENT_SUCCESSION, STATEMENT_BINDING,
                                              STATEMENT_HOSTING, STATEMENT_WHEREABOUTS};
  g_autoptr(WorldUser) user = some_user(1000, "alice");
  g_autoptr(IdentityKey) thief = world_key(7);
  const IdentityKey *signers[PARTS] = {user->origin, user->origin, user->key, user->provider, user->clone};
  for (guint part = 0; part < PARTS; part++)
    for (guint forgery = 0; forgery < 4; forgery++) {
      g_autoptr(Record) record = world_record(user, 1, 1, NULL);
      Doppel__Wire__Record *wire = unpack(record);
      Doppel__Wire__Signed *forged = *part_of(wire, part);
      ProtobufCBinaryData *statement = &forged->statement;
      guint8 *signature = forged->signature.data;
      if (forgery == 0)
        memset(signature, 0, IDENTITY_SIGNATURE_LENGTH);
      else if (forgery == 1)
        statement_sign(thief, purposes[part], statement->data, statement->len, signature);
      else if (forgery == 2)
        statement_sign(signers[part], purposes[part], statement->data, statement->len - 1, signature);
      else /* as if it were of another kind */
        statement_sign(signers[part], purposes[(part + 1) % PARTS], statement->data, statement->len,
                       signature);
      g_autoptr(GBytes) bytes = pack(&wire->base);
      assert_refused(bytes, DOPPEL_ERROR_DENIED);
      doppel__wire__record__free_unpacked(wire, NULL);
    }
}

/* Nobody is made a successor who has not agreed, and nobody's agreement is used twice. */
static void
test_successor(void)
{
  g_autoptr(WorldUser) user = some_user(1000, "alice");
  g_autoptr(IdentityKey) thief = world_key(7);
  g_autoptr(Record) record = world_record(user, 1, 1, NULL);
  for (guint forgery = 0; forgery < 2; forgery++) {
    Doppel__Wire__Record *wire = unpack(record);
    Doppel__Wire__Signed *part = wire->successions[0];
    if (forgery == 0)
      memcpy(part->counter.data, part->signature.data, IDENTITY_SIGNATURE_LENGTH);
    else
      statement_sign(thief, STATEMENT_SUCCESSOR, part->statement.data, part->statement.len,
                     part->counter.data);
    g_autoptr(GBytes) bytes = pack(&wire->base);
    assert_refused(bytes, DOPPEL_ERROR_DENIED);
    doppel__wire__record__free_unpacked(wire, NULL);
  }
}

static void
test_lengths(void)
{
  g_autoptr(WorldUser) user = some_user(1000, "alice");
  g_autoptr(Record) record = world_record(user, 1, 1, NULL);
  for (guint part = 0; part < PARTS; part++) {
    guint8 longer[IDENTITY_SIGNATURE_LENGTH + 1] = {0};
    for (guint forgery = 0; forgery < 4; forgery++) {
      Doppel__Wire__Record *wire = unpack(record);
      Doppel__Wire__Signed *kept = *part_of(wire, part), forged = *kept;
      if (forgery == 0)
        forged.signature.len--;
      else if (forgery == 1)
        forged.signature = (ProtobufCBinaryData){sizeof longer, longer};
      else if (forgery == 2)
        forged.statement.len = 0;
      else /* a counter signature where there is to be none, and none where there is to be one */
        forged.counter = (ProtobufCBinaryData){part == 1 ? 0 : IDENTITY_SIGNATURE_LENGTH, longer};
      *part_of(wire, part) = &forged;
      g_autoptr(GBytes) bytes = pack(&wire->base);
      assert_refused(bytes, DOPPEL_ERROR_HOSTILE);
      *part_of(wire, part) = kept;
      doppel__wire__record__free_unpacked(wire, NULL);
    }
  }
}

/* What two users have signed, in one record. */
static void
test_mixed(void)
{
  g_autoptr(WorldUser) alice = some_user(1000, "alice"), mallory = some_user(2000, "mallory");
  g_autoptr(Record) of_alice = world_record(alice, 1, 1, NULL),
                    of_mallory = world_record(mallory, 1, 1, NULL);
  for (guint mixture = 1; mixture < (1 << PARTS) - 1; mixture++) {
    Doppel__Wire__Record *wire = unpack(of_alice), *other = unpack(of_mallory);
    for (guint part = 0; part < PARTS; part++)
      if (mixture & 1 << part) {
        Doppel__Wire__Signed *kept = *part_of(wire, part);
        *part_of(wire, part) = *part_of(other, part);
        *part_of(other, part) = kept;
      }
    g_autoptr(GBytes) bytes = pack(&wire->base);
    assert_refused(bytes, DOPPEL_ERROR_DENIED);
    doppel__wire__record__free_unpacked(wire, NULL);
    doppel__wire__record__free_unpacked(other, NULL);
  }
}

static void
test_missing(void)
{
  g_autoptr(WorldUser) user = some_user(1000, "alice");
  g_autoptr(Record) record = world_record(user, 1, 1, NULL);
  for (guint part = 0; part < PARTS; part++) {
    Doppel__Wire__Record *wire = unpack(record);
    Doppel__Wire__Signed *kept = *part_of(wire, part);
    if (part == 1)
      wire->n_successions = 0;
    else
      *part_of(wire, part) = NULL;
    g_autoptr(GBytes) bytes = pack(&wire->base);
    /* Without the succession the binding is signed by a key that is not the user's. */
    assert_refused(bytes, part == 1 ? DOPPEL_ERROR_DENIED : DOPPEL_ERROR_HOSTILE);
    wire->n_successions = 1;
    *part_of(wire, part) = kept;
    doppel__wire__record__free_unpacked(wire, NULL);
  }
}

static void
test_origin(void)
{
  g_autoptr(WorldUser) alice = some_user(1000, "alice"), mallory = some_user(2000, "alice");
  g_autoptr(Record) record = world_record(mallory, 1, 1, NULL);
  g_autoptr(GError) error = NULL;
  g_assert_null(decode(record->bytes, &alice->binding.origin, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  g_autoptr(Record) same = decode(record->bytes, &mallory->binding.origin, NULL);
  g_assert_nonnull(same);
}

/* The same parts in another encoding would be another record to who goes by its hash, and anybody could make
 * it. */
static void
test_encodings(void)
{
  g_autoptr(WorldUser) user = some_user(1000, "alice");
  g_autoptr(Record) record = world_record(user, 1, 1, NULL);
  gsize length;
  const guint8 *data = g_bytes_get_data(record->bytes, &length);
  static const guint8 unknown[] = {0x78, 1}, empty_part[] = {0x2a, 0};
  const struct {
    const guint8 *bytes;
    gsize length;
  } additions[] = {{unknown, sizeof unknown}, {empty_part, sizeof empty_part}};
  for (gsize i = 0; i < G_N_ELEMENTS(additions); i++)
    for (gsize before = 0; before < 2; before++) {
      g_autoptr(GByteArray) other = g_byte_array_new();
      if (before)
        g_byte_array_append(other, additions[i].bytes, additions[i].length);
      g_byte_array_append(other, data, length);
      if (!before)
        g_byte_array_append(other, additions[i].bytes, additions[i].length);
      g_autoptr(GError) error = NULL;
      g_assert_null(record_decode(other->data, other->len, NULL, &error));
      g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
    }
  /* The root, tag 0x0a, with its length in one byte more than it takes. */
  g_assert_cmpuint(data[0], ==, 0x0a);
  g_assert_true(data[1] & 0x80);
  g_autoptr(GByteArray) overlong = g_byte_array_new();
  const guint8 head[] = {data[0], data[1], data[2] | 0x80, 0};
  g_byte_array_append(overlong, head, sizeof head);
  g_byte_array_append(overlong, data + 3, length - 3);
  g_autoptr(GError) error = NULL;
  g_assert_null(record_decode(overlong->data, overlong->len, NULL, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

/* Puts a statement that its right signer has signed, whatever it says, in the place of a part. */
static GBytes *
with_statement(const WorldUser *user, guint part, const void *statement, gsize length)
{
  static const char *const purposes[PARTS] = {STATEMENT_USER_ROOT, STATEMENT_SUCCESSION, STATEMENT_BINDING,
                                              STATEMENT_HOSTING, STATEMENT_WHEREABOUTS};
  const IdentityKey *signers[PARTS] = {user->origin, user->origin, user->key, user->provider, user->clone};
  guint8 signature[IDENTITY_SIGNATURE_LENGTH], counter[IDENTITY_SIGNATURE_LENGTH];
  g_autoptr(Record) record = world_record(user, 1, 1, NULL);
  Doppel__Wire__Record *wire = unpack(record);
  Doppel__Wire__Signed *kept = *part_of(wire, part), made = DOPPEL__WIRE__SIGNED__INIT;
  statement_sign(signers[part], purposes[part], statement, length, signature);
  statement_sign(user->key, STATEMENT_SUCCESSOR, statement, length, counter);
  made.statement = (ProtobufCBinaryData){length, (guint8 *)statement};
  made.signature = (ProtobufCBinaryData){sizeof signature, signature};
  if (part == 1)
    made.counter = (ProtobufCBinaryData){sizeof counter, counter};
  *part_of(wire, part) = &made;
  GBytes *bytes = pack(&wire->base);
  *part_of(wire, part) = kept;
  doppel__wire__record__free_unpacked(wire, NULL);
  return bytes;
}

static GBytes *
statement_of(const WorldUser *user, guint part)
{
  g_autoptr(Record) record = world_record(user, 1, 1, NULL);
  Doppel__Wire__Record *wire = unpack(record);
  const ProtobufCBinaryData *statement = &(*part_of(wire, part))->statement;
  GBytes *bytes = g_bytes_new(statement->data, statement->len);
  doppel__wire__record__free_unpacked(wire, NULL);
  return bytes;
}

/* A later doppel may say more: who signed it said so. It says so behind what is known, or with a new version.
 */
static void
test_later(void)
{
  static const guint8 addition[] = {0xf8, 0x07, 0x2a}; /* field 127: 42 */
  g_autoptr(WorldUser) user = some_user(1000, "alice");
  for (guint part = 0; part < PARTS; part++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) statement = statement_of(user, part);
    gsize length;
    const guint8 *data = g_bytes_get_data(statement, &length);
    g_autoptr(GByteArray) more = g_byte_array_new();
    g_byte_array_append(more, data, length);
    g_byte_array_append(more, addition, sizeof addition);
    g_autoptr(GBytes) bytes = with_statement(user, part, more->data, more->len);
    g_autoptr(Record) record = decode(bytes, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(record->name, ==, "alice");

    g_assert_cmpuint(data[0], ==, 0x08);
    more->data[1] = 2;
    g_autoptr(GBytes) newer = with_statement(user, part, more->data, length);
    assert_refused(newer, DOPPEL_ERROR_UNSUPPORTED);
    g_autoptr(GBytes) none = with_statement(user, part, data + 2, length - 2);
    assert_refused(none, DOPPEL_ERROR_HOSTILE);
  }
}

/* What its right signer has signed and is nonsense nevertheless. */
typedef void (*Spoil)(ProtobufCMessage *message);

#define SPOIL(name, Kind, ...)                                                                               \
  static void name(ProtobufCMessage *message)                                                                \
  {                                                                                                          \
    Doppel__Wire__##Kind *m = (Doppel__Wire__##Kind *)message;                                               \
    __VA_ARGS__                                                                                              \
  }
SPOIL(root_key_short, UserRoot, m->key.len--;)
SPOIL(root_recovery_none, UserRoot, m->recovery.len = 0;)
SPOIL(succession_key_short, Succession, m->key.len--;)
SPOIL(succession_time_before, Succession, m->time = -1;)
SPOIL(succession_time_after, Succession, m->time = RECORD_TIME_MAX + 1;)
SPOIL(succession_number_0, Succession, m->number = 0;)
SPOIL(succession_number_2, Succession, m->number = 2;)
SPOIL(succession_origin, Succession, m->origin.data[0] ^= 1;)
SPOIL(succession_kind, Succession, m->by_recovery = TRUE;)
SPOIL(binding_name_none, Binding, *m->name = '\0';)
SPOIL(binding_name_capital, Binding, *m->name = 'A';)
SPOIL(binding_name_no_utf8, Binding, *m->name = '\xff';)
SPOIL(binding_clone_short, Binding, m->clone.len--;)
SPOIL(binding_clone_key_short, Binding, m->clone_key.len--;)
SPOIL(binding_device_none, Binding, m->device.len = 0;)
SPOIL(binding_provider_none, Binding, m->provider.len = 0;)
SPOIL(binding_directory_none, Binding, m->directory.len = 0;)
SPOIL(binding_serial_0, Binding, m->serial = 0;)
SPOIL(binding_issued_before, Binding, m->issued = -1;)
SPOIL(binding_expires_first, Binding, m->expires = m->issued;)
SPOIL(binding_expires_never, Binding, m->expires = G_MAXINT64;)
SPOIL(binding_origin, Binding, m->origin.data[0] ^= 1;)
SPOIL(binding_other_clone, Binding, m->clone.data[0] ^= 1;)
SPOIL(hosting_clone, Hosting, m->clone.data[0] ^= 1;)
SPOIL(hosting_clone_short, Hosting, m->clone.len--;)
SPOIL(hosting_clone_key, Hosting, m->clone_key.data[0] ^= 1;)
SPOIL(hosting_provider, Hosting, m->provider.data[0] ^= 1;)
SPOIL(hosting_issued, Hosting, m->issued = -1;)
SPOIL(whereabouts_clone, Whereabouts, m->clone_key.data[0] ^= 1;)
SPOIL(whereabouts_sequence_0, Whereabouts, m->sequence = 0;)
SPOIL(whereabouts_expires_first, Whereabouts, m->expires = m->issued - 1;)
SPOIL(whereabouts_no_port, Whereabouts, *strrchr(m->addresses[0], ':') = '-';)
SPOIL(whereabouts_nothing, Whereabouts, *m->addresses[1] = '\0';)

static void
test_nonsense(void)
{
  static const ProtobufCMessageDescriptor *const kinds[PARTS] = {
      &doppel__wire__user_root__descriptor, &doppel__wire__succession__descriptor,
      &doppel__wire__binding__descriptor, &doppel__wire__hosting__descriptor,
      &doppel__wire__whereabouts__descriptor};
  static const struct {
    guint part;
    Spoil spoil;
    DoppelErrorCode code;
  } cases[] = {
      {0, root_key_short, DOPPEL_ERROR_HOSTILE},
      {0, root_recovery_none, DOPPEL_ERROR_HOSTILE},
      {1, succession_key_short, DOPPEL_ERROR_HOSTILE},
      {1, succession_time_before, DOPPEL_ERROR_HOSTILE},
      {1, succession_time_after, DOPPEL_ERROR_HOSTILE},
      {1, succession_number_0, DOPPEL_ERROR_DENIED},
      {1, succession_number_2, DOPPEL_ERROR_DENIED},
      {1, succession_origin, DOPPEL_ERROR_DENIED},
      {1, succession_kind, DOPPEL_ERROR_DENIED},
      {2, binding_name_none, DOPPEL_ERROR_HOSTILE},
      {2, binding_name_capital, DOPPEL_ERROR_HOSTILE},
      {2, binding_name_no_utf8, DOPPEL_ERROR_HOSTILE},
      {2, binding_clone_short, DOPPEL_ERROR_HOSTILE},
      {2, binding_clone_key_short, DOPPEL_ERROR_HOSTILE},
      {2, binding_device_none, DOPPEL_ERROR_HOSTILE},
      {2, binding_provider_none, DOPPEL_ERROR_HOSTILE},
      {2, binding_directory_none, DOPPEL_ERROR_HOSTILE},
      {2, binding_serial_0, DOPPEL_ERROR_HOSTILE},
      {2, binding_issued_before, DOPPEL_ERROR_HOSTILE},
      {2, binding_expires_first, DOPPEL_ERROR_HOSTILE},
      {2, binding_expires_never, DOPPEL_ERROR_HOSTILE},
      {2, binding_origin, DOPPEL_ERROR_DENIED},
      {2, binding_other_clone, DOPPEL_ERROR_DENIED},
      {3, hosting_clone, DOPPEL_ERROR_DENIED},
      {3, hosting_clone_short, DOPPEL_ERROR_DENIED},
      {3, hosting_clone_key, DOPPEL_ERROR_DENIED},
      {3, hosting_provider, DOPPEL_ERROR_DENIED},
      {3, hosting_issued, DOPPEL_ERROR_HOSTILE},
      {4, whereabouts_clone, DOPPEL_ERROR_DENIED},
      {4, whereabouts_sequence_0, DOPPEL_ERROR_HOSTILE},
      {4, whereabouts_expires_first, DOPPEL_ERROR_HOSTILE},
      {4, whereabouts_no_port, DOPPEL_ERROR_HOSTILE},
      {4, whereabouts_nothing, DOPPEL_ERROR_HOSTILE},
  };
  g_autoptr(WorldUser) user = some_user(1000, "alice");
  for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(GBytes) statement = statement_of(user, cases[i].part);
    gsize length;
    const void *data = g_bytes_get_data(statement, &length);
    ProtobufCMessage *message = protobuf_c_message_unpack(kinds[cases[i].part], NULL, length, data);
    cases[i].spoil(message);
    g_autoptr(GBytes) spoilt = pack(message);
    data = g_bytes_get_data(spoilt, &length);
    g_autoptr(GBytes) bytes = with_statement(user, cases[i].part, data, length);
    assert_refused(bytes, cases[i].code);
    protobuf_c_message_free_unpacked(message, NULL);
  }
}

/* A name that C would read as another one. */
static void
test_nul_in_name(void)
{
  g_autoptr(WorldUser) user = some_user(1000, "alice");
  g_autoptr(GBytes) statement = statement_of(user, 2);
  gsize length;
  g_autofree guint8 *data = g_memdup2(g_bytes_get_data(statement, &length), g_bytes_get_size(statement));
  guint8 *name = memmem(data, length, "alice", 5);
  g_assert_nonnull(name);
  name[3] = '\0';
  g_autoptr(GBytes) bytes = with_statement(user, 2, data, length);
  assert_refused(bytes, DOPPEL_ERROR_HOSTILE);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/record/forged/bits", test_bits);
  g_test_add_func("/record/forged/cut", test_cut);
  g_test_add_func("/record/forged/noise", test_noise);
  g_test_add_func("/record/forged/signatures", test_signatures);
  g_test_add_func("/record/forged/successor", test_successor);
  g_test_add_func("/record/forged/lengths", test_lengths);
  g_test_add_func("/record/forged/mixed", test_mixed);
  g_test_add_func("/record/forged/missing", test_missing);
  g_test_add_func("/record/forged/origin", test_origin);
  g_test_add_func("/record/forged/encodings", test_encodings);
  g_test_add_func("/record/forged/later", test_later);
  g_test_add_func("/record/forged/nonsense", test_nonsense);
  g_test_add_func("/record/forged/nul-in-name", test_nul_in_name);
  return g_test_run();
}
