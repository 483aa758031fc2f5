/* Where conditions are learned: a file per source. Each adds what it knows and nothing else; what it is told
 * is checked, and nonsense is not known. Private to the folder: conditions_watch.h asks them all. */
#pragma once

#include "replicator/bus_object.h"
#include "replicator/conditions.h"

/* org.freedesktop.NetworkManager of the object of that name (NetworkManager's D-Bus API, manager and "Types":
 * NMMetered, NMConnectivityState; PrimaryConnectionType is a connection's type as its settings have it). */
#define NETWORK_MANAGER_NAME      "org.freedesktop.NetworkManager"
#define NETWORK_MANAGER_PATH      "/org/freedesktop/NetworkManager"
#define NETWORK_MANAGER_INTERFACE "org.freedesktop.NetworkManager"
void conditions_from_network_manager(Conditions *conditions, const BusObject *manager);

/* UPower's D-Bus API: OnBattery of org.freedesktop.UPower; Type, IsPresent, State and Percentage of the
 * display device, which stands for all of the device's batteries. */
#define UPOWER_NAME             "org.freedesktop.UPower"
#define UPOWER_PATH             "/org/freedesktop/UPower"
#define UPOWER_INTERFACE        "org.freedesktop.UPower"
#define UPOWER_DISPLAY_PATH     "/org/freedesktop/UPower/devices/DisplayDevice"
#define UPOWER_DEVICE_INTERFACE "org.freedesktop.UPower.Device"
void conditions_from_upower(Conditions *conditions, const BusObject *daemon, const BusObject *display);

/* SYS/class/power_supply (the kernel's Documentation/ABI/testing/sysfs-class-power): all batteries and
 * external supplies of the device itself, not those of a mouse. Where the directory is there and has no
 * battery, the device is not on battery. */
void conditions_from_power_supply(Conditions *conditions, const char *sys);

/* SYS/class/net (Documentation/ABI/testing/sysfs-class-net): the kind of the link that is up. Of several, it
 * is the one that default routes prefer: Ethernet, then Wi-Fi, then mobile. */
void conditions_from_net(Conditions *conditions, const char *sys);
