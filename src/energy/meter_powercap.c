#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "base/sysfs.h"
#include "energy/meter_private.h"

typedef struct {
  char *path;   /* of its directory */
  gint64 range; /* uJ after which the counter begins again; 0: not known */
  gboolean begun;
  gint64 then; /* uJ */
  double joules;
} Zone;

static void
zone_free(Zone *zone)
{
  g_free(zone->path);
  g_free(zone);
}

typedef struct {
  const char *path;
  GPtrArray *zones;
  GString *words;
  char *unreadable;
} Look;

/* Only these, and not their parts: cores are of the package. The same packages are there once more as
 * intel-rapl-mmio. */
static gboolean
is_counted(const char *zone, const char *name)
{
  return g_str_has_prefix(zone, "intel-rapl:") &&
         (g_str_has_prefix(name, "package") || strcmp(name, "dram") == 0);
}

static void
look_at(const char *zone, int directory, gpointer data)
{
  Look *look = data;
  g_autofree char *name = sysfs_text(directory, "name");
  if (!name || !is_counted(zone, name))
    return;
  if (sysfs_number(directory, "energy_uj", 0, G_MAXINT64, -1) < 0) {
    look->unreadable =
        look->unreadable ? look->unreadable : g_build_filename(look->path, zone, "energy_uj", NULL);
    return;
  }
  Zone *found = g_new0(Zone, 1);
  found->path = g_build_filename(look->path, zone, NULL);
  found->range = sysfs_number(directory, "max_energy_range_uj", 0, G_MAXINT64, 0);
  g_ptr_array_add(look->zones, found);
  g_string_append_printf(look->words, "%s%s (%s)", look->words->len ? ", " : "powercap ", zone, name);
}

/* Since Linux 5.10 only root may read the counters: they tell too much of what others compute. */
static char *
tell_unreadable(const char *path)
{
  g_autofree char *config = g_shell_quote(g_get_user_config_dir());
  return geteuid() == 0 ? g_strdup_printf("%s cannot be read", path)
                        : g_strdup_printf("%s can be read by root only: try "
                                          "\"sudo env XDG_CONFIG_HOME=%s doppel energy calibrate\"",
                                          path, config);
}

static gpointer
powercap_open(const char *sys, char **words, char **why)
{
  g_autofree char *path = g_build_filename(sys, "class/powercap", NULL);
  g_autoptr(GPtrArray) zones = g_ptr_array_new_with_free_func((GDestroyNotify)zone_free);
  g_autoptr(GString) text = g_string_new(NULL);
  Look look = {path, zones, text, NULL};
  if (!sysfs_each(path, look_at, &look)) {
    *why = g_strdup_printf("%s is not there", path);
    return NULL;
  }
  g_autofree char *unreadable = look.unreadable;
  if (unreadable || zones->len == 0) {
    *why = unreadable ? tell_unreadable(unreadable) : g_strdup_printf("%s has no intel-rapl package", path);
    return NULL;
  }
  *words = g_strdup(text->str);
  return g_steal_pointer(&zones);
}

static gboolean
zone_read(Zone *zone, GError **error)
{
  g_auto(Fd) directory = open(zone->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  gint64 now = directory < 0 ? -1 : sysfs_number(directory, "energy_uj", 0, G_MAXINT64, -1);
  if (now < 0)
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "%s/energy_uj cannot be read any more", zone->path);
  if (zone->begun && now < zone->then && zone->range < zone->then)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "%s/energy_uj went from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT
                            ", and max_energy_range_uj does not tell how",
                            zone->path, zone->then, now);
  if (zone->begun)
    zone->joules += (now >= zone->then ? now - zone->then : zone->range - zone->then + now) * 1e-6;
  zone->begun = TRUE;
  zone->then = now;
  return TRUE;
}

static gboolean
powercap_read(gpointer state, gint64 now_ns, double *joules, GError **error)
{
  GPtrArray *zones = state;
  *joules = 0;
  for (guint i = 0; i < zones->len; i++) {
    Zone *zone = zones->pdata[i];
    if (!zone_read(zone, error))
      return FALSE;
    *joules += zone->joules;
  }
  return TRUE;
}

static void
powercap_free(gpointer state)
{
  g_ptr_array_unref(state);
}

const EnergyMeterKind energy_meter_powercap = {10, powercap_open, powercap_read, powercap_free};
