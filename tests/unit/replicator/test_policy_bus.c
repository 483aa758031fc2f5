/* From what NetworkManager and UPower say on a bus to decisions and their explanations, while it changes. */
#include "mock_services.h"
#include "replicator/conditions_sources.h"
#include "replicator/conditions_watch.h"
#include "replicator/policy.h"
#include "situation.h"
#include "sysfs_rig.h"

#define PATIENCE (60 * G_USEC_PER_SEC)

typedef struct {
  GTestDBus *daemon;
  char *sys;
  MockService *manager, *upower;
  ConditionsWatch *watch;
  PolicyConfig config;
  PolicySituation situation;
  char *explained; /* the newest decision: made anew whenever the watch tells of a change */
} World;

static void
decide(gpointer data)
{
  World *world = data;
  world->situation.conditions = conditions_watch_get(world->watch);
  g_autoptr(PolicyDecision) coarse = policy_decide(&world->config, &world->situation, POLICY_COARSE);
  g_autoptr(PolicyDecision) other = policy_decide(&world->config, &world->situation, POLICY_OPPORTUNISTIC);
  g_autofree char *first = policy_explain(coarse);
  g_autofree char *second = policy_explain(other);
  g_free(world->explained);
  world->explained = g_strconcat(first, second, NULL);
}

static gboolean
tick(gpointer unused)
{
  return G_SOURCE_CONTINUE;
}

static void
expect(World *world, const char *explanation)
{
  guint source = g_timeout_add(20, tick, NULL);
  for (gint64 end = g_get_monotonic_time() + PATIENCE;
       g_strcmp0(world->explained, explanation) != 0 && g_get_monotonic_time() < end;)
    g_main_context_iteration(NULL, TRUE);
  g_source_remove(source);
  g_assert_cmpstr(world->explained, ==, explanation);
}

static void
say_link(World *world, const char *properties)
{
  mock_service_set(world->manager, NETWORK_MANAGER_PATH, NETWORK_MANAGER_INTERFACE, properties);
  mock_service_signal(world->manager, NETWORK_MANAGER_PATH, NETWORK_MANAGER_INTERFACE);
}

static void
say_power(World *world, const char *daemon, const char *display)
{
  mock_service_set(world->upower, UPOWER_PATH, UPOWER_INTERFACE, daemon);
  mock_service_set(world->upower, UPOWER_DISPLAY_PATH, UPOWER_DEVICE_INTERFACE, display);
  mock_service_signal(world->upower, UPOWER_PATH, UPOWER_INTERFACE);
  mock_service_signal(world->upower, UPOWER_DISPLAY_PATH, UPOWER_DEVICE_INTERFACE);
}

#define WIFI                                                                                                 \
  "{'Metered': <uint32 4>, 'PrimaryConnectionType': <'802-11-wireless'>, 'Connectivity': <uint32 4>}"
#define HOTSPOT                                                                                              \
  "{'Metered': <uint32 3>, 'PrimaryConnectionType': <'802-11-wireless'>, 'Connectivity': <uint32 4>}"
#define MOBILE "{'Metered': <uint32 1>, 'PrimaryConnectionType': <'gsm'>, 'Connectivity': <uint32 4>}"
#define PORTAL                                                                                               \
  "{'Metered': <uint32 4>, 'PrimaryConnectionType': <'802-11-wireless'>, 'Connectivity': <uint32 2>}"
#define MAINS    "{'OnBattery': <false>}"
#define BATTERY  "{'OnBattery': <true>}"
#define CHARGING "{'Type': <uint32 2>, 'IsPresent': <true>, 'State': <uint32 1>, 'Percentage': <63.0>}"
#define DRAINING "{'Type': <uint32 2>, 'IsPresent': <true>, 'State': <uint32 2>, 'Percentage': <62.0>}"
#define EMPTY    "{'Type': <uint32 2>, 'IsPresent': <true>, 'State': <uint32 2>, 'Percentage': <9.0>}"

