/* What a clone host keeps of checkpoints: what a chain comes to, and what is left of it when its writer is
 * killed, its disk is full, or its bytes are damaged. */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "mirror/state.h"
#include "replicator/checkpoint_store.h"
#include "replicator/checkpoint_view.h"

enum { PAGES = 300, PAGE = CHECKPOINT_PAGE, FIRST = 16, FILE_NUMBER = 7, FILE_MAX = 400000 };

/* A process as far as a checkpoint is concerned: some pages, and a file. */
typedef struct {
  guint8 memory[PAGES * PAGE];
  guint8 file[FILE_MAX];
  guint64 size;
} Model;

typedef struct {
  char *directory, *path;
  guint8 run[CHECKPOINT_RUN];
  CheckpointKept *kept;
  Model *model;
  GRand *random;
} World;

static Doppel__Wire__CheckpointRun
run_message(World *world)
{
  static ProtobufCBinaryData word = {9, (guint8 *)"/bin/true"};
  Doppel__Wire__CheckpointRun run = DOPPEL__WIRE__CHECKPOINT_RUN__INIT;
  run.run = (ProtobufCBinaryData){CHECKPOINT_RUN, world->run};
  run.n_argument = 1;
  run.argument = &word;
  return run;
}

static void
feed(World *world)
{
  g_autoptr(GError) error = NULL;
  Doppel__Wire__CheckpointRun run = run_message(world);
  world->kept = checkpoint_store_feed(world->path, &run, &error);
  g_assert_no_error(error);
}

static void
set_up(World *world, gconstpointer unused)
{
  world->directory = g_dir_make_tmp("doppel-checkpoints-XXXXXX", NULL);
  world->path = g_build_filename(world->directory, "clone", NULL);
  world->model = g_new0(Model, 1);
  world->random = g_rand_new_with_seed(g_test_rand_int());
  memset(world->run, 0x5a, sizeof world->run);
  feed(world);
}

static void
tear_down(World *world, gconstpointer unused)
{
  g_clear_pointer(&world->kept, checkpoint_kept_free);
  g_assert_true(checkpoint_store_remove(world->path, NULL));
  g_assert_cmpint(g_rmdir(world->directory), ==, 0);
  g_rand_free(world->random);
  g_free(world->model);
  g_free(world->path);
  g_free(world->directory);
}

/* ---- writing ---- */

static void
write_state(CheckpointWriter *writer, guint64 number, gboolean whole, guint64 size)
{
  static ProtobufCBinaryData path = {9, (guint8 *)"/bin/true"}, root = {1, (guint8 *)"/"};
  JobRequest request = DOPPEL__WIRE__JOB_REQUEST__INIT;
  request.path = path;
  request.directory = root;
  request.n_argument = 1;
  request.argument = &path;
  g_autofree char *text = g_strdup_printf("%x %x 3 0 0 ", FIRST, PAGES);
  Doppel__Wire__CheckpointSection layout = DOPPEL__WIRE__CHECKPOINT_SECTION__INIT;
  layout.kind = MIRROR_SECTION_LAYOUT;
  layout.bytes = (ProtobufCBinaryData){strlen(text) + 1, (guint8 *)text};
  CheckpointFile file = DOPPEL__WIRE__CHECKPOINT_FILE__INIT;
  file.file = FILE_NUMBER;
  file.kind = DOPPEL__WIRE__CHECKPOINT_FILE__KIND__CONTENT;
  file.path = path;
  file.size = size;
  CheckpointState state = DOPPEL__WIRE__CHECKPOINT_STATE__INIT;
  state.number = number;
  state.whole = whole;
  state.pid = 77;
  state.request = &request;
  state.architecture = (char *)"x";
  state.n_section = state.n_file = 1;
  state.section = &(Doppel__Wire__CheckpointSection *){&layout};
  state.file = &(CheckpointFile *){&file};
  g_assert_true(checkpoint_write_state(writer, &state, NULL));
}

static void
change_memory(World *world, CheckpointWriter *writer, guint first, guint count, gboolean hole)
{
  guint8 *bytes = world->model->memory + (gsize)first * PAGE;
  if (hole)
    memset(bytes, 0, (gsize)count * PAGE);
  else
    for (gsize i = 0; i < (gsize)count * PAGE; i += 8)
      bytes[i] = (guint8)g_rand_int(world->random);
  g_assert_true(checkpoint_write_memory(writer, (guint64)(FIRST + first) * PAGE, (guint64)count * PAGE,
                                        hole ? NULL : bytes, NULL));
}

