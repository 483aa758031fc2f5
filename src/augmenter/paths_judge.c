/* What becomes of a system call that names paths. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "augmenter/paths_private.h"
#include "mirror/files.h"

enum {
  INTERPRETERS_MAX = 5,
  CHANGING = SYSCALL_PATH_WRITES | SYSCALL_PATH_CREATES | SYSCALL_PATH_REMOVES | SYSCALL_PATH_CHANGES,
  FORWARDED = SYSCALL_PATH_LOOKS | SYSCALL_PATH_OPENS | SYSCALL_PATH_WRITES | SYSCALL_PATH_CREATES,
};

typedef struct {
  Paths *paths;
  pid_t tid;
  const SyscallRow *row;
  const guint64 *arguments;
  guint64 how_flags;
  char **forward, **reason;
} Judging;

/* ---- reading what the call says ---- */

/* Page by page, since it may end just before one that is not there. FALSE where the kernel will say EFAULT or
 * ENAMETOOLONG. */
static gboolean
read_text(const Paths *paths, pid_t tid, guint64 address, char text[PATH_MAX])
{
  for (gsize have = 0; address && have < PATH_MAX;) {
    gsize length = MIN(4096 - (address + have) % 4096, PATH_MAX - have);
    if (!augmenter_memory_read(paths->augmenter, tid, address + have, text + have, length))
      return FALSE;
    if (memchr(text + have, 0, length))
      return TRUE;
    have += length;
  }
  return FALSE;
}

/* Where a relative path starts: an absolute path. NULL where that is nowhere. */
static char *
read_base(const Judging *judging, int directory)
{
  char link[64], base[PATH_MAX];
  if (directory == AT_FDCWD)
    snprintf(link, sizeof link, "%d/cwd", judging->tid);
  else
    snprintf(link, sizeof link, "%d/fd/%d", judging->tid, directory);
  ssize_t length = readlinkat(judging->paths->augmenter->sandbox->proc_fd, link, base, sizeof base - 1);
  if (length <= 0 || *base != '/')
    return NULL;
  base[length] = '\0';
  return g_str_has_suffix(base, " (deleted)") ? NULL : g_strdup(base);
}

typedef enum { NAMED_PATH, NAMED_DESCRIPTOR, NAMED_NOTHING, NAMED_PIN } Named;

static Named
read_path(const Judging *judging, guint index, char **path)
{
  const SyscallPath *row = &judging->row->paths[index];
  char text[PATH_MAX];
  guint64 address = judging->arguments[row->path];
  int directory = row->dirfd == SYSCALL_AT_CWD ? AT_FDCWD : (int)judging->arguments[row->dirfd];
  *path = NULL;
  if (address == 0)
    return row->optional ? NAMED_DESCRIPTOR : NAMED_NOTHING;
  if (!read_text(judging->paths, judging->tid, address, text))
    return NAMED_NOTHING;
  if (*text == '/') {
    *path = g_strdup(text);
    return NAMED_PATH;
  }
  if (directory != AT_FDCWD &&
      mirror_files_pin_of(judging->paths->augmenter->sandbox->proc_fd, judging->tid, directory) >= 0)
    return NAMED_PIN;
  g_autofree char *base = read_base(judging, directory);
  if (!*text) {
    gboolean empty = row->empty && row->flags >= 0 && judging->arguments[row->flags] & AT_EMPTY_PATH;
    *path = g_steal_pointer(&base);
    return empty ? NAMED_DESCRIPTOR : NAMED_NOTHING;
  }
  *path = base ? g_strconcat(base[1] ? base : "", "/", text, NULL) : NULL;
  return *path ? NAMED_PATH : NAMED_NOTHING;
}

/* ---- verdicts ---- */

static PathsVerdict
cut(const Judging *judging, const char *path, const char *why)
{
  g_free(*judging->reason);
  *judging->reason = g_strdup_printf("%s %s", path, why);
  return PATHS_CUT;
}

static gboolean
is_rename(const SyscallRow *row)
{
  return strncmp(row->name, "rename", 6) == 0;
}

/* Another one, to what has a name already. */
static gboolean
gives_name(const SyscallRow *row)
{
  return is_rename(row) || strncmp(row->name, "link", 4) == 0;
}

static Freshness
first_need(const Judging *judging, guint use)
{
  if (use & SYSCALL_PATH_RUNS)
    return FRESH_WHOLE;
  /* What is thrown away need not be fetched. */
  if (use & SYSCALL_PATH_OPENS)
    return syscall_open_flags(judging->row, judging->arguments, judging->how_flags) & O_TRUNC ? FRESH_LOOK
                                                                                              : FRESH_WHOLE;
  return use & SYSCALL_PATH_WRITES ? FRESH_WHOLE : FRESH_LOOK;
}

