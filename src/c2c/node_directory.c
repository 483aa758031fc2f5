#include "c2c/node_directory.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "c2c/directory_client.h"
#include "c2c/node_directory_words.h"

#define ASK_MS      5000 /* for an answer of all who are asked */
#define LINGER_MS   200  /* at a time, for late answers, while nobody else has a question */
#define THREADS     8    /* that ask directories */
#define IDLE_MOST   2    /* clients that are kept for the next question, with their connections */
#define CONF        "directory.conf"
#define CACHE       "directory.db"
#define QUEUE_MAX   256 /* what peers show beyond that is not looked at */
#define HEADS_SHOWN 8u  /* at most, to a peer and by one */

typedef struct {
  DirectoryClient *client;
  guint places; /* which list of places it has */
} Asker;

struct NodeDirectory {
  char *conf;
  GThreadPool *askers; /* for what needs answers */
  GThreadPool *desk;   /* one, for what needs none */
  GThreadPool *memory; /* one, for who is remembered: nobody who is waited for keeps those waiting */
  gint closing;
  GMutex lock; /* of what follows */
  DirectoryClient *first;
  GPtrArray *idle;   /* of Asker */
  GPtrArray *places; /* of DirectoryPlace */
  guint places_number;
  gboolean has_user;
  IdentityPublic user; /* whose clone asks */
  GPtrArray *heads;    /* of GBytes */
};

typedef struct Job Job;
struct Job {
  NodeDirectory *directory;
  DirectoryClient *client;  /* while it works */
  void (*work)(Job *job);   /* in a thread */
  void (*finish)(Job *job); /* in the node's; NULL: nobody waits */
  void *data;
  NodeFound found;
  NodeRegistered registered;
  NodePacked packed;

  IdentityPublic origin;
  gboolean has_origin;
  guint count;
  char *name;
  Record *record;
  GArray *seen; /* of DirectorySigned */

  GError *error;
  NodeAnswer answer;
  guint64 number;
  DirectoryStatus status;
  Doppel__Wire__ControlPeers *peers;
  Doppel__Wire__ControlListed *listed;
};

static void
job_free(Job *job)
{
  g_free(job->name);
  g_clear_pointer(&job->record, record_unref);
  g_strfreev(job->answer.notes);
  g_clear_pointer(&job->seen, g_array_unref);
  g_clear_error(&job->error);
  if (job->peers)
    doppel__wire__control_peers__free_unpacked(job->peers, NULL);
  if (job->listed)
    doppel__wire__control_listed__free_unpacked(job->listed, NULL);
  g_free(job);
}

static gboolean
finish(gpointer data)
{
  Job *job = data;
  job->finish(job);
  job_free(job);
  return G_SOURCE_REMOVE;
}

static Job *
job_new(NodeDirectory *directory, void (*work)(Job *job), void (*done)(Job *job), void *data)
{
  Job *job = g_new0(Job, 1);
  job->directory = directory;
  job->work = work;
  job->finish = done;
  job->data = data;
  return job;
}

/* To those that ask. */
static void
push(Job *job)
{
  g_thread_pool_push(job->directory->askers, job, NULL);
}

static void
push_desk(Job *job)
{
  g_thread_pool_push(job->directory->desk, job, NULL);
}

/* What peers show is looked at when there is time. */
static void
push_desk_if_idle(Job *job)
{
  if (g_thread_pool_unprocessed(job->directory->desk) < QUEUE_MAX)
    push_desk(job);
  else
    job_free(job);
}

static void
asker_free(gpointer data)
{
  Asker *asker = data;
  directory_client_close(asker->client);
  g_free(asker);
}

