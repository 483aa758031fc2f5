/* What a block did to files, below each of the clone's mount points, and making it on the device: all or
 * none. */
#pragma once

#include "controller/device_told.h"

typedef struct DeviceChanges DeviceChanges;

DeviceChanges *device_changes_new(void);
void device_changes_free(DeviceChanges *changes);

/* Undoes or sweeps what killed processes left. What cannot be is a warning. */
void device_changes_recover(void);

/* The clone's mount points: absolute, canonical. FALSE with HOSTILE. */
gboolean device_changes_set_mountpoints(DeviceChanges *changes, gsize count, const ProtobufCBinaryData *paths,
                                        GError **error);

/* The device's directory there; stays the owner's. -1 with an error. */
int device_changes_root(DeviceChanges *changes, guint mountpoint, GError **error);

/* A piece of the delta below one of them. FALSE with an error: nothing has changed. */
gboolean device_changes_push(DeviceChanges *changes, const DeviceTold *told, guint mountpoint,
                             const ProtobufCBinaryData *bytes, GError **error);
gboolean device_changes_ready(const DeviceChanges *changes, gboolean expected, GError **error);
gboolean device_changes_commit(DeviceChanges *changes, GError **error);
void device_changes_clear(DeviceChanges *changes);
