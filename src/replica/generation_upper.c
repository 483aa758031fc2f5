#include "replica/generation_upper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/io.h"
#include "replica/generation_copy.h"
#include "replica/generation_trash.h"
#include "replica/path.h"

#define MAKE_FLAGS (O_PATH | O_DIRECTORY)

GenerationUpper *
generation_upper_new(GenerationStack *stack)
{
  GenerationUpper *upper = g_new0(GenerationUpper, 1);
  upper->stack = stack;
  upper->base = g_array_index(stack->layers, int, 0);
  return upper;
}

static void
forget_near(GenerationUpper *upper)
{
  g_clear_pointer(&upper->near_path, g_free);
  generation_directory_clear(&upper->near);
}

void
generation_upper_free(GenerationUpper *upper)
{
  if (!upper)
    return;
  forget_near(upper);
  generation_losses_clear(&upper->losses);
  generation_stack_free(upper->stack);
  g_free(upper);
}

/* What the device calls it, whose tree is in a directory of the layers. */
static const char *
of_device(const char *path)
{
  const char *slash = strchr(path, '/');
  return slash ? slash + 1 : "";
}

/* Whether the entry's inode may be changed: it has no other name, neither in the tree nor in another layer.
 */
static gboolean
is_own(const GenerationEntry *entry)
{
  return entry->layer == 0 && entry->status.st_nlink == 1;
}

static void
set_times_back(int fd, const struct stat *before)
{
  const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, before->st_mtim};
  char proc[REPLICA_PROC_MAX];
  replica_path_proc_fd(proc, fd);
  utimensat(AT_FDCWD, proc, times, 0);
}

/* Gives a directory of the layers below its part in this one. That it appears there is no change of the tree,
 * so the directory around it keeps its times. */
static int
copy_directory_up(GenerationUpper *upper, const GenerationDirectory *in, const char *name,
                  GenerationDirectory *child, const char *path)
{
  int above = generation_directory_upper(in);
  g_auto(ReplicaFacts) facts = {0};
  struct stat before;
  int failure = replica_facts_read_at(generation_directory_top(child), ".", REPLICA_READ_ALL, NULL, &facts);
  if (failure)
    return failure;
  if (fstat(above, &before) < 0 || mkdirat(above, name, 0700) < 0)
    return errno;
  failure = generation_facts_set(above, name, &facts, of_device(path), &upper->losses);
  if (failure)
    return failure;
  set_times_back(above, &before);
  GenerationPart part = {.fd = replica_path_open_child(above, name, MAKE_FLAGS)};
  if (part.fd < 0)
    return errno;
  g_array_prepend_val(child->parts, part);
  return 0;
}

static int
open_next(GenerationUpper *upper, const GenerationDirectory *in, const char *name, gboolean make,
          const char *path, GenerationDirectory *child)
{
  int failure = generation_directory_open(in, name, child);
  if (!failure && make && generation_directory_upper(child) < 0)
    failure = copy_directory_up(upper, in, name, child, path);
  if (failure)
    generation_directory_clear(child);
  return failure;
}

static gboolean
is_at_or_below(const char *path, const char *directory)
{
  gsize length = strlen(directory);
  return strncmp(path, directory, length) == 0 &&
         (length == 0 || path[length] == '\0' || path[length] == '/');
}

/* Opens upper->near at the directory `path`, from where it was if that is on the way. */
static int
go_to(GenerationUpper *upper, const char *path, gboolean make)
{
  gboolean on_the_way = upper->near_path && is_at_or_below(path, upper->near_path) &&
                        (!make || generation_directory_upper(&upper->near) >= 0);
  if (!on_the_way) {
    forget_near(upper);
    int failure = generation_stack_open(upper->stack, "", &upper->near);
    if (failure)
      return failure;
    upper->near_path = g_strdup("");
  }
  while (strlen(upper->near_path) < strlen(path)) {
    gsize from = strlen(upper->near_path);
    from += from > 0;
    const char *end = strchrnul(path + from, '/');
    g_autofree char *name = g_strndup(path + from, end - path - from);
    g_autofree char *next = g_strndup(path, end - path);
    GenerationDirectory child = {0};
    int failure = open_next(upper, &upper->near, name, make, next, &child);
    if (failure) {
      forget_near(upper);
      return failure;
    }
    generation_directory_clear(&upper->near);
    upper->near = child;
    g_free(upper->near_path);
    upper->near_path = g_steal_pointer(&next);
  }
  return 0;
}

