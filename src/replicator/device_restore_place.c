/* One path of a device that is restored: made under another name, and moved to its own when it is complete.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/path.h"
#include "replicator/device_restore_private.h"

#define ASIDE_MAX   1000 /* names that are told */
#define ASIDE_TRIES 100
#define NS_PER_S    G_GINT64_CONSTANT(1000000000)

typedef char Draft[sizeof DEVICE_RESTORE_DRAFT + 24];

static void
draft_name(const TreeNode *node, Draft draft)
{
  g_snprintf(draft, sizeof(Draft), DEVICE_RESTORE_DRAFT "%" G_GINT64_FORMAT, node->id);
}

static int
parent_of(DeviceRestoring *restoring, const char *path, const char **name)
{
  return tree_near_parent(&restoring->near, path, name);
}

/* A name for what is in the way of `name`, as long as names may be. */
static char *
aside_name(const char *name, guint number)
{
  char suffix[sizeof DEVICE_RESTORE_ASIDE + 12] = DEVICE_RESTORE_ASIDE;
  if (number > 1)
    g_snprintf(suffix, sizeof suffix, DEVICE_RESTORE_ASIDE "-%u", number);
  gsize room = REPLICA_NAME_MAX - strlen(suffix);
  g_autofree char *kept = g_strndup(name, room);
  return g_strconcat(kept, suffix, NULL);
}

static void
note_aside(DeviceRestoring *restoring, const char *path, const char *aside)
{
  DeviceRestored *restored = restoring->restored;
  g_autofree char *parent = replica_path_parent(path);
  if (restored->aside_count++ < ASIDE_MAX)
    g_ptr_array_add(restored->aside, replica_path_join(parent, aside));
}

/* Where doppel keeps its keys and this index. */
static gboolean
holds_own_place(const DeviceRestoring *restoring, const char *path)
{
  gsize length = strlen(path);
  return restoring->own && strncmp(restoring->own, path, length) == 0 &&
         (restoring->own[length] == '/' || !restoring->own[length]);
}

static gboolean
move_aside(DeviceRestoring *restoring, int parent, const char *name, const char *path)
{
  if (holds_own_place(restoring, path)) {
    errno = EBUSY;
    return FALSE;
  }
  for (guint number = 1; number <= ASIDE_TRIES; number++) {
    g_autofree char *aside = aside_name(name, number);
    if (renameat2(parent, name, parent, aside, RENAME_NOREPLACE) == 0) {
      note_aside(restoring, path, aside);
      return TRUE;
    }
    if (errno == ENOENT)
      return TRUE;
    if (errno != EEXIST)
      return FALSE;
  }
  return FALSE;
}

/* Another name for what is there, which keeps its own until something takes its place: at no moment is a
 * running system without it. FALSE where it can have but one name: a directory, another user's file, a simple
 * file system. */
static gboolean
name_aside(DeviceRestoring *restoring, int parent, const char *name, const char *path,
           const struct stat *status)
{
  struct stat other;
  for (guint number = 1; number <= ASIDE_TRIES; number++) {
    g_autofree char *aside = aside_name(name, number);
    gboolean named = linkat(parent, name, parent, aside, 0) == 0;
    if (!named && errno != EEXIST)
      return FALSE;
    /* By who was killed before he came further. */
    named = named || (fstatat(parent, aside, &other, AT_SYMLINK_NOFOLLOW) == 0 &&
                      other.st_dev == status->st_dev && other.st_ino == status->st_ino);
    if (named) {
      note_aside(restoring, path, aside);
      return TRUE;
    }
  }
  return FALSE;
}

static gboolean
take_its_place(DeviceRestoring *restoring, int parent, const char *draft, const char *name, const char *path)
{
  struct stat status, taken;
  if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
    return errno == ENOENT;
  if (S_ISDIR(status.st_mode) || !name_aside(restoring, parent, name, path, &status))
    return move_aside(restoring, parent, name, path);
  if (renameat2(parent, draft, parent, name, RENAME_EXCHANGE) < 0)
    return FALSE;
  /* Somebody was quicker, and it is not what has another name now. */
  if (fstatat(parent, draft, &taken, AT_SYMLINK_NOFOLLOW) == 0 && taken.st_ino != status.st_ino)
    return move_aside(restoring, parent, draft, path);
  return unlinkat(parent, draft, 0) == 0;
}

