#include "replica/tree_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/path.h"
#include "replica/tree_walk.h"

#define NOTES_MAX 1000
#define NS_PER_S  1000000000LL
#define HELD_MAX  200 /* of them open at once */

typedef struct {
  TreeIndex *index;
  const TreeRules *rules;
  TreePlan *plan;
  TreeNear near; /* for looking whether an old path is still what it was */
  int root;
  GString *path;        /* of what is being looked at */
  GHashTable *claimed;  /* nodes that are found to have moved */
  GHashTable *replaced; /* node to the number of the change that took its path, but not its inode */
  GHashTable *done;     /* directories of a limited scan */
  guint depth;
  gboolean limited;
  guint below_limit; /* more than 0: in something that a limited scan goes through as a whole */
  gboolean empty;    /* nothing was told yet */
} Scan;

static void
clear_change(TreeChange *change)
{
  g_free(change->path);
}

static GHashTable *
new_node_set(GDestroyNotify free_value)
{
  return g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, free_value);
}

static void
add_node(GHashTable *set, gint64 id)
{
  g_hash_table_add(set, g_memdup2(&id, sizeof id));
}

static TreePlan *
plan_new(void)
{
  TreePlan *plan = g_new0(TreePlan, 1);
  plan->changes = g_array_new(FALSE, FALSE, sizeof(TreeChange));
  g_array_set_clear_func(plan->changes, (GDestroyNotify)clear_change);
  plan->gone = new_node_set(NULL);
  plan->notes = g_ptr_array_new_with_free_func(g_free);
  return plan;
}

void
tree_plan_free(TreePlan *plan)
{
  if (!plan)
    return;
  g_array_unref(plan->changes);
  g_hash_table_unref(plan->gone);
  g_ptr_array_unref(plan->notes);
  g_free(plan);
}

static void
note(Scan *scan, const char *why)
{
  if (scan->plan->notes->len < NOTES_MAX)
    g_ptr_array_add(scan->plan->notes, g_strdup_printf("/%s: %s", scan->path->str, why));
}

static ReplicaType
type_of(const struct stat *status)
{
  switch (status->st_mode & S_IFMT) {
  case S_IFREG:
    return REPLICA_FILE;
  case S_IFDIR:
    return REPLICA_DIRECTORY;
  case S_IFLNK:
    return REPLICA_SYMLINK;
  case S_IFIFO:
    return REPLICA_FIFO;
  case S_IFCHR:
    return REPLICA_CHARACTER_DEVICE;
  case S_IFBLK:
    return REPLICA_BLOCK_DEVICE;
  default:
    return REPLICA_SOCKET;
  }
}

static gint64
nanoseconds(const struct timespec *time)
{
  return time->tv_sec * NS_PER_S + time->tv_nsec;
}

static gboolean
is_unchanged(const TreeNode *node, const struct stat *status)
{
  const ReplicaFacts *facts = &node->facts;
  return !node->dirty && facts->dev == status->st_dev && facts->ctime_ns == nanoseconds(&status->st_ctim) &&
         facts->mtime_ns == nanoseconds(&status->st_mtim) && facts->nlink == status->st_nlink &&
         (facts->type != REPLICA_FILE || facts->size == (guint64)status->st_size);
}

static void
add_change(Scan *scan, const struct stat *status, gint64 node, gint64 basis, gint64 in_way, gboolean moved)
{
  TreeChange change = {.path = g_strdup(scan->path->str),
                       .type = type_of(status),
                       .node = node,
                       .basis = basis,
                       .in_way = in_way,
                       .moved = moved,
                       .size = S_ISREG(status->st_mode) ? (guint64)status->st_size : 0,
                       .mtime_ns = nanoseconds(&status->st_mtim)};
  g_array_append_val(scan->plan->changes, change);
  if (change.type == REPLICA_FILE)
    scan->plan->bytes += status->st_size;
}

/* Whether the inode is verifiably no longer where the clone was told. Not so for what is in something that is
 * held: it could not be reached. */
static gboolean
has_left(Scan *scan, const TreeNode *node)
{
  if (node->parent == TREE_HOLD)
    return TRUE;
  g_autofree char *path = tree_index_path(scan->index, node->id);
  const char *name;
  struct stat status;
  int directory = path ? tree_near_parent(&scan->near, path, &name) : -1;
  if (!path || (directory < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP))
    return FALSE;
  if (directory < 0 || fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0)
    return directory < 0 || errno == ENOENT;
  return status.st_ino != node->facts.ino || type_of(&status) != node->facts.type;
}