int
generation_upper_look(GenerationUpper *upper, const char *path, gboolean make,
                      const GenerationDirectory **directory, const char **name, GenerationEntry *entry)
{
  g_autofree char *parent = replica_path_parent(path);
  int failure = go_to(upper, parent, make);
  if (failure)
    return failure;
  *directory = &upper->near;
  *name = *parent ? path + strlen(parent) + 1 : path;
  return generation_directory_look(&upper->near, *name, entry);
}

/* The same, where something must be. */
static int
find(GenerationUpper *upper, const char *path, gboolean make, const GenerationDirectory **directory,
     const char **name, GenerationEntry *entry)
{
  int failure = generation_upper_look(upper, path, make, directory, name, entry);
  return failure ? failure : entry->status.st_mode ? 0 : ENOENT;
}

static int
make_opaque(int parent, const char *name)
{
  char proc[REPLICA_PROC_MAX];
  replica_path_proc(proc, parent, name);
  return lsetxattr(proc, GENERATION_OPAQUE, "y", 1, 0) < 0 ? errno : 0;
}

/* Takes away what the layer has at a name, and lets nothing show through. The count is the caller's. */
static int
blot_out(GenerationUpper *upper, const char *path)
{
  const GenerationDirectory *directory;
  const char *name;
  GenerationEntry entry;
  int failure = generation_upper_look(upper, path, TRUE, &directory, &name, &entry);
  if (failure || !entry.status.st_mode)
    return failure;
  int above = generation_directory_upper(directory);
  struct stat before;
  if (fstat(above, &before) < 0)
    failure = errno;
  else if (entry.layer == 0 && !S_ISDIR(entry.status.st_mode))
    failure = unlinkat(above, name, 0) < 0 ? errno : 0;
  else if (entry.layer == 0 && renameat(above, name, upper->base, GENERATION_TRASH "0") < 0)
    failure = errno;
  else if (entry.layer == 0)
    failure = generation_trash_remove(upper->base, GENERATION_TRASH "0");
  if (!failure && entry.lower && mknodat(above, name, S_IFCHR, makedev(0, 0)) < 0)
    failure = errno;
  if (!failure)
    set_times_back(above, &before);
  if (S_ISDIR(entry.status.st_mode))
    forget_near(upper);
  return failure;
}

int
generation_upper_remove(GenerationUpper *upper, const char *path)
{
  const GenerationDirectory *directory;
  const char *name;
  GenerationEntry entry;
  guint64 inside = 0;
  int failure = generation_upper_look(upper, path, FALSE, &directory, &name, &entry);
  if (failure == ENOENT || failure == ENOTDIR || (!failure && !entry.status.st_mode))
    return 0;
  if (!failure && S_ISDIR(entry.status.st_mode))
    failure = generation_stack_count(upper->stack, path, &inside);
  if (!failure)
    failure = blot_out(upper, path);
  if (!failure)
    upper->nodes -= 1 + inside;
  return failure;
}

/* Puts the file or node `fresh`, of the layer's root, at `path`. */
static int
put(GenerationUpper *upper, const char *fresh, const char *path)
{
  const GenerationDirectory *directory;
  const char *name;
  GenerationEntry entry;
  int failure = generation_upper_look(upper, path, TRUE, &directory, &name, &entry);
  gboolean replaces_directory = !failure && S_ISDIR(entry.status.st_mode);
  if (replaces_directory) {
    failure = generation_upper_remove(upper, path);
    if (!failure)
      failure = generation_upper_look(upper, path, TRUE, &directory, &name, &entry);
  }
  if (failure)
    return failure;
  int above = generation_directory_upper(directory);
  struct stat before;
  if (fstat(above, &before) < 0 || renameat(upper->base, fresh, above, name) < 0)
    return errno;
  set_times_back(above, &before);
  upper->nodes += !entry.status.st_mode;
  return 0;
}

