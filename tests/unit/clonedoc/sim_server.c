/* The ordering server: what is asked waits until it is on the disk, all at once, and then is answered. */
#include <string.h>

#include "clonedoc/server/call.h"
#include "sim_world.h"

typedef struct {
  SimLink *link; /* NULL: gone meanwhile */
  guint64 id;
  GBytes *entry;
} SimAppend;

static void
append_free(gpointer data)
{
  SimAppend *append = data;
  g_bytes_unref(append->entry);
  g_free(append);
}

void
sim_server_init(SimServer *server, const DocName *document)
{
  static const guint8 seed[IDENTITY_SEED_LENGTH] = {77};
  *server = (SimServer){.key = identity_key_from_seed(seed), .document = *document};
  server->history = doc_history_new(document);
  server->entries = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  server->numbers = g_hash_table_new(g_bytes_hash, g_bytes_equal);
  g_queue_init(&server->asked);
}

void
sim_server_clear(SimServer *server)
{
  identity_key_free(server->key);
  g_hash_table_unref(server->numbers);
  g_ptr_array_unref(server->entries);
  g_clear_pointer(&server->history, doc_history_free);
  g_clear_pointer(&server->head, g_bytes_unref);
  g_queue_clear_full(&server->asked, append_free);
}

/* The history goes on with it. */
static void
settle(SimServer *server, guint64 number, GBytes *entry, gboolean judged)
{
  g_autoptr(GError) error = NULL;
  DocVerdict verdict;
  gsize length;
  const void *data = g_bytes_get_data(entry, &length);
  g_autoptr(DocEnvelope) envelope = doc_envelope_decode(data, length, &error);
  g_assert_no_error(error);
  if (judged) {
    doc_history_take_again(server->history, number, envelope, &verdict, &error);
  } else {
    doc_history_take(server->history, number, envelope, &verdict, &error);
    g_assert_cmpint(verdict, !=, DOC_VOID_STRANGER);
    g_assert_cmpint(verdict, !=, DOC_VOID_REMOVED);
  }
  g_assert_no_error(error);
}

void
sim_server_take(SimServer *server, GBytes *entry)
{
  /* The very same once more has the number that it has. */
  if (g_hash_table_contains(server->numbers, entry))
    return;
  settle(server, server->entries->len + 1, entry, FALSE);
  g_ptr_array_add(server->entries, g_bytes_ref(entry));
  g_hash_table_insert(server->numbers, entry, GUINT_TO_POINTER(server->entries->len));
  g_clear_pointer(&server->head, g_bytes_unref);
}

static GBytes *
head(SimServer *server)
{
  if (!server->head) {
    g_auto(DocHead) signed_head = {0};
    doc_head_sign(&signed_head, server->history, server->key);
    server->head = g_bytes_ref(signed_head.packed);
  }
  return g_bytes_ref(server->head);
}

void
sim_server_kill(SimWorld *world)
{
  SimServer *server = &world->server;
  if (!server->history)
    return;
  world->counts->server_kills++;
  g_clear_pointer(&server->history, doc_history_free);
  g_clear_pointer(&server->head, g_bytes_unref);
  g_queue_clear_full(&server->asked, append_free);
  g_queue_init(&server->asked);
  for (guint i = 0; i < world->net.links->len; i++) {
    SimLink *link = world->net.links->pdata[i];
    if (link->kind == TO_SERVER && !link->ends[1].closed)
      sim_link_close(&world->net, link, 1);
  }
  server->back_at = world->net.now + sim_pick(&world->net, 60);
}

static void
come_up(SimWorld *world)
{
  SimServer *server = &world->server;
  server->history = doc_history_new(&server->document);
  for (guint i = 0; i < server->entries->len; i++)
    settle(server, i + 1, server->entries->pdata[i], TRUE);
}

static void
answer(SimWorld *world, SimLink *link, DocAnswer *said)
{
  said->head = head(&world->server);
  g_autoptr(GBytes) bytes = doc_answer_encode(said);
  sim_link_send(&world->net, link, 1, bytes);
  doc_answer_free(said);
}

static gboolean
dies(SimWorld *world, guint one_in)
{
  if (world->calm || !sim_chance(&world->net, one_in))
    return FALSE;
  sim_server_kill(world);
  return TRUE;
}

/* Killed in it, it has said to some what they have. */
static void
commit(SimWorld *world)
{
  SimServer *server = &world->server;
  if (server->asked.length == 0 || dies(world, 150))
    return;
  for (GList *each = server->asked.head; each; each = each->next)
    sim_server_take(server, ((SimAppend *)each->data)->entry);
  while (server->history && server->asked.length > 0) {
    SimAppend *append = g_queue_pop_head(&server->asked);
    DocAnswer *said = append->link ? doc_answer_new(append->id, DOC_STATUS(OK), NULL) : NULL;
    if (said) {
      said->number = GPOINTER_TO_UINT(g_hash_table_lookup(server->numbers, append->entry));
      answer(world, append->link, said);
    }
    append_free(append);
    if (dies(world, 500))
      return;
  }
}

static void
tell(SimWorld *world, SimLink *link)
{
  SimServer *server = &world->server;
  if (link->next == 0 || link->next > server->entries->len)
    return;
  DocAnswer *said = doc_answer_new(1, DOC_STATUS(OK), NULL);
  said->number = link->next;
  for (; link->next <= server->entries->len; link->next++)
    g_ptr_array_add(said->entries, g_bytes_ref(server->entries->pdata[link->next - 1]));
  answer(world, link, said);
}

void
sim_server_step(SimWorld *world)
{
  SimServer *server = &world->server;
  if (!server->history && server->back_at <= world->net.now)
    come_up(world);
  if (server->history && sim_chance(&world->net, 2))
    commit(world);
  for (guint i = 0; server->history && i < world->net.links->len; i++) {
    SimLink *link = world->net.links->pdata[i];
    if (link->kind == TO_SERVER && !link->ends[1].closed && !dies(world, 40000))
      tell(world, link);
  }
}

static void
forget(SimServer *server, const SimLink *link)
{
  for (GList *each = server->asked.head; each; each = each->next) {
    SimAppend *append = each->data;
    if (append->link == link)
      append->link = NULL;
  }
}

void
sim_server_hear(SimWorld *world, SimLink *link, SimWhat what, GBytes *message)
{
  SimServer *server = &world->server;
  g_autoptr(GError) error = NULL;
  gsize length;
  if (!server->history && what != SIM_GONE)
    sim_link_close(&world->net, link, 1);
  if (what == SIM_GONE)
    forget(server, link);
  if (what != SIM_MESSAGE || !server->history)
    return;
  const void *data = g_bytes_get_data(message, &length);
  g_autoptr(DocCall) call = doc_call_decode(data, length, &error);
  g_assert_no_error(error);
  if (call->what == DOC_WHAT(FOLLOW)) {
    link->next = call->from;
    return;
  }
  SimAppend *append = g_new0(SimAppend, 1);
  *append = (SimAppend){link, call->id, g_bytes_ref(call->entry)};
  g_queue_push_tail(&server->asked, append);
}
