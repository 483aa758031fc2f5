/* Messages to groups for this clone's own programs. Each is in the store from the transaction that takes it
 * until a program has read it to its end and closed its stream: so none is lost, whoever is killed when. */
#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "c2c/fd_source.h"
#include "c2c/node_groups_private.h"
#include "c2c/stream_end.h"

#define OFFER_NS   G_GINT64_CONSTANT(1000000000) /* until a program that has much to do is offered more */
#define OPEN_MAX   64u                           /* of a group's, that its program has not closed */
#define OPEN_ALL   256u                          /* of all, those of programs before with them */
#define CLOSED_MAX (2 * NODE_LETTERS_MAX)        /* that are remembered, and NODE_LETTERS_MAX are kept */

/* A message that a program was given. */
typedef struct {
  NodeGroups *groups;
  gint64 id;     /* of the letter; the key */
  char *service; /* of the listener */
  gboolean past; /* another program listens now */
  int fd;        /* the other end of the program's stream; -1: it was closed before all was read */
  GSource *source;
} Given;

static void
given_free(gpointer data)
{
  Given *given = data;
  fd_source_free(given->source);
  io_close(&given->fd);
  g_free(given->service);
  g_free(given);
}

GHashTable *
node_given_new(void)
{
  return g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, given_free);
}

/* How many more the program that listens there may be given. */
static guint
room(const NodeGroups *groups, const char *service)
{
  GHashTableIter iter;
  gpointer value;
  guint all = 0, its = 0;
  g_hash_table_iter_init(&iter, groups->given);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    const Given *given = value;
    all += given->fd >= 0;
    its += given->fd >= 0 && !given->past && strcmp(given->service, service) == 0;
  }
  return MIN(OPEN_MAX - MIN(its, OPEN_MAX), OPEN_ALL - MIN(all, OPEN_ALL));
}

/* The letters of those that were closed first have made room long ago. */
static void
limit_closed(NodeGroups *groups)
{
  GHashTableIter iter;
  gpointer value;
  Given *first = NULL;
  g_hash_table_iter_init(&iter, groups->given);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    Given *given = value;
    if (given->fd < 0 && (!first || given->id < first->id))
      first = given;
  }
  if (first && g_hash_table_size(groups->given) > CLOSED_MAX)
    g_hash_table_remove(groups->given, &first->id);
}

/* Its program was killed, maybe, before it had read it all: it is for the next that listens. */
static void
keep(Given *given)
{
  NodeGroups *groups = given->groups;
  if (given->past) {
    groups->offer_at = 0;
    g_hash_table_remove(groups->given, &given->id);
    return;
  }
  g_clear_pointer(&given->source, fd_source_free);
  io_close(&given->fd);
  limit_closed(groups);
}

static gboolean
drop_letter(const Given *given)
{
  GError *error = NULL;
  gboolean dropped = node_store_drop_letter(given->groups->node->store, given->id, &error);
  node_groups_tell(error);
  return dropped;
}

/* Whether whoever has the other end is done with it; and has read it. (Of one that was closed before, the
 * kernel says ECONNRESET: unix(7). One without a byte counts as read.) */
static gboolean
is_closed(const Given *given, gboolean *was_read)
{
  guint8 answer[256]; /* nobody listens to it */
  int unread = 0;
  ssize_t got = recv(given->fd, answer, sizeof answer, MSG_DONTWAIT);
  if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
    return FALSE;
  *was_read =
      got == 0 && stream_end_is_proper(given->fd) && ioctl(given->fd, SIOCOUTQ, &unread) == 0 && unread == 0;
  return TRUE;
}

static gboolean
on_given(GIOCondition ready, void *data)
{
  Given *given = data;
  NodeGroups *groups = given->groups;
  gboolean was_read;
  if (!is_closed(given, &was_read))
    return G_SOURCE_CONTINUE;
  if (room(groups, given->service) == 0)
    groups->offer_at = 0;
  if (was_read && drop_letter(given))
    g_hash_table_remove(groups->given, &given->id);
  else
    keep(given);
  return G_SOURCE_REMOVE;
}

