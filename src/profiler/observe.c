#include "profiler/observe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "augmenter/session.h"
#include "base/error.h"
#include "base/io.h"
#include "base/line.h"
#include "controller/run.h"
#include "profiler/watch.h"

#define PLACE "/dev/shm/doppel-observed"
#define STATS PLACE "/stats"

enum { SOCKET = 3, ASKED = 4, LINK = 5 }; /* descriptors of the process that begins anew */

/* After a failure the engine wants another session, twice. */
enum { SESSIONS = 3 };
enum { SAID_LINE = 300 };

/* ---- who wants it ---- */

/* The program and all about it, for the process that begins anew. -1 with an error. */
static int
write_down(const ProfilerStart *start, GError **error)
{
  g_autoptr(GBytes) packed = profiler_message_pack(PROFILER_MESSAGE(START, start, (ProfilerStart *)start));
  gsize length;
  const void *data = g_bytes_get_data(packed, &length);
  g_auto(Fd) fd = memfd_create("doppel-observe", MFD_CLOEXEC);
  if (fd >= 0 && io_write_all(fd, data, length) && lseek(fd, 0, SEEK_SET) == 0)
    return io_steal_fd(&fd);
  doppel_error_errno(error, "cannot run the program in the clone");
  return -1;
}

G_NORETURN
static void
begin_anew(int socket, int asked, char *const *words)
{
  /* Neither is where the other goes: both come from above. */
  int high_socket = fcntl(socket, F_DUPFD, LINK + 1), high_asked = fcntl(asked, F_DUPFD, LINK + 1);
  sigset_t none;
  sigemptyset(&none);
  dup2(high_socket, SOCKET);
  dup2(high_asked, ASKED);
  syscall(SYS_close_range, ASKED + 1, ~0u, 0);
  setsid();
  for (int number = 1; number < NSIG; number++)
    signal(number, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, NULL);
  execv("/proc/self/exe", words);
  _exit(127);
}

pid_t
profiler_observe_start(const ProfilerRun *run, const char *text, guint number, guint seconds, int *socket,
                       GError **error)
{
  int ends[2];
  g_auto(Fd) asked = write_down(run->start, error);
  if (asked < 0)
    return -1;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
    doppel_error_errno(error, "cannot run the program in the clone");
    return -1;
  }
  g_autofree char *numbers = g_strdup_printf("%u", number), *limit = g_strdup_printf("%u", seconds);
  g_autofree char *changes = g_strdup_printf("%" G_GUINT64_FORMAT, run->bounds->changes_bytes);
  g_autofree char *reserve = g_strdup_printf("%" G_GUINT64_FORMAT, run->bounds->reserve_bytes);
  const char *words[] = {PROFILER_OBSERVE_NAME,
                         run->place.local ? "local" : "",
                         run->place.root ? run->place.root : "/",
                         run->place.tmp,
                         run->place.hidden ? run->place.hidden : "",
                         text,
                         numbers,
                         limit,
                         changes,
                         reserve,
                         NULL};
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0)
    begin_anew(ends[1], asked, (char *const *)words);
  close(ends[1]);
  if (pid < 0) {
    doppel_error_errno(error, "cannot run the program in the clone");
    close(ends[0]);
    return -1;
  }
  *socket = ends[0];
  return pid;
}

/* ---- the process that begins anew ---- */

typedef struct {
  ProfilerPlace place;
  const char *text; /* the function */
  guint number, seconds;
  JobBounds bounds;
  ProfilerMessage *asked;
  ProfilerWatch watch;
  Sandbox *sandbox;
} Observer;

static guint64
number_of(const char *word)
{
  return g_ascii_strtoull(word, NULL, 10);
}

/* The clone's end of the engine. It takes the place for one of another machine: a clone on this one would see
 * more of what the program has. */
G_NORETURN
static void
be_augmenter(const Observer *observer, int link_fd)
{
  int control[2], null = open("/dev/null", O_RDWR);
  prctl(PR_SET_NAME, "doppel-augment");
  if (link_fd != LINK)
    dup2(link_fd, LINK);
  for (int fd = 0; fd < 3; fd++)
    dup2(null, fd);
  close(SOCKET);
  close(ASKED);
  syscall(SYS_close_range, LINK + 1, ~0u, 0);
  fcntl(LINK, F_SETFD, FD_CLOEXEC);
  /* No later connection comes; a session has this all the same. */
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, control) < 0)
    _exit(1);
  const AugmenterSession session = {.root = observer->place.root,
                                    .tmp = observer->place.tmp,
                                    .hidden = observer->place.hidden,
                                    .clone_name = "observed",
                                    .clone = {1},
                                    .control_fd = control[0]};
  g_autoptr(Link) link = link_new_local(LINK);
  int status = augmenter_session(link, &session);
  g_clear_pointer(&link, link_free);
  _exit(status);
}

