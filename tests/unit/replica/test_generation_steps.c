/* Scan, steps and index together: whatever happens to a device's tree, the steps of the next scan make the
 * clone's the same, by rsync's comparison; and little is told where little changed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "device.h"
#include "replica/generation_apply.h"
#include "replica/generation_steps.h"
#include "rig.h"

#define CUT_NEVER G_MAXUINT

typedef struct {
  char *base, *index_path;
  Device *device;
  TreeIndex *index;
  TreeRules *rules;
  GenerationApply *apply;
  guint64 generation, durable;
  guint64 steps, bytes, literals, opens, closes; /* of the last sending */
  gsize piece;                                   /* bytes of literals of a step; 0: as many as may be */
  guint64 wrong;    /* the number of the CLOSE that is to be taken for a mismatch, or 0 */
  guint64 touch_at; /* the number of the SEGMENTS at which a file changes, or 0 */
  const char *touched;
  guint touches;
} Follower;

static void
open_index(Follower *follower)
{
  g_autoptr(GError) error = NULL;
  follower->index = tree_index_open(follower->index_path, &error);
  g_assert_no_error(error);
}

static void
open_clone(Follower *follower, guint64 nodes)
{
  g_autofree char *layer = rig_path(follower->base, "layer");
  g_autoptr(GError) error = NULL;
  GenerationStack *stack = generation_stack_new();
  mkdir(layer, 0700);
  generation_stack_add(stack, open(layer, O_PATH | O_DIRECTORY | O_CLOEXEC));
  follower->apply = generation_apply_new(stack, nodes, &error);
  g_assert_no_error(error);
}

static Follower *
follower_new(guint32 seed)
{
  Follower *follower = g_new0(Follower, 1);
  follower->base = g_dir_make_tmp("doppel-steps-XXXXXX", NULL);
  g_assert_cmpint(mount("tmpfs", follower->base, "tmpfs", 0, NULL), ==, 0);
  g_autofree char *device = rig_path(follower->base, "device");
  follower->index_path = rig_path(follower->base, "index");
  follower->device = device_new(device, seed);
  follower->rules = tree_rules_new();
  open_index(follower);
  open_clone(follower, 0);
  return follower;
}

static void
follower_free(Follower *follower)
{
  generation_apply_free(follower->apply);
  tree_index_free(follower->index);
  tree_rules_free(follower->rules);
  device_free(follower->device);
  g_assert_cmpint(umount2(follower->base, MNT_DETACH), ==, 0);
  rmdir(follower->base);
  g_free(follower->index_path);
  g_free(follower->base);
  g_free(follower);
}

static GenerationOutcome
arrive(Follower *follower, const GenerationStep *sent)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) message = generation_step_pack(sent);
  g_autoptr(GenerationStep) step = generation_step_unpack(message, &error);
  g_assert_no_error(error);
  follower->steps++;
  follower->bytes += g_bytes_get_size(message);
  gboolean ends = step->kind == GENERATION_CLOSE || step->kind == GENERATION_WHOLE;
  follower->opens += step->kind == GENERATION_OPEN || step->kind == GENERATION_WHOLE;
  follower->closes += ends;
  for (guint i = 0; step->segments && i < step->segments->len; i++) {
    const GenerationSegment *segment = &g_array_index(step->segments, GenerationSegment, i);
    follower->literals += segment->kind == GENERATION_LITERAL ? segment->length : 0;
  }
  if (ends && step->number == follower->wrong)
    step->hash[0] ^= 1;
  GenerationOutcome outcome = generation_apply_step(follower->apply, step, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(step->number, ==, follower->durable + 1);
  follower->durable = step->number;
  return outcome;
}

static void
touch_now(Follower *follower)
{
  g_autofree char *path = rig_path(follower->device->path, follower->touched);
  g_auto(Fd) fd = open(path, O_WRONLY | O_CLOEXEC);
  g_assert_cmpint(pwrite(fd, "changed", 7, 300000 + 100 * ++follower->touches), ==, 7);
}

