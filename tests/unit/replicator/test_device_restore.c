/* A device that is restored (replicator/device_restore.h): trees that changed at random come back as they
 * were, whoever is killed on the way; and a clone that lies changes nothing but what it was asked for. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/message.h"
#include "replicator/device_restore.h"
#include "replicator/sync_message.h"
#include "rig.h"
#include "sync_rig.h"

#define CHANGES  40
#define CUTS_MAX 60

typedef struct {
  char *tree, *knowledge; /* of the replacement */
} Replacement;

static Replacement
new_replacement(SyncRig *rig, guint number)
{
  g_autofree char *tree = g_strdup_printf("again-%u", number);
  g_autofree char *knowledge = g_strdup_printf("again-%u.replica", number);
  Replacement made = {rig_path(rig->store->base, tree), rig_path(rig->store->base, knowledge)};
  g_assert_cmpint(mkdir(made.tree, 0700), ==, 0);
  return made;
}

static void
replacement_clear(Replacement *replacement)
{
  rig_run("rm", "-rf", replacement->tree, replacement->knowledge, NULL);
  g_free(replacement->tree);
  g_free(replacement->knowledge);
}

static gboolean
restore(int fd, const Replacement *to, guint64 generation, gboolean onto, DeviceRestored *restored,
        GError **error)
{
  g_autoptr(Link) link = link_new_local(fd);
  g_autoptr(CloneIndex) index = clone_index_open(to->knowledge, error);
  const DeviceRestoreOptions options = {.root = to->tree, .generation = generation, .onto = onto};
  *restored = (DeviceRestored){0};
  return index && replicator_restore_device(link, index, &options, restored, error);
}

static void
make_pair(int ends[2])
{
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
}

static void
restore_now(SyncRig *rig, const Replacement *to, guint64 generation, DeviceRestored *restored)
{
  int ends[2];
  g_autoptr(GError) error = NULL;
  make_pair(ends);
  pid_t receiver = sync_rig_receiver(rig, ends);
  close(ends[1]);
  restore(ends[0], to, generation, FALSE, restored, &error);
  g_assert_no_error(error);
  g_assert_cmpint(sync_rig_wait(receiver), ==, 0);
}

static void
assert_is(SyncRig *rig, const Replacement *replacement, guint64 generation)
{
  g_autofree char *copy = store_rig_copy(rig->store, generation);
  g_autofree char *should = rig_describe(copy, TRUE), *is = rig_describe(replacement->tree, TRUE);
  g_assert_cmpstr(is, ==, should);
}

/* The next synchronisation of the replacement, with the index as the restoration left it. */
static void
assert_nothing_to_tell(SyncRig *rig, const Replacement *replacement)
{
  int ends[2];
  g_autoptr(GError) error = NULL;
  g_auto(ReplicatorResult) result = {0};
  make_pair(ends);
  pid_t receiver = sync_rig_receiver(rig, ends);
  close(ends[1]);
  Link *link = link_new_local(ends[0]);
  g_autoptr(CloneIndex) index = clone_index_open(replacement->knowledge, &error);
  const ReplicatorOptions options = {.root = replacement->tree, .rules = rig->rules};
  g_assert_true(index && replicator_sync(link, index, &options, &result, &error));
  g_assert_no_error(error);
  link_free(link);
  g_assert_cmpint(sync_rig_wait(receiver), ==, 0);
  g_assert_false(result.made);
  g_assert_cmpuint(result.paths, ==, 0);
}

static void
test_model(void)
{
  for (guint i = 0; i < rig_seeds(4); i++) {
    guint32 seed = rig_first_seed() + i;
    SyncRig *rig = sync_rig_new(seed, NULL);
    for (guint round = 0; round < 4; round++) {
      g_auto(ReplicatorResult) result = {0};
      sync_rig_change(rig, CHANGES);
      sync_rig_run(rig, &result);
    }
    for (guint64 generation = 1; generation <= rig->generation; generation++) {
      Replacement to = new_replacement(rig, generation);
      g_auto(DeviceRestored) restored = {0};
      restore_now(rig, &to, generation == rig->generation ? 0 : generation, &restored);
      g_assert_cmpuint(restored.generation, ==, generation);
      assert_is(rig, &to, generation);
      if (generation == rig->generation)
        assert_nothing_to_tell(rig, &to);
      replacement_clear(&to);
    }
    sync_rig_free(rig);
  }
}

