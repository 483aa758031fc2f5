#include "replica/baseline.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/path.h"

ReplicaNode *
replica_node_ref(ReplicaNode *node)
{
  node->refs++;
  return node;
}

void
replica_node_unref(ReplicaNode *node)
{
  if (--node->refs > 0)
    return;
  replica_mark_clear(&node->mark);
  g_clear_pointer(&node->blocks, replica_blocks_unref);
  g_clear_pointer(&node->children, g_hash_table_unref);
  g_free(node);
}

static ReplicaNode *
node_new(gboolean directory)
{
  ReplicaNode *node = g_new0(ReplicaNode, 1);
  node->refs = 1;
  if (directory)
    node->children =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)replica_node_unref);
  return node;
}

ReplicaNode *
replica_node_child(const ReplicaNode *node, const char *name)
{
  return node && node->children ? g_hash_table_lookup(node->children, name) : NULL;
}

/* One reading of the upper layer. */
typedef struct {
  const ReplicaLayer *layer;
  GHashTable *suspects;
  GString *path; /* where the reading is */
  GError **error;
} Reading;

static gboolean
fail(Reading *reading, int failure)
{
  errno = failure;
  if (failure == EOPNOTSUPP)
    return doppel_error_set(
        reading->error, DOPPEL_ERROR_UNSUPPORTED,
        "the session's overlay was mounted with metacopy or redirect_dir (%s has such a mark): mount it "
        "with metacopy=off,redirect_dir=off",
        reading->path->str);
  return doppel_error_errno(reading->error, "cannot read %s in the session's upper layer",
                            reading->path->str);
}

static gboolean
unchanged(const ReplicaNode *last, int directory, const char *name)
{
  ReplicaFacts now = {0};
  struct stat st;
  if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return FALSE;
  now.dev = st.st_dev;
  now.ino = st.st_ino;
  now.ctime_ns = st.st_ctim.tv_sec * 1000000000LL + st.st_ctim.tv_nsec;
  return replica_facts_equal(&last->mark.facts, &now, REPLICA_FACT_INODE) &&
         !replica_facts_racy(&last->mark.facts, last->read_ns);
}

static gboolean read_children(Reading *reading, int directory, ReplicaNode *node, const ReplicaNode *last);

static ReplicaNode *
read_directory(Reading *reading, int parent, const char *name, ReplicaNode *node, const ReplicaNode *last)
{
  g_autoptr(ReplicaNode) mine = node;
  g_auto(Fd) directory = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (directory < 0) {
    fail(reading, errno);
    return NULL;
  }
  if (!read_children(reading, directory, node, last))
    return NULL;
  return g_steal_pointer(&mine);
}

static ReplicaNode *
read_node(Reading *reading, int parent, const char *name, gboolean xwhiteouts, ReplicaNode *last)
{
  gboolean suspect = reading->suspects && g_hash_table_contains(reading->suspects, reading->path->str);
  if (last && !last->children && !suspect && unchanged(last, parent, name))
    return replica_node_ref(last);
  gint64 read_ns = replica_now_ns();
  ReplicaMark mark;
  int failure = replica_mark_read(reading->layer, parent, name, xwhiteouts, &mark);
  if (failure) {
    replica_mark_clear(&mark);
    fail(reading, failure);
    return NULL;
  }
  ReplicaNode *node = node_new(mark.facts.type == REPLICA_DIRECTORY);
  node->mark = mark;
  node->read_ns = read_ns;
  return node->children ? read_directory(reading, parent, name, node, last) : node;
}

static gboolean
read_child(Reading *reading, int directory, const char *name, ReplicaNode *node, const ReplicaNode *last)
{
  gsize length = reading->path->len;
  if (length)
    g_string_append_c(reading->path, '/');
  g_string_append(reading->path, name);
  ReplicaNode *child =
      read_node(reading, directory, name, node->mark.xwhiteouts, replica_node_child(last, name));
  if (child)
    g_hash_table_insert(node->children, g_strdup(name), child);
  g_string_truncate(reading->path, length);
  return child != NULL;
}

static gboolean
read_children(Reading *reading, int directory, ReplicaNode *node, const ReplicaNode *last)
{
  DIR *listing = fdopendir(fcntl(directory, F_DUPFD_CLOEXEC, 3));
  if (!listing)
    return fail(reading, errno);
  gboolean good = TRUE;
  errno = 0;
  for (struct dirent *entry; good && (entry = readdir(listing)); errno = 0)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      good = read_child(reading, directory, entry->d_name, node, last);
  int failure = errno;
  closedir(listing);
  return good && (failure == 0 || fail(reading, failure));
}

