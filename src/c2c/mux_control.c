/* The control channel of a mux: what is said about streams, and what of it a correct peer can say. */
#include <string.h>

#include "base/error.h"
#include "base/line.h"
#include "c2c/mux_state.h"

#define ANSWERS_MAX (48u << 20) /* bytes that a peer may leave unacknowledged while it asks for more */

typedef Doppel__Wire__MuxControl Control;

gboolean
mux_send_control(Mux *mux, const Control *message)
{
  guint8 small[512];
  GError *error = NULL;
  if (mux->death)
    return FALSE;
  /* The link would wait for the peer. */
  if (link_backlog(mux->link).kept > ANSWERS_MAX)
    return mux_hostile(mux, "asks for more and more answers and acknowledges none");
  gsize length = doppel__wire__mux_control__get_packed_size(message);
  g_autofree guint8 *large = length > sizeof small ? g_malloc(length) : NULL;
  guint8 *packed = large ? large : small;
  doppel__wire__mux_control__pack(message, packed);
  if (link_queue(mux->link, C2C_CHANNEL, &(struct iovec){packed, length}, 1, &error))
    return TRUE;
  return mux_fail(mux, error);
}

#define SEND(mux, KIND, field, contents)                                                                     \
  mux_send_control((mux), &(Control){PROTOBUF_C_MESSAGE_INIT(&doppel__wire__mux_control__descriptor),        \
                                     DOPPEL__WIRE__MUX_CONTROL__WHAT_##KIND,                                 \
                                     {.field = (contents)}})

/* Of ours, or of the peer's: for people to read. */
static char *
words_of(const char *words)
{
  return line_of(words ? words : "", MUX_WORDS_MAX);
}

gboolean
mux_introduce(Mux *mux, const Doppel__Wire__MuxIntroduce *message, GError **error)
{
  if (SEND(mux, INTRODUCE, introduce, (Doppel__Wire__MuxIntroduce *)message))
    return TRUE;
  g_propagate_error(error, g_error_copy(mux->death));
  return FALSE;
}

void
mux_send_credit(MuxStream *stream, guint32 bytes)
{
  Doppel__Wire__MuxCredit credit = DOPPEL__WIRE__MUX_CREDIT__INIT;
  credit.stream = stream->number;
  credit.bytes = bytes;
  SEND(stream->mux, CREDIT, credit, &credit);
}

void
mux_send_end(MuxStream *stream)
{
  Doppel__Wire__MuxEnd end = DOPPEL__WIRE__MUX_END__INIT;
  end.stream = stream->number;
  SEND(stream->mux, END, end, &end);
}

void
mux_send_reset(MuxStream *stream, const char *words)
{
  Doppel__Wire__MuxReset reset = DOPPEL__WIRE__MUX_RESET__INIT;
  g_autofree char *cut = words_of(words);
  reset.stream = stream->number;
  reset.words = cut;
  SEND(stream->mux, RESET, reset, &reset);
}

MuxStream *
mux_open(Mux *mux, const char *user, const char *service, const MuxStreamCallbacks *callbacks, void *data,
         GError **error)
{
  if (!user)
    user = "";
  if (!*service || strlen(service) > MUX_SERVICE_MAX || strlen(user) > MUX_USER_MAX ||
      !g_utf8_validate(service, -1, NULL) || !g_utf8_validate(user, -1, NULL)) {
    doppel_error_set(
        error, DOPPEL_ERROR_USAGE,
        "a stream cannot be opened: its service needs a name of 1 to %u bytes of UTF-8, its user "
        "one of at most %u",
        MUX_SERVICE_MAX, MUX_USER_MAX);
    return NULL;
  }
  if (mux->ours >= MUX_STREAMS_MAX || mux->next >= MUX_NUMBER_MAX) {
    doppel_error_set(error, DOPPEL_ERROR_USAGE,
                     "a connection carries at most %u streams at a time: close some first", MUX_STREAMS_MAX);
    return NULL;
  }
  Doppel__Wire__MuxOpen open = DOPPEL__WIRE__MUX_OPEN__INIT;
  open.stream = mux->next;
  open.user = (char *)user;
  open.service = (char *)service;
  open.window = MUX_WINDOW_FIRST;
  if (!SEND(mux, OPEN, open, &open)) {
    g_propagate_error(error, g_error_copy(mux->death));
    return NULL;
  }
  MuxStream *stream = mux_stream_new(mux, mux->next, MUX_OPENING);
  mux->next += 2;
  stream->callbacks = callbacks;
  stream->data = data;
  return stream;
}

static void
answered(MuxStream *stream)
{
  stream->mux->pending--;
  stream->stage = MUX_OPEN;
}