static void
set_up(World *world, gconstpointer unused)
{
  world->daemon = g_test_dbus_new(G_TEST_DBUS_NONE);
  g_test_dbus_up(world->daemon);
  world->sys = sysfs_rig_new();
  const char *address = g_test_dbus_get_bus_address(world->daemon);
  world->manager = mock_service_new(address, NETWORK_MANAGER_NAME);
  world->upower = mock_service_new(address, UPOWER_NAME);
  policy_config_default(&world->config);
  situation_set(&world->situation, "time=23:00 bytes=30M");
  say_link(world, WIFI);
  say_power(world, MAINS, CHARGING);
  mock_service_own(world->manager);
  mock_service_own(world->upower);
  ConditionsPlaces places = {.bus = address, .sys = world->sys, .answer_ms = 60000, .poll_ms = 3600000};
  world->watch = conditions_watch_new(&places, decide, world);
}

static void
tear_down(World *world, gconstpointer unused)
{
  conditions_watch_free(world->watch);
  g_clear_pointer(&world->manager, mock_service_free);
  g_clear_pointer(&world->upower, mock_service_free);
  g_test_dbus_down(world->daemon);
  g_object_unref(world->daemon);
  sysfs_rig_free(world->sys);
  g_free(world->explained);
}

#define LINE(rule, what, text) "  " rule "  " what "  " text "\n"
#define BEGIN                                                                                                \
  LINE("automatic", "holds", "switched on")                                                                  \
  LINE("pending  ", "holds", "3 changed, 30 MB")                                                             \
  LINE("interval ", "holds", "the last generation is 5 h old")
#define LET_IN                                                                                               \
  LINE("log-in   ", "holds", "the network lets everything through, as far as is known")                      \
  LINE("failures ", "holds", "no attempt has failed")
#define NIGHT LINE("hours    ", "holds", "it is between 22:00 and 06:00 ([opportunistic] hours)")

#define ALL_GOOD                                                                                             \
  "coarse: now\n" BEGIN LINE("link     ", "holds", "wifi (NetworkManager)")                                  \
      LET_IN LINE("metered  ", "holds", "not metered (NetworkManager)")                                      \
          LINE("battery  ", "holds", "external power (UPower)") "opportunistic: now\n" BEGIN LINE(           \
              "link     ", "holds", "wifi (NetworkManager)")                                                 \
              LET_IN LINE("metered  ", "holds", "not metered (NetworkManager)")                              \
                  LINE("charging ", "holds", "external power (UPower)") NIGHT

#define TOO_MUCH                                                                                             \
  "metered (NetworkManager): 30 MB is more than the 5 MB that may cross it ([sync] metered-limit)"
#define NO_OPPORTUNITY "mobile (NetworkManager) is not among the links to wait for ([opportunistic] links)"

static void
test_metered(World *world, gconstpointer unused)
{
  expect(world, ALL_GOOD);
  say_link(world, MOBILE);
  expect(world,
         "coarse: waits: " TOO_MUCH "\n" BEGIN LINE("link     ", "holds", "mobile (NetworkManager)")
             LET_IN LINE("metered  ", "waits", TOO_MUCH) LINE(
                 "battery  ", "holds",
                 "external power (UPower)") "opportunistic: waits: " NO_OPPORTUNITY
                                            "; metered (NetworkManager)\n" BEGIN LINE("link     ", "waits",
                                                                                      NO_OPPORTUNITY)
                                                LET_IN LINE("metered  ", "waits", "metered (NetworkManager)")
                                                    LINE("charging ", "holds", "external power (UPower)")
                                                        NIGHT);
  say_link(world, HOTSPOT);
  expect(world,
         "coarse: waits: " TOO_MUCH "\n" BEGIN LINE("link     ", "holds", "wifi (NetworkManager)")
             LET_IN LINE("metered  ", "waits", TOO_MUCH)
                 LINE("battery  ", "holds",
                      "external power (UPower)") "opportunistic: waits: metered (NetworkManager)\n" BEGIN
                     LINE("link     ", "holds", "wifi (NetworkManager)")
                         LET_IN LINE("metered  ", "waits", "metered (NetworkManager)")
                             LINE("charging ", "holds", "external power (UPower)") NIGHT);
  say_link(world, WIFI);
  expect(world, ALL_GOOD);
}

#define TOO_EMPTY "on battery, of which 9 % (UPower) is left: less than 20 % ([sync] battery-minimum)"