static gboolean
cut(SyncRig *rig, GRand *rand, const Replacement *to, guint within_us, gboolean onto)
{
  int ends[2];
  make_pair(ends);
  pid_t receiver = sync_rig_receiver(rig, ends), device = fork();
  if (device == 0) {
    g_auto(DeviceRestored) restored = {0};
    close(ends[1]);
    _exit(restore(ends[0], to, 0, onto, &restored, NULL) ? 0 : 1);
  }
  guint who = g_rand_int_range(rand, 0, 3);
  g_usleep(g_rand_int_range(rand, 0, within_us / 3));
  if (who == 0)
    kill(device, SIGKILL);
  else if (who == 1)
    kill(receiver, SIGKILL);
  else
    shutdown(ends[0], SHUT_RDWR);
  close(ends[0]);
  close(ends[1]);
  int status = sync_rig_wait(device);
  sync_rig_wait(receiver);
  /* Or killed after its end. */
  g_autofree char *index = rig_path(to->knowledge, "index");
  g_autoptr(GPtrArray) made = rig_list(to->tree);
  return status == 0 || (made->len > 0 && g_file_test(index, G_FILE_TEST_EXISTS) &&
                         clone_index_restoring(to->knowledge, NULL) == 0);
}

static void
test_cuts(void)
{
  guint cuts = 0;
  for (guint i = 0; i < rig_seeds(4); i++) {
    guint32 seed = rig_first_seed() + 100 + i;
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    SyncRig *rig = sync_rig_new(seed, NULL);
    for (guint round = 0; round < 3; round++) {
      g_auto(ReplicatorResult) result = {0};
      sync_rig_change(rig, CHANGES);
      sync_rig_run(rig, &result);
    }
    Replacement first = new_replacement(rig, 1), to = new_replacement(rig, 2);
    g_auto(DeviceRestored) whole = {0}, rest = {0};
    gint64 begun = g_get_monotonic_time();
    restore_now(rig, &first, 0, &whole);
    guint within = g_get_monotonic_time() - begun;
    gboolean over = FALSE;
    for (guint n = 0; !over && n < CUTS_MAX; n++, cuts++)
      over = cut(rig, rand, &to, within, FALSE);
    if (!over)
      restore_now(rig, &to, 0, &rest);
    assert_is(rig, &to, rig->generation);
    assert_nothing_to_tell(rig, &to);
    replacement_clear(&first);
    replacement_clear(&to);
    sync_rig_free(rig);
  }
  g_test_message("%u cuts", cuts);
}

static GHashTable *
lines_of(const char *tree)
{
  g_autofree char *text = rig_describe(tree, FALSE);
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  GHashTable *set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  for (char **line = lines; *line; line++)
    g_hash_table_add(set, g_strdup(*line));
  return set;
}

/* Hashes of all files' contents and links' targets: what may not be lost. */
static GHashTable *
contents_of(const char *tree)
{
  g_autoptr(GPtrArray) paths = rig_list(tree);
  GHashTable *set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  for (guint i = 0; i < paths->len; i++) {
    g_autofree char *path = rig_path(tree, paths->pdata[i]);
    g_autofree char *content = NULL;
    char target[4096];
    struct stat status;
    gsize length = 0;
    g_assert_cmpint(lstat(path, &status), ==, 0);
    if (S_ISREG(status.st_mode) && g_file_get_contents(path, &content, &length, NULL))
      g_hash_table_add(set, g_compute_checksum_for_data(G_CHECKSUM_SHA1, (guchar *)content, length));
    else if (S_ISLNK(status.st_mode))
      g_hash_table_add(set, g_compute_checksum_for_data(G_CHECKSUM_SHA1, (guchar *)target,
                                                        readlink(path, target, sizeof target)));
  }
  return set;
}

static void
assert_within(GHashTable *part, GHashTable *whole)
{
  GHashTableIter iter;
  gpointer each;
  g_hash_table_iter_init(&iter, part);
  while (g_hash_table_iter_next(&iter, &each, NULL))
    if (!g_hash_table_contains(whole, each))
      g_error("there is no \"%s\"", (char *)each);
}

/* Over another generation's tree: everything is as it should be, and nothing that was there is lost; with a
 * kill on the way, too. */
