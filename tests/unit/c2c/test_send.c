/* Files between clones: whatever breaks, a file arrives whole and once, with a receipt; and who lies leaves
 * nothing. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "c2c/send_deliver.h"
#include "c2c/send_name.h"
#include "c2c/send_outbox.h"
#include "c2c/send_receipt.h"
#include "c2c/send_receive.h"
#include "c2c/service_message.h"
#include "c2c/services.h"
#include "replica/hashes.h"
#include "service_rig.h"

typedef struct {
  char *directory;
  RigUser *alice, *bob;
} World;

static void
set_up(World *world, gconstpointer data)
{
  world->directory = rig_directory("send");
  rig_begin(world->directory);
  rig_offer(services_find("send"));
  world->alice = rig_user("alice");
  world->bob = rig_user("bob");
}

static void
tear_down(World *world, gconstpointer data)
{
  rig_end();
  rig_remove(world->directory);
  g_free(world->directory);
}

static SendBox *
open_box(RigUser *user, const char *which)
{
  g_autofree char *directory = g_build_filename(user->place.directory, which, NULL);
  g_autoptr(GError) error = NULL;
  SendBox *box = send_box_open(directory, g_str_equal(which, "inbox"), &error);
  g_assert_no_error(error);
  return box;
}

static GBytes *
random_bytes(GRand *random, gsize length)
{
  guint8 *bytes = g_malloc(length + 4);
  for (gsize i = 0; i < length; i += 4) {
    guint32 word = g_rand_int(random);
    memcpy(bytes + i, &word, 4);
  }
  return g_bytes_new_take(bytes, length);
}

/* An offer of `content` under a name and a number. */
typedef struct {
  Doppel__Send__Offer offer;
  guint8 item[SEND_ITEM], hash[SEND_HASH];
  char *name;
  GBytes *content;
  Fd file;
} Parcel;

static Parcel *
parcel_new(World *world, const char *name, GBytes *content, guint8 number)
{
  gsize length;
  const void *bytes = g_bytes_get_data(content, &length);
  Parcel *parcel = g_new0(Parcel, 1);
  parcel->offer = (Doppel__Send__Offer)DOPPEL__SEND__OFFER__INIT;
  memset(parcel->item, number, SEND_ITEM);
  parcel->name = g_strdup(name);
  parcel->content = g_bytes_ref(content);
  parcel->file = open(world->directory, O_TMPFILE | O_RDWR, 0600);
  g_assert_cmpint(parcel->file, >=, 0);
  g_assert_true(io_write_all(parcel->file, bytes, length));
  g_assert_true(send_offer_from_file(parcel->file, &parcel->offer, parcel->hash, NULL));
  parcel->offer.item = (ProtobufCBinaryData){SEND_ITEM, parcel->item};
  parcel->offer.name = parcel->name;
  parcel->offer.mode = 0644;
  return parcel;
}

static void
parcel_free(Parcel *parcel)
{
  io_close(&parcel->file);
  g_bytes_unref(parcel->content);
  g_free(parcel->name);
  g_free(parcel);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Parcel, parcel_free)

static gboolean
deliver(World *world, Parcel *parcel, const char *limits, SendDelivery *delivery, GError **error)
{
  g_auto(Fd) fd = rig_serve(services_find("send"), world->bob, world->alice, limits);
  return send_deliver(fd, DOPPEL__SEND__MESSAGE__WHAT_OFFER, &parcel->offer, parcel->offer.size, parcel->file,
                      NULL, NULL, delivery, error);
}

static void
assert_content(SendBox *box, const SendItem *item, GBytes *content)
{
  g_auto(Fd) file = send_box_content(box, item->id, NULL);
  gsize length;
  const void *bytes = g_bytes_get_data(content, &length);
  g_autofree char *got = g_malloc(length + 1);
  g_assert_cmpint(io_read_all(file, got, length + 1), ==, (gssize)length);
  g_assert_cmpmem(got, length, bytes, length);
}

/* How many files there are in a box, whatever its database says. */
static guint
count_files(RigUser *user, const char *which)
{
  g_autofree char *directory = g_build_filename(user->place.directory, which, NULL);
  g_autoptr(GDir) entries = g_dir_open(directory, 0, NULL);
  const char *name;
  guint count = 0;
  while (entries && (name = g_dir_read_name(entries)))
    count += g_ascii_isdigit(*name);
  return count;
}

/* A file arrives with its name, mode and a receipt that the other clone has signed; the same sending again
 * gets the same receipt and no second file, another sending of the same name gets a number. */
