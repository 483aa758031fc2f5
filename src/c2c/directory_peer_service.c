#include "c2c/directory_peer_service.h"

#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/error.h"
#include "c2c/directory_peer_asked.h"
#include "c2c/directory_peer_link.h"
#include "c2c/directory_peer_report.h"

#define LOOK_MS 1000 /* between looks at the list of peers */
#define TELL_MS 1000 /* between reports */

typedef struct {
  DirectoryPeerService *service;
  DirectoryPeerLink *link;
  char *trouble;
} Peer;

struct DirectoryPeerService {
  const IdentityKey *key;
  DirectoryStore *store;
  char *places_path, *status_path;
  DirectoryPeersOptions options;
  DirectoryPeerKeys *keys; /* read by the server's threads, too */

  /* The server's thread. */
  DirectoryServer *server;
  GMainContext *server_context;

  /* The own thread, but for making and ending it. */
  GThread *thread;
  GMainContext *context;
  GMainLoop *loop;
  DirectoryPeers *peers;
  GPtrArray *links; /* of Peer */
  GSource *due;
  struct timespec changed;
  gboolean looked, stopped;
  char *told;
};

static gint64
now_ms(void)
{
  return clock_now_ns() / 1000000;
}

static void
peer_free(gpointer data)
{
  Peer *peer = data;
  directory_peer_link_free(peer->link);
  g_free(peer->trouble);
  g_free(peer);
}

static Peer *
find_peer(DirectoryPeerService *service, const IdentityPublic *key)
{
  for (guint i = 0; i < service->links->len; i++) {
    Peer *peer = service->links->pdata[i];
    if (identity_public_equal(&directory_peer_link_place(peer->link)->key, key))
      return peer;
  }
  return NULL;
}

/* What was registered here, on its way to the own thread. */
typedef struct {
  DirectoryPeerService *service;
  GPtrArray *records; /* of GBytes */
  GArray *numbers;    /* of guint64 */
} Registered;

static void
registered_free(gpointer data)
{
  Registered *registered = data;
  g_ptr_array_unref(registered->records);
  g_array_unref(registered->numbers);
  g_free(registered);
}

static void schedule(DirectoryPeerService *service);

static gboolean
tell_registered(gpointer data)
{
  Registered *registered = data;
  DirectoryPeerService *service = registered->service;
  for (guint i = 0; i < registered->records->len; i++)
    directory_peers_registered(service->peers, g_array_index(registered->numbers, guint64, i),
                               registered->records->pdata[i], now_ms());
  schedule(service);
  return G_SOURCE_REMOVE;
}

static void
invoke(GMainContext *context, GSourceFunc function, gpointer data, GDestroyNotify destroy)
{
  GSource *source = g_idle_source_new();
  g_source_set_priority(source, G_PRIORITY_DEFAULT);
  g_source_set_callback(source, function, data, destroy);
  g_source_attach(source, context);
  g_source_unref(source);
}

static void
hook_registered(DirectoryServer *server, const DirectoryPut *puts, guint count, gpointer data)
{
  Registered *registered = g_new0(Registered, 1);
  registered->service = data;
  registered->records = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  registered->numbers = g_array_new(FALSE, FALSE, sizeof(guint64));
  for (guint i = 0; i < count; i++) {
    g_ptr_array_add(registered->records, g_bytes_ref(puts[i].record->bytes));
    g_array_append_val(registered->numbers, puts[i].number);
  }
  invoke(registered->service->context, tell_registered, registered, registered_free);
}

/* Taking what was fetched: judged here, put by the server, counted here */

typedef struct {
  DirectoryPeerService *service;
  IdentityPublic peer;
  GPtrArray *candidates;
  guint taken;
} Taking;

static void
taking_free(gpointer data)
{
  Taking *taking = data;
  if (taking->candidates)
    g_ptr_array_unref(taking->candidates);
  g_free(taking);
}

static gboolean
taking_done(gpointer data)
{
  Taking *taking = data;
  directory_peers_taken(taking->service->peers, &taking->peer, taking->taken, now_ms());
  schedule(taking->service);
  return G_SOURCE_REMOVE;
}

static void
candidates_judged(GPtrArray *candidates, gpointer data)
{
  Taking *taking = data;
  for (guint i = 0; i < candidates->len; i++)
    taking->taken += ((const DirectoryCandidate *)candidates->pdata[i])->status == DIRECTORY_STATUS(OK);
  invoke(taking->service->context, taking_done, taking, taking_free);
}

static gboolean
submit(gpointer data)
{
  Taking *taking = data;
  if (taking->service->stopped)
    taking_free(taking);
  else
    directory_server_submit(taking->service->server, g_steal_pointer(&taking->candidates), candidates_judged,
                            taking);
  return G_SOURCE_REMOVE;
}

