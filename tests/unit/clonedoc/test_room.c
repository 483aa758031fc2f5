/* Rooms of several users around real ordering servers, over loopback. */
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "clonedoc/evidence.h"
#include "clonedoc/room/room_struct.h"
#include "identity/statement.h"
#include "room_world.h"
#include "wire/doc.pb-c.h"
#include "wire/message.h"

#define WRITER    DOPPEL__ROOM__ROLE__WRITER
#define READER    DOPPEL__ROOM__ROLE__READER
#define NO_MEMBER DOPPEL__ROOM__ROLE__NO_MEMBER

typedef struct {
  Keeper *keeper;
  const DocName *name;
  Doppel__Room__State state;
} Wanted;

static gboolean
has_state(gpointer data)
{
  const Wanted *wanted = data;
  g_autoptr(DocRoomAnswer) row = keeper_row(wanted->keeper, wanted->name);
  return row && row->row->state == wanted->state;
}

static void
await_state(Keeper *keeper, const DocName *name, Doppel__Room__State state)
{
  Wanted wanted = {keeper, name, state};
  room_world_until(keeper->world, has_state, &wanted);
}

static gboolean
is_there(gpointer data)
{
  const Wanted *wanted = data;
  g_autoptr(DocRoomAnswer) row = keeper_row(wanted->keeper, wanted->name);
  return row && row->row->number > 0;
}

/* A document of the first one's, in which all others have that role. */
static void
make_document(RoomWorld *world, DocName *name, Doppel__Room__Role role, gboolean from_now)
{
  Keeper *owner = room_world_keeper(world, 0);
  keeper_create(owner, room_world_server(world, 0), name);
  Wanted wanted = {owner, name};
  room_world_until(world, is_there, &wanted);
  for (guint i = 1; i < world->keepers->len; i++) {
    Keeper *other = room_world_keeper(world, i);
    g_assert_cmpint(keeper_change(owner, name, other, role, from_now), ==, DOC_ROOM_WHY(NONE));
    await_state(other, name, DOPPEL__ROOM__STATE__INVITED);
    g_assert_cmpint(keeper_accept(other, name), ==, DOC_ROOM_WHY(NONE));
    await_state(other, name, DOPPEL__ROOM__STATE__JOINED);
  }
}

static gboolean
is_delivered(gpointer data)
{
  const Wanted *wanted = data;
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  question.members = wire_borrow(wanted->name->bytes, DOC_NAME_LENGTH);
  g_autoptr(GPtrArray) answers = keeper_ask(wanted->keeper, &question, DOC_ROOM_ASK(MEMBERS));
  gboolean delivered = answers->len == wanted->keeper->world->keepers->len + 1;
  for (guint i = 0; i + 1 < answers->len; i++) {
    const DocRoomAnswer *answer = answers->pdata[i];
    delivered = delivered && !answer->person->invited && !answer->person->words[0] &&
                (answer->person->own || answer->person->head > 0);
  }
  return delivered;
}

static void
test_together(void)
{
  g_autoptr(RoomWorld) world = room_world_new(3);
  DocName name;
  make_document(world, &name, WRITER, FALSE);
  Wanted wanted = {room_world_keeper(world, 0), &name};
  room_world_until(world, is_delivered, &wanted);
  Device *devices[4];
  for (guint i = 0; i < 3; i++)
    devices[i] = device_new(room_world_keeper(world, i), &name, 1);
  devices[3] = device_new(room_world_keeper(world, 0), &name, 2); /* another device of the first user */
  for (guint i = 0; i < 4; i++)
    device_type(devices[i], 0, "abc");
  g_autofree char *text = room_world_settle(world, &name, 12);
  for (guint i = 0; i < 4; i++)
    device_delete(devices[i], 0, 1);
  device_type(devices[2], 3, "\xf0\x9f\x99\x82");
  for (guint i = 0; i < 100; i++)
    room_world_step(world);
  g_assert_cmpuint(ot_text_length(devices[0]->text), <=, 12);
  g_autofree char *after = room_world_settle(world, &name, ot_text_length(devices[2]->text));
  g_assert_nonnull(strstr(after, "\xf0\x9f\x99\x82"));
}

static gboolean
has_all_said(gpointer data)
{
  return ((const Device *)data)->said > 0;
}

static gboolean
is_taken(gpointer data)
{
  return doc_pair_is_settled(((const Device *)data)->pair);
}

/* When the room has said everything the device has it, however much it is, and also where it is as long as
 * what the device had. */
static void
test_said(void)
{
  enum { PIECE = 64 << 10, LENGTH = 80 * PIECE }; /* of characters: more than one message carries */
  g_autoptr(RoomWorld) world = room_world_new(1);
  g_autofree char *piece = g_strnfill(PIECE, 'a');
  DocName name;
  make_document(world, &name, WRITER, FALSE);
  Device *first = device_new(room_world_keeper(world, 0), &name, 1);
  for (guint i = 0; i < LENGTH / PIECE; i++) {
    device_type(first, 0, piece);
    room_world_until(world, is_taken, first);
  }
  Device *second = device_new(room_world_keeper(world, 0), &name, 2);
  room_world_until(world, has_all_said, second);
  g_assert_cmpuint(ot_text_length(second->text), ==, LENGTH);
  for (guint round = 0; round < 5; round++) {
    room_world_until(world, is_taken, first);
    device_cut(second);
    second->said = 0;
    device_type(first, round, "b");
    device_delete(first, LENGTH, 1);
    room_world_until(world, has_all_said, second);
    g_autofree char *one = device_text(first), *other = device_text(second);
    g_assert_true(g_str_equal(one, other));
  }
}

static gboolean
has_said_twice(gpointer data)
{
  return ((const Device *)data)->said == 2;
}

/* Who has just accepted is told that all was said when the history has been read; where the server is away,
 * at once, and that it is not there. */
static void
test_joining(gconstpointer from_now)
{
  g_autoptr(RoomWorld) world = room_world_new(3);
  Keeper *owner = room_world_keeper(world, 0);
  DocName name;
  keeper_create(owner, room_world_server(world, 0), &name);
  Wanted wanted = {owner, &name};
  room_world_until(world, is_there, &wanted);
  device_type(device_new(owner, &name, 1), 0, "before");
  g_free(room_world_settle(world, &name, 6));
  for (guint i = 1; i < 3; i++) {
    Keeper *other = room_world_keeper(world, i);
    g_assert_cmpint(keeper_change(owner, &name, other, WRITER, from_now != NULL), ==, DOC_ROOM_WHY(NONE));
    await_state(other, &name, DOPPEL__ROOM__STATE__INVITED);
  }
  g_assert_cmpint(keeper_accept(room_world_keeper(world, 1), &name), ==, DOC_ROOM_WHY(NONE));
  Device *soon = device_new(room_world_keeper(world, 1), &name, 1);
  room_world_until(world, has_all_said, soon);
  g_autofree char *text = device_text(soon);
  g_assert_cmpstr(text, ==, "before");
  g_assert_cmpint(soon->state, ==, DOPPEL__ROOM__STATE__JOINED);

  server_world_stop(room_world_server(world, 0));
  g_assert_cmpint(keeper_accept(room_world_keeper(world, 2), &name), ==, DOC_ROOM_WHY(NONE));
  Device *late = device_new(room_world_keeper(world, 2), &name, 1);
  room_world_until(world, has_all_said, late);
  g_assert_cmpuint(ot_text_length(late->text), ==, 0);
  g_assert_cmpint(late->state, ==, DOPPEL__ROOM__STATE__JOINING);
  g_assert_false(late->whole);
  server_world_start(room_world_server(world, 0));
  room_world_until(world, has_said_twice, late);
  g_autofree char *later = device_text(late);
  g_assert_cmpstr(later, ==, "before");
  g_assert_cmpint(late->state, ==, DOPPEL__ROOM__STATE__JOINED);
  g_assert_true(late->whole);
}

