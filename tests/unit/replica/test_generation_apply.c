/* Steps done in a layer: what overlayfs then shows is the device's tree, by rsync's comparison. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "device.h"
#include "replica/generation_apply.h"
#include "replica/path.h"
#include "rig.h"

typedef struct {
  char *base;
  Device *device;
  guint layers;
  guint64 nodes;
} Clone;

static Clone *
clone_new(guint32 seed)
{
  Clone *clone = g_new0(Clone, 1);
  clone->base = rig_make_base();
  g_autofree char *device = rig_path(clone->base, "device");
  clone->device = device_new(device, seed);
  return clone;
}

static void
clone_free(Clone *clone)
{
  device_free(clone->device);
  rig_remove_base(clone->base);
  g_free(clone->base);
  g_free(clone);
}

static char *
layer_path(const Clone *clone, guint layer)
{
  return g_strdup_printf("%s/layer-%u", clone->base, layer);
}

/* All layers, and on top of them a new one. */
static GenerationApply *
begin(Clone *clone)
{
  GenerationStack *stack = generation_stack_new();
  g_autofree char *top = layer_path(clone, clone->layers++);
  g_assert_cmpint(mkdir(top, 0700), ==, 0);
  for (guint i = clone->layers; i-- > 0;) {
    g_autofree char *path = layer_path(clone, i);
    generation_stack_add(stack, open(path, O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  g_autoptr(GError) error = NULL;
  GenerationApply *apply = generation_apply_new(stack, clone->nodes, &error);
  g_assert_no_error(error);
  return apply;
}

static GenerationOutcome
do_step(GenerationApply *apply, GBytes *message, GError **error)
{
  g_autoptr(GError) failure = NULL;
  g_autoptr(GenerationStep) step = generation_step_unpack(message, &failure);
  g_assert_no_error(failure);
  return generation_apply_step(apply, step, error);
}

/* Does an attempt in a layer of its own. How many contents were wrong is returned. */
static guint
do_attempt(Clone *clone, GPtrArray *steps)
{
  g_autoptr(GenerationApply) apply = begin(clone);
  guint wrong = 0;
  for (guint i = 0; i < steps->len; i++) {
    g_autoptr(GError) error = NULL;
    GenerationOutcome outcome = do_step(apply, steps->pdata[i], &error);
    g_assert_no_error(error);
    g_assert_true((outcome == GENERATION_COMPLETE) == (i + 1 == steps->len));
    wrong += outcome == GENERATION_MISMATCH;
  }
  clone->nodes = generation_apply_nodes(apply);
  return wrong;
}

/* Fails where overlayfs shows anything but the device's tree. */
static void
assert_same(Clone *clone, const char *what)
{
  GString *options = g_string_new("userxattr,lowerdir=");
  for (guint i = clone->layers; i-- > 0;)
    g_string_append_printf(options, "%s/layer-%u/tree:", clone->base, i);
  g_autofree char *empty = rig_path(clone->base, "empty"), *view = rig_path(clone->base, "view");
  mkdir(empty, 0700);
  mkdir(view, 0700);
  g_string_append(options, empty); /* one layer alone is none to overlayfs */
  g_assert_cmpint(mount("overlay", view, "overlay", MS_RDONLY, options->str), ==, 0);
  g_autofree char *differences = device_differences(clone->device->path, view);
  if (*differences)
    g_error("%s: %s", what, differences);
  g_assert_cmpint(umount(view), ==, 0);
  g_string_free(options, TRUE);
}

static void
test_random(void)
{
  guint seeds = rig_seeds(6);
  for (guint32 seed = rig_first_seed(); seeds-- > 0; seed++) {
    Clone *clone = clone_new(seed);
    for (guint generation = 1; generation <= 6; generation++) {
      g_autofree char *what = g_strdup_printf("seed %u, generation %u", seed, generation);
      g_autoptr(GPtrArray) steps = generation % 2 ? device_change(clone->device, 40, generation)
                                                  : device_change_wrongly(clone->device, 40, generation);
      g_assert_cmpuint(do_attempt(clone, steps), ==, generation % 2 ? 0 : 1);
      assert_same(clone, what);
    }
    clone_free(clone);
  }
}

static GenerationStep *
step_of(GenerationKind kind, const char *path, ReplicaType type, guint mode)
{
  GenerationStep *step = generation_step_new(kind);
  step->path = g_strdup(path);
  step->facts = (ReplicaFacts){.type = type, .mode = mode, .mtime_ns = 1234567890123456789};
  return step;
}

static void
do_one(GenerationApply *apply, GenerationStep *made, GenerationOutcome expected)
{
  g_autoptr(GenerationStep) step = made;
  g_autoptr(GError) error = NULL;
  g_assert_cmpint(generation_apply_step(apply, step, &error), ==, expected);
  g_assert_true((error != NULL) == (expected == GENERATION_REFUSED));
}

static GenerationStep *
close_of_nothing(void)
{
  static const guint8 hash[] = {0x99, 0xaa, 0x06, 0xd3, 0x01, 0x47, 0x98, 0xd8,
                                0x60, 0x01, 0xc3, 0x24, 0x46, 0x8d, 0x49, 0x7f}; /* XXH3-128 of no bytes */
  GenerationStep *step = generation_step_new(GENERATION_CLOSE);
  memcpy(step->hash, hash, sizeof hash);
  return step;
}

static void
make_foreign_tree(GenerationApply *apply)
{
  GenerationStep *device = step_of(GENERATION_PLACE, "null", REPLICA_CHARACTER_DEVICE, 0666);
  device->facts.rdev = makedev(1, 3);
  do_one(apply, device, GENERATION_DONE);
  do_one(apply, step_of(GENERATION_PLACE, "d", REPLICA_DIRECTORY, 0755), GENERATION_DONE);
  do_one(apply, step_of(GENERATION_OPEN, "d/su", REPLICA_FILE, 04755), GENERATION_DONE);
  do_one(apply, close_of_nothing(), GENERATION_DONE);
  device = step_of(GENERATION_PLACE, "white", REPLICA_CHARACTER_DEVICE, 0600);
  do_one(apply, device, GENERATION_DONE);
  GenerationStep *commit = generation_step_new(GENERATION_COMMIT);
  commit->nodes = 4;
  do_one(apply, commit, GENERATION_COMPLETE);
}

/* Whatever stands for it, the nodes are told as what they were. */
static void
assert_node(Clone *clone, const char *path, guint64 rdev)
{
  g_autofree char *directory = g_strdup_printf("%s/layer-0/tree", clone->base);
  g_auto(Fd) parent = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
  g_auto(ReplicaFacts) facts = {0};
  g_assert_cmpint(replica_facts_read_at(parent, path, 0, NULL, &facts), ==, 0);
  generation_node_recognise(parent, path, &facts);
  g_assert_cmpint(facts.type, ==, REPLICA_CHARACTER_DEVICE);
  g_assert_cmpuint(facts.rdev, ==, rdev);
  g_assert_cmpint(facts.mtime_ns, ==, 1234567890123456789);
}

/* Without root: everything is there, what cannot be kept is counted, and no set-id bit means somebody else's
 * rights. */
static void
be_nobody(Clone *clone)
{
  g_assert_cmpint(setresgid(65534, 65534, 65534), ==, 0);
  g_assert_cmpint(setresuid(65534, 65534, 65534), ==, 0);
  g_autoptr(GenerationApply) apply = begin(clone);
  make_foreign_tree(apply);
  const GenerationLosses *losses = generation_apply_losses(apply);
  g_assert_cmpuint(losses->count[GENERATION_LOST_NODE], ==, 2);
  g_assert_cmpuint(losses->count[GENERATION_LOST_OWNER], ==, 4);
  g_assert_cmpstr(losses->first[GENERATION_LOST_NODE], ==, "null");
  assert_node(clone, "null", makedev(1, 3));
  assert_node(clone, "white", 0);
  g_autofree char *file = g_strdup_printf("%s/layer-0/tree/d/su", clone->base);
  struct stat status;
  g_assert_cmpint(lstat(file, &status), ==, 0);
  g_assert_cmpuint(status.st_mode, ==, S_IFREG | 0755);
  _exit(0);
}

static void
test_unprivileged(void)
{
  if (geteuid() != 0 || !rig_numbers_inodes()) {
    g_test_skip("it takes root to become nobody");
    return;
  }
  Clone *clone = clone_new(1);
  g_assert_cmpint(chmod(clone->base, 0777), ==, 0);
  pid_t nobody = fork();
  if (nobody == 0)
    be_nobody(clone);
  int status;
  g_assert_cmpint(waitpid(nobody, &status, 0), ==, nobody);
  g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  clone_free(clone);
}

static GenerationStep *
link_of(const char *path, const char *to)
{
  GenerationStep *step = step_of(GENERATION_LINK, path, REPLICA_ABSENT, 0);
  step->to = g_strdup(to);
  return step;
}

/* Steps that the tree does not fit, in any way that a device could send them: refused, and nothing outside is
 * touched. */
static void
test_misfits(void)
{
  Clone *clone = clone_new(1);
  g_autofree char *outside = rig_path(clone->base, "outside");
  g_assert_cmpint(mkdir(outside, 0755), ==, 0);
  rig_write(clone->base, "outside/f", "outside");
  GenerationStep *steps[] = {
      step_of(GENERATION_LIFT, "absent", 0, 0),
      step_of(GENERATION_DROP, "d", 0, 0),
      link_of("l", "absent"),
      link_of("l", "."),
      link_of("l", "link/f"),
      step_of(GENERATION_PLACE, "absent", REPLICA_FILE, 0644),
      step_of(GENERATION_PLACE, "link/d", REPLICA_DIRECTORY, 0755),
      step_of(GENERATION_PLACE, "absent/d", REPLICA_DIRECTORY, 0755),
      step_of(GENERATION_PLACE, "link/f", REPLICA_FILE, 0600),
      step_of(GENERATION_LIFT, "link/f", 0, 0),
      close_of_nothing(),
  };
  for (guint i = 0; i < G_N_ELEMENTS(steps); i++) {
    g_autoptr(GenerationApply) apply = begin(clone);
    GenerationStep *link = step_of(GENERATION_PLACE, "link", REPLICA_SYMLINK, 0777);
    link->facts.target = g_strdup(outside);
    do_one(apply, link, GENERATION_DONE);
    do_one(apply, steps[i], GENERATION_REFUSED);
    do_one(apply, step_of(GENERATION_REMOVE, "link/f", 0, 0), GENERATION_DONE); /* nothing is there already */
  }
  g_autofree char *text = rig_read(clone->base, "outside/f");
  g_assert_cmpstr(text, ==, "outside");
  clone_free(clone);
}

/* Far deeper than a path that the kernel takes, and than descriptors last. */
static void
test_deep(void)
{
  enum { DEPTH = 1500 };
  Clone *clone = clone_new(1);
  g_autoptr(GenerationApply) apply = begin(clone);
  GString *path = g_string_new("top");
  do_one(apply, step_of(GENERATION_PLACE, "top", REPLICA_DIRECTORY, 0755), GENERATION_DONE);
  for (guint i = 1; i < DEPTH; i++) {
    g_string_append(path, "/12345678");
    do_one(apply, step_of(GENERATION_PLACE, path->str, REPLICA_DIRECTORY, 0755), GENERATION_DONE);
  }
  g_assert_cmpuint(path->len, >, 3 * REPLICA_PATH_MAX);
  g_assert_cmpuint(generation_apply_nodes(apply), ==, DEPTH);
  clone->nodes = DEPTH;
  g_clear_pointer(&apply, generation_apply_free);
  apply = begin(clone); /* so that all of it is below */
  do_one(apply, step_of(GENERATION_LIFT, "top", 0, 0), GENERATION_DONE);
  do_one(apply, step_of(GENERATION_DROP, "moved", 0, 0), GENERATION_DONE);
  g_string_replace(path, "top", "moved", 1);
  do_one(apply, step_of(GENERATION_PLACE, path->str, REPLICA_DIRECTORY, 0700), GENERATION_DONE);
  g_assert_cmpuint(generation_apply_nodes(apply), ==, DEPTH);
  do_one(apply, step_of(GENERATION_REMOVE, "moved", 0, 0), GENERATION_DONE);
  g_assert_cmpuint(generation_apply_nodes(apply), ==, 0);
  g_string_free(path, TRUE);
  clone_free(clone);
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
  g_test_add_func("/replica/generation/apply/random", test_random);
  g_test_add_func("/replica/generation/apply/unprivileged", test_unprivileged);
  g_test_add_func("/replica/generation/apply/misfits", test_misfits);
  g_test_add_func("/replica/generation/apply/deep", test_deep);
  return g_test_run();
}
