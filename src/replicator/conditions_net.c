#include <string.h>
#include <unistd.h>

#include "base/sysfs.h"
#include "replicator/conditions_sources.h"

/* ARPHRD_ of if_arp.h, which are the values of the attribute "type" */
enum { TYPE_ETHER = 1, TYPE_RAWIP = 519, TYPE_LOOPBACK = 772 };

/* The order in which default routes prefer them, best first. */
static const ConditionLink preference[] = {CONDITION_LINK_ETHERNET, CONDITION_LINK_WIFI,
                                           CONDITION_LINK_MOBILE, CONDITION_LINK_OTHER};

/* Modems and tethered telephones that look like Ethernet. */
static const char *const mobile_drivers[] = {"cdc_mbim", "huawei_cdc_ncm", "ipheth", "qmi_wwan",
                                             "rndis_host"};

static gboolean
is_up(int directory)
{
  g_autofree char *state = sysfs_text(directory, "operstate");
  if (g_strcmp0(state, "up") == 0)
    return TRUE;
  return g_strcmp0(state, "unknown") == 0 && sysfs_number(directory, "carrier", 0, 1, 0) == 1;
}

static gboolean
is_mobile_driver(int directory)
{
  char target[4096];
  ssize_t length = readlinkat(directory, "device/driver", target, sizeof target - 1);
  if (length <= 0)
    return FALSE;
  target[length] = '\0';
  g_autofree char *driver = g_path_get_basename(target);
  for (guint i = 0; i < G_N_ELEMENTS(mobile_drivers); i++)
    if (strcmp(driver, mobile_drivers[i]) == 0)
      return TRUE;
  return FALSE;
}

/* The word after DEVTYPE= in the interface's uevent: the kernel's own name for its kind. */
static gboolean
has_device_type(int directory, const char *type)
{
  g_autofree char *uevent = sysfs_text(directory, "uevent");
  g_auto(GStrv) lines = g_strsplit(uevent ? uevent : "", "\n", -1);
  g_autofree char *line = g_strconcat("DEVTYPE=", type, NULL);
  return g_strv_contains((const char *const *)lines, line);
}

static ConditionLink
link_kind(const char *name, int directory)
{
  gint64 type = sysfs_number(directory, "type", 0, G_MAXUINT16, -1);
  if (faccessat(directory, "wireless", F_OK, 0) == 0 || faccessat(directory, "phy80211", F_OK, 0) == 0 ||
      has_device_type(directory, "wlan"))
    return CONDITION_LINK_WIFI;
  if (type == TYPE_RAWIP || has_device_type(directory, "wwan") || is_mobile_driver(directory))
    return CONDITION_LINK_MOBILE;
  return type == TYPE_ETHER && faccessat(directory, "device", F_OK, 0) == 0 ? CONDITION_LINK_ETHERNET
                                                                            : CONDITION_LINK_OTHER;
}

static void
add_interface(const char *name, int directory, gpointer data)
{
  gboolean *up = data;
  if (sysfs_number(directory, "type", 0, G_MAXUINT16, -1) != TYPE_LOOPBACK && is_up(directory))
    up[link_kind(name, directory)] = TRUE;
}

void
conditions_from_net(Conditions *conditions, const char *sys)
{
  g_autofree char *path = g_build_filename(sys, "class/net", NULL);
  gboolean up[CONDITION_LINKS] = {FALSE};
  if (!sysfs_each(path, add_interface, up))
    return;
  ConditionLink best = CONDITION_LINK_NONE;
  for (guint i = G_N_ELEMENTS(preference); i-- > 0;)
    if (up[preference[i]])
      best = preference[i];
  Conditions told = {0};
  conditions_set(&told, CONDITION_LINK, best, CONDITIONS_NET);
  conditions_add(conditions, &told);
}
