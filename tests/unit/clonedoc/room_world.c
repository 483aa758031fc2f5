#include "room_world.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "wire/message.h"

typedef struct {
  guint64 id;
  Keeper *from;
  int fd;
  GByteArray *in;
} Carried;

static void
carried_free(gpointer data)
{
  Carried *carried = data;
  close(carried->fd);
  g_byte_array_unref(carried->in);
  g_free(carried);
}

static void
open_room(Keeper *keeper)
{
  g_autoptr(GError) error = NULL;
  DocRoomOptions options = DOC_ROOM_OPTIONS_DEFAULT;
  options.path = keeper->path;
  options.key = keeper->key;
  options.user = *identity_key_public(keeper->user);
  options.interval_ms = keeper->world->interval_ms;
  options.checkpoint_each = 16;
  keeper->room = doc_room_open(&options, &error);
  g_assert_no_error(error);
}

static void
device_free(gpointer data)
{
  Device *device = data;
  if (device->fd >= 0)
    close(device->fd);
  g_byte_array_unref(device->in);
  doc_pair_free(device->pair);
  ot_text_free(device->text);
  g_free(device->fault);
  g_free(device);
}

static void
keeper_free(gpointer data)
{
  static const char *const suffixes[] = {"", "-wal", "-shm"};
  Keeper *keeper = data;
  g_ptr_array_unref(keeper->devices);
  doc_room_free(keeper->room);
  for (guint i = 0; i < G_N_ELEMENTS(suffixes); i++) {
    g_autofree char *path = g_strconcat(keeper->path, suffixes[i], NULL);
    g_unlink(path);
  }
  identity_key_free(keeper->key);
  identity_key_free(keeper->user);
  g_free(keeper->path);
  g_free(keeper);
}

static void
server_free(gpointer server)
{
  server_world_free(server);
}

RoomWorld *
room_world_new(guint keepers)
{
  RoomWorld *world = g_new0(RoomWorld, 1);
  world->servers = g_ptr_array_new_with_free_func(server_free);
  world->keepers = g_ptr_array_new_with_free_func(keeper_free);
  world->carried = g_ptr_array_new_with_free_func(carried_free);
  world->interval_ms = 20;
  g_ptr_array_add(world->servers, server_world_new(NULL, NULL));
  for (guint i = 0; i < keepers; i++) {
    Keeper *keeper = g_new0(Keeper, 1);
    guint8 seed[IDENTITY_SEED_LENGTH] = {(guint8)(i + 1), 5};
    keeper->world = world;
    keeper->number = i;
    keeper->key = identity_key_from_seed(seed);
    seed[1] = 6;
    keeper->user = identity_key_from_seed(seed);
    keeper->path = g_strdup_printf("%s/doppel-room-%d-%u.db", g_get_tmp_dir(), getpid(), i);
    g_unlink(keeper->path);
    keeper->devices = g_ptr_array_new_with_free_func(device_free);
    open_room(keeper);
    g_ptr_array_add(world->keepers, keeper);
  }
  return world;
}

void
room_world_free(RoomWorld *world)
{
  g_ptr_array_unref(world->carried);
  g_ptr_array_unref(world->keepers);
  g_ptr_array_unref(world->servers);
  g_free(world);
}

ServerWorld *
room_world_server(RoomWorld *world, guint index)
{
  return world->servers->pdata[index];
}

Keeper *
room_world_keeper(RoomWorld *world, guint index)
{
  return world->keepers->pdata[index];
}

static void
copy_file(const char *from, const char *to, const char *name)
{
  g_autofree char *a = g_build_filename(from, name, NULL), *b = g_build_filename(to, name, NULL);
  g_autofree char *content = NULL;
  gsize length;
  if (g_file_get_contents(a, &content, &length, NULL))
    g_assert_true(g_file_set_contents(b, content, (gssize)length, NULL));
}

