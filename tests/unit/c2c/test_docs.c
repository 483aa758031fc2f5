/* Documents of two users as their devices see them: through the services of two clones whose nodes find each
 * other in a directory, around an ordering server. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../clonedoc/server_world.h"
#include "base/io.h"
#include "c2c/send_receipt.h"
#include "c2c/services.h"
#include "clonedoc/room/room_call.h"
#include "doppel/c2c.h"
#include "node_world.h"
#include "wire/message.h"

#define PATIENCE_US (60 * G_USEC_PER_SEC)

static gint serving;

static gpointer
serve(gpointer data)
{
  while (g_atomic_int_get(&serving))
    g_main_context_iteration(NULL, TRUE);
  return NULL;
}

static int
dial(WorldClone *clone)
{
  char *why = NULL;
  C2c *c2c = c2c_open(clone->socket, &why);
  g_assert_nonnull(c2c);
  int fd = c2c_dial(c2c, NULL, "doc", &why);
  if (fd < 0)
    g_error("no stream: %s", why);
  c2c_close(c2c);
  return fd;
}

static DocRoomAnswer *
receive(int fd)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) frame = wire_stream_receive(fd, DOC_ROOM_FRAME_MAX, &error);
  g_assert_no_error(error);
  gsize length;
  const void *data = g_bytes_get_data(frame, &length);
  DocRoomAnswer *answer = doc_room_answer_take(data, length, &error);
  g_assert_no_error(error);
  return answer;
}

/* The first answer. */
static DocRoomAnswer *
ask(WorldClone *clone, DocRoomQuestion *question, Doppel__Room__Question__WhatCase what)
{
  g_auto(Fd) fd = dial(clone);
  question->what_case = what;
  g_assert_true(wire_stream_send(fd, &question->base, NULL));
  return receive(fd);
}

/* The process of the documents begins when the clone has its name. */
static void
await_docs(WorldClone *clone)
{
  gint64 until = g_get_monotonic_time() + PATIENCE_US;
  for (;; g_usleep(50000)) {
    DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
    question.list = TRUE;
    g_autoptr(DocRoomAnswer) answer = ask(clone, &question, DOC_ROOM_ASK(LIST));
    if (answer->what_case == DOC_ROOM_TELL(END))
      return;
    g_assert_cmpint(answer->what_case, ==, DOC_ROOM_TELL(FAILED));
    g_assert_cmpint(answer->failed->why, ==, DOC_ROOM_WHY(LATER));
    g_assert_cmpint(g_get_monotonic_time(), <, until);
  }
}

static DocRoomAnswer *
await_row(WorldClone *clone, Doppel__Room__State state, guint members)
{
  gint64 until = g_get_monotonic_time() + PATIENCE_US;
  for (;; g_usleep(20000)) {
    DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
    question.list = TRUE;
    g_autoptr(DocRoomAnswer) answer = ask(clone, &question, DOC_ROOM_ASK(LIST));
    if (answer->what_case == DOC_ROOM_TELL(ROW) && answer->row->state == state &&
        answer->row->members >= members)
      return g_steal_pointer(&answer);
    g_assert_cmpint(g_get_monotonic_time(), <, until);
  }
}

static Doppel__Room__Person *
find_bob(DocRoomAnswer *answer)
{
  return answer->what_case == DOC_ROOM_TELL(PERSON) && strcmp(answer->person->name, "bob") == 0
             ? answer->person
             : NULL;
}

typedef gboolean PersonCondition(const Doppel__Room__Person *person);

static void
await_bob(WorldClone *clone, const DocName *name, PersonCondition *holds)
{
  gint64 until = g_get_monotonic_time() + PATIENCE_US;
  for (;; g_usleep(50000)) {
    DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
    g_auto(Fd) fd = dial(clone);
    question.what_case = DOC_ROOM_ASK(MEMBERS);
    question.members = wire_borrow(name->bytes, sizeof name->bytes);
    g_assert_true(wire_stream_send(fd, &question.base, NULL));
    for (gboolean more = TRUE; more;) {
      g_autoptr(DocRoomAnswer) answer = receive(fd);
      const Doppel__Room__Person *bob = find_bob(answer);
      if (bob && holds(bob))
        return;
      more = answer->what_case == DOC_ROOM_TELL(PERSON);
    }
    g_assert_cmpint(g_get_monotonic_time(), <, until);
  }
}

static gboolean
waits(const Doppel__Room__Person *person)
{
  return person->invited && person->words[0];
}

static gboolean
has_shown_a_head(const Doppel__Room__Person *person)
{
  return person->head > 0 && !person->invited;
}

/* ---- copies ---- */

typedef struct {
  int fd;
  DocPair *pair;
  OtText *text;
} Copy;