/* A file whose path was taken by another inode can still turn up; a directory's content was compared already.
 */
static gboolean
may_be_claimed(Scan *scan, const TreeNode *node, ReplicaType type)
{
  return node->id != TREE_ROOT && node->facts.type == type &&
         !g_hash_table_contains(scan->claimed, &node->id) &&
         (type != REPLICA_DIRECTORY || !g_hash_table_contains(scan->replaced, &node->id));
}

static void
claim(Scan *scan, gint64 id)
{
  const gint64 *replaced = g_hash_table_lookup(scan->replaced, &id);
  if (replaced) {
    TreeChange *change = &g_array_index(scan->plan->changes, TreeChange, *replaced);
    change->basis = change->node;
    change->node = TREE_NONE;
  }
  g_hash_table_remove(scan->plan->gone, &id);
  add_node(scan->claimed, id);
}

/* Where a path had a file before, another's inode says little: whoever replaces many files, as an upgrade
 * does, gets the number that the last one had. A rename leaves size and time as they were. */
static gboolean
is_renamed(const TreeNode *node, const struct stat *status, const TreeNode *child)
{
  return !child || child->facts.type != REPLICA_FILE || !S_ISREG(status->st_mode) ||
         (node->facts.size == (guint64)status->st_size &&
          node->facts.mtime_ns == nanoseconds(&status->st_mtim));
}

/* The node that has become what is here under a new name, or NONE. */
static gint64
find_moved(Scan *scan, const struct stat *status, const TreeNode *child)
{
  if (scan->empty)
    return TREE_NONE;
  g_autoptr(GArray) nodes = tree_index_inode(scan->index, status->st_dev, status->st_ino);
  for (guint i = 0; i < nodes->len; i++) {
    const TreeNode *node = &g_array_index(nodes, TreeNode, i);
    if (may_be_claimed(scan, node, type_of(status)) && is_renamed(node, status, child) &&
        has_left(scan, node)) {
      claim(scan, node->id);
      return node->id;
    }
  }
  return TREE_NONE;
}

static void scan_directory(Scan *scan, int *fd, const struct stat *status, gint64 node);

/* tmpfs and its kin: what is in them is gone with the next start of the device. */
static gboolean
is_in_memory(int fd)
{
  struct statfs fs;
  return fstatfs(fd, &fs) == 0 && ((guint32)fs.f_type == TMPFS_MAGIC || (guint32)fs.f_type == RAMFS_MAGIC);
}

static gboolean
is_entered(Scan *scan, int fd, const struct stat *in, const struct stat *status)
{
  if (in->st_dev == status->st_dev)
    return TRUE;
  g_auto(ReplicaFacts) facts = {0};
  gboolean entered = replica_facts_read_at(fd, ".", REPLICA_READ_PSEUDO, NULL, &facts) == 0 &&
                     !facts.pseudo && !is_in_memory(fd);
  if (!entered)
    note(scan, "a file system that the kernel keeps in memory is mounted there");
  return entered;
}

static void
add_gone(Scan *scan, gint64 id)
{
  if (!g_hash_table_contains(scan->claimed, &id))
    add_node(scan->plan->gone, id);
}

static void
forget_children(Scan *scan, gint64 node)
{
  g_autoptr(GArray) children = node ? tree_index_children(scan->index, node) : NULL;
  for (guint i = 0; children && i < children->len; i++)
    add_gone(scan, g_array_index(children, TreeNode, i).id);
}

static void
go_down(Scan *scan, int directory, const char *name, const struct stat *in, const struct stat *status,
        gint64 node)
{
  if (scan->depth == TREE_DEPTH_MAX) {
    note(scan, "too many directories in each other");
    return;
  }
  g_auto(Fd) fd = directory < 0 ? tree_walk_open(scan->root, scan->path->str, TRUE)
                                : openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  scan->depth++;
  if (fd < 0)
    note(scan, g_strerror(errno));
  else if (!is_entered(scan, fd, in, status))
    forget_children(scan, node);
  else
    scan_directory(scan, &fd, status, node);
  scan->depth--;
}

/* The inode is the one that the clone was told of. A device number may be another after a restart. */
static gboolean
is_same(const TreeNode *node, const struct stat *status)
{
  return node->facts.ino == status->st_ino && node->facts.type == type_of(status);
}