/* With the places of now. */
static Asker *
asker_take(NodeDirectory *directory)
{
  g_mutex_lock(&directory->lock);
  Asker *asker = directory->idle->len > 0
                     ? g_ptr_array_steal_index_fast(directory->idle, directory->idle->len - 1)
                     : NULL;
  if (!asker) {
    asker = g_new0(Asker, 1);
    asker->client = directory_client_share(directory->first);
  }
  if (asker->places != directory->places_number)
    directory_client_set(asker->client, directory->places);
  asker->places = directory->places_number;
  if (directory->has_user)
    directory_client_set_user(asker->client, &directory->user);
  g_mutex_unlock(&directory->lock);
  return asker;
}

static void
asker_give(NodeDirectory *directory, Asker *asker)
{
  g_mutex_lock(&directory->lock);
  gboolean kept = directory->idle->len < IDLE_MOST;
  if (kept)
    g_ptr_array_add(directory->idle, asker);
  g_mutex_unlock(&directory->lock);
  if (!kept)
    asker_free(asker);
}

/* So that whoever introduces itself needs not wait for a thread. */
static void
refresh_heads(NodeDirectory *directory, DirectoryClient *client)
{
  g_autoptr(GPtrArray) fresh = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  g_autoptr(GArray) heads = directory_client_heads(client);
  for (guint i = 0; heads && i < heads->len && i < HEADS_SHOWN; i++)
    g_ptr_array_add(fresh, directory_signed_pack(&g_array_index(heads, DirectoryHead, i).proof));
  g_mutex_lock(&directory->lock);
  GPtrArray *old = directory->heads;
  directory->heads = g_steal_pointer(&fresh);
  g_mutex_unlock(&directory->lock);
  g_ptr_array_unref(old);
}

static gboolean
is_wanted(NodeDirectory *directory)
{
  return g_atomic_int_get(&directory->closing) || g_thread_pool_unprocessed(directory->askers) > 0 ||
         g_thread_pool_unprocessed(directory->desk) > 0;
}

static void
work(gpointer data, gpointer user)
{
  Job *job = data;
  NodeDirectory *directory = user;
  Asker *asker = asker_take(directory);
  job->client = asker->client;
  job->work(job);
  refresh_heads(directory, asker->client);
  if (job->finish)
    g_idle_add(finish, job);
  else
    job_free(job);
  /* Late answers are held against those that were taken, as long as nobody has a question. */
  while (!is_wanted(directory) && directory_client_linger(asker->client, LINGER_MS))
    ;
  asker_give(directory, asker);
}

static gpointer
copy_place(gconstpointer place, gpointer nothing)
{
  return directory_place_copy(place);
}

static GPtrArray *
copy_places(const GPtrArray *places)
{
  GPtrArray *copies = g_ptr_array_copy((GPtrArray *)places, copy_place, NULL);
  g_ptr_array_set_free_func(copies, (GDestroyNotify)directory_place_free);
  return copies;
}

static void remember(gpointer data, gpointer user);

NodeDirectory *
node_directory_new(const char *place, const IdentityKey *key, GError **error)
{
  g_autofree char *conf = g_build_filename(place, CONF, NULL);
  g_autofree char *cache = g_build_filename(place, CACHE, NULL);
  g_autoptr(GPtrArray) places = directory_places_load(conf, error);
  DirectoryClient *client = places ? directory_client_open(cache, key, error) : NULL;
  if (!client)
    return NULL;
  directory_client_set_timeout(client, ASK_MS);
  NodeDirectory *directory = g_new0(NodeDirectory, 1);
  directory->first = client;
  directory->conf = g_steal_pointer(&conf);
  directory->places = g_steal_pointer(&places);
  directory->places_number = 1;
  directory->idle = g_ptr_array_new();
  directory->heads = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  g_mutex_init(&directory->lock);
  refresh_heads(directory, client);
  directory->askers = g_thread_pool_new_full(work, directory, (GDestroyNotify)job_free, THREADS, FALSE, NULL);
  directory->desk = g_thread_pool_new_full(work, directory, (GDestroyNotify)job_free, 1, FALSE, NULL);
  directory->memory = g_thread_pool_new_full(remember, directory, (GDestroyNotify)job_free, 1, FALSE, NULL);
  return directory;
}