ServerWorld *
room_world_fork(RoomWorld *world)
{
  ServerWorld *first = room_world_server(world, 0);
  g_autofree char *folder = g_dir_make_tmp("doppel-doc-fork-XXXXXX", NULL);
  server_world_stop(first);
  copy_file(first->folder, folder, "documents.db");
  copy_file(first->folder, folder, "documents.db-wal");
  server_world_start(first);
  ServerWorld *fork = server_world_new(folder, NULL);
  g_ptr_array_add(world->servers, fork);
  return fork;
}

/* ---- devices ---- */

static void
connect_device(Device *device)
{
  int ends[2];
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Open open = DOPPEL__ROOM__OPEN__INIT;
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  doc_room_converse(device->keeper->room, ends[1], DOC_ROOM_DEVICE, NULL, NULL);
  device->fd = ends[0];
  device->said = 0;
  open.document = wire_borrow(device->name.bytes, DOC_NAME_LENGTH);
  open.copy = wire_borrow(device->copy, sizeof device->copy);
  open.begun = device->begun;
  question.what_case = DOC_ROOM_ASK(OPEN);
  question.open = &open;
  g_assert_true(wire_stream_send(device->fd, &question.base, NULL));
  fcntl(device->fd, F_SETFL, O_NONBLOCK);
  g_byte_array_set_size(device->in, 0);
  doc_pair_begin(device->pair);
}

void
device_cut(Device *device)
{
  if (device->fd >= 0)
    close(device->fd);
  device->fd = -1;
}

Device *
device_new(Keeper *keeper, const DocName *name, guint8 number)
{
  Device *device = g_new0(Device, 1);
  device->keeper = keeper;
  device->name = *name;
  device->copy[0] = number;
  device->fd = -1;
  device->in = g_byte_array_new();
  device->pair = doc_pair_new(DOC_PAIR_DEVICE);
  device->text = ot_text_new();
  g_ptr_array_add(keeper->devices, device);
  return device;
}

static void
take_answer(Device *device, const DocRoomAnswer *answer)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(OtOp) shown = NULL;
  if (answer->what_case == DOC_ROOM_TELL(ROW)) {
    device->begun = TRUE;
    device->state = answer->row->state;
    device->settled = answer->row->settled;
    device->waited |= !device->settled;
    device->rows++;
    g_free(device->fault);
    device->fault = g_strdup(answer->row->fault);
    return;
  }
  if (answer->what_case == DOC_ROOM_TELL(FAILED))
    g_error("device: %s", answer->failed->words);
  if (answer->what_case == DOC_ROOM_TELL(SAID)) {
    device->said++;
    device->whole = answer->said;
    return;
  }
  g_assert_cmpint(answer->what_case, ==, DOC_ROOM_TELL(PAIR));
  g_assert_true(doc_pair_take(device->pair, answer->pair.data, answer->pair.len, &shown, &error));
  if (shown)
    g_assert_true(ot_op_apply(shown, device->text, NULL));
}

/* FALSE: the link is cut. */
static gboolean
read_device(Device *device)
{
  guint8 buffer[65536];
  gssize got;
  while ((got = recv(device->fd, buffer, sizeof buffer, MSG_DONTWAIT)) > 0)
    g_byte_array_append(device->in, buffer, (guint)got);
  gboolean alive = got < 0 && errno == EAGAIN;
  for (GBytes *frame; wire_stream_take(device->in, DOC_ROOM_FRAME_MAX, &frame, NULL) > 0;) {
    gsize length;
    const void *data = g_bytes_get_data(frame, &length);
    g_autoptr(DocRoomAnswer) answer = doc_room_answer_take(data, length, NULL);
    g_assert_nonnull(answer);
    take_answer(device, answer);
    g_bytes_unref(frame);
  }
  return alive;
}

