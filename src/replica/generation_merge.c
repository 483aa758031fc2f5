#include "replica/generation_merge.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/io.h"
#include "replica/generation_apply.h"
#include "replica/generation_copy.h"
#include "replica/generation_facts.h"
#include "replica/path.h"

typedef struct {
  const GenerationStack *run, *below;
  GenerationStack *merged; /* the one layer that comes out */
  GenerationLosses losses;
  GPtrArray *waiting; /* of Task, parents first */
} Merge;

/* A directory of the tree. */
typedef struct {
  char *path;
  gboolean over; /* what is below the run shows through, if there is anything */
} Task;

/* The same, open. */
typedef struct {
  const char *path;
  GenerationDirectory source; /* in the run */
  GenerationDirectory target;
  GenerationDirectory below; /* closed: nothing is there, or nothing shows through */
} Open;

static void
open_clear(Open *open)
{
  generation_directory_clear(&open->source);
  generation_directory_clear(&open->target);
  generation_directory_clear(&open->below);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Open, open_clear)

static void
task_free(gpointer task)
{
  g_free(((Task *)task)->path);
  g_free(task);
}

static void
add_task(Merge *merge, char *path, gboolean over)
{
  Task *task = g_new(Task, 1);
  *task = (Task){.path = path, .over = over};
  g_ptr_array_add(merge->waiting, task);
}

static int
look_below(const Open *open, const char *name, GenerationEntry *entry)
{
  *entry = (GenerationEntry){.fd = -1};
  return open->below.parts ? generation_directory_look(&open->below, name, entry) : 0;
}

static int
take_file(Merge *merge, const GenerationPart *part, const char *name, int target)
{
  if (linkat(part->fd, name, target, name, 0) == 0)
    return 0;
  if (errno != EMLINK && errno != EPERM && errno != EXDEV)
    return errno;
  g_auto(ReplicaFacts) facts = {0};
  int failure = replica_facts_read_at(part->fd, name, REPLICA_READ_ALL, NULL, &facts);
  if (failure)
    return failure;
  generation_node_recognise(part->fd, name, &facts);
  failure = generation_copy_node(part->fd, name, &facts, target, name);
  return failure ? failure : generation_facts_set(target, name, &facts, name, &merge->losses);
}

/* Whether, of the directory `name` in part `first`, nothing shows that is below the run. */
static gboolean
hides_below(const GenerationDirectory *source, guint first, const char *name)
{
  for (guint i = first; i < source->parts->len; i++) {
    const GenerationPart *part = &g_array_index(source->parts, GenerationPart, i);
    g_auto(Fd) directory = replica_path_open_child(part->fd, name, O_PATH | O_DIRECTORY);
    if (directory < 0 ? errno != ENOENT : generation_is_opaque(directory))
      return TRUE;
  }
  return FALSE;
}

static int
take_directory(Merge *merge, const Open *open, guint first, const char *name)
{
  GenerationEntry below;
  int target = generation_directory_upper(&open->target), failure = look_below(open, name, &below);
  if (failure)
    return failure;
  if (mkdirat(target, name, 0700) < 0)
    return errno;
  gboolean over = S_ISDIR(below.status.st_mode), opaque = over && hides_below(&open->source, first, name);
  add_task(merge, replica_path_join(open->path, name), over && !opaque);
  if (!opaque)
    return 0;
  char proc[REPLICA_PROC_MAX];
  replica_path_proc(proc, target, name);
  return lsetxattr(proc, GENERATION_OPAQUE, "y", 1, 0) < 0 ? errno : 0;
}

static int
take_whiteout(const Open *open, const char *name)
{
  GenerationEntry below;
  int failure = look_below(open, name, &below);
  if (failure || !below.status.st_mode)
    return failure;
  return mknodat(generation_directory_upper(&open->target), name, S_IFCHR, makedev(0, 0)) < 0 ? errno : 0;
}

static int
take_name(Merge *merge, const Open *open, const char *name)
{
  for (guint i = 0; i < open->source.parts->len; i++) {
    const GenerationPart *part = &g_array_index(open->source.parts, GenerationPart, i);
    struct stat status;
    if (fstatat(part->fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0) {
      if (errno != ENOENT)
        return errno;
      continue;
    }
    return S_ISDIR(status.st_mode) ? take_directory(merge, open, i, name)
           : generation_is_whiteout(&status)
               ? take_whiteout(open, name)
               : take_file(merge, part, name, generation_directory_upper(&open->target));
  }
  return 0;
}

static int
open_task(const Merge *merge, const Task *task, Open *open)
{
  open->path = task->path;
  int failure = generation_stack_open(merge->run, task->path, &open->source);
  if (!failure)
    failure = generation_stack_open(merge->merged, task->path, &open->target);
  return !failure && task->over ? generation_stack_open(merge->below, task->path, &open->below) : failure;
}

static int
merge_directory(Merge *merge, const Task *task)
{
  g_auto(Open) open = {0};
  g_autoptr(GPtrArray) names = NULL;
  g_auto(ReplicaFacts) facts = {0};
  int failure = open_task(merge, task, &open);
  if (!failure)
    failure =
        replica_facts_read_at(generation_directory_top(&open.source), ".", REPLICA_READ_ALL, NULL, &facts);
  if (!failure)
    failure = generation_directory_list(&open.source, TRUE, &names);
  for (guint i = 0; !failure && i < names->len; i++)
    failure = take_name(merge, &open, names->pdata[i]);
  return failure ? failure
                 : generation_facts_set(generation_directory_upper(&open.target), ".", &facts, task->path,
                                        &merge->losses);
}

int
generation_merge(const GenerationStack *run, const GenerationStack *below, int into)
{
  if (mkdirat(into, GENERATION_TREE, 0700) < 0)
    return errno;
  int layer = fcntl(into, F_DUPFD_CLOEXEC, 3);
  if (layer < 0)
    return errno;
  g_autoptr(GenerationStack) merged = generation_stack_new();
  generation_stack_add(merged, layer);
  g_autoptr(GPtrArray) waiting = g_ptr_array_new_with_free_func(task_free);
  Merge merge = {.run = run, .below = below, .merged = merged, .waiting = waiting};
  add_task(&merge, g_strdup(GENERATION_TREE), below->layers->len > 0);
  int failure = 0;
  while (!failure && waiting->len > 0) {
    Task *task = g_ptr_array_steal_index(waiting, waiting->len - 1);
    failure = merge_directory(&merge, task);
    task_free(task);
  }
  generation_losses_clear(&merge.losses);
  return failure;
}
