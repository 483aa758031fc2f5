/* Each directory, by inotify: a watch follows its directory wherever it is moved to, but says no path. The
 * directories are therefore kept here as a tree of names, which follows the renames that are told. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "replica/path.h"
#include "replica/tree_events.h"
#include "replica/tree_walk.h"
#include "replica/tree_watch_private.h"

#define BUFFER (64u << 10)
#define CHANGES                                                                                              \
  (IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |            \
   IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK)

typedef struct Node {
  struct Node *parent; /* NULL: the root, or moved away from what is watched */
  char *name;
  int watch;
  GHashTable *children; /* name (the child's) to Node, which is its; NULL: none */
} Node;

struct TreeInotify {
  TreeWatch *watch;
  Fd fd, root_fd;
  Node *root;
  GHashTable *nodes;     /* watch to Node */
  GHashTable *moving;    /* cookie to Node: moved away, and not arrived yet */
  GHashTable *displaced; /* place (a text) to Node: what something else came to the place of. Two that
                            are exchanged come before they go */
  gboolean full;         /* there are no more watches to be had */
};

/* ---- the tree of names ---- */

static void
node_free(gpointer data)
{
  Node *node = data;
  g_clear_pointer(&node->children, g_hash_table_unref);
  g_free(node->name);
  g_free(node);
}

/* The path below the root, or below what has moved away from it. *in (may be NULL): which of them. */
static char *
node_path(const Node *node, const Node **in)
{
  gsize length = 0;
  for (const Node *at = node; at->parent; at = at->parent)
    length += strlen(at->name) + 1;
  char *path = g_malloc0(MAX(length, 1)), *end = path + length;
  for (; node->parent; node = node->parent) {
    gsize own = strlen(node->name);
    end -= own + 1;
    memcpy(end, node->name, own);
    end[own] = end + own + 1 == path + length ? '\0' : '/';
  }
  if (in)
    *in = node;
  return path;
}

/* How many directories it is below the root. */
static guint
node_depth(const Node *node)
{
  guint depth = 0;
  for (; node->parent; node = node->parent)
    depth++;
  return depth;
}

/* How many directories there are in each other in it. */
static guint
node_height(const Node *node)
{
  GHashTableIter each;
  gpointer child;
  guint most = 0;
  if (!node->children)
    return 0;
  g_hash_table_iter_init(&each, node->children);
  while (g_hash_table_iter_next(&each, NULL, &child)) {
    guint height = 1 + node_height(child);
    most = MAX(most, height);
  }
  return most;
}

static Node *
node_child(const Node *node, const char *name)
{
  return node->children ? g_hash_table_lookup(node->children, name) : NULL;
}

static void
node_attach(Node *parent, Node *child, const char *name)
{
  g_free(child->name);
  child->name = g_strdup(name);
  child->parent = parent;
  if (!parent->children)
    parent->children = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, node_free);
  g_hash_table_replace(parent->children, child->name, child);
}

static Node *
node_detach(Node *child)
{
  g_hash_table_steal(child->parent->children, child->name);
  child->parent = NULL;
  return child;
}

/* No more is heard of what is in it. */
static void
forget(TreeInotify *inotify, Node *node)
{
  GHashTableIter each;
  gpointer child;
  if (node->children) {
    g_hash_table_iter_init(&each, node->children);
    while (g_hash_table_iter_next(&each, NULL, &child))
      forget(inotify, child);
  }
  if (node->watch >= 0 && g_hash_table_lookup(inotify->nodes, GINT_TO_POINTER(node->watch)) == node) {
    g_hash_table_remove(inotify->nodes, GINT_TO_POINTER(node->watch));
    inotify_rm_watch(inotify->fd, node->watch);
  }
}

static void
drop(TreeInotify *inotify, Node *node)
{
  forget(inotify, node);
  if (node->parent)
    node_detach(node);
  node_free(node);
}

/* ---- directories ---- */

