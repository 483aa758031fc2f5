/* What NetworkManager and UPower tell, on a bus with mocks of both. */
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "conditions_text.h"
#include "mock_services.h"
#include "replicator/conditions_sources.h"
#include "replicator/conditions_watch.h"
#include "sysfs_rig.h"

#define NM        "(NetworkManager)"
#define UP        "(UPower)"
#define PATIENCE  (60 * G_USEC_PER_SEC) /* of the test itself; what is bounded is measured */
#define ANSWER_MS 400
#define BOUNDED   (20 * G_USEC_PER_SEC) /* sooner than D-Bus gives up by itself */

/* What the kernel's files say in these tests: other than the services in everything. */
#define SYSFS                                                                                                \
  "class/net/eth0/type=1 class/net/eth0/operstate=up class/net/eth0/device/ "                                \
  "class/power_supply/BAT0/type=Battery class/power_supply/BAT0/status=Charging "                            \
  "class/power_supply/BAT0/capacity=11"
#define SYSFS_LINE                                                                                           \
  "link ethernet (/sys/class/net), on battery no (/sys/class/power_supply), "                                \
  "charging yes (/sys/class/power_supply), battery level 11 % (/sys/class/power_supply)"

typedef struct {
  GTestDBus *daemon;
  char *sys;
  MockService *manager, *upower;
  ConditionsPlaces places;
  ConditionsWatch *watch;
  guint told;
  int once; /* conditions_once() has returned, in another thread */
} World;

static void
note(gpointer data)
{
  ((World *)data)->told++;
}

static void
set_up(World *world, gconstpointer unused)
{
  world->daemon = g_test_dbus_new(G_TEST_DBUS_NONE);
  g_test_dbus_up(world->daemon);
  world->sys = sysfs_rig_new();
  sysfs_rig_put(world->sys, SYSFS);
  const char *address = g_test_dbus_get_bus_address(world->daemon);
  world->manager = mock_service_new(address, NETWORK_MANAGER_NAME);
  world->upower = mock_service_new(address, UPOWER_NAME);
  world->places =
      (ConditionsPlaces){.bus = address, .sys = world->sys, .answer_ms = 60000, .poll_ms = 3600000};
}

static void
stop_daemon(World *world)
{
  if (world->daemon)
    g_test_dbus_down(world->daemon);
  g_clear_object(&world->daemon);
}

static void
tear_down(World *world, gconstpointer unused)
{
  conditions_watch_free(world->watch);
  g_clear_pointer(&world->manager, mock_service_free);
  g_clear_pointer(&world->upower, mock_service_free);
  stop_daemon(world);
  sysfs_rig_free(world->sys);
}

static void
start(World *world)
{
  world->watch = conditions_watch_new(&world->places, note, world);
}

static gboolean
wake(gpointer unused)
{
  return G_SOURCE_CONTINUE;
}

/* Lets the main loop run until the watch says so; then it must have told that there is a change. */
static void
expect(World *world, const char *line)
{
  guint tick = g_timeout_add(20, wake, NULL);
  gint64 end = g_get_monotonic_time() + PATIENCE;
  g_autofree char *seen = NULL;
  do {
    g_main_context_iteration(NULL, TRUE);
    Conditions now = conditions_watch_get(world->watch);
    g_free(seen);
    seen = conditions_line(&now);
  } while ((g_strcmp0(seen, line) != 0 || world->told == 0) && g_get_monotonic_time() < end);
  g_source_remove(tick);
  g_assert_cmpstr(seen, ==, line);
  g_assert_cmpuint(world->told, >, 0);
  world->told = 0;
}

static void
let_run(guint ms)
{
  guint tick = g_timeout_add(10, wake, NULL);
  for (gint64 end = g_get_monotonic_time() + ms * 1000; g_get_monotonic_time() < end;)
    g_main_context_iteration(NULL, TRUE);
  g_source_remove(tick);
}

/* Lets the main loop run until so many questions were put to the service, and a little longer. */
static void
expect_asked(const MockService *service, guint asked)
{
  for (gint64 end = g_get_monotonic_time() + PATIENCE;
       mock_service_asked(service) < asked && g_get_monotonic_time() < end;)
    let_run(20);
  let_run(300);
  g_assert_cmpuint(mock_service_asked(service), ==, asked);
}

