/* A GSource for one descriptor whose conditions can change, and that can wake itself at a time. */
#pragma once

#include <glib.h>

/* `ready` is what poll(2) says; 0: the time has come. G_SOURCE_REMOVE ends the source. */
typedef gboolean (*FdReady)(GIOCondition ready, void *data);

/* Attached to `context`; the caller's to destroy and unref. `fd` stays the caller's. */
GSource *fd_source_new(int fd, GIOCondition condition, GMainContext *context, FdReady ready, void *data);
void fd_source_want(GSource *source, GIOCondition condition);

/* Destroys and unrefs; NULL may be given. */
void fd_source_free(GSource *source);
