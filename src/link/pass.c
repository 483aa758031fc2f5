#include "link/pass.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/io.h"

gboolean
link_pass_send(int control_fd, int fd, GError **error)
{
  char byte = 0;
  struct iovec piece = {&byte, 1};
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
  } control = {0};
  struct msghdr message = {
      .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(header), &fd, sizeof fd);
  if (sendmsg(control_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == 1)
    return TRUE;
  if (errno == EPIPE || errno == ECONNRESET)
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "the session's process has ended");
  return doppel_error_errno(error, "cannot hand a connection to the session's process");
}

int
link_pass_receive(int control_fd, int *fd)
{
  char byte;
  struct iovec piece = {&byte, 1};
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
  } control = {0};
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
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
      header->cmsg_len != CMSG_LEN(sizeof(int)))
    return 0;
  memcpy(fd, CMSG_DATA(header), sizeof(int));
  return 1;
}
