#include "replicator/job_beside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/path.h"

#define REPORT_MAX (64u << 20)

struct JobBeside {
  guint64 job;
  int root;
  char *mountpoint; /* without a slash at its end: "" for / */
  int report;
  GHashTable *places; /* path to where it is put, both below the root */
  GHashTable *noted;  /* paths of which something else is noted */
};

static char *
report_name(guint number)
{
  return g_strdup_printf("report-%u", number);
}

/* ---- the report: a line per path, KIND path TAB place, escaped as C strings are ---- */

static const char kinds[] = {[JOB_BESIDE_PUT] = 'P', [JOB_BESIDE_KEPT] = 'K', [JOB_BESIDE_METADATA] = 'M'};

/* Calls for each whole line; a torn last one was of a name that was not used. */
static void
read_report(int directory, guint number, JobBesideFunc take, gpointer user)
{
  g_autofree char *name = report_name(number);
  g_autofree char *text = io_read_file_at(directory, name, REPORT_MAX);
  for (char *line = text, *end; line && (end = strchr(line, '\n')); line = end + 1) {
    *end = '\0';
    const char *kind = *line ? memchr(kinds, *line, sizeof kinds) : NULL;
    char *tab = strchr(line, '\t');
    if (!kind || !tab)
      continue;
    *tab = '\0';
    g_autofree char *path = g_strcompress(line + 1), *place = g_strcompress(tab + 1);
    take((JobBesideKind)(kind - kinds), path, *place ? place : NULL, user);
  }
}

static gboolean
write_report(JobBeside *beside, JobBesideKind kind, const char *path, const char *place, GError **error)
{
  g_autofree char *escaped = g_strescape(path, NULL), *where = g_strescape(place ? place : "", NULL);
  g_autofree char *line = g_strdup_printf("%c%s\t%s\n", kinds[kind], escaped, where);
  return (io_write_all(beside->report, line, strlen(line)) && fdatasync(beside->report) == 0) ||
         doppel_error_errno(error, "cannot write down where a job's file is put");
}

static char *
full_path(const JobBeside *beside, const char *path)
{
  return g_strconcat(beside->mountpoint, "/", path, NULL);
}

/* The path below the root again. */
static const char *
rest_of(const JobBeside *beside, const char *path)
{
  gsize length = strlen(beside->mountpoint);
  return strncmp(path, beside->mountpoint, length) == 0 && path[length] == '/' ? path + length + 1 : NULL;
}

static void
remember(JobBesideKind kind, const char *path, const char *where, gpointer user)
{
  JobBeside *beside = user;
  const char *from = rest_of(beside, path), *to = where ? rest_of(beside, where) : NULL;
  if (kind == JOB_BESIDE_PUT && from && to && replica_path_valid(to, strlen(to)))
    g_hash_table_replace(beside->places, g_strdup(from), g_strdup(to));
  else if (from)
    g_hash_table_add(beside->noted, g_strdup(from));
}

void
job_beside_tell(const JobParcel *parcel, guint number, JobBesideFunc tell, gpointer user)
{
  read_report(parcel->directory, number, tell, user);
}