static void
test_battery(World *world, gconstpointer unused)
{
  expect(world, ALL_GOOD);
  say_power(world, BATTERY, DRAINING);
  expect(
      world,
      "coarse: now\n" BEGIN LINE("link     ", "holds", "wifi (NetworkManager)")
          LET_IN LINE("metered  ", "holds", "not metered (NetworkManager)") LINE(
              "battery  ", "holds",
              "on battery (UPower), but there is enough") "opportunistic: waits: on battery (UPower)\n" BEGIN
              LINE("link     ", "holds", "wifi (NetworkManager)")
                  LET_IN LINE("metered  ", "holds", "not metered (NetworkManager)")
                      LINE("charging ", "waits", "on battery (UPower)") NIGHT);
  say_power(world, BATTERY, EMPTY);
  expect(
      world,
      "coarse: waits: " TOO_EMPTY "\n" BEGIN LINE("link     ", "holds", "wifi (NetworkManager)")
          LET_IN LINE("metered  ", "holds", "not metered (NetworkManager)")
              LINE("battery  ", "waits", TOO_EMPTY) "opportunistic: waits: on battery (UPower)\n" BEGIN LINE(
                  "link     ", "holds", "wifi (NetworkManager)")
                  LET_IN LINE("metered  ", "holds", "not metered (NetworkManager)")
                      LINE("charging ", "waits", "on battery (UPower)") NIGHT);
  say_power(world, MAINS, CHARGING);
  expect(world, ALL_GOOD);
}

#define LOG_IN "the network waits for somebody to log in (NetworkManager)"

static void
test_portal(World *world, gconstpointer unused)
{
  expect(world, ALL_GOOD);
  say_link(world, PORTAL);
  expect(world, "coarse: waits: " LOG_IN "\n" BEGIN LINE("link     ", "holds", "wifi (NetworkManager)")
                    LINE("log-in   ", "waits", LOG_IN) LINE("failures ", "holds", "no attempt has failed")
                        LINE("metered  ", "holds", "not metered (NetworkManager)")
                            LINE("battery  ", "holds",
                                 "external power (UPower)") "opportunistic: waits: " LOG_IN "\n" BEGIN
                                LINE("link     ", "holds", "wifi (NetworkManager)")
                                    LINE("log-in   ", "waits", LOG_IN)
                                        LINE("failures ", "holds", "no attempt has failed")
                                            LINE("metered  ", "holds", "not metered (NetworkManager)")
                                                LINE("charging ", "holds", "external power (UPower)") NIGHT);
}

#define NO_POWER "nothing tells about battery or external power ([conditions] power can)"
#define NO_LINK  "nothing tells what the link is ([conditions] link can)"

/* Nothing is known any more, and nothing comes instead: the coarse level goes on, the other waits for good
 * news. */
static void
test_services_vanish(World *world, gconstpointer unused)
{
  expect(world, ALL_GOOD);
  g_clear_pointer(&world->manager, mock_service_free);
  g_clear_pointer(&world->upower, mock_service_free);
  expect(
      world,
      "coarse: now\n" BEGIN LINE("link     ", "holds", "nothing tells whether there is a network")
          LET_IN LINE("metered  ", "holds", "nothing says that it is metered") LINE(
              "battery  ", "holds",
              "nothing tells about battery or external power") "opportunistic: waits: " NO_LINK "; " NO_POWER
                                                               "\n" BEGIN LINE("link     ", "waits", NO_LINK)
                                                                   LET_IN LINE(
                                                                       "metered  ", "holds",
                                                                       "nothing says that it is metered")
                                                                       LINE("charging ", "waits", NO_POWER)
                                                                           NIGHT);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  if (!mock_bus_available())
    return 0;
  g_test_add("/policy/bus/metered", World, NULL, set_up, test_metered, tear_down);
  g_test_add("/policy/bus/battery", World, NULL, set_up, test_battery, tear_down);
  g_test_add("/policy/bus/portal", World, NULL, set_up, test_portal, tear_down);
  g_test_add("/policy/bus/services-vanish", World, NULL, set_up, test_services_vanish, tear_down);
  return g_test_run();
}
