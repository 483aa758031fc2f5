/* A store: generations come, stay what they were while others are merged and given up, and go. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/generation_view.h"
#include "rig.h"
#include "store_rig.h"

static const GenerationRetention only_newest = {0};

static guint
count_layers(const StoreRig *rig)
{
  g_autofree char *path = rig_path(rig->path, "layers");
  GDir *listing = g_dir_open(path, 0, NULL);
  guint count = 0;
  while (g_dir_read_name(listing))
    count++;
  g_dir_close(listing);
  return count;
}

static void
tidy(StoreRig *rig, const GenerationRetention *retention, guint stack)
{
  g_autoptr(GError) error = NULL;
  g_assert_true(generation_store_tidy(rig->store, retention, stack, &error));
  g_assert_no_error(error);
}

static void
assert_all_same(StoreRig *rig)
{
  const GenerationHead *head = generation_store_head(rig->store);
  for (guint i = 0; i < head->generations->len; i++)
    store_rig_assert_same(rig, ((const GenerationRecord *)head->generations->pdata[i])->number);
}

/* Makes as if the generations had come half an hour after each other. */
static void
spread(StoreRig *rig, GRand *rand)
{
  gint64 now = g_get_real_time() * 1000;
  const GenerationHead *head = generation_store_head(rig->store);
  for (guint i = head->generations->len; i-- > 0;) {
    ((GenerationRecord *)head->generations->pdata[i])->kept_ns = now;
    now -= g_rand_int_range(rand, 100, 7200) * 1000000000LL;
  }
}

static void
test_random(void)
{
  guint seeds = rig_seeds(2);
  for (guint32 seed = rig_first_seed(); seeds-- > 0; seed++) {
    StoreRig *rig = store_rig_new(seed, NULL);
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    rig->options.log_limit = seed % 2 ? 50000 : 0; /* with parts, and without */
    store_rig_open(rig);
    for (guint i = 0; i < 14; i++) {
      store_rig_commit(rig, 25);
      if (g_rand_int_range(rand, 0, 4) == 0) {
        store_rig_close(rig);
        store_rig_open(rig);
      }
      spread(rig, rand);
      GenerationRetention retention = {.hours = g_rand_int_range(rand, 1, 12), .days = 2};
      if (g_rand_int_range(rand, 0, 3) == 0)
        tidy(rig, &retention, g_rand_int_range(rand, 1, 8));
      if (i % 4 == 3)
        assert_all_same(rig);
    }
    tidy(rig, &only_newest, 1);
    assert_all_same(rig);
    g_assert_cmpuint(generation_store_head(rig->store)->generations->len, ==, 1);
    g_assert_cmpuint(count_layers(rig), ==, 1);
    store_rig_free(rig);
  }
}

/* Stacks do not grow for ever, even if nobody ever tidies up. */
static void
test_many(void)
{
  StoreRig *rig = store_rig_new(rig_first_seed(), NULL);
  store_rig_open(rig);
  for (guint i = 0; i < GENERATION_STACK_MOST + 6; i++) {
    store_rig_commit(rig, 2);
    const GenerationRecord *last = generation_head_last(generation_store_head(rig->store));
    g_assert_cmpuint(last->layers->len, <=, GENERATION_STACK_MOST + 1);
  }
  for (guint64 number = 1; number <= GENERATION_STACK_MOST + 6; number += 23)
    store_rig_assert_same(rig, number);
  store_rig_free(rig);
}

/* The lowest layer is not taken up again within the hour. */
static void
test_bottom(void)
{
  StoreRig *rig = store_rig_new(rig_first_seed(), NULL);
  store_rig_open(rig);
  for (guint i = 0; i < 4; i++)
    store_rig_commit(rig, 25);
  const GenerationRecord *last = generation_head_last(generation_store_head(rig->store));
  g_autofree char *bottom = g_strdup_printf("%s/layers/%08" G_GUINT64_FORMAT, rig->path,
                                            g_array_index(last->layers, guint64, last->layers->len - 1));
  tidy(rig, &only_newest, GENERATION_STACK_USUAL);
  g_assert_cmpuint(count_layers(rig), ==, 2);
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = time(NULL) - 2 * 3600}};
  g_assert_cmpint(utimensat(AT_FDCWD, bottom, times, 0), ==, 0);
  tidy(rig, &only_newest, GENERATION_STACK_USUAL);
  g_assert_cmpuint(count_layers(rig), ==, 1);
  assert_all_same(rig);
  store_rig_free(rig);
}