ReplicaNode *
replica_picture_read(const ReplicaLayer *layer, const ReplicaNode *last, GHashTable *suspects, GError **error)
{
  Reading reading = {.layer = layer, .suspects = suspects, .path = g_string_new(NULL), .error = error};
  ReplicaNode *root = read_node(&reading, layer->upper, ".", FALSE, (ReplicaNode *)last);
  g_string_free(reading.path, TRUE);
  return root;
}

static gboolean
read_blocks(ReplicaNode *node, int parent, const char *name)
{
  if (node->mark.facts.type != REPLICA_FILE || node->mark.whiteout)
    return TRUE;
  g_auto(Fd) fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  guint64 size;
  if (fd >= 0)
    node->blocks = replica_blocks_read(fd, &(ReplicaBasis){.fd = -1}, NULL, &size);
  return node->blocks != NULL;
}

static gboolean
read_all_blocks(const ReplicaLayer *layer, ReplicaNode *node, const char *path, GError **error)
{
  const char *name;
  g_auto(Fd) parent = replica_path_open_parent(layer->upper, path, FALSE, &name);
  if (parent < 0 || !read_blocks(node, parent, name))
    return doppel_error_errno(error, "cannot read %s in the session's upper layer", path);
  if (!node->children)
    return TRUE;
  GHashTableIter iter;
  gpointer child_name, child;
  g_hash_table_iter_init(&iter, node->children);
  while (g_hash_table_iter_next(&iter, &child_name, &child)) {
    g_autofree char *child_path = replica_path_join(path, child_name);
    if (!read_all_blocks(layer, child, child_path, error))
      return FALSE;
  }
  return TRUE;
}

ReplicaBaseline *
replica_baseline_new(const ReplicaLayer *layer, GError **error)
{
  g_autoptr(ReplicaNode) root = replica_picture_read(layer, NULL, NULL, error);
  if (!root || !read_all_blocks(layer, root, "", error))
    return NULL;
  ReplicaBaseline *baseline = g_new0(ReplicaBaseline, 1);
  baseline->root = g_steal_pointer(&root);
  return baseline;
}

void
replica_baseline_free(ReplicaBaseline *baseline)
{
  replica_node_unref(baseline->root);
  g_free(baseline);
}

/* The mark of `path` in the upper layer. 0, or an errno: ENOENT where the layer says nothing about it. */
static int
read_mark(const ReplicaLayer *layer, const char *path, gboolean xwhiteouts, ReplicaMark *mark)
{
  *mark = (ReplicaMark){0};
  const char *name;
  g_auto(Fd) parent = replica_path_open_parent(layer->upper, path, FALSE, &name);
  if (parent < 0)
    return errno == ENOTDIR || errno == ELOOP ? ENOENT : errno;
  return replica_mark_read(layer, parent, name, xwhiteouts, mark);
}

int
replica_baseline_depth(const ReplicaLayer *layer, const char *path)
{
  int depth = 0;
  for (const char *at = path; at && *at; depth++) {
    const char *slash = strchr(at, '/');
    g_autofree char *part = slash ? g_strndup(path, slash - path) : g_strdup(path);
    g_auto(ReplicaMark) mark = {0};
    int failure = read_mark(layer, part, FALSE, &mark);
    if (failure) {
      errno = failure;
      return failure == ENOENT ? depth : -1;
    }
    at = slash ? slash + 1 : NULL;
  }
  return depth;
}

static gboolean
is_linked(const ReplicaNode *node)
{
  return node && node->mark.inode && node->mark.facts.type == REPLICA_FILE && node->mark.facts.nlink > 1;
}

/* The inode `of` changed as a whole, or lost a name (to `fixed`, NULL for nothing): its other names, below
 * `node`, are noted again. What the block had changed of it would have been found changed at the name that
 * was fixed. */
