#include "replica/generation_stack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/io.h"
#include "replica/path.h"

#define AS_DIRECTORY (O_PATH | O_DIRECTORY)

GenerationStack *
generation_stack_new(void)
{
  GenerationStack *stack = g_new0(GenerationStack, 1);
  stack->layers = g_array_new(FALSE, FALSE, sizeof(int));
  g_array_set_clear_func(stack->layers, (GDestroyNotify)io_close);
  return stack;
}

void
generation_stack_free(GenerationStack *stack)
{
  if (!stack)
    return;
  g_array_unref(stack->layers);
  g_free(stack);
}

void
generation_stack_add(GenerationStack *stack, int layer)
{
  g_array_append_val(stack->layers, layer);
}

static void
part_clear(gpointer part)
{
  io_close(&((GenerationPart *)part)->fd);
}

static void
directory_init(GenerationDirectory *directory)
{
  directory->parts = g_array_new(FALSE, FALSE, sizeof(GenerationPart));
  g_array_set_clear_func(directory->parts, part_clear);
}

void
generation_directory_clear(GenerationDirectory *directory)
{
  g_clear_pointer(&directory->parts, g_array_unref);
}

static const GenerationPart *
part_at(const GenerationDirectory *directory, guint index)
{
  return &g_array_index(directory->parts, GenerationPart, index);
}

int
generation_directory_upper(const GenerationDirectory *directory)
{
  return part_at(directory, 0)->layer == 0 ? part_at(directory, 0)->fd : -1;
}

int
generation_directory_top(const GenerationDirectory *directory)
{
  return part_at(directory, 0)->fd;
}

gboolean
generation_is_opaque(int fd)
{
  char proc[REPLICA_PROC_MAX], value;
  replica_path_proc_fd(proc, fd);
  return getxattr(proc, GENERATION_OPAQUE, &value, 1) == 1 && value == 'y';
}

static int
open_root(const GenerationStack *stack, GenerationDirectory *directory)
{
  directory_init(directory);
  for (guint i = 0; i < stack->layers->len; i++) {
    GenerationPart part = {.layer = i, .fd = fcntl(g_array_index(stack->layers, int, i), F_DUPFD_CLOEXEC, 3)};
    if (part.fd < 0) {
      int failure = errno;
      generation_directory_clear(directory);
      return failure;
    }
    g_array_append_val(directory->parts, part);
  }
  return 0;
}

int
generation_directory_open(const GenerationDirectory *in, const char *name, GenerationDirectory *child)
{
  int failure = ENOENT;
  directory_init(child);
  for (guint i = 0; i < in->parts->len; i++) {
    GenerationPart part = {.layer = part_at(in, i)->layer,
                           .fd = replica_path_open_child(part_at(in, i)->fd, name, AS_DIRECTORY)};
    if (part.fd < 0 && errno == ENOENT)
      continue;
    if (part.fd < 0) { /* a file, a link or a whiteout ends what is merged; all else is a failure */
      if (child->parts->len == 0 || errno != ENOTDIR)
        failure = errno;
      break;
    }
    failure = 0;
    g_array_append_val(child->parts, part);
    if (i + 1 < in->parts->len && generation_is_opaque(part.fd))
      break;
  }
  if (failure)
    generation_directory_clear(child);
  return failure;
}

int
generation_stack_open(const GenerationStack *stack, const char *path, GenerationDirectory *directory)
{
  int failure = open_root(stack, directory);
  while (!failure && *path) {
    const char *end = strchrnul(path, '/');
    char name[REPLICA_NAME_MAX + 1];
    GenerationDirectory child = {0};
    if (end - path > REPLICA_NAME_MAX) {
      failure = ENAMETOOLONG;
    } else {
      memcpy(name, path, end - path);
      name[end - path] = '\0';
      failure = generation_directory_open(directory, name, &child);
    }
    generation_directory_clear(directory);
    *directory = child;
    path = *end ? end + 1 : end;
  }
  return failure;
}

gboolean
generation_is_whiteout(const struct stat *status)
{
  return S_ISCHR(status->st_mode) && status->st_rdev == makedev(0, 0);
}