static void
set_manager(World *world, const char *properties)
{
  mock_service_set(world->manager, NETWORK_MANAGER_PATH, NETWORK_MANAGER_INTERFACE, properties);
}

static void
set_upower(World *world, const char *daemon, const char *display)
{
  mock_service_set(world->upower, UPOWER_PATH, UPOWER_INTERFACE, daemon);
  mock_service_set(world->upower, UPOWER_DISPLAY_PATH, UPOWER_DEVICE_INTERFACE, display);
}

#define WIFI                                                                                                 \
  "{'Metered': <uint32 4>, 'PrimaryConnectionType': <'802-11-wireless'>, 'Connectivity': <uint32 4>}"
#define WIFI_LINE        "link wifi " NM ", online yes " NM ", metered no " NM
#define ON_BATTERY       "{'OnBattery': <true>}"
#define ON_MAINS         "{'OnBattery': <false>}"
#define DISCHARGING      "{'Type': <uint32 2>, 'IsPresent': <true>, 'State': <uint32 2>, 'Percentage': <62.9>}"
#define CHARGING         "{'Type': <uint32 2>, 'IsPresent': <true>, 'State': <uint32 1>, 'Percentage': <63.0>}"
#define DISCHARGING_LINE "on battery yes " UP ", charging no " UP ", battery level 62 % " UP
#define CHARGING_LINE    "on battery no " UP ", charging yes " UP ", battery level 63 % " UP

static void
both_answer(World *world)
{
  set_manager(world, WIFI);
  set_upower(world, ON_BATTERY, DISCHARGING);
  mock_service_own(world->manager);
  mock_service_own(world->upower);
  start(world);
  expect(world, WIFI_LINE ", " DISCHARGING_LINE);
}

static void
test_changes(World *world, gconstpointer unused)
{
  both_answer(world);
  set_manager(world, "{'Metered': <uint32 1>, 'PrimaryConnectionType': <'gsm'>, 'Connectivity': <uint32 4>}");
  mock_service_signal(world->manager, NETWORK_MANAGER_PATH, NETWORK_MANAGER_INTERFACE);
  expect(world, "link mobile " NM ", online yes " NM ", metered yes " NM ", " DISCHARGING_LINE);

  set_upower(world, ON_MAINS, CHARGING);
  mock_service_signal(world->upower, UPOWER_PATH, UPOWER_INTERFACE);
  mock_service_signal(world->upower, UPOWER_DISPLAY_PATH, UPOWER_DEVICE_INTERFACE);
  expect(world, "link mobile " NM ", online yes " NM ", metered yes " NM ", " CHARGING_LINE);
}

static void
test_nothing_new_is_not_told(World *world, gconstpointer unused)
{
  both_answer(world);
  guint asked = mock_service_asked(world->manager);
  mock_service_signal(world->manager, NETWORK_MANAGER_PATH, NETWORK_MANAGER_INTERFACE);
  expect_asked(world->manager, asked + 1);
  g_assert_cmpuint(world->told, ==, 0);
}

/* A thousand signals are not a thousand questions. */
static void
test_burst(World *world, gconstpointer unused)
{
  both_answer(world);
  guint asked = mock_service_asked(world->upower);
  for (guint i = 0; i < 1000; i++)
    mock_service_signal(world->upower, UPOWER_PATH, UPOWER_INTERFACE);
  set_upower(world, ON_MAINS, DISCHARGING);
  expect(world, WIFI_LINE ", on battery no " UP ", charging no " UP ", battery level 62 % " UP);
  let_run(300);
  g_assert_cmpuint(mock_service_asked(world->upower), <, asked + 100);
}

static void
test_vanishes_and_comes_back(World *world, gconstpointer unused)
{
  both_answer(world);
  g_clear_pointer(&world->upower, mock_service_free);
  expect(world, WIFI_LINE ", on battery no (/sys/class/power_supply), charging yes "
                          "(/sys/class/power_supply), battery level 11 % (/sys/class/power_supply)");
  mock_service_disown(world->manager);
  expect(world, SYSFS_LINE);
  mock_service_own(world->manager);
  world->upower = mock_service_new(world->places.bus, UPOWER_NAME);
  set_upower(world, ON_MAINS, CHARGING);
  mock_service_own(world->upower);
  expect(world, WIFI_LINE ", " CHARGING_LINE);
}

static void
test_absent(World *world, gconstpointer unused)
{
  start(world);
  expect(world, SYSFS_LINE);
}

