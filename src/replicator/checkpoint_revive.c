#include "replicator/checkpoint_revive.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "mirror/snapshot.h"
#include "mirror/twin.h"
#include "replica/path.h"

#define LOT      (32u << 20) /* bytes of memory that are put at once */
#define NS_PER_S G_GINT64_CONSTANT(1000000000)

CheckpointRevival *
checkpoint_revival_new(GPtrArray *bodies)
{
  CheckpointRevival *revival = g_new0(CheckpointRevival, 1);
  revival->bodies = bodies;
  revival->state = ((CheckpointBody *)bodies->pdata[bodies->len - 1])->state;
  revival->places = g_hash_table_new_full(NULL, NULL, NULL, g_free);
  return revival;
}

void
checkpoint_revival_free(CheckpointRevival *revival)
{
  g_hash_table_unref(revival->places);
  g_free(revival);
}

gboolean
checkpoint_revival_fits(const CheckpointRevival *revival, GError **error)
{
  const CheckpointState *state = revival->state;
  if (strcmp(state->architecture, arch_name) != 0)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "the program ran on %s, this machine is %s",
                            state->architecture, arch_name);
  g_autofree char *own = arch_features(), *lacks = arch_features_mask(state->features, own);
  return !lacks || doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                                    "the program uses what this machine's processor lacks (%s)", lacks);
}

/* ---- files ---- */

static char *
path_text(const CheckpointFile *file)
{
  return g_strndup((const char *)file->path.data, file->path.len);
}

/* The directory that a file of the program's is in, in the part of the sandbox that takes changes: what a
 * checkpoint names may be hostile. Never through a symbolic link. */
static int
open_parent(const CheckpointRevival *revival, const char *path, const char **name, GError **error)
{
  const char *rest;
  g_auto(Fd) root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  int parent = -1;
  errno = EROFS;
  if (root >= 0 && sandbox_layer_of(revival->sandbox, path, &rest))
    parent = replica_path_open_parent(root, path + 1, FALSE, name);
  if (parent < 0)
    doppel_error_errno(error, "the program's file %s cannot be reached here", path);
  return parent;
}

static int
open_file(const CheckpointRevival *revival, const char *path, int flags, GError **error)
{
  const char *name;
  struct stat facts;
  g_auto(Fd) parent = open_parent(revival, path, &name, error);
  if (parent < 0)
    return -1;
  g_auto(Fd) fd = openat(parent, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0600);
  errno = fd < 0 ? errno : EINVAL;
  if (fd >= 0 && fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode))
    return io_steal_fd(&fd);
  doppel_error_errno(error, "the program's file %s cannot be opened here", path);
  return -1;
}

static gboolean
is_here(const char *path, const CheckpointFile *named)
{
  g_auto(Fd) file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  return file >= 0 && checkpoint_file_is(named, file);
}

static gboolean
write_block(guint64 start, guint64 length, const guint8 *bytes, gpointer user, GError **error)
{
  int file = *(int *)user;
  for (guint64 done = 0; bytes && done < length;) {
    ssize_t put = pwrite(file, bytes + done, length - done, (off_t)(start + done));
    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0)
      return doppel_error_errno(error, "writing a file of the program's");
    done += (guint64)put;
  }
  return TRUE;
}

static gboolean
fill(const CheckpointRevival *revival, const CheckpointFile *file, int fd, GError **error)
{
  if (file->kind == DOPPEL__WIRE__CHECKPOINT_FILE__KIND__NAMED && !file->carried) {
    g_autofree char *path = path_text(file);
    return revival->fetch ? revival->fetch(file, fd, revival->user, error)
                          : doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                                             "the file %s is not here as the program had it", path);
  }
  if (ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)file->size) < 0)
    return doppel_error_errno(error, "writing a file of the program's");
  return checkpoint_view_file(revival->bodies, file->file, file->size, write_block, &fd, error);
}

/* As far as this machine can: who has one user only keeps the owners it has. */
static void
set_facts(int fd, const CheckpointFile *file)
{
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                              {file->mtime_ns / NS_PER_S, file->mtime_ns % NS_PER_S}};
  if (fchown(fd, file->uid, file->gid) < 0)
    g_debug("the owner of a file cannot be kept: %s", g_strerror(errno));
  if (fchmod(fd, file->mode) < 0 || futimens(fd, times) < 0)
    g_debug("a file's metadata cannot be kept: %s", g_strerror(errno));
}