static void
change_file(World *world, CheckpointWriter *writer, gboolean whole)
{
  Model *model = world->model;
  guint64 size = (guint64)g_rand_int_range(world->random, 1, FILE_MAX), from = MIN(size, model->size);
  /* What was cut off and comes back is zeros. */
  memset(model->file + from, 0, FILE_MAX - from);
  guint64 at = (guint64)g_rand_int_range(world->random, 0, (gint32)size);
  for (guint64 i = at; i < MIN(at + 70000, size); i++)
    model->file[i] = (guint8)(i * 7 + size);
  guint64 low = whole ? 0 : MIN(at, from);
  model->size = size;
  g_assert_true(checkpoint_write_block(writer, FILE_NUMBER, low, size - low, model->file + low, NULL));
}

/* A checkpoint of what the model becomes. */
static int
write_next(World *world, guint64 number, gboolean whole, guint64 *hash)
{
  g_autofree char *name = g_build_filename(world->directory, "body-XXXXXX", NULL);
  int file = mkostemp(name, O_CLOEXEC);
  g_unlink(name);
  g_autoptr(CheckpointWriter) writer = checkpoint_writer_new(file);
  if (whole)
    change_memory(world, writer, 0, PAGES, FALSE);
  for (guint i = 0; i < 12; i++) {
    guint first = (guint)g_rand_int_range(world->random, 0, PAGES);
    guint count = (guint)g_rand_int_range(world->random, 1, (gint32)MIN(PAGES - first, 70) + 1);
    change_memory(world, writer, first, count, g_rand_int_range(world->random, 0, 4) == 0);
  }
  change_file(world, writer, whole);
  write_state(writer, number, whole, world->model->size);
  *hash = checkpoint_writer_hash(writer);
  return file;
}

static gboolean
copy_in(World *world, int body, GError **error)
{
  g_auto(Fd) file = checkpoint_kept_begin(world->kept, error);
  guint8 room[65536];
  ssize_t got;
  lseek(body, 0, SEEK_SET);
  while (file >= 0 && (got = read(body, room, sizeof room)) > 0)
    if (!io_write_all(file, room, (gsize)got))
      return doppel_error_errno(error, "writing");
  return file >= 0;
}

static gboolean
add(World *world, int body, guint64 number, guint64 hash, GError **error)
{
  if (!copy_in(world, body, error)) {
    checkpoint_kept_abandon(world->kept);
    return FALSE;
  }
  g_autofree char *part = g_strdup_printf("%" G_GUINT64_FORMAT ".part", world->kept->chain->next_name);
  g_auto(Fd) file = openat(world->kept->directory, part, O_RDWR | O_CLOEXEC);
  return checkpoint_kept_add(world->kept, file, number, hash, error);
}

static void
add_next(World *world, guint64 number, gboolean whole)
{
  g_autoptr(GError) error = NULL;
  guint64 hash;
  g_auto(Fd) body = write_next(world, number, whole, &hash);
  g_assert_true(add(world, body, number, hash, &error));
  g_assert_no_error(error);
}

/* ---- looking ---- */

static gboolean
take_memory(guint64 start, guint64 length, const guint8 *bytes, gpointer user, GError **error)
{
  Model *found = user;
  g_assert_cmpuint(start, >=, FIRST * PAGE);
  g_assert_cmpuint(start + length, <=, (FIRST + PAGES) * PAGE);
  guint8 *to = found->memory + (start - FIRST * PAGE);
  for (guint64 i = 0; i < length; i++)
    g_assert_cmpuint(to[i], ==, 0); /* none twice */
  if (bytes)
    memcpy(to, bytes, length);
  return TRUE;
}

static gboolean
take_file(guint64 start, guint64 length, const guint8 *bytes, gpointer user, GError **error)
{
  Model *found = user;
  g_assert_cmpuint(start, >=, found->size);
  g_assert_cmpuint(start + length, <=, FILE_MAX);
  found->size = start + length;
  if (bytes)
    memcpy(found->file + start, bytes, length);
  return TRUE;
}

/* What the chain on the disk comes to; NULL where it cannot be read. */
static Model *
look(World *world, guint64 *number)
{
  g_autoptr(CheckpointKept) kept = checkpoint_store_find(world->path, NULL, NULL);
  g_autoptr(GPtrArray) bodies = kept ? checkpoint_kept_bodies(kept, NULL) : NULL;
  if (!bodies)
    return NULL;
  const CheckpointState *state = ((CheckpointBody *)bodies->pdata[bodies->len - 1])->state;
  Model *found = g_new0(Model, 1);
  *number = state->number;
  if (checkpoint_view_memory(bodies, take_memory, found, NULL) &&
      checkpoint_view_file(bodies, FILE_NUMBER, state->file[0]->size, take_file, found, NULL)) {
    found->size = state->file[0]->size;
    return found;
  }
  g_free(found);
  return NULL;
}