void
node_directory_free(NodeDirectory *directory)
{
  if (!directory)
    return;
  g_atomic_int_set(&directory->closing, 1);
  g_thread_pool_free(directory->memory, TRUE, TRUE); /* it passes on to the askers */
  g_thread_pool_free(directory->askers, TRUE, TRUE);
  g_thread_pool_free(directory->desk, TRUE, TRUE);
  g_ptr_array_set_free_func(directory->idle, asker_free);
  g_ptr_array_unref(directory->idle);
  directory_client_close(directory->first);
  g_ptr_array_unref(directory->places);
  g_ptr_array_unref(directory->heads);
  g_mutex_clear(&directory->lock);
  g_free(directory->conf);
  g_free(directory);
}

static void
take_result(Job *job, const DirectoryResult *result)
{
  job->record = record_ref(result->record);
  job->answer = (NodeAnswer){.cached = result->cached, .time = result->told};
  job->answer.notes = node_directory_notes(job->client, result);
}

/* Remembered, and good enough to dial. */
static gboolean
find_known(Job *job)
{
  g_autoptr(Record) known = directory_client_known(job->client, &job->origin);
  gint64 now = clock_unix_time();
  if (!known || known->revoked || known->expires <= now || known->whereabouts_expires <= now)
    return FALSE;
  job->record = g_steal_pointer(&known);
  job->answer = (NodeAnswer){.cached = TRUE};
  return TRUE;
}

/* Who is not remembered is asked about. */
static void
remember(gpointer data, gpointer user)
{
  Job *job = data;
  NodeDirectory *directory = user;
  Asker *asker = asker_take(directory);
  job->client = asker->client;
  gboolean known = find_known(job);
  asker_give(directory, asker);
  if (known)
    g_idle_add(finish, job);
  else
    push(job);
}

static void
work_find(Job *job)
{
  DirectoryClient *client = job->client;
  if (!job->has_origin) {
    g_autoptr(DirectoryResult) result = directory_client_whois(client, job->name, &job->error);
    if (result)
      take_result(job, result);
    return;
  }
  g_autoptr(GPtrArray) results = directory_client_find(client, NULL, &job->origin, NULL, &job->error);
  if (results)
    take_result(job, results->pdata[0]);
}

static void
finish_find(Job *job)
{
  job->found(job->record, &job->answer, job->error, job->data);
}

void
node_directory_find_origin(NodeDirectory *directory, const IdentityPublic *origin, gboolean fresh,
                           NodeFound found, void *data)
{
  Job *job = job_new(directory, work_find, finish_find, data);
  job->origin = *origin;
  job->has_origin = TRUE;
  job->found = found;
  if (fresh)
    push(job);
  else
    g_thread_pool_push(directory->memory, job, NULL);
}

void
node_directory_find_name(NodeDirectory *directory, const char *name, gboolean fresh, NodeFound found,
                         void *data)
{
  Job *job = job_new(directory, work_find, finish_find, data);
  job->name = g_strdup(name);
  job->found = found;
  push(job);
}

static void
work_register(Job *job)
{
  if (directory_client_register(job->client, job->record, &job->number, &job->status, &job->error))
    job->status = DIRECTORY_STATUS(OK);
  else if (job->status == DIRECTORY_STATUS(OK))
    job->status = DIRECTORY_STATUS(BUSY);
}

static void
finish_register(Job *job)
{
  job->registered(job->status, job->number, job->error ? job->error->message : NULL, job->data);
}

void
node_directory_register(NodeDirectory *directory, Record *record, NodeRegistered registered, void *data)
{
  Job *job = job_new(directory, work_register, finish_register, data);
  g_mutex_lock(&directory->lock);
  directory->has_user = TRUE;
  directory->user = record->origin;
  g_mutex_unlock(&directory->lock);
  job->record = record_ref(record);
  job->registered = registered;
  push(job);
}