/* Gives `draft` the name; what has it gets another one. */
static gboolean
put_in_place(DeviceRestoring *restoring, int parent, const char *draft, const char *name, const char *path)
{
  enum { TRIES = 8 };
  for (guint i = 0; i < TRIES; i++) {
    if (renameat2(parent, draft, parent, name, RENAME_NOREPLACE) == 0)
      return TRUE;
    if (errno != EEXIST || !take_its_place(restoring, parent, draft, name, path))
      return FALSE;
    if (faccessat(parent, draft, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
      return TRUE; /* they have changed places */
  }
  return FALSE;
}

static gint64
nanoseconds(const struct timespec *time)
{
  return time->tv_sec * NS_PER_S + time->tv_nsec;
}

/* From here on the index says that the device has it: what was made a moment ago is known by its times, as
 * its modification time is an old one. */
static gboolean
note_done(DeviceRestoring *restoring, gint64 id, int parent, const char *name)
{
  struct stat status;
  if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
    return FALSE;
  TreeNode node = {.id = id};
  node.facts.dev = status.st_dev;
  node.facts.ino = status.st_ino;
  node.facts.nlink = status.st_nlink;
  node.facts.ctime_ns = nanoseconds(&status.st_ctim);
  tree_index_touch(restoring->index->tree, &node);
  restoring->elsewhere = restoring->elsewhere || status.st_dev != restoring->root_dev;
  return TRUE;
}

static int
set_facts(DeviceRestoring *restoring, int parent, const char *name, const TreeNode *node, const char *path)
{
  g_autofree char *told = g_strconcat("/", path, NULL);
  return generation_facts_set(parent, name, &node->facts, told, &restoring->restored->losses);
}

/* One that an attempt before has given its mode already is written to again. */
static gboolean
is_writable(int parent, const char *name)
{
  return faccessat(parent, name, W_OK | X_OK, AT_EACCESS | AT_SYMLINK_NOFOLLOW) == 0;
}

gboolean
restoring_make_directory(DeviceRestoring *restoring, const TreeNode *node, const char *path, GError **error)
{
  const char *name;
  struct stat status;
  int parent = parent_of(restoring, path, &name);
  if (parent < 0)
    return restoring_refused(restoring, path, error);
  if (mkdirat(parent, name, 0700) == 0)
    return TRUE;
  if (errno == EEXIST && fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode))
    return is_writable(parent, name) || fchmodat(parent, name, 0700, 0) == 0 ||
           restoring_refused(restoring, path, error);
  if ((errno == EEXIST || errno == ENOENT) && move_aside(restoring, parent, name, path) &&
      mkdirat(parent, name, 0700) == 0)
    return TRUE;
  return restoring_refused(restoring, path, error);
}

/* Of a file system that the kernel makes up, which is mounted there, nothing is the generation's. */
static gboolean
is_made_up(DeviceRestoring *restoring, int parent, const char *name)
{
  g_auto(ReplicaFacts) facts = {0};
  struct stat status;
  return fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_dev != restoring->root_dev &&
         replica_facts_read_at(parent, name, REPLICA_READ_PSEUDO, NULL, &facts) == 0 && facts.pseudo;
}

/* What an earlier attempt, at another generation, left. */
static void
sweep_drafts(int parent, const char *name)
{
  g_auto(Fd) directory = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  g_autoptr(GArray) entries = directory < 0 ? NULL : tree_walk_list(directory);
  for (guint i = 0; entries && i < entries->len; i++) {
    const char *entry = g_array_index(entries, TreeEntry, i).name;
    if (g_str_has_prefix(entry, DEVICE_RESTORE_DRAFT))
      unlinkat(directory, entry, 0);
  }
}

gboolean
restoring_complete_directory(DeviceRestoring *restoring, const RestoringDirectory *directory, GError **error)
{
  const char *name;
  g_auto(TreeNode) node = {0};
  if (!tree_index_node(restoring->index->tree, directory->id, &node))
    return TRUE;
  int parent = parent_of(restoring, directory->path, &name);
  if (parent < 0)
    return restoring_refused(restoring, directory->path, error);
  if (is_made_up(restoring, parent, name))
    return TRUE;
  if (restoring->restored->resumed)
    sweep_drafts(parent, name);
  errno = set_facts(restoring, parent, name, &node, directory->path);
  if (errno || !note_done(restoring, node.id, parent, name))
    return restoring_refused(restoring, directory->path, error);
  return TRUE;
}

/* Which of `what` is otherwise than it should be; all of it where nothing is there. */
static guint
differs(int parent, const char *name, const TreeNode *node, guint what)
{
  g_auto(ReplicaFacts) facts = {0};
  if (replica_facts_read_at(parent, name, 0, NULL, &facts) != 0)
    return what;
  generation_node_recognise(parent, name, &facts);
  return replica_facts_differ(&facts, &node->facts, what);
}

/* What is there is the same thing: with its facts it is done. 0, or an errno. */
static int
adopt_facts(DeviceRestoring *restoring, int parent, const char *name, const TreeNode *node, const char *path)
{
  return differs(parent, name, node, REPLICA_FACT_METADATA) ? set_facts(restoring, parent, name, node, path)
                                                            : 0;
}

/* 0, or an errno. */
static int
make_draft_node(DeviceRestoring *restoring, int parent, const char *draft, const TreeNode *node,
                const char *path)
{
  gboolean stands_in = FALSE;
  unlinkat(parent, draft, 0);
  int failure = generation_node_make(parent, draft, &node->facts, &stands_in);
  if (stands_in) {
    g_autofree char *told = g_strconcat("/", path, NULL);
    generation_losses_add(&restoring->restored->losses, GENERATION_LOST_NODE, told);
  }
  return failure ? failure : set_facts(restoring, parent, draft, node, path);
}

/* What is at `path` has several names in the clone: the others are made, and all are done. */
static gboolean
link_names(DeviceRestoring *restoring, const TreeNode *node, const char *path, GError **error)
{
  const char *name, *other_name;
  struct stat status, other;
  g_autofree char *directory = replica_path_parent(path);
  g_auto(Fd) parent = tree_walk_open(restoring->root, directory, FALSE);
  name = *directory ? path + strlen(directory) + 1 : path;
  if (parent < 0 || fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
    return restoring_refused(restoring, path, error);
  g_autoptr(GArray) nodes = tree_index_inode(restoring->index->tree, 0, node->facts.ino);
  for (guint i = 0; i < nodes->len; i++) {
    g_autofree char *further = tree_index_path(restoring->index->tree, g_array_index(nodes, TreeNode, i).id);
    if (!further || strcmp(further, path) == 0)
      continue;
    int where = parent_of(restoring, further, &other_name);
    if (where < 0)
      return restoring_refused(restoring, further, error);
    if (fstatat(where, other_name, &other, AT_SYMLINK_NOFOLLOW) == 0 && other.st_dev == status.st_dev &&
        other.st_ino == status.st_ino)
      continue;
    if (linkat(parent, name, where, other_name, 0) == 0)
      continue;
    if (errno != EEXIST || !move_aside(restoring, where, other_name, further) ||
        linkat(parent, name, where, other_name, 0) < 0)
      return restoring_refused(restoring, further, error);
  }
  /* Only now is the number of its names, and with it its ctime, what it will be. */
  for (guint i = 0; i < nodes->len; i++) {
    const TreeNode *each = &g_array_index(nodes, TreeNode, i);
    g_autofree char *further = tree_index_path(restoring->index->tree, each->id);
    int where = further ? parent_of(restoring, further, &other_name) : -1;
    if (where < 0 || !note_done(restoring, each->id, where, other_name))
      return restoring_refused(restoring, further ? further : path, error);
    restoring->progress.paths_done += strcmp(further, path) != 0;
  }
  return TRUE;
}

/* It is at its place, and complete. */
static gboolean
settle(DeviceRestoring *restoring, const TreeNode *node, const char *path, GError **error)
{
  const char *name;
  int parent = parent_of(restoring, path, &name);
  restoring->progress.paths_done++;
  if (node->facts.ino && !node->facts.dev)
    return link_names(restoring, node, path, error);
  return (parent >= 0 && note_done(restoring, node->id, parent, name)) ||
         restoring_refused(restoring, path, error);
}

/* One with more names than it should have would change with another one. */
static gboolean
has_right_names(int parent, const char *name, const TreeNode *node)
{
  struct stat status;
  return node->facts.ino != 0 ||
         (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_nlink == 1);
}

gboolean
restoring_make_node(DeviceRestoring *restoring, const TreeNode *node, const char *path, GError **error)
{
  const char *name;
  Draft draft;
  int parent = parent_of(restoring, path, &name);
  if (parent < 0)
    return restoring_refused(restoring, path, error);
  if (!differs(parent, name, node, REPLICA_FACT_TYPE | REPLICA_FACT_TARGET | REPLICA_FACT_RDEV) &&
      has_right_names(parent, name, node)) {
    errno = adopt_facts(restoring, parent, name, node, path);
    restoring->restored->kept++;
    return errno ? restoring_refused(restoring, path, error) : settle(restoring, node, path, error);
  }
  draft_name(node, draft);
  errno = make_draft_node(restoring, parent, draft, node, path);
  if (errno || !put_in_place(restoring, parent, draft, name, path))
    return restoring_refused(restoring, path, error);
  return settle(restoring, node, path, error);
}

/* Whether a file has the content that the node has, and the sums of it, for the index. */
static gboolean
has_content(DeviceRestoring *restoring, const TreeNode *node, int fd)
{
  guint8 hash[GENERATION_CONTENT_HASH];
  guint64 size = node->facts.size;
  if (size <= SIGNATURE_BLOCK_MIN)
    return signature_search_hash(restoring->search, fd, size, hash) &&
           memcmp(hash, node->content, sizeof hash) == 0;
  signature_search_begin(restoring->search, fd, size, NULL, 0);
  for (GenerationStep *step; (step = signature_search_next(restoring->search, NULL));)
    generation_step_free(step);
  g_autoptr(Signature) signature = signature_search_end(restoring->search);
  gboolean same = signature && memcmp(signature->hash, node->content, sizeof signature->hash) == 0;
  if (same)
    tree_index_sign(restoring->index->tree, node->id, signature);
  return same;
}

static gboolean
may_be_adopted(const struct stat *status, const TreeNode *node)
{
  return S_ISREG(status->st_mode) && (guint64)status->st_size == node->facts.size &&
         (status->st_nlink == 1 || node->facts.ino != 0);
}

int
restoring_adopt(DeviceRestoring *restoring, const TreeNode *node, const char *path, GError **error)
{
  const char *name;
  struct stat status;
  int parent = parent_of(restoring, path, &name);
  if (parent < 0) {
    restoring_refused(restoring, path, error);
    return -1;
  }
  g_auto(Fd) fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &status) < 0 || !may_be_adopted(&status, node) || !has_content(restoring, node, fd))
    return 0;
  errno = adopt_facts(restoring, parent, name, node, path);
  if (errno) {
    restoring_refused(restoring, path, error);
    return -1;
  }
  restoring->restored->kept++;
  restoring->progress.bytes_done += node->facts.size;
  return settle(restoring, node, path, error) ? 1 : -1;
}