static void
step_device(Device *device)
{
  if (device->fd < 0)
    connect_device(device);
  if (!read_device(device)) {
    device_cut(device);
    return;
  }
  for (GBytes *next; (next = doc_pair_next(device->pair));) {
    DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
    question.what_case = DOC_ROOM_ASK(PAIR);
    question.pair = wire_borrow_bytes(next);
    gboolean sent = wire_stream_send(device->fd, &question.base, NULL);
    g_bytes_unref(next);
    if (!sent) {
      device_cut(device);
      return;
    }
  }
}

static void
edit(Device *device, OtOp *op)
{
  g_assert_true(ot_op_apply(op, device->text, NULL));
  g_assert_true(doc_pair_edit(device->pair, op, NULL));
  ot_op_free(op);
}

void
device_type(Device *device, gsize at, const char *text)
{
  edit(device, ot_op_new_edit(at, 0, text, strlen(text)));
}

void
device_delete(Device *device, gsize at, gsize count)
{
  edit(device, ot_op_new_edit(at, count, "", 0));
}

char *
device_text(const Device *device)
{
  return ot_text_copy(device->text, 0, ot_text_length(device->text), NULL);
}

/* ---- the loop ---- */

static Keeper *
find_keeper(RoomWorld *world, const IdentityPublic *user)
{
  for (guint i = 0; i < world->keepers->len; i++) {
    Keeper *keeper = world->keepers->pdata[i];
    if (identity_public_equal(identity_key_public(keeper->user), user))
      return keeper;
  }
  g_assert_not_reached();
}

static void
carry(Keeper *from, const DocErrand *errand)
{
  RoomWorld *world = from->world;
  g_autofree char *name = g_strdup_printf("user %u", from->number);
  int ends[2];
  if (world->apart) {
    g_autoptr(GError) away = g_error_new_literal(DOPPEL_ERROR, DOPPEL_ERROR_GONE, "their clone is away");
    doc_room_errand_done(from->room, errand->id, NULL, away);
    return;
  }
  Keeper *to = find_keeper(world, &errand->user);
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  doc_room_converse(to->room, ends[1],
                    g_str_equal(errand->service, "doc-heads") ? DOC_ROOM_HEADS : DOC_ROOM_INVITE,
                    identity_key_public(from->user), name);
  gsize length;
  const void *data = g_bytes_get_data(errand->message, &length);
  guint32 prefix = GUINT32_TO_BE((guint32)length);
  g_assert_cmpint(send(ends[0], &prefix, sizeof prefix, MSG_NOSIGNAL), ==, sizeof prefix);
  g_assert_cmpint(send(ends[0], data, length, MSG_NOSIGNAL), ==, length);
  Carried *carried = g_new0(Carried, 1);
  *carried = (Carried){errand->id, from, ends[0], g_byte_array_new()};
  g_ptr_array_add(world->carried, carried);
}

static void
step_carried(RoomWorld *world)
{
  for (guint i = world->carried->len; i > 0; i--) {
    Carried *carried = world->carried->pdata[i - 1];
    guint8 buffer[65536];
    gssize got;
    g_autoptr(GBytes) frame = NULL;
    g_autoptr(GError) gone = NULL;
    while ((got = recv(carried->fd, buffer, sizeof buffer, MSG_DONTWAIT)) > 0)
      g_byte_array_append(carried->in, buffer, (guint)got);
    gboolean whole = wire_stream_take(carried->in, DOC_ROOM_PEER_MAX, &frame, NULL) > 0;
    if (!whole && got < 0)
      continue;
    if (!whole)
      g_set_error_literal(&gone, DOPPEL_ERROR, DOPPEL_ERROR_GONE, "it left");
    doc_room_errand_done(carried->from->room, carried->id, frame, gone);
    g_ptr_array_remove_index(world->carried, i - 1);
  }
}

void
room_world_step(RoomWorld *world)
{
  for (guint i = 0; i < 8 && g_main_context_iteration(NULL, FALSE); i++)
    ;
  for (guint i = 0; i < world->keepers->len; i++) {
    Keeper *keeper = world->keepers->pdata[i];
    g_autoptr(GError) error = NULL;
    g_assert_true(doc_room_work(keeper->room, &error));
    for (DocErrand *errand; (errand = doc_room_next_errand(keeper->room));) {
      carry(keeper, errand);
      doc_errand_free(errand);
    }
    for (guint j = 0; j < keeper->devices->len; j++)
      step_device(keeper->devices->pdata[j]);
  }
  step_carried(world);
  g_usleep(100);
}

