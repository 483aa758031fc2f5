/* A peer on the other end of a mux that says what it likes about streams, while our end opens, accepts,
 * reads, writes, ends and closes some. Half of it makes sense, so that it gets far. */
#include <sys/socket.h>

#include "c2c/mux_state.h"
#include "input.h"

#define HANDLES 32

typedef struct {
  Mux *mux;
  Input input;
  struct {
    MuxStream *stream;
    gboolean asked; /* not answered yet */
  } handles[HANDLES];
} Owner;

static void
forget(Owner *owner, MuxStream *stream)
{
  for (guint i = 0; i < HANDLES; i++)
    if (owner->handles[i].stream == stream) {
      owner->handles[i].stream = NULL;
      return;
    }
  __builtin_trap(); /* called for what was closed, or had its last call */
}

static void
check_known(Owner *owner, MuxStream *stream)
{
  for (guint i = 0; i < HANDLES; i++)
    if (owner->handles[i].stream == stream && !owner->handles[i].asked)
      return;
  __builtin_trap();
}

static void act(Owner *owner);

static void
on_refused(MuxStream *stream, Doppel__Wire__C2cRefusal why, const char *words, void *data)
{
  if (!g_utf8_validate(words, -1, NULL))
    __builtin_trap();
  forget(data, stream);
}

static void
on_reset(MuxStream *stream, const char *words, void *data)
{
  if (!g_utf8_validate(words, -1, NULL))
    __builtin_trap();
  forget(data, stream);
}

static void
on_something(MuxStream *stream, void *data)
{
  check_known(data, stream);
  act(data);
}

static const MuxStreamCallbacks stream_callbacks = {on_something, on_refused, on_something, on_something,
                                                    on_reset};

static gboolean
keep(Owner *owner, MuxStream *stream, gboolean asked)
{
  for (guint i = 0; i < HANDLES; i++)
    if (!owner->handles[i].stream) {
      owner->handles[i].stream = stream;
      owner->handles[i].asked = asked;
      return TRUE;
    }
  return FALSE;
}

static void
on_open(Mux *mux, MuxStream *stream, const char *user, const char *service, void *data)
{
  if (!keep(data, stream, TRUE))
    mux_refuse(stream, DOPPEL__WIRE__C2C_REFUSAL__C2C_BUSY, "full");
}

static gboolean
on_introduce(Mux *mux, const Doppel__Wire__MuxIntroduce *message, void *data, GError **error)
{
  return message->record.len < 100;
}

/* Our end does something to a stream of its own choice. */
static void
act(Owner *owner)
{
  static const guint8 zeros[300000];
  static guint8 room[300000];
  guint which = input_below(&owner->input, HANDLES), what = input_below(&owner->input, 8);
  MuxStream *stream = owner->handles[which].stream;
  if (!stream) {
    if (what > 1)
      return;
    stream = mux_open(owner->mux, "u", "s", &stream_callbacks, owner, NULL);
    if (stream && !keep(owner, stream, FALSE))
      mux_close(stream, NULL);
    return;
  }
  switch (what) {
  case 0:
    owner->handles[which].stream = NULL;
    mux_close(stream, "enough");
    break;
  case 1:
    if (owner->handles[which].asked) {
      owner->handles[which].asked = FALSE;
      mux_accept(stream, &stream_callbacks, owner);
    } else {
      mux_end(stream);
    }
    break;
  case 2:
    if (owner->handles[which].asked) {
      owner->handles[which].stream = NULL;
      mux_refuse(stream, DOPPEL__WIRE__C2C_REFUSAL__C2C_DENIED, "no");
    }
    break;
  case 3:
  case 4:
    mux_write(stream, zeros, 1 + input_number(&owner->input, 2) * 4);
    break;
  default:
    mux_read(stream, room, 1 + input_number(&owner->input, 2) * 4);
  }
}

/* Mostly a number that is in use. */
static guint32
some_number(Owner *owner)
{
  guint choice = input_below(&owner->input, 16);
  return choice < 15 ? choice : (guint32)input_number(&owner->input, 4);
}

static guint32
some_count(Owner *owner)
{
  static const guint32 counts[] = {0, 1, 1000, MUX_WINDOW_FIRST - 1, MUX_WINDOW_FIRST, MUX_WINDOW_MOST, ~0u};
  guint choice = input_below(&owner->input, G_N_ELEMENTS(counts) + 1);
  return choice < G_N_ELEMENTS(counts) ? counts[choice] : (guint32)input_number(&owner->input, 3);
}

