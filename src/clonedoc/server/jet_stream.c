#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "clonedoc/server/jet_private.h"

#define NAME_DEFAULT "documents"
#define REPLICAS     3
/* Of entries, headers and the protocol's lines. */
#define PAYLOAD_NEEDED (DOC_ENVELOPE_MAX + 1024)
/* Answers that wait to be read: asked for by this process, and bounded all the same. */
#define PENDING_MESSAGES 65536
#define PENDING_BYTES    (256 << 20)
#define CONNECT_MS       2000
#define PING_MS          2000 /* a member that is silent for two of them is left for another */
#define USELESS_NS       G_GINT64_CONSTANT(4000000000)
#define PAUSE_US         100000

/* ---- addresses ---- */

static gboolean
add_server(JetStream *stream, const char *endpoint, GError **error)
{
  const char *port = strrchr(endpoint, ':');
  guint64 number;
  if (!port || port == endpoint || !g_ascii_string_to_unsigned(port + 1, 10, 1, G_MAXUINT16, &number, NULL) ||
      strspn(endpoint, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS ".-:[]") != strlen(endpoint))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "\"%s\" is no address of a NATS server: HOST:PORT is, as in 10.0.0.1:4222",
                            endpoint);
  g_ptr_array_add(stream->servers, g_strdup_printf("nats://%s", endpoint));
  return TRUE;
}

static gboolean
read_where(JetStream *stream, const char *where, GError **error)
{
  const char *rest = where + strlen("nats://"), *slash = strchr(rest, '/');
  const char *name = slash ? slash + 1 : NAME_DEFAULT;
  if (!name[0] || strlen(name) > 32 ||
      strspn(name, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "-_") != strlen(name))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "\"%s\" is no name of a log in NATS: up to 32 letters, digits, '-' and '_' are: "
                            "nats://HOST:PORT[,HOST:PORT...][/NAME]",
                            name);
  stream->where = g_strdup(where);
  stream->name = g_strdup(name);
  g_autofree char *hosts = slash ? g_strndup(rest, (gsize)(slash - rest)) : g_strdup(rest);
  g_auto(GStrv) endpoints = g_strsplit(hosts, ",", -1);
  for (char **endpoint = endpoints; *endpoint; endpoint++)
    if (!add_server(stream, *endpoint, error))
      return FALSE;
  return stream->servers->len > 0 || doppel_error_set(error, DOPPEL_ERROR_USAGE, "no NATS server is named");
}

/* ---- connection ---- */

static void
disconnect(JetStream *stream)
{
  g_clear_pointer(&stream->answers, natsSubscription_Destroy);
  g_clear_pointer(&stream->inbox, natsInbox_Destroy);
  g_clear_pointer(&stream->context, jsCtx_Destroy);
  g_clear_pointer(&stream->connection, natsConnection_Destroy);
}

static void
ignore_trouble(natsConnection *connection, natsSubscription *subscription, natsStatus status, void *closure)
{
}

static void
count_connection(natsConnection *connection, void *stream)
{
  g_atomic_int_inc(&((JetStream *)stream)->connections);
}

guint
jet_stream_connections(JetStream *stream)
{
  return (guint)g_atomic_int_get(&stream->connections);
}

void
jet_stream_hurry(JetStream *stream)
{
  g_atomic_int_set(&stream->hurries, TRUE);
}

gboolean
jet_stream_hurries(JetStream *stream)
{
  return g_atomic_int_get(&stream->hurries);
}

static natsStatus
set_options(JetStream *stream, natsOptions *options)
{
  natsStatus s =
      natsOptions_SetServers(options, (const char **)stream->servers->pdata, (int)stream->servers->len);
  if (s == NATS_OK)
    s = natsOptions_SetTimeout(options, CONNECT_MS);
  if (s == NATS_OK)
    s = natsOptions_SetPingInterval(options, PING_MS);
  if (s == NATS_OK)
    s = natsOptions_SetMaxPingsOut(options, 2);
  /* Only who was named is asked. */
  if (s == NATS_OK)
    s = natsOptions_SetIgnoreDiscoveredServers(options, true);
  if (s == NATS_OK)
    s = natsOptions_SetMaxReconnect(options, G_MAXINT);
  if (s == NATS_OK)
    s = natsOptions_SetReconnectWait(options, PAUSE_US / 1000);
  if (s == NATS_OK)
    s = natsOptions_SetReconnectJitter(options, PAUSE_US / 1000, PAUSE_US / 1000);
  if (s == NATS_OK)
    s = natsOptions_SetFailRequestsOnDisconnect(options, true);
  if (s == NATS_OK)
    s = natsOptions_SetReconnectedCB(options, count_connection, stream);
  if (s == NATS_OK)
    s = natsOptions_SetErrorHandler(options, ignore_trouble, NULL);
  return s == NATS_OK ? natsOptions_SetName(options, "clonedocd") : s;
}

