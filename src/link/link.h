/* An authenticated, resumable conversation between two keys (CloneCloud's phone and clone; C2C section 4.1).
 *
 * A link carries messages (not bytes) on numbered channels, in order, each exactly once. It survives the loss
 * of the TCP connection: messages that were not acknowledged are kept and sent again over the next connection
 * of the same session; the receiver drops what it has seen. The dialling side re-connects by itself, also to
 * another address; the accepting side waits to be given the new socket. Only when that takes longer than the
 * options' `resume_ms` is the link dead.
 *
 * A link is driven by its owner: it has no main loop. Wait with link_prepare() and poll(), then call
 * link_work(). All functions belong to one thread. Nothing blocks but link_send() when LINK_UNSENT_MAX bytes
 * wait, and the functions that say so. (Looking up a host's *name* takes a thread for the time it lasts; it
 * takes no signals.)
 *
 * A dead link still hands out what arrived before: take until link_take() says NULL. */
#pragma once

#include <glib.h>
#include <poll.h>
#include <sys/uio.h>

#include "identity/key.h"
#include "wire/preamble.h"

typedef struct Link Link;

#define LINK_MESSAGE_MAX (4u << 20)  /* bytes of one message; a longer one from the peer is hostile */
#define LINK_UNSENT_MAX  (64u << 20) /* bytes kept for re-sending before link_send() blocks */
#define LINK_POLL_MAX    2           /* entries that link_prepare() may fill */

typedef struct {
  guint32 channel;
  const guint8 *data; /* owned by the message */
  gsize length;
  gsize room; /* the link's business */
} LinkMessage;
void link_message_free(LinkMessage *message);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LinkMessage, link_message_free)

typedef enum { LINK_UP, LINK_AWAY /* re-connecting */, LINK_DEAD } LinkState;

typedef struct {
  int resume_ms;    /* how long an interrupted conversation may take to come back; 0: never. Default 30000 */
  int connect_ms;   /* for one attempt to connect and shake hands. Default 5000 */
  int keepalive_ms; /* a peer silent for so long (half as long again on the accepting end) is probed; it is
                       away when it is silent for so long after that. Default 5000 */
  gboolean multipath;  /* use MPTCP where the kernel has it. Default TRUE */
  int compression;     /* zstd's level of what is sent, 1 to 19. Default 0: as fast as it goes; -1: none */
  gboolean tickets;    /* later connections of a link that dials resume its TLS session: 337 bytes now for 40
                          bytes and half of the processor's work then. Default TRUE */
  WirePurpose purpose; /* of a link that dials: what it tells the host that it is for. Default: a device */
  gsize message_max; /* bytes of a message of the peer's: a longer one is hostile. Default 0: LINK_MESSAGE_MAX
                      */
  gsize inbox_max;   /* bytes of messages that wait to be taken before no more is read. Default 0:
                        LINK_UNSENT_MAX */
} LinkOptions;
#define LINK_OPTIONS_DEFAULT                                                                                 \
  (LinkOptions)                                                                                              \
  {                                                                                                          \
    .resume_ms = 30000, .connect_ms = 5000, .keepalive_ms = 5000, .multipath = TRUE, .tickets = TRUE         \
  }

typedef struct {
  guint64 bytes_sent,
      bytes_received; /* on the wire below TLS's records: what the socket was given and gave */
  guint64 messages_sent, messages_received; /* without repetitions */
  guint reconnects;
} LinkCounters;

/* A link over a connected stream socket (one of a socketpair) without keys or resumption: the local clone.
 * Takes `fd`. Its end is the session's end. */
Link *link_new_local(int fd);

/* The same, over which another process passes on what belongs to a link of its own (controller/keeper.h):
 * the bytes that link_counters() tells are that link's, which the other process puts into the memory file
 * `counters` (a LinkCounters). Takes both. NULL where that file is none. */
Link *link_new_passed(int fd, int counters);

/* Dials "host:port" ("[v6]:port"), shakes hands as `own`, accepts only a peer with the key `peer` (NULL: any,
 * to be judged by link_peer() before anything is sent that not everybody may know). `clone` names the clone
 * at that host (it travels in clear). `addresses` may hold several, tried in order, a little overlapping,
 * again at each re-connection. Waits until the peer has let us in. NULL with an error: USAGE for no address,
 * DENIED for a wrong key or a refusal, UNSUPPORTED for another version, GONE where nobody answers. */
Link *link_dial(const char *const *addresses, const IdentityKey *own, const IdentityPublic *peer,
                const guint8 clone[16], const LinkOptions *options, GError **error);

/* Starts dialling and returns at once; messages may be sent already and leave with the handshake's last
 * flight. link_state() tells when it is up; link_work() fails where link_dial() would. */
Link *link_dial_later(const char *const *addresses, const IdentityKey *own, const IdentityPublic *peer,
                      const guint8 clone[16], const LinkOptions *options, GError **error);