static void
assert_same(World *world, const Model *expected, guint64 number)
{
  guint64 found_number = 0;
  g_autofree Model *found = look(world, &found_number);
  g_assert_nonnull(found);
  g_assert_cmpuint(found_number, ==, number);
  g_assert_cmpuint(found->size, ==, expected->size);
  g_assert_true(memcmp(found->memory, expected->memory, sizeof found->memory) == 0);
  g_assert_true(memcmp(found->file, expected->file, found->size) == 0);
}

/* ---- tests ---- */

static void
test_chain(World *world, gconstpointer unused)
{
  for (guint64 number = 1; number <= 40; number++) {
    add_next(world, number, number == 1 || number == 20);
    assert_same(world, world->model, number);
    g_assert_true(checkpoint_kept_merge(world->kept, number % 9 == 0, NULL));
    assert_same(world, world->model, number);
    g_assert_cmpuint(world->kept->chain->n_link, <=, CHECKPOINT_CHAIN_MAX + 1);
  }
}

/* Killed anywhere, the last one or the next one is there, whole, and more can follow. */
static void
test_killed(World *world, gconstpointer unused)
{
  add_next(world, 1, TRUE);
  for (guint64 turn = 0, number = 1; turn < 60; turn++) {
    g_autofree Model *before = g_memdup2(world->model, sizeof *before);
    guint64 hash, found_number = 0;
    g_auto(Fd) body = write_next(world, number + 1, FALSE, &hash);
    g_clear_pointer(&world->kept, checkpoint_kept_free);
    pid_t child = fork();
    if (child == 0) {
      feed(world);
      add(world, body, number + 1, hash, NULL);
      checkpoint_kept_merge(world->kept, turn % 2 == 0, NULL);
      _exit(0);
    }
    g_usleep((gulong)g_rand_int_range(world->random, 0, 12000));
    kill(child, SIGKILL);
    g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
    g_autofree Model *found = look(world, &found_number);
    g_assert_nonnull(found);
    if (found_number == number)
      memcpy(world->model, before, sizeof *before);
    else
      g_assert_cmpuint(found_number, ==, number + 1);
    number = found_number;
    assert_same(world, world->model, number);
    feed(world);
  }
}

/* A full disk, here a limit on the size of files: an error, and all as it was. */
static void
test_full(World *world, gconstpointer unused)
{
  struct rlimit former, little = {20000, RLIM_INFINITY};
  guint64 hash;
  add_next(world, 1, TRUE);
  add_next(world, 2, FALSE);
  g_autofree Model *before = g_memdup2(world->model, sizeof *before);
  g_auto(Fd) body = write_next(world, 3, FALSE, &hash);
  signal(SIGXFSZ, SIG_IGN);
  getrlimit(RLIMIT_FSIZE, &former);
  little.rlim_max = former.rlim_max;
  g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &little), ==, 0);
  g_autoptr(GError) error = NULL, merge_error = NULL;
  gboolean added = add(world, body, 3, hash, &error);
  gboolean merged = checkpoint_kept_merge(world->kept, TRUE, &merge_error);
  setrlimit(RLIMIT_FSIZE, &former);
  g_assert_false(added);
  g_assert_nonnull(error);
  g_assert_false(merged);
  assert_same(world, before, 2);
  g_clear_error(&error);
  g_assert_true(add(world, body, 3, hash, &error));
  assert_same(world, world->model, 3);
}

