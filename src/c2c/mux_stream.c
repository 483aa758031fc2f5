#include <string.h>

#include "base/clock.h"
#include "c2c/mux_state.h"

#define SMALL_WRITE (4u << 10)        /* goes before those who wait for their turn: */
#define SMALL_ROOM  (2 * MUX_BACKLOG) /* behind no more than this */
#define SMALL_CHUNK (4u << 10)        /* what comes in smaller pieces is put together */
#define GROWTH_NS                                                                                            \
  (5 * G_GINT64_CONSTANT(1000000000)) /* a window that takes longer to pass is large enough                  \
                                       */

MuxStream *
mux_stream_new(Mux *mux, guint32 number, MuxStage stage)
{
  MuxStream *stream = g_new0(MuxStream, 1);
  stream->mux = mux;
  stream->number = number;
  stream->stage = stage;
  stream->owned = TRUE;
  stream->credit = stream->window = stream->granted = MUX_WINDOW_FIRST;
  stream->period_at = clock_now_ns();
  stream->ready.data = stream->place.data = stream;
  g_hash_table_insert(mux->streams, GUINT_TO_POINTER(number), stream);
  g_queue_push_tail_link(&mux->all, &stream->place);
  if (stage == MUX_ASKED)
    mux->theirs++, mux->pending++;
  else
    mux->ours++;
  return stream;
}

static void
chunk_free(MuxStream *stream, MuxChunk *chunk)
{
  if (chunk->message)
    link_give_back(stream->mux->link, chunk->message);
  g_free(chunk);
}

static void
drop_chunks(MuxStream *stream)
{
  while (stream->first) {
    MuxChunk *chunk = stream->first;
    stream->first = chunk->next;
    chunk_free(stream, chunk);
  }
  stream->last = NULL;
  stream->held = 0;
}

void
mux_stream_free(MuxStream *stream)
{
  drop_chunks(stream);
  g_free(stream->fate);
  g_free(stream);
}

static void
give_up_place(MuxStream *stream)
{
  Mux *mux = stream->mux;
  stream->over = TRUE;
  g_hash_table_remove(mux->streams, GUINT_TO_POINTER(stream->number));
  if (stream->number % 2 == mux->next % 2)
    mux->ours--;
  else
    mux->theirs--;
  mux->growth -= stream->window - MUX_WINDOW_FIRST;
}

void
mux_stream_settle(MuxStream *stream)
{
  Mux *mux = stream->mux;
  if (!stream->over && stream->spoken && stream->heard)
    give_up_place(stream);
  if (!stream->over || stream->owned || stream->buried)
    return;
  stream->buried = TRUE;
  g_ptr_array_add(mux->grave, stream);
  mux_bury(mux);
}

void
mux_stream_disown(MuxStream *stream)
{
  Mux *mux = stream->mux;
  if (!stream->owned)
    return;
  stream->owned = FALSE;
  g_queue_unlink(&mux->all, &stream->place);
  if (stream->queued)
    g_queue_unlink(&mux->ready, &stream->ready);
  if (stream->news)
    g_queue_remove(&mux->news, stream);
  stream->queued = stream->news = FALSE;
  drop_chunks(stream);
}

void
mux_stream_perish(MuxStream *stream, const char *words)
{
  Mux *mux = stream->mux;
  gboolean asked = stream->stage == MUX_ASKED;
  mux->depth++;
  mux_stream_disown(stream);
  stream->spoken = stream->heard = TRUE;
  if (!asked && stream->callbacks && stream->callbacks->reset)
    stream->callbacks->reset(stream, words, stream->data);
  mux_stream_settle(stream);
  mux->depth--;
}

void
mux_stream_take_over(MuxStream *stream, const MuxStreamCallbacks *callbacks, void *data)
{
  stream->callbacks = callbacks;
  stream->data = data;
  if (stream->held > 0 || stream->peer_ended || stream->fate)
    mux_stream_has_news(stream);
}

Mux *
mux_stream_mux(MuxStream *stream)
{
  return stream->mux;
}

/* What comes in. */

/* A peer that sends byte by byte shall not make us keep fifty for each. */
static void
append_small(MuxStream *stream, const guint8 *data, gsize length)
{
  MuxChunk *last = stream->last;
  if (!last || last->message || last->room - last->end < length) {
    last = g_malloc(sizeof *last + SMALL_CHUNK);
    *last = (MuxChunk){.room = SMALL_CHUNK};
    if (stream->last)
      stream->last->next = last;
    else
      stream->first = last;
    stream->last = last;
  }
  memcpy(last->bytes + last->end, data, length);
  last->end += length;
}

static void
append(MuxStream *stream, LinkMessage *message)
{
  stream->held += message->length;
  if (message->length < SMALL_CHUNK) {
    append_small(stream, message->data, message->length);
    link_message_free(message);
    return;
  }
  MuxChunk *chunk = g_new(MuxChunk, 1);
  *chunk = (MuxChunk){.message = message, .end = message->length};
  if (stream->last)
    stream->last->next = chunk;
  else
    stream->first = chunk;
  stream->last = chunk;
}

static gboolean
is_proper(Mux *mux, const MuxStream *stream, guint32 number, gsize length)
{
  if (!stream)
    return mux_hostile(mux, "sent data on stream %u, which is not open", number);
  if (stream->stage == MUX_OPENING || stream->heard)
    return mux_hostile(mux, "sent data on stream %u, which it %s", number,
                       stream->heard ? "had ended" : "had not accepted");
  if (length == 0 || length > stream->granted)
    return mux_hostile(mux, "sent %zu bytes on stream %u, where it may send %u", length, number,
                       stream->granted);
  return TRUE;
}