static void
copy_open(Copy *copy, WorldClone *clone, const DocName *name)
{
  static const guint8 id[DOC_ROOM_COPY_LENGTH] = {1};
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Open open = DOPPEL__ROOM__OPEN__INIT;
  *copy = (Copy){dial(clone), doc_pair_new(DOC_PAIR_DEVICE), ot_text_new()};
  open.document = wire_borrow(name->bytes, sizeof name->bytes);
  open.copy = wire_borrow(id, sizeof id);
  question.what_case = DOC_ROOM_ASK(OPEN);
  question.open = &open;
  g_assert_true(wire_stream_send(copy->fd, &question.base, NULL));
  doc_pair_begin(copy->pair);
}

static void
copy_clear(Copy *copy)
{
  close(copy->fd);
  doc_pair_free(copy->pair);
  ot_text_free(copy->text);
}

static void
copy_say(Copy *copy)
{
  for (GBytes *next; (next = doc_pair_next(copy->pair)); g_bytes_unref(next)) {
    DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
    question.what_case = DOC_ROOM_ASK(PAIR);
    question.pair = wire_borrow_bytes(next);
    g_assert_true(wire_stream_send(copy->fd, &question.base, NULL));
  }
}

static void
copy_hear(Copy *copy)
{
  g_autoptr(DocRoomAnswer) answer = receive(copy->fd);
  g_autoptr(OtOp) shown = NULL;
  if (answer->what_case == DOC_ROOM_TELL(ROW) || answer->what_case == DOC_ROOM_TELL(SAID))
    return;
  g_assert_cmpint(answer->what_case, ==, DOC_ROOM_TELL(PAIR));
  g_assert_true(doc_pair_take(copy->pair, answer->pair.data, answer->pair.len, &shown, NULL));
  if (shown)
    g_assert_true(ot_op_apply(shown, copy->text, NULL));
}

static void
copy_type(Copy *copy, const char *text)
{
  g_autoptr(OtOp) op = ot_op_new_edit(0, 0, text, strlen(text));
  g_assert_true(ot_op_apply(op, copy->text, NULL));
  g_assert_true(doc_pair_edit(copy->pair, op, NULL));
}

static gboolean
copy_has(const Copy *copy, gsize scalars)
{
  return ot_text_length(copy->text) == scalars && doc_pair_is_settled(copy->pair);
}

static void
copies_until(Copy *one, Copy *other, gsize scalars)
{
  gint64 until = g_get_monotonic_time() + PATIENCE_US;
  while (!copy_has(one, scalars) || !copy_has(other, scalars)) {
    struct pollfd fds[] = {{.fd = one->fd, .events = POLLIN}, {.fd = other->fd, .events = POLLIN}};
    copy_say(one);
    copy_say(other);
    poll(fds, 2, 1000);
    if (fds[0].revents)
      copy_hear(one);
    if (fds[1].revents)
      copy_hear(other);
    g_assert_cmpint(g_get_monotonic_time(), <, until);
  }
}

/* ---- the test ---- */

static void
create(WorldClone *clone, const ServerWorld *server, DocName *name)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Create wanted = DOPPEL__ROOM__CREATE__INIT;
  wanted.title = (char *)"plans";
  wanted.addresses = (char **)&server->address;
  wanted.n_addresses = 1;
  wanted.server = wire_borrow(identity_key_public(server->key)->bytes, IDENTITY_PUBLIC_LENGTH);
  question.create = &wanted;
  g_autoptr(DocRoomAnswer) answer = ask(clone, &question, DOC_ROOM_ASK(CREATE));
  g_assert_cmpint(answer->what_case, ==, DOC_ROOM_TELL(ROW));
  g_assert_true(wire_take(&answer->row->document, name->bytes, sizeof name->bytes));
  doc_room_answer_free(await_row(clone, DOPPEL__ROOM__STATE__JOINED, 1));
}

/* By name: the clone looks up whom it means. */
static Doppel__Room__Why
change_role(WorldClone *clone, const DocName *name, const char *user, Doppel__Room__Role role)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Change change = DOPPEL__ROOM__CHANGE__INIT;
  change.document = wire_borrow(name->bytes, sizeof name->bytes);
  change.user = (char *)user;
  change.role = role;
  question.change = &change;
  g_autoptr(DocRoomAnswer) answer = ask(clone, &question, DOC_ROOM_ASK(CHANGE));
  return answer->what_case == DOC_ROOM_TELL(FAILED) ? answer->failed->why : DOC_ROOM_WHY(NONE);
}

static Doppel__Room__Why
invite(WorldClone *clone, const DocName *name, const char *user)
{
  return change_role(clone, name, user, DOPPEL__ROOM__ROLE__WRITER);
}