/* Makes `fresh` in the layer's root a further name of an inode in any layer, or a copy of it where that
 * cannot be (too many names). */
static int
link_fresh(GenerationUpper *upper, const GenerationEntry *entry, const char *name, const char *path)
{
  unlinkat(upper->base, GENERATION_FRESH, 0);
  if (linkat(entry->fd, name, upper->base, GENERATION_FRESH, 0) == 0)
    return 0;
  if (errno != EMLINK && errno != EPERM && errno != EXDEV)
    return errno;
  g_auto(ReplicaFacts) facts = {0};
  int failure = replica_facts_read_at(entry->fd, name, REPLICA_READ_ALL, NULL, &facts);
  if (!failure)
    failure = generation_copy_node(entry->fd, name, &facts, upper->base, GENERATION_FRESH);
  return failure
             ? failure
             : generation_facts_set(upper->base, GENERATION_FRESH, &facts, of_device(path), &upper->losses);
}

int
generation_upper_link(GenerationUpper *upper, const char *path, const char *to)
{
  const GenerationDirectory *directory;
  const char *name;
  GenerationEntry target, entry;
  int failure = find(upper, to, FALSE, &directory, &name, &target);
  if (!failure && S_ISDIR(target.status.st_mode))
    failure = EISDIR;
  if (!failure)
    failure = link_fresh(upper, &target, name, path);
  if (!failure)
    failure = generation_upper_look(upper, path, FALSE, &directory, &name, &entry);
  if (failure)
    return failure;
  if (entry.status.st_mode && entry.status.st_ino == target.status.st_ino) /* rename() would do nothing */
    return unlinkat(upper->base, GENERATION_FRESH, 0) < 0 ? errno : 0;
  return put(upper, GENERATION_FRESH, path);
}

static int
move_file(GenerationUpper *upper, const char *from, const char *name, const GenerationEntry *entry,
          const char *to)
{
  int failure = link_fresh(upper, entry, name, to);
  if (!failure)
    failure = put(upper, GENERATION_FRESH, to);
  if (failure)
    return failure;
  upper->nodes--; /* put() counted it as a further one */
  return blot_out(upper, from);
}

/* Where a directory is built out of what several layers have. */
typedef struct {
  GenerationUpper *upper;
  const char *from, *to;
  GPtrArray *waiting; /* paths below, of char *, parents first */
} Graft;

static int
graft_entry(const Graft *graft, const GenerationDirectory *source, int target, const char *name,
            const char *below)
{
  GenerationEntry entry;
  int failure = generation_directory_look(source, name, &entry);
  if (failure)
    return failure;
  if (S_ISDIR(entry.status.st_mode)) {
    g_ptr_array_add(graft->waiting, replica_path_join(below, name));
    return mkdirat(target, name, 0700) < 0 ? errno : 0;
  }
  g_autofree char *path = replica_path_join(graft->to, name);
  failure = link_fresh(graft->upper, &entry, name, path);
  return !failure && renameat(graft->upper->base, GENERATION_FRESH, target, name) < 0 ? errno : failure;
}