static void
note_siblings(const ReplicaLayer *layer, ReplicaNode *node, const char *path, const ReplicaNode *of,
              const ReplicaNode *fixed)
{
  GHashTableIter iter;
  gpointer name, child;
  g_hash_table_iter_init(&iter, node->children);
  while (g_hash_table_iter_next(&iter, &name, &child)) {
    ReplicaNode *sibling = child;
    g_autofree char *sibling_path = replica_path_join(path, name);
    if (sibling->children)
      note_siblings(layer, sibling, sibling_path, of, fixed);
    if (sibling == fixed || !sibling->mark.inode || !g_bytes_equal(sibling->mark.inode, of->mark.inode))
      continue;
    ReplicaMark mark;
    gint64 read_ns = replica_now_ns();
    if (read_mark(layer, sibling_path, FALSE, &mark) != 0 || !mark.inode ||
        !g_bytes_equal(mark.inode, of->mark.inode)) {
      replica_mark_clear(&mark);
      continue;
    }
    ReplicaNode *again = node_new(FALSE);
    again->mark = mark;
    again->read_ns = read_ns;
    gboolean same_inode = fixed && fixed->mark.inode && g_bytes_equal(fixed->mark.inode, of->mark.inode);
    ReplicaBlocks *blocks = same_inode ? fixed->blocks : sibling->blocks;
    again->blocks = blocks ? replica_blocks_ref(blocks) : NULL;
    g_hash_table_iter_replace(&iter, again);
  }
}

static gboolean
note_leaf(const ReplicaLayer *layer, ReplicaNode *parent, const char *path, const char *name, GError **error)
{
  ReplicaMark mark;
  gint64 read_ns = replica_now_ns();
  int failure = read_mark(layer, path, parent->mark.xwhiteouts, &mark);
  if (failure == ENOENT) { /* the lower layer shows again */
    g_hash_table_remove(parent->children, name);
    return TRUE;
  }
  g_autoptr(ReplicaNode) node = node_new(mark.facts.type == REPLICA_DIRECTORY);
  node->mark = mark;
  node->read_ns = read_ns;
  const char *same_name;
  g_auto(Fd) directory = replica_path_open_parent(layer->upper, path, FALSE, &same_name);
  if (failure || directory < 0 || !read_blocks(node, directory, same_name)) {
    errno = failure ? failure : errno;
    return doppel_error_errno(error, "cannot read %s in the session's upper layer", path);
  }
  ReplicaNode *last = replica_node_child(parent, name);
  if (last && last->children && node->children) {
    g_hash_table_unref(node->children);
    node->children = g_hash_table_ref(last->children);
  }
  g_hash_table_insert(parent->children, g_strdup(name), g_steal_pointer(&node));
  return TRUE;
}

/* A parent that is not in the baseline: one that came with the change is noted, one that the block copied up
 * is passed through. */
static gboolean
note_parent(const ReplicaLayer *layer, ReplicaNode *parent, const char *path, const char *name,
            gboolean through, GError **error)
{
  ReplicaNode *have = replica_node_child(parent, name);
  if (have && have->children)
    return TRUE;
  if (!note_leaf(layer, parent, path, name, error))
    return FALSE;
  have = replica_node_child(parent, name);
  if (!have || !have->children)
    return doppel_error_set(error, DOPPEL_ERROR_MISMATCH, "%s is no directory in the session's upper layer",
                            path);
  have->through = through;
  return TRUE;
}

static gboolean
note_root(ReplicaBaseline *baseline, const ReplicaLayer *layer, GError **error)
{
  ReplicaMark mark;
  errno = read_mark(layer, "", FALSE, &mark);
  if (errno)
    return doppel_error_errno(error, "cannot read the session's upper layer");
  replica_mark_clear(&baseline->root->mark);
  baseline->root->mark = mark;
  return TRUE;
}

gboolean
replica_baseline_note(ReplicaBaseline *baseline, const ReplicaLayer *layer, const char *path, int depth,
                      GError **error)
{
  ReplicaNode *node = baseline->root;
  if (!*path)
    return note_root(baseline, layer, error);
  int level = 0;
  for (const char *at = path, *slash; (slash = strchr(at, '/')); at = slash + 1, level++) {
    g_autofree char *part = g_strndup(path, slash - path);
    g_autofree char *name = g_strndup(at, slash - at);
    if (!note_parent(layer, node, part, name, level < depth, error))
      return FALSE;
    node = replica_node_child(node, name);
  }
  const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
  ReplicaNode *last = replica_node_child(node, name);
  g_autoptr(ReplicaNode) before = last ? replica_node_ref(last) : NULL;
  if (!note_leaf(layer, node, path, name, error))
    return FALSE;
  const ReplicaNode *now = replica_node_child(node, name);
  if (is_linked(before))
    note_siblings(layer, baseline->root, "", before, now);
  return TRUE;
}

