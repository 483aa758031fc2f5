/* Rooms whose file was damaged, and other members' clones that say things in an unusual order. */
#include <errno.h>
#include <glib/gstdio.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "clonedoc/evidence.h"
#include "clonedoc/room/room_struct.h"
#include "identity/statement.h"
#include "room_world.h"
#include "wire/doc.pb-c.h"
#include "wire/doc_evidence.pb-c.h"
#include "wire/message.h"

typedef struct {
  Keeper *keeper;
  const DocName *name;
  Doppel__Room__State state;
  guint64 number;
} Wanted;

static gboolean
is_so(gpointer data)
{
  const Wanted *wanted = data;
  g_autoptr(DocRoomAnswer) row = keeper_row(wanted->keeper, wanted->name);
  return row && row->row->state == wanted->state && row->row->number >= wanted->number;
}

static void
await(Keeper *keeper, const DocName *name, Doppel__Room__State state, guint64 number)
{
  Wanted wanted = {keeper, name, state, number};
  room_world_until(keeper->world, is_so, &wanted);
}

/* A document of the first one's, in which the second one writes. */
static void
make_document(RoomWorld *world, DocName *name)
{
  Keeper *owner = room_world_keeper(world, 0), *other = room_world_keeper(world, 1);
  keeper_create(owner, room_world_server(world, 0), name);
  await(owner, name, DOPPEL__ROOM__STATE__JOINED, 1);
  g_assert_cmpint(keeper_change(owner, name, other, DOPPEL__ROOM__ROLE__WRITER, FALSE), ==,
                  DOC_ROOM_WHY(NONE));
  await(other, name, DOPPEL__ROOM__STATE__INVITED, 0);
  g_assert_cmpint(keeper_accept(other, name), ==, DOC_ROOM_WHY(NONE));
  await(other, name, DOPPEL__ROOM__STATE__JOINED, 2);
}

/* ---- files ---- */

static void
run_sql(const Keeper *keeper, const char *sql)
{
  sqlite3 *db;
  char *why = NULL;
  g_assert_cmpint(sqlite3_open(keeper->path, &db), ==, SQLITE_OK);
  if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
    g_error("%s: %s", sql, why);
  g_assert_cmpint(sqlite3_changes(db), >, 0);
  g_assert_cmpint(sqlite3_close(db), ==, SQLITE_OK);
}

static DocRoom *
open_again(const Keeper *keeper, GError **error)
{
  DocRoomOptions options = DOC_ROOM_OPTIONS_DEFAULT;
  options.path = keeper->path;
  options.key = keeper->key;
  options.user = *identity_key_public(keeper->user);
  return doc_room_open(&options, error);
}

/* What makes no sense is refused with words; the server is not accused of it. */
static void
test_damaged(void)
{
  static const char *const damages[] = {
      "UPDATE document SET title = 'two' || char(10) || 'lines'",
      "UPDATE document SET title = CAST(x'fffe' AS TEXT)",
      "UPDATE document SET title = ''",
      "UPDATE document SET addresses = ''",
      "UPDATE document SET addresses = 'host:1 ' || char(7)",
      "UPDATE document SET server = x'00'",
      "UPDATE document SET stage = 77",
      "UPDATE document SET stage = 1",
      "UPDATE document SET fault = -1",
      "UPDATE document SET inviter = x'fffe'",
      "UPDATE state SET state = (SELECT state FROM state ORDER BY rowid DESC LIMIT 1)",
      "UPDATE own SET head = (SELECT head FROM own ORDER BY rowid DESC LIMIT 1) WHERE rowid = (SELECT "
      "min(rowid) FROM own)",
      "UPDATE own SET own = x'0102'",
      "UPDATE person SET said = x'fffe'",
      "UPDATE person SET invite = 9",
      "UPDATE person SET user = x'01'",
      "UPDATE copy SET pair = x'01'",
      "UPDATE entry SET verdict = 99999",
      "DELETE FROM entry",
      "DELETE FROM own",
      "DELETE FROM state",
  };
  g_autoptr(RoomWorld) world = room_world_new(2);
  Keeper *keeper = room_world_keeper(world, 0);
  DocName name, other;
  g_autofree char *kept = NULL;
  gsize length;
  make_document(world, &name);
  make_document(world, &other);
  device_type(device_new(keeper, &name, 1), 0, "text");
  g_free(room_world_settle(world, &name, 4));
  g_clear_pointer(&keeper->room, doc_room_free);
  g_assert_true(g_file_get_contents(keeper->path, &kept, &length, NULL));
  for (guint i = 0; i < G_N_ELEMENTS(damages); i++) {
    g_autoptr(GError) error = NULL;
    run_sql(keeper, damages[i]);
    g_autoptr(DocRoom) room = open_again(keeper, &error);
    if (room || error->code != DOPPEL_ERROR_FAILED)
      g_error("%s: %s", damages[i], error ? error->message : "it was taken");
    g_assert_true(g_file_set_contents(keeper->path, kept, (gssize)length, NULL));
  }
  keeper->room = open_again(keeper, NULL);
  g_assert_nonnull(keeper->room);
}