static void
say_control(Owner *owner, Link *peer)
{
  Doppel__Wire__MuxControl control = DOPPEL__WIRE__MUX_CONTROL__INIT;
  Doppel__Wire__MuxOpen open = DOPPEL__WIRE__MUX_OPEN__INIT;
  Doppel__Wire__MuxAccepted accepted = DOPPEL__WIRE__MUX_ACCEPTED__INIT;
  Doppel__Wire__MuxRefused refused = DOPPEL__WIRE__MUX_REFUSED__INIT;
  Doppel__Wire__MuxCredit credit = DOPPEL__WIRE__MUX_CREDIT__INIT;
  Doppel__Wire__MuxEnd end = DOPPEL__WIRE__MUX_END__INIT;
  Doppel__Wire__MuxReset reset = DOPPEL__WIRE__MUX_RESET__INIT;
  open.service = (char *)"service";
  guint what = input_below(&owner->input, 6);
  guint32 stream = some_number(owner);
  if (what == 0) {
    open.stream = stream;
    open.window = some_count(owner);
    control.open = &open;
  } else if (what == 1) {
    accepted.stream = stream;
    accepted.window = some_count(owner);
    control.accepted = &accepted;
  } else if (what == 2) {
    refused.stream = stream;
    refused.why = (int)some_count(owner) % 10;
    refused.words = (char *)"no";
    control.refused = &refused;
  } else if (what == 3) {
    credit.stream = stream;
    credit.bytes = some_count(owner);
    control.credit = &credit;
  } else if (what == 4) {
    end.stream = stream;
    control.end = &end;
  } else {
    reset.stream = stream;
    reset.words = (char *)"\x01gone";
    control.reset = &reset;
  }
  control.what_case = (int)what + 1;
  guint8 packed[256];
  gsize length = doppel__wire__mux_control__pack(&control, packed);
  link_send(peer, C2C_CHANNEL, &(struct iovec){packed, length}, 1, NULL);
}

static void
speak(Owner *owner, Link *peer)
{
  static const guint8 zeros[1 << 16];
  gsize length;
  const guint8 *bytes;
  guint32 channel;
  switch (input_below(&owner->input, 8)) {
  case 0:
    channel = input_number(&owner->input, 1) ? C2C_CHANNEL : (guint32)input_number(&owner->input, 4);
    bytes = input_blob(&owner->input, &length);
    link_send(peer, channel, &(struct iovec){(guint8 *)bytes, length}, 1, NULL);
    break;
  case 1:
  case 2:
    channel = C2C_STREAM_BASE + some_number(owner);
    length = input_number(&owner->input, 2);
    link_send(peer, channel, &(struct iovec){(guint8 *)zeros, length}, 1, NULL);
    break;
  default:
    say_control(owner, peer);
  }
}

/* What has to hold whatever was said. */
static void
check(const Mux *mux)
{
  guint ours = 0, theirs = 0;
  gsize growth = 0;
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, mux->streams);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    const MuxStream *stream = value;
    *(stream->number % 2 == mux->next % 2 ? &ours : &theirs) += 1;
    growth += stream->window - MUX_WINDOW_FIRST;
    if (stream->over || stream->credit > MUX_WINDOW_MOST || stream->window > MUX_WINDOW_MOST ||
        (stream->owned && !stream->heard &&
         stream->granted + stream->held + stream->consumed != stream->window))
      __builtin_trap();
  }
  if (ours != mux->ours || theirs != mux->theirs || growth != mux->growth || growth > MUX_GROWTH_MAX ||
      theirs > MUX_STREAMS_MAX || mux->pending > MUX_PENDING_MAX + 1)
    __builtin_trap();
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  static const MuxCallbacks callbacks = {on_open, on_introduce};
  int fds[2];
  if (length < 4 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
    return 0;
  Owner owner = {.input = {data, length}};
  gboolean dialler = input_below(&owner.input, 2);
  Link *peer = link_new_local(fds[1]);
  owner.mux = mux_new(link_new_local(fds[0]), dialler, &callbacks, &owner);
  gboolean alive = TRUE;
  for (guint i = 0; alive && owner.input.left > 0 && i < 400; i++) {
    int timeout_ms = -1;
    struct pollfd polled[LINK_POLL_MAX];
    if (input_below(&owner.input, 3) == 0)
      act(&owner);
    else
      speak(&owner, peer);
    mux_prepare(owner.mux, polled, &timeout_ms);
    alive = mux_work(owner.mux, NULL);
    check(owner.mux);
    link_work(peer, NULL);
    for (LinkMessage *message; (message = link_take(peer)); link_message_free(message))
      ;
  }
  mux_free(owner.mux);
  link_free(peer);
  return 0;
}
