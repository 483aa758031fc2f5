#include "cmd/clone_where.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "c2c/directory_client.h"
#include "cmd/name.h"
#include "controller/keeper.h"
#include "identity/address.h"
#include "link/link.h"

#define NS_PER_MS G_GINT64_CONSTANT(1000000)

enum { ANSWER_MS = 1500, AGAIN_S = 60, ADDRESSES_MAX = 16 };

/* ---- asking ---- */

/* The user's newest record, where it names this clone: the device's part of it, without whereabouts. */
static Record *
own_record(const PairedClone *clone)
{
  g_autoptr(User) user = user_load(FALSE, NULL);
  const Record *known = user ? user_newest(user) : NULL;
  if (!known || known->revoked || !identity_public_equal(&known->clone_key, &clone->key))
    return NULL;
  return record_ref((Record *)known);
}

static GPtrArray *
ask(const Record *own, const GPtrArray *places)
{
  g_autofree char *keys = identity_directory(), *cache = g_build_filename(keys, "directory.cache", NULL);
  g_autoptr(IdentityKey) device = identity_device_key(NULL);
  g_autoptr(DirectoryClient) client = device ? directory_client_open(cache, device, NULL) : NULL;
  if (!client)
    return NULL;
  directory_client_set(client, places);
  directory_client_set_timeout(client, CLONE_WHERE_MS);
  directory_client_set_user(client, &own->origin);
  return directory_client_find(client, NULL, &own->origin, &own->directory, NULL);
}

char **
clone_where_ask(const PairedClone *clone)
{
  g_autoptr(Record) own = own_record(clone);
  g_autoptr(GPtrArray) places = own ? name_places(NULL) : NULL;
  g_autoptr(GPtrArray) found = places && places->len > 0 ? ask(own, places) : NULL;
  const DirectoryResult *first = found && found->len > 0 ? found->pdata[0] : NULL;
  if (!first || !identity_public_equal(&first->record->clone_key, &clone->key) || !first->record->addresses ||
      !first->record->addresses[0])
    return NULL;
  return g_strdupv(first->record->addresses);
}

/* ---- whether somebody answers ---- */

/* A connection on its way to a numeric address: -1 where there is none, -2 where it is a name, which has a
 * directory of its own. */
static int
start_connecting(const char *address)
{
  const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
  g_autofree char *host = NULL, *port = NULL;
  struct addrinfo *found;
  if (!identity_address_split(address, &host, &port, NULL))
    return -1;
  if (getaddrinfo(host, port, &hints, &found) != 0)
    return -2;
  g_auto(Fd) fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  gboolean begun = fd >= 0 && (connect(fd, found->ai_addr, found->ai_addrlen) == 0 || errno == EINPROGRESS);
  freeaddrinfo(found);
  return begun ? io_steal_fd(&fd) : -1;
}

static gboolean
is_connected(int fd)
{
  int problem = 0;
  socklen_t length = sizeof problem;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &length) == 0 && problem == 0;
}

/* TRUE when one of the connections stands; those that were refused leave the list. */
static gboolean
wait_for_one(struct pollfd *fds, guint count)
{
  gint64 deadline = clock_now_ns() + ANSWER_MS * NS_PER_MS;
  for (guint left = count; left > 0;) {
    gint64 wait_ms = (deadline - clock_now_ns()) / NS_PER_MS;
    if (wait_ms <= 0 || (poll(fds, count, (int)wait_ms) < 0 && errno != EINTR))
      return FALSE;
    for (guint i = 0; i < count; i++) {
      if (fds[i].fd < 0 || !fds[i].revents)
        continue;
      if (is_connected(fds[i].fd))
        return TRUE;
      io_close(&fds[i].fd);
      left--;
    }
  }
  return FALSE;
}