static TreePlan *
plan_of(Follower *follower, const char *const *directories)
{
  g_autoptr(GError) error = NULL;
  TreePlan *plan = tree_scan(follower->index, follower->rules, follower->device->root, directories, &error);
  g_assert_no_error(error);
  return plan;
}

static void
finish(Follower *follower, GenerationSteps *steps)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GenerationStep) commit = generation_steps_commit(steps, ++follower->generation);
  g_assert_cmpint(arrive(follower, commit), ==, GENERATION_COMPLETE);
  tree_index_committed(follower->index);
  g_assert_true(tree_index_save(follower->index, &error));
  follower->durable = 0;
}

/* One sending, cut off behind step `cut`, of which `lost` do not arrive. TRUE: it came to its end. */
static gboolean
send_some(Follower *follower, const char *const *directories, guint64 cut, guint lost)
{
  g_autoptr(TreePlan) plan = plan_of(follower, directories);
  g_autoptr(GenerationSteps) steps =
      generation_steps_new(follower->index, follower->device->root, plan, follower->durable + 1);
  if (follower->piece)
    generation_steps_set_piece(steps, follower->piece);
  g_autoptr(GError) error = NULL;
  follower->steps = follower->bytes = follower->literals = follower->opens = follower->closes = 0;
  for (guint64 sent = 0;; sent++) {
    g_autoptr(GenerationStep) step = generation_steps_next(steps, &error);
    g_assert_no_error(error);
    g_assert_true(tree_index_save(follower->index, &error));
    if (!step)
      break;
    if (sent + lost < cut) {
      GenerationOutcome outcome = arrive(follower, step);
      if (outcome == GENERATION_MISMATCH && step->number == follower->wrong)
        g_assert_true(generation_steps_mismatch(steps, step->number));
      else
        g_assert_cmpint(outcome, ==, GENERATION_DONE);
      if (sent % 3 == 0 && !follower->wrong)
        generation_steps_durable(steps, follower->durable);
    }
    if (step->kind == GENERATION_SEGMENTS && follower->touched && follower->touches < follower->touch_at)
      touch_now(follower);
    if (sent + 1 == cut)
      return FALSE;
  }
  if (cut == CUT_NEVER)
    finish(follower, steps);
  return cut == CUT_NEVER;
}

/* Both ends begin anew, as after a cut. */
static void
reconnect(Follower *follower)
{
  tree_index_free(follower->index);
  open_index(follower);
  g_assert_true(tree_index_back_to(follower->index, follower->durable));
}

static void
assert_same(Follower *follower, const char *what)
{
  g_autofree char *tree = rig_path(follower->base, "layer/" GENERATION_TREE);
  g_autofree char *differences = device_differences(follower->device->path, tree);
  if (*differences)
    g_error("%s: %s", what, differences);
}

static void
change(Follower *follower, guint changes)
{
  g_ptr_array_unref(device_change(follower->device, changes, 1));
}

static void
send_all(Follower *follower, const char *what)
{
  g_assert_true(send_some(follower, NULL, CUT_NEVER, 0));
  assert_same(follower, what);
}

static void
test_random(void)
{
  guint seeds = rig_seeds(8);
  for (guint32 seed = rig_first_seed(); seeds-- > 0; seed++) {
    Follower *follower = follower_new(seed);
    for (guint generation = 1; generation <= 8; generation++) {
      g_autofree char *what = g_strdup_printf("seed %u, generation %u", seed, generation);
      change(follower, generation == 1 ? 60 : 25);
      send_all(follower, what);
    }
    follower_free(follower);
  }
}

