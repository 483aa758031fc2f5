#include "replica/fix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/path.h"

/* A directory whose times are to be as in `facts` once everything below is done. */
typedef struct {
  char *path;
  ReplicaFacts facts;
} Way;

struct ReplicaFix {
  const ReplicaCopy *copy;
  char *path;
  int depth; /* see replica_baseline_depth() */
  Fd parent;
  const char *name; /* in `path` */
  char temporary[64];
  GArray *ways; /* of Way, from the top */
};

static void
clear_way(Way *way)
{
  g_free(way->path);
  replica_facts_clear(&way->facts);
}

void
replica_fix_free(ReplicaFix *fix)
{
  if (fix->parent >= 0)
    unlinkat(fix->parent, fix->temporary, 0);
  io_close(&fix->parent);
  g_array_unref(fix->ways);
  g_free(fix->path);
  g_free(fix);
}

int
replica_fix_parent(const ReplicaFix *fix)
{
  return fix->parent;
}

const char *
replica_fix_name(const ReplicaFix *fix)
{
  return fix->name;
}

const char *
replica_fix_temporary(const ReplicaFix *fix)
{
  return fix->temporary;
}

static gboolean
remove_tree(int parent, const char *name)
{
  if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
    return TRUE;
  if (errno != EISDIR && errno != EPERM)
    return FALSE;
  Fd fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *listing = fd < 0 ? NULL : fdopendir(fd);
  if (!listing) {
    io_close(&fd);
    return FALSE;
  }
  gboolean good = TRUE;
  for (struct dirent *entry; good && (entry = readdir(listing));)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      good = remove_tree(fd, entry->d_name);
  int saved = errno;
  closedir(listing);
  errno = saved;
  return good && unlinkat(parent, name, AT_REMOVEDIR) == 0;
}

/* Makes the directory `path` as the device has it, over whatever is there; the facts are the device's
 * afterwards. */
static gboolean
make_way(const ReplicaCopy *copy, const char *path, ReplicaFacts *facts, GError **error)
{
  replica_facts_clear(facts);
  if (!copy->ask(copy->user_data, path, facts, error))
    return FALSE;
  if (facts->type != REPLICA_DIRECTORY)
    return doppel_error_set(error, DOPPEL_ERROR_MISMATCH, "%s is no directory on the device", path);
  const char *name;
  g_auto(Fd) parent = replica_path_open_parent(copy->layer->merged, path, FALSE, &name);
  if (parent >= 0 && remove_tree(parent, name) && mkdirat(parent, name, 0700) == 0) {
    int failure = replica_facts_set(parent, name, facts, REPLICA_FACT_METADATA);
    if (!failure)
      return TRUE;
    errno = failure;
  }
  return doppel_error_errno(error, "cannot make the directory %s in the clone", path);
}

static gboolean
prepare_ways(ReplicaFix *fix, GError **error)
{
  const ReplicaCopy *copy = fix->copy;
  for (const char *at = fix->path; at; at = strchr(at, '/') ? strchr(at, '/') + 1 : NULL) {
    Way way = {.path = at == fix->path ? g_strdup("") : g_strndup(fix->path, at - fix->path - 1)};
    int failure = replica_facts_read(copy->layer->merged, way.path, 0, NULL, &way.facts);
    gboolean good = TRUE;
    if (failure == ENOENT || (!failure && way.facts.type != REPLICA_DIRECTORY)) {
      good = make_way(copy, way.path, &way.facts, error);
    } else if (failure) {
      errno = failure;
      good = doppel_error_errno(error, "cannot read %s in the clone", way.path);
    }
    g_array_append_val(fix->ways, way);
    if (!good)
      return FALSE;
  }
  return TRUE;
}

ReplicaFix *
replica_fix_begin(const ReplicaCopy *copy, const char *path, GError **error)
{
  if (!replica_path_valid(path, strlen(path))) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                     "a path that does not stay below the root cannot be copied");
    return NULL;
  }
  if (replica_baseline_touched(copy->baseline, copy->layer, path)) {
    doppel_error_set(error, DOPPEL_ERROR_MISMATCH, "the block itself has changed %s", path);
    return NULL;
  }
  g_autoptr(ReplicaFix) fix = g_new0(ReplicaFix, 1);
  fix->copy = copy;
  fix->path = g_strdup(path);
  fix->parent = -1;
  fix->ways = g_array_new(FALSE, FALSE, sizeof(Way));
  g_array_set_clear_func(fix->ways, (GDestroyNotify)clear_way);
  g_snprintf(fix->temporary, sizeof fix->temporary, ".doppel-%08x%08x", g_random_int(), g_random_int());
  fix->depth = replica_baseline_depth(copy->layer, path);
  if (fix->depth < 0) {
    doppel_error_errno(error, "cannot read %s in the session's upper layer", path);
    return NULL;
  }
  if (!prepare_ways(fix, error))
    return NULL;
  fix->parent = replica_path_open_parent(copy->layer->merged, fix->path, FALSE, &fix->name);
  if (fix->parent >= 0)
    return g_steal_pointer(&fix);
  doppel_error_errno(error, "cannot open the directory of %s in the clone", path);
  return NULL;
}

