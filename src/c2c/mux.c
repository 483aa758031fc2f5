#include "c2c/mux.h"

#include <string.h>

#include "base/error.h"
#include "c2c/mux_state.h"

#define INBOX_MAX  (256u << 10)
#define UNSENT_MAX (128u << 10)
#define ROUNDS_MAX 64 /* turns to write between two looks at what has come */

Mux *
mux_new(Link *link, gboolean dialler, const MuxCallbacks *callbacks, void *data)
{
  Mux *mux = g_new0(Mux, 1);
  mux->link = link;
  mux->callbacks = callbacks;
  mux->data = data;
  link_limit_inbox(link, INBOX_MAX);
  link_limit_unsent(link, UNSENT_MAX);
  mux->streams = g_hash_table_new(NULL, NULL);
  mux->grave = g_ptr_array_new_with_free_func((GDestroyNotify)mux_stream_free);
  mux->next = dialler ? 2 : 1;
  mux->due = dialler ? 1 : 2;
  return mux;
}

void
mux_bury(Mux *mux)
{
  if (mux->depth == 0)
    g_ptr_array_set_size(mux->grave, 0);
}

static void
destroy(Mux *mux)
{
  if (mux->watcher)
    *mux->watcher = NULL;
  mux_bury(mux);
  g_ptr_array_free(mux->grave, TRUE);
  /* What is left was closed, and waited for the peer's last word. */
  GHashTableIter iter;
  gpointer stream;
  g_hash_table_iter_init(&iter, mux->streams);
  while (g_hash_table_iter_next(&iter, NULL, &stream))
    mux_stream_free(stream);
  g_hash_table_destroy(mux->streams);
  link_free(mux->link);
  g_clear_error(&mux->death);
  g_free(mux);
}

/* Whose owner has not answered will hear of it when it does. */
const GError *
mux_death(const Mux *mux)
{
  return mux->death;
}

static gboolean
is_waited_for(const MuxStream *stream)
{
  return !stream->over && stream->stage != MUX_ASKED;
}

/* Every stream that can still be waited for gets its last call; at the end, all. */
static void
raise_death(Mux *mux, gboolean all)
{
  const char *words = mux->death ? mux->death->message : "the connection was given up";
  for (;;) {
    GList *at = mux->all.head;
    while (at && !all && !is_waited_for(at->data))
      at = at->next;
    if (!at)
      return;
    mux_stream_perish(at->data, words);
  }
}

void
mux_free(Mux *mux)
{
  if (!mux || mux->doomed)
    return;
  mux->doomed = TRUE;
  mux->depth++;
  if (!mux->death)
    doppel_error_set(&mux->death, DOPPEL_ERROR_GONE, "the connection was given up");
  raise_death(mux, TRUE);
  mux->depth--;
  if (mux->depth == 0)
    destroy(mux);
}

Link *
mux_link(Mux *mux)
{
  return mux->link;
}

guint
mux_streams(const Mux *mux)
{
  return mux->all.length;
}

gboolean
mux_fail(Mux *mux, GError *error)
{
  if (mux->death)
    g_error_free(error);
  else
    mux->death = error;
  return FALSE;
}

gboolean
mux_hostile(Mux *mux, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree char *what = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  return mux_fail(mux, g_error_new(DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE, "the peer %s", what));
}

void
mux_stream_has_news(MuxStream *stream)
{
  if (stream->news || !stream->owned)
    return;
  stream->news = TRUE;
  g_queue_push_tail(&stream->mux->news, stream);
}

void
mux_stream_is_ready(MuxStream *stream)
{
  if (stream->queued || !stream->owned || stream->spoken)
    return;
  stream->queued = TRUE;
  g_queue_push_tail_link(&stream->mux->ready, &stream->ready);
}

static gboolean
may_write(const Mux *mux)
{
  LinkBacklog backlog = link_backlog(mux->link);
  return backlog.unwritten < MUX_BACKLOG && backlog.kept < MUX_KEPT_MAX;
}

static void
push(Mux *mux)
{
  GError *error = NULL;
  if (!mux->death && !link_push(mux->link, &error))
    mux_fail(mux, error);
}

guint
mux_prepare(Mux *mux, struct pollfd *fds, int *timeout_ms)
{
  push(mux);
  if (mux->death || mux->news.length > 0 || (mux->ready.length > 0 && may_write(mux)))
    *timeout_ms = 0;
  return mux->death ? 0 : link_prepare(mux->link, fds, timeout_ms);
}

static void
dispatch(Mux *mux, LinkMessage *message)
{
  if (message->channel == C2C_CHANNEL) {
    mux_take_control(mux, message->data, message->length);
    link_message_free(message);
  } else if (message->channel > C2C_STREAM_BASE && message->channel - C2C_STREAM_BASE < MUX_NUMBER_MAX) {
    mux_stream_take(mux, message->channel - C2C_STREAM_BASE, message);
  } else {
    mux_hostile(mux, "sent a message on channel %u, where there is nothing", message->channel);
    link_message_free(message);
  }
}

static void
receive(Mux *mux)
{
  GError *error = NULL;
  gboolean alive = link_work(mux->link, &error);
  LinkMessage *message;
  while (!mux->death && (message = link_take(mux->link)))
    dispatch(mux, message);
  if (!alive)
    mux_fail(mux, error);
}

static void
tell_news(Mux *mux)
{
  /* What comes up meanwhile is for the next time. */
  for (guint left = mux->news.length; left > 0 && mux->news.length > 0; left--) {
    MuxStream *stream = g_queue_pop_head(&mux->news);
    stream->news = FALSE;
    if (stream->fate && stream->callbacks)
      mux_stream_perish(stream, stream->fate);
    else if (stream->callbacks && stream->callbacks->readable)
      stream->callbacks->readable(stream, stream->data);
  }
}

/* Lets those write who wait for it, one turn after the other. */
static void
take_turns(Mux *mux)
{
  for (guint i = 0; i < ROUNDS_MAX && mux->ready.length > 0 && !mux->death; i++) {
    if (!may_write(mux))
      push(mux);
    if (mux->death || !may_write(mux))
      return;
    GList *first = g_queue_pop_head_link(&mux->ready);
    MuxStream *stream = first->data;
    stream->queued = stream->wanting = FALSE;
    stream->turn = MUX_MESSAGE;
    if (stream->callbacks && stream->callbacks->writable)
      stream->callbacks->writable(stream, stream->data);
    stream->turn = 0;
  }
}

static gboolean
finish_work(Mux *mux, GError **error)
{
  if (mux->death && !mux->raised && !mux->doomed) {
    mux->raised = TRUE;
    raise_death(mux, FALSE);
  }
  mux->depth--;
  if (mux->death)
    g_propagate_error(error, g_error_copy(mux->death));
  gboolean alive = mux->death == NULL;
  if (mux->doomed && mux->depth == 0)
    destroy(mux);
  else
    mux_bury(mux);
  return alive;
}

gboolean
mux_work(Mux *mux, GError **error)
{
  mux->depth++;
  if (!mux->death)
    receive(mux);
  tell_news(mux);
  take_turns(mux);
  push(mux);
  return finish_work(mux, error);
}