/* Where the server lies to who has just accepted there is no text, either. */
static void
test_joining_stopped(void)
{
  g_autoptr(RoomWorld) world = room_world_new(2);
  Keeper *owner = room_world_keeper(world, 0), *other = room_world_keeper(world, 1);
  DocName name;
  keeper_create(owner, room_world_server(world, 0), &name);
  Wanted wanted = {owner, &name};
  room_world_until(world, is_there, &wanted);
  g_assert_cmpint(keeper_change(owner, &name, other, WRITER, FALSE), ==, DOC_ROOM_WHY(NONE));
  await_state(other, &name, DOPPEL__ROOM__STATE__INVITED);
  server_world_stop(room_world_server(world, 0));
  g_assert_cmpint(keeper_accept(other, &name), ==, DOC_ROOM_WHY(NONE));
  RoomDocument *document = room_find(other->room, name.bytes);
  g_assert_false(doc_document_stop(document->doc, DOC_FAULT_FORK, 1, NULL));
  Device *device = device_new(other, &name, 1);
  room_world_until(world, has_all_said, device);
  g_assert_cmpint(device->state, ==, DOPPEL__ROOM__STATE__STOPPED);
  g_assert_false(device->whole);
}

static Doppel__Room__Why
change_found(Keeper *owner, const DocName *name, const char *user, const char *found, const Keeper *who,
             Doppel__Room__Role role)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Change change = DOPPEL__ROOM__CHANGE__INIT;
  change.document = wire_borrow(name->bytes, sizeof name->bytes);
  change.user = (char *)user;
  change.name = (char *)found;
  change.role = role;
  if (who) {
    change.origin = wire_borrow(identity_key_public(who->user)->bytes, IDENTITY_PUBLIC_LENGTH);
    change.key = wire_borrow(identity_key_public(who->key)->bytes, IDENTITY_PUBLIC_LENGTH);
  }
  question.change = &change;
  g_autoptr(GPtrArray) answers = keeper_ask(owner, &question, DOC_ROOM_ASK(CHANGE));
  const DocRoomAnswer *first = answers->pdata[0];
  return first->what_case == DOC_ROOM_TELL(FAILED) ? first->failed->why : DOC_ROOM_WHY(NONE);
}

static Doppel__Room__Why
change_named(Keeper *owner, const DocName *name, const char *user, const Keeper *who, Doppel__Room__Role role)
{
  return change_found(owner, name, user, "", who, role);
}

/* Of two who are called the same nobody is removed by that name; of one who is left they are. */
static void
test_names(void)
{
  g_autoptr(RoomWorld) world = room_world_new(3);
  Keeper *owner = room_world_keeper(world, 0), *one = room_world_keeper(world, 1),
         *other = room_world_keeper(world, 2);
  DocName name;
  keeper_create(owner, room_world_server(world, 0), &name);
  Wanted wanted = {owner, &name};
  room_world_until(world, is_there, &wanted);
  g_assert_cmpint(change_named(owner, &name, "dora", one, WRITER), ==, DOC_ROOM_WHY(NONE));
  /* A clone that has found somebody else under that name has not found whom its owner knows. */
  g_assert_cmpint(change_found(owner, &name, "dora", "dora", other, READER), ==, DOC_ROOM_WHY(MISUSED));
  g_assert_cmpint(change_found(owner, &name, "dora", "dora", one, WRITER), ==, DOC_ROOM_WHY(NONE));
  g_assert_cmpint(change_named(owner, &name, "dora", other, WRITER), ==, DOC_ROOM_WHY(NONE));
  for (guint i = 1; i < 3; i++) {
    Keeper *each = room_world_keeper(world, i);
    await_state(each, &name, DOPPEL__ROOM__STATE__INVITED);
    g_assert_cmpint(keeper_accept(each, &name), ==, DOC_ROOM_WHY(NONE));
    await_state(each, &name, DOPPEL__ROOM__STATE__JOINED);
  }
  g_assert_cmpint(change_named(owner, &name, "dora", NULL, NO_MEMBER), ==, DOC_ROOM_WHY(MISUSED));
  g_assert_cmpint(change_named(owner, &name, "nora", NULL, NO_MEMBER), ==, DOC_ROOM_WHY(NOT_FOUND));
  g_autofree char *key = identity_public_to_text(identity_key_public(one->user));
  g_autofree char *user = g_strconcat("key:", key, NULL);
  g_assert_cmpint(change_named(owner, &name, user, NULL, NO_MEMBER), ==, DOC_ROOM_WHY(NONE));
  await_state(one, &name, DOPPEL__ROOM__STATE__REMOVED);
  await_state(other, &name, DOPPEL__ROOM__STATE__JOINED);
  g_assert_cmpint(change_named(owner, &name, "dora", NULL, NO_MEMBER), ==, DOC_ROOM_WHY(NONE));
  await_state(other, &name, DOPPEL__ROOM__STATE__REMOVED);
}

/* Rooms and links end at any step; each key is in the text once. */
static void
test_kills(void)
{
  g_autoptr(RoomWorld) world = room_world_new(2);
  g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
  DocName name;
  make_document(world, &name, WRITER, FALSE);
  Device *devices[3] = {device_new(room_world_keeper(world, 0), &name, 1),
                        device_new(room_world_keeper(world, 1), &name, 1),
                        device_new(room_world_keeper(world, 1), &name, 2)};
  guint typed = 0;
  for (guint i = 0; i < 400; i++) {
    Device *device = devices[g_rand_int_range(rand, 0, 3)];
    switch (g_rand_int_range(rand, 0, 8)) {
    case 0:
      keeper_kill(device->keeper);
      break;
    case 1:
      device_cut(device);
      break;
    case 2:
      if (i % 16 == 0) {
        server_world_stop(room_world_server(world, 0));
        server_world_start(room_world_server(world, 0));
      }
      break;
    default: {
      char key[8];
      key[g_unichar_to_utf8(0x4e00 + typed++, key)] = '\0';
      device_type(device, (gsize)g_rand_int_range(rand, 0, (gint32)ot_text_length(device->text) + 1), key);
    }
    }
    for (gint32 steps = g_rand_int_range(rand, 0, 4); steps > 0; steps--)
      room_world_step(world);
  }
  g_autofree char *text = room_world_settle(world, &name, typed);
  for (guint i = 0; i < typed; i++) {
    char key[8];
    key[g_unichar_to_utf8(0x4e00 + i, key)] = '\0';
    const char *at = strstr(text, key);
    g_assert_nonnull(at);
    g_assert_null(strstr(at + 1, key));
  }
}

