#include "clonedoc/server/client.h"

#include "base/clock.h"
#include "base/error.h"

#define CONNECT_MS     5000
#define SILENT_MS      30000 /* of a server: probed then */
#define PAUSE_FIRST_MS 100
#define PAUSE_MOST_MS  10000
#define BUSY_MS        250
#define EVENTS_MAX     64u /* that nobody has taken: no more is read before */
#define MS(ms)         ((ms)*G_GINT64_CONSTANT(1000000))

typedef struct {
  DocCall *call;
  gint64 again_at; /* CLOCK_MONOTONIC ns: it was BUSY; 0: it is under way */
} Pending;

struct DocClient {
  char **addresses;
  IdentityPublic server;
  const IdentityKey *own;
  Link *link;      /* NULL: to be dialled at `dial_at` */
  gint64 dial_at;  /* CLOCK_MONOTONIC ns */
  int pause_ms;    /* before the next attempt after this */
  GError *trouble; /* why the last connection is no more */
  DocParts parts;
  GQueue pending; /* of Pending, in the order they were begun */
  GQueue events;  /* of DocClientEvent */
  guint64 last_id;
  gboolean dead;
};

void
doc_client_event_free(DocClientEvent *event)
{
  if (!event)
    return;
  doc_answer_free(event->answer);
  doc_head_clear(&event->head);
  g_free(event);
}

static void
pending_free(gpointer data)
{
  Pending *pending = data;
  doc_call_free(pending->call);
  g_free(pending);
}

DocClient *
doc_client_new(const char *const *addresses, const IdentityPublic *server, const IdentityKey *own,
               GError **error)
{
  if (!addresses || !addresses[0]) {
    doppel_error_set(error, DOPPEL_ERROR_USAGE, "there is no address of the documents' server");
    return NULL;
  }
  DocClient *client = g_new0(DocClient, 1);
  client->addresses = g_strdupv((char **)addresses);
  client->server = *server;
  client->own = own;
  client->pause_ms = PAUSE_FIRST_MS;
  return client;
}

void
doc_client_free(DocClient *client)
{
  if (!client)
    return;
  g_clear_pointer(&client->link, link_free);
  g_clear_error(&client->trouble);
  doc_parts_clear(&client->parts);
  g_queue_clear_full(&client->pending, pending_free);
  g_queue_clear_full(&client->events, (GDestroyNotify)doc_client_event_free);
  g_strfreev(client->addresses);
  g_free(client);
}

/* ---- connecting ---- */

static void
send_call(DocClient *client, Pending *pending)
{
  g_autoptr(GBytes) bytes = doc_call_encode(pending->call);
  pending->again_at = 0;
  /* A link that is dead says so when it is worked on, and then all is sent again. */
  doc_message_send(client->link, bytes, NULL);
}

static void
hang_up(DocClient *client, GError *why)
{
  g_clear_error(&client->trouble);
  client->trouble = why;
  g_clear_pointer(&client->link, link_free);
  doc_parts_clear(&client->parts);
  client->dial_at = clock_now_ns() + MS(client->pause_ms);
  client->pause_ms = MIN(2 * client->pause_ms, PAUSE_MOST_MS);
}

static void
dial(DocClient *client)
{
  static const guint8 clone[16];
  GError *why = NULL;
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  options.resume_ms = 0; /* another server of the same key may be the next; what was asked is asked again */
  options.connect_ms = CONNECT_MS;
  options.keepalive_ms = SILENT_MS;
  options.compression = -1;
  options.message_max = DOC_PART_MAX;
  options.inbox_max = 1;
  client->link = link_dial_later((const char *const *)client->addresses, client->own, &client->server, clone,
                                 &options, &why);
  if (!client->link) {
    hang_up(client, why);
    return;
  }
  for (GList *link = client->pending.head; link; link = link->next)
    send_call(client, link->data);
}

/* ---- calls ---- */

static guint64
begin(DocClient *client, DocWhat what, const DocName *document, GBytes *entry, guint64 from, guint count)
{
  Pending *pending = g_new0(Pending, 1);
  pending->call = g_new0(DocCall, 1);
  *pending->call = (DocCall){.id = ++client->last_id,
                             .document = *document,
                             .what = what,
                             .entry = entry ? g_bytes_ref(entry) : NULL,
                             .from = from,
                             .count = count};
  g_queue_push_tail(&client->pending, pending);
  if (client->link)
    send_call(client, pending);
  return pending->call->id;
}

