#include "c2c/stream_end.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PREFIX "doppel-c2c-end/"

enum { RANDOM = 16 };

bool
stream_end_name(int fd)
{
  static const char digits[] = "0123456789abcdef";
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "\0" PREFIX};
  unsigned char bytes[RANDOM];
  char *at = address.sun_path + sizeof PREFIX;
  if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
    return false;
  for (int i = 0; i < RANDOM; i++) {
    *at++ = digits[bytes[i] >> 4];
    *at++ = digits[bytes[i] & 15];
  }
  return bind(fd, (struct sockaddr *)&address, at - (char *)&address) == 0 || errno == EINVAL;
}

bool
stream_end_is_proper(int fd)
{
  struct sockaddr_un address = {0};
  socklen_t length = sizeof address;
  int family = AF_UNIX;
  /* Not by the other end's name: a TCP connection that both have ended has none any more. */
  getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &(socklen_t){sizeof family});
  if (family != AF_UNIX)
    return true;
  if (getpeername(fd, (struct sockaddr *)&address, &length) == 0 && address.sun_family == AF_UNIX &&
      length > offsetof(struct sockaddr_un, sun_path) + sizeof PREFIX &&
      memcmp(address.sun_path, "\0" PREFIX, sizeof PREFIX) == 0)
    return true;
  errno = ECONNRESET;
  return false;
}