static natsStatus
listen_for_answers(JetStream *stream)
{
  natsStatus s = natsInbox_Create(&stream->inbox);
  if (s != NATS_OK)
    return s;
  g_autofree char *all = g_strdup_printf("%s.*", stream->inbox);
  s = natsConnection_SubscribeSync(&stream->answers, stream->connection, all);
  return s == NATS_OK ? natsSubscription_SetPendingLimits(stream->answers, PENDING_MESSAGES, PENDING_BYTES)
                      : s;
}

static natsStatus
connect_once(JetStream *stream)
{
  natsOptions *options = NULL;
  natsStatus s = natsOptions_Create(&options);
  if (s == NATS_OK)
    s = set_options(stream, options);
  if (s == NATS_OK)
    s = natsConnection_Connect(&stream->connection, options);
  if (s == NATS_OK)
    s = natsConnection_JetStream(&stream->context, stream->connection, NULL);
  if (s == NATS_OK)
    s = listen_for_answers(stream);
  natsOptions_Destroy(options);
  jet_helped(stream);
  if (s == NATS_OK)
    count_connection(stream->connection, stream);
  else
    disconnect(stream);
  return s;
}

void
jet_helped(JetStream *stream)
{
  stream->helped = clock_now_ns();
}

gboolean
jet_may_go_on(JetStream *stream, gint64 deadline, const char *words, GError **error)
{
  if (clock_left_ms(deadline) == 0 || jet_stream_hurries(stream)) {
    g_autofree char *shown = g_strescape(words ? words : "", NULL);
    return doppel_error_set(
        error, DOPPEL_ERROR_GONE,
        "the log of documents %s does not answer (%s): see whether a majority of its NATS "
        "servers runs",
        stream->where, shown);
  }
  if (clock_now_ns() > stream->helped + USELESS_NS) {
    disconnect(stream);
    jet_helped(stream);
  }
  g_usleep(PAUSE_US);
  return TRUE;
}

gboolean
jet_is_connected(JetStream *stream)
{
  if (stream->connection && natsConnection_IsClosed(stream->connection))
    disconnect(stream);
  if (!stream->connection && connect_once(stream) != NATS_OK)
    return FALSE;
  return natsConnection_Status(stream->connection) == NATS_CONN_STATUS_CONNECTED;
}

const char *
jet_stream_where(const JetStream *stream)
{
  return stream->where;
}

const char *
jet_words(natsStatus status)
{
  const char *last = nats_GetLastError(NULL);
  return last && last[0] ? last : natsStatus_GetText(status);
}

/* ---- the stream ---- */

static gboolean
unfit(const JetStream *stream, const char *what, GError **error)
{
  return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                          "the stream doppel-%s at %s is no log of documents: %s; name another log "
                          "(nats://HOST:PORT/NAME), or set it right with the command nats",
                          stream->name, stream->where, what);
}