static int
graft_directory(const Graft *graft, const char *below)
{
  g_autofree char *from = replica_path_join(graft->from, below), *to = replica_path_join(graft->to, below);
  g_auto(GenerationDirectory) source = {0}, target = {0};
  g_autoptr(GPtrArray) names = NULL;
  g_auto(ReplicaFacts) facts = {0};
  int failure = generation_stack_open(graft->upper->stack, from, &source);
  if (!failure)
    failure = generation_stack_open(graft->upper->stack, to, &target);
  if (!failure)
    failure = replica_facts_read_at(generation_directory_top(&source), ".", REPLICA_READ_ALL, NULL, &facts);
  if (!failure)
    failure = generation_directory_list(&source, FALSE, &names);
  for (guint i = 0; !failure && i < names->len; i++)
    failure = graft_entry(graft, &source, generation_directory_upper(&target), names->pdata[i], below);
  return failure ? failure
                 : generation_facts_set(generation_directory_upper(&target), ".", &facts, of_device(to),
                                        &graft->upper->losses);
}

static int
graft(GenerationUpper *upper, const char *from, const char *to)
{
  g_autoptr(GPtrArray) waiting = g_ptr_array_new_with_free_func(g_free);
  Graft all = {.upper = upper, .from = from, .to = to, .waiting = waiting};
  g_ptr_array_add(waiting, g_strdup(""));
  int failure = 0;
  while (!failure && waiting->len > 0) {
    g_autofree char *below = g_ptr_array_steal_index(waiting, waiting->len - 1);
    failure = graft_directory(&all, below);
  }
  return failure;
}

/* Whether a directory is in the top layer alone. */
static int
is_pure(GenerationUpper *upper, const char *path, gboolean *pure)
{
  g_auto(GenerationDirectory) directory = {0};
  int failure = generation_stack_open(upper->stack, path, &directory);
  *pure = !failure && directory.parts->len == 1 && generation_directory_upper(&directory) >= 0;
  return failure;
}

/* Renames a directory of the top layer, or makes an empty one; either hides what is below it. */
static int
put_directory(GenerationUpper *upper, const char *from, const char *to)
{
  const GenerationDirectory *directory;
  const char *name, *old_name = NULL;
  GenerationEntry entry;
  struct stat old_before, before;
  g_auto(Fd) old = -1;
  int failure = 0;
  if (from) {
    failure = generation_upper_look(upper, from, TRUE, &directory, &old_name, &entry);
    if (!failure && (old = fcntl(generation_directory_upper(directory), F_DUPFD_CLOEXEC, 3)) < 0)
      failure = errno;
    if (!failure && fstat(old, &old_before) < 0)
      failure = errno;
  }
  if (!failure)
    failure = generation_upper_look(upper, to, TRUE, &directory, &name, &entry);
  if (failure)
    return failure;
  int above = generation_directory_upper(directory);
  if (fstat(above, &before) < 0)
    return errno;
  if (entry.lower && unlinkat(above, name, 0) < 0 && errno != ENOENT) /* the whiteout */
    return errno;
  if (from ? renameat(old, old_name, above, name) < 0 : mkdirat(above, name, 0700) < 0)
    return errno;
  failure = entry.lower ? make_opaque(above, name) : 0;
  set_times_back(above, &before);
  if (from)
    set_times_back(old, &old_before);
  forget_near(upper); /* it may have been in what moved */
  return failure;
}

static int
move_directory(GenerationUpper *upper, const char *from, const char *to)
{
  gboolean pure;
  int failure = generation_upper_remove(upper, to);
  if (!failure)
    failure = is_pure(upper, from, &pure);
  if (failure)
    return failure;
  failure = put_directory(upper, pure ? from : NULL, to);
  if (!failure && !pure)
    failure = graft(upper, from, to);
  return failure ? failure : blot_out(upper, from); /* also what a renamed one has hidden */
}

int
generation_upper_move(GenerationUpper *upper, const char *from, const char *to)
{
  const GenerationDirectory *directory;
  const char *name;
  GenerationEntry entry;
  int failure = find(upper, from, FALSE, &directory, &name, &entry);
  if (failure)
    return failure;
  if (S_ISDIR(entry.status.st_mode))
    return move_directory(upper, from, to);
  return move_file(upper, from, name, &entry, to);
}