/* Cut off at random, some of what was told lost, the tree changed meanwhile: the end is the same. */
static void
test_cut(void)
{
  guint seeds = rig_seeds(8);
  for (guint32 seed = rig_first_seed(); seeds-- > 0; seed++) {
    Follower *follower = follower_new(seed);
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    for (guint generation = 1; generation <= 4; generation++) {
      g_autofree char *what = g_strdup_printf("seed %u, generation %u", seed, generation);
      change(follower, 40);
      for (guint cuts = g_rand_int_range(rand, 1, 5); cuts > 0; cuts--) {
        guint cut = g_rand_int_range(rand, 1, 60);
        send_some(follower, NULL, cut, g_rand_int_range(rand, 0, cut));
        reconnect(follower);
        change(follower, g_rand_int_range(rand, 0, 6));
      }
      send_all(follower, what);
    }
    follower_free(follower);
  }
}

static void
write_noise(Follower *follower, const char *path, guint length, guint32 seed)
{
  g_autofree char *full = rig_path(follower->device->path, path);
  g_autofree guint32 *words = g_malloc(length);
  g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
  for (guint i = 0; i < length / 4; i++)
    words[i] = g_rand_int(rand);
  g_auto(Fd) fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
  g_assert_true(fd >= 0 && io_write_all(fd, words, length));
}

/* So that what was just written is not looked at again for its age. */
static void
settle(Follower *follower, const char *what)
{
  send_all(follower, what);
  g_usleep(50000);
  send_all(follower, what);
  send_all(follower, what);
  g_assert_cmpuint(follower->steps, ==, 1);
}

static void
test_moved(void)
{
  Follower *follower = follower_new(1);
  g_autofree char *from = rig_path(follower->device->path, "many"),
                  *to = rig_path(follower->device->path, "to");
  g_autofree char *moved = rig_path(follower->device->path, "to/moved");
  g_assert_cmpint(mkdir(from, 0755), ==, 0);
  g_assert_cmpint(mkdir(to, 0755), ==, 0);
  for (guint i = 0; i < 500; i++) {
    g_autofree char *path = g_strdup_printf("many/%u", i);
    write_noise(follower, path, 1000, i);
  }
  write_noise(follower, "large", 3 << 20, 7);
  settle(follower, "before");
  g_assert_cmpint(rename(from, moved), ==, 0);
  send_all(follower, "a directory moved");
  g_assert_cmpuint(follower->steps, <=, 5);
  g_assert_cmpuint(follower->bytes, <, 512);
  g_autofree char *large = rig_path(follower->device->path, "large"),
                  *larger = rig_path(follower->device->path, "renamed");
  g_assert_cmpint(rename(large, larger), ==, 0);
  send_all(follower, "a file renamed");
  g_assert_cmpuint(follower->bytes, <, 256);
  rig_run("cp", larger, large, NULL);
  send_all(follower, "a file copied");
  g_assert_cmpuint(follower->bytes, <, 256);
  /* As editors write: the old one is kept under another name. */
  g_autofree char *backup = rig_path(follower->device->path, "renamed~"),
                  *fresh = rig_path(follower->device->path, "fresh");
  rig_run("cp", larger, fresh, NULL);
  g_assert_cmpint(rename(larger, backup), ==, 0);
  g_assert_cmpint(rename(fresh, larger), ==, 0);
  rig_run("sh", "-c", "printf more >>\"$0\"", larger, NULL);
  send_all(follower, "a file saved");
  g_assert_cmpuint(follower->literals, <, 10000);
  /* An upgrade: a new version beside the old one's removal. */
  g_autofree char *next = rig_path(follower->device->path, "renamed.2");
  rig_run("cp", larger, next, NULL);
  rig_run("sh", "-c", "printf more | dd of=\"$0\" bs=1 seek=1000000 conv=notrunc status=none", next, NULL);
  g_assert_cmpint(unlink(larger), ==, 0);
  g_assert_cmpint(unlink(backup), ==, 0);
  send_all(follower, "an upgrade");
  g_assert_cmpuint(follower->literals, <, 10000);
  follower_free(follower);
}

