#include "identity/record.h"

#include <string.h>

#include "base/error.h"
#include "identity/address.h"
#include "identity/record_private.h"

typedef Doppel__Wire__Record WireRecord;
typedef Doppel__Wire__Signed WireSigned;
typedef Doppel__Wire__UserRoot WireRoot;
typedef Doppel__Wire__Succession WireSuccession;
typedef Doppel__Wire__Binding WireBinding;
typedef Doppel__Wire__Hosting WireHosting;
typedef Doppel__Wire__Whereabouts WireWhereabouts;

#define VERSION 1

static gboolean
hostile(const char *what, const char *problem, GError **error)
{
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a record's %s %s", what, problem);
}

static gboolean
denied(const char *what, const char *problem, GError **error)
{
  return doppel_error_set(error, DOPPEL_ERROR_DENIED, "a record's %s %s", what, problem);
}

ProtobufCMessage *
record_unpack(const ProtobufCMessageDescriptor *kind, const void *data, gsize length, const char *what,
              GError **error)
{
  g_autoptr(ProtobufCMessage) message = protobuf_c_message_unpack(kind, NULL, length, data);
  if (message && protobuf_c_message_get_packed_size(message) == length) {
    g_autoptr(GBytes) again = wire_pack(message);
    if (length == 0 || memcmp(g_bytes_get_data(again, NULL), data, length) == 0)
      return g_steal_pointer(&message);
  }
  hostile(what, "is damaged", error);
  return NULL;
}

static gboolean
check_part(const WireSigned *part, gboolean countersigned, const char *what, GError **error)
{
  if (!part)
    return hostile(what, "is missing", error);
  if (part->base.n_unknown_fields > 0 || part->signature.len != IDENTITY_SIGNATURE_LENGTH ||
      part->counter.len != (countersigned ? IDENTITY_SIGNATURE_LENGTH : 0))
    return hostile(what, "is not signed as it is to be", error);
  return TRUE;
}

/* The message in a part whose form was checked. Every kind begins with its version. */
static ProtobufCMessage *
open_part(const WireSigned *part, const ProtobufCMessageDescriptor *kind, const char *what, GError **error)
{
  g_autoptr(ProtobufCMessage) message =
      record_unpack(kind, part->statement.data, part->statement.len, what, error);
  if (!message)
    return NULL;
  G_STATIC_ASSERT(G_STRUCT_OFFSET(WireRoot, version) == sizeof(ProtobufCMessage) &&
                  G_STRUCT_OFFSET(WireSuccession, version) == sizeof(ProtobufCMessage) &&
                  G_STRUCT_OFFSET(WireBinding, version) == sizeof(ProtobufCMessage) &&
                  G_STRUCT_OFFSET(WireHosting, version) == sizeof(ProtobufCMessage) &&
                  G_STRUCT_OFFSET(WireWhereabouts, version) == sizeof(ProtobufCMessage));
  guint32 version = ((const WireRoot *)message)->version;
  if (version == VERSION)
    return g_steal_pointer(&message);
  if (version > VERSION)
    doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                     "a record's %s is of version %u: a newer doppel is needed to understand it", what,
                     version);
  else
    hostile(what, "has no version", error);
  return NULL;
}

static gboolean
check_signature(const WireSigned *part, const char *purpose, const IdentityPublic *signer, const char *what,
                GError **error)
{
  return statement_verify(signer, purpose, part->statement.data, part->statement.len, part->signature.data) ||
         denied(what, "has a wrong signature", error);
}

static gboolean
take_key(const ProtobufCBinaryData *bytes, IdentityPublic *key, const char *what, GError **error)
{
  if (bytes->len != sizeof key->bytes)
    return hostile(what, "has a key of a wrong length", error);
  memcpy(key->bytes, bytes->data, sizeof key->bytes);
  return TRUE;
}

static gboolean
is_key(const ProtobufCBinaryData *bytes, const IdentityPublic *key)
{
  return bytes->len == sizeof key->bytes && memcmp(bytes->data, key->bytes, sizeof key->bytes) == 0;
}

static gboolean
is_time(gint64 seconds)
{
  return seconds >= 0 && seconds <= RECORD_TIME_MAX;
}