void
mux_stream_take(Mux *mux, guint32 number, LinkMessage *message)
{
  MuxStream *stream = g_hash_table_lookup(mux->streams, GUINT_TO_POINTER(number));
  if (!is_proper(mux, stream, number, message->length)) {
    link_message_free(message);
    return;
  }
  stream->granted -= message->length;
  if (!stream->owned) {
    link_message_free(message);
    return;
  }
  append(stream, message);
  mux_stream_has_news(stream);
}

/* Doubles the window of who was kept waiting by it rather than by the reader. */
static guint32
growth_of(MuxStream *stream, gint64 now)
{
  if (stream->period < stream->window)
    return 0;
  gboolean quick = now - stream->period_at < GROWTH_NS;
  stream->period = 0;
  stream->period_at = now;
  guint32 more = MIN(stream->window, MUX_WINDOW_MOST - stream->window);
  if (!quick || stream->held > stream->window / 2 || more > MUX_GROWTH_MAX - stream->mux->growth)
    return 0;
  stream->window += more;
  stream->mux->growth += more;
  return more;
}

static void
consumed(MuxStream *stream, gsize length)
{
  stream->consumed += length;
  stream->period += length;
  if (stream->heard || stream->consumed < stream->window / 4)
    return;
  guint32 credit = stream->consumed + growth_of(stream, clock_now_ns());
  stream->granted += credit;
  stream->consumed = 0;
  mux_send_credit(stream, credit);
}

int
mux_peek(MuxStream *stream, const guint8 **data, gsize *length)
{
  const MuxChunk *chunk = stream->first;
  if (!chunk)
    return stream->peer_ended ? -1 : 0;
  *data = (chunk->message ? chunk->message->data : chunk->bytes) + chunk->start;
  *length = chunk->end - chunk->start;
  return 1;
}

void
mux_consume(MuxStream *stream, gsize length)
{
  g_return_if_fail(length <= stream->held);
  gsize left = length;
  while (left > 0) {
    MuxChunk *chunk = stream->first;
    gsize part = MIN(left, chunk->end - chunk->start);
    chunk->start += part;
    left -= part;
    if (chunk->start < chunk->end)
      break;
    stream->first = chunk->next;
    if (!stream->first)
      stream->last = NULL;
    chunk_free(stream, chunk);
  }
  stream->held -= length;
  consumed(stream, length);
}

gssize
mux_read(MuxStream *stream, void *data, gsize length)
{
  const guint8 *from;
  gsize have, done = 0;
  while (done < length && mux_peek(stream, &from, &have) > 0) {
    gsize part = MIN(have, length - done);
    memcpy((guint8 *)data + done, from, part);
    mux_consume(stream, part);
    done += part;
  }
  return done == 0 && length > 0 && !stream->first && stream->peer_ended ? -1 : (gssize)done;
}

gboolean
mux_peer_ended(const MuxStream *stream)
{
  return stream->peer_ended;
}

/* What goes out. */

/* Bytes that the link takes from this stream now. */
static gsize
link_room(const MuxStream *stream, gsize length)
{
  const Mux *mux = stream->mux;
  LinkBacklog backlog = link_backlog(mux->link);
  if (backlog.kept >= MUX_KEPT_MAX)
    return 0;
  if (stream->turn > 0)
    return stream->turn;
  if (length <= SMALL_WRITE && backlog.unwritten < SMALL_ROOM && !stream->queued)
    return SMALL_WRITE;
  if (mux->ready.length > 0 || backlog.unwritten >= MUX_BACKLOG)
    return 0;
  return MUX_BACKLOG - backlog.unwritten;
}

static gsize
room(MuxStream *stream, gsize length)
{
  if (stream->spoken || !stream->owned || stream->stage == MUX_ASKED || stream->mux->death)
    return 0;
  gsize most = MIN(length, stream->credit);
  return most > 0 ? MIN(most, link_room(stream, length)) : 0;
}

/* It shall be told when it can write (on). */
static void
want(MuxStream *stream)
{
  stream->wanting = TRUE;
  if (stream->credit > 0)
    mux_stream_is_ready(stream);
}

gsize
mux_room(MuxStream *stream)
{
  gsize most = room(stream, G_MAXSIZE);
  if (most == 0)
    want(stream);
  return most;
}

static gboolean
queue_data(MuxStream *stream, const guint8 *data, gsize length)
{
  GError *error = NULL;
  return link_queue(stream->mux->link, C2C_STREAM_BASE + stream->number,
                    &(struct iovec){(guint8 *)data, length}, 1, &error) ||
         mux_fail(stream->mux, error);
}

gsize
mux_write(MuxStream *stream, const void *data, gsize length)
{
  gsize most = room(stream, length), done = 0;
  while (done < most) {
    gsize part = MIN(most - done, MUX_MESSAGE);
    if (!queue_data(stream, (const guint8 *)data + done, part))
      return done;
    done += part;
  }
  stream->credit -= done;
  stream->turn -= MIN(stream->turn, done);
  if (done < length)
    want(stream);
  return done;
}

void
mux_end(MuxStream *stream)
{
  if (stream->spoken || stream->stage == MUX_ASKED)
    return;
  mux_send_end(stream);
  stream->spoken = TRUE;
  mux_stream_settle(stream);
}

void
mux_close(MuxStream *stream, const char *words)
{
  if (stream->stage == MUX_ASKED) {
    mux_refuse(stream, DOPPEL__WIRE__C2C_REFUSAL__C2C_FAILED, words);
    return;
  }
  mux_stream_disown(stream);
  if (!stream->over)
    mux_send_reset(stream, words);
  stream->spoken = TRUE;
  mux_stream_settle(stream);
}