static void
take(DirectoryPeers *peers, const IdentityPublic *peer, const GArray *updates, void *data)
{
  DirectoryPeerService *service = data;
  Taking *taking = g_new0(Taking, 1);
  taking->service = service;
  taking->peer = *peer;
  taking->candidates = directory_candidates_new();
  for (guint i = 0; i < updates->len; i++) {
    const DirectorySigned *update = &g_array_index(updates, DirectorySigned, i);
    Record *record = directory_peer_keys_judge(service->keys, update);
    if (!record)
      continue;
    DirectoryCandidate *candidate = g_new0(DirectoryCandidate, 1);
    candidate->record = record;
    candidate->update = directory_signed_pack(update);
    g_ptr_array_add(taking->candidates, candidate);
  }
  if (taking->candidates->len > 0)
    invoke(service->server_context, submit, taking, NULL);
  else
    invoke(service->context, taking_done, taking, taking_free);
}

/* The asking side: in the own thread */

static gboolean
work(gpointer data)
{
  schedule(data);
  return G_SOURCE_REMOVE;
}

static void
drop_due(DirectoryPeerService *service)
{
  if (service->due)
    g_source_destroy(service->due);
  g_clear_pointer(&service->due, g_source_unref);
}

/* Does what is due, and looks when the next thing will be. */
static void
schedule(DirectoryPeerService *service)
{
  gint64 now = now_ms(), next = directory_peers_work(service->peers, now);
  drop_due(service);
  service->due = g_timeout_source_new((guint)CLAMP(next - now, 10, 60000));
  g_source_set_callback(service->due, work, service, NULL);
  g_source_attach(service->due, service->context);
}

static void
link_up(DirectoryPeerLink *link, gpointer data)
{
  Peer *peer = data;
  g_clear_pointer(&peer->trouble, g_free);
  directory_peers_connected(peer->service->peers, &directory_peer_link_place(link)->key, now_ms());
  schedule(peer->service);
}

static void
link_down(DirectoryPeerLink *link, const char *words, gpointer data)
{
  Peer *peer = data;
  g_free(peer->trouble);
  peer->trouble = g_strdup(words);
  directory_peers_disconnected(peer->service->peers, &directory_peer_link_place(link)->key, now_ms());
}

static void
link_answer(DirectoryPeerLink *link, const DirectoryAnswer *answer, gpointer data)
{
  Peer *peer = data;
  g_clear_pointer(&peer->trouble, g_free);
  if (answer->status != DIRECTORY_STATUS(OK) && answer->message)
    peer->trouble = g_strdup_printf("it answers: %s", answer->message);
  directory_peers_answered(peer->service->peers, &directory_peer_link_place(link)->key, answer, now_ms());
  schedule(peer->service);
}

static void
ask(DirectoryPeers *peers, const IdentityPublic *key, const DirectoryQuestion *question, void *data)
{
  Peer *peer = find_peer(data, key);
  if (peer)
    directory_peer_link_ask(peer->link, question);
}

/* The list of peers */

static gboolean
has_place(const GPtrArray *places, const DirectoryPlace *place)
{
  for (guint i = 0; i < places->len; i++) {
    const DirectoryPlace *one = places->pdata[i];
    if (identity_public_equal(&one->key, &place->key) && strcmp(one->address, place->address) == 0)
      return TRUE;
  }
  return FALSE;
}

static void
set_links(DirectoryPeerService *service, const GPtrArray *places)
{
  static const DirectoryPeerLinkCallbacks callbacks = {
      .up = link_up, .down = link_down, .answer = link_answer};
  for (guint i = service->links->len; i-- > 0;) {
    const DirectoryPlace *place = directory_peer_link_place(((Peer *)service->links->pdata[i])->link);
    if (has_place(places, place))
      continue;
    directory_peers_disconnected(service->peers, &place->key, now_ms());
    g_ptr_array_remove_index(service->links, i);
  }
  for (guint i = 0; i < places->len && service->links->len < DIRECTORY_PEERS_MAX; i++) {
    const DirectoryPlace *place = places->pdata[i];
    if (find_peer(service, &place->key) ||
        identity_public_equal(&place->key, identity_key_public(service->key)))
      continue;
    Peer *peer = g_new0(Peer, 1);
    peer->service = service;
    peer->link = directory_peer_link_new(place, service->key, &callbacks, peer);
    g_ptr_array_add(service->links, peer);
  }
}

static void
set_peers(DirectoryPeerService *service, const GPtrArray *places)
{
  g_autoptr(GArray) keys = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  for (guint i = 0; i < places->len; i++)
    g_array_append_val(keys, ((const DirectoryPlace *)places->pdata[i])->key);
  directory_peer_keys_set(service->keys, keys);
  directory_peers_set(service->peers, (const IdentityPublic *)(void *)keys->data, keys->len, now_ms());
  set_links(service, places);
  schedule(service);
}

