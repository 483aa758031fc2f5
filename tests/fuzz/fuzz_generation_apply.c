/* Steps of a generation, each of them one that could come, in any order: done in a layer over others.
 * Whatever they are, nothing outside changes, and the nodes that are counted are those that are there. */
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "input.h"
#include "replica/generation_apply.h"
#include "replica/generation_trash.h"
#include "replica/path.h"
#include "replica/public_base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LAYERS 3

static int base = -1;
static int shared = -1; /* a public base with one content, of CONTENT bytes "x" */
static guint8 hash[GENERATION_CONTENT_HASH];

enum { CONTENT = 300 };
static char path[] = "/dev/shm/doppel-fuzz-XXXXXX"; /* where the link "../.." of a tree leads */

static void
make_shared(void)
{
  guint8 bytes[CONTENT];
  guint64 size;
  gboolean fresh;
  memset(bytes, 'x', sizeof bytes);
  int fd = openat(base, "content", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (mkdirat(base, "base", 0700) < 0 ||
      (shared = openat(base, "base", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 || fd < 0 ||
      write(fd, bytes, sizeof bytes) != sizeof bytes || !public_base_prepare(shared, NULL) ||
      !public_base_put(shared, fd, hash, &size, &fresh, NULL) || close(fd) < 0)
    abort();
}

static void
begin(void)
{
  /* libFuzzer ends without atexit(): where that is allowed, the place goes with the process. */
  if (unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
      mount("fuzz", "/dev/shm", "tmpfs", 0, NULL) < 0)
    abort();
  if (!mkdtemp(path) || (base = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
    abort();
  int fd = openat(base, "outside", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  if (fd < 0 || close(fd) < 0)
    abort();
  make_shared();
}

/* Few names, so that they meet. */
static char *
take_path(Input *input)
{
  static const char *const names[] = {"a", "b", "l", "outside"};
  GString *taken = g_string_new(names[input_below(input, 4)]);
  for (guint depth = input_below(input, 4); depth > 0; depth--)
    g_string_append_printf(taken, "/%s", names[input_below(input, 4)]);
  return g_string_free(taken, FALSE);
}

static void
take_facts(Input *input, ReplicaFacts *facts)
{
  static const ReplicaType types[] = {REPLICA_FILE, REPLICA_DIRECTORY, REPLICA_SYMLINK, REPLICA_FIFO,
                                      REPLICA_CHARACTER_DEVICE};
  facts->type = types[input_below(input, G_N_ELEMENTS(types))];
  facts->mode = 0700 | input_below(input, 64);
  facts->uid = geteuid();
  facts->gid = getegid();
  facts->mtime_ns = input_number(input, 2);
  if (facts->type == REPLICA_CHARACTER_DEVICE)
    facts->rdev = makedev(0, input_below(input, 2));
  if (facts->type == REPLICA_SYMLINK)
    facts->target = g_strdup(input_below(input, 2) ? "../.." : "a");
}

static void
take_segments(Input *input, GenerationStep *step)
{
  static const guint8 bytes[64];
  step->segments = g_array_new(FALSE, FALSE, sizeof(GenerationSegment));
  for (guint count = 1 + input_below(input, 3); count > 0; count--) {
    GenerationSegment segment = {.kind = GENERATION_LITERAL + input_below(input, 3),
                                 .length = 1 + input_below(input, 64),
                                 .bytes = bytes,
                                 .source = input_below(input, 3),
                                 .offset = input_below(input, 64)};
    g_array_append_val(step->segments, segment);
  }
}

/* Mostly one that is there, and mostly proved. */
static void
take_shared(Input *input, GenerationStep *step)
{
  guint8 bytes[CONTENT];
  PublicProof proof;
  memset(bytes, 'x', sizeof bytes);
  memcpy(step->hash, hash, sizeof hash);
  step->hash[0] ^= input_below(input, 4) == 0;
  step->facts.type = REPLICA_FILE;
  step->facts.size = input_below(input, 4) ? CONTENT : input_below(input, 400);
  public_proof_begin(&proof, step->salt);
  public_proof_add(&proof, bytes, sizeof bytes);
  public_proof_end(&proof, step->proof);
  step->proof[1] ^= input_below(input, 4) == 0;
}

static GenerationStep *
take_step(Input *input)
{
  static const GenerationKind kinds[] = {
      GENERATION_LIFT,  GENERATION_DROP,     GENERATION_REMOVE, GENERATION_PLACE, GENERATION_OPEN,
      GENERATION_WHOLE, GENERATION_SEGMENTS, GENERATION_CLOSE,  GENERATION_LINK,  GENERATION_TAKE};
  GenerationStep *step = generation_step_new(kinds[input_below(input, G_N_ELEMENTS(kinds))]);
  step->path = take_path(input);
  step->to = take_path(input);
  step->hold = input_below(input, 3);
  take_facts(input, &step->facts);
  if (step->kind == GENERATION_OPEN || step->kind == GENERATION_WHOLE) {
    step->facts.type = REPLICA_FILE;
    step->facts.size = input_below(input, 200);
    step->sources = g_ptr_array_new_with_free_func(g_free);
    for (guint count = input_below(input, 3); count > 0; count--)
      g_ptr_array_add(step->sources, take_path(input));
  }
  if (step->kind == GENERATION_SEGMENTS || (step->kind == GENERATION_WHOLE && input_below(input, 2)))
    take_segments(input, step);
  if (step->kind == GENERATION_TAKE)
    take_shared(input, step);
  return step;
}

static int
open_layer(guint layer)
{
  g_autofree char *name = g_strdup_printf("layer-%u", layer);
  mkdirat(base, name, 0700);
  return replica_path_open_child(base, name, O_PATH | O_DIRECTORY);
}

static GenerationStack *
open_layers(guint top)
{
  GenerationStack *stack = generation_stack_new();
  for (guint i = top + 1; i-- > 0;)
    generation_stack_add(stack, open_layer(i));
  return stack;
}

static guint64
count(guint top)
{
  g_autoptr(GenerationStack) stack = open_layers(top);
  guint64 tree = 0, hold = 0;
  if (generation_stack_count(stack, GENERATION_TREE, &tree) ||
      generation_stack_count(stack, GENERATION_HOLD, &hold))
    abort();
  return tree + hold;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (base < 0)
    begin();
  Input input = {.data = data, .left = size};
  guint64 nodes = 0;
  gboolean refused = FALSE;
  for (guint top = 0; top < LAYERS && !refused; top++) {
    g_autoptr(GenerationApply) apply = generation_apply_new(open_layers(top), nodes, NULL);
    if (apply)
      generation_apply_set_base(apply, shared);
    for (guint steps = 0; apply && steps < 24 && input.left > 0; steps++) {
      g_autoptr(GenerationStep) step = take_step(&input);
      g_autoptr(GError) error = NULL;
      if (generation_apply_step(apply, step, &error) == GENERATION_REFUSED && !error)
        abort();
      refused |= error != NULL;
      if (refused)
        break;
    }
    nodes = apply ? generation_apply_nodes(apply) : 0;
    if (!refused && nodes != count(top))
      abort();
  }
  struct stat status;
  if (fstatat(base, "outside", &status, 0) < 0 || status.st_size != 0 || status.st_nlink != 1)
    abort();
  for (guint i = 0; i < LAYERS; i++) {
    g_autofree char *name = g_strdup_printf("layer-%u", i);
    if (generation_trash_remove(base, name))
      abort();
  }
  return 0;
}