/* Which node an entry is to be compared with: the child of its name, one that has moved here, or none. */
static gint64
choose_node(Scan *scan, const struct stat *status, const TreeNode *child, gboolean *moved)
{
  if (child && is_same(child, status))
    return child->id;
  gint64 node = find_moved(scan, status, child);
  *moved = node != TREE_NONE;
  if (!child)
    return node;
  if (node == TREE_NONE && child->facts.type == type_of(status)) {
    gint64 number = scan->plan->changes->len;
    g_hash_table_insert(scan->replaced, g_memdup2(&child->id, sizeof child->id),
                        g_memdup2(&number, sizeof number));
    return child->id;
  }
  add_gone(scan, child->id);
  return node;
}

static void
judge(Scan *scan, int directory, const TreeEntry *entry, const struct stat *in, const TreeNode *child)
{
  gboolean moved = FALSE;
  gint64 basis = TREE_NONE;
  if (child && g_hash_table_contains(scan->claimed, &child->id)) {
    basis = child->id;
    child = NULL;
  }
  gint64 node = choose_node(scan, &entry->status, child, &moved);
  gboolean same = child && node == child->id && is_same(child, &entry->status);
  if (!same || !is_unchanged(child, &entry->status))
    add_change(scan, &entry->status, node, node ? TREE_NONE : basis,
               child && child->id != node ? child->id : TREE_NONE, moved);
  if (!S_ISDIR(entry->status.st_mode) || (same && scan->limited))
    return;
  /* What has moved may have changed under its old name, which a limited scan cannot follow any more. */
  gboolean limited = scan->limited;
  scan->limited = FALSE;
  if (limited || scan->below_limit)
    g_hash_table_add(scan->done, g_strdup(scan->path->str));
  scan->below_limit += limited;
  go_down(scan, directory, entry->name, in, &entry->status, node);
  scan->below_limit -= limited;
  scan->limited = limited;
}

static gboolean
is_left_out(Scan *scan, const TreeEntry *entry)
{
  if (scan->path->len >= GENERATION_PATH_MAX) {
    note(scan, "its path is too long");
    return TRUE;
  }
  if (tree_rules_omit(scan->rules, scan->path->str, S_ISDIR(entry->status.st_mode), NULL))
    return TRUE;
  if (S_ISSOCK(entry->status.st_mode))
    note(scan, "a socket");
  return S_ISSOCK(entry->status.st_mode);
}

static void
scan_entry(Scan *scan, int directory, const TreeEntry *entry, const struct stat *in, const TreeNode *child)
{
  gsize length = scan->path->len;
  if (length)
    g_string_append_c(scan->path, '/');
  g_string_append(scan->path, entry->name);
  scan->plan->seen++;
  if (!is_left_out(scan, entry))
    judge(scan, directory, entry, in, child);
  else if (child)
    add_gone(scan, child->id);
  g_string_truncate(scan->path, length);
}

/* The directory is closed early where many are open already: -1 stands for it then. */
static void
scan_directory(Scan *scan, int *fd, const struct stat *status, gint64 node)
{
  g_autoptr(GArray) entries = tree_walk_list(*fd);
  if (!entries) {
    note(scan, g_strerror(errno));
    return;
  }
  if (scan->depth > HELD_MAX)
    io_close(fd);
  g_autoptr(GArray) children = node ? tree_index_children(scan->index, node) : NULL;
  guint next = 0, count = children ? children->len : 0;
  for (guint i = 0; i < entries->len; i++) {
    const TreeEntry *entry = &g_array_index(entries, TreeEntry, i);
    const TreeNode *child = NULL;
    for (int order = -1; next < count && order < 0; next += order <= 0) {
      const TreeNode *at = &g_array_index(children, TreeNode, next);
      order = strcmp(at->name, entry->name);
      if (order < 0)
        add_gone(scan, at->id);
      else if (order == 0)
        child = at;
    }
    scan_entry(scan, *fd, entry, status, child);
  }
  for (; next < count; next++)
    add_gone(scan, g_array_index(children, TreeNode, next).id);
}