static gboolean
check_times(gint64 issued, gint64 expires, const char *what, GError **error)
{
  return (is_time(issued) && is_time(expires) && issued < expires) ||
         hostile(what, "has times that make no sense", error);
}

static gboolean
read_root(Record *record, const WireSigned *part, GError **error)
{
  static const char what[] = "root";
  if (!check_part(part, FALSE, what, error))
    return FALSE;
  g_autoptr(ProtobufCMessage) message = open_part(part, &doppel__wire__user_root__descriptor, what, error);
  const WireRoot *root = (const WireRoot *)message;
  if (!root || !take_key(&root->key, &record->origin, what, error) ||
      !take_key(&root->recovery, &record->recovery, what, error))
    return FALSE;
  record->key = record->origin;
  return check_signature(part, STATEMENT_USER_ROOT, &record->origin, what, error);
}

/* Signed by the key before or the recovery key before, and by the new key: nobody can be made somebody's
 * successor. */
static gboolean
read_succession(RecordWhole *whole, const WireSigned *part, GError **error)
{
  static const char what[] = "succession";
  Record *record = &whole->record;
  if (!check_part(part, TRUE, what, error))
    return FALSE;
  g_autoptr(ProtobufCMessage) message = open_part(part, &doppel__wire__succession__descriptor, what, error);
  const WireSuccession *succession = (const WireSuccession *)message;
  IdentityPublic key, recovery;
  if (!succession || !take_key(&succession->key, &key, what, error) ||
      !take_key(&succession->recovery, &recovery, what, error))
    return FALSE;
  if (!is_time(succession->time))
    return hostile(what, "has a time that makes no sense", error);
  if (!is_key(&succession->origin, &record->origin))
    return denied(what, "is another user's", error);
  if (succession->number != record->successions + 1)
    return denied(what, "is not the next one", error);
  const IdentityPublic *signer = succession->by_recovery ? &record->recovery : &record->key;
  if (!check_signature(part, STATEMENT_SUCCESSION, signer, what, error))
    return FALSE;
  if (!statement_verify(&key, STATEMENT_SUCCESSOR, part->statement.data, part->statement.len,
                        part->counter.data))
    return denied(what, "is not accepted by the new key", error);
  RecordSuccession *fact = &whole->successions[record->successions++];
  statement_hash(part->statement.data, part->statement.len, fact->hash);
  fact->by_recovery = succession->by_recovery;
  record->recoveries += fact->by_recovery ? 1 : 0;
  record->key = key;
  record->recovery = recovery;
  return TRUE;
}

static gboolean
check_name_in_record(const char *name, GError **error)
{
  g_autoptr(GError) problem = NULL;
  return record_name_check(name, &problem) || hostile("binding", "has a name that is none", error);
}

static gboolean
read_binding(Record *record, const WireSigned *part, GError **error)
{
  static const char what[] = "binding";
  if (!check_part(part, FALSE, what, error))
    return FALSE;
  g_autoptr(ProtobufCMessage) message = open_part(part, &doppel__wire__binding__descriptor, what, error);
  const WireBinding *binding = (const WireBinding *)message;
  if (!binding || !check_name_in_record(binding->name, error) ||
      !take_key(&binding->clone_key, &record->clone_key, what, error) ||
      !take_key(&binding->device, &record->device, what, error) ||
      !take_key(&binding->provider, &record->provider, what, error) ||
      !take_key(&binding->directory, &record->directory, what, error) ||
      !check_times(binding->issued, binding->expires, what, error))
    return FALSE;
  if (binding->clone.len != sizeof record->clone || binding->serial == 0)
    return hostile(what, "has no clone or no serial number", error);
  if (!is_key(&binding->origin, &record->origin))
    return denied(what, "is another user's", error);
  memcpy(record->clone, binding->clone.data, sizeof record->clone);
  record->name = g_strdup(binding->name);
  record->serial = binding->serial;
  record->issued = binding->issued;
  record->expires = binding->expires;
  record->revoked = binding->revoked;
  return check_signature(part, STATEMENT_BINDING, &record->key, what, error);
}