static void
test_onto(void)
{
  for (guint i = 0; i < rig_seeds(6); i++) {
    guint32 seed = rig_first_seed() + 200 + i;
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    SyncRig *rig = sync_rig_new(seed, NULL);
    for (guint round = 0; round < 3; round++) {
      g_auto(ReplicatorResult) result = {0};
      sync_rig_change(rig, CHANGES);
      sync_rig_run(rig, &result);
    }
    g_autofree char *copy = store_rig_copy(rig->store, 3), *there = store_rig_copy(rig->store, 1);
    Replacement to = new_replacement(rig, i);
    rig_run("cp", "-a", "--no-target-directory", there, to.tree, NULL);
    g_autoptr(GHashTable) before = contents_of(to.tree), should = lines_of(copy);
    for (guint n = 0; n < 3; n++)
      cut(rig, rand, &to, 20000, TRUE);
    int ends[2];
    g_autoptr(GError) error = NULL;
    g_auto(DeviceRestored) restored = {0};
    make_pair(ends);
    pid_t receiver = sync_rig_receiver(rig, ends);
    close(ends[1]);
    restore(ends[0], &to, 0, TRUE, &restored, &error);
    g_assert_no_error(error);
    sync_rig_wait(receiver);
    g_autoptr(GHashTable) after = contents_of(to.tree), is = lines_of(to.tree);
    assert_within(before, after);
    assert_within(should, is);
    replacement_clear(&to);
    sync_rig_free(rig);
  }
}