/* Who was removed keeps what there was, and gets and gives nothing more. */
static void
test_removed(void)
{
  g_autoptr(RoomWorld) world = room_world_new(3);
  DocName name;
  make_document(world, &name, WRITER, FALSE);
  Device *first = device_new(room_world_keeper(world, 0), &name, 1);
  Device *second = device_new(room_world_keeper(world, 1), &name, 1);
  Device *removed = device_new(room_world_keeper(world, 2), &name, 1);
  device_type(first, 0, "before");
  g_free(room_world_settle(world, &name, 6));
  g_assert_cmpint(
      keeper_change(room_world_keeper(world, 0), &name, room_world_keeper(world, 2), NO_MEMBER, FALSE), ==,
      DOC_ROOM_WHY(NONE));
  await_state(room_world_keeper(world, 2), &name, DOPPEL__ROOM__STATE__REMOVED);
  device_type(first, 6, " after");
  device_type(removed, 0, "mine");
  while (ot_text_length(second->text) != 12 || ot_text_length(removed->text) != 6)
    room_world_step(world);
  g_autofree char *text = device_text(removed), *shown = device_text(second);
  g_assert_cmpstr(text, ==, "before");
  g_assert_cmpstr(shown, ==, "before after");
  g_assert_cmpint(
      keeper_change(room_world_keeper(world, 2), &name, room_world_keeper(world, 1), NO_MEMBER, FALSE), ==,
      DOC_ROOM_WHY(DENIED));
}

static const Doppel__Room__Finding *
ask_check(Keeper *keeper, const DocName *name, GPtrArray **answers)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  question.check = wire_borrow(name->bytes, sizeof name->bytes);
  *answers = keeper_ask(keeper, &question, DOC_ROOM_ASK(CHECK));
  g_assert_cmpuint((*answers)->len, ==, 2);
  const DocRoomAnswer *first = (*answers)->pdata[0];
  g_assert_cmpint(first->what_case, ==, DOC_ROOM_TELL(FINDING));
  return first->finding;
}

/* All members are asked, however many there are, and the device is told how many did not answer. */
static void
test_check(void)
{
  enum { MEMBERS = 12 };
  g_autoptr(RoomWorld) world = room_world_new(MEMBERS);
  g_autoptr(GPtrArray) answers = NULL, apart = NULL;
  DocName name;
  world->interval_ms = 1 << 30;
  for (guint i = 0; i < MEMBERS; i++)
    keeper_kill(room_world_keeper(world, i));
  make_document(world, &name, WRITER, FALSE);
  const Doppel__Room__Finding *finding = ask_check(room_world_keeper(world, 3), &name, &answers);
  g_assert_cmpuint(finding->silent, ==, 0);
  g_assert_cmpuint(finding->number, ==, MEMBERS);
  g_assert_cmpuint(finding->server, ==, MEMBERS);
  g_assert_cmpstr(finding->fault, ==, "");
  world->apart = TRUE;
  g_assert_cmpuint(ask_check(room_world_keeper(world, 3), &name, &apart)->silent, ==, MEMBERS - 1);
}

/* What a reader's program types all the same is taken back. */
static void
test_reader(void)
{
  g_autoptr(RoomWorld) world = room_world_new(2);
  DocName name;
  make_document(world, &name, READER, FALSE);
  Device *writer = device_new(room_world_keeper(world, 0), &name, 1);
  Device *reader = device_new(room_world_keeper(world, 1), &name, 1);
  device_type(writer, 0, "for all");
  g_free(room_world_settle(world, &name, 7));
  device_type(reader, 0, "not ");
  g_autofree char *text = room_world_settle(world, &name, 7);
  g_assert_cmpstr(text, ==, "for all");
}

static void
sql(Keeper *keeper, const char *format, ...)
{
  va_list words;
  char *problem = NULL;
  va_start(words, format);
  g_autofree char *text = g_strdup_vprintf(format, words);
  va_end(words);
  sqlite3_exec(keeper->room->db, text, NULL, NULL, &problem);
  g_assert_cmpstr(problem, ==, NULL);
}

/* The entry that is found damaged; -1: nothing is damaged. */
static gint64
find_damage(Keeper *keeper, const DocName *name)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  question.verify = wire_borrow(name->bytes, sizeof name->bytes);
  g_autoptr(GPtrArray) answers = keeper_ask(keeper, &question, DOC_ROOM_ASK(VERIFY));
  for (guint i = 0; i < answers->len; i++) {
    const DocRoomAnswer *answer = answers->pdata[i];
    if (answer->what_case != DOC_ROOM_TELL(FINDING))
      continue;
    g_assert_cmpstr(answer->finding->fault, ==, "");
    g_assert_cmpuint(answer->finding->unread, ==, 0);
    g_test_message("%" G_GUINT64_FORMAT ": %s", answer->finding->damaged, answer->finding->damage);
    return answer->finding->damage[0] ? (gint64)answer->finding->damaged : -1;
  }
  g_assert_not_reached();
}

/* What has become a member's in this moment is whole, though not on the disk yet. */
static void
test_verify_at_once(void)
{
  g_autoptr(RoomWorld) world = room_world_new(2);
  DocName name;
  int ends[2];
  Keeper *owner = room_world_keeper(world, 0), *other = room_world_keeper(world, 1);
  DocRoomQuestion accept = DOPPEL__ROOM__QUESTION__INIT;
  keeper_create(owner, room_world_server(world, 0), &name);
  Wanted wanted = {owner, &name};
  room_world_until(world, is_there, &wanted);
  g_assert_cmpint(keeper_change(owner, &name, other, WRITER, FALSE), ==, DOC_ROOM_WHY(NONE));
  await_state(other, &name, DOPPEL__ROOM__STATE__INVITED);
  accept.what_case = DOC_ROOM_ASK(ACCEPT);
  accept.accept = wire_borrow(name.bytes, sizeof name.bytes);
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  g_auto(Fd) fd = ends[0];
  doc_room_converse(other->room, ends[1], DOC_ROOM_DEVICE, NULL, NULL);
  g_assert_true(wire_stream_send(fd, &accept.base, NULL));
  g_assert_cmpint(find_damage(other, &name), ==, -1); /* in the same step */
  await_state(other, &name, DOPPEL__ROOM__STATE__JOINED);
}