static void
test_links(void)
{
  Follower *follower = follower_new(1);
  const char *root = follower->device->path;
  write_noise(follower, "m", 100000, 1);
  settle(follower, "one name");
  g_autofree char *m = rig_path(root, "m"), *a = rig_path(root, "a"), *z = rig_path(root, "z");
  g_assert_cmpint(link(m, a), ==, 0);
  g_assert_cmpint(link(m, z), ==, 0);
  send_all(follower, "three names");
  g_assert_cmpuint(follower->literals, ==, 0);
  g_assert_cmpint(chmod(m, 0400), ==, 0);
  send_all(follower, "a mode");
  g_assert_cmpuint(follower->opens, ==, 0);
  write_noise(follower, "m", 90000, 2);
  send_all(follower, "a content");
  g_assert_cmpuint(follower->opens, ==, 1);
  rig_run("cp", "-a", m, a, "--remove-destination", NULL);
  send_all(follower, "one parted");
  g_assert_cmpuint(follower->literals, ==, 0);
  rig_run("ln", "-f", a, z, NULL);
  rig_run("chmod", "0604", m, NULL);
  send_all(follower, "the other way round");
  g_assert_cmpuint(follower->literals, ==, 0);
  g_autofree char *s = rig_path(root, "s"), *t = rig_path(root, "t");
  g_assert_cmpint(symlink("target", s), ==, 0);
  g_assert_cmpint(link(s, t), ==, 0);
  send_all(follower, "names of a link");
  rig_run("sh", "-c", "rm \"$0\" && ln -s target \"$0\"", s, NULL);
  send_all(follower, "links parted");
  follower_free(follower);
}

/* A large content goes on where it was cut. */
static void
test_resumed(void)
{
  Follower *follower = follower_new(1);
  guint size = 8 << 20;
  write_noise(follower, "large", size, 1);
  g_usleep(50000);
  for (guint cut = 3; cut < 12; cut += 4) {
    send_some(follower, NULL, cut, 1);
    reconnect(follower);
  }
  guint64 told = follower->durable;
  send_all(follower, "resumed");
  g_assert_cmpuint(follower->opens, ==, 0);
  g_assert_cmpuint(follower->literals + (told - 2) * GENERATION_LITERAL_MAX, ==, size);
  /* Of a changed one, too; and another change ends it. */
  write_noise(follower, "large", size, 2);
  g_usleep(50000);
  send_some(follower, NULL, 6, 0);
  reconnect(follower);
  write_noise(follower, "large", size, 3);
  send_all(follower, "changed meanwhile");
  g_assert_cmpuint(follower->opens, ==, 1);
  /* Of one that might be made from what is gone beside it. */
  g_autofree char *large = rig_path(follower->device->path, "large");
  g_assert_cmpint(unlink(large), ==, 0);
  write_noise(follower, "large.2", size, 4);
  g_usleep(50000);
  send_some(follower, NULL, 6, 0);
  reconnect(follower);
  send_all(follower, "another version");
  g_assert_cmpuint(follower->opens, ==, 0);
  /* In pieces of another length. */
  write_noise(follower, "pieces", size, 5);
  g_usleep(50000);
  follower->piece = 50000;
  send_some(follower, NULL, 9, 0);
  reconnect(follower);
  follower->piece = 0;
  send_all(follower, "larger pieces");
  g_assert_cmpuint(follower->opens, ==, 0);
  g_assert_cmpuint(follower->literals, <, size);
  follower_free(follower);
}

static void
test_changes_while_read(void)
{
  Follower *follower = follower_new(1);
  write_noise(follower, "busy", 2 << 20, 1);
  g_usleep(50000);
  follower->touched = "busy";
  follower->touch_at = 1;
  send_all(follower, "changed once");
  g_assert_cmpuint(follower->opens, ==, 2);
  g_assert_cmpuint(follower->closes, ==, 1);
  follower->touch_at = 1000;
  write_noise(follower, "busy", 2 << 20, 2);
  g_assert_true(send_some(follower, NULL, CUT_NEVER, 0));
  g_assert_cmpuint(follower->opens, ==, 3);
  g_assert_cmpuint(follower->closes, ==, 1);
  follower->touched = NULL;
  send_all(follower, "the next generation");
  g_assert_cmpuint(follower->opens, ==, 1);
  follower_free(follower);
}

