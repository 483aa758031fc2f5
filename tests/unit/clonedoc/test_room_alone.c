/* Rooms whose members' clones never meet: people pass invitations on, and whoever works with a room waits
 * until it and the servers have the same. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "clonedoc/keys.h"
#include "clonedoc/room/handed.h"
#include "clonedoc/room/room_struct.h"
#include "identity/statement.h"
#include "room_world.h"
#include "wire/message.h"

#define WRITER DOPPEL__ROOM__ROLE__WRITER

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
  return row && row->row->state == wanted->state && row->row->number > 0;
}

static void
await_state(Keeper *keeper, const DocName *name, Doppel__Room__State state)
{
  Wanted wanted = {keeper, name, state};
  room_world_until(keeper->world, has_state, &wanted);
}

static RoomWorld *
world_apart(guint keepers, DocName *name)
{
  RoomWorld *world = room_world_new(keepers);
  world->apart = TRUE;
  keeper_create(room_world_keeper(world, 0), room_world_server(world, 0), name);
  return world;
}

/* ---- invitations ---- */

static GPtrArray *
ask_hand_key(Keeper *owner, const DocName *name, const IdentityPublic *user, const IdentityPublic *key,
             gboolean from_now)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Change change = DOPPEL__ROOM__CHANGE__INIT;
  change.document = wire_borrow(name->bytes, sizeof name->bytes);
  change.user = (char *)"somebody";
  change.role = WRITER;
  change.from_now = from_now;
  change.by_hand = TRUE;
  change.origin = wire_borrow(user->bytes, sizeof user->bytes);
  change.key = wire_borrow(key->bytes, sizeof key->bytes);
  question.change = &change;
  return keeper_ask(owner, &question, DOC_ROOM_ASK(CHANGE));
}

static GPtrArray *
ask_hand(Keeper *owner, const DocName *name, const Keeper *who, gboolean from_now)
{
  return ask_hand_key(owner, name, identity_key_public(who->user), identity_key_public(who->key), from_now);
}

static GBytes *
hand(Keeper *owner, const DocName *name, const Keeper *who, gboolean from_now)
{
  g_autoptr(GPtrArray) answers = ask_hand(owner, name, who, from_now);
  g_assert_cmpuint(answers->len, ==, 3);
  const DocRoomAnswer *row = answers->pdata[0], *letter = answers->pdata[1], *end = answers->pdata[2];
  g_assert_cmpint(row->what_case, ==, DOC_ROOM_TELL(ROW));
  g_assert_cmpint(letter->what_case, ==, DOC_ROOM_TELL(INVITATION));
  g_assert_cmpint(end->what_case, ==, DOC_ROOM_TELL(END));
  return g_bytes_new(letter->invitation.data, letter->invitation.len);
}

/* What is wrong with it; WHY(NONE): it was taken. */
static Doppel__Room__Why
bring(Keeper *keeper, GBytes *sealed)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  question.bring = wire_borrow_bytes(sealed);
  g_autoptr(GPtrArray) answers = keeper_ask(keeper, &question, DOC_ROOM_ASK(BRING));
  const DocRoomAnswer *first = answers->pdata[0];
  return first->what_case == DOC_ROOM_TELL(FAILED) ? first->failed->why : DOC_ROOM_WHY(NONE);
}