/* Who is invited from now on sees the text, and not what made it. */
static void
test_from_now(void)
{
  g_autoptr(RoomWorld) world = room_world_new(2);
  DocName name;
  Keeper *owner = room_world_keeper(world, 0), *late = room_world_keeper(world, 1);
  keeper_create(owner, room_world_server(world, 0), &name);
  Device *first = device_new(owner, &name, 1);
  device_type(first, 0, "secret");
  g_free(room_world_settle(world, &name, 6));
  device_delete(first, 0, 6);
  device_type(first, 0, "public");
  g_free(room_world_settle(world, &name, 6));
  g_assert_cmpint(keeper_change(owner, &name, late, WRITER, TRUE), ==, DOC_ROOM_WHY(NONE));
  await_state(late, &name, DOPPEL__ROOM__STATE__INVITED);
  g_assert_cmpint(keeper_accept(late, &name), ==, DOC_ROOM_WHY(NONE));
  Device *second = device_new(late, &name, 1);
  while (ot_text_length(second->text) != 6)
    room_world_step(world);
  device_type(second, 6, "!");
  g_autofree char *text = room_world_settle(world, &name, 7);
  g_assert_cmpstr(text, ==, "public!");
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Range range = DOPPEL__ROOM__RANGE__INIT;
  range.document = wire_borrow(name.bytes, sizeof name.bytes);
  question.log = &range;
  g_autoptr(GPtrArray) answers = keeper_ask(late, &question, DOC_ROOM_ASK(LOG));
  const DocRoomAnswer *entry = answers->pdata[0];
  g_assert_cmpint(entry->what_case, ==, DOC_ROOM_TELL(ENTRY));
  g_assert_cmpuint(entry->entry->number, >, 2);
  g_assert_cmpint(find_damage(late, &name), ==, -1);
  sql(late, "UPDATE entry SET verdict = 2 WHERE number = (SELECT max(number) FROM entry)");
  g_assert_cmpint(find_damage(late, &name), >, 2);
}

/* ---- servers that lie ---- */

static GBytes *
get_proof(Keeper *keeper, const DocName *name, char **fault)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  question.verify = wire_borrow(name->bytes, sizeof name->bytes);
  g_autoptr(GPtrArray) answers = keeper_ask(keeper, &question, DOC_ROOM_ASK(VERIFY));
  g_autoptr(GByteArray) proof = g_byte_array_new();
  for (guint i = 0; i < answers->len; i++) {
    const DocRoomAnswer *answer = answers->pdata[i];
    if (answer->what_case == DOC_ROOM_TELL(PROOF))
      g_byte_array_append(proof, answer->proof.data, (guint)answer->proof.len);
    if (answer->what_case == DOC_ROOM_TELL(FINDING))
      *fault = g_strdup(answer->finding->fault);
  }
  return g_byte_array_free_to_bytes(g_steal_pointer(&proof));
}

/* By who has the server's key only; and it is none of another's, nor with anything changed. */
static void
check_proof(GBytes *proof, const DocName *name, const ServerWorld *server, DocFault fault)
{
  gsize length;
  const guint8 *bytes = g_bytes_get_data(proof, &length);
  g_autoptr(GError) error = NULL;
  g_autoptr(IdentityKey) another = identity_key_generate();
  DocEvidence evidence;
  g_assert_true(doc_evidence_check(bytes, length, identity_key_public(server->key), &evidence, &error));
  g_assert_no_error(error);
  g_assert_cmpint(evidence.fault, ==, fault);
  g_assert_true(doc_name_equal(&evidence.document, name));
  g_assert_false(doc_evidence_check(bytes, length, identity_key_public(another), &evidence, NULL));
  for (gsize i = 0; i < length; i += 1 + length / 200) {
    g_autofree guint8 *other = g_memdup2(bytes, length);
    other[i] ^= 0x40;
    g_assert_false(doc_evidence_check(other, length, identity_key_public(server->key), &evidence, NULL) &&
                   evidence.fault != fault);
  }
}

/* Two groups that never meet at the server, but whose clones talk: named within moments, proved, and what
 * both have written is there after recovery. */
static void
test_fork(void)
{
  g_autoptr(RoomWorld) world = room_world_new(2);
  Keeper *one = room_world_keeper(world, 0), *two = room_world_keeper(world, 1);
  g_autofree char *fault_one = NULL, *fault_two = NULL;
  DocName name;
  make_document(world, &name, WRITER, FALSE);
  Device *first = device_new(one, &name, 1), *second = device_new(two, &name, 1);
  device_type(first, 0, "common ");
  g_free(room_world_settle(world, &name, 7));
  ServerWorld *fork = room_world_fork(world);
  g_assert_cmpint(keeper_recover(two, &name, fork), ==, DOC_ROOM_WHY(NONE));
  await_state(two, &name, DOPPEL__ROOM__STATE__JOINED);
  device_type(first, 7, "left ");
  device_type(second, 7, "right ");
  await_state(one, &name, DOPPEL__ROOM__STATE__STOPPED);
  await_state(two, &name, DOPPEL__ROOM__STATE__STOPPED);
  g_autoptr(GBytes) proof_one = get_proof(one, &name, &fault_one);
  g_autoptr(GBytes) proof_two = get_proof(two, &name, &fault_two);
  g_assert_cmpstr(fault_one, ==, doc_fault_name(DOC_FAULT_TWO_HEADS));
  g_assert_cmpstr(fault_two, ==, doc_fault_name(DOC_FAULT_TWO_HEADS));
  check_proof(proof_one, &name, fork, DOC_FAULT_TWO_HEADS);
  check_proof(proof_two, &name, fork, DOC_FAULT_TWO_HEADS);
  /* It is known after a restart, and what is typed meanwhile is not lost. */
  keeper_kill(two);
  await_state(two, &name, DOPPEL__ROOM__STATE__STOPPED);
  device_type(second, 0, "late ");
  g_assert_cmpint(keeper_recover(two, &name, room_world_server(world, 0)), ==, DOC_ROOM_WHY(NONE));
  g_assert_cmpint(keeper_recover(one, &name, NULL), ==, DOC_ROOM_WHY(NONE));
  g_autofree char *text = room_world_settle(world, &name, 23);
  g_assert_nonnull(strstr(text, "left "));
  g_assert_nonnull(strstr(text, "right "));
  g_assert_nonnull(strstr(text, "late common "));
}

/* While the clones do not talk nobody can know: the histories are both true to who wrote them. */
static void
test_fork_apart(void)
{
  g_autoptr(RoomWorld) world = room_world_new(2);
  Keeper *one = room_world_keeper(world, 0), *two = room_world_keeper(world, 1);
  DocName name;
  make_document(world, &name, WRITER, FALSE);
  Device *first = device_new(one, &name, 1), *second = device_new(two, &name, 1);
  device_type(first, 0, "common ");
  g_free(room_world_settle(world, &name, 7));
  world->apart = TRUE;
  ServerWorld *fork = room_world_fork(world);
  g_assert_cmpint(keeper_recover(two, &name, fork), ==, DOC_ROOM_WHY(NONE));
  await_state(two, &name, DOPPEL__ROOM__STATE__JOINED);
  device_type(first, 7, "left");
  device_type(second, 7, "right, and longer");
  for (guint i = 0; i < 500; i++)
    room_world_step(world);
  await_state(one, &name, DOPPEL__ROOM__STATE__JOINED);
  await_state(two, &name, DOPPEL__ROOM__STATE__JOINED);
  world->apart = FALSE;
  await_state(one, &name, DOPPEL__ROOM__STATE__STOPPED);
  await_state(two, &name, DOPPEL__ROOM__STATE__STOPPED);
}

