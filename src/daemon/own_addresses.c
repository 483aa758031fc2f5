#include "daemon/own_addresses.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/io.h"
#include "identity/address.h"

static gboolean
is_wildcard(const char *address, char **port)
{
  g_autofree char *host = NULL;
  return identity_address_split(address, &host, port, NULL) &&
         (g_str_equal(host, "::") || g_str_equal(host, "0.0.0.0"));
}

/* The addresses of this machine that others can use: not loopback, not link-local. */
static void
add_interfaces(GPtrArray *addresses, const char *port, guint most)
{
  struct ifaddrs *all = NULL;
  if (getifaddrs(&all) < 0)
    return;
  for (struct ifaddrs *each = all; each && addresses->len < most; each = each->ifa_next) {
    char text[INET6_ADDRSTRLEN];
    if (!each->ifa_addr || !(each->ifa_flags & IFF_UP) || (each->ifa_flags & IFF_LOOPBACK))
      continue;
    if (each->ifa_addr->sa_family == AF_INET) {
      inet_ntop(AF_INET, &((struct sockaddr_in *)each->ifa_addr)->sin_addr, text, sizeof text);
      g_ptr_array_add(addresses, g_strdup_printf("%s:%s", text, port));
    } else if (each->ifa_addr->sa_family == AF_INET6) {
      const struct in6_addr *raw = &((struct sockaddr_in6 *)each->ifa_addr)->sin6_addr;
      if (IN6_IS_ADDR_LINKLOCAL(raw))
        continue;
      inet_ntop(AF_INET6, raw, text, sizeof text);
      g_ptr_array_add(addresses, g_strdup_printf("[%s]:%s", text, port));
    }
  }
  freeifaddrs(all);
}

char **
daemon_own_addresses(const char *const *listening, guint most)
{
  g_autoptr(GPtrArray) addresses = g_ptr_array_new_with_free_func(g_free);
  for (; *listening && addresses->len < most; listening++) {
    g_autofree char *port = NULL;
    if (!is_wildcard(*listening, &port)) {
      g_ptr_array_add(addresses, g_strdup(*listening));
      continue;
    }
    guint before = addresses->len;
    add_interfaces(addresses, port, most);
    if (addresses->len == before)
      g_ptr_array_add(addresses, g_strdup_printf("127.0.0.1:%s", port));
  }
  g_ptr_array_add(addresses, NULL);
  return (char **)g_ptr_array_steal(addresses, NULL);
}

int
daemon_own_addresses_watch(GError **error)
{
  struct sockaddr_nl address = {.nl_family = AF_NETLINK,
                                .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
  g_auto(Fd) fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0)
    return io_steal_fd(&fd);
  doppel_error_errno(error, "cannot hear of this host's addresses");
  return -1;
}