/* Whom a directory calls otherwise: with their key, as people tell it. */
static Doppel__Room__Why
invite_key(WorldClone *clone, const DocName *name, const char *user, const IdentityPublic *key)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Change change = DOPPEL__ROOM__CHANGE__INIT;
  change.document = wire_borrow(name->bytes, sizeof name->bytes);
  change.user = (char *)user;
  change.role = DOPPEL__ROOM__ROLE__READER;
  change.origin = change.key = wire_borrow(key->bytes, sizeof key->bytes);
  question.change = &change;
  g_autoptr(DocRoomAnswer) answer = ask(clone, &question, DOC_ROOM_ASK(CHANGE));
  return answer->what_case == DOC_ROOM_TELL(FAILED) ? answer->failed->why : DOC_ROOM_WHY(NONE);
}

static Doppel__Room__Role
role_of(WorldClone *clone, const DocName *name, const IdentityPublic *key)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  g_auto(Fd) fd = dial(clone);
  question.what_case = DOC_ROOM_ASK(MEMBERS);
  question.members = wire_borrow(name->bytes, sizeof name->bytes);
  g_assert_true(wire_stream_send(fd, &question.base, NULL));
  for (;;) {
    g_autoptr(DocRoomAnswer) answer = receive(fd);
    if (answer->what_case != DOC_ROOM_TELL(PERSON))
      return DOPPEL__ROOM__ROLE__NO_MEMBER;
    if (memcmp(answer->person->key.data, key->bytes, sizeof key->bytes) == 0)
      return answer->person->role;
  }
}

static void
await_role(WorldClone *clone, const DocName *name, const IdentityPublic *key, Doppel__Room__Role role)
{
  gint64 until = g_get_monotonic_time() + PATIENCE_US;
  for (; role_of(clone, name, key) != role; g_usleep(20000))
    g_assert_cmpint(g_get_monotonic_time(), <, until);
}

/* The directory has a carol, who is no member: the one who is to be removed is the member of that name. */
static void
check_other_carol(WorldClone *alice, const DocName *name)
{
  const guint8 seed[IDENTITY_SEED_LENGTH] = {77};
  g_autoptr(IdentityKey) other = identity_key_from_seed(seed);
  const IdentityPublic *key = identity_key_public(other);
  g_assert_cmpint(change_role(alice, name, "carol", DOPPEL__ROOM__ROLE__NO_MEMBER), ==,
                  DOC_ROOM_WHY(NOT_FOUND));
  g_assert_cmpint(invite_key(alice, name, "carol", key), ==, DOC_ROOM_WHY(NONE));
  await_role(alice, name, key, DOPPEL__ROOM__ROLE__READER);
  g_assert_cmpint(invite(alice, name, "carol"), ==, DOC_ROOM_WHY(MISUSED));
  g_assert_cmpint(change_role(alice, name, "carol", DOPPEL__ROOM__ROLE__NO_MEMBER), ==, DOC_ROOM_WHY(NONE));
  await_role(alice, name, key, DOPPEL__ROOM__ROLE__NO_MEMBER);
}

static gboolean
is_removed(const Doppel__Room__Person *person)
{
  return person->role == DOPPEL__ROOM__ROLE__NO_MEMBER;
}

/* What alice's clone says to who asks for that document's head, and shows so many bytes of nothing. */
static GBytes *
ask_with(WorldClone *clone, const DocName *name, gsize bytes)
{
  g_autofree guint8 *nothing = g_malloc0(bytes);
  g_autoptr(GError) error = NULL;
  g_auto(Fd) fd = clone_dial(clone, "alice", "doc-heads");
  Doppel__Room__Head head = DOPPEL__ROOM__HEAD__INIT, *heads[] = {&head};
  DocRoomHeads question = DOPPEL__ROOM__HEADS__INIT;
  head.document = wire_borrow(name->bytes, sizeof name->bytes);
  head.proof = wire_borrow(nothing, bytes);
  question.heads = heads;
  question.n_heads = 1;
  g_assert_cmpint(fd, >=, 0);
  g_assert_true(wire_stream_send(fd, &question.base, NULL));
  GBytes *answer = wire_stream_receive(fd, DOC_ROOM_PEER_MAX, &error);
  g_assert_no_error(error);
  return answer;
}

static GBytes *
ask_heads(WorldClone *clone, const DocName *name)
{
  return ask_with(clone, name, 0);
}

