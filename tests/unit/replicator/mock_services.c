#include "mock_services.h"

#include <stdio.h>

static const char introspection[] = "<node><interface name='org.freedesktop.DBus.Properties'>"
                                    "<method name='GetAll'><arg type='s' direction='in'/>"
                                    "<arg type='a{sv}' direction='out'/></method>"
                                    "</interface></node>";

struct MockService {
  GDBusConnection *bus;
  GDBusNodeInfo *info;
  char *name;
  GHashTable *answers;    /* "path interface" → GVariant */
  GHashTable *registered; /* path → number */
  GPtrArray *unanswered;
  gboolean silent;
  guint asked;
};

gboolean
mock_bus_available(void)
{
  g_autofree char *daemon = g_find_program_in_path("dbus-daemon");
  if (!daemon)
    puts("1..0 # SKIP dbus-daemon is not installed (scripts/setup does it)");
  return daemon != NULL;
}

static char *
key_of(const char *path, const char *interface)
{
  return g_strconcat(path, " ", interface, NULL);
}

/* Not through the invocation, which would refuse what is not of the type that it declares. */
static void
answer(MockService *service, GDBusMethodInvocation *invocation, GVariant *value)
{
  g_autoptr(GDBusMessage) reply =
      g_dbus_message_new_method_reply(g_dbus_method_invocation_get_message(invocation));
  g_dbus_message_set_body(reply, g_variant_new_tuple(&value, 1));
  g_assert_true(
      g_dbus_connection_send_message(service->bus, reply, G_DBUS_SEND_MESSAGE_FLAGS_NONE, NULL, NULL));
  g_object_unref(invocation);
}

static void
asked(GDBusConnection *bus, const char *sender, const char *path, const char *interface, const char *method,
      GVariant *parameters, GDBusMethodInvocation *invocation, gpointer data)
{
  MockService *service = data;
  const char *wanted;
  g_variant_get(parameters, "(&s)", &wanted);
  g_autofree char *key = key_of(path, wanted);
  GVariant *value = g_hash_table_lookup(service->answers, key);
  service->asked++;
  if (service->silent)
    g_ptr_array_add(service->unanswered, invocation);
  else if (!value)
    g_dbus_method_invocation_return_dbus_error(invocation, "org.freedesktop.DBus.Error.UnknownInterface",
                                               "no such interface");
  else
    answer(service, invocation, value);
}

MockService *
mock_service_new(const char *address, const char *name)
{
  g_autoptr(GError) error = NULL;
  MockService *service = g_new0(MockService, 1);
  service->bus = g_dbus_connection_new_for_address_sync(
      address, G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT | G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
      NULL, NULL, &error);
  g_assert_no_error(error);
  service->info = g_dbus_node_info_new_for_xml(introspection, &error);
  g_assert_no_error(error);
  service->name = g_strdup(name);
  service->answers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_variant_unref);
  service->registered = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  service->unanswered = g_ptr_array_new_with_free_func(g_object_unref);
  return service;
}

void
mock_service_free(MockService *service)
{
  GHashTableIter each;
  gpointer number;
  g_hash_table_iter_init(&each, service->registered);
  while (g_hash_table_iter_next(&each, NULL, &number)) /* a question that waits in the main loop is not put */
    g_assert_true(g_dbus_connection_unregister_object(service->bus, GPOINTER_TO_UINT(number)));
  g_assert_true(g_dbus_connection_close_sync(service->bus, NULL, NULL));
  g_ptr_array_unref(service->unanswered);
  g_hash_table_unref(service->answers);
  g_hash_table_unref(service->registered);
  g_dbus_node_info_unref(service->info);
  g_object_unref(service->bus);
  g_free(service->name);
  g_free(service);
}

void
mock_service_set(MockService *service, const char *path, const char *interface, const char *text)
{
  static const GDBusInterfaceVTable table = {.method_call = asked};
  g_autoptr(GError) error = NULL;
  GVariant *value = g_variant_parse(NULL, text, NULL, NULL, &error);
  g_assert_no_error(error);
  g_hash_table_insert(service->answers, key_of(path, interface), value);
  if (g_hash_table_contains(service->registered, path))
    return;
  guint number = g_dbus_connection_register_object(service->bus, path, service->info->interfaces[0], &table,
                                                   service, NULL, &error);
  g_assert_no_error(error);
  g_hash_table_insert(service->registered, g_strdup(path), GUINT_TO_POINTER(number));
}

void
mock_service_signal(MockService *service, const char *path, const char *interface)
{
  g_autoptr(GError) error = NULL;
  g_dbus_connection_emit_signal(service->bus, NULL, path, "org.freedesktop.DBus.Properties",
                                "PropertiesChanged", g_variant_new("(sa{sv}as)", interface, NULL, NULL),
                                &error);
  g_assert_no_error(error);
}

static void
call_bus(MockService *service, const char *method, GVariant *parameters)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GVariant) reply = g_dbus_connection_call_sync(
      service->bus, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", method,
      parameters, G_VARIANT_TYPE("(u)"), G_DBUS_CALL_FLAGS_NONE, 60000, NULL, &error);
  g_assert_no_error(error);
  guint32 result;
  g_variant_get(reply, "(u)", &result);
  g_assert_cmpuint(result, ==, 1);
}

void
mock_service_own(MockService *service)
{
  call_bus(service, "RequestName", g_variant_new("(su)", service->name, 4)); /* no queueing */
}

void
mock_service_disown(MockService *service)
{
  call_bus(service, "ReleaseName", g_variant_new("(s)", service->name));
}

void
mock_service_silence(MockService *service, gboolean silent)
{
  service->silent = silent;
}

guint
mock_service_asked(const MockService *service)
{
  return service->asked;
}
