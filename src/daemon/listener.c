#include "daemon/listener.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "identity/address.h"
#include "link/connection.h"

#define BACKLOG 256

static char *
bound_name(int fd)
{
  struct sockaddr_storage address;
  socklen_t length = sizeof address;
  char host[NI_MAXHOST], port[NI_MAXSERV];
  if (getsockname(fd, (struct sockaddr *)&address, &length) < 0 ||
      getnameinfo((struct sockaddr *)&address, length, host, sizeof host, port, sizeof port,
                  NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return NULL;
  return g_strdup_printf(address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static int
listen_on(const struct addrinfo *where)
{
  g_auto(Fd) fd = link_stream_socket(where->ai_family, TRUE);
  if (fd < 0)
    return -1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
  if (where->ai_family == AF_INET6)
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY,
               &(int){!IN6_IS_ADDR_UNSPECIFIED(&((struct sockaddr_in6 *)where->ai_addr)->sin6_addr)},
               sizeof(int));
  if (bind(fd, where->ai_addr, where->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
    return -1;
  return io_steal_fd(&fd);
}

/* "host:0" asks for any port, which is no address to dial. */
static gboolean
split(const char *address, char **host, char **port, GError **error)
{
  gsize length = strlen(address);
  gboolean any = length > 2 && g_str_has_suffix(address, ":0");
  g_autofree char *dialled = any ? g_strdup_printf("%.*s1", (int)length - 1, address) : g_strdup(address);
  if (!identity_address_split(dialled, host, port, error))
    return FALSE;
  if (any)
    (*port)[0] = '0';
  return TRUE;
}

gboolean
daemon_listen(const char *address, GArray *fds, GPtrArray *names, GError **error)
{
  g_autofree char *host = NULL;
  g_autofree char *port = NULL;
  if (!split(address, &host, &port, error))
    return FALSE;
  struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM},
                  *found = NULL;
  int result = getaddrinfo(host, port, &hints, &found);
  if (result != 0)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "cannot listen on %s: %s", address,
                            gai_strerror(result));
  guint before = fds->len;
  for (struct addrinfo *each = found; each; each = each->ai_next) {
    int fd = listen_on(each);
    if (fd < 0)
      continue;
    g_array_append_val(fds, fd);
    g_ptr_array_add(names, bound_name(fd));
  }
  int saved = errno;
  freeaddrinfo(found);
  errno = saved;
  return fds->len > before || doppel_error_errno(error, "cannot listen on %s", address);
}

gboolean
daemon_listen_everywhere(GArray *fds, GPtrArray *names, GError **error)
{
  return daemon_listen("[::]:" DAEMON_PORT, fds, names, NULL) ||
         daemon_listen("0.0.0.0:" DAEMON_PORT, fds, names, error);
}