void
keeper_kill(Keeper *keeper)
{
  RoomWorld *world = keeper->world;
  doc_room_free(keeper->room);
  for (guint i = world->carried->len; i > 0; i--)
    if (((const Carried *)world->carried->pdata[i - 1])->from == keeper)
      g_ptr_array_remove_index(world->carried, i - 1);
  open_room(keeper);
}

/* ---- questions ---- */

static void
answer_free(gpointer answer)
{
  doc_room_answer_free(answer);
}

GPtrArray *
keeper_ask(Keeper *keeper, DocRoomQuestion *question, Doppel__Room__Question__WhatCase what)
{
  GPtrArray *answers = g_ptr_array_new_with_free_func(answer_free);
  g_autoptr(GByteArray) in = g_byte_array_new();
  int ends[2];
  question->what_case = what;
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  doc_room_converse(keeper->room, ends[1], DOC_ROOM_DEVICE, NULL, NULL);
  g_assert_true(wire_stream_send(ends[0], &question->base, NULL));
  for (gint64 until = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;;) {
    guint8 buffer[65536];
    gssize got = recv(ends[0], buffer, sizeof buffer, MSG_DONTWAIT);
    if (got > 0)
      g_byte_array_append(in, buffer, (guint)got);
    if (got == 0)
      break;
    if (got < 0)
      room_world_step(keeper->world);
    g_assert_cmpint(g_get_monotonic_time(), <, until);
  }
  close(ends[0]);
  for (GBytes *frame; wire_stream_take(in, DOC_ROOM_FRAME_MAX, &frame, NULL) > 0;) {
    gsize length;
    const void *data = g_bytes_get_data(frame, &length);
    DocRoomAnswer *answer = doc_room_answer_take(data, length, NULL);
    g_assert_nonnull(answer);
    g_ptr_array_add(answers, answer);
    g_bytes_unref(frame);
  }
  g_assert_cmpuint(answers->len, >, 0);
  return answers;
}

static Doppel__Room__Why
why_of(const GPtrArray *answers)
{
  const DocRoomAnswer *last = answers->pdata[answers->len - 1];
  if (last->what_case != DOC_ROOM_TELL(FAILED))
    return DOC_ROOM_WHY(NONE);
  g_test_message("%s", last->failed->words);
  return last->failed->why;
}

void
keeper_create(Keeper *keeper, ServerWorld *server, DocName *name)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Create create = DOPPEL__ROOM__CREATE__INIT;
  char *addresses[] = {server->address};
  create.title = (char *)"notes";
  create.addresses = addresses;
  create.n_addresses = 1;
  create.server = wire_borrow(identity_key_public(server->key)->bytes, IDENTITY_PUBLIC_LENGTH);
  question.create = &create;
  g_autoptr(GPtrArray) answers = keeper_ask(keeper, &question, DOC_ROOM_ASK(CREATE));
  const DocRoomAnswer *first = answers->pdata[0];
  g_assert_cmpint(first->what_case, ==, DOC_ROOM_TELL(ROW));
  g_assert_true(wire_take(&first->row->document, name->bytes, sizeof name->bytes));
}

Doppel__Room__Why
keeper_change(Keeper *keeper, const DocName *name, const Keeper *who, Doppel__Room__Role role,
              gboolean from_now)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Change change = DOPPEL__ROOM__CHANGE__INIT;
  g_autofree char *user = g_strdup_printf("user %u", who->number);
  change.document = wire_borrow(name->bytes, sizeof name->bytes);
  change.user = user;
  change.role = role;
  change.from_now = from_now;
  change.origin = wire_borrow(identity_key_public(who->user)->bytes, IDENTITY_PUBLIC_LENGTH);
  change.key = wire_borrow(identity_key_public(who->key)->bytes, IDENTITY_PUBLIC_LENGTH);
  question.change = &change;
  g_autoptr(GPtrArray) answers = keeper_ask(keeper, &question, DOC_ROOM_ASK(CHANGE));
  return why_of(answers);
}