static int
set_facts(GenerationUpper *upper, const char *path, const ReplicaFacts *facts)
{
  const GenerationDirectory *directory;
  const char *name;
  GenerationEntry entry;
  int failure = find(upper, path, TRUE, &directory, &name, &entry);
  return failure ? failure
                 : generation_facts_set(generation_directory_upper(directory), name, facts, of_device(path),
                                        &upper->losses);
}

int
generation_upper_directory(GenerationUpper *upper, const char *path, const ReplicaFacts *facts)
{
  const GenerationDirectory *directory;
  const char *name;
  GenerationEntry entry;
  int failure = generation_upper_look(upper, path, TRUE, &directory, &name, &entry);
  if (failure)
    return failure;
  if (!S_ISDIR(entry.status.st_mode)) {
    failure = generation_upper_remove(upper, path);
    if (!failure)
      failure = put_directory(upper, NULL, path);
    upper->nodes += !failure;
  } else {
    failure = go_to(upper, path, TRUE);
  }
  return failure ? failure : set_facts(upper, path, facts);
}

/* What is at `path` becomes an inode that is the layer's own. */
static int
make_own(GenerationUpper *upper, const char *path, const GenerationEntry *entry, const char *name,
         const ReplicaFacts *facts)
{
  int failure = generation_copy_node(entry->fd, name, facts, upper->base, GENERATION_FRESH);
  if (!failure)
    failure = generation_facts_set(upper->base, GENERATION_FRESH, facts, of_device(path), &upper->losses);
  return failure ? failure : put(upper, GENERATION_FRESH, path);
}

static gboolean
is_same_node(const ReplicaFacts *there, const ReplicaFacts *facts)
{
  return replica_facts_equal(there, facts, REPLICA_FACT_TYPE | REPLICA_FACT_RDEV | REPLICA_FACT_TARGET);
}

static int
make_node(GenerationUpper *upper, const char *path, const ReplicaFacts *facts)
{
  gboolean stands_in;
  unlinkat(upper->base, GENERATION_FRESH, 0);
  int failure = generation_node_make(upper->base, GENERATION_FRESH, facts, &stands_in);
  if (!failure && stands_in)
    generation_losses_add(&upper->losses, GENERATION_LOST_NODE, of_device(path));
  if (!failure)
    failure = generation_facts_set(upper->base, GENERATION_FRESH, facts, of_device(path), &upper->losses);
  return failure ? failure : put(upper, GENERATION_FRESH, path);
}

int
generation_upper_node(GenerationUpper *upper, const char *path, const ReplicaFacts *facts)
{
  const GenerationDirectory *directory;
  const char *name;
  GenerationEntry entry;
  g_auto(ReplicaFacts) there = {0};
  int failure = generation_upper_look(upper, path, FALSE, &directory, &name, &entry);
  if (!failure && entry.status.st_mode) {
    failure = replica_facts_read_at(entry.fd, name, REPLICA_READ_ALL, NULL, &there);
    if (!failure)
      generation_node_recognise(entry.fd, name, &there);
  }
  if (failure)
    return failure;
  if (facts->type == REPLICA_FILE && there.type != REPLICA_FILE)
    return ENOENT;
  if (!is_same_node(&there, facts))
    return make_node(upper, path, facts);
  /* An unmapped id, which is equal to every other, is just one here. */
  if (entry.status.st_nlink == 1 && there.uid == facts->uid && there.gid == facts->gid &&
      replica_facts_equal(&there, facts, REPLICA_FACT_METADATA))
    return 0;
  if (is_own(&entry))
    return set_facts(upper, path, facts);
  return facts->type == REPLICA_FILE ? make_own(upper, path, &entry, name, facts)
                                     : make_node(upper, path, facts);
}

int
generation_upper_content(GenerationUpper *upper, const char *path, const ReplicaFacts *facts)
{
  int failure = generation_facts_set(upper->base, GENERATION_CONTENT, facts, of_device(path), &upper->losses);
  return failure ? failure : put(upper, GENERATION_CONTENT, path);
}