static void
test_whole(World *world, gconstpointer data)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(1);
  for (guint i = 0; i < 3; i++) {
    static const gsize lengths[] = {0, 1, 700000};
    g_autoptr(GBytes) content = random_bytes(random, lengths[i]);
    g_autoptr(Parcel) parcel = parcel_new(world, "letters/plan.txt", content, i);
    g_autoptr(GBytes) first = NULL;
    for (guint again = 0; again < 2; again++) {
      g_auto(SendDelivery) delivery = {0};
      g_autoptr(GError) error = NULL;
      g_autofree char *name = NULL;
      deliver(world, parcel, "", &delivery, &error);
      g_assert_no_error(error);
      const Doppel__Send__Receipt *receipt = delivery.answer->receipt;
      SendItem item = {.size = lengths[i]};
      memcpy(item.item, parcel->item, SEND_ITEM);
      memcpy(item.hash, parcel->hash, SEND_HASH);
      g_assert_true(
          send_receipt_check(receipt, &item, identity_key_public(world->bob->clone_key), &name, &error));
      g_autofree char *wanted = send_name_numbered("plan.txt", i + 1);
      g_assert_cmpstr(name, ==, wanted);
      g_assert_false(
          send_receipt_check(receipt, &item, identity_key_public(world->alice->clone_key), NULL, NULL));
      receipt->statement.data[receipt->statement.len - 1] ^= 1;
      g_assert_false(
          send_receipt_check(receipt, &item, identity_key_public(world->bob->clone_key), NULL, NULL));
      receipt->statement.data[receipt->statement.len - 1] ^= 1;
      if (first)
        g_assert_cmpmem(g_bytes_get_data(first, NULL), IDENTITY_SIGNATURE_LENGTH, receipt->signature.data,
                        receipt->signature.len);
      else
        first = g_bytes_new(receipt->signature.data, receipt->signature.len);
    }
    rig_wait();
    g_autoptr(SendBox) box = open_box(world->bob, "inbox");
    g_autoptr(GPtrArray) items = send_box_list(box, DOPPEL__SEND__STATE__KEPT, NULL);
    g_assert_cmpuint(items->len, ==, i + 1);
    assert_content(box, items->pdata[i], content);
    g_assert_cmpstr(((SendItem *)items->pdata[i])->user, ==, "alice");
    g_assert_cmpuint(((SendItem *)items->pdata[i])->mode, ==, 0644);
  }
}

/* A stream that is cut after every number of bytes, seeded, the next one going on: each time the file is
 * there once, whole, and nothing else. */
static void
test_cuts(World *world, gconstpointer data)
{
  guint seed = 20260;
  g_autoptr(GRand) random = g_rand_new_with_seed(seed);
  guint64 resumed = 0;
  for (guint round = 0; round < 40; round++) {
    g_autoptr(GBytes) content = random_bytes(random, g_rand_int_range(random, 1, 3 << 20));
    g_autoptr(Parcel) parcel = parcel_new(world, "x", content, round + 1);
    rig_cut(g_rand_int_range(random, 1, 6), g_rand_int(random), g_bytes_get_size(content) + 400);
    gboolean done = FALSE;
    for (guint tries = 0; !done && tries < 20; tries++) {
      g_auto(SendDelivery) delivery = {0};
      g_autoptr(GError) error = NULL;
      g_auto(Fd) fd = service_node->dial(&world->alice->place, "bob", "send", &error);
      done = send_deliver(fd, DOPPEL__SEND__MESSAGE__WHAT_OFFER, &parcel->offer, parcel->offer.size,
                          parcel->file, NULL, NULL, &delivery, &error);
      resumed += delivery.resumed;
      if (!done)
        g_assert_true(g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE) ||
                      delivery.why == DOPPEL__SEND__WHY__LATER);
    }
    g_assert_true(done);
    rig_wait();
    g_autoptr(SendBox) box = open_box(world->bob, "inbox");
    g_autoptr(GPtrArray) items = send_box_list(box, DOPPEL__SEND__STATE__KEPT, NULL);
    g_assert_cmpuint(items->len, ==, round + 1);
    assert_content(box, items->pdata[round], content);
    g_assert_cmpuint(count_files(world->bob, "inbox"), ==, round + 1);
  }
  g_test_message("seed %u, %" G_GUINT64_FORMAT " bytes did not come again", seed, resumed);
  g_assert_cmpuint(resumed, >, 0);
}

/* The receiving process is killed at random moments (SIGKILL), the next one goes on. */
static void
test_kills(World *world, gconstpointer data)
{
  guint seed = 77;
  g_autoptr(GRand) random = g_rand_new_with_seed(seed);
  for (guint round = 0; round < 6; round++) {
    g_autoptr(GBytes) content = random_bytes(random, 24 << 20);
    g_autoptr(Parcel) parcel = parcel_new(world, "big", content, round + 1);
    gboolean done = FALSE;
    for (guint tries = 0; !done && tries < 30; tries++) {
      int pair[2];
      g_auto(SendDelivery) delivery = {0};
      g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
      pid_t child = fork();
      if (child == 0) {
        close(pair[0]);
        ualarm(tries < 8 ? g_rand_int_range(random, 1000, 60000) : 0,
               0); /* SIGALRM ends it, as SIGKILL would */
        ServicePeer peer = world->alice->as_peer;
        send_run(pair[1], "send", &peer, &world->bob->place);
        _exit(0);
      }
      close(pair[1]);
      g_rand_int(random);
      done = send_deliver(pair[0], DOPPEL__SEND__MESSAGE__WHAT_OFFER, &parcel->offer, parcel->offer.size,
                          parcel->file, NULL, NULL, &delivery, NULL);
      close(pair[0]);
      waitpid(child, NULL, 0);
    }
    g_assert_true(done);
    g_autoptr(SendBox) box = open_box(world->bob, "inbox");
    g_autoptr(GPtrArray) items = send_box_list(box, DOPPEL__SEND__STATE__KEPT, NULL);
    g_assert_cmpuint(items->len, ==, round + 1);
    assert_content(box, items->pdata[round], content);
    g_assert_cmpuint(count_files(world->bob, "inbox"), ==, round + 1);
  }
}