gboolean
clone_where_answers(const PairedClone *clone)
{
  struct pollfd fds[ADDRESSES_MAX];
  guint count = 0;
  gboolean good = FALSE;
  for (char **address = clone->addresses; *address && count < ADDRESSES_MAX && !good; address++) {
    int fd = start_connecting(*address);
    good = fd == -2;
    if (fd >= 0)
      fds[count++] = (struct pollfd){.fd = fd, .events = POLLOUT};
  }
  good = good || wait_for_one(fds, count);
  for (guint i = 0; i < count; i++)
    io_close(&fds[i].fd);
  return good;
}

/* ---- looking for it ---- */

/* Who holds its lock has a session ready, or will in a moment. */
static gboolean
is_kept(const PairedClone *clone)
{
  g_autofree char *keys = identity_directory(), *name = g_strconcat(clone->name, ".lock", NULL);
  g_autofree char *path = g_build_filename(keys, "keepers", name, NULL);
  g_auto(Fd) fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

static char *
mark_path(const PairedClone *clone)
{
  g_autofree char *keys = identity_directory(), *name = g_strconcat("sought-", clone->name, NULL);
  return g_build_filename(keys, name, NULL);
}

static gboolean
was_sought(const char *mark)
{
  struct stat facts;
  gint64 age = stat(mark, &facts) == 0 ? g_get_real_time() / G_USEC_PER_SEC - facts.st_mtime : AGAIN_S;
  return age >= 0 && age < AGAIN_S;
}

/* It is the clone that is there, which nobody else can be. */
static gboolean
is_there(const PairedClone *clone, char **addresses)
{
  g_autoptr(IdentityKey) own = identity_device_key(NULL);
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  options.resume_ms = 0;
  options.tickets = FALSE;
  g_autoptr(Link) link =
      own ? link_dial((const char *const *)addresses, own, &clone->key, clone->id, &options, NULL) : NULL;
  return link != NULL;
}

static gboolean
find_and_remember(const PairedClone *clone)
{
  g_auto(GStrv) addresses = clone_where_ask(clone);
  gboolean found =
      addresses && !g_strv_equal((const char *const *)addresses, (const char *const *)clone->addresses) &&
      is_there(clone, addresses) && paired_set_addresses(clone->name, (const char *const *)addresses, NULL);
  /* What it has ready is where the clone was. */
  if (found)
    keeper_stop(clone->name, NULL);
  return found;
}

/* In a process of its own, for it may start threads. */
static gboolean
look_for(const PairedClone *clone)
{
  int status = -1;
  fflush(NULL);
  pid_t child = fork();
  if (child == 0)
    _exit(find_and_remember(clone) ? 0 : 1);
  while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
    ;
  return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void
clone_where_check(const char *verb, const char *name)
{
  g_autoptr(PairedClone) clone = paired_find(name, NULL);
  g_autoptr(Record) own = clone ? own_record(clone) : NULL;
  if (!own)
    return;
  g_autofree char *mark = mark_path(clone);
  if (was_sought(mark) || clone_where_answers(clone))
    return;
  gboolean tell = verb && isatty(STDERR_FILENO);
  if (tell)
    fprintf(stderr,
            "doppel %s: nobody answers where the clone \"%s\" was: the directory is asked where it is\n",
            verb, clone->name);
  if (look_for(clone))
    unlink(mark);
  else
    g_file_set_contents(mark, "", 0, NULL);
}

void
clone_where_check_kept(const char *name)
{
  g_autoptr(PairedClone) clone = paired_find(name, NULL);
  if (!clone || !is_kept(clone)) {
    clone_where_check(NULL, name);
    return;
  }
  g_autoptr(Record) own = own_record(clone);
  if (!own)
    return;
  fflush(NULL);
  pid_t child = fork();
  if (child > 0)
    waitpid(child, NULL, 0);
  if (child != 0)
    return;
  /* Nobody's child, with nothing of the caller's open. */
  if (fork() != 0)
    _exit(0);
  setsid();
  int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; fd++)
    dup2(null, fd);
  syscall(SYS_close_range, 3, ~0u, 0);
  clone_where_check(NULL, name);
  _exit(0);
}

void
clone_where_forget(const PairedClone *clone)
{
  g_autofree char *mark = mark_path(clone);
  unlink(mark);
}
