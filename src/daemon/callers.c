#include "daemon/callers.h"

#include <string.h>
#include <unistd.h>

DaemonSource
daemon_source_of(const struct sockaddr_storage *address)
{
  DaemonSource source = {{0}};
  if (address->ss_family == AF_INET) {
    memcpy(source.bytes, &((const struct sockaddr_in *)address)->sin_addr, 4);
  } else if (address->ss_family == AF_INET6) {
    const struct in6_addr *raw = &((const struct sockaddr_in6 *)address)->sin6_addr;
    gboolean mapped = IN6_IS_ADDR_V4MAPPED(raw);
    memcpy(source.bytes, raw->s6_addr + (mapped ? 12 : 0), mapped ? 4 : 8);
  }
  return source;
}

gboolean
daemon_source_equal(const DaemonSource *a, const DaemonSource *b)
{
  return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

void
daemon_caller_free(DaemonCaller *caller)
{
  close(caller->fd);
  g_free(caller);
}

guint
daemon_source_count(gpointer *entries, guint count, const DaemonSource *(*source)(gconstpointer entry),
                    const DaemonSource *wanted)
{
  guint same = 0;
  for (guint i = 0; i < count; i++)
    same += daemon_source_equal(source(entries[i]), wanted);
  return same;
}

guint
daemon_source_surplus(gpointer *entries, guint count, const DaemonSource *(*source)(gconstpointer entry))
{
  guint chosen = 0, most = 0;
  for (guint i = 0; i < count; i++) {
    guint same = daemon_source_count(entries, count, source, source(entries[i]));
    if (same > most) {
      most = same;
      chosen = i;
    }
  }
  return chosen;
}
