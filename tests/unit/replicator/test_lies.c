/* A device, and a clone, that say what cannot be: the other one says so, and what it has stays as it is. */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/message.h"
#include "replicator/history.h"
#include "rig.h"
#include "sync_rig.h"

static const guint8 identity[SYNC_IDENTITY] = "0123456789abcde";
#define IDENTITY                    ((ProtobufCBinaryData){sizeof identity, (guint8 *)identity})
#define SEND(KIND, field, contents) g_assert_true(SYNC_SEND(link, KIND, field, contents, NULL))

static void
hello(Link *link, gboolean write)
{
  Doppel__Sync__Hello message = DOPPEL__SYNC__HELLO__INIT;
  message.version = SYNC_VERSION;
  message.write = write;
  SEND(HELLO, hello, &message);
}

/* The next messages' kinds, up to a failure of this code. */
static void
assert_failure(Link *link, DoppelErrorCode code)
{
  for (;;) {
    g_autoptr(GError) error = NULL;
    g_autoptr(SyncMessage) message = sync_wait(link, 60000, &error);
    g_assert_no_error(error);
    if (message->kind_case != DOPPEL__SYNC__MESSAGE__KIND_FAILURE)
      continue;
    g_assert_cmpuint(message->failure->code, ==, code);
    g_assert_cmpuint(strlen(message->failure->reason), >, 10);
    return;
  }
}

static void
send_step(SyncRig *rig, Link *link, GenerationKind kind, guint64 number, const char *path)
{
  Doppel__Sync__Step message = DOPPEL__SYNC__STEP__INIT;
  GenerationStep step = {.kind = kind,
                         .number = number,
                         .path = (char *)path,
                         .facts = {.type = REPLICA_DIRECTORY, .mode = 0700},
                         .generation = rig->generation + 1};
  g_autoptr(GBytes) packed = generation_step_pack(&step);
  ProtobufCBinaryData bytes = {g_bytes_get_size(packed), (guint8 *)g_bytes_get_data(packed, NULL)};
  message.step = &bytes;
  message.n_step = 1;
  SEND(STEP, step, &message);
}

static void
begin_at(Link *link, guint64 generation, guint64 durable)
{
  Doppel__Sync__Begin message = DOPPEL__SYNC__BEGIN__INIT;
  Doppel__Sync__Attempt attempt = DOPPEL__SYNC__ATTEMPT__INIT;
  attempt.identity = IDENTITY;
  attempt.generation = generation;
  attempt.durable = durable;
  message.attempt = &attempt;
  hello(link, TRUE);
  SEND(BEGIN, begin, &message);
}

static void
begin(SyncRig *rig, Link *link)
{
  begin_at(link, rig->generation + 1, 0);
}

static void
begin_nothing(SyncRig *rig, Link *link)
{
  Doppel__Sync__Begin message = DOPPEL__SYNC__BEGIN__INIT;
  hello(link, TRUE);
  SEND(BEGIN, begin, &message);
  assert_failure(link, DOPPEL_ERROR_HOSTILE);
}

static void
begin_ahead(SyncRig *rig, Link *link)
{
  begin_at(link, rig->generation + 2, 0);
  assert_failure(link, DOPPEL_ERROR_MISMATCH);
}

static void
begin_in_the_middle(SyncRig *rig, Link *link)
{
  begin_at(link, rig->generation + 1, 7);
  send_step(rig, link, GENERATION_PLACE, 8, "");
  assert_failure(link, DOPPEL_ERROR_MISMATCH);
}

static void
no_hello(SyncRig *rig, Link *link)
{
  Doppel__Sync__List list = DOPPEL__SYNC__LIST__INIT;
  SEND(LIST, list, &list);
  assert_failure(link, DOPPEL_ERROR_HOSTILE);
}

static void
other_version(SyncRig *rig, Link *link)
{
  Doppel__Sync__Hello message = DOPPEL__SYNC__HELLO__INIT;
  message.version = SYNC_VERSION + 1;
  SEND(HELLO, hello, &message);
  assert_failure(link, DOPPEL_ERROR_UNSUPPORTED);
}

static void
reader_writes(SyncRig *rig, Link *link)
{
  hello(link, FALSE);
  send_step(rig, link, GENERATION_PLACE, 1, "");
  assert_failure(link, DOPPEL_ERROR_HOSTILE);
}

static void
step_before_begin(SyncRig *rig, Link *link)
{
  hello(link, TRUE);
  send_step(rig, link, GENERATION_PLACE, 1, "");
  assert_failure(link, DOPPEL_ERROR_HOSTILE);
}

