#include "base/error.h"
#include "base/power_supply.h"
#include "base/sysfs.h"
#include "energy/meter_private.h"

typedef struct {
  char *sys;
  gboolean begun;
  gint64 then_ns;
  double power_w; /* then */
  double joules;
} Battery;

/* All supplies at one moment. */
typedef struct {
  guint batteries, discharging;
  char *obstacle; /* the first thing for which the battery's power is not the device's */
  double power_w;
  GString *words;
} Look;

static void
look_clear(Look *look)
{
  g_free(look->obstacle);
  g_string_free(look->words, TRUE);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Look, look_clear)

static void obstruct(Look *look, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void
obstruct(Look *look, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  if (!look->obstacle)
    look->obstacle = g_strdup_vprintf(format, arguments);
  va_end(arguments);
}

/* Some drivers have what flows out as a negative number. */
static gboolean
magnitude(int directory, const char *attribute, double *value)
{
  gint64 number = sysfs_number(directory, attribute, -G_MAXINT32, G_MAXINT32, G_MININT64);
  *value = ABS((double)number);
  return number != G_MININT64;
}

static void
add_power(Look *look, const char *name, int directory)
{
  double power, current, voltage;
  if (magnitude(directory, "power_now", &power)) {
    look->power_w += power * 1e-6;
    g_string_append_printf(look->words, "%s%s (power_now)", look->words->len ? ", " : "battery ", name);
  } else if (magnitude(directory, "current_now", &current) && magnitude(directory, "voltage_now", &voltage)) {
    look->power_w += current * voltage * 1e-12;
    g_string_append_printf(look->words, "%s%s (current_now x voltage_now)",
                           look->words->len ? ", " : "battery ", name);
  } else {
    obstruct(look, "the battery %s tells neither power_now nor current_now and voltage_now", name);
  }
}

static void
look_at(PowerSupplyKind kind, const char *name, int directory, gpointer data)
{
  Look *look = data;
  if (kind == POWER_SUPPLY_EXTERNAL) {
    if (sysfs_number(directory, "online", 0, 2, 0) > 0)
      obstruct(look, "%s gives power: unplug it, so that all comes out of the battery", name);
    return;
  }
  look->batteries++;
  g_autofree char *status = sysfs_text(directory, "status");
  if (g_strcmp0(status, "Charging") == 0)
    obstruct(look,
             "the battery %s is being charged: unplug the charger, so that all comes out of the battery",
             name);
  if (g_strcmp0(status, "Discharging") == 0) {
    look->discharging++;
    add_power(look, name, directory);
  }
}

/* FALSE, with the obstacle in `look`, where the power is not what the device takes. */
static gboolean
look_around(Look *look, const char *sys)
{
  look->words = g_string_new(NULL);
  if (!power_supply_each(sys, look_at, look))
    obstruct(look, "%s/class/power_supply is not there", sys);
  else if (look->batteries == 0)
    obstruct(look, "%s/class/power_supply has no battery", sys);
  else if (look->discharging == 0)
    obstruct(look, "the battery in %s/class/power_supply is not discharging", sys);
  return look->obstacle == NULL;
}

static gpointer
battery_open(const char *sys, char **words, char **why)
{
  g_auto(Look) look = {0};
  if (!look_around(&look, sys)) {
    *why = g_steal_pointer(&look.obstacle);
    return NULL;
  }
  *words = g_strdup(look.words->str);
  Battery *battery = g_new0(Battery, 1);
  battery->sys = g_strdup(sys);
  return battery;
}

static gboolean
battery_read(gpointer state, gint64 now_ns, double *joules, GError **error)
{
  Battery *battery = state;
  g_auto(Look) look = {0};
  if (!look_around(&look, battery->sys))
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "%s", look.obstacle);
  if (battery->begun)
    battery->joules += (battery->power_w + look.power_w) / 2 * ((now_ns - battery->then_ns) * 1e-9);
  battery->begun = TRUE;
  battery->then_ns = now_ns;
  battery->power_w = look.power_w;
  *joules = battery->joules;
  return TRUE;
}

static void
battery_free(gpointer state)
{
  Battery *battery = state;
  g_free(battery->sys);
  g_free(battery);
}

const EnergyMeterKind energy_meter_battery = {60, battery_open, battery_read, battery_free};