/* A file beside its place, moved there when it is complete: whoever runs from it keeps what it has. */
static gboolean
place_named(const CheckpointRevival *revival, const CheckpointFile *file, const char *path, GError **error)
{
  const char *name;
  g_autofree char *beside = g_strconcat(path, ".doppel-new", NULL);
  g_auto(Fd) parent = open_parent(revival, path, &name, error);
  g_auto(Fd) fd = parent < 0 ? -1 : open_file(revival, beside, O_RDWR | O_CREAT | O_TRUNC, error);
  if (fd < 0)
    return FALSE;
  const char *temporary = strrchr(beside, '/') + 1;
  gboolean done = fill(revival, file, fd, error);
  if (done)
    set_facts(fd, file);
  if (done && renameat(parent, temporary, parent, name) < 0)
    done = doppel_error_errno(error, "cannot make %s", path);
  if (!done)
    unlinkat(parent, temporary, 0);
  return done;
}

static gboolean
make_parents(const CheckpointRevival *revival, const char *path, GError **error)
{
  for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    g_autofree char *above = g_strndup(path, (gsize)(slash - path));
    struct stat facts;
    const char *name;
    if (stat(above, &facts) == 0)
      continue;
    g_auto(Fd) parent = open_parent(revival, above, &name, error);
    if (parent < 0)
      return FALSE;
    if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
      return doppel_error_errno(error, "cannot make %s", above);
  }
  return TRUE;
}

gboolean
checkpoint_revival_prepare(CheckpointRevival *revival, const Sandbox *sandbox, GError **error)
{
  revival->sandbox = sandbox;
  for (gsize i = 0; i < revival->state->n_file; i++) {
    const CheckpointFile *file = revival->state->file[i];
    g_autofree char *path = path_text(file);
    if (file->kind == DOPPEL__WIRE__CHECKPOINT_FILE__KIND__NAMELESS)
      continue;
    if (file->kind == DOPPEL__WIRE__CHECKPOINT_FILE__KIND__NAMED && is_here(path, file))
      continue;
    if (!make_parents(revival, path, error) || (file->kind == DOPPEL__WIRE__CHECKPOINT_FILE__KIND__NAMED &&
                                                !place_named(revival, file, path, error)))
      return FALSE;
  }
  return TRUE;
}

/* Until the program has it open, everybody may. */
static gboolean
place_written(CheckpointRevival *revival, const CheckpointFile *file, GError **error)
{
  gboolean nameless = file->kind == DOPPEL__WIRE__CHECKPOINT_FILE__KIND__NAMELESS;
  char *path = nameless ? g_strdup_printf("/tmp/.doppel-nameless-%u", file->file) : path_text(file);
  g_hash_table_insert(revival->places, GUINT_TO_POINTER(file->file), path);
  g_auto(Fd) fd = open_file(revival, path, O_RDWR | O_CREAT | O_TRUNC, error);
  if (fd < 0)
    return FALSE;
  if (!fill(revival, file, fd, error))
    return FALSE;
  set_facts(fd, file);
  return fchmod(fd, file->mode | 0666) == 0 ||
         doppel_error_errno(error, "cannot open %s to the program", path);
}

static gboolean
is_written(const CheckpointFile *file)
{
  return file->kind != DOPPEL__WIRE__CHECKPOINT_FILE__KIND__NAMED;
}

static gboolean
place_all_written(CheckpointRevival *revival, GError **error)
{
  for (gsize i = 0; i < revival->state->n_file; i++)
    if (is_written(revival->state->file[i]) && !place_written(revival, revival->state->file[i], error))
      return FALSE;
  return TRUE;
}

