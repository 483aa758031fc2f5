/* What sysfs tells of power and of links. */
#include "conditions_text.h"
#include "replicator/conditions_sources.h"
#include "replicator/conditions_watch.h"
#include "sysfs_rig.h"

#define NET    "(/sys/class/net)"
#define POWER  "(/sys/class/power_supply)"
#define SUPPLY "class/power_supply/"

typedef struct {
  const char *name, *attributes, *expected;
} Case;

static const Case power[] = {
    {"no-class", "class/", ""},
    {"no-battery", SUPPLY, "on battery no " POWER},
    {"mains-only", SUPPLY "AC/type=Mains " SUPPLY "AC/online=1", "on battery no " POWER},
    {"discharging",
     SUPPLY "BAT0/type=Battery " SUPPLY "BAT0/status=Discharging " SUPPLY "BAT0/capacity=62 " SUPPLY
            "AC/type=Mains " SUPPLY "AC/online=0",
     "on battery yes " POWER ", charging no " POWER ", battery level 62 % " POWER},
    {"charging",
     SUPPLY "battery/type=Battery " SUPPLY "battery/status=Charging " SUPPLY "battery/capacity=5 " SUPPLY
            "usb/type=USB " SUPPLY "usb/online=1",
     "on battery no " POWER ", charging yes " POWER ", battery level 5 % " POWER},
    {"programmable-usb",
     SUPPLY "battery/type=Battery " SUPPLY "battery/status=Full " SUPPLY "usb/type=USB_PD " SUPPLY
            "usb/online=2",
     "on battery no " POWER ", charging yes " POWER},
    {"held-by-charger",
     SUPPLY "BAT0/type=Battery " SUPPLY "BAT0/status=Not_charging " SUPPLY "BAT0/capacity=80 " SUPPLY
            "AC/type=Mains " SUPPLY "AC/online=1",
     "on battery no " POWER ", charging yes " POWER ", battery level 80 % " POWER},
    {"weak-charger",
     SUPPLY "BAT0/type=Battery " SUPPLY "BAT0/status=Discharging " SUPPLY "usb/type=USB " SUPPLY
            "usb/online=1",
     "on battery no " POWER ", charging no " POWER},
    {"unplugged-and-still-full",
     SUPPLY "BAT0/type=Battery " SUPPLY "BAT0/status=Full " SUPPLY "AC/type=Mains " SUPPLY "AC/online=0",
     "on battery yes " POWER ", charging no " POWER},
    {"wireless-charger",
     SUPPLY "battery/type=Battery " SUPPLY "battery/status=Unknown " SUPPLY "dc/type=Wireless " SUPPLY
            "dc/online=1 " SUPPLY "battery/capacity=0",
     "on battery no " POWER ", battery level 0 % " POWER},
    {"no-supply-told", SUPPLY "BAT0/type=Battery " SUPPLY "BAT0/status=Charging",
     "on battery no " POWER ", charging yes " POWER},
    {"two-batteries",
     SUPPLY "BAT0/type=Battery " SUPPLY "BAT0/capacity=100 " SUPPLY "BAT0/status=Not_charging " SUPPLY
            "BAT1/type=Battery " SUPPLY "BAT1/capacity=51 " SUPPLY "BAT1/status=Discharging",
     "on battery yes " POWER ", charging no " POWER ", battery level 75 % " POWER},
    {"battery-of-a-mouse",
     SUPPLY "hid/type=Battery " SUPPLY "hid/scope=Device " SUPPLY "hid/status=Discharging " SUPPLY
            "hid/capacity=3",
     "on battery no " POWER},
    {"battery-taken-out",
     SUPPLY "BAT0/type=Battery " SUPPLY "BAT0/present=0 " SUPPLY "BAT0/status=Unknown " SUPPLY
            "BAT0/capacity=0",
     "on battery no " POWER},
    {"nonsense",
     SUPPLY "BAT0/type=Battery " SUPPLY "BAT0/status=Sleeping " SUPPLY "BAT0/capacity=101 " SUPPLY
            "AC/type=Mains " SUPPLY "AC/online=yes",
     ""},
    {"nonsense-level",
     SUPPLY "BAT0/type=Battery " SUPPLY "BAT0/status=Charging " SUPPLY "BAT0/capacity=-7 " SUPPLY
            "AC/type=Mains " SUPPLY "AC/online=99999999999999999999",
     "on battery no " POWER ", charging yes " POWER},
};

#define LO   "class/net/lo/type=772 class/net/lo/operstate=unknown class/net/lo/carrier=1 "
#define CARD "class/net/eth0/type=1 class/net/eth0/device/vendor=0x8086 class/net/eth0/operstate="
#define WLAN                                                                                                 \
  "class/net/wlan0/type=1 class/net/wlan0/device/x=1 class/net/wlan0/wireless/ class/net/wlan0/operstate="
#define TETHER "class/net/usb0/type=1 class/net/usb0/operstate=up "

