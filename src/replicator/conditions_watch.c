#include "replicator/conditions_watch.h"

#include "replicator/conditions_sources.h"

#define ANSWER_MS 1000
#define POLL_MS   60000

enum { OBJECT_MANAGER, OBJECT_UPOWER, OBJECT_DISPLAY, OBJECTS };

static const struct {
  const char *name, *path, *interface;
} objects[OBJECTS] = {
    {NETWORK_MANAGER_NAME, NETWORK_MANAGER_PATH, NETWORK_MANAGER_INTERFACE},
    {UPOWER_NAME, UPOWER_PATH, UPOWER_INTERFACE},
    {UPOWER_NAME, UPOWER_DISPLAY_PATH, UPOWER_DEVICE_INTERFACE},
};

struct ConditionsWatch {
  grefcount references; /* one for the owner, one for a connection that is being made */
  char *address, *sys;
  guint answer_ms, poll_ms;
  Conditions configured;
  void (*changed)(gpointer data); /* NULL once the owner has let go */
  gpointer data;

  GDBusConnection *bus;
  GCancellable *connecting;
  BusObject *objects[OBJECTS];
  GSource *deadline, *poll;
  gboolean settled; /* the first answers are in, or have been given up */
  Conditions told;  /* what changed() was last called for */
};

static void
release(ConditionsWatch *watch)
{
  if (!g_ref_count_dec(&watch->references))
    return;
  g_free(watch->address);
  g_free(watch->sys);
  g_free(watch);
}

Conditions
conditions_watch_get(ConditionsWatch *watch)
{
  Conditions conditions = watch->configured;
  conditions_from_network_manager(&conditions, watch->objects[OBJECT_MANAGER]);
  conditions_from_upower(&conditions, watch->objects[OBJECT_UPOWER], watch->objects[OBJECT_DISPLAY]);
  conditions_from_power_supply(&conditions, watch->sys);
  conditions_from_net(&conditions, watch->sys);
  return conditions;
}

static gboolean
all_answered(ConditionsWatch *watch)
{
  for (guint i = 0; i < OBJECTS; i++)
    if (watch->objects[i] && bus_object_state(watch->objects[i]) == BUS_OBJECT_ASKED)
      return FALSE;
  return !watch->connecting;
}

static gboolean poll_again(gpointer data);

static GSource *
timer(guint interval_ms, GSourceFunc call, ConditionsWatch *watch)
{
  GSource *source = g_timeout_source_new(interval_ms);
  g_source_set_callback(source, call, watch, NULL);
  g_source_attach(source, g_main_context_get_thread_default());
  return source;
}

static void
stop_timer(GSource **source)
{
  if (*source)
    g_source_destroy(*source);
  g_clear_pointer(source, g_source_unref);
}

/* Whether anything could change without a signal. */
static gboolean
needs_poll(ConditionsWatch *watch)
{
  for (guint i = 0; i < OBJECTS; i++)
    if (!watch->objects[i] || bus_object_state(watch->objects[i]) == BUS_OBJECT_SILENT)
      return TRUE;
  for (guint i = 0; i < CONDITIONS_COUNT; i++)
    if (watch->told.facts[i].source == CONDITIONS_POWER_SUPPLY ||
        watch->told.facts[i].source == CONDITIONS_NET)
      return TRUE;
  return FALSE;
}

static void
set_told(ConditionsWatch *watch, const Conditions *now)
{
  watch->told = *now;
  if (!needs_poll(watch))
    stop_timer(&watch->poll);
  else if (!watch->poll)
    watch->poll = timer(watch->poll_ms, poll_again, watch);
}

/* Calls changed() where there is something to tell. The owner may let go of the watch in it. */
static void
tell(ConditionsWatch *watch)
{
  gboolean first = !watch->settled;
  if (first && !all_answered(watch))
    return;
  watch->settled = TRUE;
  Conditions now = conditions_watch_get(watch);
  gboolean same = !first && conditions_equal(&now, &watch->told);
  set_told(watch, &now);
  if (!same && watch->changed)
    watch->changed(watch->data);
}

static void
object_changed(gpointer data)
{
  tell(data);
}

static void connection_closed(GDBusConnection *bus, gboolean remote, GError *problem, gpointer data);

static void
disconnect(ConditionsWatch *watch)
{
  for (guint i = 0; i < OBJECTS; i++)
    g_clear_pointer(&watch->objects[i], bus_object_free);
  if (!watch->bus)
    return;
  g_signal_handlers_disconnect_by_func(watch->bus, connection_closed, watch);
  g_dbus_connection_close(watch->bus, NULL, NULL, NULL);
  g_clear_object(&watch->bus);
}