/* A stream with the body and its end: ends[1] is for the program. */
static gboolean
make_stream(GBytes *body, int ends[2])
{
  gsize length;
  const void *bytes = g_bytes_get_data(body, &length);
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return FALSE;
  /* A body fits the socket's buffer: GROUP_BODY_MAX is a fraction of it. */
  stream_end_name(ends[0]);
  if (send(ends[0], bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)length &&
      shutdown(ends[0], SHUT_WR) == 0)
    return TRUE;
  close(ends[0]);
  close(ends[1]);
  return FALSE;
}

static gboolean
give(NodeGroups *groups, LocalCall *listener, const char *service, const NodeLetter *letter)
{
  Node *node = groups->node;
  int ends[2];
  g_autoptr(NodeContact) contact = node_store_contact(node->store, NULL, &letter->origin, NULL);
  g_autofree char *name = contact ? g_strdup(contact->name) : identity_public_to_text(&letter->origin);
  LocalFrom from = {.name = name, .service = service, .origin = letter->origin};
  const NodePeer *peer = node_peer(node, &letter->origin, FALSE);
  if (peer && peer->record)
    from.clone_key = peer->record->clone_key;
  if (!make_stream(letter->body, ends))
    return FALSE;
  if (!local_call_incoming(listener, &from, ends[1])) {
    close(ends[0]);
    return FALSE;
  }
  Given *given = g_new0(Given, 1);
  *given = (Given){.groups = groups, .id = letter->id, .service = g_strdup(service), .fd = ends[0]};
  given->source = fd_source_new(given->fd, G_IO_IN, NULL, on_given, given);
  g_hash_table_insert(groups->given, &given->id, given);
  return TRUE;
}

/* The oldest that nobody was given. NULL: there is none. */
static NodeLetter *
next_letter(NodeGroups *groups, const char *service, gint64 *after)
{
  GError *error = NULL;
  NodeLetter *letter;
  while ((letter = node_store_next_letter(groups->node->store, service + strlen(NODE_GROUP_LISTENER), *after,
                                          &error))) {
    *after = letter->id;
    if (!g_hash_table_contains(groups->given, &letter->id))
      return letter;
    node_letter_free(letter);
  }
  node_groups_tell(error);
  return NULL;
}

static void
offer(NodeGroups *groups, const char *service)
{
  LocalCall *listener = g_hash_table_lookup(groups->node->listeners, service);
  gint64 after = 0;
  for (guint left = listener ? room(groups, service) : 0; left > 0; left--) {
    g_autoptr(NodeLetter) letter = next_letter(groups, service, &after);
    if (!letter)
      return;
    if (!give(groups, listener, service, letter)) {
      groups->offer_at = MIN(groups->offer_at, clock_now_ns() + OFFER_NS);
      return;
    }
  }
}

GroupNews
node_given_take(const GroupMessage *message, guint64 now_us, void *data)
{
  GError *error = NULL;
  NodeGroups *groups = data;
  g_autofree char *service = g_strconcat(NODE_GROUP_LISTENER, message->group, NULL);
  GroupNews news = node_store_take(groups->node->store, message, now_us, &error);
  node_groups_tell(error);
  if (news == GROUP_NEW)
    offer(groups, service);
  return news;
}

static gboolean
is_for_next(gpointer key, gpointer value, gpointer service)
{
  Given *given = value;
  if (strcmp(given->service, service) != 0)
    return FALSE;
  given->past = TRUE;
  return given->fd < 0;
}

void
node_groups_listening(Node *node, const char *service)
{
  if (!node->groups || !g_str_has_prefix(service, NODE_GROUP_LISTENER))
    return;
  g_hash_table_foreach_remove(node->groups->given, is_for_next, (gpointer)service);
  offer(node->groups, service);
}

void
node_given_step(NodeGroups *groups, gint64 now)
{
  GHashTableIter iter;
  gpointer service;
  if (now < groups->offer_at)
    return;
  groups->offer_at = G_MAXINT64;
  g_hash_table_iter_init(&iter, groups->node->listeners);
  while (g_hash_table_iter_next(&iter, &service, NULL))
    if (g_str_has_prefix(service, NODE_GROUP_LISTENER))
      offer(groups, service);
}

void
node_given_clear(NodeGroups *groups)
{
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, groups->given);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    const Given *given = value;
    gboolean was_read;
    if (given->fd >= 0 && is_closed(given, &was_read) && was_read)
      drop_letter(given);
  }
  g_hash_table_unref(groups->given);
}
