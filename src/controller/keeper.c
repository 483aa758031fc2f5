#include "controller/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "controller/session.h"
#include "identity/paired.h"
#include "link/engine.h"
#include "link/pass.h"

enum { TAKE_MS = 500, LOOK_MS = 10000, FLUSH_MS = 10000, SUCCESSOR_MS = 50, LISTENER_FD = 3, LOCK_FD = 4 };

/* ---- where it listens ---- */

/* The address goes by a descriptor of its directory, whose path may be longer than an address can be. */
typedef struct {
  Fd directory;
  char *socket, *lock; /* names in it */
} Place;

static void
place_clear(Place *place)
{
  io_close(&place->directory);
  g_free(place->socket);
  g_free(place->lock);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Place, place_clear)

static Place
place_of(const char *name)
{
  g_autofree char *keys = identity_directory();
  g_autofree char *path = g_build_filename(keys, "keepers", NULL);
  g_mkdir_with_parents(path, 0700);
  return (Place){open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), g_strconcat(name, ".socket", NULL),
                 g_strconcat(name, ".lock", NULL)};
}

static struct sockaddr_un
address_of(const Place *place)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int length = snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", place->directory,
                        place->socket);
  if (length < 0 || (gsize)length >= sizeof address.sun_path)
    address.sun_path[0] = '\0';
  return address;
}

static gboolean
is_own(int fd)
{
  struct ucred peer;
  socklen_t length = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == geteuid() &&
         peer.gid == getegid();
}

/* ---- the run's side ---- */

static int
connect_to(const char *name)
{
  g_auto(Place) place = place_of(name);
  struct sockaddr_un address = address_of(&place);
  g_auto(Fd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || !address.sun_path[0] || connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
      !is_own(fd))
    return -1;
  return io_steal_fd(&fd);
}

Link *
keeper_take(const char *name)
{
  g_auto(Fd) fd = connect_to(name), counters = -1;
  struct pollfd wait = {.fd = fd, .events = POLLIN};
  /* One that hangs is as good as none. */
  if (fd < 0 || poll(&wait, 1, TAKE_MS) != 1 || link_pass_receive(fd, &counters) != 1)
    return NULL;
  return link_new_passed(io_steal_fd(&fd), counters);
}

void
keeper_start(const char *name, int idle_s)
{
  pid_t child = fork();
  if (child > 0)
    waitpid(child, NULL, 0);
  if (child != 0)
    return;
  /* Of nobody's session, and nobody's child. */
  setsid();
  if (fork() != 0)
    _exit(0);
  int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; fd++)
    dup2(null, fd);
  syscall(SYS_close_range, 3, ~0u, 0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  char idle[16];
  snprintf(idle, sizeof idle, "%d", idle_s);
  (void)!chdir("/");
  execl("/proc/self/exe", "doppel", "keep", "--idle", idle, "--", name, NULL);
  _exit(1);
}

/* ---- the keeper ---- */

typedef struct {
  const char *name;
  int idle_s;
  Place place;
  Fd listener, lock;
  Link *link;
} Keeper;

