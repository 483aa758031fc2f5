#include "profiler/run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "profiler/named.h"
#include "profiler/valgrind.h"
#include "profiler/watch.h"

enum { CHILDREN_MAX = 100000, NOTES_MAX = 64 };

typedef struct {
  const ProfilerRun *run;
  ProfilerWatch watch;
  Sandbox *sandbox;
  ProfilerValgrind *valgrind; /* NULL: it runs alone */
  int profiles;               /* the directory that gets them */
  pid_t inside;               /* the program's id in the sandbox */
} Runner;

/* ---- the profile ---- */

/* The program may have put something else there. -1: there is none. */
static int
open_profile(const Runner *runner)
{
  char name[16];
  struct stat status;
  g_snprintf(name, sizeof name, "%d", (int)runner->inside);
  g_auto(Fd) fd = openat(runner->profiles, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
    return -1;
  return io_steal_fd(&fd);
}

/* Profiles beside its own. */
static guint
count_children(const Runner *runner)
{
  guint count = 0;
  int own = openat(runner->profiles, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *listing = own < 0 ? NULL : fdopendir(own);
  if (!listing) {
    io_close(&own);
    return 0;
  }
  for (struct dirent *entry; count < CHILDREN_MAX && (entry = readdir(listing));)
    count += entry->d_name[0] != '.' && atoi(entry->d_name) != runner->inside;
  closedir(listing);
  return count;
}

static void
tell_object(const ProfileObject *object, gpointer user)
{
  Doppel__Wire__ProfilerObject said = DOPPEL__WIRE__PROFILER_OBJECT__INIT;
  said.path = (ProtobufCBinaryData){strlen(object->path), (guint8 *)object->path};
  said.build_id = object->build_id ? object->build_id : said.build_id;
  said.size = object->size;
  said.hash = object->hash ? object->hash : said.hash;
  profiler_watch_tell(((Runner *)user)->watch.socket, PROFILER_MESSAGE(OBJECT, object, &said), -1);
}

static void
finish(Runner *runner)
{
  struct stat facts = {0};
  const ProfilerWatch *watch = &runner->watch;
  g_auto(Fd) profile = runner->valgrind ? open_profile(runner) : -1;
  gboolean there = profile >= 0 && fstat(profile, &facts) == 0;
  ProfilerRan ran = DOPPEL__WIRE__PROFILER_RAN__INIT;
  ran.run = runner->run->kind;
  ran.status = WIFEXITED(watch->status) ? (guint32)WEXITSTATUS(watch->status) : 0;
  ran.signal = WIFSIGNALED(watch->status) ? (guint32)WTERMSIG(watch->status) : 0;
  ran.wall_ns = watch->wall_ns;
  ran.cpu_ns = watch->cpu_ns;
  ran.cut = watch->cut;
  ran.reason = watch->reason ? watch->reason : ran.reason;
  ran.profiled = there && facts.st_size > 0;
  /* So is the file of one that was killed. */
  ran.replaced = there && facts.st_size == 0 && !ran.signal;
  ran.children = runner->valgrind ? count_children(runner) : 0;
  ran.said = (ProtobufCBinaryData){watch->said->len, (guint8 *)watch->said->str};
  ran.n_note = MIN(runner->sandbox->notes->len, NOTES_MAX);
  ran.note = (char **)runner->sandbox->notes->pdata;
  if (ran.profiled)
    profiler_named_objects(profile, tell_object, runner);
  profiler_watch_tell(watch->socket, PROFILER_MESSAGE(RAN, ran, &ran), ran.profiled ? profile : -1);
}

/* ---- coming about ---- */

/* Its id in the innermost PID namespace, which is the one that callgrind names its file by. */
static pid_t
id_inside(const Sandbox *sandbox, pid_t pid)
{
  g_autofree char *name = g_strdup_printf("%d/status", (int)pid);
  g_autofree char *text = io_read_file_at(sandbox->proc_fd, name, 64 << 10);
  const char *line = text ? strstr(text, "\nNSpid:") : NULL;
  pid_t last = pid;
  for (const char *at = line ? line + strlen("\nNSpid:") : "\n"; *at && *at != '\n';) {
    char *end;
    long value = strtol(at, &end, 10);
    if (end == at)
      break;
    last = (pid_t)value;
    at = end;
  }
  return last;
}

static pid_t
spawn(Runner *runner, const ProfilerSpawn *ends, GError **error)
{
  const JobRequest *request = runner->run->start->program;
  if (!runner->valgrind)
    return profiler_program_spawn(runner->sandbox, request, ends, error);
  g_auto(GStrv) program = profiler_program_arguments(request);
  g_auto(GStrv) variables = profiler_program_environment(request);
  g_auto(GStrv) argv = profiler_valgrind_arguments(runner->valgrind, program);
  g_auto(GStrv) envp = profiler_valgrind_environment(variables);
  g_autofree char *path = profiler_valgrind_path(runner->valgrind);
  ProfilerSpawn tool = *ends;
  tool.path = path;
  tool.argv = argv;
  tool.envp = envp;
  return profiler_program_spawn(runner->sandbox, request, &tool, error);
}

static gboolean
start_program(Runner *runner, GError **error)
{
  const ProfilerRun *run = runner->run;
  const ProfilerStart *start = run->start;
  ProfilerWatch *watch = &runner->watch;
  g_auto(Fd) out = -1, err = -1, input = profiler_program_input(&start->input, start->input_offset, error);
  if (input < 0 || !profiler_watch_pipes(watch, &out, &err, error))
    return FALSE;
  pid_t program = spawn(runner, &(ProfilerSpawn){.input = input, .output = out, .error = err}, error);
  if (program < 0 || !profiler_watch_program(watch, runner->sandbox, program, error))
    return FALSE;
  runner->inside = id_inside(runner->sandbox, program);
  profiler_watch_begin(watch, start->seconds, run->bounds);
  return sandbox_release(runner->sandbox, program, error);
}

static gboolean
begin(Runner *runner, GError **error)
{
  const ProfilerRun *run = runner->run;
  const JobRequest *request = run->start->program;
  gboolean profiled = run->kind == PROFILER_VALGRIND;
  if (profiled && !(runner->valgrind = profiler_valgrind_open(run->place.local, error)))
    return FALSE;
  runner->sandbox = profiler_program_enter(&run->place, request, error);
  if (!runner->sandbox)
    return FALSE;
  /* Callgrind writes what it has counted until then when its program dies of a signal: a profile of the
   * program's beginning is worth more than none. */
  runner->watch.dumps = profiled;
  runner->watch.show = run->output;
  if (profiled)
    runner->profiles = profiler_valgrind_place(runner->valgrind, request->uid, request->gid, error);
  return (!profiled || runner->profiles >= 0) && start_program(runner, error);
}

/* Nothing of the process that it was forked from stays. */
static void
leave_home(int *socket)
{
  enum { SOCKET = 3 };
  sigset_t none;
  sigemptyset(&none);
  setsid();
  if (*socket != SOCKET)
    *socket = dup3(*socket, SOCKET, O_CLOEXEC);
  close_range(SOCKET + 1, ~0u, 0);
  for (int number = 1; number < NSIG; number++)
    signal(number, SIG_DFL);
  signal(SIGPIPE, SIG_IGN);
  sigprocmask(SIG_SETMASK, &none, NULL);
  prctl(PR_SET_NAME, "doppel-profile");
}

G_NORETURN
static void
be_runner(const ProfilerRun *run, int socket)
{
  g_autoptr(GError) error = NULL;
  Runner runner = {.run = run, .profiles = -1};
  leave_home(&socket);
  profiler_watch_init(&runner.watch, socket);
  if (begin(&runner, &error)) {
    profiler_watch_run(&runner.watch);
    if (!runner.watch.gone)
      finish(&runner);
  } else {
    profiler_watch_tell_refusal(socket, error);
  }
  sandbox_free(runner.sandbox);
  _exit(0);
}

pid_t
profiler_run_start(const ProfilerRun *run, int *socket, GError **error)
{
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
    doppel_error_errno(error, "cannot run the program in the clone");
    return -1;
  }
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0)
    be_runner(run, ends[1]);
  close(ends[1]);
  if (pid < 0) {
    doppel_error_errno(error, "cannot run the program in the clone");
    close(ends[0]);
    return -1;
  }
  *socket = ends[0];
  return pid;
}
