#include "profiler/client.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "identity/paired.h"
#include "profile/callgrind.h"
#include "profile/file.h"
#include "profiler/service.h"

enum { OBJECTS_MAX = 8192 };

/* A clone says how far it is every second. */
enum { ANSWER_MS = 120000 };

struct ProfilerClient {
  Link *link;
  gboolean local;
  pid_t service; /* 0: none was forked */
  char *name;
};

/* ---- reaching it ---- */

G_NORETURN
static void
become_service(int fd)
{
  enum { LINK = 3 };
  g_autofree char *directory = identity_directory();
  g_autofree char *tmp = g_build_filename(directory, "sessions", NULL);
  const AugmenterSession session = {.root = "/", .tmp = tmp, .clone_name = "local", .control_fd = -1};
  const ProfilerHost host = {.bounds = JOB_BOUNDS_DEFAULT};
  /* What the terminal sends is for the user's command, whose end it sees and then cleans up. */
  setpgid(0, 0);
  int null = open("/dev/null", O_RDWR);
  if (fd != LINK)
    dup3(fd, LINK, O_CLOEXEC);
  dup2(null, 0);
  dup2(null, 1);
  syscall(SYS_close_range, LINK + 1, ~0u, 0);
  prctl(PR_SET_NAME, "doppel-profile");
  g_autoptr(Link) link = link_new_local(LINK);
  int status = profiler_service(link, &session, &host);
  g_clear_pointer(&link, link_free);
  _exit(status);
}

static gboolean
open_local(ProfilerClient *client, GError **error)
{
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return doppel_error_errno(error, "making a socket pair");
  fflush(NULL);
  client->service = fork();
  if (client->service == 0)
    become_service(ends[1]);
  close(ends[1]);
  if (client->service < 0) {
    client->service = 0;
    close(ends[0]);
    return doppel_error_errno(error, "starting the local clone");
  }
  client->link = link_new_local(ends[0]);
  return TRUE;
}

static gboolean
open_paired(ProfilerClient *client, GError **error)
{
  g_autoptr(PairedClone) clone = paired_find(client->name, error);
  g_autoptr(IdentityKey) own = clone ? identity_device_key(error) : NULL;
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  if (own)
    client->link =
        link_dial((const char *const *)clone->addresses, own, &clone->key, clone->id, &options, error);
  return client->link != NULL;
}

ProfilerClient *
profiler_client_open(const char *clone, GError **error)
{
  g_autoptr(ProfilerClient) client = g_new0(ProfilerClient, 1);
  client->name = g_strdup(clone ? clone : "local");
  client->local = strcmp(client->name, "local") == 0;
  return (client->local ? open_local(client, error) : open_paired(client, error)) ? g_steal_pointer(&client)
                                                                                  : NULL;
}

void
profiler_client_close(ProfilerClient *client)
{
  g_clear_pointer(&client->link, link_free);
  if (client->service)
    waitpid(client->service, NULL, 0);
  g_free(client->name);
  g_free(client);
}

/* ---- hearing ---- */

static gboolean
unexpected(GError **error)
{
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                          "the clone answered something else than what was asked");
}

/* The clone's refusal is text from outside, and not what has become of this connection. */
static void
take_refusal(const Doppel__Wire__ProfilerRefusal *refusal, GError **error)
{
  DoppelErrorCode code = refusal->code < DOPPEL_ERROR_ABORTED && refusal->code != DOPPEL_ERROR_GONE
                             ? (DoppelErrorCode)refusal->code
                             : DOPPEL_ERROR_FAILED;
  g_autofree char *printable = g_strescape(refusal->reason, "\"");
  doppel_error_set(error, code, "%.1000s", printable);
}

/* The next message that answers what was asked; what is told meanwhile is handed out. */
static ProfilerMessage *
hear(ProfilerClient *client, const ProfilerWatcher *watcher, GError **error)
{
  for (;;) {
    g_autoptr(ProfilerMessage) message = profiler_message_wait(client->link, ANSWER_MS, error);
    if (!message)
      return NULL;
    switch (message->kind_case) {
    case DOPPEL__WIRE__PROFILER_MESSAGE__KIND_PROGRESS:
      if (watcher->progress)
        watcher->progress(message->progress, watcher->user);
      break;
    case DOPPEL__WIRE__PROFILER_MESSAGE__KIND_OUTPUT:
      if (watcher->output)
        watcher->output(message->output->stream, message->output->bytes.data, message->output->bytes.len,
                        watcher->user);
      break;
    case DOPPEL__WIRE__PROFILER_MESSAGE__KIND_REFUSAL:
      take_refusal(message->refusal, error);
      return NULL;
    default:
      return g_steal_pointer(&message);
    }
  }
}

/* ---- a profile ---- */

void
profiler_result_clear(ProfilerResult *result)
{
  g_clear_pointer(&result->alone, profiler_message_free);
  g_clear_pointer(&result->profiled, profiler_message_free);
  g_clear_pointer(&result->graph, profile_graph_free);
}

static void
note_object(GHashTable *objects, const Doppel__Wire__ProfilerObject *said)
{
  ProfileObject *object = g_new0(ProfileObject, 1);
  object->path = g_strndup((const char *)said->path.data, said->path.len);
  object->build_id = *said->build_id ? g_strdup(said->build_id) : NULL;
  object->hash = *said->hash ? g_strdup(said->hash) : NULL;
  object->size = said->size;
  g_hash_table_replace(objects, object->path, object);
}

