/* What a directory that runs tells about its peers, in a file for "cloneds peer". */
#pragma once

#include "c2c/directory_peers.h"

/* What a running directory tells about a peer. */
typedef struct {
  gboolean known; /* it runs, and knows that peer */
  gboolean connected, healing;
  guint waiting; /* updates for it */
  gint64 healed; /* seconds since 1970; 0: never */
  guint64 sent, taken, refused;
  char *trouble; /* what went wrong last, NULL: nothing since */
} DirectoryPeerReport;
void directory_peer_report_clear(DirectoryPeerReport *report);

/* About the peer with that key; nothing known where no directory has told anything in the last seconds. */
void directory_peer_report_load(const char *path, const IdentityPublic *key, DirectoryPeerReport *report);

/* Writing it: begun with the time, then each peer; `trouble` may be NULL. */
GKeyFile *directory_peer_report_begin(void);
void directory_peer_report_add(GKeyFile *report, const IdentityPublic *key, const DirectoryPeerStatus *status,
                               gint64 healed, const char *trouble);