static void
assert_nothing(World *world)
{
  rig_wait();
  g_autoptr(SendBox) box = open_box(world->bob, "inbox");
  g_autoptr(GPtrArray) kept = send_box_list(box, DOPPEL__SEND__STATE__KEPT, NULL);
  g_autoptr(GPtrArray) partial = send_box_list(box, DOPPEL__SEND__STATE__PARTIAL, NULL);
  g_assert_cmpuint(kept->len + partial->len, ==, 0);
  g_assert_cmpuint(count_files(world->bob, "inbox"), ==, 0);
}

/* What was offered is not what comes: another hash, more bytes, something else, nonsense. The liar is told,
 * and nothing is left. */
static void
test_lies(World *world, gconstpointer data)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(3);
  g_autoptr(GBytes) content = random_bytes(random, 600000);
  for (guint lie = 0; lie < 3; lie++) {
    g_auto(SendDelivery) delivery = {0};
    g_autoptr(GError) error = NULL;
    g_autoptr(Parcel) parcel = parcel_new(world, "lie", content, lie + 1);
    guint64 sent = parcel->offer.size;
    if (lie == 0)
      parcel->hash[5] ^= 1;
    else if (lie == 1)
      parcel->offer.size -= 1000;
    else
      parcel->offer.size = 0;
    g_auto(Fd) fd = rig_serve(services_find("send"), world->bob, world->alice, "");
    g_assert_false(send_deliver(fd, DOPPEL__SEND__MESSAGE__WHAT_OFFER, &parcel->offer, sent, parcel->file,
                                NULL, NULL, &delivery, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
    g_assert_cmpint(delivery.why, ==, DOPPEL__SEND__WHY__WRONG);
    io_close(&fd);
    assert_nothing(world);
  }
}

/* Bytes that are no message, messages that are no offer: the conversation ends, and nothing is left. */
static void
test_nonsense(World *world, gconstpointer data)
{
  static const char *const nonsense[] = {"\377\377\377\377", "\0\0\0\0", "\0\0\0\2\377\377",
                                         "\0\0\0\2\172\0"};
  for (guint i = 0; i < G_N_ELEMENTS(nonsense); i++) {
    char buffer[1000];
    g_auto(Fd) fd = rig_serve(services_find("send"), world->bob, world->alice, "");
    g_assert_cmpint(send(fd, nonsense[i], i < 2 ? 4 : 6, MSG_NOSIGNAL), >, 0);
    while (recv(fd, buffer, sizeof buffer, 0) > 0)
      ;
    io_close(&fd);
    assert_nothing(world);
  }
}

/* The quota is each sender's; the permission's limits change it. What is there stays. */
static void
test_quota(World *world, gconstpointer data)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(4);
  g_autoptr(GBytes) content = random_bytes(random, 40000);
  static const struct {
    const char *limits;
    SendWhy why;
  } rows[] = {
      {"bytes=50K", 0},
      {"bytes=50K", DOPPEL__SEND__WHY__QUOTA},
      {"bytes=100K,items=1", DOPPEL__SEND__WHY__QUOTA},
      {"items=2,bytes=100K", 0},
      {"bytes=-1", DOPPEL__SEND__WHY__QUOTA},
      {"bytes=1X", DOPPEL__SEND__WHY__QUOTA},
      {"bytes=99999999999999999999999T", DOPPEL__SEND__WHY__QUOTA},
      {"later=1", 0},
  };
  guint kept = 0;
  for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
    g_auto(SendDelivery) delivery = {0};
    g_autoptr(GError) error = NULL;
    g_autoptr(Parcel) parcel = parcel_new(world, "q", content, i + 1);
    gboolean done = deliver(world, parcel, rows[i].limits, &delivery, &error);
    g_assert_cmpint(delivery.why, ==, rows[i].why);
    g_assert_cmpint(done, ==, rows[i].why == 0);
    kept += done;
    rig_wait();
    g_assert_cmpuint(count_files(world->bob, "inbox"), ==, kept);
  }
}

/* A disk that is full: a clear refusal before anything comes, nothing is lost, and what was there is. */
static void
test_full(World *world, gconstpointer data)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(5);
  g_autoptr(GBytes) content = random_bytes(random, 1000);
  g_autoptr(SendBox) box = open_box(world->bob, "inbox");
  g_autoptr(Parcel) parcel = parcel_new(world, "full", content, 1);
  SendBoxLimits limits = SEND_BOX_LIMITS;
  SendWhy why = 0;
  g_autoptr(GError) error = NULL;
  limits.spare = G_GUINT64_CONSTANT(1) << 60;
  g_assert_null(send_incoming_begin(box, "w", "u", &parcel->offer, &limits, &why, &error));
  g_assert_cmpint(why, ==, DOPPEL__SEND__WHY__FULL);
  g_assert_nonnull(strstr(error->message, "disk"));
  limits = SEND_BOX_LIMITS;
  limits.all = 999;
  g_clear_error(&error);
  g_assert_null(send_incoming_begin(box, "w", "u", &parcel->offer, &limits, &why, &error));
  g_assert_cmpint(why, ==, DOPPEL__SEND__WHY__FULL);
  g_assert_cmpuint(count_files(world->bob, "inbox"), ==, 0);
}

