#include "link/callers.h"

#include <string.h>
#include <unistd.h>

LinkCallerSource
link_caller_source_of(const struct sockaddr_storage *address)
{
  LinkCallerSource source = {{0}};
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
link_caller_source_equal(const LinkCallerSource *a, const LinkCallerSource *b)
{
  return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

void
link_caller_free(LinkCaller *caller)
{
  close(caller->fd);
  g_free(caller);
}

guint
link_caller_source_count(gpointer *entries, guint count,
                         const LinkCallerSource *(*source)(gconstpointer entry),
                         const LinkCallerSource *wanted)
{
  guint same = 0;
  for (guint i = 0; i < count; i++)
    same += link_caller_source_equal(source(entries[i]), wanted);
  return same;
}

guint
link_caller_source_surplus(gpointer *entries, guint count,
                           const LinkCallerSource *(*source)(gconstpointer entry))
{
  guint chosen = 0, most = 0;
  for (guint i = 0; i < count; i++) {
    guint same = link_caller_source_count(entries, count, source, source(entries[i]));
    if (same > most) {
      most = same;
      chosen = i;
    }
  }
  return chosen;
}