/* The program has them open. */
static void
settle_written(CheckpointRevival *revival)
{
  for (gsize i = 0; i < revival->state->n_file; i++) {
    const CheckpointFile *file = revival->state->file[i];
    const char *path = g_hash_table_lookup(revival->places, GUINT_TO_POINTER(file->file));
    if (!path)
      continue;
    const char *name;
    g_auto(Fd) fd = open_file(revival, path, O_RDONLY, NULL);
    g_auto(Fd) parent = open_parent(revival, path, &name, NULL);
    if (fd >= 0)
      set_facts(fd, file);
    if (parent >= 0 && file->kind == DOPPEL__WIRE__CHECKPOINT_FILE__KIND__NAMELESS)
      unlinkat(parent, name, 0);
  }
}

static const char *
path_of(guint32 number, gpointer user)
{
  CheckpointRevival *revival = user;
  const char *path = g_hash_table_lookup(revival->places, GUINT_TO_POINTER(number));
  for (gsize i = 0; !path && i < revival->state->n_file; i++)
    if (revival->state->file[i]->file == number) {
      g_hash_table_insert(revival->places, GUINT_TO_POINTER(number), path_text(revival->state->file[i]));
      path = g_hash_table_lookup(revival->places, GUINT_TO_POINTER(number));
    }
  return path;
}

/* ---- the process ---- */

static char **
texts_of(gsize count, const ProtobufCBinaryData *list)
{
  char **texts = g_new0(char *, count + 1);
  for (gsize i = 0; i < count; i++)
    texts[i] = g_strndup((const char *)list[i].data, list[i].len);
  return texts;
}

static pid_t
spawn(const CheckpointRevival *revival, Sandbox *sandbox, const int standard[3], GError **error)
{
  const Doppel__Wire__JobRequest *request = revival->state->request;
  g_auto(GStrv) arguments = texts_of(request->n_argument, request->argument);
  g_auto(GStrv) variables = texts_of(request->n_environment, request->environment);
  g_autofree char *path = g_strndup((const char *)request->path.data, request->path.len);
  g_autofree SandboxRlimit *limits = g_new0(SandboxRlimit, request->n_limit + 1);
  for (gsize i = 0; i < request->n_limit; i++)
    limits[i] =
        (SandboxRlimit){(int)request->limit[i]->resource, {request->limit[i]->soft, request->limit[i]->hard}};
  const SandboxFd fds[] = {{standard[0], 0}, {standard[1], 1}, {standard[2], 2}};
  SandboxSpawn spec = {.path = path,
                       .argv = arguments,
                       .envp = variables,
                       .cwd = "/",
                       .wanted_pid = (pid_t)revival->state->pid,
                       .uid = request->uid,
                       .gid = request->gid,
                       .groups = request->group,
                       .group_count = request->n_group,
                       .umask = request->umask,
                       .personality = ADDR_NO_RANDOMIZE,
                       .rlimits = limits,
                       .rlimit_count = request->n_limit,
                       .fds = fds,
                       .fd_count = G_N_ELEMENTS(fds)};
  return sandbox_spawn(sandbox, &spec, error);
}

/* Seizes it where it waits, lets it execute the program, and finds it before the program's first instruction.
 */
static gboolean
seize(Sandbox *sandbox, pid_t pid, GError **error)
{
  if (ptrace(PTRACE_SEIZE, pid, 0,
             PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD) < 0)
    return doppel_error_errno(error, "tracing the program");
  if (!sandbox_release(sandbox, pid, error))
    return FALSE;
  for (;;) {
    int status;
    pid_t got = waitpid(pid, &status, __WALL);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0 || !WIFSTOPPED(status))
      return doppel_error_set(error, DOPPEL_ERROR_GONE, "the program died while it started");
    if (status >> 16 == PTRACE_EVENT_EXEC)
      return TRUE;
    ptrace(PTRACE_CONT, pid, 0, status >> 16 ? 0 : WSTOPSIG(status));
  }
}

static gboolean
next_thread(pid_t own_tid, void *user, GError **error)
{
  return sandbox_next_pid(user, own_tid, error);
}

typedef struct {
  MirrorTwin *twin;
  MirrorDelta *delta;
} Putting;

static gboolean
apply(Putting *putting, GError **error)
{
  gboolean begun;
  gboolean done = mirror_twin_apply(putting->twin, putting->delta, &begun, error);
  mirror_delta_free(putting->delta);
  putting->delta = mirror_delta_new();
  return done;
}

