#include "profiler/program.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

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

char **
profiler_program_arguments(const JobRequest *request)
{
  return texts_of(request->n_argument, request->argument);
}

char **
profiler_program_environment(const JobRequest *request)
{
  return texts_of(request->n_environment, request->environment);
}

Sandbox *
profiler_program_enter(const ProfilerPlace *place, const JobRequest *request, GError **error)
{
  g_auto(GStrv) variables = profiler_program_environment(request);
  g_autofree char *directory = text_of(&request->directory);
  const char *home = g_environ_getenv(variables, "HOME");
  const char *writable[] = {directory, home && *home == '/' ? home : NULL, NULL};
  SandboxSpec spec = {
      .local = place->local,
      .root = place->root,
      .tmp = place->tmp,
      .hidden = place->hidden,
      .own_id_as = TRUE,
      .uid = request->uid,
      .gid = request->gid,
      .writable = writable,
  };
  /* The local clone shares its machine's name and clocks. */
  if (!place->local) {
    spec.hostname = *request->host_name ? request->host_name : NULL;
    spec.monotonic_ns = request->monotonic_ns ? request->monotonic_ns - clock_ns(CLOCK_MONOTONIC) : 0;
    spec.boottime_ns = request->boottime_ns ? request->boottime_ns - clock_ns(CLOCK_BOOTTIME) : 0;
  }
  return sandbox_enter(&spec, error);
}

SandboxRlimit *
profiler_program_limits(const JobRequest *request)
{
  SandboxRlimit *limits = g_new0(SandboxRlimit, request->n_limit + 1);
  for (gsize i = 0; i < request->n_limit; i++) {
    limits[i] =
        (SandboxRlimit){(int)request->limit[i]->resource, {request->limit[i]->soft, request->limit[i]->hard}};
    limits_clip(limits[i].resource, &limits[i].limit);
  }
  return limits;
}

int
profiler_program_input(const ProtobufCBinaryData *path, guint64 offset, GError **error)
{
  g_autofree char *name = path->len ? text_of(path) : g_strdup("/dev/null");
  struct stat status;
  g_auto(Fd) fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0 || fstat(fd, &status) < 0)
    doppel_error_set_foreign(error, DOPPEL_ERROR_NOT_FOUND,
                             "the file that is its standard input, %s, is not there in the clone", name);
  else if (path->len && !S_ISREG(status.st_mode))
    doppel_error_set_foreign(error, DOPPEL_ERROR_UNSUPPORTED,
                             "its standard input, %s, is no file in the clone", name);
  else if (offset && lseek(fd, (off_t)offset, SEEK_SET) < 0)
    doppel_error_errno(error, "cannot read on in its standard input");
  else if (fcntl(fd, F_SETFL, 0) == 0)
    return io_steal_fd(&fd);
  return -1;
}

pid_t
profiler_program_spawn(Sandbox *sandbox, const JobRequest *request, const ProfilerSpawn *wanted,
                       GError **error)
{
  g_auto(GStrv) argv = profiler_program_arguments(request);
  g_auto(GStrv) envp = profiler_program_environment(request);
  g_autofree char *path = text_of(&request->path), *directory = text_of(&request->directory);
  g_autofree SandboxRlimit *limits = profiler_program_limits(request);
  const SandboxFd fds[] = {{wanted->input, 0}, {wanted->output, 1}, {wanted->error, 2}};
  const SandboxSpawn spawn = {
      .path = wanted->path ? wanted->path : path,
      .argv = wanted->argv ? wanted->argv : argv,
      .envp = wanted->envp ? wanted->envp : envp,
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
  return sandbox_spawn(sandbox, &spawn, error);
}