/* The end of a run of this kind. What the profile's files are in the clone is noted on the way. */
static ProfilerMessage *
hear_end(ProfilerClient *client, ProfilerRunKind kind, GHashTable *objects, const ProfilerWatcher *watcher,
         GError **error)
{
  for (;;) {
    g_autoptr(ProfilerMessage) message = hear(client, watcher, error);
    if (!message)
      return NULL;
    if (message->kind_case == DOPPEL__WIRE__PROFILER_MESSAGE__KIND_RAN && message->ran->run == kind)
      return g_steal_pointer(&message);
    if (message->kind_case != DOPPEL__WIRE__PROFILER_MESSAGE__KIND_OBJECT ||
        g_hash_table_size(objects) >= OBJECTS_MAX) {
      unexpected(error);
      return NULL;
    }
    note_object(objects, message->object);
  }
}

static gboolean
differs(const ProfilerClient *client, const char *path, GError **error)
{
  return doppel_error_set_foreign(error, DOPPEL_ERROR_MISMATCH,
                                  "the clone %s has another %s than this device: bring its files up to date "
                                  "(\"doppel sync --clone %s\") and profile again",
                                  client->name, path, client->name);
}

static gboolean
is_among(GHashTable *objects, const ProfileObject *program)
{
  GHashTableIter iterator;
  gpointer object;
  g_hash_table_iter_init(&iterator, objects);
  while (g_hash_table_iter_next(&iterator, NULL, &object))
    if (profile_object_same(object, program))
      return TRUE;
  return FALSE;
}

/* Addresses of another version of a file would be taken for other functions of this device's. */
static gboolean
check_objects(const ProfilerClient *client, const ProfileObject *program, const ProfileGraph *graph,
              GHashTable *objects, GError **error)
{
  if (!is_among(objects, program))
    return differs(client, program->path, error);
  for (guint i = 0; i < graph->objects->len; i++) {
    const ProfileObject *here = graph->objects->pdata[i];
    const ProfileObject *there = g_hash_table_lookup(objects, here->path);
    if (!there || !profile_object_same(here, there))
      return differs(client, here->path, error);
  }
  return TRUE;
}

static ProfileGraph *
hear_profile(ProfilerClient *client, const ProfilerWatcher *watcher, guint64 *total, GError **error)
{
  g_autoptr(GError) problem = NULL;
  g_autoptr(ProfileCallgrind) callgrind = profile_callgrind_new(profile_file_read, "the profile");
  for (gboolean last = FALSE; !last;) {
    g_autoptr(ProfilerMessage) message = hear(client, watcher, error);
    if (!message)
      return NULL;
    if (message->kind_case != DOPPEL__WIRE__PROFILER_MESSAGE__KIND_BYTES) {
      unexpected(error);
      return NULL;
    }
    const ProtobufCBinaryData *bytes = &message->bytes->bytes;
    last = message->bytes->last;
    *total += bytes->len;
    if (*total > PROFILER_FILE_MAX + PROFILER_PIECE)
      doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the profile does not end");
    if (*total > PROFILER_FILE_MAX + PROFILER_PIECE ||
        !profile_callgrind_feed(callgrind, (const char *)bytes->data, bytes->len, error))
      return NULL;
  }
  return profile_callgrind_end(callgrind, error);
}

gboolean
profiler_client_profile(ProfilerClient *client, const ProfileObject *program, const ProfilerStart *start,
                        const ProfilerWatcher *watcher, ProfilerResult *result, GError **error)
{
  g_autoptr(GHashTable) objects =
      g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)profile_object_free);
  *result = (ProfilerResult){0};
  if (!profiler_message_send(client->link, PROFILER_MESSAGE(START, start, (ProfilerStart *)start), error))
    return FALSE;
  result->alone = hear_end(client, PROFILER_ALONE, objects, watcher, error);
  if (result->alone)
    result->profiled = hear_end(client, PROFILER_VALGRIND, objects, watcher, error);
  if (!result->profiled || !result->profiled->ran->profiled)
    return result->profiled != NULL;
  g_autoptr(ProfileGraph) graph = hear_profile(client, watcher, &result->bytes, error);
  if (!graph || !check_objects(client, program, graph, objects, error))
    return FALSE;
  result->graph = g_steal_pointer(&graph);
  return TRUE;
}

gboolean
profiler_client_observe(ProfilerClient *client, const GPtrArray *texts, guint seconds,
                        const ProfilerWatcher *watcher, ProfilerSeenFunc take, gpointer user, GError **error)
{
  ProtobufCBinaryData functions[PROFILER_FUNCTIONS];
  Doppel__Wire__ProfilerObserve observe = DOPPEL__WIRE__PROFILER_OBSERVE__INIT;
  observe.n_function = MIN(texts->len, PROFILER_FUNCTIONS);
  observe.function = functions;
  observe.seconds = seconds;
  for (gsize i = 0; i < observe.n_function; i++)
    functions[i] = (ProtobufCBinaryData){strlen(texts->pdata[i]), texts->pdata[i]};
  if (!profiler_message_send(client->link, PROFILER_MESSAGE(OBSERVE, observe, &observe), error))
    return FALSE;
  for (guint i = 0; i < observe.n_function; i++) {
    g_autoptr(ProfilerMessage) message = hear(client, watcher, error);
    if (!message)
      return FALSE;
    if (message->kind_case != DOPPEL__WIRE__PROFILER_MESSAGE__KIND_SEEN || message->seen->function != i)
      return unexpected(error);
    take(message->seen, user);
  }
  return TRUE;
}