static gboolean
is_entered(int fd, const struct stat *in)
{
  struct stat status;
  g_auto(ReplicaFacts) facts = {0};
  struct statfs fs;
  if (fstat(fd, &status) < 0)
    return FALSE;
  if (status.st_dev == in->st_dev)
    return TRUE;
  /* linux/magic.h: TMPFS_MAGIC and RAMFS_MAGIC, as in tree_scan.c */
  return replica_facts_read_at(fd, ".", REPLICA_READ_PSEUDO, NULL, &facts) == 0 && !facts.pseudo &&
         fstatfs(fd, &fs) == 0 && (guint32)fs.f_type != 0x01021994u && (guint32)fs.f_type != 0x858458f6u;
}

static void
set_watch(TreeInotify *inotify, Node *node, int watch)
{
  Node *before = g_hash_table_lookup(inotify->nodes, GINT_TO_POINTER(watch));
  if (before && before != node && before->watch == watch) /* it has moved here, which is told later */
    before->watch = -1;
  if (node->watch >= 0 && node->watch != watch &&
      g_hash_table_lookup(inotify->nodes, GINT_TO_POINTER(node->watch)) == node)
    g_hash_table_remove(inotify->nodes, GINT_TO_POINTER(node->watch)); /* another one has its place by now */
  node->watch = watch;
  g_hash_table_insert(inotify->nodes, GINT_TO_POINTER(watch), node);
}

/* Watches one directory. FALSE: it cannot be, and what is in it neither. */
static gboolean
watch_one(TreeInotify *inotify, Node *node, int fd)
{
  char proc[64];
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
  int watch = inotify_add_watch(inotify->fd, proc, CHANGES);
  if (watch >= 0)
    set_watch(inotify, node, watch);
  else
    inotify->full = inotify->full || errno == ENOSPC || errno == ENOMEM;
  return watch >= 0;
}

static gboolean
is_directory(int fd, const struct dirent *entry)
{
  struct stat status;
  if (entry->d_type != DT_UNKNOWN)
    return entry->d_type == DT_DIR;
  return fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) == 0 &&
         S_ISDIR(status.st_mode);
}

/* Takes `fd`. */
static void
add_children(TreeInotify *inotify, Node *node, const char *path, int fd, GQueue *todo)
{
  DIR *stream = fdopendir(fd);
  if (!stream) {
    close(fd);
    return;
  }
  for (const struct dirent *entry; (entry = readdir(stream));) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
        !is_directory(dirfd(stream), entry))
      continue;
    g_autofree char *below = replica_path_join(path, entry->d_name);
    if (tree_rules_omit(inotify->watch->rules, below, TRUE, NULL))
      continue;
    Node *child = node_child(node, entry->d_name);
    if (!child) {
      child = g_new0(Node, 1);
      child->watch = -1;
      node_attach(node, child, entry->d_name);
    }
    g_queue_push_tail(todo, child);
  }
  closedir(stream);
}

/* Watches a directory and all that is in it, anew where it is watched already: first the directory, then what
 * it holds by then, so that nothing can come in between. What is deeper than a scan goes is left alone. */
static void
watch_below(TreeInotify *inotify, Node *first)
{
  GQueue todo = G_QUEUE_INIT;
  struct stat in;
  if (fstat(inotify->root_fd, &in) < 0)
    return;
  g_queue_push_tail(&todo, first);
  for (Node *node; !inotify->full && (node = g_queue_pop_head(&todo));) {
    g_autofree char *path = node_path(node, NULL);
    g_auto(Fd) fd = tree_walk_open(inotify->root_fd, path, TRUE);
    if (fd >= 0 && is_entered(fd, &in) && watch_one(inotify, node, fd) && node_depth(node) < TREE_DEPTH_MAX)
      add_children(inotify, node, path, io_steal_fd(&fd), &todo);
  }
  g_queue_clear(&todo);
}