typedef struct {
  ServerWorld *server;
  guint64 lie_at;
  IdentityPublic to;
  DocChain chain;
  guint64 number;
  const Keeper *knows; /* what came before, to who does not begin at the first entry */
} Liar;

static GBytes *
sign_head(const Liar *liar, const DocName *document)
{
  guint8 signature[IDENTITY_SIGNATURE_LENGTH];
  Doppel__Wire__DocHead head = DOPPEL__WIRE__DOC_HEAD__INIT;
  head.version = 1;
  head.document = wire_borrow(document->bytes, sizeof document->bytes);
  head.number = liar->number;
  head.chain = wire_borrow(liar->chain.bytes, sizeof liar->chain.bytes);
  g_autoptr(GBytes) statement = wire_pack(&head.base);
  gsize length;
  const void *bytes = g_bytes_get_data(statement, &length);
  statement_sign(liar->server->key, STATEMENT_DOC_HEAD, bytes, length, signature);
  Doppel__Wire__DocSigned with = DOPPEL__WIRE__DOC_SIGNED__INIT;
  with.statement = wire_borrow(bytes, length);
  with.signature = wire_borrow(signature, sizeof signature);
  return wire_pack(&with.base);
}

/* Leaves one entry out, and signs what is left. */
static void
leave_out(const IdentityPublic *peer, const DocName *document, DocAnswer *answer, gpointer data)
{
  Liar *liar = data;
  if (!identity_public_equal(peer, &liar->to) || answer->entries->len == 0)
    return;
  if (liar->number == 0 && answer->number > 1) {
    const RoomDocument *document_there = room_find(liar->knows->room, document->bytes);
    liar->number = answer->number - 1;
    liar->chain = *doc_history_chain(doc_document_history(document_there->doc), liar->number);
  }
  g_autoptr(GPtrArray) out = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  guint64 first = liar->number + 1;
  for (guint i = 0; i < answer->entries->len; i++) {
    GBytes *entry = answer->entries->pdata[i];
    gsize length;
    const void *bytes = g_bytes_get_data(entry, &length);
    g_autoptr(DocEnvelope) envelope = doc_envelope_decode(bytes, length, NULL);
    if (answer->number + i == liar->lie_at)
      continue;
    g_ptr_array_add(out, g_bytes_ref(entry));
    doc_envelope_chain(envelope, &liar->chain);
    liar->number++;
  }
  g_ptr_array_unref(answer->entries);
  answer->entries = g_ptr_array_ref(out);
  answer->number = out->len > 0 ? first : 0;
  g_bytes_unref(answer->head);
  answer->head = sign_head(liar, document);
}

static void
lie_to(RoomWorld *world, Liar *liar)
{
  ServerWorld *server = room_world_server(world, 0);
  liar->server = server;
  server_world_stop(server);
  server->options.hand_out = leave_out;
  server->options.data = liar;
  server->options.complain = NULL;
  server_world_start(server);
}

static void
test_left_out(void)
{
  g_autoptr(RoomWorld) world = room_world_new(2);
  Keeper *one = room_world_keeper(world, 0), *two = room_world_keeper(world, 1);
  Liar liar = {.lie_at = 3};
  g_autofree char *fault = NULL;
  DocName name;
  liar.to = *identity_key_public(two->key);
  lie_to(world, &liar);
  make_document(world, &name, WRITER, FALSE);
  Device *first = device_new(one, &name, 1);
  Device *second = device_new(two, &name, 1);
  for (guint i = 0; i < 4; i++) {
    device_type(first, 0, "x");
    while (!doc_pair_is_settled(first->pair))
      room_world_step(world);
    for (guint j = 0; j < 20; j++)
      room_world_step(world);
  }
  await_state(two, &name, DOPPEL__ROOM__STATE__STOPPED);
  g_autoptr(GBytes) proof = get_proof(two, &name, &fault);
  g_assert_cmpstr(fault, !=, "");
  g_assert_cmpuint(g_bytes_get_size(proof), >, 0);
  /* Nothing of it has reached the text. */
  g_assert_cmpuint(ot_text_length(second->text), ==, 0);
  DocEvidence evidence;
  gsize length;
  const void *bytes = g_bytes_get_data(proof, &length);
  g_assert_true(doc_evidence_check(bytes, length, identity_key_public(liar.server->key), &evidence, NULL));
  /* The other one is told. */
  await_state(one, &name, DOPPEL__ROOM__STATE__STOPPED);
}

/* Who began at a checkpoint has not the first entries, and shows what follows: the others are told. */
static void
test_left_out_later(void)
{
  g_autoptr(RoomWorld) world = room_world_new(2);
  Keeper *one = room_world_keeper(world, 0), *two = room_world_keeper(world, 1);
  Liar liar = {.knows = one, .to = *identity_key_public(two->key)};
  g_autofree char *fault = NULL;
  DocName name;
  make_document(world, &name, WRITER, TRUE);
  Device *first = device_new(one, &name, 1), *second = device_new(two, &name, 1);
  device_type(first, 0, "before");
  g_free(room_world_settle(world, &name, 6));
  g_autoptr(DocRoomAnswer) row = keeper_row(two, &name);
  liar.lie_at = row->row->number + 1;
  lie_to(world, &liar);
  device_type(first, 0, "left out");
  while (!doc_pair_is_settled(first->pair))
    room_world_step(world);
  for (guint i = 0; i < 50; i++)
    room_world_step(world);
  device_type(first, 0, "after");
  await_state(two, &name, DOPPEL__ROOM__STATE__STOPPED);
  g_autoptr(GBytes) proof = get_proof(two, &name, &fault);
  g_assert_cmpstr(fault, ==, doc_fault_name(DOC_FAULT_FORK));
  g_assert_cmpuint(g_bytes_get_size(proof), >, 0);
  check_proof(proof, &name, liar.server, DOC_FAULT_FORK);
  g_assert_cmpuint(ot_text_length(second->text), ==, 6);
  await_state(one, &name, DOPPEL__ROOM__STATE__STOPPED);
}