static void
step_out_of_order(SyncRig *rig, Link *link)
{
  begin(rig, link);
  send_step(rig, link, GENERATION_PLACE, 1, "");
  send_step(rig, link, GENERATION_PLACE, 3, "d");
  assert_failure(link, DOPPEL_ERROR_HOSTILE);
}

static void
step_out_of_the_tree(SyncRig *rig, Link *link)
{
  begin(rig, link);
  send_step(rig, link, GENERATION_PLACE, 1, "../outside");
  assert_failure(link, DOPPEL_ERROR_HOSTILE);
}

static void
step_into_nothing(SyncRig *rig, Link *link)
{
  begin(rig, link);
  send_step(rig, link, GENERATION_PLACE, 1, "not/there");
  assert_failure(link, DOPPEL_ERROR_MISMATCH);
}

static void
wrong_count(SyncRig *rig, Link *link)
{
  begin(rig, link);
  send_step(rig, link, GENERATION_PLACE, 1, "d");
  send_step(rig, link, GENERATION_COMMIT, 2, NULL);
  assert_failure(link, DOPPEL_ERROR_MISMATCH);
}

static void
raw_bytes(SyncRig *rig, Link *link)
{
  hello(link, TRUE);
  g_assert_true(link_send(link, SYNC_CHANNEL, &(struct iovec){(void *)"\xff\xff\xff", 3}, 1, NULL));
  assert_failure(link, DOPPEL_ERROR_HOSTILE);
}

static void
look_outside(SyncRig *rig, Link *link)
{
  Doppel__Sync__Show show = DOPPEL__SYNC__SHOW__INIT;
  show.path = replica_path_to_message("d/../../..");
  hello(link, FALSE);
  SEND(SHOW, show, &show);
  assert_failure(link, DOPPEL_ERROR_HOSTILE);
}

/* After each lie the store is what it was, and the honest device goes on. */
static void
test_device(void)
{
  static void (*const lies[])(SyncRig *, Link *) = {
      no_hello,
      other_version,
      reader_writes,
      step_before_begin,
      step_out_of_order,
      step_out_of_the_tree,
      step_into_nothing,
      wrong_count,
      raw_bytes,
      look_outside,
      begin_nothing,
      begin_ahead,
      begin_in_the_middle,
  };
  SyncRig *rig = sync_rig_new(1, NULL);
  sync_rig_change(rig, 20);
  for (guint i = 0; i < G_N_ELEMENTS(lies); i++) {
    g_auto(ReplicatorResult) result = {0};
    sync_rig_ask(rig, lies[i]);
    g_assert_cmpuint(sync_rig_newest(rig), ==, rig->generation);
    sync_rig_run(rig, &result);
    if (i % 3 == 0)
      sync_rig_change(rig, 5);
  }
  sync_rig_free(rig);
}

/* ---- a clone ---- */

static void
welcome(Link *link)
{
  Doppel__Sync__Welcome message = DOPPEL__SYNC__WELCOME__INIT;
  message.version = SYNC_VERSION;
  message.store = IDENTITY;
  SEND(WELCOME, welcome, &message);
}

static void
durable_ahead(Link *link)
{
  Doppel__Sync__Durable message = DOPPEL__SYNC__DURABLE__INIT;
  welcome(link);
  message.number = 1000000;
  SEND(DURABLE, durable, &message);
}

/* A generation that is never completed, though nothing was wrong. */
static void
never_committed(Link *link)
{
  Doppel__Sync__Durable message = DOPPEL__SYNC__DURABLE__INIT;
  welcome(link);
  message.uncommitted = TRUE;
  SEND(DURABLE, durable, &message);
  SEND(DURABLE, durable, &message);
}

static void
unknown_mismatch(Link *link)
{
  Doppel__Sync__Mismatch message = DOPPEL__SYNC__MISMATCH__INIT;
  welcome(link);
  message.number = 1000000;
  SEND(MISMATCH, mismatch, &message);
}

static void
short_identity(Link *link)
{
  Doppel__Sync__Welcome message = DOPPEL__SYNC__WELCOME__INIT;
  message.version = SYNC_VERSION;
  message.store = (ProtobufCBinaryData){5, (guint8 *)identity};
  SEND(WELCOME, welcome, &message);
}