static gboolean
look(gpointer data)
{
  DirectoryPeerService *service = data;
  struct stat status = {0};
  stat(service->places_path, &status);
  if (service->looked && status.st_mtim.tv_sec == service->changed.tv_sec &&
      status.st_mtim.tv_nsec == service->changed.tv_nsec)
    return G_SOURCE_CONTINUE;
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) places = directory_places_load(service->places_path, &error);
  service->looked = TRUE;
  service->changed = status.st_mtim;
  if (places)
    set_peers(service, places);
  else
    g_warning("the list of peers stays as it was: %s", error->message);
  return G_SOURCE_CONTINUE;
}

static gboolean
look_first(gpointer data)
{
  look(data);
  return G_SOURCE_REMOVE;
}

/* Reports */

static void
report_peer(DirectoryPeerService *service, const Peer *peer, GKeyFile *report)
{
  DirectoryPeerStatus status;
  const IdentityPublic *key = &directory_peer_link_place(peer->link)->key;
  if (!directory_peers_status(service->peers, key, &status))
    return;
  gint64 healed = status.healed_ms < 0 ? 0 : clock_unix_time() - (now_ms() - status.healed_ms) / 1000;
  directory_peer_report_add(report, key, &status, healed, peer->trouble);
}

static gboolean
tell(gpointer data)
{
  DirectoryPeerService *service = data;
  g_autoptr(GKeyFile) report = directory_peer_report_begin();
  for (guint i = 0; i < service->links->len; i++)
    report_peer(service, service->links->pdata[i], report);
  g_autofree char *text = g_key_file_to_data(report, NULL, NULL);
  if (service->links->len > 0 && g_strcmp0(text, service->told) != 0 &&
      g_file_set_contents_full(service->status_path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL)) {
    g_free(service->told);
    service->told = g_steal_pointer(&text);
  }
  return G_SOURCE_CONTINUE;
}

/* Its life */

static gpointer
run(gpointer data)
{
  DirectoryPeerService *service = data;
  g_main_context_push_thread_default(service->context);
  g_main_loop_run(service->loop);
  g_ptr_array_set_size(service->links, 0);
  g_main_context_pop_thread_default(service->context);
  return NULL;
}

static gboolean
quit(gpointer data)
{
  g_main_loop_quit(((DirectoryPeerService *)data)->loop);
  return G_SOURCE_REMOVE;
}

DirectoryPeerService *
directory_peer_service_new(const DirectoryPeerServiceOptions *options, GError **error)
{
  static const DirectoryPeersCallbacks callbacks = {.ask = ask, .take = take};
  g_autoptr(GPtrArray) places = directory_places_load(options->places, error);
  DirectoryStore *store = places ? directory_store_open(options->store, error) : NULL;
  if (!store)
    return NULL;
  DirectoryPeerService *service = g_new0(DirectoryPeerService, 1);
  service->key = options->key;
  service->store = store;
  service->places_path = g_strdup(options->places);
  service->status_path = g_strdup(options->status);
  service->options = options->peers;
  service->keys = directory_peer_keys_new(identity_key_public(options->key));
  service->context = g_main_context_new();
  service->loop = g_main_loop_new(service->context, FALSE);
  service->links = g_ptr_array_new_with_free_func(peer_free);
  service->peers =
      directory_peers_new(options->key, store, &options->peers, g_random_int(), &callbacks, service);
  return service;
}

const DirectoryPeerKeys *
directory_peer_service_keys(const DirectoryPeerService *service)
{
  return service->keys;
}

void
directory_peer_service_prepare(DirectoryPeerService *service, DirectoryServerOptions *options)
{
  options->handlers = directory_peer_asked;
  options->handlers_count = directory_peer_asked_count;
  options->registered = hook_registered;
  options->data = service;
}

static void
repeat(DirectoryPeerService *service, guint ms, GSourceFunc function)
{
  GSource *source = g_timeout_source_new(ms);
  g_source_set_callback(source, function, service, NULL);
  g_source_attach(source, service->context);
  g_source_unref(source);
}

void
directory_peer_service_start(DirectoryPeerService *service, DirectoryServer *server, GMainContext *context)
{
  service->server = server;
  service->server_context = context;
  invoke(service->context, look_first, service, NULL);
  repeat(service, LOOK_MS, look);
  repeat(service, TELL_MS, tell);
  service->thread = g_thread_new("peers", run, service);
}

void
directory_peer_service_stop(DirectoryPeerService *service)
{
  service->stopped = TRUE;
  if (service->thread) {
    invoke(service->context, quit, service, NULL);
    g_thread_join(g_steal_pointer(&service->thread));
  }
}

void
directory_peer_service_free(DirectoryPeerService *service)
{
  directory_peer_service_stop(service);
  drop_due(service);
  g_ptr_array_unref(service->links);
  directory_peers_free(service->peers);
  g_main_loop_unref(service->loop);
  g_main_context_unref(service->context);
  directory_store_close(service->store);
  directory_peer_keys_free(service->keys);
  g_free(service->places_path);
  g_free(service->status_path);
  g_free(service->told);
  g_free(service);
}
