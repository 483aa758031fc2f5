/* A public base: what is told of it, what is in it, and what a device can take from it. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/public_base.h"
#include "replica/public_set.h"
#include "rig.h"
#include "store_rig.h"

/* ---- the set ---- */

static guint64
some_key(GRand *rand)
{
  return (guint64)g_rand_int(rand) << 32 | g_rand_int(rand);
}

static GBytes *
some_set(GRand *rand, guint64 *keys, gsize count)
{
  for (gsize i = 0; i < count; i++)
    keys[i] = some_key(rand);
  g_autofree guint64 *copy = g_memdup2(keys, count * sizeof *keys);
  return public_set_pack(copy, count);
}

static void
test_set(void)
{
  static const gsize counts[] = {0, 1, 2, 63, 64, 65, 1000, 50000};
  g_autoptr(GRand) rand = g_rand_new_with_seed(rig_first_seed());
  for (guint i = 0; i < G_N_ELEMENTS(counts); i++) {
    g_autoptr(GError) error = NULL;
    g_autofree guint64 *keys = g_new(guint64, counts[i] + 1);
    g_autoptr(GBytes) packed = some_set(rand, keys, counts[i]);
    g_autoptr(PublicSet) set = public_set_unpack(packed, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(public_set_count(set), ==, counts[i]);
    for (gsize k = 0; k < counts[i]; k++)
      g_assert_true(public_set_has(set, keys[k]));
    guint wrong = 0;
    for (guint k = 0; k < 100000; k++)
      wrong += public_set_has(set, some_key(rand));
    g_assert_cmpuint(wrong, <, 3); /* one in 168 such rounds has one */
    if (counts[i] >= 1000)
      g_assert_cmpuint(g_bytes_get_size(packed) * 8, <, counts[i] * 26 + 256);
  }
}

/* The same key twice, and the ends of the range. */
static void
test_set_edges(void)
{
  guint64 keys[] = {G_MAXUINT64, 0, 7, 7, G_MAXUINT64, 0};
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) packed = public_set_pack(keys, G_N_ELEMENTS(keys));
  g_autoptr(PublicSet) set = public_set_unpack(packed, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(public_set_count(set), ==, 3);
  g_assert_true(public_set_has(set, 0) && public_set_has(set, 7) && public_set_has(set, G_MAXUINT64));
  g_assert_false(public_set_has(set, G_MAXUINT64 / 2));
}

/* Puts the right checksum under bytes that are wrong. */
static void
seal(guint8 *bytes, gsize length)
{
  guint64 sum = GUINT64_TO_LE(XXH3_64bits(bytes, length - sizeof sum));
  memcpy(bytes + length - sizeof sum, &sum, sizeof sum);
}

static void
assert_refused(const guint8 *bytes, gsize length)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) packed = g_bytes_new(bytes, length);
  g_assert_null(public_set_unpack(packed, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

static void
test_set_damaged(void)
{
  g_autoptr(GRand) rand = g_rand_new_with_seed(rig_first_seed());
  guint64 keys[200];
  g_autoptr(GBytes) packed = some_set(rand, keys, G_N_ELEMENTS(keys));
  gsize length;
  const guint8 *bytes = g_bytes_get_data(packed, &length);
  g_autofree guint8 *copy = g_memdup2(bytes, length);
  for (gsize i = 0; i < length; i++) {
    copy[i] ^= 1 << i % 8;
    assert_refused(copy, length);
    copy[i] ^= 1 << i % 8;
    assert_refused(copy, i);
  }
  copy[0]++; /* one more than there are: what is missing is missed, although the checksum is right */
  seal(copy, length);
  assert_refused(copy, length);
  memset(copy, 0xff, length - 8);
  seal(copy, length);
  assert_refused(copy, length);
  memset(copy + 8, 0xff, length - 16); /* differences beyond the range */
  memcpy(copy, bytes, 8);
  seal(copy, length);
  assert_refused(copy, length);
}

/* ---- contents ---- */

typedef struct {
  char *folder;
  int fd, base;
  GRand *rand;
} World;

static void
world_new(World *world)
{
  g_autoptr(GError) error = NULL;
  world->folder = g_dir_make_tmp("doppel-public-XXXXXX", NULL);
  g_autofree char *base = rig_path(world->folder, "base");
  g_mkdir(base, 0700);
  world->fd = open(world->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  world->base = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  world->rand = g_rand_new_with_seed(rig_first_seed());
  g_assert_true(public_base_prepare(world->base, &error));
}

static void
world_clear(World *world)
{
  close(world->fd);
  close(world->base);
  rig_run("rm", "-rf", world->folder, NULL);
  g_free(world->folder);
  g_rand_free(world->rand);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

/* Writes a file; the TAKE that would ask for it. */
static GenerationStep *
make_file(World *world, const char *name, gsize size, gsize hole)
{
  GenerationStep *step = generation_step_new(GENERATION_TAKE);
  g_autofree guint8 *bytes = g_malloc0(size + hole);
  PublicProof proof;
  for (gsize i = 0; i < size; i++)
    bytes[hole + i] = g_rand_int(world->rand);
  unlinkat(world->fd, name, 0);
  g_auto(Fd) fd = openat(world->fd, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  g_assert_cmpint(pwrite(fd, bytes + hole, size, hole), ==, size);
  step->path = g_strdup(name);
  step->facts.type = REPLICA_FILE;
  step->facts.size = size + hole;
  memset(step->salt, 's', sizeof step->salt);
  XXH128_canonicalFromHash((XXH128_canonical_t *)step->hash, XXH3_128bits(bytes, size + hole));
  public_proof_begin(&proof, step->salt);
  public_proof_add(&proof, bytes, size + hole);
  public_proof_end(&proof, step->proof);
  return step;
}

static gboolean
put(World *world, const char *name, const GenerationStep *step)
{
  g_autoptr(GError) error = NULL;
  guint8 hash[GENERATION_CONTENT_HASH];
  guint64 size;
  gboolean fresh;
  g_auto(Fd) fd = openat(world->fd, name, O_RDONLY | O_CLOEXEC);
  g_assert_true(public_base_put(world->base, fd, hash, &size, &fresh, &error));
  g_assert_no_error(error);
  g_assert_cmpuint(size, ==, step->facts.size);
  if (size >= PUBLIC_BASE_MIN)
    g_assert_cmpmem(hash, sizeof hash, step->hash, sizeof step->hash);
  return fresh;
}

static gboolean
take(World *world, const GenerationStep *step)
{
  gboolean right;
  g_assert_cmpint(public_base_take(world->base, step, world->fd, "taken", &right), ==, 0);
  if (right) {
    g_autofree char *from = rig_path(world->folder, step->path), *to = rig_path(world->folder, "taken");
    rig_run("cmp", from, to, NULL);
  }
  return right;
}

static char *
place_of(World *world, const GenerationStep *step)
{
  char hex[2 * GENERATION_CONTENT_HASH + 1];
  sodium_bin2hex(hex, sizeof hex, step->hash, sizeof step->hash);
  return g_strdup_printf("%s/base/contents/%.2s/%s", world->folder, hex, hex + 2);
}

static void
test_take(void)
{
  static const gsize sizes[] = {PUBLIC_BASE_MIN, 1000, 300000, 3000000};
  g_auto(World) world = {0};
  world_new(&world);
  for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
    g_autoptr(GenerationStep) step = make_file(&world, "file", sizes[i], i % 2 ? 500000 : 0);
    g_assert_false(take(&world, step));
    g_assert_true(put(&world, "file", step));
    g_assert_false(put(&world, "file", step));
    g_assert_true(take(&world, step));
    step->proof[3] ^= 1; /* somebody who knows the hash, and has not the content */
    g_assert_false(take(&world, step));
    step->proof[3] ^= 1;
    step->salt[0] ^= 1;
    g_assert_false(take(&world, step));
    step->salt[0] ^= 1;
    step->hash[5] ^= 1;
    g_assert_false(take(&world, step));
    step->hash[5] ^= 1;
    step->facts.size++;
    g_assert_false(take(&world, step));
    step->facts.size--;
    g_assert_true(take(&world, step));
  }
}

/* What is too small to be worth a name is not put there. */
static void
test_small(void)
{
  g_auto(World) world = {0};
  world_new(&world);
  g_autoptr(GenerationStep) step = make_file(&world, "file", PUBLIC_BASE_MIN - 1, 0);
  g_assert_false(put(&world, "file", step));
  g_assert_false(take(&world, step));
}

/* Holes stay holes on the way in and out. */
static void
test_sparse(void)
{
  g_auto(World) world = {0};
  struct stat status;
  world_new(&world);
  g_autoptr(GenerationStep) step = make_file(&world, "file", 1000, 20000000);
  put(&world, "file", step);
  g_assert_true(take(&world, step));
  g_assert_cmpint(fstatat(world.fd, "taken", &status, 0), ==, 0);
  g_assert_cmpint(status.st_blocks, <, 2000);
}

/* A damaged content counts as missing; adding it again heals it; and what was taken stays what it is. */
static void
test_damaged(void)
{
  g_auto(World) world = {0};
  world_new(&world);
  g_autoptr(GenerationStep) step = make_file(&world, "file", 400000, 0);
  g_autofree char *place = place_of(&world, step);
  put(&world, "file", step);
  g_assert_true(take(&world, step));
  g_assert_cmpint(chmod(place, 0600), ==, 0);
  g_auto(Fd) fd = open(place, O_WRONLY | O_CLOEXEC);
  g_assert_cmpint(pwrite(fd, "rotten", 6, 300000), ==, 6);
  g_autofree char *from = rig_path(world.folder, "file"), *to = rig_path(world.folder, "taken");
  rig_run("cmp", from, to, NULL);
  g_assert_false(public_base_check(world.base, step->hash, step->facts.size));
  g_assert_false(take(&world, step));
  g_assert_true(put(&world, "file", step));
  g_assert_true(public_base_check(world.base, step->hash, step->facts.size));
  g_assert_true(take(&world, step));
  g_assert_cmpint(truncate(place, 1000), ==, 0);
  g_assert_false(take(&world, step));
  g_assert_true(public_base_remove(world.base, step->hash, NULL));
  g_assert_true(public_base_remove(world.base, step->hash, NULL));
  g_assert_false(take(&world, step));
  rig_run("cmp", from, from, NULL);
}

/* ---- in an attempt ---- */

static StoreRig *
open_with_base(World *world, const char *base)
{
  StoreRig *rig = store_rig_new(rig_first_seed(), NULL);
  world_new(world);
  rig->options.public_base = base;
  return rig;
}

static GenerationOutcome
feed(StoreRig *rig, GenerationStep *step, guint64 number)
{
  g_autoptr(GError) error = NULL;
  step->number = number;
  g_autoptr(GBytes) message = generation_step_pack(step);
  GenerationOutcome outcome = generation_store_feed(rig->store, message, &error);
  g_assert_no_error(error);
  return outcome;
}

static void
begin(StoreRig *rig, guint64 last)
{
  g_autoptr(GError) error = NULL;
  GenerationAttempt attempt;
  g_assert_true(generation_store_begin(rig->store, &attempt, &error));
  g_assert_cmpuint(attempt.last, ==, last);
}

static void
place_root(StoreRig *rig)
{
  g_autoptr(GenerationStep) root = generation_step_new(GENERATION_PLACE);
  root->path = g_strdup("");
  root->facts = (ReplicaFacts){.type = REPLICA_DIRECTORY, .mode = 0755};
  g_assert_cmpint(feed(rig, root, 1), ==, GENERATION_DONE);
}

static void
reopen(StoreRig *rig)
{
  g_autoptr(GError) error = NULL;
  g_assert_true(generation_store_sync(rig->store, &error));
  store_rig_close(rig);
  store_rig_open(rig);
}

/* A crash, and what was taken is taken again; unless the base has lost it since, which voids the attempt:
 * steps after it count on it. One that was missing at once is only noted. */
static void
test_attempt(void)
{
  g_auto(World) world = {0};
  g_autofree char *path = NULL;
  StoreRig *rig = open_with_base(&world, NULL);
  rig->options.public_base = path = rig_path(world.folder, "base");
  g_autoptr(GenerationStep) there = make_file(&world, "there", 5000, 0),
                            missing = make_file(&world, "missing", 5000, 0);
  put(&world, "there", there);
  store_rig_open(rig);
  begin(rig, 0);
  place_root(rig);
  g_assert_cmpint(feed(rig, there, 2), ==, GENERATION_DONE);
  g_assert_cmpint(feed(rig, missing, 3), ==, GENERATION_MISMATCH);
  reopen(rig);
  begin(rig, 3);
  put(&world, "missing", missing); /* that it is there by now changes nothing */
  reopen(rig);
  begin(rig, 3);
  g_assert_cmpint(feed(rig, missing, 4), ==, GENERATION_DONE);
  reopen(rig);
  begin(rig, 4);
  g_assert_true(public_base_remove(world.base, there->hash, NULL));
  g_test_expect_message("doppel", G_LOG_LEVEL_WARNING, "*public base has lost*");
  reopen(rig);
  g_test_assert_expected_messages();
  begin(rig, 0);
  store_rig_free(rig);
}

int
main(int argc, char **argv)
{
  const char *why = rig_enter(&argc, &argv);
  g_test_init(&argc, &argv, NULL);
  if (why) {
    g_print("1..0 # SKIP %s\n", why);
    return 0;
  }
  g_test_add_func("/public/set", test_set);
  g_test_add_func("/public/set-edges", test_set_edges);
  g_test_add_func("/public/set-damaged", test_set_damaged);
  g_test_add_func("/public/take", test_take);
  g_test_add_func("/public/small", test_small);
  g_test_add_func("/public/sparse", test_sparse);
  g_test_add_func("/public/damaged", test_damaged);
  g_test_add_func("/public/attempt", test_attempt);
  return g_test_run();
}