/* A server that lost the end of its log: nobody has to type anything again. */
static void
test_rollback(void)
{
  g_autoptr(RoomWorld) world = room_world_new(2);
  Keeper *one = room_world_keeper(world, 0), *two = room_world_keeper(world, 1);
  DocName name;
  make_document(world, &name, WRITER, FALSE);
  Device *first = device_new(one, &name, 1), *second = device_new(two, &name, 1);
  device_type(first, 0, "early ");
  g_free(room_world_settle(world, &name, 6));
  ServerWorld *old = room_world_fork(world); /* as it was then */
  device_type(second, 6, "middle ");
  g_free(room_world_settle(world, &name, 13));
  device_type(first, 13, "late ");
  g_free(room_world_settle(world, &name, 18));
  /* The very same address: the old server in its place. */
  ServerWorld *now = room_world_server(world, 0);
  server_world_stop(now);
  server_world_stop(old);
  g_autofree char *folder = g_steal_pointer(&now->folder);
  now->folder = g_steal_pointer(&old->folder);
  old->folder = g_strdup(folder);
  server_world_start(now);
  server_world_start(old);
  await_state(one, &name, DOPPEL__ROOM__STATE__STOPPED);
  await_state(two, &name, DOPPEL__ROOM__STATE__STOPPED);
  g_autoptr(DocRoomAnswer) row = keeper_row(one, &name);
  g_assert_cmpstr(row->row->fault, ==, doc_fault_name(DOC_FAULT_ROLLBACK));
  device_type(second, 0, "meanwhile ");
  g_assert_cmpint(keeper_recover(one, &name, NULL), ==, DOC_ROOM_WHY(NONE));
  g_assert_cmpint(keeper_recover(two, &name, NULL), ==, DOC_ROOM_WHY(NONE));
  g_autofree char *text = room_world_settle(world, &name, 28);
  g_assert_cmpstr(text, ==, "meanwhile early middle late ");
}

static guint denied;

/* Of entries that it has taken it denies some. */
static void
deny_some(const IdentityPublic *peer, const DocName *document, DocAnswer *answer, gpointer data)
{
  static guint count;
  if (answer->status != DOC_STATUS(OK) || answer->number == 0 || answer->entries->len > 0 || ++count % 7 != 0)
    return;
  answer->status = DOC_STATUS(DENIED);
  answer->number = 0;
  denied++;
}

/* A server that has nothing of a long history is given it again by both at once: many entries at a time, and
 * each once, whatever it answers. */
static void
test_recover_long(gconstpointer denies)
{
  enum { ROUNDS = 60 };
  g_autoptr(RoomWorld) world = room_world_new(2);
  DocName name;
  make_document(world, &name, WRITER, FALSE);
  Device *first = device_new(room_world_keeper(world, 0), &name, 1);
  Device *second = device_new(room_world_keeper(world, 1), &name, 1);
  for (guint i = 0; i < ROUNDS; i++) {
    device_type(i % 2 ? first : second, 0, "x");
    g_free(room_world_settle(world, &name, i + 1));
  }
  g_autoptr(DocRoomAnswer) before = keeper_row(room_world_keeper(world, 0), &name);
  g_assert_cmpuint(before->row->number, >=, ROUNDS);
  DocServerOptions options = DOC_SERVER_OPTIONS_DEFAULT;
  options.rate = 0;
  options.hand_out = denies ? deny_some : NULL;
  ServerWorld *other = server_world_new(NULL, &options);
  g_ptr_array_add(world->servers, other);
  for (guint i = 0; i < 2; i++)
    g_assert_cmpint(keeper_recover(room_world_keeper(world, i), &name, other), ==, DOC_ROOM_WHY(NONE));
  device_type(first, 0, "y");
  g_free(room_world_settle(world, &name, ROUNDS + 1));
  for (guint i = 0; i < 2; i++) {
    g_autoptr(DocRoomAnswer) row = keeper_row(room_world_keeper(world, i), &name);
    g_assert_cmpint(row->row->state, ==, DOPPEL__ROOM__STATE__JOINED);
    g_assert_cmpuint(row->row->number, ==, before->row->number + 1);
  }
  DocServerCounters counters = doc_server_counters(other->server);
  g_assert_cmpuint(counters.appended, ==, before->row->number + 1);
  if (denies)
    g_assert_cmpuint(denied, >, 0);
  else
    g_assert_cmpuint(counters.batches, <=, counters.appended / 2);
}

static gboolean
has_recovered(gpointer data)
{
  const Wanted *wanted = data;
  g_autoptr(DocRoomAnswer) row = keeper_row(wanted->keeper, wanted->name);
  return row->row->state == DOPPEL__ROOM__STATE__JOINED && row->row->settled;
}

/* Entries of two who wrote at the same time, of which either could be the first, given to a server that is
 * now and then too busy for a long one, and never for a short one: what the other wrote is given, too, and
 * all of it keeps its number, though the other one is away for good. */
static void
test_recover_busy(void)
{
  enum { ROUNDS = 20, LONG = 64 << 10 };
  g_autoptr(RoomWorld) world = room_world_new(2);
  g_autofree char *piece = g_strnfill(LONG, 'a');
  DocName name;
  make_document(world, &name, WRITER, FALSE);
  Device *first = device_new(room_world_keeper(world, 0), &name, 1);
  Device *second = device_new(room_world_keeper(world, 1), &name, 1);
  for (guint i = 0; i < ROUNDS; i++) {
    device_type(first, 0, piece);
    device_type(second, 0, "b");
    g_free(room_world_settle(world, &name, (i + 1) * (LONG + 1)));
  }
  g_autofree char *text = device_text(first);
  g_autoptr(DocRoomAnswer) before = keeper_row(room_world_keeper(world, 0), &name);
  DocServerOptions options = DOC_SERVER_OPTIONS_DEFAULT;
  options.rate = 20;
  ServerWorld *other = server_world_new(NULL, &options);
  g_ptr_array_add(world->servers, other);
  g_assert_cmpint(keeper_recover(room_world_keeper(world, 0), &name, other), ==, DOC_ROOM_WHY(NONE));
  Wanted wanted = {room_world_keeper(world, 0), &name};
  room_world_until(world, has_recovered, &wanted);
  g_assert_cmpuint(doc_server_counters(other->server).busy, >, 0);
  g_autoptr(DocRoomAnswer) row = keeper_row(room_world_keeper(world, 0), &name);
  g_assert_cmpuint(row->row->number, ==, before->row->number);
  g_autofree char *after = device_text(first);
  g_assert_true(g_str_equal(after, text));
}

/* ---- a disk that fails ---- */

