#include "c2c/doc_place.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

#define FOLDER  "docs"
#define SOCKET  "socket"
#define BACKLOG 64
#define LOOK_US 100000
#define LOOKS   80 /* longer than the documents' process takes to find out that its clone has a name */

char *
doc_place_file(const ServicePlace *place)
{
  return g_build_filename(place->directory, FOLDER, "documents.db", NULL);
}

static int
open_folder(const ServicePlace *place)
{
  g_autofree char *path = g_build_filename(place->directory, FOLDER, NULL);
  g_mkdir_with_parents(path, 0700);
  return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
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

int
doc_place_listen(const ServicePlace *place, GError **error)
{
  g_auto(Fd) folder = open_folder(place);
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
doc_place_accept(int listener)
{
  g_auto(Fd) fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  return fd >= 0 && is_own(fd) ? io_steal_fd(&fd) : -1;
}

int
doc_place_connect(const ServicePlace *place, GError **error)
{
  g_auto(Fd) folder = open_folder(place);
  struct sockaddr_un address = address_in(folder);
  for (guint i = 0; folder >= 0 && i < LOOKS; i++) {
    g_auto(Fd) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0 && is_own(fd))
      return io_steal_fd(&fd);
    g_usleep(LOOK_US);
  }
  doppel_error_set(
      error, DOPPEL_ERROR_GONE,
      "the clone does not keep documents now: try again, and see whether it has a name (\"doppel name\")");
  return -1;
}