static gboolean
put_memory(guint64 start, guint64 length, const guint8 *bytes, gpointer user, GError **error)
{
  Putting *putting = user;
  MirrorRun run = {start, length, bytes ? MIRROR_RUN_DATA : MIRROR_RUN_HOLE, 0};
  g_array_append_val(putting->delta->runs, run);
  if (bytes)
    g_byte_array_append(putting->delta->data, bytes, length);
  return putting->delta->data->len < LOT || apply(putting, error);
}

static void
add_sections(MirrorDelta *delta, const CheckpointState *state)
{
  for (gsize i = 0; i < state->n_section; i++) {
    const Doppel__Wire__CheckpointSection *from = state->section[i];
    MirrorSection *section = g_new(MirrorSection, 1);
    *section = (MirrorSection){from->kind, from->id, g_bytes_new(from->bytes.data, from->bytes.len)};
    g_ptr_array_add(delta->sections, section);
  }
}

/* Mappings, threads and registers first, then what is in the memory. */
static gboolean
put_state(const CheckpointRevival *revival, MirrorTwin *twin, GError **error)
{
  Putting putting = {twin, mirror_delta_new()};
  add_sections(putting.delta, revival->state);
  gboolean done = apply(&putting, error) &&
                  checkpoint_view_memory(revival->bodies, put_memory, &putting, error) &&
                  (!putting.delta->runs->len || apply(&putting, error));
  mirror_delta_free(putting.delta);
  return done;
}

static gboolean
let_go(MirrorProcess *process, GError **error)
{
  for (guint i = process->threads->len; i-- > 0;)
    if (!mirror_thread_resume(process->threads->pdata[i], PTRACE_DETACH, error))
      return FALSE;
  return TRUE;
}

/* They come in by way of numbers above those they are to have, which the program's own limit may not allow.
 */
static gboolean
place_descriptors(CheckpointRevival *revival, MirrorProcess *process, GError **error)
{
  struct rlimit own, wide;
  if (prlimit(process->pid, RLIMIT_NOFILE, NULL, &own) < 0)
    return doppel_error_errno(error, "cannot see how many files the program may open");
  wide = (struct rlimit){own.rlim_max, own.rlim_max};
  if (prlimit(process->pid, RLIMIT_NOFILE, &wide, NULL) < 0)
    return doppel_error_errno(error, "cannot let the program open its files");
  gboolean placed = mirror_snapshot_place(process, revival->state, path_of, revival, error);
  if (prlimit(process->pid, RLIMIT_NOFILE, &own, NULL) == 0 || !placed)
    return placed;
  return doppel_error_errno(error, "cannot limit the program's open files again");
}

static gboolean
revive(CheckpointRevival *revival, Sandbox *sandbox, pid_t pid, GError **error)
{
  if (!seize(sandbox, pid, error))
    return FALSE;
  g_autoptr(MirrorProcess) process = mirror_process_new(pid, sandbox->proc_fd, error);
  if (!process || !mirror_scratch_make(process, error))
    return FALSE;
  g_autoptr(MirrorTwin) twin = mirror_twin_new(process, FALSE, MIRROR_TRACK_AUTO, -1, error);
  if (!twin)
    return FALSE;
  twin->next_thread = next_thread;
  twin->next_user = sandbox;
  if (!put_state(revival, twin, error) || !place_descriptors(revival, process, error))
    return FALSE;
  settle_written(revival);
  return mirror_snapshot_wake(process, revival->state, error) && let_go(process, error);
}

/* The end of a program is told when those of its other threads have been heard. */
static void
reap(Sandbox *sandbox, pid_t pid)
{
  for (pid_t got; (got = waitpid(-1, NULL, __WALL)) != pid;) {
    if (got < 0 && errno != EINTR)
      return;
    if (got == sandbox->init)
      sandbox->init = 0;
  }
}

pid_t
checkpoint_revival_start(CheckpointRevival *revival, Sandbox *sandbox, int input, int output, int errors,
                         GError **error)
{
  if (!place_all_written(revival, error))
    return -1;
  pid_t pid = spawn(revival, sandbox, (const int[]){input, output, errors}, error);
  if (pid < 0)
    return -1;
  if (revive(revival, sandbox, pid, error))
    return pid;
  kill(pid, SIGKILL);
  reap(sandbox, pid);
  return -1;
}
