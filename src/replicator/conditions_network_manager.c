#include <string.h>

#include "replicator/conditions_sources.h"

/* NMMetered and NMConnectivityState; what is not here is not known. That NetworkManager has no connection
 * does not mean that there is none: others may manage links beside it. The same goes for CONNECTIVITY_NONE,
 * and LIMITED may be a network on which the clone can be reached. */
static const struct {
  const char *property;
  ConditionKind kind;
  guint32 number;
  int value;
} numbers[] = {
    {"Metered", CONDITION_METERED, 1, 1},     /* YES */
    {"Metered", CONDITION_METERED, 2, 0},     /* NO */
    {"Metered", CONDITION_METERED, 3, 1},     /* GUESS_YES */
    {"Metered", CONDITION_METERED, 4, 0},     /* GUESS_NO */
    {"Connectivity", CONDITION_ONLINE, 2, 0}, /* PORTAL */
    {"Connectivity", CONDITION_ONLINE, 4, 1}, /* FULL */
};

/* Of a VPN, a bridge or the like the type does not say what it goes over: /sys/class/net does. */
static const struct {
  const char *type;
  ConditionLink link;
} types[] = {
    {"802-3-ethernet", CONDITION_LINK_ETHERNET},
    {"pppoe", CONDITION_LINK_ETHERNET},
    {"802-11-wireless", CONDITION_LINK_WIFI},
    {"gsm", CONDITION_LINK_MOBILE},
    {"cdma", CONDITION_LINK_MOBILE},
    {"bluetooth", CONDITION_LINK_MOBILE},
};

void
conditions_from_network_manager(Conditions *conditions, const BusObject *manager)
{
  Conditions told = {0};
  for (guint i = 0; i < G_N_ELEMENTS(numbers); i++) {
    guint32 number;
    if (bus_object_get_uint(manager, numbers[i].property, &number) && number == numbers[i].number)
      conditions_set(&told, numbers[i].kind, numbers[i].value, CONDITIONS_NETWORK_MANAGER);
  }
  g_autoptr(GVariant) type = bus_object_get(manager, "PrimaryConnectionType", "s");
  for (guint i = 0; type && i < G_N_ELEMENTS(types); i++)
    if (strcmp(g_variant_get_string(type, NULL), types[i].type) == 0)
      conditions_set(&told, CONDITION_LINK, types[i].link, CONDITIONS_NETWORK_MANAGER);
  conditions_add(conditions, &told);
}
