/* Where and when to dial: rounds over all addresses of the peer, several attempts overlapping as in RFC 8305
 * (a new one each 250 ms or as soon as one fails), a growing pause between rounds. It makes no connections
 * itself. */
#pragma once

#include "link/resolve.h"

typedef struct LinkDialler LinkDialler;

/* USAGE for no addresses or one that is none. */
LinkDialler *link_dialler_new(const char *const *addresses, int epoll_fd, GError **error);
void link_dialler_free(LinkDialler *dialler);

/* Other addresses for the rounds to come. */
void link_dialler_set_addresses(LinkDialler *dialler, const char *const *addresses);

/* Begins a round now, the first after a loss. */
void link_dialler_start(LinkDialler *dialler, gint64 now);

/* No more attempts until link_dialler_start(): one has succeeded. */
void link_dialler_stop(LinkDialler *dialler);

/* The next target to try, if it is time: TRUE. `address` is its text, the dialler's. */
gboolean link_dialler_next(LinkDialler *dialler, gint64 now, LinkTarget *target, const char **address);

/* An attempt has failed: the next may begin at `now`. Takes `error`. */
void link_dialler_failed(LinkDialler *dialler, gint64 now, GError *error);

/* Whether all of this round has been tried, given that no attempt is under way. */
gboolean link_dialler_exhausted(const LinkDialler *dialler);

/* Begins the next round after a pause. */
void link_dialler_pause(LinkDialler *dialler, gint64 now);

/* CLOCK_MONOTONIC ns at which link_dialler_next() has something to do; G_MAXINT64: never by time alone. */
gint64 link_dialler_due(const LinkDialler *dialler);

/* What to tell the user: a wrong key before a refusal before whatever came first. NULL where nothing failed.
 */
const GError *link_dialler_failure(const LinkDialler *dialler);