/* ---- other clones ---- */

static void
say(int fd, GBytes *message)
{
  gsize length;
  const void *data = g_bytes_get_data(message, &length);
  guint32 prefix = GUINT32_TO_BE((guint32)length);
  g_assert_cmpint(send(fd, &prefix, sizeof prefix, MSG_NOSIGNAL), ==, sizeof prefix);
  g_assert_cmpint(send(fd, data, length, MSG_NOSIGNAL), ==, length);
}

typedef struct {
  int fd;
  GBytes *message;
} Said;

static gpointer
say_apart(gpointer data)
{
  const Said *said = data;
  say(said->fd, said->message);
  return NULL;
}

static int
converse(Keeper *keeper, DocRoomService service, const Keeper *from)
{
  int ends[2];
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  doc_room_converse(keeper->room, ends[1], service, from ? identity_key_public(from->user) : NULL, "user");
  return ends[0];
}

static DocRoomPeerAnswer *
tell(Keeper *keeper, DocRoomService service, const Keeper *from, GBytes *message)
{
  g_autoptr(GByteArray) in = g_byte_array_new();
  g_autoptr(GBytes) frame = NULL;
  guint8 buffer[65536];
  gsize length;
  int fd = converse(keeper, service, from);
  Said said = {fd, message};
  GThread *thread = g_thread_new("say", say_apart, &said);
  for (gssize got = -1; got != 0;) {
    room_world_step(keeper->world);
    got = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got > 0)
      g_byte_array_append(in, buffer, (guint)got);
    g_assert_true(got >= 0 || errno == EAGAIN);
  }
  g_thread_join(thread);
  close(fd);
  g_assert_cmpint(wire_stream_take(in, DOC_ROOM_PEER_MAX, &frame, NULL), ==, 1);
  const void *data = g_bytes_get_data(frame, &length);
  DocRoomPeerAnswer *answer = doc_room_peer_answer_take(data, length, NULL);
  g_assert_nonnull(answer);
  return answer;
}

/* Of a history that nobody has. */
static GBytes *
sign_other(const ServerWorld *server, const DocName *document, guint64 number)
{
  static const guint8 chain[DOC_CHAIN_LENGTH] = {5};
  guint8 signature[IDENTITY_SIGNATURE_LENGTH];
  Doppel__Wire__DocHead head = DOPPEL__WIRE__DOC_HEAD__INIT;
  Doppel__Wire__DocSigned with = DOPPEL__WIRE__DOC_SIGNED__INIT;
  head.version = 1;
  head.document = wire_borrow(document->bytes, sizeof document->bytes);
  head.number = number;
  head.chain = wire_borrow(chain, sizeof chain);
  g_autoptr(GBytes) statement = wire_pack(&head.base);
  gsize length;
  const void *bytes = g_bytes_get_data(statement, &length);
  statement_sign(server->key, STATEMENT_DOC_HEAD, bytes, length, signature);
  with.statement = wire_borrow(bytes, length);
  with.signature = wire_borrow(signature, sizeof signature);
  return wire_pack(&with.base);
}