/* A stream that somebody else has made might forget, or answer before a majority has a message. */
static gboolean
check_stream(const JetStream *stream, const jsStreamInfo *info, GError **error)
{
  const jsStreamConfig *config = info->Config;
  g_autofree char *subjects = g_strdup_printf("doppel.%s.*", stream->name);
  const struct {
    gboolean wrong;
    const char *what;
  } checks[] = {
      {!config, "it does not say how it is set up"},
      {config && (config->SubjectsLen != 1 || g_strcmp0(config->Subjects[0], subjects) != 0),
       "it has other subjects"},
      {config && config->Storage != js_FileStorage, "it is not stored in files"},
      {config && (config->Retention != js_LimitsPolicy || config->MaxAge > 0 || config->MaxMsgs > 0 ||
                  config->MaxBytes > 0 || config->MaxMsgsPerSubject > 0),
       "it forgets messages"},
      {config && config->MaxMsgSize > 0 && config->MaxMsgSize < PAYLOAD_NEEDED,
       "its messages may not be as large as entries are"},
      {config && (config->NoAck || config->Sealed || config->Mirror || config->SourcesLen > 0),
       "it takes or acknowledges no messages"},
      {config && !config->AllowDirect, "it does not allow direct gets"},
      {config && info->Cluster && info->Cluster->Name && info->Cluster->Name[0] &&
           config->Replicas < REPLICAS,
       "it has fewer than three replicas"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(checks); i++)
    if (checks[i].wrong)
      return unfit(stream, checks[i].what, error);
  return TRUE;
}

static natsStatus
make_stream(JetStream *stream, jsStreamInfo **info, gint64 replicas, jsErrCode *code)
{
  g_autofree char *name = g_strdup_printf("doppel-%s", stream->name);
  g_autofree char *subjects = g_strdup_printf("doppel.%s.*", stream->name);
  const char *list[] = {subjects};
  jsStreamConfig config;
  jsStreamConfig_Init(&config);
  config.Name = name;
  config.Description = "entries of documents, by clonedocd";
  config.Subjects = list;
  config.SubjectsLen = 1;
  config.Storage = js_FileStorage;
  config.Retention = js_LimitsPolicy;
  config.Discard = js_DiscardNew;
  config.Replicas = replicas;
  config.DenyDelete = true;
  config.DenyPurge = true;
  config.AllowDirect = true;
  return js_AddStream(info, stream->context, &config, NULL, code);
}

/* A server that is alone keeps the only copy; a cluster has to have three. */
static natsStatus
find_or_make(JetStream *stream, jsStreamInfo **info, jsErrCode *code)
{
  g_autofree char *name = g_strdup_printf("doppel-%s", stream->name);
  natsStatus s = js_GetStreamInfo(info, stream->context, name, NULL, code);
  if (s != NATS_NOT_FOUND && *code != JSStreamNotFoundErr)
    return s;
  s = make_stream(stream, info, REPLICAS, code);
  return s != NATS_OK && *code == JSStreamReplicasNotSupportedErr ? make_stream(stream, info, 1, code) : s;
}

static gboolean
check_payload(const JetStream *stream, GError **error)
{
  gint64 most = natsConnection_GetMaxPayload(stream->connection);
  return most >= PAYLOAD_NEEDED ||
         doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                          "the NATS server at %s takes messages of %" G_GINT64_FORMAT
                          " bytes, and entries of documents have up to %u: write \"max_payload: 9MB\" into "
                          "the configuration of all its servers",
                          stream->where, most, PAYLOAD_NEEDED);
}

static gboolean
set_up(JetStream *stream, gint64 deadline, GError **error)
{
  for (;;) {
    jsStreamInfo *info = NULL;
    jsErrCode code = 0;
    natsStatus s = jet_is_connected(stream) ? NATS_OK : NATS_NO_SERVER;
    if (s == NATS_OK && !check_payload(stream, error))
      return FALSE;
    if (s == NATS_OK)
      s = find_or_make(stream, &info, &code);
    if (s == NATS_OK) {
      gboolean fit = check_stream(stream, info, error);
      jsStreamInfo_Destroy(info);
      return fit;
    }
    const char *words = jet_words(s);
    if (code == JSNotEnabledErr || code == JSNotEnabledForAccountErr)
      return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                              "the NATS server at %s has no JetStream: write \"jetstream: {store_dir: DIR}\" "
                              "into its configuration",
                              stream->where);
    if (!jet_may_go_on(stream, deadline, words, error))
      return FALSE;
  }
}

JetStream *
jet_stream_open(const char *where, gint64 deadline, GError **error)
{
  g_autoptr(JetStream) stream = g_new0(JetStream, 1);
  stream->servers = g_ptr_array_new_with_free_func(g_free);
  g_queue_init(&stream->waiting);
  if (!read_where(stream, where, error) || !set_up(stream, deadline, error))
    return NULL;
  return g_steal_pointer(&stream);
}

void
jet_stream_free(JetStream *stream)
{
  disconnect(stream);
  jet_stream_forget(stream);
  g_ptr_array_unref(stream->servers);
  g_free(stream->where);
  g_free(stream->name);
  g_free(stream);
}

gboolean
jet_stream_size(JetStream *stream, guint64 *documents, guint64 *bytes, gint64 deadline, GError **error)
{
  g_autofree char *name = g_strdup_printf("doppel-%s", stream->name);
  for (;;) {
    jsStreamInfo *info = NULL;
    natsStatus s = jet_is_connected(stream) ? NATS_OK : NATS_NO_SERVER;
    if (s == NATS_OK)
      s = js_GetStreamInfo(&info, stream->context, name, NULL, NULL);
    if (s == NATS_OK) {
      /* One subject is the marks'. */
      *documents = info->State.NumSubjects > 0 ? (guint64)info->State.NumSubjects - 1 : 0;
      *bytes = info->State.Bytes;
      jsStreamInfo_Destroy(info);
      return TRUE;
    }
    if (!jet_may_go_on(stream, deadline, jet_words(s), error))
      return FALSE;
  }
}