/* Nobody's clone brings it; it is accepted, once or again, and both write. */
static void
test_hand(gconstpointer from_now)
{
  DocName name;
  g_autoptr(RoomWorld) world = world_apart(2, &name);
  Keeper *owner = room_world_keeper(world, 0), *other = room_world_keeper(world, 1);
  await_state(owner, &name, DOPPEL__ROOM__STATE__JOINED);
  Device *first = device_new(owner, &name, 1);
  device_type(first, 0, "before ");
  g_free(room_world_settle(world, &name, 7));
  g_autoptr(GBytes) sealed = hand(owner, &name, other, from_now != NULL);
  g_autoptr(GBytes) again = hand(owner, &name, other, from_now != NULL);
  g_assert_cmpint(bring(other, sealed), ==, DOC_ROOM_WHY(NONE));
  g_assert_cmpint(bring(other, again), ==, DOC_ROOM_WHY(NONE));
  g_autoptr(DocRoomAnswer) row = keeper_row(other, &name);
  g_assert_cmpint(row->row->state, ==, DOPPEL__ROOM__STATE__INVITED);
  g_autofree char *key = identity_public_to_text(identity_key_public(owner->key));
  g_assert_true(g_str_has_suffix(row->row->from, key));
  g_assert_cmpint(keeper_accept(other, &name), ==, DOC_ROOM_WHY(NONE));
  await_state(other, &name, DOPPEL__ROOM__STATE__JOINED);
  Device *second = device_new(other, &name, 1);
  g_free(room_world_settle(world, &name, 7));
  device_type(second, 7, "after");
  g_autofree char *text = room_world_settle(world, &name, 12);
  g_assert_cmpstr(text, ==, "before after");
}

static GBytes *
forge(const DocRoomInvitation *invitation, const IdentityPublic *from, const IdentityKey *signer,
      const IdentityPublic *to)
{
  guint8 signature[IDENTITY_SIGNATURE_LENGTH];
  Doppel__Room__Handed handed = DOPPEL__ROOM__HANDED__INIT;
  g_autoptr(GBytes) packed = wire_pack(&invitation->base);
  g_autoptr(GByteArray) statement = g_byte_array_new();
  g_byte_array_append(statement, to->bytes, sizeof to->bytes);
  g_byte_array_append(statement, g_bytes_get_data(packed, NULL), (guint)g_bytes_get_size(packed));
  statement_sign(signer, STATEMENT_DOC_HANDED, statement->data, statement->len, signature);
  handed.invitation = wire_borrow_bytes(packed);
  handed.from = wire_borrow(from->bytes, sizeof from->bytes);
  handed.signature = wire_borrow(signature, sizeof signature);
  g_autoptr(GBytes) plain = wire_pack(&handed.base);
  return doc_box_seal(to, g_bytes_get_data(plain, NULL), g_bytes_get_size(plain), NULL);
}

