#include "replicator/bus_object.h"

#define PROPERTIES_INTERFACE "org.freedesktop.DBus.Properties"
#define PROPERTIES_MAX       (1u << 20) /* bytes of an answer; the largest known are a few thousand */
#define BURST_MS             100        /* changes come in bursts, and are asked for once */

struct BusObject {
  grefcount references; /* one for the owner, one for each call under way */
  GDBusConnection *bus;
  char *path, *interface;
  guint answer_ms;
  void (*changed)(gpointer data); /* NULL once the owner has let go */
  gpointer data;

  guint name_watch, subscription;
  char *owner; /* the unique name of who is asked */
  GCancellable *asking;
  GSource *burst; /* until the next question */
  gboolean again; /* there was a change after the question that is under way */
  BusObjectState state;
  GVariant *properties; /* a{sv}, while KNOWN */
};

static void ask(BusObject *object);

static void
release(BusObject *object)
{
  if (!g_ref_count_dec(&object->references))
    return;
  g_object_unref(object->bus);
  g_free(object->path);
  g_free(object->interface);
  g_free(object);
}

static void
set(BusObject *object, BusObjectState state, GVariant *properties)
{
  g_clear_pointer(&object->properties, g_variant_unref);
  object->properties = properties;
  object->state = state;
  if (object->changed)
    object->changed(object->data);
}

/* The dictionary of an answer of type (a{sv}), or NULL. */
static GVariant *
answer_properties(GVariant *answer)
{
  if (!answer || !g_variant_is_of_type(answer, G_VARIANT_TYPE("(a{sv})")) ||
      g_variant_get_size(answer) > PROPERTIES_MAX)
    return NULL;
  return g_variant_get_child_value(answer, 0);
}

static void
answered(GObject *bus, GAsyncResult *result, gpointer data)
{
  BusObject *object = data;
  g_autoptr(GError) problem = NULL;
  g_autoptr(GVariant) answer = g_dbus_connection_call_finish(G_DBUS_CONNECTION(bus), result, &problem);
  if (!g_error_matches(problem, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
    g_clear_object(&object->asking);
    GVariant *properties = answer_properties(answer);
    if (object->again)
      ask(object);
    set(object, properties ? BUS_OBJECT_KNOWN : BUS_OBJECT_SILENT, properties);
  }
  release(object);
}

static void
stop_asking(BusObject *object)
{
  if (object->asking)
    g_cancellable_cancel(object->asking);
  g_clear_object(&object->asking);
  if (object->burst)
    g_source_destroy(object->burst);
  g_clear_pointer(&object->burst, g_source_unref);
  object->again = FALSE;
}

static void
ask(BusObject *object)
{
  stop_asking(object);
  object->asking = g_cancellable_new();
  g_ref_count_inc(&object->references);
  g_dbus_connection_call(object->bus, object->owner, object->path, PROPERTIES_INTERFACE, "GetAll",
                         g_variant_new("(s)", object->interface), NULL, G_DBUS_CALL_FLAGS_NO_AUTO_START,
                         object->answer_ms, object->asking, answered, object);
}

static gboolean
burst_over(gpointer data)
{
  BusObject *object = data;
  g_clear_pointer(&object->burst, g_source_unref);
  if (object->asking)
    object->again = TRUE;
  else
    ask(object);
  return G_SOURCE_REMOVE;
}

/* What the signal says is not looked at: its sender is asked for the whole, which cannot be half a change. A
 * question that is under way may be answered from before the change, so another one follows it; but it is
 * waited for, or else a service that never stops changing would never be known. */
static void
properties_changed(GDBusConnection *bus, const char *sender, const char *path, const char *interface,
                   const char *signal, GVariant *parameters, gpointer data)
{
  BusObject *object = data;
  if (object->burst)
    return;
  object->burst = g_timeout_source_new(BURST_MS);
  g_source_set_callback(object->burst, burst_over, object, NULL);
  g_source_attach(object->burst, g_main_context_get_thread_default());
}

static void
forget_owner(BusObject *object)
{
  stop_asking(object);
  if (object->subscription)
    g_dbus_connection_signal_unsubscribe(object->bus, object->subscription);
  object->subscription = 0;
  g_clear_pointer(&object->owner, g_free);
}

/* Subscribed is to the unique name: GIO before 2.80.1 takes a signal for the well-known name's owner's that
 * anybody sent (CVE-2024-34397). */
static void
appeared(GDBusConnection *bus, const char *name, const char *owner, gpointer data)
{
  BusObject *object = data;
  forget_owner(object);
  object->owner = g_strdup(owner);
  object->subscription = g_dbus_connection_signal_subscribe(
      bus, owner, PROPERTIES_INTERFACE, "PropertiesChanged", object->path, object->interface,
      G_DBUS_SIGNAL_FLAGS_NONE, properties_changed, object, NULL);
  ask(object);
}

static void
vanished(GDBusConnection *bus, const char *name, gpointer data)
{
  BusObject *object = data;
  forget_owner(object);
  set(object, BUS_OBJECT_ABSENT, NULL);
}

BusObject *
bus_object_watch(GDBusConnection *bus, const char *name, const char *path, const char *interface,
                 guint answer_ms, void (*changed)(gpointer data), gpointer data)
{
  BusObject *object = g_new0(BusObject, 1);
  g_ref_count_init(&object->references);
  object->bus = g_object_ref(bus);
  object->path = g_strdup(path);
  object->interface = g_strdup(interface);
  object->answer_ms = answer_ms;
  object->changed = changed;
  object->data = data;
  object->name_watch = g_bus_watch_name_on_connection(bus, name, G_BUS_NAME_WATCHER_FLAGS_NONE, appeared,
                                                      vanished, object, NULL);
  return object;
}

void
bus_object_free(BusObject *object)
{
  if (!object)
    return;
  object->changed = NULL;
  g_bus_unwatch_name(object->name_watch);
  forget_owner(object);
  g_clear_pointer(&object->properties, g_variant_unref);
  release(object);
}

BusObjectState
bus_object_state(const BusObject *object)
{
  return object->state;
}

void
bus_object_retry(BusObject *object)
{
  if (object->state == BUS_OBJECT_SILENT && object->owner && !object->asking)
    ask(object);
}

GVariant *
bus_object_get(const BusObject *object, const char *property, const char *type)
{
  if (!object || !object->properties)
    return NULL;
  return g_variant_lookup_value(object->properties, property, G_VARIANT_TYPE(type));
}

gboolean
bus_object_get_uint(const BusObject *object, const char *property, guint32 *value)
{
  g_autoptr(GVariant) variant = bus_object_get(object, property, "u");
  if (variant)
    *value = g_variant_get_uint32(variant);
  return variant != NULL;
}

gboolean
bus_object_get_boolean(const BusObject *object, const char *property, gboolean *value)
{
  g_autoptr(GVariant) variant = bus_object_get(object, property, "b");
  if (variant)
    *value = g_variant_get_boolean(variant);
  return variant != NULL;
}