Doppel__Room__Why
keeper_accept(Keeper *keeper, const DocName *name)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  question.accept = wire_borrow(name->bytes, sizeof name->bytes);
  g_autoptr(GPtrArray) answers = keeper_ask(keeper, &question, DOC_ROOM_ASK(ACCEPT));
  return why_of(answers);
}

Doppel__Room__Why
keeper_recover(Keeper *keeper, const DocName *name, ServerWorld *server)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Recover recover = DOPPEL__ROOM__RECOVER__INIT;
  char *addresses[] = {server ? server->address : NULL};
  recover.document = wire_borrow(name->bytes, sizeof name->bytes);
  if (server) {
    recover.addresses = addresses;
    recover.n_addresses = 1;
    recover.server = wire_borrow(identity_key_public(server->key)->bytes, IDENTITY_PUBLIC_LENGTH);
  }
  question.recover = &recover;
  g_autoptr(GPtrArray) answers = keeper_ask(keeper, &question, DOC_ROOM_ASK(RECOVER));
  return why_of(answers);
}

DocRoomAnswer *
keeper_row(Keeper *keeper, const DocName *name)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  question.list = TRUE;
  g_autoptr(GPtrArray) answers = keeper_ask(keeper, &question, DOC_ROOM_ASK(LIST));
  for (guint i = 0; i < answers->len; i++) {
    DocRoomAnswer *answer = answers->pdata[i];
    if (answer->what_case != DOC_ROOM_TELL(ROW) ||
        memcmp(answer->row->document.data, name->bytes, DOC_NAME_LENGTH) != 0)
      continue;
    answers->pdata[i] = NULL;
    return answer;
  }
  return NULL;
}

/* ---- waiting ---- */

void
room_world_until(RoomWorld *world, RoomCondition *holds, gpointer data)
{
  for (gint64 until = g_get_monotonic_time() + 60 * G_USEC_PER_SEC; !holds(data); room_world_step(world))
    if (g_get_monotonic_time() > until)
      g_error("nothing happens");
}

typedef struct {
  RoomWorld *world;
  const DocName *name;
  gsize scalars;
  char *text;
} Settle;

static gboolean
is_settled(gpointer data)
{
  Settle *settle = data;
  g_clear_pointer(&settle->text, g_free);
  for (guint i = 0; i < settle->world->keepers->len; i++) {
    Keeper *keeper = settle->world->keepers->pdata[i];
    for (guint j = 0; j < keeper->devices->len; j++) {
      const Device *device = keeper->devices->pdata[j];
      if (!doc_name_equal(&device->name, settle->name))
        continue;
      g_autofree char *text = device_text(device);
      if (ot_text_length(device->text) != settle->scalars || !doc_pair_is_settled(device->pair) ||
          (settle->text && !g_str_equal(text, settle->text)))
        return FALSE;
      if (!settle->text)
        settle->text = g_steal_pointer(&text);
    }
  }
  return settle->text != NULL;
}

char *
room_world_settle(RoomWorld *world, const DocName *name, gsize scalars)
{
  Settle settle = {world, name, scalars, NULL};
  room_world_until(world, is_settled, &settle);
  for (guint i = 0; i < world->keepers->len; i++) {
    for (gboolean settled = FALSE; !settled;) {
      DocRoomAnswer *row = keeper_row(world->keepers->pdata[i], name);
      settled = !row || row->row->settled;
      doc_room_answer_free(row);
    }
  }
  g_free(settle.text);
  settle.text = NULL;
  room_world_until(world, is_settled, &settle);
  return settle.text;
}
