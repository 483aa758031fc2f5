/* A directory that looks like /sys. */
#pragma once

#include <glib.h>

char *sysfs_rig_new(void);
void sysfs_rig_free(char *sys);

/* Writes attributes: "class/net/eth0/operstate=up class/net/eth0/type=1"; PATH/ makes a directory,
 * PATH->TARGET a symbolic link. A `_` in a value is a space. */
void sysfs_rig_put(const char *sys, const char *attributes);

/* Removes a directory and what is in it. */
void sysfs_rig_remove(const char *sys, const char *path);
