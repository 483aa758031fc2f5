#include "c2c/gateway_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/io.h"

enum { LOOK_MS = 5000, AWAY_MS = 1000, REST_MS = 60000 };

static gboolean look(void *data);

/* Between two looks: a link may get lost; where there is none, and no end to come, there is little to see. */
static guint
look_ms(const Gateway *gateway)
{
  int idle_s = gateway->config->idle_s;
  if (idle_s)
    return MIN(LOOK_MS, MIN(idle_s, LOOK_MS) * 1000);
  return gateway->mux ? LOOK_MS : REST_MS;
}

static void
look_in(Gateway *gateway, guint ms)
{
  if (gateway->ticking)
    g_source_destroy(gateway->ticking);
  g_clear_pointer(&gateway->ticking, g_source_unref);
  gateway->ticking = g_timeout_source_new(ms);
  g_source_set_callback(gateway->ticking, look, gateway, NULL);
  g_source_attach(gateway->ticking, gateway->context);
}

/* ---- the link ---- */

static gboolean
is_time(void *mux)
{
  return G_SOURCE_REMOVE;
}

/* Every stream has been reset; whoever waited for one was told. The mux is freed when it has returned to the
 * loop, or the loop has ended. */
static void
on_gone(Mux *mux, const GError *error, void *data)
{
  Gateway *gateway = data;
  GSource *later = g_idle_source_new();
  g_source_set_callback(later, is_time, mux, (GDestroyNotify)mux_free);
  g_source_attach(later, gateway->context);
  g_source_unref(later);
  g_source_destroy(gateway->source);
  g_clear_pointer(&gateway->source, g_source_unref);
  gateway->mux = NULL;
  gateway_offer_again(gateway);
}

static void
on_open(Mux *mux, MuxStream *stream, const char *user, const char *service, void *data)
{
  if (!*user && g_str_has_prefix(service, LOCAL_INCOMING))
    gateway_incoming(data, stream, service + strlen(LOCAL_INCOMING));
  else
    mux_refuse(stream, DOPPEL__WIRE__C2C_REFUSAL__C2C_NO_SERVICE, "a device serves nothing of its own");
}

/* The user has another clone now: what goes on with the first one ends. Not to be called by callbacks of the
 * mux. */
static void
leave(Gateway *gateway)
{
  Mux *mux = g_steal_pointer(&gateway->mux);
  g_source_destroy(gateway->source);
  g_clear_pointer(&gateway->source, g_source_unref);
  mux_free(mux);
  gateway_offer_again(gateway);
}

Mux *
gateway_mux(Gateway *gateway, GError **error)
{
  static const MuxCallbacks callbacks = {.open = on_open};
  if (gateway->mux && gateway->config->is_own &&
      !gateway->config->is_own(mux_link(gateway->mux), gateway->config->data))
    leave(gateway);
  if (gateway->mux)
    return gateway->mux;
  Link *link = gateway->config->dial(gateway->config->data, error);
  if (!link)
    return NULL;
  gateway->mux = mux_new(link, TRUE, &callbacks, gateway);
  gateway->source = mux_source_new(gateway->mux, on_gone, gateway);
  g_source_attach(gateway->source, gateway->context);
  if (gateway->ticking)
    look_in(gateway, look_ms(gateway));
  return gateway->mux;
}

gboolean
gateway_pair(int ends[2], GError **error)
{
  return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0 ||
         doppel_error_errno(error, "the gateway cannot make a stream");
}

/* ---- the programs ---- */

void
gateway_refuse(LocalCall *call, const GError *error)
{
  local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_AWAY, error->message);
}

static void
on_dial(LocalCall *call, const char *user, const char *service, void *data)
{
  gateway_dial(data, call, user, service);
}

static void
on_listen(LocalCall *call, const char *service, void *data)
{
  gateway_listen(data, call, service);
}

static void
on_control(LocalCall *call, const char *verb, const guint8 *body, gsize length, void *data)
{
  gateway_control(data, call, verb, body, length);
}

static void
on_program_gone(LocalCall *call, void *data)
{
  GatewayCall *what = local_call_get(call);
  what->call = NULL;
  what->gone(what);
}

/* ---- its life ---- */

static gboolean
look(void *data)
{
  Gateway *gateway = data;
  gint64 now = g_get_monotonic_time();
  if (local_server_clients(gateway->server) > 0 || (gateway->mux && mux_streams(gateway->mux) > 0))
    gateway->used = now;
  gint64 most = (gint64)gateway->config->idle_s * G_USEC_PER_SEC;
  gboolean idle = most > 0 && now - gateway->used >= most;
  if (idle || !local_server_is_reachable(gateway->server))
    g_main_loop_quit(gateway->loop);
  gboolean away = gateway_follow(gateway);
  look_in(gateway, away ? MIN(AWAY_MS, look_ms(gateway)) : look_ms(gateway));
  return G_SOURCE_REMOVE;
}

static gboolean
take_lock(const GatewayConfig *config, Fd *lock, GError **error)
{
  g_autofree char *path = g_strconcat(config->socket, ".lock", NULL),
                  *directory = g_path_get_dirname(config->socket);
  g_mkdir_with_parents(directory, 0700);
  *lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (*lock < 0)
    return doppel_error_errno(error, "the gateway's lock %s cannot be made", path);
  if (flock(*lock, LOCK_EX | LOCK_NB) == 0)
    return TRUE;
  return doppel_error_set(error, DOPPEL_ERROR_GONE, "a gateway of this user's runs already, at %s",
                          config->socket);
}

static void
run_loop(Gateway *gateway)
{
  gateway->used = g_get_monotonic_time();
  look(gateway);
  if (gateway->config->ready)
    gateway->config->ready(gateway->config->data);
  g_main_loop_run(gateway->loop);
  g_source_destroy(gateway->ticking);
  g_clear_pointer(&gateway->ticking, g_source_unref);
}

static void
gateway_clear(Gateway *gateway)
{
  local_server_free(gateway->server);
  gateway_follow_end(gateway);
  if (gateway->retry) {
    g_source_destroy(gateway->retry);
    g_source_unref(gateway->retry);
  }
  if (gateway->source) {
    g_source_destroy(gateway->source);
    g_source_unref(gateway->source);
  }
  mux_free(gateway->mux);
  g_main_loop_unref(gateway->loop);
  g_main_context_unref(gateway->context);
  g_ptr_array_unref(gateway->offers);
}

gboolean
gateway_run(const GatewayConfig *config, GError **error)
{
  static const LocalCallbacks callbacks = {on_dial, on_listen, on_control, on_program_gone};
  g_auto(Fd) lock = -1;
  if (!take_lock(config, &lock, error))
    return FALSE;
  Gateway gateway = {.config = config, .context = g_main_context_new(), .offers = g_ptr_array_new()};
  gateway.loop = g_main_loop_new(gateway.context, FALSE);
  gateway.server = local_server_new(config->socket, gateway.context, &callbacks, &gateway, error);
  gboolean good = gateway.server != NULL;
  if (good)
    run_loop(&gateway);
  gateway_clear(&gateway);
  return good;
}