/* A draft that somebody else could have put there is none. */
static gboolean
is_own_draft(int fd, const TreeNode *node)
{
  struct stat status;
  return fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == geteuid() &&
         status.st_nlink == 1 && (status.st_mode & 077) == 0 && status.st_size >= DEVICE_RESTORE_PART_MIN &&
         (guint64)status.st_size <= node->facts.size;
}

int
restoring_open_draft(DeviceRestoring *restoring, const TreeNode *node, const char *path, guint64 *offset)
{
  const char *name;
  Draft draft;
  int parent = parent_of(restoring, path, &name);
  if (parent < 0)
    return -1;
  draft_name(node, draft);
  *offset = 0;
  g_auto(Fd) fd = openat(parent, draft, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd >= 0 && is_own_draft(fd, node)) {
    struct stat status;
    *offset = fstat(fd, &status) == 0 ? status.st_size : 0;
    return io_steal_fd(&fd);
  }
  unlinkat(parent, draft, 0);
  return openat(parent, draft, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

int
restoring_place_draft(DeviceRestoring *restoring, const TreeNode *node, const char *path, int draft_fd,
                      GError **error)
{
  const char *name;
  Draft draft;
  int parent = parent_of(restoring, path, &name);
  draft_name(node, draft);
  if (parent < 0 || ftruncate(draft_fd, node->facts.size) < 0) {
    restoring_refused(restoring, path, error);
    return -1;
  }
  if (!has_content(restoring, node, draft_fd)) {
    unlinkat(parent, draft, 0);
    return 0;
  }
  errno = set_facts(restoring, parent, draft, node, path);
  if (errno || !put_in_place(restoring, parent, draft, name, path)) {
    restoring_refused(restoring, path, error);
    return -1;
  }
  return settle(restoring, node, path, error) ? 1 : -1;
}