/* Two connections with the same sending at the same time: one receives, the other is asked to come later, or
 * finds it done. */
static void
test_two_senders(World *world, gconstpointer data)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(6);
  g_autoptr(GBytes) content = random_bytes(random, 300000);
  g_autoptr(Parcel) parcel = parcel_new(world, "two", content, 1);
  g_autoptr(SendBox) one = open_box(world->bob, "inbox");
  g_autoptr(SendBox) two = open_box(world->bob, "inbox");
  SendBoxLimits limits = SEND_BOX_LIMITS;
  SendWhy why;
  g_autoptr(GError) error = NULL;
  {
    g_autoptr(SendIncoming) first = send_incoming_begin(one, "w", "u", &parcel->offer, &limits, &why, &error);
    g_assert_nonnull(first);
    g_assert_null(send_incoming_begin(two, "w", "u", &parcel->offer, &limits, &why, NULL));
    g_assert_cmpint(why, ==, DOPPEL__SEND__WHY__LATER);
    /* Another user's same content is theirs. */
    g_autoptr(SendIncoming) other = send_incoming_begin(two, "v", "v", &parcel->offer, &limits, &why, NULL);
    g_assert_nonnull(other);
    gsize length;
    const void *bytes = g_bytes_get_data(content, &length);
    g_assert_true(send_incoming_write(first, bytes, length, &why, NULL));
    g_assert_true(send_incoming_complete(first, &why, NULL));
  }
  g_autoptr(SendIncoming) again = send_incoming_begin(two, "w", "u", &parcel->offer, &limits, &why, NULL);
  g_assert_cmpint(again->item->state, ==, DOPPEL__SEND__STATE__KEPT);
  assert_content(two, again->item, content);
  parcel->hash[0] ^= 1;
  g_assert_null(send_incoming_begin(two, "w", "u", &parcel->offer, &limits, &why, NULL));
  g_assert_cmpint(why, ==, DOPPEL__SEND__WHY__MALFORMED);
}