/* Tidying up while an attempt is under way: it goes on over layers that are merged for everybody else. */
static void
test_tidy_between(void)
{
  StoreRig *rig = store_rig_new(rig_first_seed(), NULL);
  rig->options.log_limit = 30000;
  store_rig_open(rig);
  for (guint i = 0; i < 5; i++)
    store_rig_commit(rig, 25);
  for (guint i = 0; i < 6; i++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) steps = store_rig_change(rig, 25);
    GenerationAttempt attempt;
    g_assert_true(generation_store_begin(rig->store, &attempt, &error));
    for (guint step = 0; step < steps->len / 2; step++)
      g_assert_cmpint(generation_store_feed(rig->store, steps->pdata[step], &error), !=, GENERATION_REFUSED);
    tidy(rig, &only_newest, 1);
    if (i % 2) {
      store_rig_close(rig);
      store_rig_open(rig);
    }
    g_assert_cmpint(store_rig_feed(rig, steps, &error), ==, GENERATION_COMPLETE);
    assert_all_same(rig);
  }
  tidy(rig, &only_newest, 1);
  g_assert_cmpuint(count_layers(rig), ==, 1);
  assert_all_same(rig);
  store_rig_free(rig);
}

/* What a reader holds stays what it was, in the list too; once he lets go, or is killed, it goes. */
static void
test_lease(void)
{
  StoreRig *rig = store_rig_new(1, NULL);
  store_rig_open(rig);
  for (guint i = 0; i < 4; i++)
    store_rig_commit(rig, 25);
  g_autoptr(GError) error = NULL;
  GenerationLease *lease = generation_lease_take(generation_store_directory(rig->store), 2, &error);
  g_assert_no_error(error);
  g_auto(Fd) view = generation_view_mount(lease, GENERATION_VIEW_PLAIN, &error);
  g_assert_no_error(error);
  int gate[2];
  g_assert_cmpint(pipe(gate), ==, 0);
  pid_t reader = fork();
  if (reader == 0) { /* another process holds another generation */
    GenerationLease *other = generation_lease_take(generation_store_directory(rig->store), 3, NULL);
    if (write(gate[1], other ? "y" : "n", 1) == 1)
      pause();
    _exit(1);
  }
  char held;
  g_assert_cmpint(read(gate[0], &held, 1), ==, 1);
  g_assert_cmpint(held, ==, 'y');
  tidy(rig, &only_newest, 1);
  g_assert_nonnull(generation_head_find(generation_store_head(rig->store), 2));
  g_assert_nonnull(generation_head_find(generation_store_head(rig->store), 3));
  g_assert_null(generation_head_find(generation_store_head(rig->store), 1));
  store_rig_assert_lease(rig, lease);
  assert_all_same(rig);
  g_assert_cmpint(kill(reader, SIGKILL), ==, 0);
  waitpid(reader, NULL, 0);
  tidy(rig, &only_newest, 1);
  g_assert_null(generation_head_find(generation_store_head(rig->store), 3));
  store_rig_assert_lease(rig, lease);
  generation_lease_free(lease);
  io_close(&view);
  tidy(rig, &only_newest, 1);
  g_assert_cmpuint(generation_store_head(rig->store)->generations->len, ==, 1);
  g_assert_cmpuint(count_layers(rig), ==, 1);
  assert_all_same(rig);
  g_assert_null(generation_lease_take(generation_store_directory(rig->store), 2, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
  close(gate[0]);
  close(gate[1]);
  store_rig_free(rig);
}

/* Sends a file with this content as the only change of the next generation. */
static void
commit_text(StoreRig *rig, const char *text)
{
  g_autofree char *path = rig_path(rig->device->path, "note");
  g_assert_true(g_file_set_contents(path, text, -1, NULL));
  rig->generation = generation_store_head(rig->store)->generations->len + 1;
  g_autoptr(GPtrArray) steps = device_tell_file(rig->device, "note", rig->generation);
  g_autoptr(GError) error = NULL;
  g_assert_cmpint(store_rig_feed(rig, steps, &error), ==, GENERATION_COMPLETE);
  g_assert_no_error(error);
}

/* A file as it was, without a mount. */
static void
test_restore(void)
{
  StoreRig *rig = store_rig_new(1, NULL);
  store_rig_open(rig);
  static const char *const texts[] = {"first", "second", "third"};
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
    commit_text(rig, texts[i]);
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(GenerationLease) lease =
        generation_lease_take(generation_store_directory(rig->store), i + 1, &error);
    g_assert_no_error(error);
    g_autoptr(GenerationStack) stack = generation_lease_open(lease, &error);
    g_assert_no_error(error);
    g_auto(GenerationDirectory) directory = {0};
    const char *name;
    GenerationEntry entry;
    g_assert_cmpint(generation_stack_find(stack, GENERATION_TREE "/note", &directory, &name, &entry), ==, 0);
    g_auto(Fd) file = openat(entry.fd, name, O_RDONLY | O_CLOEXEC);
    char text[16] = "";
    g_assert_cmpint(io_read_all(file, text, sizeof text - 1), >=, 0);
    g_assert_cmpstr(text, ==, texts[i]);
  }
  store_rig_free(rig);
}

/* Gives the store's file system `free` bytes more than are used. */
static void
leave_room(StoreRig *rig, guint64 free)
{
  g_autofree char *disk = rig_path(rig->base, "disk");
  struct statvfs status;
  g_assert_cmpint(statvfs(disk, &status), ==, 0);
  guint64 used = (status.f_blocks - status.f_bfree) * status.f_frsize;
  g_autofree char *size = g_strdup_printf("size=%" G_GUINT64_FORMAT, used + free);
  g_assert_cmpint(mount(NULL, disk, NULL, MS_REMOUNT, size), ==, 0);
}

/* Feeds a generation to a disk that has a little more room after each refusal. How often that was. */
static guint
commit_narrowly(StoreRig *rig, GRand *rand, gboolean reopen)
{
  guint refused = 0;
  guint64 last = 0, before = generation_head_last(generation_store_head(rig->store))->number;
  g_autoptr(GPtrArray) steps = store_rig_change(rig, 40);
  for (leave_room(rig, 4096);; leave_room(rig, g_rand_int_range(rand, 1, 80) * 4096)) {
    g_autoptr(GError) error = NULL;
    GenerationAttempt attempt;
    if (store_rig_feed(rig, steps, &error) == GENERATION_COMPLETE)
      return refused;
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
    g_assert_nonnull(strstr(error->message, g_strerror(ENOSPC)));
    refused++;
    if (generation_store_attempt(rig->store, &attempt)) {
      g_assert_cmpuint(attempt.last, >=, last);
      last = attempt.last;
    }
    if (reopen) {
      store_rig_close(rig);
      store_rig_open(rig);
    }
    store_rig_assert_same(rig, before);
  }
}

/* A disk that is full at any moment: a clear error, the old generation whole; with room, the attempt goes on
 * where it was and completes. */
static void
test_full(void)
{
  guint seeds = rig_seeds(2);
  for (guint32 seed = rig_first_seed(); seeds-- > 0; seed++) {
    StoreRig *rig = store_rig_new(seed, "size=50%");
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    rig->options.log_limit = 100000;
    store_rig_open(rig);
    store_rig_commit(rig, 20);
    guint refused = 0;
    for (guint i = 0; i < 4; i++)
      refused += commit_narrowly(rig, rand, i % 2);
    g_assert_cmpuint(refused, >, 4);
    leave_room(rig, 64 << 20);
    tidy(rig, &(GenerationRetention){.hours = 1}, 1);
    assert_all_same(rig);
    store_rig_free(rig);
  }
}

static GBytes *
commit_message(guint64 number, guint64 generation, guint64 nodes)
{
  g_autoptr(GenerationStep) step = generation_step_new(GENERATION_COMMIT);
  step->number = number;
  step->generation = generation;
  step->nodes = nodes;
  return generation_step_pack(step);
}

static void
assert_refused(StoreRig *rig, GBytes *message, DoppelErrorCode code)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) mine = message;
  GenerationAttempt attempt;
  g_assert_true(generation_store_begin(rig->store, &attempt, &error));
  g_assert_cmpint(generation_store_feed(rig->store, mine, &error), ==, GENERATION_REFUSED);
  g_assert_error(error, DOPPEL_ERROR, code);
}