static void
test_configuration_overrides(World *world, gconstpointer unused)
{
  set_manager(world, WIFI);
  set_upower(world, ON_BATTERY, DISCHARGING);
  mock_service_own(world->manager);
  mock_service_own(world->upower);
  conditions_set(&world->places.configured, CONDITION_METERED, 1, CONDITIONS_CONFIGURATION);
  conditions_set(&world->places.configured, CONDITION_ON_BATTERY, 0, CONDITIONS_CONFIGURATION);
  start(world);
  expect(world, "link wifi " NM ", online yes " NM ", metered yes (configuration), on battery no "
                "(configuration), charging no " UP ", battery level 62 % " UP);
}

/* A service that takes questions and never answers: it is waited for as long as was said, and no longer. */
static void
test_never_answers(World *world, gconstpointer unused)
{
  set_manager(world, WIFI);
  set_upower(world, ON_BATTERY, DISCHARGING);
  mock_service_silence(world->manager, TRUE);
  mock_service_own(world->manager);
  mock_service_own(world->upower);
  world->places.answer_ms = ANSWER_MS;
  world->places.poll_ms = 300;
  gint64 began = g_get_monotonic_time();
  start(world);
  expect(world, "link ethernet (/sys/class/net), " DISCHARGING_LINE);
  g_assert_cmpint(g_get_monotonic_time() - began, >=, ANSWER_MS * 1000 / 2);
  g_assert_cmpint(g_get_monotonic_time() - began, <, BOUNDED);

  mock_service_silence(world->manager, FALSE);
  expect(world, WIFI_LINE ", " DISCHARGING_LINE);
}

/* The same without a watch. Nobody runs the mocks' main loop meanwhile, so that both are silent. */
static void
test_once_never_answers(World *world, gconstpointer unused)
{
  set_manager(world, WIFI);
  set_upower(world, ON_BATTERY, DISCHARGING);
  mock_service_own(world->manager);
  mock_service_own(world->upower);
  world->places.answer_ms = ANSWER_MS;
  gint64 began = g_get_monotonic_time();
  Conditions now = conditions_once(&world->places);
  g_assert_cmpint(g_get_monotonic_time() - began, <, BOUNDED);
  g_autofree char *line = conditions_line(&now);
  g_assert_cmpstr(line, ==, SYSFS_LINE);
}

static gpointer
ask_once(gpointer data)
{
  World *world = data;
  Conditions now = conditions_once(&world->places);
  g_atomic_int_set(&world->once, 1);
  return conditions_line(&now);
}

static void
test_once(World *world, gconstpointer unused)
{
  set_manager(world, WIFI);
  set_upower(world, ON_BATTERY, DISCHARGING);
  mock_service_own(world->manager);
  mock_service_own(world->upower);
  GThread *asker = g_thread_new("once", ask_once, world);
  while (!g_atomic_int_get(&world->once))
    let_run(20);
  g_autofree char *line = g_thread_join(asker);
  g_assert_cmpstr(line, ==, WIFI_LINE ", " DISCHARGING_LINE);
}

/* Something listens where the bus should be, and never says a word. */
static void
test_mute_bus(World *world, gconstpointer unused)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  g_snprintf(address.sun_path, sizeof address.sun_path, "%s/bus", world->sys);
  int mute = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  g_assert_cmpint(bind(mute, (struct sockaddr *)&address, sizeof address), ==, 0);
  g_assert_cmpint(listen(mute, 5), ==, 0);
  g_autofree char *bus = g_strdup_printf("unix:path=%s", address.sun_path);
  world->places.bus = bus;
  world->places.answer_ms = ANSWER_MS;
  gint64 began = g_get_monotonic_time();
  Conditions now = conditions_once(&world->places);
  g_assert_cmpint(g_get_monotonic_time() - began, <, BOUNDED);
  g_autofree char *line = conditions_line(&now);
  g_assert_cmpstr(line, ==, SYSFS_LINE);
  close(mute);
}