/* What the block changes is not compared again, so all of it has to be right before; and only an empty
 * directory goes. */
static Freshness
full_need(const Judging *judging, guint use, const PathsPlace *place)
{
  if (!place->there || place->special)
    return FRESH_LOOK;
  if (S_ISDIR(place->own.st_mode))
    return use & SYSCALL_PATH_REMOVES ? FRESH_WHOLE : FRESH_LOOK;
  gboolean moves = (use & SYSCALL_PATH_REMOVES) && is_rename(judging->row);
  return use & SYSCALL_PATH_CHANGES || moves ? FRESH_WHOLE : FRESH_LOOK;
}

/* What overlayfs would do in a way of its own. */
static PathsVerdict
judge_overlay(const Judging *judging, guint use, const PathsPlace *place)
{
  const char *rest;
  const PathsLayer *layer = layer_of(judging->paths, place->path, &rest);
  const KnownPath *known = known_find(judging->paths, place->path);
  if (!layer || !place->there)
    return PATHS_NATIVE;
  guint links = MAX(place->own.st_nlink, known && !known->failure ? known->facts.nlink : 0);
  if (S_ISREG(place->own.st_mode) && links > 1 && use & (CHANGING & ~SYSCALL_PATH_CREATES) &&
      !layer_touched(layer, rest))
    return cut(judging, place->path, "has several hard links: only the device can change it");
  if (S_ISDIR(place->own.st_mode) && is_rename(judging->row) && !layer_made(layer, rest))
    return cut(judging, place->path,
               "is a directory that the block did not make: only the device can rename it");
  return PATHS_NATIVE;
}

static PathsVerdict
judge_change(const Judging *judging, guint use, const PathsPlace *place)
{
  if (place->special || !(use & CHANGING))
    return PATHS_NATIVE;
  gboolean only_opens = place->there && (use & CHANGING) == SYSCALL_PATH_CREATES && use & SYSCALL_PATH_OPENS;
  if (only_opens)
    return PATHS_NATIVE;
  if (!sandbox_can_write(judging->paths->augmenter->sandbox, place->path))
    return cut(judging, place->path, "cannot be changed in the clone");
  return judge_overlay(judging, use, place);
}

static PathsVerdict judge_place(const Judging *judging, const char *path, guint use, gboolean follow,
                                PathsPlace *place);

static PathsVerdict
judge_interpreter(const Judging *judging, const PathsPlace *program, guint depth)
{
  g_autofree char *interpreter = program->special ? NULL : program_interpreter(judging->paths, program->path);
  if (!interpreter || depth >= INTERPRETERS_MAX)
    return PATHS_NATIVE;
  g_autofree char *base = *interpreter == '/' ? NULL : read_base(judging, AT_FDCWD);
  g_autofree char *path = base ? g_strconcat(base, "/", interpreter, NULL) : g_strdup(interpreter);
  g_auto(PathsPlace) place = {0};
  if (*path != '/')
    return PATHS_NATIVE;
  PathsVerdict verdict = judge_place(judging, path, SYSCALL_PATH_RUNS, TRUE, &place);
  return verdict == PATHS_NATIVE && place.there ? judge_interpreter(judging, &place, depth + 1) : verdict;
}

static PathsVerdict
judge_place(const Judging *judging, const char *path, guint use, gboolean follow, PathsPlace *place)
{
  Freshness need = first_need(judging, use);
  PathsVerdict verdict = walk_path(judging->paths, judging->tid, path, follow, need, place, judging->reason);
  Freshness more = verdict == PATHS_NATIVE ? full_need(judging, use, place) : need;
  if (verdict == PATHS_NATIVE && more > need) {
    PathsAsk ask = {place->path, FALSE, !augmenter_is_local(judging->paths->augmenter)};
    verdict = fresh_bring(judging->paths, place->path, more, &ask, judging->reason);
  }
  return verdict == PATHS_NATIVE ? judge_change(judging, use, place) : verdict;
}

/* The disk's figures are the device's, for all that it has itself. */
static gboolean
is_figures_of_device(const Judging *judging, const PathsPlace *place)
{
  const char *rest;
  const PathsLayer *layer = layer_of(judging->paths, place->path, &rest);
  return judging->row->nr == SYS_statfs && place->there && (!layer || !layer_touched(layer, rest));
}

/* What the capture of the block's changes will want to know. An open that truncates makes no copy of the
 * content, and shall not. */