static void
assert_told(WorldClone *clone, const DocName *name)
{
  g_autoptr(GBytes) bytes = ask_heads(clone, name);
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  g_autoptr(DocRoomPeerAnswer) answer = doc_room_peer_answer_take(data, length, NULL);
  g_assert_nonnull(answer);
  g_assert_null(answer->failed);
  g_assert_cmpuint(answer->n_heads, ==, 1);
  g_assert_cmpuint(answer->heads[0]->head.len, >, 0);
}

/* Who asks with too much hears that. */
static void
assert_too_long(WorldClone *clone, const DocName *name)
{
  g_autoptr(GBytes) bytes = ask_with(clone, name, 4u << 20);
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  g_autoptr(DocRoomPeerAnswer) answer = doc_room_peer_answer_take(data, length, NULL);
  g_assert_nonnull(answer);
  g_assert_nonnull(answer->failed);
  g_assert_cmpint(answer->failed->why, ==, DOC_ROOM_WHY(MALFORMED));
}

/* A stranger, a member who asks for another document, and one who was removed hear the very same. */
static void
check_heads(WorldClone *alice, WorldClone *bob, WorldClone *carol, const DocName *name)
{
  const DocName other = {{9}};
  g_autoptr(GBytes) stranger = ask_heads(carol, name), nothing = ask_heads(carol, &other),
                    others = ask_heads(bob, &other);
  gsize length;
  const void *data = g_bytes_get_data(stranger, &length);
  g_autoptr(DocRoomPeerAnswer) answer = doc_room_peer_answer_take(data, length, NULL);
  g_assert_nonnull(answer);
  g_assert_nonnull(answer->failed);
  g_assert_cmpuint(answer->n_heads, ==, 0);
  g_assert_true(g_bytes_equal(stranger, nothing));
  g_assert_true(g_bytes_equal(stranger, others));
  assert_too_long(carol, name);
  assert_told(bob, name);
  g_assert_cmpint(change_role(alice, name, "bob", DOPPEL__ROOM__ROLE__NO_MEMBER), ==, DOC_ROOM_WHY(NONE));
  await_bob(alice, name, is_removed);
  g_autoptr(GBytes) removed = ask_heads(bob, name);
  g_assert_true(g_bytes_equal(stranger, removed));
  clone_permit(alice, "deny", "bob", "doc-heads", "");
  g_assert_cmpint(clone_dial(bob, "alice", "doc-heads"), <, 0);
}

static void
test_two_clones(void)
{
  node_world_services = services;
  node_world_tasks = services_tasks;
  node_world_sign = send_receipt_sign;
  node_world_begin();
  WorldClone *alice = clone_bound(100, "alice"), *bob = clone_bound(200, "bob"),
             *carol = clone_bound(300, "carol");
  ServerWorld *server = server_world_new(NULL, NULL);
  g_atomic_int_set(&serving, TRUE);
  GThread *thread = g_thread_new("clonedocd", serve, NULL);
  DocName name;
  await_docs(alice);
  await_docs(bob);
  create(alice, server, &name);
  g_assert_cmpint(invite(alice, &name, "nobody"), ==, DOC_ROOM_WHY(NOT_FOUND));
  g_assert_cmpint(invite(alice, &name, "bob"), ==, DOC_ROOM_WHY(NONE));
  /* Nobody brings invitations to who did not allow it. */
  await_bob(alice, &name, waits);
  clone_permit(bob, "allow", "alice", "doc-invite", "");
  g_autoptr(DocRoomAnswer) row = await_row(bob, DOPPEL__ROOM__STATE__INVITED, 0);
  g_assert_cmpstr(row->row->from, ==, "alice");
  g_assert_cmpstr(row->row->title, ==, "plans");
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  question.accept = wire_borrow(name.bytes, sizeof name.bytes);
  doc_room_answer_free(ask(bob, &question, DOC_ROOM_ASK(ACCEPT)));
  doc_room_answer_free(await_row(bob, DOPPEL__ROOM__STATE__JOINED, 2));
  Copy of_alice, of_bob;
  copy_open(&of_alice, alice, &name);
  copy_open(&of_bob, bob, &name);
  copy_type(&of_alice, "hello ");
  copy_type(&of_bob, "hi ");
  copies_until(&of_alice, &of_bob, 9);
  g_assert_true(ot_text_equal(of_alice.text, of_bob.text));
  await_bob(alice, &name, has_shown_a_head);
  check_other_carol(alice, &name);
  check_heads(alice, bob, carol, &name);
  copy_clear(&of_alice);
  copy_clear(&of_bob);
  g_atomic_int_set(&serving, FALSE);
  g_main_context_wakeup(NULL);
  g_thread_join(thread);
  clone_free(alice);
  clone_free(bob);
  clone_free(carol);
  node_world_end();
  server_world_free(server);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/docs/two-clones", test_two_clones);
  return g_test_run();
}
