#include "link/link_source.h"

#include <string.h>

#include "base/clock.h"

typedef struct {
  GSource source;
  LinkPrepare prepare;
  gpointer driven;
  struct {
    int fd;
    short events;
    gpointer tag;
  } watched[LINK_POLL_MAX];
  gint64 due; /* CLOCK_MONOTONIC ns */
} LinkSource;

/* GIOCondition's values are poll(2)'s. */
G_STATIC_ASSERT(G_IO_IN == POLLIN && G_IO_OUT == POLLOUT && G_IO_ERR == POLLERR && G_IO_HUP == POLLHUP);

static void
watch(LinkSource *source, guint i, int fd, short events)
{
  if (source->watched[i].tag && source->watched[i].fd == fd) {
    if (source->watched[i].events != events)
      g_source_modify_unix_fd(&source->source, source->watched[i].tag, (GIOCondition)events);
    source->watched[i].events = events;
    return;
  }
  if (source->watched[i].tag)
    g_source_remove_unix_fd(&source->source, source->watched[i].tag);
  source->watched[i].fd = fd;
  source->watched[i].events = events;
  source->watched[i].tag = fd < 0 ? NULL : g_source_add_unix_fd(&source->source, fd, (GIOCondition)events);
}

static gboolean
source_prepare(GSource *base, int *timeout_ms)
{
  LinkSource *source = (LinkSource *)base;
  struct pollfd fds[LINK_POLL_MAX];
  int wait_ms = -1;
  guint count = source->prepare(source->driven, fds, &wait_ms);
  for (guint i = 0; i < LINK_POLL_MAX; i++)
    watch(source, i, i < count ? fds[i].fd : -1, i < count ? fds[i].events : 0);
  source->due = wait_ms < 0 ? G_MAXINT64 : clock_now_ns() + wait_ms * G_GINT64_CONSTANT(1000000);
  *timeout_ms = wait_ms;
  return wait_ms == 0;
}

static gboolean
source_check(GSource *base)
{
  LinkSource *source = (LinkSource *)base;
  for (guint i = 0; i < LINK_POLL_MAX; i++)
    if (source->watched[i].tag && g_source_query_unix_fd(base, source->watched[i].tag) != 0)
      return TRUE;
  return source->due != G_MAXINT64 && clock_now_ns() >= source->due;
}

static gboolean
source_dispatch(GSource *base, GSourceFunc callback, gpointer data)
{
  return callback ? callback(data) : G_SOURCE_REMOVE;
}

GSource *
link_source_new(LinkPrepare prepare, gpointer driven)
{
  static GSourceFuncs functions = {
      .prepare = source_prepare, .check = source_check, .dispatch = source_dispatch};
  GSource *base = g_source_new(&functions, sizeof(LinkSource));
  LinkSource *source = (LinkSource *)base;
  source->prepare = prepare;
  source->driven = driven;
  return base;
}

GSource *
link_source_new_link(Link *link)
{
  return link_source_new((LinkPrepare)link_prepare, link);
}