void
mux_accept(MuxStream *stream, const MuxStreamCallbacks *callbacks, void *data)
{
  g_return_if_fail(stream->stage == MUX_ASKED);
  answered(stream);
  if (!stream->spoken) {
    Doppel__Wire__MuxAccepted accepted = DOPPEL__WIRE__MUX_ACCEPTED__INIT;
    accepted.stream = stream->number;
    accepted.window = stream->window;
    SEND(stream->mux, ACCEPTED, accepted, &accepted);
  }
  mux_stream_take_over(stream, callbacks, data);
}

void
mux_refuse(MuxStream *stream, Doppel__Wire__C2cRefusal why, const char *words)
{
  g_return_if_fail(stream->stage == MUX_ASKED);
  answered(stream);
  if (!stream->spoken) {
    Doppel__Wire__MuxRefused refused = DOPPEL__WIRE__MUX_REFUSED__INIT;
    g_autofree char *cut = words_of(words);
    refused.stream = stream->number;
    refused.why = why;
    refused.words = cut;
    SEND(stream->mux, REFUSED, refused, &refused);
    stream->spoken = TRUE;
  }
  mux_stream_disown(stream);
  mux_stream_settle(stream);
}

/* What the peer says. */

static gboolean
was_used(const Mux *mux, guint32 number)
{
  return number > 0 && number < (number % 2 == mux->next % 2 ? mux->next : mux->due);
}

/* The stream that a message is about. NULL where it is over; with `late`, that is a correct peer's, too. */
static MuxStream *
find(Mux *mux, guint32 number, gboolean late, const char *what)
{
  MuxStream *stream = g_hash_table_lookup(mux->streams, GUINT_TO_POINTER(number));
  if (!stream && !(late && was_used(mux, number)))
    mux_hostile(mux, "said %s of stream %u, which is not open", what, number);
  return stream;
}

static void
take_open(Mux *mux, const Doppel__Wire__MuxOpen *open)
{
  gsize service = strlen(open->service), user = strlen(open->user);
  if (open->stream != mux->due || open->stream >= MUX_NUMBER_MAX) {
    mux_hostile(mux, "opened stream %u where %u was due", open->stream, mux->due);
    return;
  }
  if (service == 0 || service > MUX_SERVICE_MAX || user > MUX_USER_MAX ||
      !g_utf8_validate(open->service, service, NULL) || !g_utf8_validate(open->user, user, NULL)) {
    mux_hostile(mux, "opened a stream to a service without a proper name");
    return;
  }
  if (open->window < MUX_WINDOW_FIRST || open->window > MUX_WINDOW_MOST) {
    mux_hostile(mux, "opened a stream with a window of %u bytes", open->window);
    return;
  }
  if (mux->theirs >= MUX_STREAMS_MAX) {
    mux_hostile(mux, "has more than %u streams open", MUX_STREAMS_MAX);
    return;
  }
  mux->due += 2;
  MuxStream *stream = mux_stream_new(mux, open->stream, MUX_ASKED);
  stream->credit = open->window;
  if (mux->pending > MUX_PENDING_MAX)
    mux_refuse(stream, DOPPEL__WIRE__C2C_REFUSAL__C2C_BUSY, "too many streams wait for an answer");
  else if (!mux->callbacks->open)
    mux_refuse(stream, DOPPEL__WIRE__C2C_REFUSAL__C2C_NO_SERVICE, "nothing is served here");
  else
    mux->callbacks->open(mux, stream, open->user, open->service, mux->data);
}

static void
take_accepted(Mux *mux, const Doppel__Wire__MuxAccepted *accepted)
{
  MuxStream *stream = find(mux, accepted->stream, FALSE, "ACCEPTED");
  if (!stream)
    return;
  if (stream->stage != MUX_OPENING || accepted->window < MUX_WINDOW_FIRST ||
      accepted->window > MUX_WINDOW_MOST) {
    mux_hostile(mux, "accepted stream %u with a window of %u bytes", stream->number, accepted->window);
    return;
  }
  stream->stage = MUX_OPEN;
  stream->credit += accepted->window - MUX_WINDOW_FIRST;
  if (stream->wanting && stream->credit > 0)
    mux_stream_is_ready(stream);
  if (stream->owned && stream->callbacks && stream->callbacks->accepted)
    stream->callbacks->accepted(stream, stream->data);
}

