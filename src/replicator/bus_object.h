/* The properties of one interface of an object on a D-Bus, kept current (org.freedesktop.DBus.Properties).
 *
 * A service may be absent, come, go, be slow, say nothing, or say nonsense: all of this is ordinary. Nobody
 * is waited for longer than was asked for, no service is started by being asked, and signals count only when
 * they come from the connection that owns the service's name. */
#pragma once

#include <gio/gio.h>

typedef struct BusObject BusObject;

typedef enum {
  BUS_OBJECT_ASKED,  /* neither known to be absent nor answered yet */
  BUS_OBJECT_ABSENT, /* nobody owns the name */
  BUS_OBJECT_SILENT, /* somebody does, and has not answered in time or not as the specification says */
  BUS_OBJECT_KNOWN,
} BusObjectState;

/* `changed(data)` is called, in the thread-default main context of now, when state or properties may have
 * changed. answer_ms bounds the wait for an answer. */
BusObject *bus_object_watch(GDBusConnection *bus, const char *name, const char *path, const char *interface,
                            guint answer_ms, void (*changed)(gpointer data), gpointer data);

/* No call of changed() comes after this. */
void bus_object_free(BusObject *object);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BusObject, bus_object_free)

BusObjectState bus_object_state(const BusObject *object);

/* Asks a service that was silent once more. */
void bus_object_retry(BusObject *object);

/* The property, or NULL where it is not known or of another type. */
GVariant *bus_object_get(const BusObject *object, const char *property, const char *type);

/* The same for two common types: FALSE where there is none. */
gboolean bus_object_get_uint(const BusObject *object, const char *property, guint32 *value);
gboolean bus_object_get_boolean(const BusObject *object, const char *property, gboolean *value);
