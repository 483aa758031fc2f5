#include "c2c/fd_source.h"

typedef struct {
  GSource source;
  gpointer tag;
} FdSource;

static gboolean
dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
  GIOCondition ready = g_source_query_unix_fd(source, ((FdSource *)source)->tag);
  g_source_set_ready_time(source, -1);
  return ((FdReady)(void (*)(void))callback)(ready, data);
}

GSource *
fd_source_new(int fd, GIOCondition condition, GMainContext *context, FdReady ready, void *data)
{
  static GSourceFuncs functions = {.dispatch = dispatch};
  GSource *source = g_source_new(&functions, sizeof(FdSource));
  ((FdSource *)source)->tag = g_source_add_unix_fd(source, fd, condition);
  g_source_set_callback(source, (GSourceFunc)(void (*)(void))ready, data, NULL);
  g_source_attach(source, context);
  return source;
}

void
fd_source_want(GSource *source, GIOCondition condition)
{
  g_source_modify_unix_fd(source, ((FdSource *)source)->tag, condition);
}

void
fd_source_free(GSource *source)
{
  if (!source)
    return;
  g_source_destroy(source);
  g_source_unref(source);
}
