/* Connections that have not said whom they want. They cost a descriptor and little else, are few, and no
 * source of addresses can have more than its share: who is slow, or many, pushes out his own kind first. */
#pragma once

#include <netinet/in.h>

#include "link/preamble.h"

/* An IPv4 address, or the half of an IPv6 address that one customer gets. */
typedef struct {
  guint8 bytes[16];
} DaemonSource;

DaemonSource daemon_source_of(const struct sockaddr_storage *address);
gboolean daemon_source_equal(const DaemonSource *a, const DaemonSource *b);

typedef struct {
  int fd;
  DaemonSource source;
  gint64 deadline; /* CLOCK_MONOTONIC ns */
  LinkPreambleReader reader;
} DaemonCaller;
void daemon_caller_free(DaemonCaller *caller);

/* Which of `count` entries, the oldest first, has to go when there are too many: the oldest of the source
 * that has most. `source` gives an entry's source. */
guint daemon_source_surplus(gpointer *entries, guint count,
                            const DaemonSource *(*source)(gconstpointer entry));

/* How many of the entries are from `wanted`. */
guint daemon_source_count(gpointer *entries, guint count, const DaemonSource *(*source)(gconstpointer entry),
                          const DaemonSource *wanted);