/* More addresses for re-connections from now on (the host moved, or the user named another). */
void link_set_addresses(Link *link, const char *const *addresses);

/* The accepting end. `fd` is an accepted TCP socket whose preamble was read with link_preamble_read(), which
 * waits up to `timeout_ms`, as link_accept() does up to `connect_ms`. Shakes hands as `own`; only the key
 * `peer` is let in (NULL: any, to be judged by link_peer(); once the link is up, only that one can come back
 * to it). Takes `fd`, also when it fails. */
typedef WirePreamble LinkPreamble;
gboolean link_preamble_read(int fd, int timeout_ms, LinkPreamble *preamble, GError **error);
Link *link_accept(int fd, const LinkPreamble *preamble, const IdentityKey *own, const IdentityPublic *peer,
                  const LinkOptions *options, GError **error);

/* The same without a connection yet: hand it sockets by link_resume() and drive it. It is dead when no device
 * with the right key has come in within `connect_ms`. */
Link *link_accept_later(const LinkPreamble *preamble, const IdentityKey *own, const IdentityPublic *peer,
                        const LinkOptions *options, GError **error);

/* Before the first connection: `peer` is let in as well. The first of them that comes in is the only one that
 * can come back to this session. */
void link_let_in(Link *link, const IdentityPublic *peer);

/* The accepting end's new connection of the same session, its preamble read. Takes `fd`, also when it fails.
 * The handshake goes on in link_work(), beside the session's work; only when it has succeeded does the
 * connection replace the one in use. A failed handshake leaves the link as it was. */
gboolean link_resume(Link *link, int fd, GError **error);

/* Sends what it can without blocking, says goodbye, closes. link_flush() first where the last messages
 * matter. */
void link_free(Link *link);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Link, link_free)

/* Queues one message made of `count` pieces (copied) and writes as much as the socket takes. FALSE when dead,
 * or too long (USAGE). */
gboolean link_send(Link *link, guint32 channel, const struct iovec *pieces, guint count, GError **error);

/* The same, but it waits for the next link_send() or link_work() to leave with what that sends: one record's
 * and one wake-up's price for messages that the peer can only use together. */
gboolean link_queue(Link *link, guint32 channel, const struct iovec *pieces, guint count, GError **error);

/* Writes what was queued, as far as the socket takes it. FALSE when dead. */
gboolean link_push(Link *link, GError **error);

/* Bytes of what was sent or queued: those that the socket has not taken yet, behind which the next message
 * waits; and those kept for re-sending, against LINK_UNSENT_MAX. */
typedef struct {
  gsize unwritten, kept;
} LinkBacklog;
LinkBacklog link_backlog(const Link *link);

/* Less than the options' `inbox_max` from now on, for an owner that takes all messages after each
 * link_work(): then what is read is still in the processor's cache. */
void link_limit_inbox(Link *link, gsize bytes);

/* The system holds at most so many bytes from now on that it has not sent (TCP_NOTSENT_LOWAT, tcp(7)), where
 * it can tell: the others wait here, and what is queued later but urgent waits behind fewer. 0: as it likes.
 */
void link_limit_unsent(Link *link, guint bytes);

/* Fills `fds` (room for LINK_POLL_MAX) with what to poll for and shortens *timeout_ms (-1: none) to the
 * link's next deadline. Number of entries. */
guint link_prepare(Link *link, struct pollfd *fds, int *timeout_ms);

/* Reads, writes, re-connects, as far as possible without blocking. FALSE when the link is dead. */
gboolean link_work(Link *link, GError **error);

/* link_prepare() and poll() in one, for an owner with nothing else to wait for. */
gboolean link_wait(Link *link, int timeout_ms, GError **error);

/* Waits until the peer has all messages (a local link: until the socket has them). FALSE when dead or out of
 * time. */
gboolean link_flush(Link *link, int timeout_ms, GError **error);

/* The next message that has arrived, or NULL. */
LinkMessage *link_take(Link *link);

/* As link_message_free(), where more such messages are expected: a large one's memory is used again, which
 * the heap would give back to the system each time. */
void link_give_back(Link *link, LinkMessage *message);

/* Waits for it, driving the link. NULL with an error: GONE after `timeout_ms` (< 0: as long as the link
 * lives), or the link's end, before which all that arrived is handed out. */
LinkMessage *link_await(Link *link, int timeout_ms, GError **error);

/* The channel of that message, which stays where it is. FALSE where none has arrived. */
gboolean link_peek(const Link *link, guint32 *channel);

LinkState link_state(const Link *link);

/* The key of the peer, once it was let in; NULL before and for a local link. */
const IdentityPublic *link_peer(const Link *link);

/* s of a round trip, as the system has seen them lately; 0: it does not tell, or nothing is connected. */
double link_round_trip_s(const Link *link);

/* The counters as of this call; the link's. */
const LinkCounters *link_counters(Link *link);
