#include "replicator/job_place.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/delta.h"
#include "replica/pack.h"
#include "replica/path.h"
#include "replicator/job_changes.h"
#include "replicator/job_whole.h"

void
job_layer_free(JobLayer *layer)
{
  g_clear_pointer(&layer->baseline, replica_baseline_free);
  g_clear_pointer(&layer->layer, replica_layer_free);
  g_free(layer->mountpoint);
  g_free(layer);
}

/* ---- coming about ---- */

static gint64
clock_ns(clockid_t clock)
{
  struct timespec now;
  clock_gettime(clock, &now);
  return (gint64)now.tv_sec * 1000000000 + now.tv_nsec;
}

static char *
text_of(const ProtobufCBinaryData *bytes)
{
  return g_strndup((const char *)bytes->data, bytes->len);
}

static char **
texts_of(gsize count, const ProtobufCBinaryData *list)
{
  char **texts = g_new0(char *, count + 1);
  for (gsize i = 0; i < count; i++)
    texts[i] = text_of(&list[i]);
  return texts;
}

Sandbox *
job_place_enter(const JobPlace *place, const JobRequest *request, const char *work, GError **error)
{
  g_auto(GStrv) variables = texts_of(request->n_environment, request->environment);
  g_autofree char *directory = text_of(&request->directory);
  const char *home = g_environ_getenv(variables, "HOME");
  const char *writable[] = {directory, home && *home == '/' ? home : NULL, NULL};
  SandboxSpec spec = {
      .root = place->root,
      .tmp = work,
      .hidden = place->hidden,
      .hostname = *request->host_name ? request->host_name : NULL,
      .monotonic_ns = request->monotonic_ns ? request->monotonic_ns - clock_ns(CLOCK_MONOTONIC) : 0,
      .boottime_ns = request->boottime_ns ? request->boottime_ns - clock_ns(CLOCK_BOOTTIME) : 0,
      .own_id_as = TRUE,
      .uid = request->uid,
      .gid = request->gid,
      .writable = writable,
      .limits = {.memory_bytes = request->memory_bytes,
                 .cpu_percent = request->cpu_percent,
                 .pids = request->processes},
  };
  return sandbox_enter(&spec, error);
}

static gboolean
add_layer(GPtrArray *layers, const SandboxLayer *sandbox, GError **error)
{
  JobLayer *layer = g_new0(JobLayer, 1);
  g_ptr_array_add(layers, layer);
  layer->mountpoint = g_strdup(sandbox->mountpoint);
  layer->layer = replica_layer_new(-1, sandbox->upper_fd, sandbox->lower_fd, TRUE, error);
  layer->baseline = layer->layer ? replica_baseline_new(layer->layer, error) : NULL;
  return layer->baseline != NULL;
}

GPtrArray *
job_place_layers(const Sandbox *sandbox, GError **error)
{
  g_autoptr(GPtrArray) layers = g_ptr_array_new_with_free_func((GDestroyNotify)job_layer_free);
  /* The sandbox's /proc does not show this process; the one that it kept does. */
  if (fchdir(sandbox->proc_fd) != 0) {
    doppel_error_errno(error, "entering /proc");
    return NULL;
  }
  replica_path_set_self("self");
  for (guint i = 0; i < sandbox->layers->len; i++)
    if (!add_layer(layers, sandbox->layers->pdata[i], error))
      return NULL;
  return g_steal_pointer(&layers);
}

static SandboxRlimit *
limits_of(const JobRequest *request)
{
  SandboxRlimit *limits = g_new0(SandboxRlimit, request->n_limit + 1);
  for (gsize i = 0; i < request->n_limit; i++)
    limits[i] =
        (SandboxRlimit){(int)request->limit[i]->resource, {request->limit[i]->soft, request->limit[i]->hard}};
  return limits;
}