/* One message about the same document several times. */
static GBytes *
pack_heads(const DocName *name, GBytes *const *heads, guint count)
{
  Doppel__Room__Head of[2], *all[2];
  DocRoomHeads message = DOPPEL__ROOM__HEADS__INIT;
  for (guint i = 0; i < count; i++) {
    of[i] = (Doppel__Room__Head)DOPPEL__ROOM__HEAD__INIT;
    of[i].document = wire_borrow(name->bytes, sizeof name->bytes);
    of[i].head = wire_borrow_bytes(heads[i]);
    all[i] = &of[i];
  }
  message.heads = all;
  message.n_heads = count;
  return wire_pack(&message.base);
}

static void
check_proofs(const DocRoomPeerAnswer *answer, const ServerWorld *server)
{
  for (gsize i = 0; i < answer->n_heads; i++) {
    const ProtobufCBinaryData *proof = &answer->heads[i]->proof;
    DocEvidence evidence;
    g_assert_true(
        doc_evidence_check(proof->data, proof->len, identity_key_public(server->key), &evidence, NULL));
  }
}

/* The old conflict, known since the recovery, and a new one: the answer shows proofs that are there. */
static void
test_told_twice(void)
{
  g_autoptr(RoomWorld) world = room_world_new(2);
  Keeper *keeper = room_world_keeper(world, 0), *other = room_world_keeper(world, 1);
  const ServerWorld *server = room_world_server(world, 0);
  DocName name;
  make_document(world, &name);
  Device *device = device_new(keeper, &name, 1);
  device_type(device, 0, "one");
  g_free(room_world_settle(world, &name, 3));
  world->apart = TRUE;
  g_autoptr(GBytes) old = sign_other(server, &name, 3), newer = sign_other(server, &name, 4);
  GBytes *heads[] = {old, newer};
  g_autoptr(GBytes) first = pack_heads(&name, heads, 1), second = pack_heads(&name, heads, 2);
  g_autoptr(DocRoomPeerAnswer) shown = tell(keeper, DOC_ROOM_HEADS, other, first);
  g_assert_cmpuint(shown->n_heads, ==, 1);
  check_proofs(shown, server);
  await(keeper, &name, DOPPEL__ROOM__STATE__STOPPED, 3);
  g_assert_cmpint(keeper_recover(keeper, &name, NULL), ==, DOC_ROOM_WHY(NONE));
  await(keeper, &name, DOPPEL__ROOM__STATE__JOINED, 3);
  device_type(device, 0, "two");
  g_free(room_world_settle(world, &name, 6));
  await(keeper, &name, DOPPEL__ROOM__STATE__JOINED, 4);
  g_autoptr(DocRoomPeerAnswer) again = tell(keeper, DOC_ROOM_HEADS, other, second);
  g_assert_cmpuint(again->n_heads, ==, 2);
  check_proofs(again, server);
  await(keeper, &name, DOPPEL__ROOM__STATE__STOPPED, 4);
}

/* No member and server make a document deaf to what comes later: however long a history was signed, a
 * recovery pardons no more than some entries further than one's own. */
static void
test_pardon(void)
{
  g_autoptr(RoomWorld) world = room_world_new(2);
  Keeper *keeper = room_world_keeper(world, 0), *other = room_world_keeper(world, 1);
  ServerWorld *server = room_world_server(world, 0);
  DocName name;
  make_document(world, &name);
  device_type(device_new(keeper, &name, 1), 0, "one");
  g_free(room_world_settle(world, &name, 3));
  world->apart = TRUE;
  g_autoptr(GBytes) far = sign_other(server, &name, 1ull << 62), message = pack_heads(&name, &far, 1);
  doc_room_peer_answer_free(tell(keeper, DOC_ROOM_HEADS, other, message));
  g_assert_cmpint(keeper_recover(keeper, &name, server), ==, DOC_ROOM_WHY(NONE));
  await(keeper, &name, DOPPEL__ROOM__STATE__JOINED, 3);
  g_assert_cmpuint(room_find(keeper->room, name.bytes)->pardon, ==, 3 + 2 * DOC_BEHIND_MAX);
}