static const Case net[] = {
    {"no-class", "class/", ""},
    {"loopback-only", LO, "link none " NET},
    {"ethernet", LO CARD "up", "link ethernet " NET},
    {"unplugged", LO CARD "down", "link none " NET},
    {"wifi", LO CARD "down " WLAN "up", "link wifi " NET},
    {"both", CARD "up " WLAN "up", "link ethernet " NET},
    {"wifi-by-phy", "class/net/w/type=1 class/net/w/operstate=up class/net/w/phy80211/", "link wifi " NET},
    {"wifi-by-uevent", "class/net/w/type=1 class/net/w/operstate=up class/net/w/uevent=DEVTYPE=wlan",
     "link wifi " NET},
    {"modem-raw-ip", "class/net/wwan0/type=519 class/net/wwan0/operstate=unknown class/net/wwan0/carrier=1",
     "link mobile " NET},
    {"modem-by-uevent",
     "class/net/wwan0/type=1 class/net/wwan0/operstate=up class/net/wwan0/uevent=DEVTYPE=wwan",
     "link mobile " NET},
    {"tethered", TETHER "class/net/usb0/device/driver->../../bus/usb/drivers/rndis_host", "link mobile " NET},
    {"usb-card", TETHER "class/net/usb0/device/driver->../../bus/usb/drivers/ax88179_178a",
     "link ethernet " NET},
    {"tunnel-over-wifi",
     WLAN "up class/net/tun0/type=65534 class/net/tun0/operstate=unknown class/net/tun0/carrier=1",
     "link wifi " NET},
    {"container", "class/net/eth0/type=1 class/net/eth0/operstate=up", "link other " NET},
    {"unknown-without-carrier", "class/net/ppp0/type=512 class/net/ppp0/operstate=unknown", "link none " NET},
    {"nonsense", "class/net/x/type=ether class/net/x/operstate=sideways", "link none " NET},
};

typedef struct {
  const Case *wanted;
  void (*learn)(Conditions *conditions, const char *sys);
} Run;

static void
test_case(gconstpointer data)
{
  const Run *run = data;
  char *sys = sysfs_rig_new();
  sysfs_rig_put(sys, run->wanted->attributes);
  Conditions conditions = {0};
  run->learn(&conditions, sys);
  g_autofree char *line = conditions_line(&conditions);
  g_assert_cmpstr(line, ==, run->wanted->expected);
  sysfs_rig_free(sys);
}

/* An attribute that is not a line of text, however long, is as good as none. */
static void
test_huge(void)
{
  char *sys = sysfs_rig_new();
  sysfs_rig_put(sys, "class/net/eth0/type=1 class/net/eth0/device/ " SUPPLY "BAT0/type=Battery");
  g_autofree char *huge = g_strnfill(1 << 20, 'u');
  g_autofree char *state = g_build_filename(sys, "class/net/eth0/operstate", NULL);
  g_autofree char *status = g_build_filename(sys, SUPPLY "BAT0/status", NULL);
  g_assert_true(g_file_set_contents(state, huge, -1, NULL));
  g_assert_true(g_file_set_contents(status, huge, -1, NULL));
  Conditions conditions = {0};
  conditions_from_net(&conditions, sys);
  conditions_from_power_supply(&conditions, sys);
  g_autofree char *line = conditions_line(&conditions);
  g_assert_cmpstr(line, ==, "link none " NET);
  sysfs_rig_free(sys);
}

/* Without a bus all comes from sysfs, but for what the configuration says. */
static void
test_without_bus(void)
{
  char *sys = sysfs_rig_new();
  sysfs_rig_put(sys, WLAN "up " SUPPLY "BAT0/type=Battery " SUPPLY "BAT0/status=Discharging " SUPPLY
                          "BAT0/capacity=40");
  ConditionsPlaces places = {.bus = "unix:path=/nonexistent/bus", .sys = sys, .answer_ms = 60000};
  conditions_set(&places.configured, CONDITION_METERED, 1, CONDITIONS_CONFIGURATION);
  conditions_set(&places.configured, CONDITION_LEVEL, 90, CONDITIONS_CONFIGURATION);
  gint64 start = g_get_monotonic_time();
  Conditions conditions = conditions_once(&places);
  g_assert_cmpint(g_get_monotonic_time() - start, <, 30 * G_USEC_PER_SEC);
  g_autofree char *line = conditions_line(&conditions);
  g_assert_cmpstr(line, ==,
                  "link wifi " NET ", metered yes (configuration), on battery yes " POWER
                  ", charging no " POWER ", battery level 90 % (configuration)");
  sysfs_rig_free(sys);
}

static void
add_cases(const char *prefix, const Case *cases, guint count, void (*learn)(Conditions *, const char *))
{
  for (guint i = 0; i < count; i++) {
    Run *run = g_new(Run, 1);
    *run = (Run){.wanted = &cases[i], .learn = learn};
    g_autofree char *name = g_strconcat("/conditions/", prefix, "/", cases[i].name, NULL);
    g_test_add_data_func_full(name, run, test_case, g_free);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  add_cases("power-supply", power, G_N_ELEMENTS(power), conditions_from_power_supply);
  add_cases("net", net, G_N_ELEMENTS(net), conditions_from_net);
  g_test_add_func("/conditions/huge-attribute", test_huge);
  g_test_add_func("/conditions/without-bus", test_without_bus);
  return g_test_run();
}