/* Steps that cannot be are refused, and what was done before them stays. */
static void
test_refusals(void)
{
  StoreRig *rig = store_rig_new(1, NULL);
  store_rig_open(rig);
  store_rig_commit(rig, 10);
  guint64 nodes = generation_head_last(generation_store_head(rig->store))->nodes;
  assert_refused(rig, commit_message(2, 2, nodes), DOPPEL_ERROR_HOSTILE);
  assert_refused(rig, commit_message(1, 1, nodes), DOPPEL_ERROR_HOSTILE);
  assert_refused(rig, commit_message(1, 3, nodes), DOPPEL_ERROR_HOSTILE);
  assert_refused(rig, commit_message(1, 2, nodes + 1), DOPPEL_ERROR_MISMATCH);
  assert_refused(rig, g_bytes_new_static("\xff\xff", 2), DOPPEL_ERROR_HOSTILE);
  g_autoptr(GError) error = NULL;
  g_assert_null(generation_store_open(rig->path, NULL, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
  g_assert_true(generation_store_abandon(rig->store, NULL));
  g_assert_cmpuint(count_layers(rig), ==, 1);
  store_rig_commit(rig, 10);
  assert_all_same(rig);
  store_rig_free(rig);
}

/* An overlay cannot carry a store, and that is said at once. */
static void
test_unfit(void)
{
  StoreRig *rig = store_rig_new(1, NULL);
  static const char *const names[] = {"lower", "upper", "work", "merged"};
  for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
    g_autofree char *path = rig_path(rig->base, names[i]);
    g_assert_cmpint(mkdir(path, 0700), ==, 0);
  }
  g_autofree char *options = g_strdup_printf("userxattr,lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work",
                                             rig->base, rig->base, rig->base);
  g_autofree char *merged = rig_path(rig->base, "merged"), *path = rig_path(merged, "store");
  g_assert_cmpint(mount("overlay", merged, "overlay", 0, options), ==, 0);
  g_autoptr(GError) error = NULL;
  g_assert_null(generation_store_open(path, NULL, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED);
  g_assert_cmpint(umount2(merged, MNT_DETACH), ==, 0);
  store_rig_free(rig);
}

/* Every damage to the list of generations is found. */
static void
test_head(void)
{
  g_autoptr(GenerationHead) head = generation_head_new();
  for (guint i = 1; i < 4; i++) {
    GenerationRecord *record = generation_record_new();
    record->number = i * 7;
    record->time_ns = -5 * (gint64)i;
    record->kept_ns = i;
    for (guint64 layer = i; layer > 0; layer--)
      g_array_append_val(record->layers, layer);
    g_ptr_array_add(head->generations, record);
  }
  g_autoptr(GBytes) text = generation_head_format(head);
  g_autoptr(GenerationHead) parsed = generation_head_parse(text, NULL);
  g_autoptr(GBytes) again = generation_head_format(parsed);
  g_assert_true(g_bytes_equal(text, again));
  gsize length;
  g_autofree char *copy = g_memdup2(g_bytes_get_data(text, &length), g_bytes_get_size(text));
  for (gsize i = 0; i < length * 8; i++) {
    copy[i / 8] ^= 1 << i % 8;
    g_autoptr(GBytes) flipped = g_bytes_new(copy, length);
    g_assert_null(generation_head_parse(flipped, NULL));
    copy[i / 8] ^= 1 << i % 8;
    g_autoptr(GBytes) cut = g_bytes_new(copy, i / 8);
    g_assert_null(generation_head_parse(cut, NULL));
  }
}

static void
add_record(GenerationHead *head, const char *when)
{
  g_autoptr(GDateTime) date = g_date_time_new_from_iso8601(when, NULL);
  GenerationRecord *record = generation_record_new(), *last = generation_head_last(head);
  record->number = last ? last->number + 1 : 1;
  record->kept_ns = g_date_time_to_unix(date) * 1000000000;
  g_ptr_array_add(head->generations, record);
}

static void
test_retention(void)
{
  static const struct {
    const char *when;
    gboolean kept;
  } rows[] = {
      {"2023-12-31T23:00:00Z", FALSE}, {"2024-01-05T10:00:00Z", FALSE},
      {"2024-01-31T10:00:00Z", TRUE},                                  /* month */
      {"2024-02-20T10:00:00Z", FALSE}, {"2024-02-25T10:00:00Z", TRUE}, /* a Sunday: week, and month */
      {"2024-02-26T09:00:00Z", FALSE}, {"2024-02-27T09:00:00Z", TRUE}, /* day */
      {"2024-02-28T09:00:00Z", FALSE}, {"2024-02-28T09:59:59Z", TRUE}, /* hour, day */
      {"2024-02-28T10:00:00Z", FALSE}, {"2024-02-28T10:10:00Z", TRUE}, /* the newest */
  };
  g_autoptr(GenerationHead) head = generation_head_new();
  for (guint i = 0; i < G_N_ELEMENTS(rows); i++)
    add_record(head, rows[i].when);
  GenerationRetention retention = {.hours = 2, .days = 2, .weeks = 2, .months = 2};
  g_autoptr(GHashTable) kept = generation_retention_keep(head, &retention);
  for (guint64 i = 0; i < G_N_ELEMENTS(rows); i++) {
    guint64 number = i + 1;
    if (g_hash_table_contains(kept, &number) != rows[i].kept)
      g_error("%s is%s kept", rows[i].when, rows[i].kept ? " not" : "");
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  const char *refusal = rig_enter(&argc, &argv);
  if (refusal) {
    g_print("1..0 # SKIP %s\n", refusal);
    return 0;
  }
#define ADD(name) g_test_add_func("/replica/generation/store/" #name, test_##name)
  ADD(head);
  ADD(retention);
  ADD(restore);
  ADD(refusals);
  ADD(unfit);
  ADD(lease);
  ADD(random);
  ADD(tidy_between);
  ADD(bottom);
  ADD(many);
  ADD(full);
  return g_test_run();
}