/* Of the history that is here, and of another one. */
static GBytes *
make_proof(const Keeper *keeper, const ServerWorld *server, const DocName *name)
{
  const RoomDocument *document = room_find(keeper->room, name->bytes);
  const IdentityPublic *key = identity_key_public(server->key);
  g_autoptr(GError) error = NULL;
  g_auto(DocHead) other = {0};
  g_autoptr(GBytes) packed = sign_other(server, name, document->head.number);
  gsize length;
  const void *data = g_bytes_get_data(packed, &length);
  g_assert_true(doc_head_decode(&other, data, length, key, &error));
  GBytes *proof = doc_evidence_of_heads(&other, &document->head, &document->head.chain, NULL, key, &error);
  g_assert_no_error(error);
  return proof;
}

static GBytes *
pack_proofs(const DocName *name, GBytes *const *proofs, guint count)
{
  Doppel__Room__Head of[2], *all[2];
  DocRoomHeads message = DOPPEL__ROOM__HEADS__INIT;
  for (guint i = 0; i < count; i++) {
    of[i] = (Doppel__Room__Head)DOPPEL__ROOM__HEAD__INIT;
    of[i].document = wire_borrow(name->bytes, sizeof name->bytes);
    of[i].proof = wire_borrow_bytes(proofs[i]);
    all[i] = &of[i];
  }
  message.heads = all;
  message.n_heads = count;
  return wire_pack(&message.base);
}

/* Who has shown much that proves nothing has to wait, and is not told that more was looked at. */
static void
test_many_proofs(void)
{
  g_autoptr(RoomWorld) world = room_world_new(2);
  Keeper *keeper = room_world_keeper(world, 0), *other = room_world_keeper(world, 1);
  const ServerWorld *server = room_world_server(world, 0);
  DocName name;
  make_document(world, &name);
  device_type(device_new(keeper, &name, 1), 0, "one");
  g_free(room_world_settle(world, &name, 3));
  world->apart = TRUE;
  g_autoptr(GBytes) nothing = g_bytes_new_take(g_malloc0(ROOM_PROOF_MAX), ROOM_PROOF_MAX);
  g_autoptr(GBytes) proof = make_proof(keeper, server, &name);
  GBytes *proofs[] = {nothing, proof};
  g_autoptr(GBytes) both = pack_proofs(&name, proofs, 2), alone = pack_proofs(&name, &proofs[1], 1);
  g_autoptr(DocRoomPeerAnswer) answer = tell(keeper, DOC_ROOM_HEADS, other, both);
  g_assert_cmpuint(answer->n_heads, ==, 1);
  await(keeper, &name, DOPPEL__ROOM__STATE__JOINED, 3);
  keeper_kill(keeper); /* it forgets what it has looked at */
  g_autoptr(DocRoomPeerAnswer) again = tell(keeper, DOC_ROOM_HEADS, other, alone);
  g_assert_cmpuint(again->n_heads, ==, 1);
  await(keeper, &name, DOPPEL__ROOM__STATE__STOPPED, 3);
}

static gboolean
is_away(gpointer data)
{
  return ((const RoomPerson *)data)->failures >= 4;
}

static gboolean
is_heard_of(gpointer data)
{
  return ((const RoomPerson *)data)->failures == 0;
}

/* Who cannot be told is tried less and less often, until they are heard of. */
static void
test_away(void)
{
  g_autoptr(RoomWorld) world = room_world_new(2);
  Keeper *keeper = room_world_keeper(world, 0), *other = room_world_keeper(world, 1);
  DocName name;
  make_document(world, &name);
  RoomPerson *person = room_person(room_find(keeper->room, name.bytes), identity_key_public(other->key));
  world->apart = TRUE;
  device_type(device_new(keeper, &name, 1), 0, "one");
  g_free(room_world_settle(world, &name, 3));
  room_world_until(world, is_away, person);
  g_assert_cmpint(room_peers_due(keeper->room), ==,
                  person->told_at + MS((gint64)world->interval_ms << person->failures));
  world->apart = FALSE;
  room_world_until(world, is_heard_of, person);
}