static void
test_mismatch(void)
{
  Follower *follower = follower_new(1);
  write_noise(follower, "a", 100000, 1);
  rig_run("sh", "-c", "cd \"$0\" && ln a b && ln a c", follower->device->path, NULL);
  settle(follower, "before");
  rig_run("sh", "-c", "echo more >>\"$0/a\"", follower->device->path, NULL);
  /* Of a content in one step, and of one in several, which is not first told as what changed of it. */
  static const char *const changes[] = {"echo more >>\"$0/a\"", "head -c 100000 /dev/urandom >\"$0/a\""};
  for (guint i = 0; i < G_N_ELEMENTS(changes); i++) {
    follower->wrong = i == 0 ? 1 : 3;
    rig_run("sh", "-c", changes[i], follower->device->path, NULL);
    send_all(follower, "a mismatch");
    g_assert_cmpuint(follower->closes, ==, 2);
  }
  g_assert_cmpuint(follower->generation, >=, 5);
  follower_free(follower);
}

static void
test_limited(void)
{
  Follower *follower = follower_new(1);
  rig_run("sh", "-c", "cd \"$0\" && mkdir -p a/b c/d && echo 1 >a/b/f && echo 2 >c/f && ln c/f a/g",
          follower->device->path, NULL);
  settle(follower, "before");
  rig_run("sh", "-c", "cd \"$0\" && echo 3 >a/b/f && echo 4 >c/d/new", follower->device->path, NULL);
  const char *const first[] = {"a/b", NULL}, *const second[] = {"c/d", "c/d/not/there", NULL};
  g_assert_true(send_some(follower, first, CUT_NEVER, 0));
  g_autofree char *tree = rig_path(follower->base, "layer/" GENERATION_TREE);
  g_autofree char *there = rig_read(tree, "a/b/f"), *missing = rig_path(tree, "c/d/new");
  g_assert_cmpstr(there, ==, "3\n");
  g_assert_cmpint(access(missing, F_OK), <, 0);
  g_assert_true(send_some(follower, second, CUT_NEVER, 0));
  assert_same(follower, "both");
  rig_run("sh", "-c", "cd \"$0\" && mkdir -p n/m && echo 5 >n/m/o && mv a/b n/m/p && echo 6 >>c/f",
          follower->device->path, NULL);
  const char *const third[] = {"n/m", "a", "", "c", NULL};
  g_assert_true(send_some(follower, third, CUT_NEVER, 0));
  assert_same(follower, "new, moved and linked");
  follower_free(follower);
}

/* What the clone has after the next generation. */
static char *
list_of(Follower *follower)
{
  g_assert_true(send_some(follower, NULL, CUT_NEVER, 0));
  g_autofree char *tree = rig_path(follower->base, "layer/" GENERATION_TREE);
  g_autoptr(GPtrArray) paths = rig_list(tree);
  g_ptr_array_add(paths, NULL);
  return g_strjoinv(" ", (char **)paths->pdata);
}

static void
test_left_out(void)
{
  Follower *follower = follower_new(1);
  rig_run("sh", "-c",
          "cd \"$0\" && mkdir -p tmp/x keep/.cache/x && echo 1 >tmp/f && echo 2 >keep/.cache/x/f && mkfifo p",
          follower->device->path, NULL);
  g_autofree char *before = list_of(follower);
  g_assert_cmpstr(before, ==, "keep keep/.cache p tmp");
  tree_rules_add(follower->rules, "!/tmp/*", "the test");
  tree_rules_add(follower->rules, "p", "the test");
  g_autofree char *after = list_of(follower);
  g_assert_cmpstr(after, ==, "keep keep/.cache tmp tmp/f tmp/x");
  follower_free(follower);
}

/* As when the index was rebuilt from what the clone says that it has: no inodes, no signatures. */
static void
forget_own(TreeIndex *index, gint64 id)
{
  g_autoptr(GArray) children = tree_index_children(index, id);
  for (guint i = 0; i < children->len; i++) {
    TreeNode *node = &g_array_index(children, TreeNode, i);
    node->facts.dev = node->facts.ino = 0;
    node->dirty = TRUE;
    tree_index_touch(index, node);
    tree_index_unsign(index, node->id);
    forget_own(index, node->id);
  }
}