pid_t
job_place_start(Sandbox *sandbox, const JobRequest *request, const int output[JOB_STREAMS], GError **error)
{
  g_auto(Fd) null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null < 0) {
    doppel_error_errno(error, "cannot open /dev/null in the clone");
    return -1;
  }
  g_auto(GStrv) arguments = texts_of(request->n_argument, request->argument);
  g_auto(GStrv) variables = texts_of(request->n_environment, request->environment);
  g_autofree char *path = text_of(&request->path), *directory = text_of(&request->directory);
  g_autofree SandboxRlimit *limits = limits_of(request);
  const SandboxFd fds[] = {{null, 0}, {output[JOB_STDOUT], 1}, {output[JOB_STDERR], 2}};
  SandboxSpawn spawn = {
      .path = path,
      .argv = arguments,
      .envp = variables,
      .cwd = directory,
      .uid = request->uid,
      .gid = request->gid,
      .groups = request->group,
      .group_count = request->n_group,
      .umask = request->umask,
      .rlimits = limits,
      .rlimit_count = request->n_limit,
      .fds = fds,
      .fd_count = G_N_ELEMENTS(fds),
  };
  pid_t program = sandbox_spawn(sandbox, &spawn, error);
  return program < 0 || sandbox_release(sandbox, program, error) ? program : -1;
}

/* ---- the end ---- */

void
job_place_empty(Sandbox *sandbox, pid_t program, int *status)
{
  *status = 0;
  if (sandbox->init > 0)
    kill(sandbox->init, SIGKILL);
  for (;;) {
    int each;
    pid_t pid = waitpid(-1, &each, __WALL);
    if (pid < 0 && errno == EINTR)
      continue;
    if (pid < 0)
      break;
    if (pid == program)
      *status = each;
  }
  sandbox->init = 0;
}

static gboolean
write_messages(const JobLayer *layer, const ReplicaDelta *delta, guint number, int changes, GError **error)
{
  g_autoptr(ReplicaPacker) packer = replica_packer_new(layer->layer, delta);
  for (;;) {
    GError *why = NULL;
    g_autoptr(GBytes) bytes = replica_packer_next(packer, &why);
    if (why)
      g_propagate_error(error, why);
    if (!bytes)
      return !why;
    gsize length;
    const guint8 *data = g_bytes_get_data(bytes, &length);
    if (!job_changes_append(changes, number, data, length))
      return doppel_error_errno(error, "cannot write down what the job did to files");
  }
}

static void
add_bytes(gsize *count, ProtobufCBinaryData **list, const char *text)
{
  *list = realloc(*list, (*count + 1) * sizeof **list);
  if (!*list)
    abort();
  (*list)[(*count)++] = (ProtobufCBinaryData){strlen(text), (guint8 *)strdup(text)};
}

static gboolean
capture_layer(JobLayer *layer, const Job *job, int changes, JobState *state, GError **error)
{
  g_autoptr(GPtrArray) left_out = g_ptr_array_new_with_free_func(g_free);
  ReplicaCaptureOptions options = {.by_path = TRUE, .left_out = left_out};
  g_autoptr(ReplicaDelta) delta = replica_capture(layer->layer, layer->baseline, &options, error);
  if (!delta)
    return FALSE;
  const char *above = layer->mountpoint[1] ? layer->mountpoint : "";
  for (guint i = 0; i < left_out->len; i++) {
    g_autofree char *path = g_strconcat(above, "/", left_out->pdata[i], NULL);
    add_bytes(&state->n_left_out, &state->left_out, path);
  }
  if (!delta->entries->len)
    return TRUE;
  add_bytes(&state->n_mountpoint, &state->mountpoint, layer->mountpoint);
  guint number = (guint)state->n_mountpoint - 1;
  return write_messages(layer, delta, number, changes, error) &&
         job_whole_keep(job, layer->layer->upper, number, delta, error);
}

gboolean
job_place_capture(GPtrArray *layers, const Job *job, int changes, JobState *state, GError **error)
{
  for (guint i = 0; i < layers->len; i++)
    if (!capture_layer(layers->pdata[i], job, changes, state, error))
      return FALSE;
  return TRUE;
}