static GBytes *
take_invitation(Keeper *owner)
{
  for (gint64 until = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;;) {
    while (g_main_context_iteration(NULL, FALSE))
      ;
    g_assert_true(doc_room_work(owner->room, NULL));
    g_autoptr(DocErrand) errand = doc_room_next_errand(owner->room);
    if (errand && g_str_equal(errand->service, "doc-invite"))
      return g_bytes_ref(errand->message);
    g_assert_cmpint(g_get_monotonic_time(), <, until);
  }
}

static void
ask_change(Keeper *owner, const DocName *name, const Keeper *who)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Change change = DOPPEL__ROOM__CHANGE__INIT;
  change.document = wire_borrow(name->bytes, sizeof name->bytes);
  change.role = DOPPEL__ROOM__ROLE__WRITER;
  change.origin = wire_borrow(identity_key_public(who->user)->bytes, IDENTITY_PUBLIC_LENGTH);
  change.key = wire_borrow(identity_key_public(who->key)->bytes, IDENTITY_PUBLIC_LENGTH);
  question.what_case = DOC_ROOM_ASK(CHANGE);
  question.change = &change;
  int fd = converse(owner, DOC_ROOM_DEVICE, NULL);
  g_assert_true(wire_stream_send(fd, &question.base, NULL));
  g_assert_true(doc_room_work(owner->room, NULL));
  close(fd);
}

/* An invitation comes again at the moment when a device asks about the first. */
static void
test_invited_again(void)
{
  g_autoptr(RoomWorld) world = room_world_new(2);
  Keeper *owner = room_world_keeper(world, 0), *other = room_world_keeper(world, 1);
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  DocName name;
  keeper_create(owner, room_world_server(world, 0), &name);
  await(owner, &name, DOPPEL__ROOM__STATE__JOINED, 1);
  ask_change(owner, &name, other);
  g_autoptr(GBytes) invitation = take_invitation(owner);
  g_autoptr(DocRoomPeerAnswer) taken = tell(other, DOC_ROOM_INVITE, owner, invitation);
  g_assert_true(taken->taken);
  question.what_case = DOC_ROOM_ASK(VERIFY);
  question.verify = wire_borrow(name.bytes, sizeof name.bytes);
  int device = converse(other, DOC_ROOM_DEVICE, NULL), clone = converse(other, DOC_ROOM_INVITE, owner);
  g_assert_true(wire_stream_send(device, &question.base, NULL));
  say(clone, invitation);
  g_assert_true(doc_room_work(other->room, NULL));
  g_assert_true(doc_room_work(other->room, NULL));
  /* The device has to ask again, about the one that there is now. */
  guint8 byte;
  g_assert_cmpint(recv(device, &byte, 1, MSG_DONTWAIT), ==, 0);
  close(device);
  close(clone);
  await(other, &name, DOPPEL__ROOM__STATE__INVITED, 0);
}

/* A byte now and then, of an answer that is never over. */
static gpointer
drip(gpointer data)
{
  const int fd = GPOINTER_TO_INT(data);
  guint32 prefix = GUINT32_TO_BE(DOC_ROOM_PEER_MAX);
  guint8 byte = 0;
  g_assert_cmpint(send(fd, &prefix, sizeof prefix, MSG_NOSIGNAL), ==, sizeof prefix);
  while (send(fd, &byte, 1, MSG_NOSIGNAL) == 1)
    g_usleep(10000);
  return NULL;
}

static void
assert_no_answer(int fd, gsize length)
{
  g_autoptr(GError) error = NULL;
  g_autofree guint8 *bytes = g_malloc0(length);
  g_autoptr(GBytes) message = g_bytes_new(bytes, length);
  g_assert_null(
      wire_stream_exchange(fd, message, DOC_ROOM_PEER_MAX, g_get_monotonic_time() + 200000, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
}

/* Who says a little again and again, or reads nothing, is left when the time is over. */
static void
test_slow(void)
{
  int says[2], reads[2];
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, says), ==, 0);
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, reads), ==, 0);
  GThread *thread = g_thread_new("drip", drip, GINT_TO_POINTER(says[1]));
  assert_no_answer(says[0], 5);
  close(says[0]);
  g_thread_join(thread);
  close(says[1]);
  assert_no_answer(reads[0], DOC_ROOM_PEER_MAX);
  close(reads[0]);
  close(reads[1]);
}

