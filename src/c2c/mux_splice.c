#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "c2c/mux_state.h"
#include "c2c/stream_end.h"

#define READ_MAX (64u << 10) /* bytes taken from the socket at a time */
#define TURN_MAX 8           /* such reads before others get their turn */

struct MuxSplice {
  MuxStream *stream; /* NULL once it is no more */
  int fd;
  GSource *source; /* of `fd` */
  gpointer tag;
  GIOCondition events; /* as they are watched */
  gboolean in_over;    /* the socket gives no more, and the peer was told */
  gboolean out_over;   /* the peer gives no more, and the socket was told */
  gboolean out_full;   /* the socket takes nothing now */
  gboolean in_full;    /* the stream takes nothing now */
  void (*done)(void *data);
  void *data;
};

static void
splice_free(MuxSplice *splice)
{
  g_source_destroy(splice->source);
  g_source_unref(splice->source);
  io_close(&splice->fd);
  g_free(splice);
}

/* It is over, well or badly. */
static void
finish(MuxSplice *splice, const char *words)
{
  if (splice->stream)
    mux_close(splice->stream, words);
  void (*done)(void *) = splice->done;
  void *data = splice->data;
  splice_free(splice);
  if (done)
    done(data);
}

/* From the stream to the socket. FALSE where that broke. */
static gboolean
move_out(MuxSplice *splice)
{
  const guint8 *bytes;
  gsize length;
  int have;
  while (!splice->out_over && (have = mux_peek(splice->stream, &bytes, &length)) != 0) {
    if (have < 0) {
      stream_end_name(splice->fd);
      shutdown(splice->fd, SHUT_WR);
      splice->out_over = TRUE;
      return TRUE;
    }
    ssize_t sent = send(splice->fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR)
      continue;
    splice->out_full = sent < 0 && errno == EAGAIN;
    if (splice->out_full)
      return TRUE;
    if (sent < 0)
      return FALSE;
    mux_consume(splice->stream, sent);
  }
  splice->out_full = FALSE;
  return TRUE;
}

/* From the socket to the stream, no more than it takes. FALSE where that broke. */
static gboolean
move_in(MuxSplice *splice)
{
  guint8 bytes[READ_MAX];
  for (guint i = 0; i < TURN_MAX && !splice->in_over; i++) {
    gsize room = mux_room(splice->stream);
    splice->in_full = room == 0;
    if (splice->in_full)
      return TRUE;
    ssize_t got = recv(splice->fd, bytes, MIN(room, sizeof bytes), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return errno == EAGAIN;
    if (got == 0 && !stream_end_is_proper(splice->fd))
      return FALSE;
    if (got == 0) {
      mux_end(splice->stream);
      splice->in_over = TRUE;
      return TRUE;
    }
    mux_write(splice->stream, bytes, got);
  }
  return TRUE;
}

static void
watch(MuxSplice *splice)
{
  GIOCondition events = 0;
  if (!splice->in_over && !splice->in_full)
    events |= G_IO_IN;
  if (splice->out_full)
    events |= G_IO_OUT;
  if (events == splice->events)
    return;
  /* poll() would tell of a hang-up again and again, whatever it is asked for. */
  if (events == 0) {
    g_source_remove_unix_fd(splice->source, splice->tag);
    splice->tag = NULL;
  } else if (splice->tag) {
    g_source_modify_unix_fd(splice->source, splice->tag, events);
  } else {
    splice->tag = g_source_add_unix_fd(splice->source, splice->fd, events);
  }
  splice->events = events;
}

/* After whatever happened. */
static void
step(MuxSplice *splice, gboolean sound)
{
  if (!sound)
    finish(splice, "the other end of the conversation is gone");
  else if (splice->in_over && splice->out_over)
    finish(splice, NULL);
  else
    watch(splice);
}

static void
on_readable(MuxStream *stream, void *data)
{
  MuxSplice *splice = data;
  if (!splice->out_full)
    step(splice, move_out(splice));
}

static void
on_writable(MuxStream *stream, void *data)
{
  MuxSplice *splice = data;
  step(splice, move_in(splice));
}

static void
on_reset(MuxStream *stream, const char *words, void *data)
{
  MuxSplice *splice = data;
  splice->stream = NULL;
  finish(splice, NULL);
}

static void
on_refused(MuxStream *stream, Doppel__Wire__C2cRefusal why, const char *words, void *data)
{
  on_reset(stream, words, data);
}

static const MuxStreamCallbacks callbacks = {
    .refused = on_refused, .readable = on_readable, .writable = on_writable, .reset = on_reset};

static gboolean
on_socket(GSource *base, GSourceFunc callback, void *data)
{
  MuxSplice *splice = data;
  GIOCondition events = splice->tag ? g_source_query_unix_fd(base, splice->tag) : 0;
  gboolean sound = TRUE;
  if (splice->out_full && events & (G_IO_OUT | G_IO_ERR | G_IO_HUP))
    sound = move_out(splice);
  if (sound && !splice->in_full && events & (G_IO_IN | G_IO_ERR | G_IO_HUP))
    sound = move_in(splice);
  step(splice, sound);
  return G_SOURCE_CONTINUE;
}

static gboolean
dispatch(GSource *base, GSourceFunc callback, void *data)
{
  return on_socket(base, callback, data);
}

static GSourceFuncs functions = {NULL, NULL, dispatch, NULL, NULL, NULL};

static gboolean
ignore(void *data)
{
  return G_SOURCE_CONTINUE;
}

MuxSplice *
mux_splice(MuxStream *stream, int fd, GMainContext *context, void (*done)(void *data), void *data)
{
  MuxSplice *splice = g_new0(MuxSplice, 1);
  splice->stream = stream;
  splice->fd = fd;
  splice->done = done;
  splice->data = data;
  splice->source = g_source_new(&functions, sizeof(GSource));
  g_source_set_callback(splice->source, ignore, splice, NULL);
  g_source_set_name(splice->source, "mux splice");
  g_source_attach(splice->source, context);
  watch(splice);
  mux_stream_take_over(stream, &callbacks, splice);
  return splice;
}

void
mux_splice_cancel(MuxSplice *splice, const char *words)
{
  if (splice->stream)
    mux_close(splice->stream, words);
  splice_free(splice);
}