static void
connection_closed(GDBusConnection *bus, gboolean remote, GError *problem, gpointer data)
{
  ConditionsWatch *watch = data;
  disconnect(watch);
  tell(watch);
}

static void
connected(GObject *source, GAsyncResult *result, gpointer data)
{
  ConditionsWatch *watch = data;
  g_autoptr(GError) problem = NULL;
  GDBusConnection *bus = g_dbus_connection_new_for_address_finish(result, &problem);
  if (!g_error_matches(problem, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
    g_clear_object(&watch->connecting);
    watch->bus = bus;
    if (bus)
      g_signal_connect(bus, "closed", G_CALLBACK(connection_closed), watch);
    for (guint i = 0; bus && i < OBJECTS; i++)
      watch->objects[i] = bus_object_watch(bus, objects[i].name, objects[i].path, objects[i].interface,
                                           watch->answer_ms, object_changed, watch);
    tell(watch);
  }
  release(watch);
}

static void
stop_connecting(ConditionsWatch *watch)
{
  if (watch->connecting)
    g_cancellable_cancel(watch->connecting);
  g_clear_object(&watch->connecting);
}

/* A bus that has not let us in by now has none of its services known, whatever it does later. */
static gboolean
waited_enough(gpointer data)
{
  ConditionsWatch *watch = data;
  stop_timer(&watch->deadline);
  stop_connecting(watch);
  if (!watch->settled) {
    watch->settled = TRUE;
    Conditions now = conditions_watch_get(watch);
    set_told(watch, &now);
    if (watch->changed)
      watch->changed(watch->data);
  }
  return G_SOURCE_REMOVE;
}

/* A connection of its own: the process's shared one could not be waited for with a bound. */
static void
connect_bus(ConditionsWatch *watch)
{
  g_autofree char *system =
      watch->address ? NULL : g_dbus_address_get_for_bus_sync(G_BUS_TYPE_SYSTEM, NULL, NULL);
  const char *address = watch->address ? watch->address : system;
  if (!address)
    return;
  watch->connecting = g_cancellable_new();
  g_ref_count_inc(&watch->references);
  g_dbus_connection_new_for_address(
      address, G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT | G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
      NULL, watch->connecting, connected, watch);
  stop_timer(&watch->deadline);
  watch->deadline = timer(watch->answer_ms, waited_enough, watch);
}

static gboolean
poll_again(gpointer data)
{
  ConditionsWatch *watch = data;
  if (!watch->bus && !watch->connecting)
    connect_bus(watch);
  for (guint i = 0; i < OBJECTS; i++)
    if (watch->objects[i])
      bus_object_retry(watch->objects[i]);
  tell(watch);
  return G_SOURCE_CONTINUE;
}

ConditionsWatch *
conditions_watch_new(const ConditionsPlaces *places, void (*changed)(gpointer data), gpointer data)
{
  ConditionsWatch *watch = g_new0(ConditionsWatch, 1);
  g_ref_count_init(&watch->references);
  watch->address = g_strdup(places->bus);
  watch->sys = g_strdup(places->sys ? places->sys : "/sys");
  watch->answer_ms = places->answer_ms ? places->answer_ms : ANSWER_MS;
  watch->poll_ms = places->poll_ms ? places->poll_ms : POLL_MS;
  watch->configured = places->configured;
  watch->changed = changed;
  watch->data = data;
  connect_bus(watch);
  if (!watch->deadline)
    watch->deadline = timer(0, waited_enough, watch);
  return watch;
}

void
conditions_watch_free(ConditionsWatch *watch)
{
  if (!watch)
    return;
  watch->changed = NULL;
  stop_timer(&watch->deadline);
  stop_timer(&watch->poll);
  stop_connecting(watch);
  disconnect(watch);
  release(watch);
}

static void
note(gpointer data)
{
  *(gboolean *)data = TRUE;
}

Conditions
conditions_once(const ConditionsPlaces *places)
{
  g_autoptr(GMainContext) context = g_main_context_new();
  g_main_context_push_thread_default(context);
  gboolean told = FALSE;
  ConditionsWatch *watch = conditions_watch_new(places, note, &told);
  while (!told)
    g_main_context_iteration(context, TRUE);
  Conditions conditions = watch->told;

  /* What was called off still comes back to be let go: a connection from its thread, calls at once. */
  g_ref_count_inc(&watch->references);
  conditions_watch_free(watch);
  while (!g_ref_count_compare(&watch->references, 1))
    g_main_context_iteration(context, TRUE);
  release(watch);
  while (g_main_context_iteration(context, FALSE))
    ;
  g_main_context_pop_thread_default(context);
  return conditions;
}
