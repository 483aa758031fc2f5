/* doppeld, started and stopped, with a session that sends everything back. */
#pragma once

#include "daemon/state.h"
#include "link/pair.h"

typedef struct {
  char *directory;
  DaemonState *state;
  IdentityKey *host_key, *device_key;
  pid_t pid;
  char *address;
  guint16 port;
} Host;

Host *host_new(void);
void host_free(Host *host);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Host, host_free)
void host_start(Host *host);
void host_stop(Host *host);

/* An invitation that is good for `seconds` from now; and a clone for `device_key`. */
Invitation *host_invite(Host *host, int seconds);
PairedClone *host_pair(Host *host);

Link *host_dial(const PairedClone *clone, const IdentityKey *device, GError **error);

/* The session is there; it ends. */
void host_assert_echo(Link *link, gsize length);
void host_assert_ends(Link *link);