static Link *
hand_out(void *data, GError **error)
{
  int *next = data;
  if (*next == LINK + SESSIONS) {
    doppel_error_set(error, DOPPEL_ERROR_GONE, "its sessions have failed");
    return NULL;
  }
  return link_new_local((*next)++);
}

static void
set_environment(const JobRequest *request)
{
  g_auto(GStrv) variables = profiler_program_environment(request);
  clearenv();
  for (char **variable = variables; *variable; variable++) {
    g_autofree char *name = g_strndup(*variable, strcspn(*variable, "="));
    const char *value = strchr(*variable, '=');
    if (value && *name)
      setenv(name, value + 1, TRUE);
  }
}

/* The device's end: it is to the program what "doppel run" is. */
G_NORETURN
static void
be_controller(Observer *observer, const int links[SESSIONS], const int standard[3])
{
  const JobRequest *request = observer->asked->start->program;
  g_autoptr(GError) error = NULL;
  g_autofree char *directory = g_strndup((const char *)request->directory.data, request->directory.len);
  g_auto(GStrv) argv = profiler_program_arguments(request);
  char *functions[] = {(char *)observer->text, NULL};
  int link = LINK, high[SESSIONS];
  prctl(PR_SET_NAME, "doppel-control");
  for (guint i = 0; i < SESSIONS; i++)
    high[i] = fcntl(links[i], F_DUPFD_CLOEXEC, LINK + SESSIONS);
  for (int fd = 0; fd < 3; fd++)
    dup2(standard[fd], fd);
  for (guint i = 0; i < SESSIONS; i++)
    dup3(high[i], LINK + (int)i, O_CLOEXEC);
  close(SOCKET);
  close(ASKED);
  g_autofree SandboxRlimit *limits = profiler_program_limits(request);
  const SandboxSpawn rights = {.cwd = directory,
                               .rlimits = limits,
                               .rlimit_count = request->n_limit,
                               .uid = request->uid,
                               .gid = request->gid,
                               .groups = request->group,
                               .group_count = request->n_group,
                               .umask = request->umask};
  if (!sandbox_give_up_rights(observer->sandbox, &rights)) {
    perror("the program cannot run in the clone");
    _exit(127);
  }
  syscall(SYS_close_range, LINK + SESSIONS, ~0u, 0);
  set_environment(request);
  const RunOptions options = {.functions = functions,
                              .place = RUN_PLACE_CLONE,
                              .clone = "observed",
                              .reach = hand_out,
                              .reach_data = &link,
                              .stats = STATS,
                              .without = RUN_WITHOUT_KNOWN, /* nothing is kept there */
                              .argv = argv};
  int status = controller_run(&options, &error);
  if (status < 0)
    fprintf(stderr, "%s\n", error->message);
  _exit(status < 0 ? 127 : status);
}

static gboolean
make_place(const JobRequest *request)
{
  return mkdir(PLACE, 0700) == 0 && chown(PLACE, request->uid, request->gid) == 0;
}

static void
close_links(int links[SESSIONS])
{
  for (guint i = 0; i < SESSIONS; i++)
    io_close(&links[i]);
}

/* Augmenters, of which each waits for the Controller's word on its link and ends with that. */
static gboolean
start_augmenters(const Observer *observer, int links[SESSIONS], GError **error)
{
  for (guint i = 0; i < SESSIONS; i++) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
      return doppel_error_errno(error, "making a socket pair");
    pid_t augmenter = fork();
    if (augmenter == 0)
      be_augmenter(observer, ends[1]);
    close(ends[1]);
    links[i] = ends[0];
    if (augmenter < 0)
      return doppel_error_errno(error, "cannot run the program in the clone");
  }
  return TRUE;
}