/* Sends the signal to each connection on the bus by itself, which no match rule stops. */
static void
forge_signal(GDBusConnection *bus)
{
  g_autoptr(GVariant) reply = g_dbus_connection_call_sync(
      bus, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ListNames", NULL,
      G_VARIANT_TYPE("(as)"), G_DBUS_CALL_FLAGS_NONE, 60000, NULL, NULL);
  g_autofree const char **names = NULL;
  g_variant_get(reply, "(^a&s)", &names);
  for (guint i = 0; names[i]; i++)
    if (names[i][0] == ':')
      g_dbus_connection_emit_signal(bus, names[i], NETWORK_MANAGER_PATH, "org.freedesktop.DBus.Properties",
                                    "PropertiesChanged",
                                    g_variant_new("(sa{sv}as)", NETWORK_MANAGER_INTERFACE, NULL, NULL), NULL);
  g_dbus_connection_flush_sync(bus, NULL, NULL);
}

/* Who does not own the name is not believed, whatever it sends to us directly. */
static void
test_forged_signal(World *world, gconstpointer unused)
{
  both_answer(world);
  guint asked = mock_service_asked(world->manager);
  g_autoptr(GError) error = NULL;
  g_autoptr(GDBusConnection) stranger = g_dbus_connection_new_for_address_sync(
      world->places.bus,
      G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT | G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION, NULL,
      NULL, &error);
  g_assert_no_error(error);
  forge_signal(stranger);
  let_run(400);
  g_assert_cmpuint(mock_service_asked(world->manager), ==, asked);
}

static void
test_bus_goes_away(World *world, gconstpointer unused)
{
  both_answer(world);
  g_clear_pointer(&world->manager, mock_service_free);
  g_clear_pointer(&world->upower, mock_service_free);
  stop_daemon(world);
  expect(world, SYSFS_LINE);
}

/* What poll_ms is for. */
static void
test_sysfs_is_polled(World *world, gconstpointer unused)
{
  world->places.poll_ms = 50;
  start(world);
  expect(world, SYSFS_LINE);
  sysfs_rig_remove(world->sys, "class/power_supply/BAT0");
  expect(world, "link ethernet (/sys/class/net), on battery no (/sys/class/power_supply)");
}

/* Let go in the middle of everything: nothing is told, nothing is touched afterwards. */
static void
test_free_at_once(World *world, gconstpointer unused)
{
  set_manager(world, WIFI);
  mock_service_own(world->manager);
  for (guint ms = 0; ms < 60; ms += 3) {
    start(world);
    let_run(ms);
    world->told = 0;
    g_clear_pointer(&world->watch, conditions_watch_free);
    let_run(5);
    g_assert_cmpuint(world->told, ==, 0);
  }
}

typedef struct {
  const char *name, *manager, *daemon, *display, *expected;
} Answer;