static void
take_refused(Mux *mux, const Doppel__Wire__MuxRefused *refused)
{
  MuxStream *stream = find(mux, refused->stream, FALSE, "REFUSED");
  if (!stream)
    return;
  if (stream->stage != MUX_OPENING || refused->why <= DOPPEL__WIRE__C2C_REFUSAL__C2C_NONE ||
      refused->why > DOPPEL__WIRE__C2C_REFUSAL__C2C_MALFORMED) {
    mux_hostile(mux, "refused stream %u for reason %d", stream->number, (int)refused->why);
    return;
  }
  stream->heard = TRUE;
  if (!stream->spoken)
    mux_send_reset(stream, NULL);
  stream->spoken = TRUE;
  gboolean owned = stream->owned;
  g_autofree char *words = words_of(refused->words);
  mux_stream_disown(stream);
  if (owned && stream->callbacks && stream->callbacks->refused)
    stream->callbacks->refused(stream, refused->why, words, stream->data);
  mux_stream_settle(stream);
}

static void
take_credit(Mux *mux, const Doppel__Wire__MuxCredit *credit)
{
  MuxStream *stream = find(mux, credit->stream, TRUE, "CREDIT");
  if (!stream)
    return;
  if (stream->stage != MUX_OPEN) {
    mux_hostile(mux, "gave credit to stream %u before it was accepted", stream->number);
    return;
  }
  if (credit->bytes == 0 || credit->bytes > MUX_WINDOW_MOST - stream->credit) {
    mux_hostile(mux, "gave %u bytes of credit to stream %u, which has %u", credit->bytes, stream->number,
                stream->credit);
    return;
  }
  stream->credit += credit->bytes;
  if (stream->wanting)
    mux_stream_is_ready(stream);
}

static void
take_end(Mux *mux, const Doppel__Wire__MuxEnd *end)
{
  MuxStream *stream = find(mux, end->stream, FALSE, "END");
  if (!stream)
    return;
  if (stream->stage == MUX_OPENING || stream->heard) {
    mux_hostile(mux, "ended stream %u, which %s", stream->number,
                stream->heard ? "it had ended before" : "it had not accepted");
    return;
  }
  stream->heard = stream->peer_ended = TRUE;
  mux_stream_has_news(stream);
  mux_stream_settle(stream);
}

static void
take_reset(Mux *mux, const Doppel__Wire__MuxReset *reset)
{
  MuxStream *stream = find(mux, reset->stream, TRUE, "RESET");
  if (!stream)
    return;
  if (stream->stage == MUX_OPENING && !stream->spoken) {
    mux_hostile(mux, "reset stream %u, which it had not accepted", stream->number);
    return;
  }
  stream->heard = TRUE;
  if (!stream->spoken)
    mux_send_reset(stream, NULL);
  stream->spoken = TRUE;
  if (stream->owned && !stream->fate) {
    stream->fate = words_of(reset->words);
    mux_stream_has_news(stream);
  }
  mux_stream_settle(stream);
}

static void
take_introduce(Mux *mux, const Doppel__Wire__MuxIntroduce *introduce)
{
  g_autoptr(GError) error = NULL;
  if (!mux->callbacks->introduce)
    mux_hostile(mux, "introduced itself, which is of no use here");
  else if (!mux->callbacks->introduce(mux, introduce, mux->data, &error))
    mux_fail(mux, error ? g_steal_pointer(&error)
                        : g_error_new(DOPPEL_ERROR, DOPPEL_ERROR_DENIED, "the peer is not let in"));
}

void
mux_take_control(Mux *mux, const guint8 *data, gsize length)
{
  Control *control = length <= MUX_CONTROL_MAX ? doppel__wire__mux_control__unpack(NULL, length, data) : NULL;
  if (!control) {
    mux_hostile(mux, "sent a damaged control message of %zu bytes", length);
    return;
  }
  switch (control->what_case) {
  case DOPPEL__WIRE__MUX_CONTROL__WHAT_OPEN:
    take_open(mux, control->open);
    break;
  case DOPPEL__WIRE__MUX_CONTROL__WHAT_ACCEPTED:
    take_accepted(mux, control->accepted);
    break;
  case DOPPEL__WIRE__MUX_CONTROL__WHAT_REFUSED:
    take_refused(mux, control->refused);
    break;
  case DOPPEL__WIRE__MUX_CONTROL__WHAT_CREDIT:
    take_credit(mux, control->credit);
    break;
  case DOPPEL__WIRE__MUX_CONTROL__WHAT_END:
    take_end(mux, control->end);
    break;
  case DOPPEL__WIRE__MUX_CONTROL__WHAT_RESET:
    take_reset(mux, control->reset);
    break;
  case DOPPEL__WIRE__MUX_CONTROL__WHAT_INTRODUCE:
    take_introduce(mux, control->introduce);
    break;
  default:
    mux_hostile(mux, "sent a control message of an unknown kind");
  }
  doppel__wire__mux_control__free_unpacked(control, NULL);
}