/* Each byte of what is kept counts, and the entry is named. None of it is the server's fault. */
static void
test_damaged(void)
{
  g_autoptr(RoomWorld) world = room_world_new(2);
  Keeper *one = room_world_keeper(world, 0);
  DocName name;
  make_document(world, &name, WRITER, FALSE);
  Device *first = device_new(one, &name, 1), *second = device_new(room_world_keeper(world, 1), &name, 1);
  for (guint i = 0; i < 3; i++) {
    device_type(first, 0, "x");
    g_free(room_world_settle(world, &name, 2 * i + 1));
    device_type(second, 0, "y");
    g_free(room_world_settle(world, &name, 2 * i + 2));
  }
  g_autoptr(DocRoomAnswer) row = keeper_row(one, &name);
  gint64 last = (gint64)row->row->number;
  g_assert_cmpint(find_damage(one, &name), ==, -1);
  sql(one, "CREATE TEMP TABLE kept AS SELECT * FROM entry; CREATE TEMP TABLE owned AS SELECT * FROM own;"
           "CREATE TEMP TABLE stated AS SELECT * FROM state");
  for (gint64 number = 1; number <= last; number += 2)
    for (guint i = 1; i < 1000; i += 37) {
      /* Another byte in the place of this one, if there is one. */
      sql(one,
          "UPDATE entry SET entry = CAST(substr(entry, 1, %u) || CASE WHEN substr(entry, %u, 1) = x'55' THEN "
          "x'54' "
          "ELSE x'55' END || substr(entry, %u) AS BLOB) WHERE number = %" G_GINT64_FORMAT
          " AND length(entry) >= %u",
          i - 1, i, i + 1, number, i);
      gboolean changed = sqlite3_changes(one->room->db) > 0;
      g_assert_cmpint(find_damage(one, &name), ==, changed ? number : -1);
      sql(one, "INSERT OR REPLACE INTO entry SELECT * FROM kept");
    }
  const struct {
    const char *sql;
    gint64 number;
  } other[] = {{"DELETE FROM entry WHERE number = 4", 4},
               {"DELETE FROM entry WHERE number = (SELECT max(number) FROM entry)", last},
               {"DELETE FROM entry", 1},
               {"UPDATE entry SET verdict = 2 WHERE number = 5", 5},
               {"UPDATE entry SET entry = x'' WHERE number = 3", 3},
               {"UPDATE entry SET entry = (SELECT entry FROM kept WHERE number = 4) WHERE number = 6", 6},
               {"UPDATE own SET head = CAST(substr(head, 1, length(head) - 1) AS BLOB)", 0},
               {"UPDATE state SET state = CAST(substr(state, 1, length(state) - 1) AS BLOB)", 0}};
  for (guint i = 0; i < G_N_ELEMENTS(other); i++) {
    sql(one, "%s", other[i].sql);
    g_assert_cmpint(find_damage(one, &name), ==, other[i].number);
    sql(one,
        "INSERT OR REPLACE INTO entry SELECT * FROM kept; INSERT OR REPLACE INTO own SELECT * FROM owned;"
        "INSERT OR REPLACE INTO state SELECT * FROM stated");
  }
  g_assert_cmpint(find_damage(one, &name), ==, -1);
  /* What a member keeps who began later is checked, too. */
  g_assert_cmpint(find_damage(room_world_keeper(world, 1), &name), ==, -1);
}

/* ---- others ---- */

/* Invitations fill nobody's clone. */
static void
test_invitations(void)
{
  g_autoptr(RoomWorld) world = room_world_new(2);
  Keeper *owner = room_world_keeper(world, 0), *other = room_world_keeper(world, 1);
  DocName names[20];
  for (guint i = 0; i < 20; i++) {
    keeper_create(owner, room_world_server(world, 0), &names[i]);
    Wanted wanted = {owner, &names[i]};
    room_world_until(world, is_there, &wanted);
    g_assert_cmpint(keeper_change(owner, &names[i], other, WRITER, FALSE), ==, DOC_ROOM_WHY(NONE));
    if (i < 16)
      await_state(other, &names[i], DOPPEL__ROOM__STATE__INVITED);
  }
  for (guint i = 0; i < 200; i++)
    room_world_step(world);
  for (guint i = 16; i < 20; i++)
    g_assert_null(keeper_row(other, &names[i]));
  /* What is left makes room. */
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Leave leave = DOPPEL__ROOM__LEAVE__INIT;
  leave.document = wire_borrow(names[0].bytes, DOC_NAME_LENGTH);
  question.leave = &leave;
  g_autoptr(GPtrArray) left = keeper_ask(other, &question, DOC_ROOM_ASK(LEAVE));
  g_assert_null(keeper_row(other, &names[0]));
  g_assert_cmpint(keeper_change(owner, &names[19], other, WRITER, FALSE), ==, DOC_ROOM_WHY(NONE));
}

/* Who is no member is told nothing, and nonsense is refused. */
static void
test_strangers(void)
{
  g_autoptr(RoomWorld) world = room_world_new(2);
  DocName name;
  keeper_create(room_world_keeper(world, 0), room_world_server(world, 0), &name);
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  DocName unknown = {{9}};
  question.members = wire_borrow(unknown.bytes, sizeof unknown.bytes);
  g_autoptr(GPtrArray) answers = keeper_ask(room_world_keeper(world, 0), &question, DOC_ROOM_ASK(MEMBERS));
  const DocRoomAnswer *answer = answers->pdata[0];
  g_assert_cmpint(answer->what_case, ==, DOC_ROOM_TELL(FAILED));
  g_assert_cmpint(answer->failed->why, ==, DOC_ROOM_WHY(NOT_FOUND));
  g_assert_cmpint(keeper_accept(room_world_keeper(world, 1), &name), ==, DOC_ROOM_WHY(NOT_FOUND));
}

/* A conversation about one document's head; `size` bytes of what is no proof make the question so long. */
static GBytes *
ask_heads(RoomWorld *world, const IdentityPublic *user, const char *says, const DocName *name, gsize size)
{
  int ends[2];
  Doppel__Room__Head head = DOPPEL__ROOM__HEAD__INIT, *heads[] = {&head};
  DocRoomHeads question = DOPPEL__ROOM__HEADS__INIT;
  g_autofree guint8 *noise = g_malloc0(size + 1);
  g_autoptr(GByteArray) out = g_byte_array_new(), in = g_byte_array_new();
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  g_auto(Fd) fd = ends[0];
  head.document = wire_borrow(name->bytes, sizeof name->bytes);
  head.proof = wire_borrow(noise, size);
  question.heads = heads;
  question.n_heads = 1;
  wire_stream_put(out, &question.base);
  doc_room_converse(room_world_keeper(world, 0)->room, ends[1], DOC_ROOM_HEADS, user, says);
  g_assert_cmpint(send(fd, out->data, out->len, MSG_NOSIGNAL), ==, out->len);
  for (;;) {
    guint8 buffer[4096];
    GBytes *frame = NULL;
    room_world_step(world);
    gssize got = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got > 0)
      g_byte_array_append(in, buffer, (guint)got);
    if (wire_stream_take(in, DOC_ROOM_PEER_MAX, &frame, NULL) > 0)
      return frame;
    g_assert_cmpint(got, !=, 0);
  }
}

static gboolean
is_told(GBytes *bytes)
{
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  g_autoptr(DocRoomPeerAnswer) answer = doc_room_peer_answer_take(data, length, NULL);
  g_assert_nonnull(answer);
  g_assert_cmpuint(answer->n_heads, ==, answer->failed ? 0 : 1);
  return !answer->failed;
}

/* Heads are for the document's members: by their keys, whatever they are called. Everybody else hears the
 * same, whether there is such a document or not. */