/* Names that would be paths, steer terminals, or hide. */
static void
test_names(void)
{
  static const struct {
    const char *offered, *kept;
  } rows[] = {
      {"plan.txt", "plan.txt"},
      {"/etc/passwd", "passwd"},
      {"../../x", "x"},
      {"..", "_."},
      {".", "_"},
      {"", "file"},
      {"/", "_"},
      {"a/", "a_"},
      {"C:\\x\\y.exe", "y.exe"},
      {".bashrc", "_bashrc"},
      {"-rf", "_rf"},
      {"a\nb\033[2J", "a_b_[2J"},
      {"\xe2\x80\xaegpj.exe", "_gpj.exe"},
      {"\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd"},
      {"Gr\xc3\xbc\xc3\x9f"
       "e.odt",
       "Gr\xc3\xbc\xc3\x9f"
       "e.odt"},
      {"   ", "file"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
    g_autofree char *kept = send_name_clean(rows[i].offered);
    g_assert_cmpstr(kept, ==, rows[i].kept);
  }
  g_autofree char *letters = g_strnfill(3000, 'a');
  g_autofree char *lengthy = g_strconcat(letters, "\xc3\xbc.tar", NULL);
  g_autofree char *kept = send_name_clean(lengthy);
  g_autofree char *next = send_name_numbered(kept, 12345);
  g_assert_cmpuint(strlen(kept), ==, 255);
  g_assert_cmpuint(strlen(next), ==, 255);
  g_assert_true(g_str_has_suffix(next, "a (12345).tar"));
  g_autofree char *umlauts = g_malloc0(401);
  for (guint i = 0; i < 200; i++)
    memcpy(umlauts + 2 * i, "\xc3\xbc", 2);
  g_autofree char *fitted = send_name_clean(umlauts);
  g_assert_true(g_utf8_validate(fitted, -1, NULL));
  g_assert_cmpuint(strlen(fitted), ==, 254);
}

/* ---- the outbox ---- */

static gint64
post(World *world, Parcel *parcel, const char *user)
{
  g_auto(SendDelivery) delivery = {0};
  g_autoptr(GError) error = NULL;
  Doppel__Send__Post message = DOPPEL__SEND__POST__INIT;
  message.user = (char *)user;
  message.offer = &parcel->offer;
  g_auto(Fd) fd = rig_serve(services_find("outbox"), world->alice, world->alice, "");
  send_deliver(fd, DOPPEL__SEND__MESSAGE__WHAT_POST, &message, parcel->offer.size, parcel->file, NULL, NULL,
               &delivery, &error);
  g_assert_no_error(error);
  g_assert_cmpint(delivery.answer->what_case, ==, DOPPEL__SEND__MESSAGE__WHAT_KEPT);
  return delivery.answer->kept->id;
}

static void
assert_outbox(World *world, gint64 id, Doppel__Send__State state, guint tries)
{
  g_autoptr(SendBox) box = open_box(world->alice, "outbox");
  g_autoptr(GError) error = NULL;
  g_autoptr(SendItem) item = send_box_get(box, id, &error);
  g_assert_no_error(error);
  g_assert_cmpint(item->state, ==, state);
  g_assert_cmpuint(item->tries, ==, tries);
}

/* Lets what waits be due. */
static void
hurry(World *world)
{
  g_autoptr(SendBox) box = open_box(world->alice, "outbox");
  g_autoptr(GPtrArray) items = send_box_list(box, DOPPEL__SEND__STATE__KEPT, NULL);
  for (guint i = 0; i < items->len; i++) {
    const SendItem *item = items->pdata[i];
    g_assert_true(send_box_state(box, item->id, item->state, 0, item->tries, 0, item->words, NULL, NULL));
  }
}

/* What the own clone has goes out when the other one is there, through cuts, once; with a receipt. */
static void
test_outbox(World *world, gconstpointer data)
{
  guint seed = 99;
  g_autoptr(GRand) random = g_rand_new_with_seed(seed);
  g_autoptr(GBytes) content = random_bytes(random, 2 << 20);
  gint64 ids[5];
  for (guint i = 0; i < G_N_ELEMENTS(ids); i++) {
    g_autoptr(Parcel) parcel = parcel_new(world, "same name", content, i + 1);
    ids[i] = post(world, parcel, "bob");
    g_assert_cmpint(post(world, parcel, "bob"), ==, ids[i]);
  }
  world->bob->away = TRUE;
  g_assert_true(send_outbox_deliver(&world->alice->place, "bob", NULL));
  assert_outbox(world, ids[0], DOPPEL__SEND__STATE__KEPT, 1);
  guint dials = world->bob->dials;
  g_assert_true(send_outbox_deliver(&world->alice->place, "bob", NULL));
  g_assert_cmpuint(world->bob->dials, ==, dials); /* nothing is due yet */
  world->bob->away = FALSE;
  rig_cut(12, seed, 3 << 20);
  guint turns = 0;
  for (gboolean over = FALSE; !over; turns++) {
    g_assert_cmpuint(turns, <, 40);
    hurry(world);
    g_assert_true(send_outbox_deliver(&world->alice->place, "bob", NULL));
    g_autoptr(SendBox) box = open_box(world->alice, "outbox");
    g_autoptr(GPtrArray) left = send_box_list(box, DOPPEL__SEND__STATE__KEPT, NULL);
    over = left->len == 0;
  }
  rig_wait();
  g_autoptr(SendBox) box = open_box(world->bob, "inbox");
  g_autoptr(GPtrArray) items = send_box_list(box, DOPPEL__SEND__STATE__KEPT, NULL);
  g_assert_cmpuint(items->len, ==, G_N_ELEMENTS(ids));
  for (guint i = 0; i < items->len; i++)
    assert_content(box, items->pdata[i], content);
  g_assert_cmpuint(count_files(world->alice, "outbox"), ==, 0);
  g_autoptr(SendBox) outbox = open_box(world->alice, "outbox");
  g_autoptr(SendItem) done = send_box_get(outbox, ids[4], NULL);
  g_assert_cmpint(done->state, ==, DOPPEL__SEND__STATE__DELIVERED);
  g_assert_nonnull(done->statement);
}

static SendMessage *ask(int fd, Doppel__Send__Message__WhatCase which, void *question);

static void
copy(const char *from, const char *to)
{
  const char *words[] = {"cp", "-a", from, to, NULL};
  g_assert_true(
      g_spawn_sync(NULL, (char **)words, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL));
}

static void
forget_receipts(RigUser *user)
{
  g_autofree char *path = g_build_filename(user->place.directory, "inbox", "box.db", NULL);
  sqlite3 *database;
  g_assert_cmpint(sqlite3_open(path, &database), ==, SQLITE_OK);
  g_assert_cmpint(
      sqlite3_exec(database, "UPDATE item SET statement=NULL, signature=NULL, key=NULL", NULL, NULL, NULL),
      ==, SQLITE_OK);
  sqlite3_close(database);
}

/* A loss of power takes what was not waited for: that a file was delivered, and the receipt that was given
 * for it. It is offered again, and is there once. */
static void
test_power(World *world, gconstpointer data)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(12);
  g_autoptr(GBytes) content = random_bytes(random, 300000);
  g_autoptr(Parcel) parcel = parcel_new(world, "late", content, 1);
  gint64 id = post(world, parcel, "bob");
  g_autofree char *outbox = g_build_filename(world->alice->place.directory, "outbox", NULL);
  g_autofree char *before = g_build_filename(world->alice->place.directory, "before", NULL);
  rig_wait();
  copy(outbox, before);
  g_assert_true(send_outbox_deliver(&world->alice->place, "bob", NULL));
  assert_outbox(world, id, DOPPEL__SEND__STATE__DELIVERED, 0);
  g_assert_cmpuint(count_files(world->alice, "outbox"), ==, 0);
  rig_wait();
  forget_receipts(world->bob);
  rig_remove(outbox);
  copy(before, outbox);
  assert_outbox(world, id, DOPPEL__SEND__STATE__KEPT, 0);
  g_assert_true(send_outbox_deliver(&world->alice->place, "bob", NULL));
  assert_outbox(world, id, DOPPEL__SEND__STATE__DELIVERED, 0);
  g_assert_cmpuint(count_files(world->alice, "outbox"), ==, 0);
  g_autoptr(SendBox) box = open_box(world->bob, "inbox");
  g_autoptr(GPtrArray) items = send_box_list(box, DOPPEL__SEND__STATE__KEPT, NULL);
  g_assert_cmpuint(items->len, ==, 1);
  assert_content(box, items->pdata[0], content);
}