static gboolean
fail(const ReplicaFix *fix, GError **error)
{
  return doppel_error_errno(error, "cannot make %s in the clone what it is on the device", fix->path);
}

gboolean
replica_fix_place(ReplicaFix *fix, const ReplicaFacts *facts, GError **error)
{
  int failure = replica_facts_set(fix->parent, fix->temporary, facts, REPLICA_FACT_METADATA);
  if (failure) {
    errno = failure;
    return fail(fix, error);
  }
  if (renameat(fix->parent, fix->temporary, fix->parent, fix->name) == 0)
    return TRUE;
  gboolean type_differs = errno == EISDIR || errno == ENOTDIR || errno == ENOTEMPTY || errno == EEXIST;
  if (type_differs && remove_tree(fix->parent, fix->name) &&
      renameat(fix->parent, fix->temporary, fix->parent, fix->name) == 0)
    return TRUE;
  return fail(fix, error);
}

gboolean
replica_fix_end(ReplicaFix *fix, GError **error)
{
  for (guint i = fix->ways->len; i-- > 0;) {
    const Way *way = &g_array_index(fix->ways, Way, i);
    const char *name;
    g_auto(Fd) parent = replica_path_open_parent(fix->copy->layer->merged, way->path, FALSE, &name);
    g_auto(ReplicaFacts) now = {0};
    int failure = parent < 0 ? errno : replica_facts_read_at(parent, name, 0, NULL, &now);
    /* Only where it is needed: setting times copies a directory up. */
    if (!failure && now.mtime_ns != way->facts.mtime_ns)
      failure = replica_facts_set(parent, name, &way->facts, REPLICA_FACT_MTIME);
    if (failure) {
      errno = failure;
      return doppel_error_errno(error, "cannot set the times of %s in the clone", way->path);
    }
  }
  return replica_baseline_note(fix->copy->baseline, fix->copy->layer, fix->path, fix->depth, error);
}

static gboolean
create(ReplicaFix *fix, const ReplicaFacts *device, GError **error)
{
  int result = -1;
  errno = EINVAL;
  if (device->type == REPLICA_SYMLINK) {
    result = symlinkat(device->target, fix->parent, fix->temporary);
  } else if (device->type == REPLICA_FILE && device->size == 0) {
    g_auto(Fd) fd = openat(fix->parent, fix->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    result = fd < 0 ? -1 : 0;
  } else if (device->type == REPLICA_DIRECTORY) {
    /* Whatever is there is none, and only over a directory can one be renamed. */
    result = remove_tree(fix->parent, fix->name) ? mkdirat(fix->parent, fix->name, 0700) : -1;
    if (result == 0)
      errno = replica_facts_set(fix->parent, fix->name, device, REPLICA_FACT_METADATA);
    return (result == 0 && errno == 0) || fail(fix, error);
  }
  return result < 0 ? fail(fix, error) : replica_fix_place(fix, device, error);
}

/* Of the root only the metadata can differ. */
static gboolean
fix_root(const ReplicaCopy *copy, ReplicaVerdict verdict, const ReplicaFacts *device, GError **error)
{
  if (verdict != REPLICA_CHECK_FIX_METADATA)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "the root directory can be neither made nor removed");
  if (replica_baseline_touched(copy->baseline, copy->layer, ""))
    return doppel_error_set(error, DOPPEL_ERROR_MISMATCH, "the block itself has changed the root directory");
  errno = replica_facts_set(copy->layer->merged, ".", device, REPLICA_FACT_METADATA);
  if (errno)
    return doppel_error_errno(error, "cannot make the root directory in the clone what it is on the device");
  return replica_baseline_note(copy->baseline, copy->layer, "", 0, error);
}

gboolean
replica_fix(const ReplicaCopy *copy, const char *path, ReplicaVerdict verdict, const ReplicaFacts *device,
            GError **error)
{
  if (!*path)
    return fix_root(copy, verdict, device, error);
  g_autoptr(ReplicaFix) fix = replica_fix_begin(copy, path, error);
  if (!fix)
    return FALSE;
  gboolean good = FALSE;
  switch (verdict) {
  case REPLICA_CHECK_CREATE:
    good = create(fix, device, error);
    break;
  case REPLICA_CHECK_FIX_METADATA:
    errno = replica_facts_set(fix->parent, fix->name, device, REPLICA_FACT_METADATA);
    good = errno == 0 || fail(fix, error);
    break;
  case REPLICA_CHECK_REMOVE:
    good = remove_tree(fix->parent, fix->name) || fail(fix, error);
    break;
  default:
    doppel_error_set(error, DOPPEL_ERROR_USAGE, "%s cannot be copied without its content", path);
  }
  return good && replica_fix_end(fix, error);
}
