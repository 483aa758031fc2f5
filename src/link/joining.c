/* How a connection comes into use: dialled or accepted, shaken, greeted. Until then it is a candidate, and
 * the connection in use, if there is one, goes on undisturbed. */
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/error.h"
#include "link/state.h"
#include "wire/link.pb-c.h"

#define VERSION 1
#define SCHEDULE_SLACK_MS                                                                                    \
  2000 /* beyond one attempt's time, for several addresses tried one after the other */

#define FIRST_ROUNDS_MORE 2

#define MS(ms) ((ms)*G_GINT64_CONSTANT(1000000))

static void
watch(Link *link, LinkConnection *candidate)
{
  guint32 events = link_connection_events(candidate); /* POLLIN and POLLOUT are EPOLLIN and EPOLLOUT */
  if (events == candidate->watched)
    return;
  epoll_ctl(link->epoll_fd, candidate->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, candidate->fd,
            &(struct epoll_event){.events = events});
  candidate->watched = events;
}

static void
unwatch(Link *link, LinkConnection *candidate)
{
  if (candidate->watched)
    epoll_ctl(link->epoll_fd, EPOLL_CTL_DEL, candidate->fd, NULL);
  candidate->watched = 0;
}

static void
drop_candidates(Link *link)
{
  while (link->candidates->len > 0)
    link_settle(link, g_ptr_array_steal_index_fast(link->candidates, link->candidates->len - 1));
}

static gboolean
put_greeting(LinkConnection *connection, WireFrameKind kind, const ProtobufCMessage *greeting, GError **error)
{
  guint8 bytes[WIRE_FRAME_HEADER + WIRE_GREETING_MAX];
  gsize length = protobuf_c_message_get_packed_size(greeting);
  WireFrame frame = {.kind = kind, .length = length};
  wire_frame_encode(bytes, &frame);
  protobuf_c_message_pack(greeting, bytes + WIRE_FRAME_HEADER);
  return link_connection_put(connection, bytes, WIRE_FRAME_HEADER + length, error) &&
         link_connection_flush(connection, error);
}

/* The dialling end: the handshake is over. */
static gboolean
say_hello(Link *link, LinkConnection *connection, GError **error)
{
  Doppel__Wire__LinkHello hello = DOPPEL__WIRE__LINK_HELLO__INIT;
  hello.version = VERSION;
  hello.clone = (ProtobufCBinaryData){WIRE_ID_LENGTH, link->preamble.clone};
  hello.session = (ProtobufCBinaryData){WIRE_ID_LENGTH, link->preamble.session};
  hello.received = link->received;
  hello.resumes = link->welcomed;
  hello.ticketless = !link->options.tickets;
  hello.purpose = link->preamble.purpose;
  if (!put_greeting(connection, WIRE_HELLO, &hello.base, error))
    return FALSE;
  /* Nobody can have got anything before the first hello, so that messages need not wait for the answer to it.
   */
  link->early = !link->greeted;
  link->greeted = TRUE;
  return TRUE;
}

static gboolean
say_welcome(Link *link, LinkConnection *connection, Doppel__Wire__LinkWelcome__Refusal refusal,
            gboolean ticket, GError **error)
{
  Doppel__Wire__LinkWelcome welcome = DOPPEL__WIRE__LINK_WELCOME__INIT;
  /* In front of the welcome, so that the device has it when it takes that. */
  if (refusal == DOPPEL__WIRE__LINK_WELCOME__REFUSAL__NONE && ticket && link->options.resume_ms > 0 &&
      connection->tls && !link_tls_give_ticket(connection->tls, error))
    return FALSE;
  welcome.version = VERSION;
  welcome.refusal = refusal;
  welcome.received = link->received;
  return put_greeting(connection, WIRE_WELCOME, &welcome.base, error);
}

static void
come_up(Link *link, LinkConnection *connection, gint64 now)
{
  connection->stage = LINK_CONNECTION_OPEN;
  if (link->welcomed)
    link->counters.reconnects++;
  link->welcomed = TRUE;
  link->early = FALSE;
  link->state = LINK_UP;
  link->heard_at = now;
  link->probed_at = 0;
  link->owes_ping = link->owes_pong = FALSE;
  link->peer = connection->peer;
  link_apply_unsent(link);
  link_tls_settle_on(link->tls, &link->peer);
  if (link->dialler)
    link_dialler_stop(link->dialler);
  drop_candidates(link);
}

static gboolean
set_refused(const LinkConnection *connection, Doppel__Wire__LinkWelcome__Refusal refusal, GError **error)
{
  switch (refusal) {
  case DOPPEL__WIRE__LINK_WELCOME__REFUSAL__VERSION:
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "%s speaks another version of doppel's protocol: install the same on both",
                            connection->address);
  case DOPPEL__WIRE__LINK_WELCOME__REFUSAL__SESSION:
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "the session in the clone at %s has ended",
                            connection->address);
  default:
    return doppel_error_set(error, DOPPEL_ERROR_DENIED,
                            "%s refused the session: somebody changed its beginning", connection->address);
  }
}