static void
note_change(const Judging *judging, guint index, const PathsPlace *place)
{
  enum { TAKES_NAME = SYSCALL_PATH_CREATES | SYSCALL_PATH_REMOVES };
  const char *rest;
  guint use = syscall_path_use(judging->row, index, judging->arguments, judging->how_flags);
  PathsLayer *layer = place->path && !place->special ? layer_of(judging->paths, place->path, &rest) : NULL;
  if (!layer || !*rest)
    return;
  gboolean rename = is_rename(judging->row);
  gboolean empties = use & SYSCALL_PATH_OPENS &&
                     syscall_open_flags(judging->row, judging->arguments, judging->how_flags) & O_TRUNC;
  gboolean changes =
      use & (SYSCALL_PATH_WRITES | SYSCALL_PATH_CHANGES) || (rename && use & SYSCALL_PATH_REMOVES);
  PathsIdentity identity;
  gboolean named = place->there && !S_ISDIR(place->own.st_mode) && gives_name(judging->row) &&
                   identity_of(judging->paths, place->path, &place->own, &identity);
  if (place->there && S_ISREG(place->own.st_mode) && changes && !empties)
    layer_keep_origin(layer, rest);
  if (named)
    identity_keep(judging->paths, layer, rest, &identity);
  if (rename && (use & TAKES_NAME) == TAKES_NAME)
    g_hash_table_add(layer->renamed, g_strdup(rest));
}

static PathsVerdict
judge_path(const Judging *judging, guint index, PathsPlace *place)
{
  guint use = syscall_path_use(judging->row, index, judging->arguments, judging->how_flags);
  g_autofree char *path = NULL;
  PathsVerdict verdict;
  if (!use)
    return PATHS_NATIVE;
  switch (read_path(judging, index, &path)) {
  case NAMED_PIN:
    return cut(judging, "a path", "below a directory that only the device has open");
  case NAMED_DESCRIPTOR: /* it is open: what it was when it was opened counts */
    verdict = stat_answer_descriptor(judging->paths, judging->tid, judging->row, judging->arguments,
                                     (int)judging->arguments[0]);
    if (verdict != PATHS_NATIVE)
      return verdict;
    if (!path || !(use & (SYSCALL_PATH_RUNS | SYSCALL_PATH_CHANGES)))
      return PATHS_NATIVE;
    break;
  case NAMED_NOTHING:
    return PATHS_NATIVE;
  case NAMED_PATH:
    break;
  }
  gboolean follow = syscall_path_follows(judging->row, index, judging->arguments, judging->how_flags);
  verdict = judge_place(judging, path, use, follow, place);
  if (verdict == PATHS_NATIVE && use & SYSCALL_PATH_RUNS && place->there)
    verdict = judge_interpreter(judging, place, 0);
  if (verdict == PATHS_NATIVE && is_figures_of_device(judging, place))
    return cut(judging, place->path, "is on the device's disk");
  /* What else the device would do there it does not do for its clone (mirror/pincall_permitted.c). */
  if (verdict == PATHS_FORWARD && (index > 0 || use & ~FORWARDED))
    return cut(judging, path, "is the device's");
  if (verdict == PATHS_FORWARD)
    *judging->forward = g_steal_pointer(&place->forward);
  if (verdict == PATHS_CUT && !*judging->reason)
    return cut(judging, path, "is the device's");
  return verdict;
}

PathsVerdict
paths_judge(Paths *paths, pid_t tid, const SyscallRow *row, const guint64 arguments[SYSCALL_ARGS],
            char **path, char **reason)
{
  Judging judging = {
      .paths = paths, .tid = tid, .row = row, .arguments = arguments, .forward = path, .reason = reason};
  guint64 flags = 0;
  guint changes = 0;
  PathsPlace places[2] = {0};
  if (row->nr == SYS_openat2 &&
      augmenter_memory_read(paths->augmenter, tid, arguments[2] + offsetof(struct open_how, flags), &flags,
                            sizeof flags))
    judging.how_flags = flags;
  for (guint i = 0; i < 2; i++) {
    PathsVerdict verdict = judge_path(&judging, i, &places[i]);
    if (verdict == PATHS_NATIVE && i == 0 && stat_answer(paths, tid, row, arguments, &places[0]))
      verdict = PATHS_DONE;
    if (verdict != PATHS_NATIVE) {
      paths_place_clear(&places[0]);
      paths_place_clear(&places[1]);
      return verdict;
    }
    changes |= syscall_path_use(row, i, arguments, judging.how_flags) & CHANGING;
  }
  for (guint i = 0; i < 2 && changes; i++)
    note_change(&judging, i, &places[i]);
  paths->dirty |= changes != 0;
  paths_place_clear(&places[0]);
  paths_place_clear(&places[1]);
  return PATHS_NATIVE;
}