static gboolean
take_lock(Keeper *keeper, gboolean *taken, GError **error)
{
  keeper->lock = openat(keeper->place.directory, keeper->place.lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (keeper->lock < 0)
    return doppel_error_errno(error, "making the lock of a keeper");
  *taken = flock(keeper->lock, LOCK_EX | LOCK_NB) == 0;
  return TRUE;
}

static gboolean
start_listening(Keeper *keeper, GError **error)
{
  struct sockaddr_un address = address_of(&keeper->place);
  unlinkat(keeper->place.directory, keeper->place.socket, 0); /* of one that was killed: we have the lock */
  keeper->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (keeper->listener < 0 || !address.sun_path[0] ||
      bind(keeper->listener, (struct sockaddr *)&address, sizeof address) < 0 ||
      listen(keeper->listener, 16) < 0)
    return doppel_error_errno(error, "listening for runs");
  return TRUE;
}

static gboolean
dial(Keeper *keeper, GError **error)
{
  g_autoptr(PairedClone) clone = paired_find(keeper->name, error);
  g_autoptr(IdentityKey) own = clone ? identity_device_key(error) : NULL;
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  if (own)
    keeper->link =
        link_dial_later((const char *const *)clone->addresses, own, &clone->key, clone->id, &options, error);
  return keeper->link && session_prepare(keeper->link, error);
}

/* The directory may have been removed under us. */
static gboolean
is_reachable(const Keeper *keeper)
{
  struct stat facts;
  return fstatat(keeper->place.directory, keeper->place.socket, &facts, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Before it is asked anything, a clone speaks only to say what it cannot do. */
static gboolean
clone_objects(Keeper *keeper, GError **error)
{
  GError *damaged = NULL;
  g_autoptr(EngineMessage) message = engine_take(keeper->link, &damaged);
  if (damaged)
    g_propagate_error(error, damaged);
  else if (message)
    doppel_error_set(error, DOPPEL_ERROR_FAILED, "the clone says: %s",
                     message->kind_case == DOPPEL__ENGINE__MESSAGE__KIND_FAILURE
                         ? message->failure->reason
                         : engine_message_name(message));
  return damaged || message;
}

/* A run, or -1: it is time to end. With an error where the session has ended before that. */
static int
wait_for_run(Keeper *keeper, GError **error)
{
  gint64 deadline = clock_now_ns() + keeper->idle_s * G_GINT64_CONSTANT(1000000000);
  while (is_reachable(keeper)) {
    struct pollfd fds[1 + LINK_POLL_MAX] = {{.fd = keeper->listener, .events = POLLIN}};
    int timeout = LOOK_MS;
    guint count = 1 + link_prepare(keeper->link, fds + 1, &timeout);
    if (poll(fds, count, timeout) < 0 && errno != EINTR) {
      doppel_error_errno(error, "waiting for a run");
      return -1;
    }
    if (!link_work(keeper->link, error) || clone_objects(keeper, error))
      return -1;
    g_auto(Fd) fd = fds[0].revents ? accept4(keeper->listener, NULL, NULL, SOCK_CLOEXEC) : -1;
    if (fd >= 0 && is_own(fd))
      return io_steal_fd(&fd);
    if (fd < 0 && fds[0].revents && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
      doppel_error_errno(error, "taking a run's connection");
      return -1;
    }
    if (clock_now_ns() >= deadline)
      return -1;
  }
  return -1;
}

/* What is listened on is the successor's from now on. */
static void
start_successor(Keeper *keeper)
{
  if (keeper->listener < 0)
    return;
  char idle[16];
  snprintf(idle, sizeof idle, "%d", keeper->idle_s);
  if (!is_reachable(keeper) || fork() != 0) {
    io_close(&keeper->listener);
    io_close(&keeper->lock);
    return;
  }
  /* The first thing that is not used by anybody is to be nobody's child, as we are. */
  int listener = fcntl(keeper->listener, F_DUPFD, 10), lock = fcntl(keeper->lock, F_DUPFD, 10);
  dup2(listener, LISTENER_FD);
  dup2(lock, LOCK_FD);
  syscall(SYS_close_range, LOCK_FD + 1, ~0u, 0);
  execl("/proc/self/exe", "doppel", "keep", "--idle", idle, "--inherit", "--", keeper->name, NULL);
  _exit(1);
}

/* ---- passing on ---- */

/* What goes in one direction; the last of a batch takes the others along. */
static gboolean
pass_on(Link *from, Link *to, GError **error)
{
  g_autoptr(LinkMessage) message = link_take(from);
  while (message) {
    g_autoptr(LinkMessage) next = link_take(from);
    struct iovec piece = {(void *)message->data, message->length};
    if (!(next ? link_queue : link_send)(to, message->channel, &piece, 1, error))
      return FALSE;
    link_message_free(message);
    message = g_steal_pointer(&next);
  }
  return TRUE;
}

/* The run is told why, as if the clone had said it. */
static void
tell_end(Link *run, const GError *why)
{
  Doppel__Engine__Failure failure = DOPPEL__ENGINE__FAILURE__INIT;
  failure.reason = why->message;
  if (ENGINE_SEND(run, FAILURE, failure, &failure, NULL))
    link_flush(run, FLUSH_MS, NULL);
}

/* Until one of them has ended. To prepare the next session takes the processors that a short run would have,
 * here and in the clone: a successor starts when the run has gone on for a while, or somebody waits for it.
 */
static void
serve(Keeper *keeper, Link *run, LinkCounters *counters)
{
  Link *clone = keeper->link;
  gint64 due = clock_now_ns() + SUCCESSOR_MS * G_GINT64_CONSTANT(1000000);
  for (;;) {
    g_autoptr(GError) run_ended = NULL, clone_ended = NULL;
    struct pollfd fds[1 + 2 * LINK_POLL_MAX] = {{.fd = keeper->listener, .events = POLLIN}};
    gint64 left_ms = (due - clock_now_ns()) / 1000000;
    int timeout = keeper->listener < 0 ? -1 : (int)CLAMP(left_ms + 1, 0, SUCCESSOR_MS);
    guint count = 1 + link_prepare(run, fds + 1, &timeout);
    count += link_prepare(clone, fds + count, &timeout);
    if (poll(fds, count, timeout) < 0 && errno != EINTR)
      return;
    if (fds[0].revents || clock_now_ns() >= due)
      start_successor(keeper);
    link_work(run, &run_ended);
    link_work(clone, &clone_ended);
    gboolean passed = pass_on(run, clone, clone_ended ? NULL : &clone_ended);
    *counters = *link_counters(clone);
    passed = pass_on(clone, run, run_ended ? NULL : &run_ended) && passed;
    if (clone_ended)
      tell_end(run, clone_ended);
    else if (run_ended)
      link_flush(clone, FLUSH_MS, NULL);
    if (run_ended || clone_ended || !passed)
      return;
  }
}

/* The file that the run sees the counters of its session in. */
static int
counters_make(Keeper *keeper, LinkCounters **counters)
{
  g_auto(Fd) page = memfd_create("doppel-counters", MFD_CLOEXEC);
  if (page < 0 || ftruncate(page, sizeof **counters) < 0)
    return -1;
  void *map = mmap(NULL, sizeof **counters, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
  if (map == MAP_FAILED)
    return -1;
  *counters = map;
  **counters = *link_counters(keeper->link);
  return io_steal_fd(&page);
}

/* The session is the run's now. FALSE where that has gone meanwhile. Takes `fd`. */
static gboolean
hand_over(Keeper *keeper, int fd, int page, LinkCounters *counters)
{
  g_auto(Fd) run_fd = fd;
  if (!link_pass_send(run_fd, page, NULL))
    return FALSE;
  g_autoptr(Link) run = link_new_local(io_steal_fd(&run_fd));
  serve(keeper, run, counters);
  start_successor(keeper);
  return TRUE;
}

static gboolean
keep(Keeper *keeper, GError **error)
{
  LinkCounters *counters = NULL;
  if (!dial(keeper, error))
    return FALSE;
  g_auto(Fd) page = counters_make(keeper, &counters);
  if (page < 0)
    return doppel_error_errno(error, "making the counters of a session");
  GError *ended = NULL;
  int fd;
  while ((fd = wait_for_run(keeper, &ended)) >= 0)
    if (hand_over(keeper, fd, page, counters))
      return TRUE;
  /* Who comes from now on finds none. */
  unlinkat(keeper->place.directory, keeper->place.socket, 0);
  if (ended)
    g_propagate_error(error, ended);
  return !ended;
}

static gboolean
prepare(Keeper *keeper, const KeeperInherited *inherited, gboolean *alone, GError **error)
{
  *alone = TRUE;
  if (keeper->place.directory < 0)
    return doppel_error_errno(error, "opening the directory of the keepers");
  if (!inherited)
    return take_lock(keeper, alone, error) && (!*alone || start_listening(keeper, error));
  keeper->listener = inherited->listener;
  keeper->lock = inherited->lock;
  fcntl(keeper->listener, F_SETFD, FD_CLOEXEC);
  fcntl(keeper->lock, F_SETFD, FD_CLOEXEC);
  return TRUE;
}

gboolean
keeper_run(const char *name, int idle_s, const KeeperInherited *inherited, GError **error)
{
  Keeper keeper = {.name = name, .idle_s = idle_s, .place = place_of(name), .listener = -1, .lock = -1};
  gboolean alone, good = prepare(&keeper, inherited, &alone, error);
  prctl(PR_SET_NAME, "doppel-keeper");
  signal(SIGCHLD, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  good = good && (!alone || keep(&keeper, error));
  g_clear_pointer(&keeper.link, link_free);
  io_close(&keeper.listener);
  io_close(&keeper.lock);
  place_clear(&keeper.place);
  return good;
}

gboolean
keeper_stop(const char *name, GError **error)
{
  g_auto(Place) place = place_of(name);
  /* The session that it gives us ends with us; the successor finds that it has no socket. */
  g_auto(Fd) fd = connect_to(name);
  if (fd < 0)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "no connection to \"%s\" is kept", name);
  if (unlinkat(place.directory, place.socket, 0) < 0 && errno != ENOENT)
    return doppel_error_errno(error, "removing the socket of the keeper of \"%s\"", name);
  return TRUE;
}
