/* Looking paths up on the device, step by step, as the clone will do it after. */
#pragma once

#include "controller/device_told.h"

/* Walks `path` (absolute), links followed, but one in the end only with `follow`. Appends to `news` (of
 * DeviceTelling) the steps that the clone does not know yet. Stops where there is nothing, or a pseudo file
 * system begins. `content`: with the hash of a file in the end. FALSE where too much was told already. */
gboolean device_walk(DeviceTold *told, const char *path, gboolean follow, gboolean content, GPtrArray *news,
                     GError **error);

/* Calls `each` for the directory's names (of all but "." and ".."), with what they are. 0, or an errno: E2BIG
 * where too much was told. */
typedef gboolean (*DeviceListingFunc)(const char *name, const DeviceTelling *telling, gpointer user_data);
int device_list(DeviceTold *told, const char *path, DeviceListingFunc each, gpointer user_data);