static gboolean
content_differs(const ReplicaLayer *layer, const ReplicaNode *node, const char *path)
{
  if (!node->blocks)
    return node->mark.facts.type == REPLICA_FILE;
  g_auto(Fd) fd = replica_path_open(layer->upper, path, O_RDONLY | O_NONBLOCK);
  g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(ReplicaRange));
  guint64 size;
  ReplicaBlocks *now =
      fd < 0 ? NULL
             : replica_blocks_read(fd, &(ReplicaBasis){.fd = -1, .blocks = node->blocks}, ranges, &size);
  if (now)
    replica_blocks_unref(now);
  return !now || ranges->len > 0 || size != node->mark.facts.size;
}

/* Whether the block changed one component; `*further` says whether what is below it has to be looked at. */
static gboolean
component_touched(const ReplicaLayer *layer, const ReplicaNode *node, const char *path, gboolean xwhiteouts,
                  gboolean *further)
{
  const guint same = REPLICA_FACT_INODE | REPLICA_FACT_SIZE | REPLICA_FACT_MTIME;
  const guint directory_same =
      REPLICA_FACT_METADATA; /* its times too: they tell that the block made or removed a name in it */
  g_auto(ReplicaMark) mark = {0};
  int failure = read_mark(layer, path, xwhiteouts, &mark);
  *further = FALSE;
  if (failure)
    return failure != ENOENT || node;
  if (!node || node->through) {
    g_auto(ReplicaFacts) below = {0};
    if (mark.whiteout || mark.opaque || mark.facts.type != REPLICA_DIRECTORY)
      return TRUE;
    *further =
        replica_facts_read(layer->lower, path, 0, NULL, &below) == 0 && below.type == REPLICA_DIRECTORY;
    return !*further || !replica_facts_equal(&below, &mark.facts, directory_same);
  }
  if (mark.whiteout || node->mark.whiteout)
    return mark.whiteout != node->mark.whiteout;
  if (mark.facts.type != node->mark.facts.type || mark.opaque != node->mark.opaque ||
      mark.facts.ino != node->mark.facts.ino)
    return TRUE;
  *further = mark.facts.type == REPLICA_DIRECTORY;
  if (*further)
    return !replica_facts_equal(&node->mark.facts, &mark.facts, directory_same);
  return !replica_facts_equal(&node->mark.facts, &mark.facts, same) ||
         (replica_facts_racy(&node->mark.facts, node->read_ns) && content_differs(layer, node, path));
}

gboolean
replica_baseline_touched(const ReplicaBaseline *baseline, const ReplicaLayer *layer, const char *path)
{
  const ReplicaNode *node = baseline->root;
  gboolean xwhiteouts = node->mark.xwhiteouts, below;
  if (!*path)
    return component_touched(layer, node, path, FALSE, &below);
  for (const char *at = path; at && *at;) {
    const char *slash = strchr(at, '/');
    g_autofree char *part = slash ? g_strndup(path, slash - path) : g_strdup(path);
    g_autofree char *name = slash ? g_strndup(at, slash - at) : g_strdup(at);
    node = replica_node_child(node, name);
    gboolean further;
    gboolean touched = component_touched(layer, node, part, xwhiteouts, &further);
    /* A directory that merely got another mode is touched itself, but what is in it is not. */
    if (!further || (touched && !slash))
      return touched;
    xwhiteouts = node && node->mark.xwhiteouts;
    at = slash ? slash + 1 : NULL;
  }
  return FALSE;
}

/* Where an overlay keeps no record of what was copied up, it is taken for what is below. */
gboolean
replica_baseline_same_inode(const ReplicaBaseline *baseline, const ReplicaLayer *layer, const char *path)
{
  g_auto(ReplicaMark) mark = {0};
  g_autoptr(GBytes) below = NULL;
  const char *name;
  int failure = read_mark(layer, path, FALSE, &mark);
  if (failure || mark.whiteout)
    return failure == ENOENT;
  const ReplicaNode *node = baseline->root;
  g_auto(GStrv) names = g_strsplit(path, "/", -1);
  for (guint i = 0; names[i]; i++)
    node = replica_node_child(node, names[i]);
  if (node && !node->through)
    return mark.inode && node->mark.inode && g_bytes_equal(mark.inode, node->mark.inode);
  if (!mark.origin)
    return FALSE;
  g_auto(Fd) parent = replica_path_open_parent(layer->lower, path, FALSE, &name);
  below = parent < 0 ? NULL : replica_inode_read(parent, name);
  return below && (g_bytes_get_size(mark.origin) == 0 || g_bytes_equal(mark.origin, below));
}
