#include "sockets.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static char *directory;

static void
remove_directory(void)
{
  g_autofree char *command = g_strdup_printf("rm -rf '%s'", directory);
  if (system(command) != 0)
    abort();
}

const char *
sockets_path(const char *name)
{
  if (!directory) {
    directory = g_dir_make_tmp("doppel-fuzz-XXXXXX", NULL);
    atexit(remove_directory);
  }
  g_autofree char *path = g_build_filename(directory, name, NULL);
  return g_intern_string(path);
}

gboolean
sockets_send(int fd, const void *data, gsize length, guint count, Input *input)
{
  union {
    char bytes[SOCKETS_FDS_MAX * CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control = {{0}};
  struct iovec piece = {(void *)data, length};
  struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
  gsize used = 0;
  for (guint left = MIN(count, SOCKETS_FDS_MAX); left > 0;) {
    guint some = 1 + input_below(input, left);
    struct cmsghdr *header = (struct cmsghdr *)(control.bytes + used);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(some * sizeof(int));
    for (guint i = 0; i < some; i++)
      memcpy(CMSG_DATA(header) + i * sizeof(int), &(int){STDIN_FILENO}, sizeof(int));
    used += CMSG_SPACE(some * sizeof(int));
    left -= some;
  }
  if (used > 0) {
    message.msg_control = control.bytes;
    message.msg_controllen = used;
  }
  return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)length;
}

guint
sockets_open(void)
{
  guint count = 0;
  for (int fd = 0; fd < 128; fd++)
    count += fcntl(fd, F_GETFD) >= 0;
  return count;
}
