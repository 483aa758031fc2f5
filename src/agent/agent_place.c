#include "agent/agent_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "identity/key.h"

#define LOCK   "agent.lock"
#define SOCKET "agent.socket"

static int
open_directory(void)
{
  g_autofree char *path = identity_directory();
  g_mkdir_with_parents(path, 0700);
  return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* By a descriptor of the directory, whose path may be longer than an address can be. */
static struct sockaddr_un
address_in(int directory)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/" SOCKET, directory);
  return address;
}

gboolean
agent_place_is_own(int fd, pid_t *process)
{
  struct ucred peer;
  socklen_t length = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0 || peer.uid != geteuid())
    return FALSE;
  if (process)
    *process = peer.pid;
  return TRUE;
}

/* Who has it is written in it, for people. */
static gboolean
take_lock(int directory, Fd *lock, GError **error)
{
  *lock = openat(directory, LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (*lock < 0)
    return doppel_error_errno(error, "the agent's lock cannot be made");
  if (flock(*lock, LOCK_EX | LOCK_NB) < 0) {
    g_autofree char *process = io_read_file_at(directory, LOCK, 32);
    return doppel_error_set(error, DOPPEL_ERROR_GONE,
                            "an agent of this user's runs already, as process %s: \"doppel status\" asks it",
                            process && *process ? process : "?");
  }
  char text[16];
  int length = snprintf(text, sizeof text, "%d", getpid());
  return (ftruncate(*lock, 0) == 0 && pwrite(*lock, text, length, 0) == length) ||
         doppel_error_errno(error, "the agent's lock cannot be written");
}

gboolean
agent_place_take(Fd *lock, Fd *listener, GError **error)
{
  g_auto(Fd) directory = open_directory();
  if (directory < 0)
    return doppel_error_errno(error, "the directory of this user's keys cannot be opened");
  if (!take_lock(directory, lock, error))
    return FALSE;
  struct sockaddr_un address = address_in(directory);
  unlinkat(directory, SOCKET, 0); /* of one that was killed: we have the lock */
  *listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (*listener < 0 || bind(*listener, (struct sockaddr *)&address, sizeof address) < 0 ||
      listen(*listener, 16) < 0)
    return doppel_error_errno(error, "the agent cannot listen for other processes");
  return TRUE;
}

void
agent_place_leave(void)
{
  g_auto(Fd) directory = open_directory();
  if (directory >= 0)
    unlinkat(directory, SOCKET, 0);
}

int
agent_place_connect(void)
{
  g_auto(Fd) directory = open_directory();
  g_auto(Fd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un address = address_in(directory);
  if (directory < 0 || fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
      !agent_place_is_own(fd, NULL))
    return -1;
  return io_steal_fd(&fd);
}