/* The entries of one directory, or of the next one above that the clone knows under its path. */
static void
scan_named(Scan *scan, const char *path)
{
  g_autofree char *at = g_strdup(path);
  for (;;) {
    g_auto(TreeNode) node = {0};
    struct stat status;
    gboolean known = tree_index_node(scan->index, tree_index_find(scan->index, at), &node);
    g_auto(Fd) fd = known || !*at ? tree_walk_open(scan->root, at, TRUE) : -1;
    if (fd >= 0 && fstat(fd, &status) == 0 && (is_same(&node, &status) || !*at)) {
      g_string_assign(scan->path, at);
      if (!g_hash_table_add(scan->done, g_strdup(at)))
        return;
      if (!is_unchanged(&node, &status))
        add_change(scan, &status, known ? node.id : TREE_NONE, TREE_NONE, TREE_NONE, FALSE);
      scan_directory(scan, &fd, &status, known ? node.id : TREE_ROOT);
      return;
    }
    if (!*at)
      return;
    char *parent = replica_path_parent(at);
    g_free(at);
    at = parent;
  }
}

static int
compare_strings(gconstpointer a, gconstpointer b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void
scan_only(Scan *scan, const char *const *directories)
{
  g_autoptr(GPtrArray) sorted = g_ptr_array_new();
  for (; *directories; directories++)
    g_ptr_array_add(sorted, (gpointer)*directories);
  g_ptr_array_sort(sorted, compare_strings);
  for (guint i = 0; i < sorted->len; i++)
    scan_named(scan, sorted->pdata[i]);
}

/* In a limited scan a change of an inode is seen under one name; its other names, elsewhere, changed too. */
static void
add_other_names(Scan *scan)
{
  g_autoptr(GHashTable) there = g_hash_table_new(g_str_hash, g_str_equal);
  guint count = scan->plan->changes->len;
  for (guint i = 0; i < count; i++)
    g_hash_table_add(there, g_array_index(scan->plan->changes, TreeChange, i).path);
  for (guint i = 0; i < count; i++) {
    TreeChange change = g_array_index(scan->plan->changes, TreeChange, i);
    const char *name;
    struct stat status, other;
    int directory = tree_near_parent(&scan->near, change.path, &name);
    if (change.type == REPLICA_DIRECTORY || directory < 0 ||
        fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
      continue;
    g_autoptr(GArray) nodes = tree_index_inode(scan->index, status.st_dev, status.st_ino);
    for (guint n = 0; n < nodes->len; n++) {
      const TreeNode *node = &g_array_index(nodes, TreeNode, n);
      g_autofree char *path = tree_index_path(scan->index, node->id);
      directory =
          path && !g_hash_table_contains(there, path) ? tree_near_parent(&scan->near, path, &name) : -1;
      if (directory < 0 || fstatat(directory, name, &other, AT_SYMLINK_NOFOLLOW) < 0 ||
          !is_same(node, &other) || is_unchanged(node, &other))
        continue;
      g_string_assign(scan->path, path);
      add_change(scan, &other, node->id, TREE_NONE, TREE_NONE, FALSE);
    }
  }
}

static void
scan_all(Scan *scan, int *fd, const struct stat *status)
{
  g_auto(TreeNode) root = {0};
  scan->empty = !tree_index_node(scan->index, TREE_ROOT, &root);
  if (scan->empty || !is_unchanged(&root, status))
    add_change(scan, status, scan->empty ? TREE_NONE : TREE_ROOT, TREE_NONE, TREE_NONE, FALSE);
  scan_directory(scan, fd, status, TREE_ROOT);
}

TreePlan *
tree_scan(TreeIndex *index, const TreeRules *rules, int root, const char *const *directories, GError **error)
{
  g_auto(Fd) fd = tree_walk_open(root, "", TRUE);
  struct stat status;
  if (fd < 0 || fstat(fd, &status) < 0) {
    doppel_error_errno(error, "the tree that is to be replicated cannot be read");
    return NULL;
  }
  g_autoptr(TreePlan) plan = plan_new();
  Scan scan = {.index = index,
               .rules = rules,
               .plan = plan,
               .near = {.root = root},
               .root = root,
               .path = g_string_new(""),
               .claimed = new_node_set(NULL),
               .replaced = new_node_set(g_free),
               .done = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
               .limited = directories != NULL};
  if (directories) {
    scan_only(&scan, directories);
    add_other_names(&scan);
  } else {
    scan_all(&scan, &fd, &status);
  }
  tree_near_clear(&scan.near);
  g_string_free(scan.path, TRUE);
  g_hash_table_unref(scan.claimed);
  g_hash_table_unref(scan.replaced);
  g_hash_table_unref(scan.done);
  return tree_index_save(index, error) ? g_steal_pointer(&plan) : NULL;
}