gboolean
node_directory_configure(NodeDirectory *directory, const GPtrArray *places, GError **error)
{
  if (!directory_places_save(places, directory->conf, error))
    return FALSE;
  g_mutex_lock(&directory->lock);
  g_ptr_array_unref(directory->places);
  directory->places = copy_places(places);
  directory->places_number++;
  g_mutex_unlock(&directory->lock);
  return TRUE;
}

gboolean
node_directory_is_busy(NodeDirectory *directory)
{
  return g_thread_pool_unprocessed(directory->askers) >= QUEUE_MAX ||
         g_thread_pool_unprocessed(directory->desk) >= QUEUE_MAX;
}

static void
work_learn(Job *job)
{
  directory_client_learn(job->client, job->record, NULL, NULL);
}

void
node_directory_learn(NodeDirectory *directory, Record *record)
{
  Job *job = job_new(directory, work_learn, NULL, NULL);
  job->record = record_ref(record);
  push_desk_if_idle(job);
}

GPtrArray *
node_directory_heads(NodeDirectory *directory)
{
  g_mutex_lock(&directory->lock);
  GPtrArray *heads = g_ptr_array_copy(directory->heads, (GCopyFunc)(void (*)(void))g_bytes_ref, NULL);
  g_mutex_unlock(&directory->lock);
  return heads;
}

static void
work_seen(Job *job)
{
  for (guint i = 0; i < job->seen->len; i++)
    directory_client_saw_head(job->client, &g_array_index(job->seen, DirectorySigned, i), NULL);
}

static void
clear_signed(gpointer data)
{
  directory_signed_clear(data);
}

void
node_directory_seen(NodeDirectory *directory, const ProtobufCBinaryData *heads, gsize count)
{
  g_autoptr(GArray) seen = g_array_new(FALSE, FALSE, sizeof(DirectorySigned));
  g_array_set_clear_func(seen, clear_signed);
  for (gsize i = 0; i < count && i < HEADS_SHOWN; i++) {
    DirectorySigned head = {0};
    if (directory_signed_unpack(heads[i].data, heads[i].len, &head, NULL))
      g_array_append_val(seen, head);
  }
  if (seen->len == 0)
    return;
  Job *job = job_new(directory, work_seen, NULL, NULL);
  job->seen = g_steal_pointer(&seen);
  push_desk_if_idle(job);
}

static void
work_watch(Job *job)
{
  g_autoptr(GError) error = NULL;
  if (!directory_client_watch(job->client, &error))
    g_warning("%s", error ? error->message : "a directory contradicts itself");
}

void
node_directory_watch(NodeDirectory *directory)
{
  push(job_new(directory, work_watch, NULL, NULL));
}

static void
work_report(Job *job)
{
  job->peers = node_directory_pack(job->client, &job->error);
}

static void
finish_report(Job *job)
{
  job->packed(job->error ? NULL : &job->peers->base, job->error, job->data);
}

void
node_directory_report(NodeDirectory *directory, NodePacked packed, void *data)
{
  Job *job = job_new(directory, work_report, finish_report, data);
  job->packed = packed;
  push_desk(job);
}

static void
work_list(Job *job)
{
  DirectoryClient *client = job->client;
  g_auto(DirectoryHead) head = {0};
  gboolean more = FALSE;
  g_autoptr(GPtrArray) results = directory_client_list(client, job->has_origin ? &job->origin : NULL,
                                                       job->count, &more, &head, &job->error);
  if (!results)
    return;
  job->listed = node_directory_pack_list(client, results, &head, more);
}

static void
finish_list(Job *job)
{
  job->packed(job->error ? NULL : &job->listed->base, job->error, job->data);
}

void
node_directory_list(NodeDirectory *directory, const IdentityPublic *after, guint count, NodePacked packed,
                    void *data)
{
  Job *job = job_new(directory, work_list, finish_list, data);
  job->has_origin = after != NULL;
  if (after)
    job->origin = *after;
  job->count = count;
  job->packed = packed;
  push(job);
}
