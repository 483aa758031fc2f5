/* Addresses in text to socket addresses. Numbers are translated at once; a name takes a thread, since the C
 * library's resolver waits. The thread takes no signals and outlives nobody's memory. */
#pragma once

#include <glib.h>
#include <sys/socket.h>

typedef struct {
  struct sockaddr_storage address;
  socklen_t length;
} LinkTarget;

typedef struct LinkResolve LinkResolve;

/* Begins to look up "host:port". FALSE with an error for what is no address. */
LinkResolve *link_resolve_new(const char *address, GError **error);
void link_resolve_free(LinkResolve *resolve);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LinkResolve, link_resolve_free)

/* Becomes readable when the answer is there; -1 where it already is. */
int link_resolve_fd(const LinkResolve *resolve);
const char *link_resolve_address(const LinkResolve *resolve);

/* Appends what was found to `targets` (of LinkTarget): 1; 0 while there is no answer; -1 with an error. */
int link_resolve_take(LinkResolve *resolve, GArray *targets, GError **error);