static void
test_rebuilt(void)
{
  Follower *follower = follower_new(3);
  change(follower, 100);
  write_noise(follower, "large", 4 << 20, 1);
  settle(follower, "before");
  forget_own(follower->index, TREE_ROOT);
  send_all(follower, "rebuilt");
  g_assert_cmpuint(follower->literals, ==, 0);
  g_usleep(50000);
  rig_run("sh", "-c", "printf changed | dd of=\"$0/large\" bs=1 seek=1000000 conv=notrunc status=none",
          follower->device->path, NULL);
  send_all(follower, "and changed");
  g_assert_cmpuint(follower->literals, <, 10000);
  follower_free(follower);
}

/* Who can make two contents of one hash must not make one file out of another. */
static void
test_forged(void)
{
  Follower *follower = follower_new(1);
  guint8 hash[GENERATION_CONTENT_HASH];
  g_auto(TreeNode) evil = {0};
  write_noise(follower, "evil", 100000, 1);
  settle(follower, "before");
  write_noise(follower, "victim", 100000, 2);
  g_autofree char *path = rig_path(follower->device->path, "victim");
  g_auto(Fd) victim = open(path, O_RDONLY | O_CLOEXEC);
  g_assert_true(signature_hash_fd(victim, 100000, hash));
  g_assert_true(tree_index_child(follower->index, TREE_ROOT, "evil", &evil));
  g_autoptr(Signature) signature = tree_index_signature(follower->index, evil.id, evil.content);
  memcpy(signature->hash, hash, sizeof hash);
  memcpy(evil.content, hash, sizeof hash);
  tree_index_put(follower->index, 1, &evil);
  tree_index_sign(follower->index, evil.id, signature);
  g_assert_cmpint(tree_index_content(follower->index, 100000, hash), ==, evil.id);
  send_all(follower, "two contents of one hash");
  g_assert_cmpuint(follower->literals, ==, 100000);
  follower_free(follower);
}

/* Opens the directory that is `depth` times `name` below, made where it is missing; 0 levels: the root. */
static int
go_deep(int root, const char *name, guint depth, gboolean make)
{
  int at = fcntl(root, F_DUPFD_CLOEXEC, 3);
  for (guint i = 0; i < depth; i++) {
    if (make)
      g_assert_cmpint(mkdirat(at, name, 0755), ==, 0);
    int next = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_assert_cmpint(next, >=, 0);
    close(at);
    at = next;
  }
  return at;
}