/* It is for one member, from the author of its entry, and whole. */
static void
test_forged(void)
{
  DocName name;
  g_autoptr(RoomWorld) world = world_apart(3, &name);
  Keeper *owner = room_world_keeper(world, 0), *other = room_world_keeper(world, 1),
         *stranger = room_world_keeper(world, 2);
  await_state(owner, &name, DOPPEL__ROOM__STATE__JOINED);
  g_autoptr(GBytes) sealed = hand(owner, &name, other, FALSE);
  gsize length = g_bytes_get_size(sealed);
  g_assert_cmpint(bring(stranger, sealed), ==, DOC_ROOM_WHY(DENIED));
  for (gsize at = 0; at < length; at += 37) {
    guint8 *bytes = g_memdup2(g_bytes_get_data(sealed, NULL), length);
    bytes[at] ^= 1;
    g_autoptr(GBytes) damaged = g_bytes_new_take(bytes, length);
    g_autoptr(GBytes) cut = g_bytes_new_from_bytes(sealed, 0, at + 1);
    g_assert_cmpint(bring(other, damaged), ==, DOC_ROOM_WHY(DENIED));
    g_assert_cmpint(bring(other, cut), ==, DOC_ROOM_WHY(DENIED));
  }
  IdentityPublic from;
  const IdentityPublic *of_owner = identity_key_public(owner->key), *to = identity_key_public(other->key),
                       *of_stranger = identity_key_public(stranger->key);
  g_autoptr(DocRoomInvitation) invitation =
      doc_handed_open(g_bytes_get_data(sealed, NULL), length, other->key, &from, NULL);
  g_assert_nonnull(invitation);
  g_assert_true(identity_public_equal(&from, of_owner));
  /* Whoever has read it says where the document is. */
  g_autoptr(GError) error = NULL;
  g_assert_null(doc_handed_seal(invitation, stranger->key, to, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  g_autoptr(GBytes) in_own_name = forge(invitation, of_stranger, stranger->key, to);
  g_autoptr(GBytes) in_their_name = forge(invitation, of_owner, stranger->key, to);
  g_autoptr(GBytes) to_another = forge(invitation, of_owner, owner->key, of_stranger);
  g_assert_cmpint(bring(other, in_own_name), ==, DOC_ROOM_WHY(MALFORMED));
  g_assert_cmpint(bring(other, in_their_name), ==, DOC_ROOM_WHY(MALFORMED));
  g_assert_cmpint(bring(stranger, to_another), ==, DOC_ROOM_WHY(DENIED)); /* no key of the document */
  g_assert_null(keeper_row(other, &name));
  invitation->document.data[0] ^= 1; /* the entry is of another document */
  g_autoptr(GBytes) of_another = forge(invitation, of_owner, owner->key, to);
  g_assert_cmpint(bring(other, of_another), ==, DOC_ROOM_WHY(MALFORMED));
  invitation->document.data[0] ^= 1;
  g_autoptr(GBytes) good = forge(invitation, of_owner, owner->key, to);
  g_assert_cmpint(bring(other, good), ==, DOC_ROOM_WHY(NONE));
}

/* Whoever brings an invitation has chosen it: it goes before one that somebody's clone has sent, and what is
 * in use is not exchanged. */
static void
test_hand_instead(void)
{
  DocName name;
  IdentityPublic from;
  g_autoptr(GError) error = NULL;
  g_autoptr(RoomWorld) world = world_apart(3, &name);
  Keeper *owner = room_world_keeper(world, 0), *other = room_world_keeper(world, 1);
  const IdentityPublic *stranger = identity_key_public(room_world_keeper(world, 2)->user);
  const IdentityPublic *server = identity_key_public(room_world_server(world, 0)->key);
  await_state(owner, &name, DOPPEL__ROOM__STATE__JOINED);
  g_autoptr(GBytes) sealed = hand(owner, &name, other, FALSE);
  g_autoptr(DocRoomInvitation) invitation =
      doc_handed_open(g_bytes_get_data(sealed, NULL), g_bytes_get_size(sealed), other->key, &from, NULL);
  memcpy(invitation->server.data, stranger->bytes, sizeof stranger->bytes);
  g_assert_true(room_take_invitation(other->room, stranger, "stranger", invitation, &error));
  g_autoptr(DocRoomAnswer) theirs = keeper_row(other, &name);
  g_assert_cmpstr(theirs->row->from, ==, "stranger");
  g_assert_cmpint(bring(other, sealed), ==, DOC_ROOM_WHY(NONE));
  g_autoptr(DocRoomAnswer) row = keeper_row(other, &name);
  g_autofree char *key = identity_public_to_text(identity_key_public(owner->key));
  g_assert_true(g_str_has_suffix(row->row->from, key));
  g_assert_cmpmem(row->row->server.data, row->row->server.len, server->bytes, sizeof server->bytes);
  g_assert_cmpint(keeper_accept(other, &name), ==, DOC_ROOM_WHY(NONE));
  await_state(other, &name, DOPPEL__ROOM__STATE__JOINED);
  g_assert_cmpint(bring(other, sealed), ==, DOC_ROOM_WHY(MISUSED));
}

/* What nothing can be sealed to is no member's, which is said at once. */
static void
test_hand_no_key(void)
{
  DocName name;
  const IdentityPublic none = {{0}};
  g_autoptr(RoomWorld) world = world_apart(1, &name);
  Keeper *owner = room_world_keeper(world, 0);
  await_state(owner, &name, DOPPEL__ROOM__STATE__JOINED);
  g_autoptr(GPtrArray) answers = ask_hand_key(owner, &name, &none, &none, FALSE);
  const DocRoomAnswer *only = answers->pdata[0];
  g_assert_cmpuint(answers->len, ==, 1);
  g_assert_cmpint(only->what_case, ==, DOC_ROOM_TELL(FAILED));
  g_assert_cmpint(only->failed->why, ==, DOC_ROOM_WHY(MISUSED));
}

/* Without its server nobody waits for long, and what was asked for is done when it is back. */
static void
test_hand_away(void)
{
  DocName name;
  g_autoptr(RoomWorld) world = world_apart(2, &name);
  Keeper *owner = room_world_keeper(world, 0), *other = room_world_keeper(world, 1);
  await_state(owner, &name, DOPPEL__ROOM__STATE__JOINED);
  server_world_stop(room_world_server(world, 0));
  g_autoptr(GPtrArray) answers = ask_hand(owner, &name, other, FALSE);
  const DocRoomAnswer *last = answers->pdata[answers->len - 1];
  g_assert_cmpint(last->what_case, ==, DOC_ROOM_TELL(FAILED));
  g_assert_cmpint(last->failed->why, ==, DOC_ROOM_WHY(LATER));
  server_world_start(room_world_server(world, 0));
  for (;;) {
    g_autoptr(DocRoomAnswer) row = keeper_row(owner, &name);
    if (row->row->settled && row->row->up)
      break;
  }
  g_autoptr(GBytes) sealed = hand(owner, &name, other, FALSE);
  g_assert_cmpint(bring(other, sealed), ==, DOC_ROOM_WHY(NONE));
}

static void
test_self(void)
{
  DocName name;
  g_autoptr(RoomWorld) world = world_apart(1, &name);
  Keeper *keeper = room_world_keeper(world, 0);
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  question.self = TRUE;
  g_autoptr(GPtrArray) answers = keeper_ask(keeper, &question, DOC_ROOM_ASK(SELF));
  const DocRoomAnswer *first = answers->pdata[0];
  g_assert_cmpint(first->what_case, ==, DOC_ROOM_TELL(PERSON));
  g_assert_cmpmem(first->person->key.data, first->person->key.len, identity_key_public(keeper->key)->bytes,
                  IDENTITY_PUBLIC_LENGTH);
  g_assert_cmpmem(first->person->user.data, first->person->user.len, identity_key_public(keeper->user)->bytes,
                  IDENTITY_PUBLIC_LENGTH);
}

/* ---- who stays ---- */

typedef struct {
  RoomWorld *world;
  int fd;
  GByteArray *in;
} Guest;

static void
guest_clear(Guest *guest)
{
  if (guest->fd >= 0)
    close(guest->fd);
  g_byte_array_unref(guest->in);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Guest, guest_clear)

static void
guest_begin(Guest *guest, Keeper *keeper)
{
  int ends[2];
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  question.what_case = DOC_ROOM_ASK(STAY);
  question.stay = TRUE;
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  doc_room_converse(keeper->room, ends[1], DOC_ROOM_DEVICE, NULL, NULL);
  *guest = (Guest){keeper->world, ends[0], g_byte_array_new()};
  g_assert_true(wire_stream_send(guest->fd, &question.base, NULL));
}

/* The next answer, `steps` at most; NULL: none. */
static DocRoomAnswer *
guest_next(Guest *guest, guint steps)
{
  GBytes *frame;
  while (wire_stream_take(guest->in, DOC_ROOM_FRAME_MAX, &frame, NULL) <= 0) {
    guint8 buffer[65536];
    if (steps-- == 0)
      return NULL;
    room_world_step(guest->world);
    gssize got = recv(guest->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got > 0)
      g_byte_array_append(guest->in, buffer, (guint)got);
  }
  gsize length;
  const void *data = g_bytes_get_data(frame, &length);
  DocRoomAnswer *answer = doc_room_answer_take(data, length, NULL);
  g_bytes_unref(frame);
  g_assert_nonnull(answer);
  return answer;
}

#define LONG 100000u

static void
demand_next(Guest *guest, Doppel__Room__Answer__WhatCase what)
{
  g_autoptr(DocRoomAnswer) answer = guest_next(guest, LONG);
  g_assert_nonnull(answer);
  g_assert_cmpint(answer->what_case, ==, what);
}

/* A room that begins has what others did meanwhile when it says that it is ready; and the server has what was
 * done with it when it says that all is over. */
static void
test_stay(void)
{
  DocName name;
  g_autoptr(RoomWorld) world = world_apart(2, &name);
  Keeper *one = room_world_keeper(world, 0), *two = room_world_keeper(world, 1);
  await_state(one, &name, DOPPEL__ROOM__STATE__JOINED);
  g_autoptr(GBytes) sealed = hand(one, &name, two, FALSE);
  g_assert_cmpint(bring(two, sealed), ==, DOC_ROOM_WHY(NONE));
  g_assert_cmpint(keeper_accept(two, &name), ==, DOC_ROOM_WHY(NONE));
  await_state(two, &name, DOPPEL__ROOM__STATE__JOINED);
  Device *first = device_new(one, &name, 1);
  for (guint round = 0; round < 20; round++) {
    g_auto(Guest) here = {0};
    keeper_kill(two);
    g_ptr_array_steal_index(world->keepers, 1); /* does not run */
    guest_begin(&here, one);
    demand_next(&here, DOC_ROOM_TELL(READY));
    g_assert_null(guest_next(&here, 20));
    /* What was said before they left is on its way when the room hears of both. */
    device_type(first, 0, "a");
    room_world_step(world);
    g_autofree char *shown = device_text(first);
    shutdown(here.fd, SHUT_WR);
    demand_next(&here, DOC_ROOM_TELL(END));
    g_autoptr(DocRoomAnswer) row = keeper_row(one, &name);
    g_assert_true(row->row->settled);
    g_assert_cmpuint(row->row->length, ==, strlen(shown));

    /* The other one begins, and knows nothing of it yet. */
    g_auto(Guest) there = {0};
    g_ptr_array_add(world->keepers, two);
    guest_begin(&there, two);
    demand_next(&there, DOC_ROOM_TELL(READY));
    g_autoptr(DocRoomAnswer) theirs = keeper_row(two, &name);
    g_assert_cmpuint(theirs->row->length, ==, strlen(shown));
  }
}

/* Where the server is away that is said, soon, and what is not there. */
static void
test_stay_away(void)
{
  DocName name;
  g_autoptr(RoomWorld) world = world_apart(1, &name);
  Keeper *keeper = room_world_keeper(world, 0);
  await_state(keeper, &name, DOPPEL__ROOM__STATE__JOINED);
  server_world_stop(room_world_server(world, 0));
  Device *device = device_new(keeper, &name, 1);
  g_auto(Guest) guest = {0};
  guest_begin(&guest, keeper);
  demand_next(&guest, DOC_ROOM_TELL(READY));
  device_type(device, 0, "alone");
  for (;;) {
    g_autoptr(DocRoomAnswer) row = keeper_row(keeper, &name);
    if (row->row->length == strlen("alone"))
      break;
  }
  shutdown(guest.fd, SHUT_WR);
  demand_next(&guest, DOC_ROOM_TELL(ROW));
  demand_next(&guest, DOC_ROOM_TELL(END));
  server_world_start(room_world_server(world, 0));
  g_autofree char *text = room_world_settle(world, &name, strlen("alone"));
  g_assert_cmpstr(text, ==, "alone");
}

/* Going over to another history is waited for, though the old one has a fault. */
static void
test_stay_recovers(void)
{
  DocName name;
  g_autoptr(RoomWorld) world = world_apart(1, &name);
  Keeper *keeper = room_world_keeper(world, 0);
  await_state(keeper, &name, DOPPEL__ROOM__STATE__JOINED);
  ServerWorld *fork = room_world_fork(world);
  g_auto(Guest) guest = {0};
  guest_begin(&guest, keeper);
  demand_next(&guest, DOC_ROOM_TELL(READY));
  RoomDocument *document = room_find(keeper->room, name.bytes);
  g_assert_false(doc_document_stop(document->doc, DOC_FAULT_FORK, 1, NULL));
  g_assert_cmpint(keeper_recover(keeper, &name, fork), ==, DOC_ROOM_WHY(NONE));
  shutdown(guest.fd, SHUT_WR);
  demand_next(&guest, DOC_ROOM_TELL(END)); /* and no row of what waits */
  g_autoptr(DocRoomAnswer) row = keeper_row(keeper, &name);
  g_assert_cmpint(row->row->state, ==, DOPPEL__ROOM__STATE__JOINED);
}

/* A program that ends and waits for nothing leaves the room to bring what it has done. */
static void
test_stay_closed(void)
{
  DocName name;
  g_autoptr(RoomWorld) world = world_apart(1, &name);
  Keeper *keeper = room_world_keeper(world, 0);
  await_state(keeper, &name, DOPPEL__ROOM__STATE__JOINED);
  Device *device = device_new(keeper, &name, 1);
  for (guint round = 1; round <= 20; round++) {
    g_auto(Guest) guest = {0};
    guest_begin(&guest, keeper);
    demand_next(&guest, DOC_ROOM_TELL(READY));
    device_type(device, 0, "a");
    room_world_step(world);
    close(guest.fd);
    guest.fd = -1;
    while (doc_room_talks(keeper->room) > 1) /* the device's */
      room_world_step(world);
    g_autoptr(DocRoomAnswer) row = keeper_row(keeper, &name);
    g_assert_true(row->row->settled);
    g_assert_cmpuint(row->row->length, ==, round);
  }
}

/* Where devices are beside the room, each is told when what it has typed is with the server. */
static void
test_beside(gconstpointer beside)
{
  DocName name;
  g_autoptr(RoomWorld) world = world_apart(1, &name);
  Keeper *keeper = room_world_keeper(world, 0);
  await_state(keeper, &name, DOPPEL__ROOM__STATE__JOINED);
  ((DocRoom *)keeper->room)->options.beside = beside != NULL;
  Device *device = device_new(keeper, &name, 1);
  while (device->said == 0)
    room_world_step(world);
  guint rows = device->rows;
  device_type(device, 0, "a");
  while (!doc_pair_is_settled(device->pair))
    room_world_step(world);
  /* No sooner: the room has told first that something waits. */
  g_assert_true(device->waited == (beside != NULL));
  g_free(room_world_settle(world, &name, 1));
  g_assert_cmpuint(device->rows, ==, rows + (beside ? 2 : 0));
  g_assert_true(device->settled);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_data_func("/room/hand", NULL, test_hand);
  g_test_add_data_func("/room/hand-from-now", "", test_hand);
  g_test_add_func("/room/hand-forged", test_forged);
  g_test_add_func("/room/hand-instead", test_hand_instead);
  g_test_add_func("/room/hand-no-key", test_hand_no_key);
  g_test_add_func("/room/hand-away", test_hand_away);
  g_test_add_func("/room/self", test_self);
  g_test_add_func("/room/stay", test_stay);
  g_test_add_func("/room/stay-away", test_stay_away);
  g_test_add_func("/room/stay-recovers", test_stay_recovers);
  g_test_add_func("/room/stay-closed", test_stay_closed);
  g_test_add_data_func("/room/beside", "", test_beside);
  g_test_add_data_func("/room/not-beside", NULL, test_beside);
  return g_test_run();
}