/* A clone that cannot use its inbox at all says so, to a sender without what is its own affair, and takes the
 * file when it can. */
static void
test_unable(World *world, gconstpointer data)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(13);
  g_autoptr(GBytes) content = random_bytes(random, 1000);
  g_autoptr(Parcel) parcel = parcel_new(world, "later", content, 1);
  g_autofree char *inbox = g_build_filename(world->bob->place.directory, "inbox", NULL);
  g_autoptr(GError) error = NULL;
  g_auto(SendDelivery) refused = {0}, taken = {0};
  Doppel__Send__List list = DOPPEL__SEND__LIST__INIT;
  g_assert_true(g_file_set_contents(inbox, "", 0, NULL)); /* no directory */
  g_assert_false(deliver(world, parcel, "", &refused, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  g_assert_cmpint(refused.why, ==, DOPPEL__SEND__WHY__LATER);
  g_assert_null(strstr(error->message, world->directory));
  g_auto(Fd) own = rig_serve(services_find("inbox"), world->bob, world->bob, "");
  g_autoptr(SendMessage) told = ask(own, DOPPEL__SEND__MESSAGE__WHAT_LIST, &list);
  g_assert_cmpint(told->what_case, ==, DOPPEL__SEND__MESSAGE__WHAT_REFUSED);
  g_assert_nonnull(strstr(told->refused->words, inbox));
  g_assert_cmpint(unlink(inbox), ==, 0);
  g_assert_true(deliver(world, parcel, "", &taken, NULL));
}

/* An upload to the own clone that was interrupted goes on when the same file is sent again, under another
 * number. */
static void
test_upload(World *world, gconstpointer data)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(12);
  g_autoptr(GBytes) content = random_bytes(random, 900000);
  g_autoptr(Parcel) first = parcel_new(world, "up", content, 1);
  g_autoptr(Parcel) second = parcel_new(world, "up", content, 2);
  Doppel__Send__Post message = DOPPEL__SEND__POST__INIT;
  char user[] = "bob";
  message.user = user;
  message.offer = &first->offer;
  int fd = rig_serve(services_find("outbox"), world->alice, world->alice, "");
  g_assert_true(send_message_put(fd, DOPPEL__SEND__MESSAGE__WHAT_POST, &message, NULL));
  g_autoptr(SendMessage) wanted = send_message_receive(fd, NULL);
  g_assert_cmpuint(wanted->wanted->offset, ==, 0);
  g_assert_true(send_message_content(fd, first->file, 0, 500000, NULL, NULL, NULL));
  close(fd);
  rig_wait();
  g_auto(SendDelivery) delivery = {0};
  message.offer = &second->offer;
  g_auto(Fd) again = rig_serve(services_find("outbox"), world->alice, world->alice, "");
  g_assert_true(send_deliver(again, DOPPEL__SEND__MESSAGE__WHAT_POST, &message, second->offer.size,
                             second->file, NULL, NULL, &delivery, NULL));
  g_assert_cmpuint(delivery.resumed, ==, 500000);
  g_assert_cmpuint(count_files(world->alice, "outbox"), ==, 1);
}

/* Who does not let alice send is said; who is not known is said at once. */
static void
test_refused(World *world, gconstpointer data)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(8);
  g_autoptr(GBytes) content = random_bytes(random, 1000);
  g_autoptr(Parcel) parcel = parcel_new(world, "x", content, 1);
  gint64 id = post(world, parcel, "bob");
  world->bob->denies = TRUE;
  g_assert_true(send_outbox_deliver(&world->alice->place, "bob", NULL));
  assert_outbox(world, id, DOPPEL__SEND__STATE__REFUSED, 1);
  g_assert_cmpuint(count_files(world->alice, "outbox"), ==, 0);
  g_auto(SendDelivery) delivery = {0};
  Doppel__Send__Post message = DOPPEL__SEND__POST__INIT;
  char nobody[] = "nobody";
  message.user = nobody;
  message.offer = &parcel->offer;
  g_auto(Fd) fd = rig_serve(services_find("outbox"), world->alice, world->alice, "");
  g_assert_false(send_deliver(fd, DOPPEL__SEND__MESSAGE__WHAT_POST, &message, parcel->offer.size,
                              parcel->file, NULL, NULL, &delivery, NULL));
  g_assert_cmpint(delivery.why, ==, DOPPEL__SEND__WHY__UNKNOWN);
}