static gboolean
take_welcome(Link *link, LinkConnection *connection, const Doppel__Wire__LinkWelcome *welcome, gint64 now,
             GError **error)
{
  if (welcome->refusal != DOPPEL__WIRE__LINK_WELCOME__REFUSAL__NONE)
    return set_refused(connection, welcome->refusal, error);
  if (welcome->version != VERSION)
    return set_refused(connection, DOPPEL__WIRE__LINK_WELCOME__REFUSAL__VERSION, error);
  gboolean fits = link->early ? link_outbox_acknowledge(&link->outbox, welcome->received)
                              : link_outbox_rewind(&link->outbox, welcome->received);
  if (!fits)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "the peer claims to have messages that were not sent");
  if (connection->tls)
    link_tls_keep(connection->tls);
  come_up(link, connection, now);
  return TRUE;
}

static Doppel__Wire__LinkWelcome__Refusal
judge_hello(const Link *link, const Doppel__Wire__LinkHello *hello)
{
  if (hello->version != VERSION)
    return DOPPEL__WIRE__LINK_WELCOME__REFUSAL__VERSION;
  if (hello->purpose != link->preamble.purpose || hello->clone.len != WIRE_ID_LENGTH ||
      memcmp(hello->clone.data, link->preamble.clone, WIRE_ID_LENGTH) != 0 ||
      hello->session.len != WIRE_ID_LENGTH ||
      memcmp(hello->session.data, link->preamble.session, WIRE_ID_LENGTH) != 0)
    return DOPPEL__WIRE__LINK_WELCOME__REFUSAL__ROUTE;
  if (hello->resumes && !link->welcomed)
    return DOPPEL__WIRE__LINK_WELCOME__REFUSAL__SESSION;
  return DOPPEL__WIRE__LINK_WELCOME__REFUSAL__NONE;
}

/* The accepting end: the connection comes into use, in place of the one that was. */
static gboolean
take_hello(Link *link, LinkConnection *connection, const Doppel__Wire__LinkHello *hello, gint64 now,
           GError **error)
{
  Doppel__Wire__LinkWelcome__Refusal refusal = judge_hello(link, hello);
  if (refusal != DOPPEL__WIRE__LINK_WELCOME__REFUSAL__NONE) {
    say_welcome(link, connection, refusal, FALSE, NULL);
    return doppel_error_set(error, DOPPEL_ERROR_DENIED, "%s asked for a session that is not this one",
                            connection->address);
  }
  if (link->welcomed && !identity_public_equal(&link->peer, &connection->peer))
    return doppel_error_set(error, DOPPEL_ERROR_DENIED, "%s is another device than the session's",
                            connection->address);
  if (hello->received < link->outbox.acknowledged || hello->received > link->outbox.written)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "the peer claims to have messages that were not sent");
  if (!say_welcome(link, connection, refusal, !hello->ticketless, error))
    return FALSE;
  link_settle(link, g_steal_pointer(&link->connection));
  link_outbox_rewind(&link->outbox, hello->received);
  link->connection = connection;
  come_up(link, connection, now);
  return TRUE;
}

gboolean
link_greeted(Link *link, LinkConnection *connection, const WireFrame *frame, const LinkMessage *message,
             gint64 now, GError **error)
{
  gboolean done = FALSE;
  if (frame->kind != (connection->server ? WIRE_HELLO : WIRE_WELCOME))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "%s began with the wrong greeting",
                            connection->address);
  if (connection->server) {
    Doppel__Wire__LinkHello *hello = doppel__wire__link_hello__unpack(NULL, message->length, message->data);
    if (!hello)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "%s sent a damaged hello", connection->address);
    done = take_hello(link, connection, hello, now, error);
    doppel__wire__link_hello__free_unpacked(hello, NULL);
  } else {
    Doppel__Wire__LinkWelcome *welcome =
        doppel__wire__link_welcome__unpack(NULL, message->length, message->data);
    if (!welcome)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "%s sent a damaged welcome", connection->address);
    done = take_welcome(link, connection, welcome, now, error);
    doppel__wire__link_welcome__free_unpacked(welcome, NULL);
  }
  return done;
}

