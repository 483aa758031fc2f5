/* Pairing and recovery: the host's view of requests and the device's view of answers. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "identity/record.h"
#include "link/pair.h"
#include "link/recover.h"
#include "link/state.h"

enum { FIND_TAG = 0x22, FIND_LENGTH = 36 };

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

static LinkPairResult
remember(gpointer host, const guint8 *clone, const IdentityPublic *device, const IdentityPublic *key,
         const guint8 *seal, GError **error)
{
  return (clone[15] ^ key->bytes[31] ^ seal[31]) & 1 ? LINK_PAIR_OK : LINK_PAIR_UNKNOWN;
}

static LinkPairResult
find(gpointer host, const IdentityPublic *key, LinkPairClone *clone, GError **error)
{
  static const char *const addresses[] = {"192.0.2.1:1", NULL};
  clone->addresses = g_strdupv((char **)addresses);
  return key->bytes[31] & 1 ? LINK_PAIR_OK : LINK_PAIR_UNKNOWN;
}

/* Nobody who fuzzes can sign. */
static LinkPairResult
recover(gpointer host, const guint8 *clone, const IdentityPublic *key, const IdentityPublic *device,
        const char *device_name, gboolean beside, GError **error)
{
  __builtin_trap();
}

static LinkPairResult
hosting(gpointer host, const guint8 *clone, const IdentityPublic *device, GBytes **said, GError **error)
{
  *said = g_bytes_new(clone, PAIRED_ID_LENGTH);
  return clone[15] & 1 ? LINK_PAIR_OK : LINK_PAIR_UNKNOWN;
}

static void
try_request(const guint8 *data, gsize length)
{
  static const LinkPairHost calls = {use, give_up, remember, find, recover, hosting};
  int ends[2];
  if (length > 50000 || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
    return;
  g_autoptr(Link) device = link_new_local(ends[0]);
  g_autoptr(Link) host = link_new_local(ends[1]);
  /* What follows a question for a clone is a message of its own. */
  gsize first = length > FIND_LENGTH && data[0] == FIND_TAG ? FIND_LENGTH : length;
  link_send(device, 1, &(struct iovec){(void *)data, first}, 1, NULL);
  link_send(device, 1, &(struct iovec){(void *)(data + first), length - first}, 1, NULL);
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

/* A host that has no key to sign with. */
static void
try_hosting(const guint8 *data, gsize length)
{
  const IdentityPublic key = {{1}}, provider = {{2}};
  const guint8 clone[RECORD_ID_LENGTH] = {3};
  if (record_check_hosting(data, length, clone, &key, &provider, NULL))
    __builtin_trap();
}

/* A host that cannot have a seal. */
static void
try_recovery(const guint8 *data, gsize length)
{
  static const char *const addresses[] = {"192.0.2.1:1", NULL};
  guint8 challenge[IDENTITY_CHALLENGE_LENGTH];
  const IdentityPublic host = {{1}};
  g_autoptr(IdentityRecovery) recovery = identity_recovery_new(NULL);
  if (link_recover_read(data, length, recovery, &host, addresses, "name", challenge, NULL))
    __builtin_trap();
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  if (length > 0 && data[0] & 1)
    try_request(data + 1, length - 1);
  else if (length > 0)
    try_answer(data + 1, length - 1);
  if (length > 0 && !(data[0] & 1))
    try_recovery(data + 1, length - 1);
  if (length > 0)
    try_hosting(data + 1, length - 1);
  return 0;
}
