#include "c2c/mux_state.h"
#include "link/link_source.h"

typedef struct {
  Mux *mux; /* NULL once it was freed */
  MuxGone gone;
  void *data;
} Driven;

static guint
prepare(gpointer driven, struct pollfd *fds, int *timeout_ms)
{
  Mux *mux = ((Driven *)driven)->mux;
  if (mux)
    return mux_prepare(mux, fds, timeout_ms);
  *timeout_ms = 0;
  return 0;
}

static gboolean
work(void *data)
{
  Driven *driven = data;
  g_autoptr(GError) error = NULL;
  if (!driven->mux)
    return G_SOURCE_REMOVE;
  if (mux_work(driven->mux, &error))
    return G_SOURCE_CONTINUE;
  Mux *mux = g_steal_pointer(&driven->mux);
  if (!mux) /* a callback has freed it */
    return G_SOURCE_REMOVE;
  mux->watcher = NULL;
  if (driven->gone)
    driven->gone(mux, error, driven->data);
  return G_SOURCE_REMOVE;
}

static void
driven_free(void *data)
{
  Driven *driven = data;
  if (driven->mux)
    driven->mux->watcher = NULL;
  g_free(driven);
}

GSource *
mux_source_new(Mux *mux, MuxGone gone, void *data)
{
  g_return_val_if_fail(!mux->watcher, NULL);
  Driven *driven = g_new0(Driven, 1);
  *driven = (Driven){mux, gone, data};
  mux->watcher = &driven->mux;
  GSource *source = link_source_new(prepare, driven);
  g_source_set_callback(source, work, driven, driven_free);
  g_source_set_name(source, "mux");
  return source;
}