/* No damage goes unnoticed. */
static void
test_damaged(World *world, gconstpointer unused)
{
  guint64 hash;
  g_auto(Fd) body = write_next(world, 1, TRUE, &hash);
  g_autoptr(CheckpointBody) good = checkpoint_body_read(body, NULL);
  g_assert_nonnull(good);
  g_assert_cmpuint(good->hash, ==, hash);
  for (guint i = 0; i < 400; i++) {
    g_autoptr(GError) error = NULL;
    off_t at = g_rand_int_range(world->random, 0, (gint32)good->bytes);
    guint8 byte, other;
    g_assert_cmpint(pread(body, &byte, 1, at), ==, 1);
    other = byte ^ (guint8)(1 << g_rand_int_range(world->random, 0, 8));
    g_assert_cmpint(pwrite(body, &other, 1, at), ==, 1);
    g_assert_null(checkpoint_body_read(body, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
    g_assert_cmpint(pwrite(body, &byte, 1, at), ==, 1);
  }
  g_assert_cmpint(ftruncate(body, (off_t)good->bytes - 1), ==, 0);
  g_assert_null(checkpoint_body_read(body, NULL));
}

static void
test_taken(World *world, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  add_next(world, 1, TRUE);
  g_assert_false(checkpoint_kept_take(world->kept, 5, "", FALSE, FALSE, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED); /* it is fed */
  g_clear_error(&error);
  g_assert_true(checkpoint_kept_take(world->kept, 5, "", TRUE, FALSE, &error));
  g_assert_false(checkpoint_kept_take(world->kept, 6, "", TRUE, FALSE, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  g_clear_error(&error);
  /* Whoever feeds it hears of it. */
  guint64 hash;
  g_auto(Fd) body = write_next(world, 2, FALSE, &hash);
  g_assert_false(add(world, body, 2, hash, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
}

/* What changed is of no use without what it changed. */
static void
test_no_base(World *world, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  guint64 hash;
  g_auto(Fd) body = write_next(world, 2, FALSE, &hash);
  g_assert_false(add(world, body, 2, hash, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH);
  g_clear_error(&error);
  add_next(world, 3, TRUE);
  g_assert_false(add(world, body, 4, hash, &error)); /* it says that it is 2 */
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  assert_same(world, world->model, 3);
}

/* Another connection of a device whose former one is not known to be dead yet comes later. */
static void
test_fed_twice(World *world, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  Doppel__Wire__CheckpointRun run = run_message(world);
  g_assert_null(checkpoint_store_feed(world->path, &run, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
}

/* A chain that cannot be read is not begun anew, which would remove what it named. */
static void
test_unreadable(World *world, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  Doppel__Wire__CheckpointRun run = run_message(world);
  add_next(world, 1, TRUE);
  g_auto(Fd) chain = openat(world->kept->directory, "chain", O_RDWR | O_CLOEXEC);
  guint8 byte, other;
  g_assert_cmpint(pread(chain, &byte, 1, 9), ==, 1);
  other = (guint8)~byte;
  g_assert_cmpint(pwrite(chain, &other, 1, 9), ==, 1);
  g_clear_pointer(&world->kept, checkpoint_kept_free);
  g_assert_null(checkpoint_store_feed(world->path, &run, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
  g_assert_cmpint(pwrite(chain, &byte, 1, 9), ==, 1);
  assert_same(world, world->model, 1);
}

/* Where nothing is ever merged, what there is stays such that a program can go on from it. */
static void
test_unmerged(World *world, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  g_autofree Model *last = NULL;
  guint64 hash, number = 1;
  for (add_next(world, number, TRUE); !error; number++) {
    g_free(last);
    last = g_memdup2(world->model, sizeof *last);
    g_auto(Fd) body = write_next(world, number + 1, FALSE, &hash);
    g_assert_cmpuint(number, <, 1000);
    g_assert_cmpint(add(world, body, number + 1, hash, &error), ==, error == NULL);
  }
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
  g_assert_cmpuint(number, >, 100);
  assert_same(world, last, number - 1);
  g_clear_error(&error);
  g_assert_true(checkpoint_kept_merge(world->kept, FALSE, &error));
  g_assert_no_error(error);
  assert_same(world, last, number - 1);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add("/checkpoint_store/chain", World, NULL, set_up, test_chain, tear_down);
  g_test_add("/checkpoint_store/killed", World, NULL, set_up, test_killed, tear_down);
  g_test_add("/checkpoint_store/full", World, NULL, set_up, test_full, tear_down);
  g_test_add("/checkpoint_store/damaged", World, NULL, set_up, test_damaged, tear_down);
  g_test_add("/checkpoint_store/taken", World, NULL, set_up, test_taken, tear_down);
  g_test_add("/checkpoint_store/no_base", World, NULL, set_up, test_no_base, tear_down);
  g_test_add("/checkpoint_store/fed_twice", World, NULL, set_up, test_fed_twice, tear_down);
  g_test_add("/checkpoint_store/unreadable", World, NULL, set_up, test_unreadable, tear_down);
  g_test_add("/checkpoint_store/unmerged", World, NULL, set_up, test_unmerged, tear_down);
  return g_test_run();
}