static gboolean
start_controller(Observer *observer, const int links[SESSIONS], GError **error)
{
  const ProfilerStart *start = observer->asked->start;
  ProfilerWatch *watch = &observer->watch;
  if (!make_place(start->program))
    return doppel_error_errno(error, "cannot make " PLACE " in the clone");
  g_auto(Fd) out = -1, err = -1, input = profiler_program_input(&start->input, start->input_offset, error);
  if (input < 0 || !profiler_watch_pipes(watch, &out, &err, error))
    return FALSE;
  fflush(NULL);
  pid_t controller = fork();
  if (controller == 0)
    be_controller(observer, links, (const int[]){input, out, err});
  if (controller < 0)
    return doppel_error_errno(error, "cannot run the program in the clone");
  watch->dumps = TRUE; /* the engine says what it saw also of a program that was ended */
  if (!profiler_watch_program(watch, observer->sandbox, controller, error))
    return FALSE;
  profiler_watch_begin(watch, observer->seconds, &observer->bounds);
  return TRUE;
}

static gboolean
begin(Observer *observer, GError **error)
{
  int links[SESSIONS] = {-1, -1, -1};
  /* They enter sandboxes of their own, from where the caller is still. */
  gboolean begun = start_augmenters(observer, links, error);
  observer->sandbox =
      begun ? profiler_program_enter(&observer->place, observer->asked->start->program, error) : NULL;
  begun = observer->sandbox && start_controller(observer, links, error);
  close_links(links);
  return begun;
}

/* Why nothing, or not all, was seen; NULL: all was. */
static char *
reason_of(const ProfilerWatch *watch, gboolean seen)
{
  if (watch->cut)
    return g_strdup("its time was over");
  if (watch->reason)
    return g_strdup(watch->reason);
  if (seen)
    return NULL;
  const char *last = strrchr(g_strchomp(watch->said->str), '\n');
  char *line = line_of(last ? last + 1 : watch->said->str, SAID_LINE);
  if (*line)
    return line;
  g_free(line);
  return g_strdup("the engine said nothing of it");
}

static void
finish(Observer *observer)
{
  struct stat facts;
  g_auto(Fd) stats = open(STATS, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  gboolean seen = stats >= 0 && fstat(stats, &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_size > 0;
  g_autofree char *reason = reason_of(&observer->watch, seen),
                  *text = reason ? g_utf8_make_valid(reason, -1) : NULL;
  Doppel__Wire__ProfilerSeen said = DOPPEL__WIRE__PROFILER_SEEN__INIT;
  said.function = observer->number;
  said.reason = text ? text : said.reason;
  profiler_watch_tell(SOCKET, PROFILER_MESSAGE(SEEN, seen, &said), seen ? stats : -1);
}

static ProfilerMessage *
read_asked(GError **error)
{
  struct stat facts;
  if (fstat(ASKED, &facts) < 0 || facts.st_size > PROFILER_MESSAGE_MAX) {
    doppel_error_errno(error, "nothing to observe");
    return NULL;
  }
  g_autofree guint8 *data = g_malloc((gsize)facts.st_size + 1);
  gssize length = io_read_all(ASKED, data, (gsize)facts.st_size);
  return profiler_message_unpack(data, (gsize)MAX(length, 0), error);
}

gboolean
profiler_observe_is_wanted(char *const *argv)
{
  return argv[0] && strcmp(argv[0], PROFILER_OBSERVE_NAME) == 0;
}

int
profiler_observe_main(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  enum { NAME, LOCAL, ROOT, TMP, HIDDEN, TEXT, NUMBER, LIMIT, CHANGES, RESERVE, COUNT };
  if (argc != COUNT)
    return 2;
  signal(SIGPIPE, SIG_IGN);
  fcntl(SOCKET, F_SETFD, FD_CLOEXEC);
  fcntl(ASKED, F_SETFD, FD_CLOEXEC);
  Observer observer = {.place = {.local = *argv[LOCAL] != '\0',
                                 .root = argv[ROOT],
                                 .tmp = argv[TMP],
                                 .hidden = *argv[HIDDEN] ? argv[HIDDEN] : NULL},
                       .text = argv[TEXT],
                       .number = (guint)number_of(argv[NUMBER]),
                       .seconds = (guint)number_of(argv[LIMIT]),
                       .bounds = {JOB_BOUNDS_NONE, number_of(argv[CHANGES]), number_of(argv[RESERVE])}};
  profiler_watch_init(&observer.watch, SOCKET);
  observer.asked = read_asked(&error);
  if (observer.asked && begin(&observer, &error)) {
    profiler_watch_run(&observer.watch);
    if (!observer.watch.gone)
      finish(&observer);
  } else {
    profiler_watch_tell_refusal(SOCKET, error);
  }
  g_clear_pointer(&observer.asked, profiler_message_free);
  sandbox_free(observer.sandbox);
  _exit(0);
}