/* With a sysfs that knows nothing, so that what is not believed is not known. */
static const Answer answers[] = {
    {"metered-yes", "{'Metered': <uint32 1>}", "@a{sv} {}", "@a{sv} {}", "metered yes " NM},
    {"metered-no", "{'Metered': <uint32 2>}", "@a{sv} {}", "@a{sv} {}", "metered no " NM},
    {"metered-guess-yes", "{'Metered': <uint32 3>}", "@a{sv} {}", "@a{sv} {}", "metered yes " NM},
    {"metered-unknown", "{'Metered': <uint32 0>}", "@a{sv} {}", "@a{sv} {}", ""},
    {"metered-out-of-range", "{'Metered': <uint32 4294967295>}", "@a{sv} {}", "@a{sv} {}", ""},
    {"metered-of-another-type", "{'Metered': <'yes'>}", "@a{sv} {}", "@a{sv} {}", ""},
    {"portal", "{'Connectivity': <uint32 2>}", "@a{sv} {}", "@a{sv} {}", "online no " NM},
    {"limited", "{'Connectivity': <uint32 3>}", "@a{sv} {}", "@a{sv} {}", ""},
    {"ethernet", "{'PrimaryConnectionType': <'802-3-ethernet'>}", "@a{sv} {}", "@a{sv} {}",
     "link ethernet " NM},
    {"tethered-by-bluetooth", "{'PrimaryConnectionType': <'bluetooth'>}", "@a{sv} {}", "@a{sv} {}",
     "link mobile " NM},
    {"vpn", "{'PrimaryConnectionType': <'vpn'>}", "@a{sv} {}", "@a{sv} {}", ""},
    {"no-connection", "{'PrimaryConnectionType': <''>, 'Connectivity': <uint32 1>}", "@a{sv} {}", "@a{sv} {}",
     ""},
    {"type-is-a-number", "{'PrimaryConnectionType': <int64 7>}", "@a{sv} {}", "@a{sv} {}", ""},
    {"answer-is-a-string", "'what?'", "'what?'", "'what?'", ""},
    {"answer-is-another-dictionary", "{'Metered': 'no'}", "{'OnBattery': true}", "@a{ss} {}", ""},
    {"on-battery", "@a{sv} {}", ON_BATTERY, DISCHARGING, DISCHARGING_LINE},
    {"charging", "@a{sv} {}", ON_MAINS, CHARGING, CHARGING_LINE},
    {"full", "@a{sv} {}", ON_MAINS,
     "{'Type': <uint32 2>, 'IsPresent': <true>, 'State': <uint32 4>, 'Percentage': <100.0>}",
     "on battery no " UP ", charging yes " UP ", battery level 100 % " UP},
    {"no-battery", "@a{sv} {}", ON_MAINS,
     "{'Type': <uint32 0>, 'IsPresent': <false>, 'State': <uint32 0>, 'Percentage': <0.0>}",
     "on battery no " UP},
    {"level-over-100", "@a{sv} {}", ON_BATTERY,
     "{'Type': <uint32 2>, 'IsPresent': <true>, 'State': <uint32 2>, 'Percentage': <100.1>}",
     "on battery yes " UP ", charging no " UP},
    {"level-below-0", "@a{sv} {}", ON_BATTERY,
     "{'Type': <uint32 2>, 'IsPresent': <true>, 'State': <uint32 2>, 'Percentage': <-1.0>}",
     "on battery yes " UP ", charging no " UP},
    {"level-0", "@a{sv} {}", ON_BATTERY,
     "{'Type': <uint32 2>, 'IsPresent': <true>, 'State': <uint32 3>, 'Percentage': <0.0>}",
     "on battery yes " UP ", charging no " UP ", battery level 0 % " UP},
    {"level-no-number", "@a{sv} {}", ON_BATTERY,
     "{'Type': <uint32 2>, 'IsPresent': <true>, 'State': <uint32 2>, 'Percentage': <nan>}",
     "on battery yes " UP ", charging no " UP},
    {"state-out-of-range", "@a{sv} {}", ON_BATTERY,
     "{'Type': <uint32 2>, 'IsPresent': <true>, 'State': <uint32 4000000000>, 'Percentage': <5.0>}",
     "on battery yes " UP ", battery level 5 % " UP},
    {"types-mixed-up", "@a{sv} {}", "{'OnBattery': <uint32 1>}",
     "{'Type': <'battery'>, 'IsPresent': <1>, 'State': <true>, 'Percentage': <62>}", ""},
};

static void
test_answer(World *world, gconstpointer data)
{
  const Answer *wanted = data;
  sysfs_rig_remove(world->sys, "class");
  set_manager(world, wanted->manager);
  set_upower(world, wanted->daemon, wanted->display);
  mock_service_own(world->manager);
  mock_service_own(world->upower);
  start(world);
  expect(world, wanted->expected);
  g_assert_cmpuint(mock_service_asked(world->manager), ==, 1);
  g_assert_cmpuint(mock_service_asked(world->upower), ==, 2);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  if (!mock_bus_available())
    return 0;
  static const struct {
    const char *name;
    void (*run)(World *world, gconstpointer data);
  } tests[] = {
      {"changes", test_changes},
      {"nothing-new-is-not-told", test_nothing_new_is_not_told},
      {"burst", test_burst},
      {"vanishes-and-comes-back", test_vanishes_and_comes_back},
      {"absent", test_absent},
      {"configuration-overrides", test_configuration_overrides},
      {"never-answers", test_never_answers},
      {"once-never-answers", test_once_never_answers},
      {"once", test_once},
      {"mute-bus", test_mute_bus},
      {"forged-signal", test_forged_signal},
      {"bus-goes-away", test_bus_goes_away},
      {"sysfs-is-polled", test_sysfs_is_polled},
      {"free-at-once", test_free_at_once},
  };
  for (guint i = 0; i < G_N_ELEMENTS(tests); i++) {
    g_autofree char *name = g_strconcat("/conditions/bus/", tests[i].name, NULL);
    g_test_add(name, World, NULL, set_up, tests[i].run, tear_down);
  }
  for (guint i = 0; i < G_N_ELEMENTS(answers); i++) {
    g_autofree char *name = g_strconcat("/conditions/answers/", answers[i].name, NULL);
    g_test_add(name, World, &answers[i], set_up, test_answer, tear_down);
  }
  return g_test_run();
}
