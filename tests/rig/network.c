#include "network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

#define DEVICE_NAME "link"
#define MTU         1500

static int
open_own_namespace(void)
{
  /* Of the thread, not of the process: /proc/self would name the main thread's. */
  return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

static gboolean
write_text(const char *path, const char *text)
{
  g_auto(Fd) fd = open(path, O_WRONLY | O_CLOEXEC);
  return fd >= 0 && io_write_all(fd, text, strlen(text));
}

/* An ordinary user becomes root of a user namespace, in which network namespaces may be made. */
static gboolean
become_root_of_own(GError **error)
{
  g_autofree char *users = g_strdup_printf("0 %d 1\n", (int)geteuid());
  g_autofree char *groups = g_strdup_printf("0 %d 1\n", (int)getegid());
  if (unshare(CLONE_NEWUSER) != 0)
    return doppel_error_errno(error, "cannot make a user namespace (run as root, or allow them)");
  if (!write_text("/proc/self/setgroups", "deny") || !write_text("/proc/self/uid_map", users) ||
      !write_text("/proc/self/gid_map", groups))
    return doppel_error_errno(error, "cannot map the user into a user namespace");
  return TRUE;
}

static void
set_name(struct ifreq *request, const char *name)
{
  memset(request, 0, sizeof *request);
  g_strlcpy(request->ifr_name, name, IFNAMSIZ);
}

static gboolean
bring_up(int control, const char *name, GError **error)
{
  struct ifreq request;
  set_name(&request, name);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (ioctl(control, SIOCSIFFLAGS, &request) != 0)
    return doppel_error_errno(error, "cannot bring the interface %s up", name);
  return TRUE;
}

static gboolean
give_address(int control, const char *address, GError **error)
{
  struct ifreq request;
  struct sockaddr_in value = {.sin_family = AF_INET};
  if (inet_pton(AF_INET, address, &value.sin_addr) != 1)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "\"%s\" is no IPv4 address", address);
  set_name(&request, DEVICE_NAME);
  memcpy(&request.ifr_addr, &value, sizeof value);
  if (ioctl(control, SIOCSIFADDR, &request) != 0)
    return doppel_error_errno(error, "cannot give the link the address %s", address);
  value.sin_addr.s_addr = htonl(0xffffff00);
  memcpy(&request.ifr_netmask, &value, sizeof value);
  if (ioctl(control, SIOCSIFNETMASK, &request) != 0)
    return doppel_error_errno(error, "cannot set the link's netmask");
  return TRUE;
}

static gboolean
make_tun(int *tun, GError **error)
{
  g_auto(Fd) fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  struct ifreq request;
  set_name(&request, DEVICE_NAME);
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0)
    return doppel_error_errno(error, "cannot make a TUN device (is /dev/net/tun there?)");
  *tun = io_steal_fd(&fd);
  return TRUE;
}

/* The calling thread is in a new namespace: makes its end of the link. */
static gboolean
furnish(Network *network, NetworkSide side, GError **error)
{
  g_auto(Fd) control = -1;
  struct ifreq request;
  const char *address = side == NETWORK_DEVICE ? NETWORK_DEVICE_ADDRESS : NETWORK_HOST_ADDRESS;
  if (!make_tun(&network->tuns[side], error))
    return FALSE;
  network->namespaces[side] = open_own_namespace();
  control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  set_name(&request, DEVICE_NAME);
  request.ifr_mtu = MTU;
  if (network->namespaces[side] < 0 || control < 0 || ioctl(control, SIOCSIFMTU, &request) != 0)
    return doppel_error_errno(error, "cannot set up the link's interface");
  set_name(&request, DEVICE_NAME);
  request.ifr_qlen = 1000;
  ioctl(control, SIOCSIFTXQLEN, &request);
  return give_address(control, address, error) && bring_up(control, DEVICE_NAME, error) &&
         bring_up(control, "lo", error);
}

gboolean
network_make(Network *network, GError **error)
{
  *network = (Network){{-1, -1}, {-1, -1}};
  if (geteuid() != 0 && !become_root_of_own(error))
    return FALSE;
  g_auto(Fd) home = open_own_namespace();
  for (int side = 0; side < 2; side++)
    if (unshare(CLONE_NEWNET) != 0)
      return doppel_error_errno(error, "cannot make a network namespace");
    else if (!furnish(network, side, error))
      return FALSE;
  /* Back home fails in a user namespace, which does not own it: then this process stays on the host's side.
   */
  if (setns(home, CLONE_NEWNET) != 0 && errno != EPERM)
    return doppel_error_errno(error, "cannot return to the first network namespace");
  return TRUE;
}

gboolean
network_enter(const Network *network, NetworkSide side, GError **error)
{
  if (setns(network->namespaces[side], CLONE_NEWNET) != 0)
    return doppel_error_errno(error, "cannot enter a network namespace");
  return TRUE;
}

gboolean
network_set_address(const Network *network, NetworkSide side, const char *address, GError **error)
{
  g_auto(Fd) home = open_own_namespace();
  if (!network_enter(network, side, error))
    return FALSE;
  g_auto(Fd) control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  gboolean done = give_address(control, address, error);
  if (setns(home, CLONE_NEWNET) != 0 && done)
    return doppel_error_errno(error, "cannot return from a network namespace");
  return done;
}