/* Why a friend's clone refuses is shown to the owner: one line of text, whatever it says. */
static void
test_refused_words(void)
{
  g_autoptr(GError) error = NULL;
  g_auto(SendDelivery) delivery = {0};
  Doppel__Send__Offer offer = DOPPEL__SEND__OFFER__INIT;
  int ends[2];
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  Doppel__Send__Refused refused = DOPPEL__SEND__REFUSED__INIT;
  refused.why = DOPPEL__SEND__WHY__FULL;
  refused.words = (char *)"no\n\033[2Jroom\xc2\x9b"
                          "2J";
  g_assert_true(send_message_put(ends[1], DOPPEL__SEND__MESSAGE__WHAT_REFUSED, &refused, NULL));
  g_assert_false(
      send_deliver(ends[0], DOPPEL__SEND__MESSAGE__WHAT_OFFER, &offer, 0, -1, NULL, NULL, &delivery, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  g_assert_cmpstr(error->message, ==, "no  [2Jroom  2J");
  g_assert_cmpint(delivery.why, ==, DOPPEL__SEND__WHY__FULL);
  close(ends[0]);
  close(ends[1]);
}

/* What the owner's device shows of a parcel is a line, too. */
static void
test_row_words(void)
{
  static const struct {
    const char *words;
    gboolean good;
  } cases[] = {{"", TRUE}, {"no room", TRUE}, {"no\nroom", FALSE}, {"\033[2J", FALSE}, {"\xc2\x9b", FALSE}};
  guint8 hash[SEND_HASH] = {0};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    Doppel__Send__Row row = DOPPEL__SEND__ROW__INIT;
    SendMessage message = DOPPEL__SEND__MESSAGE__INIT;
    row.id = 1;
    row.name = (char *)"file";
    row.hash = (ProtobufCBinaryData){sizeof hash, hash};
    row.words = (char *)cases[i].words;
    message.what_case = DOPPEL__SEND__MESSAGE__WHAT_ROW;
    message.row = &row;
    g_autofree guint8 *packed = g_malloc(doppel__send__message__get_packed_size(&message));
    g_autoptr(SendMessage) taken =
        send_message_unpack(packed, doppel__send__message__pack(&message, packed), NULL);
    g_assert_cmpint(taken != NULL, ==, cases[i].good);
  }
}

/* Whatever an error said: one row that cannot be told would hide the list. */
static void
test_kept_words(World *world, gconstpointer data)
{
  g_autoptr(GBytes) content = g_bytes_new_static("content", 7);
  g_autoptr(Parcel) parcel = parcel_new(world, "file", content, 1);
  g_auto(SendDelivery) delivery = {0};
  g_autofree char *words = g_strnfill(2 * SEND_WORDS_MAX, 'x');
  memcpy(words, "\033[2J\n", 5);
  g_assert_true(deliver(world, parcel, NULL, &delivery, NULL));
  g_autoptr(SendBox) box = open_box(world->bob, "inbox");
  g_assert_true(send_box_state(box, 1, DOPPEL__SEND__STATE__KEPT, 0, 0, 0, words, NULL, NULL));
  g_autoptr(SendItem) item = send_box_get(box, 1, NULL);
  g_assert_nonnull(item);
  g_assert_cmpuint(strlen(item->words), ==, SEND_WORDS_MAX);
  g_assert_true(g_str_has_prefix(item->words, " [2J xxx"));
}

static SendMessage *
ask(int fd, Doppel__Send__Message__WhatCase which, void *question)
{
  g_autoptr(GError) error = NULL;
  g_assert_true(send_message_put(fd, which, question, NULL));
  SendMessage *answer = send_message_receive(fd, &error);
  g_assert_no_error(error);
  return answer;
}

/* The owner's view of both: lists, contents from any offset, removing, cancelling, watching. */
static void
test_owner(World *world, gconstpointer data)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(9);
  g_autoptr(GBytes) content = random_bytes(random, 500000);
  g_autoptr(Parcel) parcel = parcel_new(world, "seen", content, 1);
  gint64 id = post(world, parcel, "bob");
  g_auto(Fd) outbox = rig_serve(services_find("outbox"), world->alice, world->alice, "");
  Doppel__Send__Watch watch = DOPPEL__SEND__WATCH__INIT;
  watch.id = id;
  g_autoptr(SendMessage) row = ask(outbox, DOPPEL__SEND__MESSAGE__WHAT_WATCH, &watch);
  g_assert_cmpint(row->row->state, ==, DOPPEL__SEND__STATE__KEPT);
  g_assert_true(send_outbox_deliver(&world->alice->place, "bob", NULL));
  gboolean delivered = FALSE;
  for (gboolean end = FALSE; !end;) {
    g_autoptr(SendMessage) next = send_message_receive(outbox, NULL);
    end = next->what_case == DOPPEL__SEND__MESSAGE__WHAT_END;
    if (!end)
      delivered = next->row->state == DOPPEL__SEND__STATE__DELIVERED && next->row->receipt;
  }
  g_assert_true(delivered);

  g_auto(Fd) inbox = rig_serve(services_find("inbox"), world->bob, world->bob, "");
  Doppel__Send__List list = DOPPEL__SEND__LIST__INIT;
  g_autoptr(SendMessage) first = ask(inbox, DOPPEL__SEND__MESSAGE__WHAT_LIST, &list);
  g_assert_cmpstr(first->row->name, ==, "seen");
  g_autoptr(SendMessage) end = send_message_receive(inbox, NULL);
  g_assert_cmpint(end->what_case, ==, DOPPEL__SEND__MESSAGE__WHAT_END);
  Doppel__Send__Get get = DOPPEL__SEND__GET__INIT;
  get.id = first->row->id;
  get.offset = 499990;
  g_autoptr(SendMessage) found = ask(inbox, DOPPEL__SEND__MESSAGE__WHAT_GET, &get);
  g_assert_cmpint(found->what_case, ==, DOPPEL__SEND__MESSAGE__WHAT_FOUND);
  g_autoptr(SendMessage) chunk = send_message_receive(inbox, NULL);
  g_assert_cmpmem(chunk->chunk->data.data, chunk->chunk->data.len,
                  (const char *)g_bytes_get_data(content, NULL) + 499990, 10);
  g_autoptr(SendMessage) rest = send_message_receive(inbox, NULL);
  g_assert_cmpint(rest->what_case, ==, DOPPEL__SEND__MESSAGE__WHAT_END);
  Doppel__Send__Remove remove = DOPPEL__SEND__REMOVE__INIT;
  remove.id = get.id;
  g_autoptr(SendMessage) removed = ask(inbox, DOPPEL__SEND__MESSAGE__WHAT_REMOVE, &remove);
  g_assert_cmpint(removed->what_case, ==, DOPPEL__SEND__MESSAGE__WHAT_END);
  g_autoptr(SendMessage) none = ask(inbox, DOPPEL__SEND__MESSAGE__WHAT_GET, &get);
  g_assert_cmpint(none->what_case, ==, DOPPEL__SEND__MESSAGE__WHAT_REFUSED);
  g_assert_cmpint(none->refused->why, ==, DOPPEL__SEND__WHY__UNKNOWN);
  g_assert_cmpuint(count_files(world->bob, "inbox"), ==, 0);
  /* What was removed does not come back when it is sent again. */
  g_auto(SendDelivery) delivery = {0};
  g_assert_true(deliver(world, parcel, "", &delivery, NULL));
  g_assert_cmpuint(count_files(world->bob, "inbox"), ==, 0);
}