JobBeside *
job_beside_open(const JobParcel *parcel, guint number, int root, const char *mountpoint, GError **error)
{
  g_autoptr(JobBeside) beside = g_new0(JobBeside, 1);
  g_autofree char *name = report_name(number);
  beside->job = parcel->job;
  beside->root = root;
  beside->mountpoint = g_strdup(mountpoint[1] ? mountpoint : "");
  beside->places = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  beside->noted = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  beside->report = openat(parcel->directory, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (beside->report < 0) {
    doppel_error_errno(error, "cannot write down where a job's files are put");
    return NULL;
  }
  read_report(parcel->directory, number, remember, beside);
  return g_steal_pointer(&beside);
}

void
job_beside_free(JobBeside *beside)
{
  g_hash_table_unref(beside->places);
  g_hash_table_unref(beside->noted);
  io_close(&beside->report);
  g_free(beside->mountpoint);
  g_free(beside);
}

gboolean
job_beside_note(JobBeside *beside, JobBesideKind kind, const char *path, GError **error)
{
  if (!g_hash_table_add(beside->noted, g_strdup(path)))
    return TRUE;
  g_autofree char *full = full_path(beside, path);
  return write_report(beside, kind, full, NULL, error);
}

/* ---- names ---- */

static gboolean
is_there(const JobBeside *beside, const char *path, gboolean *directory)
{
  g_auto(ReplicaFacts) facts = {0};
  gboolean there = replica_facts_read(beside->root, path, 0, NULL, &facts) == 0;
  *directory = there && facts.type == REPLICA_DIRECTORY;
  return there;
}

/* A free name beside `path`. One that is too long loses its end. */
static char *
free_name(const JobBeside *beside, const char *path)
{
  g_autofree char *parent = replica_path_parent(path);
  const char *name = *parent ? path + strlen(parent) + 1 : path;
  for (guint attempt = 1;; attempt++) {
    g_autofree char *more = attempt > 1 ? g_strdup_printf("-%u", attempt) : g_strdup("");
    g_autofree char *suffix = g_strdup_printf(".doppel-conflict-%" G_GUINT64_FORMAT "%s", beside->job, more);
    g_autofree char *whole =
        g_strdup_printf("%.*s%s", (int)(REPLICA_NAME_MAX - strlen(suffix)), name, suffix);
    char *found = replica_path_join(parent, whole);
    gboolean directory;
    if (!is_there(beside, found, &directory))
      return found;
    g_free(found);
  }
}

static gboolean
make_directory(const JobBeside *beside, const char *path, GError **error)
{
  const char *name;
  g_auto(Fd) parent = replica_path_open_parent(beside->root, path, FALSE, &name);
  return (parent >= 0 && (mkdirat(parent, name, 0755) == 0 || errno == EEXIST)) ||
         doppel_error_errno(error, "cannot make the directory %s/%s for what a job made", beside->mountpoint,
                            path);
}

/* Where `path`, whose directory is now at `above`, is put. NULL with an error. */
static char *
new_place(JobBeside *beside, const char *path, const char *above, GError **error)
{
  g_autofree char *parent = replica_path_parent(path);
  const char *name = *parent ? path + strlen(parent) + 1 : path;
  g_autofree char *moved = replica_path_join(above, name);
  g_autofree char *place = strcmp(above, parent) != 0 ? g_strdup(moved) : free_name(beside, path);
  g_autofree char *full = full_path(beside, path), *where = full_path(beside, place);
  if (!write_report(beside, JOB_BESIDE_PUT, full, where, error))
    return NULL;
  g_hash_table_replace(beside->places, g_strdup(path), g_strdup(place));
  return g_steal_pointer(&place);
}

/* Where a directory of the job's is here: at its path, or, where that is none (any more), beside it. */
static char *
directory_for(JobBeside *beside, const char *path, GError **error)
{
  const char *known = g_hash_table_lookup(beside->places, path);
  gboolean directory;
  if (!*path || (!known && is_there(beside, path, &directory) && directory))
    return g_strdup(path);
  g_autofree char *parent = replica_path_parent(path);
  g_autofree char *above = directory_for(beside, parent, error);
  g_autofree char *place = !above ? NULL : known ? g_strdup(known) : new_place(beside, path, above, error);
  return place && make_directory(beside, place, error) ? g_steal_pointer(&place) : NULL;
}

/* ---- making ---- */

static gboolean
copy_content(int from, int to)
{
  g_autofree guint8 *piece = g_malloc(1 << 20);
  for (off_t at = 0;;) {
    ssize_t got = pread(from, piece, 1 << 20, at);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return got == 0;
    if (!io_write_all(to, piece, got))
      return FALSE;
    at += got;
  }
}

/* FALSE with errno. */
static gboolean
make_node(int parent, const char *name, const ReplicaEntry *entry, int content)
{
  switch (entry->after.type) {
  case REPLICA_FILE: {
    g_auto(Fd) fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd >= 0 && copy_content(content, fd) && fsync(fd) == 0;
  }
  case REPLICA_SYMLINK:
    return symlinkat(entry->after.target, parent, name) == 0;
  case REPLICA_FIFO:
    return mkfifoat(parent, name, 0600) == 0;
  default:
    errno = EINVAL;
    return FALSE;
  }
}

/* Owner and attributes as far as this user may give them. */
static void
dress(int parent, const char *name, const ReplicaEntry *entry)
{
  static const guint each[] = {REPLICA_FACT_OWNER, REPLICA_FACT_XATTRS, REPLICA_FACT_MODE,
                               REPLICA_FACT_MTIME};
  for (guint i = 0; i < G_N_ELEMENTS(each); i++)
    replica_facts_set(parent, name, &entry->after, each[i]);
}

/* Under a name that nobody looks at, and then at its place at once. */
static gboolean
put_at(const JobBeside *beside, const char *place, const ReplicaEntry *entry, int content, GError **error)
{
  const char *name;
  g_autofree char *temporary = g_strdup_printf(".doppel-conflict-%d", (int)getpid());
  g_auto(Fd) parent = replica_path_open_parent(beside->root, place, FALSE, &name);
  if (parent >= 0)
    unlinkat(parent, temporary, 0);
  if (parent >= 0 && make_node(parent, temporary, entry, content)) {
    dress(parent, temporary, entry);
    if (renameat(parent, temporary, parent, name) == 0)
      return TRUE;
  }
  doppel_error_errno(error, "cannot put what a job made of %s at %s/%s", entry->path, beside->mountpoint,
                     place);
  if (parent >= 0)
    unlinkat(parent, temporary, 0);
  return FALSE;
}

gboolean
job_beside_put(JobBeside *beside, const ReplicaEntry *entry, int content, GError **error)
{
  if (entry->after.type == REPLICA_DIRECTORY) {
    g_autofree char *directory = directory_for(beside, entry->path, error);
    return directory != NULL;
  }
  g_autofree char *parent = replica_path_parent(entry->path);
  g_autofree char *above = directory_for(beside, parent, error);
  const char *known = g_hash_table_lookup(beside->places, entry->path);
  g_autofree char *place = !above  ? NULL
                           : known ? g_strdup(known)
                                   : new_place(beside, entry->path, above, error);
  return place && put_at(beside, place, entry, content, error);
}