static void
watch_new(TreeInotify *inotify, Node *parent, const char *name)
{
  g_autofree char *path = node_path(parent, NULL);
  g_autofree char *below = replica_path_join(path, name);
  Node *before = node_child(parent, name);
  if (before)
    drop(inotify, before);
  if (tree_rules_omit(inotify->watch->rules, below, TRUE, NULL) || node_depth(parent) >= TREE_DEPTH_MAX)
    return;
  Node *child = g_new0(Node, 1);
  child->watch = -1;
  node_attach(parent, child, name);
  watch_below(inotify, child);
}

/* ---- events ---- */

static char *
place_of(const Node *parent, const char *name)
{
  return g_strdup_printf("%d/%s", parent->watch, name);
}

/* What has its place taken: it was replaced, or it is still to go. */
static void
displace(TreeInotify *inotify, Node *parent, const char *name)
{
  gpointer other, key;
  Node *child = node_child(parent, name);
  if (!child)
    return;
  g_autofree char *place = place_of(parent, name);
  if (g_hash_table_steal_extended(inotify->displaced, place, &key, &other)) {
    g_free(key);
    drop(inotify, other);
  }
  g_hash_table_insert(inotify->displaced, g_steal_pointer(&place), node_detach(child));
}

static void
depart(TreeInotify *inotify, Node *parent, const TreeInotifyEvent *event)
{
  g_autofree char *place = place_of(parent, event->name);
  gpointer cookie, other, key, gone;
  if (g_hash_table_steal_extended(inotify->displaced, place, &key, &gone)) {
    g_free(key);
    g_hash_table_replace(inotify->moving, GUINT_TO_POINTER(event->cookie), gone);
    return;
  }
  Node *child = node_child(parent, event->name);
  if (child && g_hash_table_steal_extended(inotify->moving, GUINT_TO_POINTER(event->cookie), &cookie, &other))
    drop(inotify, other);
  if (child)
    g_hash_table_replace(inotify->moving, GUINT_TO_POINTER(event->cookie), node_detach(child));
}

static void
arrive(TreeInotify *inotify, Node *parent, const TreeInotifyEvent *event)
{
  gpointer cookie, node;
  displace(inotify, parent, event->name);
  if (!g_hash_table_steal_extended(inotify->moving, GUINT_TO_POINTER(event->cookie), &cookie, &node)) {
    watch_new(inotify, parent, event->name);
    return;
  }
  g_autofree char *path = node_path(parent, NULL);
  g_autofree char *below = replica_path_join(path, event->name);
  if (tree_rules_omit(inotify->watch->rules, below, TRUE, NULL)) {
    drop(inotify, node);
    return;
  }
  if (node_depth(parent) + 1 + node_height(node) > TREE_DEPTH_MAX) {
    drop(inotify, node);
    watch_new(inotify, parent, event->name);
    return;
  }
  node_attach(parent, node, event->name);
  /* When it was told of first, something else may have been at its place, or nothing. */
  watch_below(inotify, node);
}

/* What happened to a directory in a directory. */
static void
follow(TreeInotify *inotify, Node *node, const TreeInotifyEvent *event)
{
  Node *child = node_child(node, event->name);
  if (event->mask & IN_MOVED_FROM)
    depart(inotify, node, event);
  else if (event->mask & IN_MOVED_TO)
    arrive(inotify, node, event);
  else if (event->mask & IN_CREATE)
    watch_new(inotify, node, event->name);
  else if (event->mask & IN_DELETE && child)
    drop(inotify, child);
  else if (event->mask & IN_ATTRIB && (!child || child->watch < 0)) /* it may be readable now */
    watch_new(inotify, node, event->name);
}