static gboolean
read_hosting(const Record *record, const WireSigned *part, GError **error)
{
  static const char what[] = "hosting";
  if (!check_part(part, FALSE, what, error))
    return FALSE;
  g_autoptr(ProtobufCMessage) message = open_part(part, &doppel__wire__hosting__descriptor, what, error);
  const WireHosting *hosting = (const WireHosting *)message;
  if (!hosting)
    return FALSE;
  if (!is_time(hosting->issued))
    return hostile(what, "has a time that makes no sense", error);
  if (hosting->clone.len != sizeof record->clone ||
      memcmp(hosting->clone.data, record->clone, sizeof record->clone) != 0 ||
      !is_key(&hosting->clone_key, &record->clone_key) || !is_key(&hosting->provider, &record->provider))
    return denied(what, "is of another clone than its binding", error);
  return check_signature(part, STATEMENT_HOSTING, &record->provider, what, error);
}

gboolean
record_check_hosting(const void *data, gsize length, const guint8 clone[RECORD_ID_LENGTH],
                     const IdentityPublic *clone_key, const IdentityPublic *provider, GError **error)
{
  Record facts = {.clone_key = *clone_key, .provider = *provider};
  memcpy(facts.clone, clone, sizeof facts.clone);
  g_autoptr(ProtobufCMessage) part =
      length <= RECORD_MAX ? record_unpack(&doppel__wire__signed__descriptor, data, length, "hosting", error)
                           : NULL;
  if (!part)
    return length <= RECORD_MAX ? FALSE : hostile("hosting", "is too long", error);
  return read_hosting(&facts, (const WireSigned *)part, error);
}

static gboolean
read_addresses(Record *record, const WireWhereabouts *whereabouts, const char *what, GError **error)
{
  if (whereabouts->n_addresses > RECORD_ADDRESSES_MAX)
    return hostile(what, "has too many addresses", error);
  for (gsize i = 0; i < whereabouts->n_addresses; i++)
    if (!identity_address_check(whereabouts->addresses[i], NULL))
      return hostile(what, "has an address that is none", error);
  g_strfreev(record->addresses);
  record->addresses = g_new0(char *, whereabouts->n_addresses + 1);
  for (gsize i = 0; i < whereabouts->n_addresses; i++)
    record->addresses[i] = g_strdup(whereabouts->addresses[i]);
  return TRUE;
}

static gboolean
read_whereabouts(Record *record, const WireSigned *part, GError **error)
{
  static const char what[] = "whereabouts";
  if (!check_part(part, FALSE, what, error))
    return FALSE;
  g_autoptr(ProtobufCMessage) message = open_part(part, &doppel__wire__whereabouts__descriptor, what, error);
  const WireWhereabouts *whereabouts = (const WireWhereabouts *)message;
  if (!whereabouts || !check_times(whereabouts->issued, whereabouts->expires, what, error) ||
      !read_addresses(record, whereabouts, what, error))
    return FALSE;
  if (whereabouts->sequence == 0)
    return hostile(what, "has no sequence number", error);
  if (!is_key(&whereabouts->clone_key, &record->clone_key))
    return denied(what, "is of another clone than its binding", error);
  record->sequence = whereabouts->sequence;
  record->whereabouts_issued = whereabouts->issued;
  record->whereabouts_expires = whereabouts->expires;
  return check_signature(part, STATEMENT_WHEREABOUTS, &record->clone_key, what, error);
}

/* What costs least comes first: a record of somebody else is refused before its signatures are looked at. */
static gboolean
read_parts(RecordWhole *whole, const WireRecord *wire, const IdentityPublic *origin, gboolean unplaced,
           GError **error)
{
  Record *record = &whole->record;
  if (wire->base.n_unknown_fields > 0)
    return hostile("envelope", "has parts that do not exist", error);
  if (wire->n_successions > RECORD_SUCCESSIONS_MAX)
    return hostile("chain of successions", "is too long", error);
  if (!read_root(record, wire->root, error))
    return FALSE;
  if (origin && !identity_public_equal(origin, &record->origin))
    return denied("origin", "is another user's", error);
  for (gsize i = 0; i < wire->n_successions; i++)
    if (!read_succession(whole, wire->successions[i], error))
      return FALSE;
  if (!read_binding(record, wire->binding, error) || !read_hosting(record, wire->hosting, error))
    return FALSE;
  if (!wire->whereabouts && (unplaced || record->revoked))
    return TRUE;
  return read_whereabouts(record, wire->whereabouts, error);
}

