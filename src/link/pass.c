#include "link/pass.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/io.h"

typedef union {
  struct cmsghdr header;
  char room[CMSG_SPACE(sizeof(int))];
} Control;

gboolean
link_pass_send_with(int control_fd, int fd, const void *data, gsize length, GError **error)
{
  struct iovec piece = {(void *)data, length};
  Control control = {0};
  struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
  if (fd >= 0) {
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  if (sendmsg(control_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)length)
    return TRUE;
  if (errno == EPIPE || errno == ECONNRESET)
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "the session's process has ended");
  return doppel_error_errno(error, "cannot hand a connection to the session's process");
}

gboolean
link_pass_send(int control_fd, int fd, GError **error)
{
  return link_pass_send_with(control_fd, fd, "", 1, error);
}

static int
passed_descriptor(struct msghdr *message)
{
  int fd;
  struct cmsghdr *header = CMSG_FIRSTHDR(message);
  if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
      header->cmsg_len != CMSG_LEN(sizeof fd))
    return -1;
  memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return fd;
}

int
link_pass_receive_with(int control_fd, int *fd, void *data, gsize room, gsize *length)
{
  struct iovec piece = {data, room};
  Control control = {0};
  struct msghdr message = {
      .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t got;
  do
    got = recvmsg(control_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN)
    return 0;
  if (got <= 0)
    return -1;
  *fd = passed_descriptor(&message);
  *length = got;
  return 1;
}

int
link_pass_receive(int control_fd, int *fd)
{
  char byte;
  gsize length;
  int passed, got = link_pass_receive_with(control_fd, &passed, &byte, 1, &length);
  if (got <= 0 || passed < 0)
    return MIN(got, 0);
  *fd = passed;
  return 1;
}
