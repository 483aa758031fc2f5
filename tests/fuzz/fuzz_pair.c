/* Pairing: the host's view of a request and the device's view of an answer. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link/pair.h"
#include "link/state.h"

static LinkPairResult
use(gpointer host, const guint8 *invitation, const guint8 *secret, const IdentityPublic *device,
    const char *device_name, LinkPairClone *clone, GError **error)
{
  if (strlen(device_name) > LINK_PAIR_NAME_MAX)
    __builtin_trap();
  static const char *const addresses[] = {"192.0.2.1:1", NULL};
  clone->addresses = g_strdupv((char **)addresses);
  return secret[0] & 1 ? LINK_PAIR_OK : LINK_PAIR_WRONG;
}

static LinkPairResult
give_up(gpointer host, const guint8 *clone, const IdentityPublic *device, GError **error)
{
  return clone[15] & 1 ? LINK_PAIR_OK : LINK_PAIR_UNKNOWN;
}

static void
try_request(const guint8 *data, gsize length)
{
  static const LinkPairHost calls = {use, give_up};
  int ends[2];
  if (length > 50000 || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
    return;
  g_autoptr(Link) device = link_new_local(ends[0]);
  g_autoptr(Link) host = link_new_local(ends[1]);
  link_send(device, 1, &(struct iovec){(void *)data, length}, 1, NULL);
  if (!link_pair_serve(host, &calls, NULL, 1000, NULL))
    __builtin_trap(); /* every request is answered */
}

static void
try_answer(const guint8 *data, gsize length)
{
  Invitation invitation = {0};
  g_autoptr(PairedClone) clone = link_pair_read(data, length, &invitation, NULL, NULL);
  if (clone && (!paired_name_check(clone->name, NULL) || !clone->addresses[0]))
    __builtin_trap();
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  if (length > 0 && data[0] & 1)
    try_request(data + 1, length - 1);
  else if (length > 0)
    try_answer(data + 1, length - 1);
  return 0;
}