static Record *
decode(const void *data, gsize length, const IdentityPublic *origin, gboolean unplaced, GError **error)
{
  if (length == 0 || length > RECORD_MAX) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a record of %" G_GSIZE_FORMAT " bytes is none", length);
    return NULL;
  }
  g_autoptr(ProtobufCMessage) wire =
      record_unpack(&doppel__wire__record__descriptor, data, length, "envelope", error);
  if (!wire)
    return NULL;
  RecordWhole *whole = g_new0(RecordWhole, 1);
  g_atomic_ref_count_init(&whole->references);
  g_autoptr(Record) record = &whole->record;
  record->addresses = g_new0(char *, 1);
  if (!read_parts(whole, (const WireRecord *)wire, origin, unplaced, error))
    return NULL;
  record->bytes = g_bytes_new(data, length);
  statement_hash(data, length, record->hash);
  return g_steal_pointer(&record);
}

Record *
record_decode(const void *data, gsize length, const IdentityPublic *origin, GError **error)
{
  return decode(data, length, origin, FALSE, error);
}

Record *
record_decode_unplaced(const void *data, gsize length, const IdentityPublic *origin, GError **error)
{
  return decode(data, length, origin, TRUE, error);
}

Record *
record_ref(Record *record)
{
  g_atomic_ref_count_inc(&((RecordWhole *)record)->references);
  return record;
}

void
record_unref(Record *record)
{
  RecordWhole *whole = (RecordWhole *)record;
  if (!record || !g_atomic_ref_count_dec(&whole->references))
    return;
  g_free(record->name);
  g_strfreev(record->addresses);
  g_clear_pointer(&record->bytes, g_bytes_unref);
  g_free(whole);
}

static int
compare_numbers(guint64 a, guint64 b)
{
  return a < b ? -1 : a > b ? 1 : 0;
}

/* The first succession in which the chains differ; the length of the shorter one where there is none. */
static guint
find_parting(const RecordWhole *a, const RecordWhole *b)
{
  guint at = 0, both = MIN(a->record.successions, b->record.successions);
  while (at < both && memcmp(a->successions[at].hash, b->successions[at].hash, STATEMENT_HASH_LENGTH) == 0)
    at++;
  return at;
}

/* Where the chains part, a succession by recovery is the newer one: who took the key cannot undo what the
 * owner of the phrase did. Otherwise a chain that goes on is newer than its beginning. */
static int
compare_successions(const RecordWhole *a, const RecordWhole *b)
{
  guint at = find_parting(a, b);
  if (at == a->record.successions || at == b->record.successions)
    return compare_numbers(a->record.successions, b->record.successions);
  const RecordSuccession *of_a = &a->successions[at], *of_b = &b->successions[at];
  if (of_a->by_recovery != of_b->by_recovery)
    return of_a->by_recovery ? 1 : -1;
  return memcmp(of_b->hash, of_a->hash, STATEMENT_HASH_LENGTH);
}

int
record_compare(const Record *a, const Record *b)
{
  int order = compare_successions((const RecordWhole *)a, (const RecordWhole *)b);
  if (order == 0)
    order = compare_numbers(a->serial, b->serial);
  if (order == 0)
    order = compare_numbers(a->sequence, b->sequence);
  return order != 0 ? order : memcmp(b->hash, a->hash, sizeof a->hash);
}

gboolean
record_supersedes(const Record *candidate, const Record *known)
{
  const RecordWhole *a = (const RecordWhole *)candidate, *b = (const RecordWhole *)known;
  guint at = find_parting(a, b);
  gboolean part = at < candidate->successions && at < known->successions;
  if (part && a->successions[at].by_recovery == b->successions[at].by_recovery)
    return FALSE;
  return record_compare(candidate, known) > 0;
}

guint
record_last_recovery(const Record *record)
{
  guint count = record->successions;
  while (count > 0 && !((const RecordWhole *)record)->successions[count - 1].by_recovery)
    count--;
  return count;
}
