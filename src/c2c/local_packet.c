#include "c2c/local_packet.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { KEY_LENGTH = 32, NAME_MAX_BYTES = 64 };

typedef union {
  char bytes[CMSG_SPACE(sizeof(int))];
  struct cmsghdr align;
} Control;

/* The first that came. The room for one is, with its padding, room for two on 64 bits: what else came is
 * closed. */
static int
descriptor_of(struct msghdr *message)
{
  struct cmsghdr *header = CMSG_FIRSTHDR(message);
  int first = -1, fd;
  if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
    return -1;
  for (size_t at = 0; CMSG_LEN(at + sizeof fd) <= header->cmsg_len; at += sizeof fd) {
    memcpy(&fd, CMSG_DATA(header) + at, sizeof fd);
    if (first < 0)
      first = fd;
    else
      close(fd);
  }
  return first;
}

ssize_t
local_packet_receive(int fd, void *data, size_t size, int *passed, int flags)
{
  Control control;
  struct iovec piece = {data, size};
  struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
  if (passed) {
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    *passed = -1;
  }
  ssize_t length;
  while ((length = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | flags)) < 0 && errno == EINTR)
    ;
  if (length < 0)
    return -1;
  if (passed)
    *passed = descriptor_of(&message);
  if (message.msg_flags & MSG_TRUNC) {
    if (passed && *passed >= 0)
      close(*passed);
    errno = EMSGSIZE;
    return -1;
  }
  return length;
}

int
local_packet_send(int fd, const void *data, size_t length, int passed, int flags)
{
  Control control = {.bytes = {0}};
  struct iovec piece = {(void *)data, length};
  struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
  if (passed >= 0) {
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof passed);
    memcpy(CMSG_DATA(header), &passed, sizeof passed);
  }
  ssize_t sent;
  while ((sent = sendmsg(fd, &message, MSG_NOSIGNAL | flags)) < 0 && errno == EINTR)
    ;
  return sent < 0 ? -1 : 0;
}

int
local_packet_address(const char *path, struct sockaddr_un *address, int *directory)
{
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  *directory = -1;
  if (strlen(path) < sizeof address->sun_path) {
    strcpy(address->sun_path, path);
    return 0;
  }
  const char *slash = strrchr(path, '/');
  char *parent = slash ? strndup(path, slash == path ? 1 : slash - path) : NULL;
  if (!parent) {
    errno = slash ? ENOMEM : ENAMETOOLONG;
    return -1;
  }
  *directory = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
  free(parent);
  if (*directory < 0)
    return -1;
  int length =
      snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%s", *directory, slash + 1);
  if (length >= 0 && (size_t)length < sizeof address->sun_path)
    return 0;
  close(*directory);
  *directory = -1;
  errno = ENAMETOOLONG;
  return -1;
}

int
local_reply_is_sound(const Doppel__Wire__LocalReply *reply)
{
  if (reply->why < DOPPEL__WIRE__C2C_REFUSAL__C2C_NONE ||
      reply->why > DOPPEL__WIRE__C2C_REFUSAL__C2C_MALFORMED)
    return 0;
  const Doppel__Wire__LocalPeer *peer = reply->incoming;
  return !peer || (strlen(peer->name) <= NAME_MAX_BYTES && peer->origin.len == KEY_LENGTH &&
                   peer->clone_key.len == KEY_LENGTH && strlen(peer->service) <= LOCAL_SERVICE_MAX);
}