guint64
doc_client_append(DocClient *client, const DocName *document, GBytes *entry)
{
  return begin(client, DOC_WHAT(APPEND), document, entry, 0, 0);
}

guint64
doc_client_read(DocClient *client, const DocName *document, guint64 from, guint count)
{
  return begin(client, DOC_WHAT(READ), document, NULL, MAX(from, 1), MIN(count, DOC_ENTRIES_MAX));
}

guint64
doc_client_head(DocClient *client, const DocName *document)
{
  return begin(client, DOC_WHAT(HEAD), document, NULL, 0, 0);
}

guint64
doc_client_follow(DocClient *client, const DocName *document, guint64 from)
{
  return begin(client, DOC_WHAT(FOLLOW), document, NULL, MAX(from, 1), 0);
}

static GList *
find(DocClient *client, guint64 id)
{
  for (GList *link = client->pending.head; link; link = link->next)
    if (((Pending *)link->data)->call->id == id)
      return link;
  return NULL;
}

static void
finish(DocClient *client, GList *link)
{
  pending_free(link->data);
  g_queue_delete_link(&client->pending, link);
}

static void
drop_events(DocClient *client, guint64 call)
{
  GList *next;
  for (GList *link = client->events.head; link; link = next) {
    next = link->next;
    if (((DocClientEvent *)link->data)->call != call)
      continue;
    doc_client_event_free(link->data);
    g_queue_delete_link(&client->events, link);
  }
}

void
doc_client_end(DocClient *client, guint64 call)
{
  GList *link = find(client, call);
  drop_events(client, call);
  if (!link)
    return;
  const DocCall *ended = ((Pending *)link->data)->call;
  DocCall end = {.id = ++client->last_id, .document = ended->document, .what = DOC_WHAT(END), .ends = call};
  if (client->link && ended->what == DOC_WHAT(FOLLOW)) {
    g_autoptr(GBytes) bytes = doc_call_encode(&end);
    doc_message_send(client->link, bytes, NULL);
  }
  finish(client, link);
}

/* ---- answers ---- */

static gboolean
lie(GError **error, const char *what)
{
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the documents' server cannot be trusted: %s", what);
}

/* How long the history has to be, for what the answer tells. */
static guint64
least(const DocAnswer *answer)
{
  return answer->entries->len > 0 ? answer->number + answer->entries->len - 1 : answer->number;
}

static gboolean
check_head(DocClient *client, const DocCall *call, DocClientEvent *event, GError **error)
{
  const DocAnswer *answer = event->answer;
  gsize length;
  if (!answer->head)
    return (answer->status != DOC_STATUS(OK) && answer->status != DOC_STATUS(UNKNOWN)) ||
           lie(error, "it does not sign what it says");
  const void *bytes = g_bytes_get_data(answer->head, &length);
  if (!doc_head_decode(&event->head, bytes, length, &client->server, error))
    return FALSE;
  if (!doc_name_equal(&event->head.document, &call->document))
    return lie(error, "it signs another document");
  if (answer->status == DOC_STATUS(UNKNOWN))
    return event->head.number == 0 || lie(error, "it denies a document that it has signed");
  return event->head.number >= least(answer) || lie(error, "it tells entries that it has not signed");
}

static gboolean
check_shape(const DocCall *call, const DocAnswer *answer, GError **error)
{
  gboolean good = answer->status == DOC_STATUS(OK);
  if (!good && (answer->entries->len > 0 || answer->number > 0))
    return lie(error, "an answer that is none");
  if (good && call->what == DOC_WHAT(APPEND) && (answer->number == 0 || answer->entries->len > 0))
    return lie(error, "it took an entry and gave it no number");
  return !good || call->what != DOC_WHAT(HEAD) || (answer->number == 0 && answer->entries->len == 0) ||
         lie(error, "an answer to something else");
}

/* Whether the call goes on after this answer. */
static gboolean
goes_on(Pending *pending, const DocAnswer *answer)
{
  if (pending->call->what != DOC_WHAT(FOLLOW) || answer->status != DOC_STATUS(OK))
    return FALSE;
  if (answer->entries->len > 0)
    pending->call->from = answer->number + answer->entries->len;
  return TRUE;
}