/* Steps one candidate: 1 when it is in use now, 0 while it is not, -1 with an error when it never will be. */
static int
step_candidate(Link *link, LinkConnection *candidate, gint64 now, GError **error)
{
  if (now >= candidate->deadline) {
    doppel_error_set(error, DOPPEL_ERROR_GONE, "%s does not answer", candidate->address);
    return -1;
  }
  if (candidate->stage != LINK_CONNECTION_GREETING && !link_connection_shake(candidate, error))
    return -1;
  if (candidate->stage != LINK_CONNECTION_GREETING)
    return 0;
  if (!candidate->server) {
    if (!say_hello(link, candidate, error))
      return -1;
    link->connection = candidate;
    return 1;
  }
  link_connection_fill(candidate);
  WireFrame frame;
  g_autoptr(LinkMessage) message = NULL;
  int got = link_connection_next(candidate, &frame, &message, error);
  if (got <= 0)
    return got;
  return link_greeted(link, candidate, &frame, message, now, error) ? 1 : -1;
}

static void
step_candidates(Link *link, gint64 now)
{
  for (guint i = 0; i < link->candidates->len;) {
    GError *error = NULL;
    LinkConnection *candidate = link->candidates->pdata[i];
    g_ptr_array_steal_index_fast(link->candidates, i);
    int step = step_candidate(link, candidate, now, &error);
    if (step > 0) {
      unwatch(link, candidate);
      return;
    }
    if (step == 0) {
      watch(link, candidate);
      g_ptr_array_insert(link->candidates, i++, candidate);
      continue;
    }
    link_settle(link, candidate);
    if (link->dialler)
      link_dialler_failed(link->dialler, now, error);
    else
      g_error_free(error);
  }
}

/* Within one machine there are no two paths, and MPTCP costs time. */
static gboolean
is_loopback(const LinkTarget *target)
{
  if (target->address.ss_family == AF_INET6)
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)&target->address)->sin6_addr);
  return ntohl(((const struct sockaddr_in *)&target->address)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

static void
dial_targets(Link *link, gint64 now)
{
  LinkTarget target;
  const char *address;
  while (link_dialler_next(link->dialler, now, &target, &address)) {
    GError *error = NULL;
    LinkConnection *candidate =
        link_connection_dial((struct sockaddr *)&target.address, target.length, address, &link->preamble,
                             link->tls, link->options.multipath && !is_loopback(&target), &error);
    if (!candidate) {
      link_dialler_failed(link->dialler, now, error);
      continue;
    }
    candidate->deadline = now + MS(link->options.connect_ms);
    candidate->message_max = link->options.message_max;
    g_ptr_array_add(link->candidates, candidate);
    watch(link, candidate);
  }
}

static gint64
patience(const Link *link)
{
  return link->welcomed ? MS(link->options.resume_ms)
                        : MS(link->options.connect_ms + (link->dials ? SCHEDULE_SLACK_MS : 0));
}

static void
give_up(Link *link)
{
  const GError *failure = link->dialler ? link_dialler_failure(link->dialler) : NULL;
  GError *error = NULL;
  if (failure)
    error = g_error_copy(failure);
  else
    doppel_error_set(&error, DOPPEL_ERROR_GONE,
                     link->dials ? "the host does not answer" : "the device does not call");
  if (link->welcomed)
    g_prefix_error(&error, "the connection did not come back within %d ms: ", link->options.resume_ms);
  link_die(link, error);
}

/* A connection may break during the very first handshake, too; but who does not answer at all, or says no,
 * shall not keep the user waiting. */
static gboolean
may_try_again(Link *link)
{
  return !g_error_matches(link_dialler_failure(link->dialler), DOPPEL_ERROR, DOPPEL_ERROR_DENIED) &&
         link->first_rounds++ < FIRST_ROUNDS_MORE;
}

void
link_join(Link *link, gint64 now)
{
  /* While a hello waits for its answer, no other connection may say one. */
  if (!link_joining(link))
    return;
  if (link->dialler)
    dial_targets(link, now);
  step_candidates(link, now);
  if (link->connection || link->state == LINK_DEAD)
    return;
  if (now >= link->away_at + patience(link)) {
    give_up(link);
    return;
  }
  if (!link->dialler || link->candidates->len > 0 || !link_dialler_exhausted(link->dialler))
    return;
  if (link->welcomed || may_try_again(link))
    link_dialler_pause(link->dialler, now);
  else
    give_up(link);
}

gboolean
link_joining(const Link *link)
{
  if (link->local || link->state == LINK_DEAD)
    return FALSE;
  return link->dials ? !link->connection : !link->connection || link->candidates->len > 0;
}

gint64
link_join_due(const Link *link)
{
  if (!link_joining(link))
    return G_MAXINT64;
  gint64 due = link->connection ? G_MAXINT64 : link->away_at + patience(link);
  if (link->dialler)
    due = MIN(due, link_dialler_due(link->dialler));
  for (guint i = 0; i < link->candidates->len; i++)
    due = MIN(due, ((LinkConnection *)link->candidates->pdata[i])->deadline);
  return due;
}