static void
test_heads(void)
{
  g_autoptr(RoomWorld) world = room_world_new(3);
  g_autoptr(IdentityKey) key = identity_key_generate();
  const IdentityPublic *stranger = identity_key_public(key);
  const DocName unknown = {{9}};
  DocName name, second;
  Keeper *owner = room_world_keeper(world, 0);
  make_document(world, &name, READER, FALSE);
  keeper_create(owner, room_world_server(world, 0), &second);
  Wanted wanted = {owner, &second};
  room_world_until(world, is_there, &wanted);
  const IdentityPublic *member = identity_key_public(room_world_keeper(world, 1)->user);
  g_autoptr(GBytes) told = ask_heads(world, member, "user 1", &name, 0);
  g_assert_true(is_told(told));
  g_autoptr(GBytes) refused = ask_heads(world, stranger, "user 1", &name, 0);
  g_assert_false(is_told(refused));
  g_autoptr(GBytes) nothing = ask_heads(world, stranger, "user 1", &unknown, 0);
  g_autoptr(GBytes) another = ask_heads(world, member, "user 1", &second, 0);
  g_assert_true(g_bytes_equal(refused, nothing));
  g_assert_true(g_bytes_equal(refused, another));
  g_assert_cmpint(keeper_change(owner, &name, room_world_keeper(world, 1), NO_MEMBER, FALSE), ==,
                  DOC_ROOM_WHY(NONE));
  await_state(room_world_keeper(world, 1), &name, DOPPEL__ROOM__STATE__REMOVED);
  g_autoptr(GBytes) removed = ask_heads(world, member, "user 1", &name, 0);
  g_assert_true(g_bytes_equal(refused, removed));
  /* Nobody but a member has much read. */
  const IdentityPublic *other = identity_key_public(room_world_keeper(world, 2)->user);
  g_autoptr(GBytes) much = ask_heads(world, stranger, "user 2", &name, 70000);
  g_autoptr(GBytes) of_member = ask_heads(world, other, "user 2", &name, 70000);
  g_assert_false(is_told(much));
  g_assert_true(is_told(of_member));
}

/* How long the room may sleep, as it says after a step. */
static int
sleep_ms(DocRoom *room)
{
  g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(struct pollfd));
  int timeout_ms = -1;
  doc_room_prepare(room, fds, &timeout_ms);
  return timeout_ms;
}

static void
set_pair_at(DocRoom *room, gint64 at)
{
  for (guint i = 0; i < room->talks->len; i++)
    ((RoomTalk *)room->talks->pdata[i])->pair_at = at;
}

static void
await_rest(DocRoom *room)
{
  for (guint steps = 100; sleep_ms(room) == 0; steps--) {
    g_assert_cmpuint(steps, >, 0);
    g_assert_true(doc_room_work(room, NULL));
  }
}

/* What waits for a time that passes between a step and the sleep after it is done at once, and once. */
static void
test_late(void)
{
  g_autoptr(RoomWorld) world = room_world_new(1);
  DocName name;
  Keeper *keeper = room_world_keeper(world, 0);
  make_document(world, &name, WRITER, FALSE);
  Device *writer = device_new(keeper, &name, 1), *reader = device_new(keeper, &name, 2);
  device_type(writer, 0, "first");
  g_free(room_world_settle(world, &name, 5));
  g_assert_cmpuint(keeper->room->talks->len, ==, 2);
  set_pair_at(keeper->room, G_MAXINT64);
  device_type(writer, 5, " second");
  for (guint i = 0; i < 100; i++)
    room_world_step(world);
  g_autofree char *held = device_text(reader);
  g_assert_cmpstr(held, ==, "first");
  set_pair_at(keeper->room, clock_now_ns() - 1);
  g_assert_cmpint(sleep_ms(keeper->room), ==, 0);
  g_autofree char *text = room_world_settle(world, &name, 12);
  g_assert_cmpstr(text, ==, "first second");
  set_pair_at(keeper->room, clock_now_ns() - 1);
  await_rest(keeper->room);

  RoomDocument *document = keeper->room->documents->pdata[0];
  document->again_at = clock_now_ns() - 1; /* as if the server had refused something */
  g_assert_cmpint(sleep_ms(keeper->room), ==, 0);
  await_rest(keeper->room);
}

static void
open_and_leave(Keeper *keeper, const DocName *name, guint8 number)
{
  int ends[2];
  const guint8 copy[DOC_ROOM_COPY_LENGTH] = {number};
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Open open = DOPPEL__ROOM__OPEN__INIT;
  open.document = wire_borrow(name->bytes, sizeof name->bytes);
  open.copy = wire_borrow(copy, sizeof copy);
  question.what_case = DOC_ROOM_ASK(OPEN);
  question.open = &open;
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  doc_room_converse(keeper->room, ends[1], DOC_ROOM_DEVICE, NULL, NULL);
  g_auto(Fd) fd = ends[0];
  g_assert_true(wire_stream_send(fd, &question.base, NULL));
  room_world_step(keeper->world);
  io_close(&fd);
  room_world_step(keeper->world);
}

/* Links that end before the device has said anything of its copy leave nothing that is worth a copy in use.
 */
static void
test_copies(void)
{
  g_autoptr(RoomWorld) world = room_world_new(1);
  DocName name;
  Keeper *keeper = room_world_keeper(world, 0);
  make_document(world, &name, WRITER, FALSE);
  Device *phone = device_new(keeper, &name, 1);
  device_type(phone, 0, "first");
  g_free(room_world_settle(world, &name, 5));
  device_cut(phone);
  g_ptr_array_steal_index(keeper->devices, 0); /* is away */
  device_type(phone, 5, " on the way");
  for (guint8 i = 0; i < 2 * ROOM_COPIES_MAX; i++)
    open_and_leave(keeper, &name, 2 + i);
  const RoomDocument *document = keeper->room->documents->pdata[0];
  g_assert_cmpuint(document->copies->len, ==, ROOM_COPIES_MAX);
  g_ptr_array_add(keeper->devices, phone);
  g_autofree char *text = room_world_settle(world, &name, 16);
  g_assert_cmpstr(text, ==, "first on the way");
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/room/together", test_together);
  g_test_add_func("/room/said", test_said);
  g_test_add_data_func("/room/joining", NULL, test_joining);
  g_test_add_data_func("/room/joining-from-now", "", test_joining);
  g_test_add_func("/room/joining-stopped", test_joining_stopped);
  g_test_add_func("/room/names", test_names);
  g_test_add_func("/room/kills", test_kills);
  g_test_add_func("/room/removed", test_removed);
  g_test_add_func("/room/check", test_check);
  g_test_add_func("/room/verify-at-once", test_verify_at_once);
  g_test_add_func("/room/reader", test_reader);
  g_test_add_func("/room/from-now", test_from_now);
  g_test_add_func("/room/fork", test_fork);
  g_test_add_func("/room/fork-apart", test_fork_apart);
  g_test_add_func("/room/left-out", test_left_out);
  g_test_add_func("/room/left-out-later", test_left_out_later);
  g_test_add_func("/room/rollback", test_rollback);
  g_test_add_data_func("/room/recover-long", NULL, test_recover_long);
  g_test_add_data_func("/room/recover-long-denied", "", test_recover_long);
  g_test_add_func("/room/recover-busy", test_recover_busy);
  g_test_add_func("/room/damaged", test_damaged);
  g_test_add_func("/room/invitations", test_invitations);
  g_test_add_func("/room/strangers", test_strangers);
  g_test_add_func("/room/heads", test_heads);
  g_test_add_func("/room/late", test_late);
  g_test_add_func("/room/copies", test_copies);
  return g_test_run();
}