int
generation_directory_look(const GenerationDirectory *directory, const char *name, GenerationEntry *entry)
{
  *entry = (GenerationEntry){.fd = -1};
  gboolean decided = FALSE;
  for (guint i = 0; i < directory->parts->len; i++) {
    const GenerationPart *part = part_at(directory, i);
    struct stat status;
    if (fstatat(part->fd, name, &status, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0) {
      if (errno != ENOENT)
        return errno;
      continue;
    }
    gboolean something = !generation_is_whiteout(&status);
    if (!decided && something) {
      entry->status = status;
      entry->fd = part->fd;
      entry->layer = part->layer;
    }
    decided = TRUE;
    if (part->layer > 0) {
      entry->lower = something;
      break;
    }
  }
  return 0;
}

int
generation_stack_find(const GenerationStack *stack, const char *path, GenerationDirectory *directory,
                      const char **name, GenerationEntry *entry)
{
  g_autofree char *parent = replica_path_parent(path);
  *name = *parent ? path + strlen(parent) + 1 : path;
  int failure = generation_stack_open(stack, parent, directory);
  if (!failure)
    failure = generation_directory_look(directory, *name, entry);
  if (!failure && !entry->status.st_mode)
    failure = ENOENT;
  if (failure)
    generation_directory_clear(directory);
  return failure;
}

static gboolean
says_absent(int fd, const struct dirent *entry)
{
  struct stat status;
  return (entry->d_type == DT_CHR || entry->d_type == DT_UNKNOWN) &&
         fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 && generation_is_whiteout(&status);
}

static int
list_part(int fd, GHashTable *seen)
{
  Fd readable = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *listing = readable < 0 ? NULL : fdopendir(readable);
  if (!listing) {
    int failure = errno;
    io_close(&readable);
    return failure;
  }
  errno = 0;
  for (struct dirent *entry; (entry = readdir(listing)); errno = 0) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
        g_hash_table_contains(seen, entry->d_name))
      continue;
    g_hash_table_insert(seen, g_strdup(entry->d_name), GINT_TO_POINTER(!says_absent(readable, entry)));
  }
  int failure = errno;
  closedir(listing);
  return failure;
}

static int
compare_names(gconstpointer a, gconstpointer b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int
generation_directory_list(const GenerationDirectory *directory, gboolean whiteouts, GPtrArray **names)
{
  g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  for (guint i = 0; i < directory->parts->len; i++) {
    int failure = list_part(part_at(directory, i)->fd, seen);
    if (failure)
      return failure;
  }
  *names = g_ptr_array_new_with_free_func(g_free);
  GHashTableIter iterator;
  gpointer name, present;
  g_hash_table_iter_init(&iterator, seen);
  while (g_hash_table_iter_next(&iterator, &name, &present))
    if (present || whiteouts)
      g_ptr_array_add(*names, g_strdup(name));
  g_ptr_array_sort(*names, compare_names);
  return 0;
}

static int
visit_directory(const GenerationStack *stack, const char *path, const char *below, GenerationVisit visit,
                gpointer user_data, GPtrArray *waiting)
{
  g_autofree char *whole = replica_path_join(path, below);
  g_auto(GenerationDirectory) directory = {0};
  g_autoptr(GPtrArray) names = NULL;
  int failure = generation_stack_open(stack, whole, &directory);
  if (!failure)
    failure = generation_directory_list(&directory, FALSE, &names);
  guint directories = waiting->len;
  for (guint i = 0; !failure && i < names->len; i++) {
    GenerationEntry entry;
    g_autofree char *child = replica_path_join(below, names->pdata[i]);
    failure = generation_directory_look(&directory, names->pdata[i], &entry);
    if (!failure)
      failure = visit(&directory, names->pdata[i], &entry, child, user_data);
    if (!failure && S_ISDIR(entry.status.st_mode))
      g_ptr_array_insert(waiting, directories, g_steal_pointer(&child)); /* so that the first comes first */
  }
  return failure;
}

int
generation_stack_visit(const GenerationStack *stack, const char *path, GenerationVisit visit,
                       gpointer user_data)
{
  g_autoptr(GPtrArray) waiting = g_ptr_array_new_with_free_func(g_free);
  g_ptr_array_add(waiting, g_strdup(""));
  int failure = 0;
  while (!failure && waiting->len > 0) {
    g_autofree char *below = g_ptr_array_steal_index(waiting, waiting->len - 1);
    failure = visit_directory(stack, path, below, visit, user_data, waiting);
  }
  return failure;
}

static int
count_one(const GenerationDirectory *directory, const char *name, const GenerationEntry *entry,
          const char *below, gpointer user_data)
{
  (*(guint64 *)user_data)++;
  return 0;
}

int
generation_stack_count(const GenerationStack *stack, const char *path, guint64 *nodes)
{
  *nodes = 0;
  return generation_stack_visit(stack, path, count_one, nodes);
}