static void
bad_manifest(Link *link, const char *path)
{
  Doppel__Sync__Welcome message = DOPPEL__SYNC__WELCOME__INIT;
  Doppel__Sync__Generation generation = DOPPEL__SYNC__GENERATION__INIT;
  Doppel__Sync__Entries entries = DOPPEL__SYNC__ENTRIES__INIT;
  Doppel__Sync__Entry entry = DOPPEL__SYNC__ENTRY__INIT, *list[] = {&entry};
  Doppel__Wire__ReplicaFacts facts;
  ReplicaFacts directory = {.type = REPLICA_DIRECTORY};
  message.version = SYNC_VERSION;
  message.store = IDENTITY;
  message.head = &generation;
  generation.number = 4;
  SEND(WELCOME, welcome, &message);
  replica_facts_to_message(&directory, &facts);
  entry.path = replica_path_to_message(path);
  entry.facts = &facts;
  entries.entry = list;
  entries.n_entry = 1;
  SEND(ENTRIES, entries, &entries);
}

static void
manifest_outside(Link *link)
{
  bad_manifest(link, "../outside");
}

static void
manifest_without_parents(Link *link)
{
  bad_manifest(link, "a/b/c");
}

static void
test_clone(void)
{
  static void (*const lies[])(Link *) = {durable_ahead,  never_committed,  unknown_mismatch,
                                         short_identity, manifest_outside, manifest_without_parents};
  SyncRig *rig = sync_rig_new(2, NULL);
  sync_rig_change(rig, 20);
  for (guint i = 0; i < G_N_ELEMENTS(lies); i++) {
    int ends[2];
    g_autoptr(GError) error = NULL;
    g_auto(ReplicatorResult) result = {0};
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
    Link *clone = link_new_local(ends[1]);
    lies[i](clone);
    g_assert_true(link_flush(clone, 60000, NULL));
    g_assert_false(sync_rig_send(rig, ends[0], &result, &error));
    g_assert_true(g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE) ||
                  g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH));
    link_free(clone);
  }
  g_auto(ReplicatorResult) result = {0};
  sync_rig_run(rig, &result);
  sync_rig_free(rig);
}

/* A clone that would have a restored file written through a symbolic link of its own making. */
static void
lead_astray(Link *link, const char *outside)
{
  Doppel__Sync__Entries entries = DOPPEL__SYNC__ENTRIES__INIT;
  Doppel__Sync__Entry entry[3], *list[] = {&entry[0], &entry[1], &entry[2]};
  Doppel__Wire__ReplicaFacts facts[3];
  ReplicaFacts given[] = {{.type = REPLICA_DIRECTORY, .mode = 0700},
                          {.type = REPLICA_SYMLINK, .target = (char *)outside},
                          {.type = REPLICA_FIFO, .mode = 0600}};
  static const char *const paths[] = {"d", "d/l", "d/l/x"};
  for (guint i = 0; i < 3; i++) {
    doppel__sync__entry__init(list[i]);
    replica_facts_to_message(&given[i], &facts[i]);
    entry[i].path = replica_path_to_message(paths[i]);
    entry[i].facts = &facts[i];
  }
  entries.entry = list;
  entries.n_entry = 3;
  welcome(link);
  SEND(ENTRIES, entries, &entries);
}

static void
test_restore(void)
{
  g_autofree char *base = g_dir_make_tmp("doppel-lies-XXXXXX", NULL);
  g_autofree char *outside = rig_path(base, "outside"), *place = rig_path(base, "place");
  g_autoptr(GError) error = NULL;
  g_auto(HistoryRestored) restored = {0};
  int ends[2];
  g_assert_cmpint(g_mkdir_with_parents(outside, 0700), ==, 0);
  g_assert_cmpint(g_mkdir_with_parents(place, 0700), ==, 0);
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  Link *clone = link_new_local(ends[1]), *device = link_new_local(ends[0]);
  lead_astray(clone, outside);
  g_auto(Fd) directory = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_assert_false(history_restore(device, 1, "d", directory, "d", FALSE, &restored, &error));
  g_assert_nonnull(error);
  /* Neither there nor here. */
  g_assert_cmpint(rmdir(outside), ==, 0);
  g_assert_cmpint(rmdir(place), ==, 0);
  g_assert_cmpint(rmdir(base), ==, 0);
  link_free(device);
  link_free(clone);
}

int
main(int argc, char **argv)
{
  const char *why = rig_enter(&argc, &argv);
  g_test_init(&argc, &argv, NULL);
  if (why || geteuid() != 0) {
    g_print("1..0 # SKIP %s\n", why ? why : "needs a namespace in which it is root");
    return 0;
  }
  g_test_add_func("/replicator/lies/device", test_device);
  g_test_add_func("/replicator/lies/clone", test_clone);
  g_test_add_func("/replicator/lies/restore", test_restore);
  return g_test_run();
}