static gboolean
take_answer(DocClient *client, GBytes *bytes, GError **error)
{
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  g_autoptr(DocAnswer) answer = doc_answer_decode(data, length, error);
  if (!answer)
    return FALSE;
  /* Of one that was ended here answers may still be under way. */
  GList *link = find(client, answer->id);
  if (!link)
    return (answer->id > 0 && answer->id <= client->last_id) || lie(error, "an answer to nothing");
  Pending *pending = link->data;
  if (answer->status == DOC_STATUS(BUSY)) {
    pending->again_at = clock_now_ns() + MS(BUSY_MS);
    return TRUE;
  }
  g_autoptr(DocClientEvent) event = g_new0(DocClientEvent, 1);
  event->call = answer->id;
  event->what = pending->call->what;
  event->document = pending->call->document;
  event->answer = g_steal_pointer(&answer);
  if (!check_shape(pending->call, event->answer, error) || !check_head(client, pending->call, event, error))
    return FALSE;
  if (!goes_on(pending, event->answer))
    finish(client, link);
  g_queue_push_tail(&client->events, g_steal_pointer(&event));
  return TRUE;
}

static gboolean
take_messages(DocClient *client, GError **error)
{
  while (client->events.length < EVENTS_MAX) {
    g_autoptr(GBytes) whole = NULL;
    g_autoptr(LinkMessage) message = link_take(client->link);
    if (!message)
      return TRUE;
    int step = doc_parts_take(&client->parts, message, DOC_ANSWER_MAX, &whole, error);
    if (step < 0 || (step > 0 && !take_answer(client, whole, error)))
      return FALSE;
    client->pause_ms = PAUSE_FIRST_MS;
  }
  return TRUE;
}

/* ---- driving ---- */

static void
ask_again(DocClient *client)
{
  gint64 now = clock_now_ns();
  for (GList *link = client->pending.head; link; link = link->next) {
    Pending *pending = link->data;
    if (pending->again_at > 0 && pending->again_at <= now)
      send_call(client, pending);
  }
}

static void
shorten(int *timeout_ms, gint64 due)
{
  int left = clock_left_ms(due);
  *timeout_ms = *timeout_ms < 0 ? left : MIN(*timeout_ms, left);
}

guint
doc_client_prepare(gpointer data, struct pollfd *fds, int *timeout_ms)
{
  DocClient *client = data;
  guint32 channel;
  if (client->dead)
    return 0;
  if (!client->link) {
    shorten(timeout_ms, client->dial_at);
    return 0;
  }
  for (GList *link = client->pending.head; link; link = link->next)
    if (((Pending *)link->data)->again_at > 0)
      shorten(timeout_ms, ((Pending *)link->data)->again_at);
  if (client->events.length < EVENTS_MAX && link_peek(client->link, &channel))
    *timeout_ms = 0;
  return link_prepare(client->link, fds, timeout_ms);
}

static gboolean
end(DocClient *client)
{
  client->dead = TRUE;
  g_clear_pointer(&client->link, link_free);
  return FALSE;
}

gboolean
doc_client_work(DocClient *client, GError **error)
{
  GError *why = NULL;
  if (client->dead)
    return lie(error, "it was found out before");
  if (!client->link && clock_now_ns() < client->dial_at)
    return TRUE;
  if (!client->link)
    dial(client);
  if (!client->link)
    return TRUE;
  gboolean alive = link_work(client->link, &why);
  if (!take_messages(client, error)) {
    g_clear_error(&why);
    return end(client);
  }
  if (alive)
    ask_again(client);
  else
    hang_up(client, why);
  return TRUE;
}

DocClientEvent *
doc_client_take(DocClient *client)
{
  return g_queue_pop_head(&client->events);
}

DocClientEvent *
doc_client_await(DocClient *client, int timeout_ms, GError **error)
{
  gint64 until = clock_now_ns() + MS(timeout_ms);
  for (;;) {
    DocClientEvent *event = doc_client_take(client);
    if (event || !doc_client_work(client, error))
      return event;
    if (client->events.length > 0)
      continue;
    int left = clock_left_ms(until);
    if (left == 0) {
      doppel_error_set(error, DOPPEL_ERROR_GONE, "the documents' server does not answer%s%s",
                       client->trouble ? ": " : "", client->trouble ? client->trouble->message : "");
      return NULL;
    }
    struct pollfd fds[LINK_POLL_MAX];
    guint count = doc_client_prepare(client, fds, &left);
    poll(fds, count, left);
  }
}

gboolean
doc_client_is_up(const DocClient *client)
{
  return client->link && link_state(client->link) == LINK_UP;
}

const GError *
doc_client_trouble(const DocClient *client)
{
  return client->trouble;
}

const LinkCounters *
doc_client_counters(DocClient *client)
{
  return client->link ? link_counters(client->link) : NULL;
}