static glong
memory_peak(void)
{
  struct rusage usage;
  g_assert_cmpint(getrusage(RUSAGE_SELF, &usage), ==, 0);
  return usage.ru_maxrss; /* KiB */
}

static gpointer
same_many_times(gpointer message, gsize count)
{
  gpointer *all = g_new(gpointer, count);
  for (gsize i = 0; i < count; i++)
    all[i] = message;
  return all;
}

static GBytes *
pack_many_heads(gsize count)
{
  Doppel__Room__Head head = DOPPEL__ROOM__HEAD__INIT;
  DocRoomHeads message = DOPPEL__ROOM__HEADS__INIT;
  g_autofree Doppel__Room__Head **all = same_many_times(&head, count);
  message.heads = all;
  message.n_heads = count;
  return wire_pack(&message.base);
}

static GBytes *
pack_many_members(gsize count)
{
  static const guint8 signature[IDENTITY_SIGNATURE_LENGTH];
  Doppel__Wire__DocMember member = DOPPEL__WIRE__DOC_MEMBER__INIT;
  Doppel__Wire__DocMembers members = DOPPEL__WIRE__DOC_MEMBERS__INIT;
  Doppel__Wire__DocStatement statement = DOPPEL__WIRE__DOC_STATEMENT__INIT;
  Doppel__Wire__DocEntry entry = DOPPEL__WIRE__DOC_ENTRY__INIT;
  g_autofree Doppel__Wire__DocMember **all = same_many_times(&member, count);
  members.changes = all;
  members.n_changes = count;
  statement.version = 1;
  statement.body_case = DOPPEL__WIRE__DOC_STATEMENT__BODY_MEMBERS;
  statement.members = &members;
  g_autoptr(GBytes) packed = wire_pack(&statement.base);
  entry.statement = wire_borrow_bytes(packed);
  entry.signature = wire_borrow(signature, sizeof signature);
  return wire_pack(&entry.base);
}

static GBytes *
pack_many_entries(gsize count)
{
  Doppel__Wire__DocEvidence evidence = DOPPEL__WIRE__DOC_EVIDENCE__INIT;
  g_autofree ProtobufCBinaryData *all = g_new0(ProtobufCBinaryData, count);
  evidence.version = 1;
  evidence.entries = all;
  evidence.n_entries = count;
  return wire_pack(&evidence.base);
}

/* Empty parts in great number, of two bytes each, are not unpacked into memory of many times their length. */
static void
test_many_small(void)
{
  g_autoptr(GBytes) heads = pack_many_heads(DOC_ROOM_PEER_MAX / 2);
  g_autoptr(GBytes) members = pack_many_members(DOC_ENVELOPE_MAX / 2 - 100);
  g_autoptr(GBytes) entries = pack_many_entries(8u << 20);
  const IdentityPublic server = {{0}};
  DocEvidence evidence;
  gsize length;
  g_assert_cmpuint(g_bytes_get_size(members), <=, DOC_ENVELOPE_MAX);
  glong before = memory_peak();
  const void *data = g_bytes_get_data(heads, &length);
  g_assert_null(doc_room_heads_take(data, length, NULL));
  data = g_bytes_get_data(members, &length);
  g_assert_null(doc_envelope_decode(data, length, NULL));
  data = g_bytes_get_data(entries, &length);
  g_assert_false(doc_evidence_check(data, length, &server, &evidence, NULL));
  g_assert_cmpint(memory_peak() - before, <, 200 << 10);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/room/damaged", test_damaged);
  g_test_add_func("/room/told-twice", test_told_twice);
  g_test_add_func("/room/pardon", test_pardon);
  g_test_add_func("/room/many-proofs", test_many_proofs);
  g_test_add_func("/room/away", test_away);
  g_test_add_func("/room/invited-again", test_invited_again);
  g_test_add_func("/room/slow", test_slow);
  g_test_add_func("/room/many-small", test_many_small);
  return g_test_run();
}