/* Beyond what a path can say to the kernel; and rsync, so that this is compared by hand. */
static void
check_deep(guint length, guint depth)
{
  Follower *follower = follower_new(1);
  char name[256] = {0};
  memset(name, 'd', length);
  g_auto(Fd) deep = go_deep(follower->device->root, name, depth, TRUE);
  g_auto(Fd) file = openat(deep, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  g_assert_true(io_write_all(file, "deep", 4));
  g_assert_true(send_some(follower, NULL, CUT_NEVER, 0));
  g_autofree char *tree = rig_path(follower->base, "layer/" GENERATION_TREE);
  g_auto(Fd) root = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_auto(Fd) there = go_deep(root, name, depth, FALSE);
  g_autofree char *text = io_read_file_at(there, "file", 100);
  g_assert_cmpstr(text, ==, "deep");
  g_assert_true(io_write_all(file, "er", 2));
  g_assert_cmpint(renameat(deep, "file", follower->device->root, "up"), ==, 0);
  g_assert_true(send_some(follower, NULL, CUT_NEVER, 0));
  g_autofree char *up = io_read_file_at(root, "up", 100);
  g_assert_cmpstr(up, ==, "deeper");
  g_assert_cmpint(faccessat(there, "file", F_OK, 0), <, 0);
  follower_free(follower);
}

static void
test_deep(void)
{
  check_deep(255, 100);
  check_deep(1, 2000);
}

/* Every kind of entry that a device has, told once, and after each kind of change of its metadata. */
static void
test_every_kind(void)
{
  static const char fill[] =
      "cd \"$0\" && umask 0 && mkdir dir && mkfifo -m 0666 fifo && ln -s nowhere link && echo 1 >'\377\001 "
      "name'\n"
      "truncate -s 100M sparse && echo x | dd of=sparse bs=1 seek=50000000 conv=notrunc status=none\n"
      "echo 2 >set-id && chmod 6755 set-id && chmod 1777 dir && echo 3 >old && touch -d '1931-01-01 "
      "00:00:00.5' old\n"
      "echo 4 >new && touch -d '2150-01-01 00:00:00.123456789' new link dir fifo && touch -h -d '2001-01-01' "
      "link\n"
      "echo 5 >nobody && chown 65534:65534 nobody 2>/dev/null\n"
      "mknod null c 1 3 2>/dev/null; mknod disk b 8 1 2>/dev/null; ln fifo dir/fifo; ln link dir/link; ln "
      "old dir/old\n"
      "ln -s \"$(printf '%04000d' 7)\" long; : >empty; printf '%0255d' 0 | xargs touch; true";
  static const char change[] = "cd \"$0\" && chmod 0640 fifo set-id && chown 1000:1000 nobody 2>/dev/null; "
                               "chmod 0700 dir; touch -h -d 2002-02-02 link\n"
                               "rm -f null && mkfifo null; rm old && mkdir old; rm -r dir/fifo; truncate -s "
                               "1 sparse; echo more >>new; true";
  Follower *follower = follower_new(1);
  const char *root = follower->device->path;
  rig_run("sh", "-c", fill, root, NULL);
  g_autofree char *socket_path = rig_path(root, "socket");
  g_auto(Fd) listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  g_strlcpy(address.sun_path, socket_path, sizeof address.sun_path);
  g_assert_cmpint(bind(listener, (struct sockaddr *)&address, sizeof address), ==, 0);
  g_autoptr(TreePlan) plan = plan_of(follower, NULL);
  g_assert_cmpuint(plan->notes->len, ==, 1);
  g_assert_cmpstr(plan->notes->pdata[0], ==, "/socket: a socket");
  g_assert_true(send_some(follower, NULL, CUT_NEVER, 0));
  g_assert_cmpint(unlink(socket_path), ==, 0);
  send_all(follower, "every kind");
  g_autofree char *sparse = rig_path(follower->base, "layer/" GENERATION_TREE "/sparse");
  struct stat status;
  g_assert_cmpint(stat(sparse, &status), ==, 0);
  g_assert_cmpint(status.st_size, ==, 100 << 20);
  g_assert_cmpint(status.st_blocks, <, 4096);
  rig_run("sh", "-c", change, root, NULL);
  send_all(follower, "changed");
  follower_free(follower);
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
  g_test_add_func("/replica/generation/steps/moved", test_moved);
  g_test_add_func("/replica/generation/steps/links", test_links);
  g_test_add_func("/replica/generation/steps/resumed", test_resumed);
  g_test_add_func("/replica/generation/steps/changes-while-read", test_changes_while_read);
  g_test_add_func("/replica/generation/steps/mismatch", test_mismatch);
  g_test_add_func("/replica/generation/steps/limited", test_limited);
  g_test_add_func("/replica/generation/steps/left-out", test_left_out);
  g_test_add_func("/replica/generation/steps/rebuilt", test_rebuilt);
  g_test_add_func("/replica/generation/steps/forged", test_forged);
  g_test_add_func("/replica/generation/steps/deep", test_deep);
  g_test_add_func("/replica/generation/steps/every-kind", test_every_kind);
  g_test_add_func("/replica/generation/steps/random", test_random);
  g_test_add_func("/replica/generation/steps/cut", test_cut);
  return g_test_run();
}