/* While it is not complete nothing is synchronised, whatever the marker says. */
static void
test_incomplete(void)
{
  SyncRig *rig = sync_rig_new(3, NULL);
  g_auto(ReplicatorResult) result = {0}, refused = {0};
  g_autoptr(GError) error = NULL;
  sync_rig_change(rig, CHANGES);
  sync_rig_run(rig, &result);
  g_assert_true(clone_index_set_restoring(rig->knowledge, 1, "/", &error));
  g_assert_cmpuint(clone_index_restoring(rig->knowledge, NULL), ==, 1);
  g_assert_false(sync_rig_try(rig, &refused, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  g_clear_error(&error);
  g_autofree char *marker = rig_path(rig->knowledge, "restoring");
  g_assert_true(g_file_set_contents(marker, "", 0, NULL));
  g_assert_cmpuint(clone_index_restoring(rig->knowledge, NULL), !=, 0);
  g_assert_true(clone_index_set_restoring(rig->knowledge, 0, NULL, &error));
  g_assert_cmpuint(clone_index_restoring(rig->knowledge, NULL), ==, 0);
  sync_rig_run(rig, &result);
  sync_rig_free(rig);
}

/* A clone that lies: it has one file, and two contents of it. */

#define SEND(KIND, field, contents) g_assert_true(SYNC_SEND(link, KIND, field, contents, NULL))

static const char content[] = "what the file has";
static const guint8 identity[SYNC_IDENTITY] = "0123456789abcde";

typedef struct {
  const char *path;
  ReplicaFacts facts;
  const char *to; /* a further name of that */
} Told;

static void
send_manifest(Link *link, const Told *told, guint count)
{
  enum { MOST = 8 };
  Doppel__Sync__Welcome welcome = DOPPEL__SYNC__WELCOME__INIT;
  Doppel__Sync__Generation generation = DOPPEL__SYNC__GENERATION__INIT;
  Doppel__Sync__Entries entries = DOPPEL__SYNC__ENTRIES__INIT;
  Doppel__Sync__End end = DOPPEL__SYNC__END__INIT;
  Doppel__Sync__Entry entry[MOST], *list[MOST];
  Doppel__Wire__ReplicaFacts facts[MOST];
  XXH128_canonical_t hash;
  XXH128_canonicalFromHash(&hash, XXH3_128bits(content, sizeof content));
  welcome.version = SYNC_VERSION;
  welcome.store = (ProtobufCBinaryData){sizeof identity, (guint8 *)identity};
  welcome.head = &generation;
  generation.number = 1;
  SEND(WELCOME, welcome, &welcome);
  for (guint i = 0; i < count; i++) {
    doppel__sync__entry__init(list[i] = &entry[i]);
    replica_facts_to_message(&told[i].facts, &facts[i]);
    entry[i].path = replica_path_to_message(told[i].path);
    entry[i].facts = &facts[i];
    if (told[i].to)
      entry[i].link = replica_path_to_message(told[i].to);
    else if (told[i].facts.type == REPLICA_FILE)
      entry[i].hash = (ProtobufCBinaryData){sizeof hash, hash.digest};
  }
  entries.entry = list;
  entries.n_entry = count;
  SEND(ENTRIES, entries, &entries);
  SEND(END, end, &end);
}

static void
send_content(Link *link, const char *text, gsize length, gboolean last)
{
  Doppel__Sync__Data data = DOPPEL__SYNC__DATA__INIT;
  data.bytes = (ProtobufCBinaryData){length, (guint8 *)text};
  data.last = last;
  SEND(DATA, data, &data);
}

static void
send_end(Link *link)
{
  Doppel__Sync__End end = DOPPEL__SYNC__END__INIT;
  SEND(END, end, &end);
}

#define DIRECTORY                                                                                            \
  {                                                                                                          \
    .type = REPLICA_DIRECTORY, .mode = 0755                                                                  \
  }
#define FILE_FACTS                                                                                           \
  {                                                                                                          \
    .type = REPLICA_FILE, .mode = 0644, .size = sizeof content, .mtime_ns = 1234567890                       \
  }
static const Told usual[] = {{"", DIRECTORY, NULL}, {"f", FILE_FACTS, NULL}};

static void
honest(Link *link)
{
  send_manifest(link, usual, G_N_ELEMENTS(usual));
  send_content(link, content, sizeof content, TRUE);
  send_end(link);
}

static void
other_content(Link *link)
{
  static const char other[sizeof content] = "what nobody has";
  send_manifest(link, usual, G_N_ELEMENTS(usual));
  for (guint i = 0; i < 2; i++) {
    send_content(link, other, sizeof other, TRUE);
    send_end(link);
  }
}

static void
longer_content(Link *link)
{
  static const char longer[sizeof content + 1] = "";
  send_manifest(link, usual, G_N_ELEMENTS(usual));
  send_content(link, longer, sizeof longer, TRUE);
}

static void
shorter_content(Link *link)
{
  send_manifest(link, usual, G_N_ELEMENTS(usual));
  send_content(link, content, 3, TRUE);
}

static void
no_content(Link *link)
{
  send_manifest(link, usual, G_N_ELEMENTS(usual));
  send_end(link);
}

static void
through_a_link(Link *link)
{
  const Told told[] = {{"", DIRECTORY, NULL},
                       {"f", {.type = REPLICA_SYMLINK, .target = (char *)"../outside"}, NULL},
                       {"f/x", FILE_FACTS, NULL}};
  send_manifest(link, told, G_N_ELEMENTS(told));
}

static void
outside(Link *link)
{
  const Told told[] = {{"", DIRECTORY, NULL}, {"../outside/f", FILE_FACTS, NULL}};
  send_manifest(link, told, G_N_ELEMENTS(told));
}

static void
link_to_nothing(Link *link)
{
  const Told told[] = {{"", DIRECTORY, NULL}, {"f", FILE_FACTS, "../outside/g"}};
  send_manifest(link, told, G_N_ELEMENTS(told));
}

static void
link_to_directory(Link *link)
{
  const Told told[] = {{"", DIRECTORY, NULL}, {"d", DIRECTORY, NULL}, {"f", DIRECTORY, "d"}};
  send_manifest(link, told, G_N_ELEMENTS(told));
}

static void
try_clone(void (*lie)(Link *), gboolean good)
{
  g_autofree char *base = g_dir_make_tmp("doppel-lies-XXXXXX", NULL);
  g_autofree char *beyond = rig_path(base, "outside");
  Replacement to = {rig_path(base, "tree"), rig_path(base, "knowledge")};
  g_autoptr(GError) error = NULL;
  g_auto(DeviceRestored) restored = {0};
  int ends[2];
  g_assert_cmpint(mkdir(beyond, 0700) | mkdir(to.tree, 0700), ==, 0);
  make_pair(ends);
  Link *clone = link_new_local(ends[1]);
  lie(clone);
  g_assert_true(link_flush(clone, 1000, NULL));
  g_autofree char *file = rig_path(to.tree, "f");
  struct stat status;
  g_assert_cmpint(restore(ends[0], &to, 0, FALSE, &restored, &error), ==, good);
  if (good)
    g_assert_no_error(error);
  else
    g_assert_nonnull(error);
  g_assert_cmpint(lstat(file, &status) == 0 && S_ISREG(status.st_mode), ==, good);
  g_assert_cmpint(clone_index_restoring(to.knowledge, NULL) == 0, ==, good);
  g_assert_cmpint(rmdir(beyond), ==, 0);
  link_free(clone);
  replacement_clear(&to);
  g_assert_cmpint(rmdir(base), ==, 0);
}

static void
test_lies(void)
{
  static void (*const lies[])(Link *) = {other_content,  longer_content, shorter_content, no_content,
                                         through_a_link, outside,        link_to_nothing, link_to_directory};
  try_clone(honest, TRUE);
  for (guint i = 0; i < G_N_ELEMENTS(lies); i++)
    try_clone(lies[i], FALSE);
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
  g_test_add_func("/replicator/device-restore/model", test_model);
  g_test_add_func("/replicator/device-restore/cuts", test_cuts);
  g_test_add_func("/replicator/device-restore/onto", test_onto);
  g_test_add_func("/replicator/device-restore/incomplete", test_incomplete);
  g_test_add_func("/replicator/device-restore/lies", test_lies);
  return g_test_run();
}
