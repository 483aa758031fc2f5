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
give_address(int control, const char *name, const char *address, guint32 netmask, GError **error)
{
  struct ifreq request;
  struct sockaddr_in value = {.sin_family = AF_INET};
  if (inet_pton(AF_INET, address, &value.sin_addr) != 1)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "\"%s\" is no IPv4 address", address);
  set_name(&request, name);
  memcpy(&request.ifr_addr, &value, sizeof value);
  if (ioctl(control, SIOCSIFADDR, &request) != 0)
    return doppel_error_errno(error, "cannot give the link the address %s", address);
  value.sin_addr.s_addr = htonl(netmask);
  memcpy(&request.ifr_netmask, &value, sizeof value);
  if (ioctl(control, SIOCSIFNETMASK, &request) != 0)
    return doppel_error_errno(error, "cannot set the link's netmask");
  return TRUE;
}

static gboolean
make_tun(const char *name, int *tun, GError **error)
{
  g_auto(Fd) fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  struct ifreq request;
  set_name(&request, name);
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0)
    return doppel_error_errno(error, "cannot make a TUN device (is /dev/net/tun there?)");
  *tun = io_steal_fd(&fd);
  return TRUE;
}

/* One end of a link, in the calling thread's namespace. */
static gboolean
make_end(const char *name, const char *address, guint32 netmask, int *tun, GError **error)
{
  struct ifreq request;
  if (!make_tun(name, tun, error))
    return FALSE;
  g_auto(Fd) control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  set_name(&request, name);
  request.ifr_mtu = MTU;
  if (control < 0 || ioctl(control, SIOCSIFMTU, &request) != 0)
    return doppel_error_errno(error, "cannot set up the link's interface");
  set_name(&request, name);
  request.ifr_qlen = 1000;
  ioctl(control, SIOCSIFTXQLEN, &request);
  return give_address(control, name, address, netmask, error) && bring_up(control, name, error) &&
         bring_up(control, "lo", error);
}

/* The calling thread is in a new namespace: makes its end of the link. */
static gboolean
furnish(Network *network, NetworkSide side, GError **error)
{
  const char *address = side == NETWORK_DEVICE ? NETWORK_DEVICE_ADDRESS : NETWORK_HOST_ADDRESS;
  if (!make_end(DEVICE_NAME, address, 0xffffff00, &network->tuns[side], error))
    return FALSE;
  network->namespaces[side] = open_own_namespace();
  return network->namespaces[side] >= 0 ||
         doppel_error_errno(error, "cannot open the link's network namespace");
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
  gboolean done = give_address(control, DEVICE_NAME, address, 0xffffff00, error);
  if (setns(home, CLONE_NEWNET) != 0 && done)
    return doppel_error_errno(error, "cannot return from a network namespace");
  return done;
}

/* A new namespace, which the calling thread is in then; a descriptor of it. */
static int
enter_new(GError **error)
{
  int space = unshare(CLONE_NEWNET) == 0 ? open_own_namespace() : -1;
  if (space < 0)
    doppel_error_errno(error, "cannot make a network namespace");
  return space;
}

/* A device reaches all the others over its one link. */
static gboolean
make_ray(NetworkRay *ray, guint number, int host, GError **error)
{
  g_autofree char *name = g_strdup_printf(DEVICE_NAME "%u", number);
  g_snprintf(ray->device_address, sizeof ray->device_address, "10.77.%u.1", number);
  g_snprintf(ray->host_address, sizeof ray->host_address, "10.77.%u.2", number);
  ray->space = enter_new(error);
  if (ray->space < 0 ||
      !make_end(DEVICE_NAME, ray->device_address, 0xffff0000, &ray->tuns[NETWORK_DEVICE], error))
    return FALSE;
  if (setns(host, CLONE_NEWNET) != 0)
    return doppel_error_errno(error, "cannot enter a network namespace");
  return make_end(name, ray->host_address, 0xffffff00, &ray->tuns[NETWORK_HOST], error);
}

gboolean
network_make_star(NetworkRay *rays, guint count, int *host, GError **error)
{
  g_auto(Fd) home = open_own_namespace();
  *host = enter_new(error);
  gboolean good = *host >= 0 && (write_text("/proc/sys/net/ipv4/ip_forward", "1") ||
                                 doppel_error_errno(error, "cannot forward packets between links"));
  for (guint i = 0; good && i < count; i++)
    good = make_ray(&rays[i], i + 1, *host, error);
  if (setns(home, CLONE_NEWNET) != 0 && good)
    return doppel_error_errno(error, "cannot return to the first network namespace");
  return good;
}
