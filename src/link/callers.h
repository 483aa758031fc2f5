/* Connections that have not said whom they want. They cost a descriptor and little else, are few, and no
 * source of addresses can have more than its share: who is slow, or many, pushes out his own kind first. */
#pragma once

#include <netinet/in.h>

#include "link/preamble.h"

/* An IPv4 address, or the half of an IPv6 address that one customer gets. */
typedef struct {
  guint8 bytes[16];
} LinkCallerSource;

LinkCallerSource link_caller_source_of(const struct sockaddr_storage *address);
gboolean link_caller_source_equal(const LinkCallerSource *a, const LinkCallerSource *b);

typedef struct {
  int fd;
  LinkCallerSource source;
  gint64 deadline; /* CLOCK_MONOTONIC ns */
  LinkPreambleReader reader;
} LinkCaller;
void link_caller_free(LinkCaller *caller);

/* Which of `count` entries, the oldest first, has to go when there are too many: the oldest of the source
 * that has most. `source` gives an entry's source. */
guint link_caller_source_surplus(gpointer *entries, guint count,
                                 const LinkCallerSource *(*source)(gconstpointer entry));

/* How many of the entries are from `wanted`. */
guint link_caller_source_count(gpointer *entries, guint count,
                               const LinkCallerSource *(*source)(gconstpointer entry),
                               const LinkCallerSource *wanted);
