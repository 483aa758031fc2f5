/* What is driven like a link (link_prepare() and poll(), then link_work()), driven by a GMainContext. */
#pragma once

#include "link/link.h"

/* Fills at most LINK_POLL_MAX entries, as link_prepare() does. */
typedef guint (*LinkPrepare)(gpointer driven, struct pollfd *fds, int *timeout_ms);

/* A source, the caller's, that calls back (a GSourceFunc set with g_source_set_callback()) when `driven`'s
 * descriptors are ready or its time has come. The callback does the work; G_SOURCE_REMOVE ends the source.
 * `driven` must live until the source is destroyed. */
GSource *link_source_new(LinkPrepare prepare, gpointer driven);

/* The same for a link. */
GSource *link_source_new_link(Link *link);