/* What nobody went on with for a week goes, and so does its file; younger ones and whoever is at it stay. */
static void
test_expiry(World *world, gconstpointer data)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(10);
  g_autoptr(GBytes) content = random_bytes(random, 1000);
  SendBoxLimits limits = SEND_BOX_LIMITS;
  SendWhy why;
  for (guint i = 1; i <= 3; i++) {
    g_autoptr(SendBox) box = open_box(world->bob, "inbox");
    g_autoptr(Parcel) parcel = parcel_new(world, "old", content, i);
    g_autoptr(SendIncoming) incoming =
        send_incoming_begin(box, "w", "u", &parcel->offer, &limits, &why, NULL);
    g_assert_true(send_incoming_write(incoming, "abc", 3, &why, NULL));
  }
  g_autofree char *path = g_build_filename(world->bob->place.directory, "inbox", "box.db", NULL);
  sqlite3 *database;
  g_assert_cmpint(sqlite3_open(path, &database), ==, SQLITE_OK);
  g_assert_cmpint(sqlite3_exec(database, "UPDATE item SET changed=1 WHERE id<=2", NULL, NULL, NULL), ==,
                  SQLITE_OK);
  sqlite3_close(database);
  g_autoptr(Parcel) parcel = parcel_new(world, "old", content, 2);
  {
    g_autoptr(SendBox) box = NULL;
    g_autofree char *directory = g_build_filename(world->bob->place.directory, "inbox", NULL);
    g_autofree char *file = g_build_filename(directory, "2", NULL);
    g_auto(Fd) busy = open(file, O_RDWR);
    g_assert_cmpint(flock(busy, LOCK_EX), ==, 0);
    box = send_box_open(directory, TRUE, NULL);
    g_autoptr(GPtrArray) left = send_box_list(box, DOPPEL__SEND__STATE__PARTIAL, NULL);
    g_assert_cmpuint(left->len, ==, 2);
  }
  g_autoptr(SendBox) box = open_box(world->bob, "inbox");
  g_autoptr(GPtrArray) left = send_box_list(box, DOPPEL__SEND__STATE__PARTIAL, NULL);
  g_assert_cmpuint(left->len, ==, 1);
  g_assert_cmpuint(((SendItem *)left->pdata[0])->durable, ==, 3);
  g_assert_cmpuint(count_files(world->bob, "inbox"), ==, 1);
}

#define ADD(name, function) g_test_add("/send/" name, World, NULL, set_up, function, tear_down)

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/send/names", test_names);
  g_test_add_func("/send/refused-words", test_refused_words);
  g_test_add_func("/send/row-words", test_row_words);
  ADD("whole", test_whole);
  ADD("cuts", test_cuts);
  ADD("kills", test_kills);
  ADD("lies", test_lies);
  ADD("nonsense", test_nonsense);
  ADD("quota", test_quota);
  ADD("full", test_full);
  ADD("two-senders", test_two_senders);
  ADD("outbox", test_outbox);
  ADD("power", test_power);
  ADD("unable", test_unable);
  ADD("upload", test_upload);
  ADD("refused", test_refused);
  ADD("kept-words", test_kept_words);
  ADD("owner", test_owner);
  ADD("expiry", test_expiry);
  return g_test_run();
}