/* FALSE: the root is gone. */
static gboolean
take_event(TreeInotify *inotify, const TreeInotifyEvent *event)
{
  Node *node = g_hash_table_lookup(inotify->nodes, GINT_TO_POINTER(event->watch));
  if (!node)
    return TRUE;
  if (event->mask & (IN_IGNORED | IN_UNMOUNT)) {
    g_hash_table_remove(inotify->nodes, GINT_TO_POINTER(event->watch));
    node->watch = -1;
    return node != inotify->root;
  }
  if (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF))
    return node != inotify->root;
  const Node *in;
  g_autofree char *path = node_path(node, &in);
  if (in != inotify->root) /* it is scanned as a whole where it arrives */
    return TRUE;
  tree_watch_add(inotify->watch, path);
  if (event->mask & IN_ISDIR && event->name)
    follow(inotify, node, event);
  return TRUE;
}

static void
drop_all(TreeInotify *inotify, GHashTable *nodes)
{
  GHashTableIter each;
  gpointer node;
  g_hash_table_iter_init(&each, nodes);
  while (g_hash_table_iter_next(&each, NULL, &node))
    forget(inotify, node);
  g_hash_table_remove_all(nodes);
}

gboolean
tree_inotify_take(TreeInotify *inotify, const char **why)
{
  guint8 bytes[BUFFER] __attribute__((aligned(8)));
  ssize_t length;
  TreeInotifyEvent event;
  TreeEventKind kind;
  *why = "more changed at once than the kernel keeps in mind";
  for (guint reads = 0; reads < TREE_WATCH_READS && (length = read(inotify->fd, bytes, sizeof bytes)) > 0;
       reads++)
    for (gsize at = 0; (kind = tree_events_inotify(bytes, length, &at, &event)) != TREE_EVENT_END;) {
      if (kind == TREE_EVENT_LOST)
        return FALSE;
      if (!take_event(inotify, &event)) {
        *why = "the tree's root was moved or removed";
        return FALSE;
      }
    }
  drop_all(inotify, inotify->moving); /* out of the tree */
  drop_all(inotify, inotify->displaced);
  *why = "there are more directories than watches";
  return !inotify->full;
}

/* ---- the whole ---- */

void
tree_inotify_free(TreeInotify *inotify)
{
  if (!inotify)
    return;
  io_close(&inotify->fd);
  io_close(&inotify->root_fd);
  g_hash_table_unref(inotify->moving);
  g_hash_table_unref(inotify->displaced);
  g_hash_table_unref(inotify->nodes);
  node_free(inotify->root);
  g_free(inotify);
}

int
tree_inotify_fd(const TreeInotify *inotify)
{
  return inotify->fd;
}

guint
tree_inotify_count(const TreeInotify *inotify)
{
  return g_hash_table_size(inotify->nodes);
}

TreeInotify *
tree_inotify_new(TreeWatch *watch, char **why)
{
  TreeInotify *inotify = g_new0(TreeInotify, 1);
  inotify->watch = watch;
  inotify->nodes = g_hash_table_new(g_direct_hash, g_direct_equal);
  inotify->moving = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, node_free);
  inotify->displaced = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, node_free);
  inotify->root = g_new0(Node, 1);
  inotify->root->watch = -1;
  inotify->root_fd = open(watch->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  inotify->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (inotify->fd < 0)
    *why = g_strdup_printf("inotify cannot be used (%s; fs.inotify.max_user_instances limits it)",
                           g_strerror(errno));
  else if (inotify->root_fd < 0)
    *why = g_strdup_printf("%s cannot be watched (%s)", watch->root, g_strerror(errno));
  if (inotify->fd >= 0 && inotify->root_fd >= 0)
    watch_below(inotify, inotify->root);
  if (inotify->full)
    *why = g_strdup_printf("inotify has no watches left after %u directories: raise "
                           "fs.inotify.max_user_watches (sysctl(8))",
                           tree_inotify_count(inotify));
  else if (inotify->root->watch < 0 && !*why)
    *why = g_strdup_printf("%s cannot be watched by inotify", watch->root);
  if (inotify->root->watch >= 0 && !inotify->full)
    return inotify;
  tree_inotify_free(inotify);
  return NULL;
}
