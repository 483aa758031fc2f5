#include "clonedoc/room/room_place.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

#define SOCKET  "socket"
#define BACKLOG 64

static int
open_folder(const char *folder)
{
  g_mkdir_with_parents(folder, 0700);
  return open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* By a descriptor of the folder, whose path may be longer than an address can be. */
static struct sockaddr_un
address_in(int folder)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/" SOCKET, folder);
  return address;
}

static gboolean
is_own(int fd)
{
  struct ucred peer;
  socklen_t length = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == geteuid();
}

void
doc_room_hide(const char *path)
{
  g_auto(Fd) folder = open_folder(path);
  if (folder >= 0)
    unlinkat(folder, SOCKET, 0);
}

int
doc_room_listen(const char *path, GError **error)
{
  g_auto(Fd) folder = open_folder(path);
  g_auto(Fd) listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  struct sockaddr_un address = address_in(folder);
  if (folder >= 0)
    unlinkat(folder, SOCKET, 0); /* of one that was killed: the room's file is locked by now */
  if (folder < 0 || listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
      listen(listener, BACKLOG) < 0) {
    doppel_error_errno(error, "documents cannot be offered to devices");
    return -1;
  }
  return io_steal_fd(&listener);
}

int
doc_room_accept(int listener)
{
  g_auto(Fd) fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  return fd >= 0 && is_own(fd) ? io_steal_fd(&fd) : -1;
}

int
doc_room_connect(const char *path)
{
  g_auto(Fd) folder = open_folder(path);
  g_auto(Fd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un address = address_in(folder);
  if (folder < 0 || fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0 || !is_own(fd))
    return -1;
  return io_steal_fd(&fd);
}
