/* doppel restore --device: the whole of a lost device, on another one. */
#pragma once

#include <glib.h>

typedef struct {
  gboolean wanted;
  char **from; /* addresses; NULL: this device is paired with the clone already */
  char *phrase_file, *root, *name, *clone;
  gint64 generation;
  gboolean onto, beside, replace, json;
} RestoreDevice;

void restore_device_clear(RestoreDevice *device);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RestoreDevice, restore_device_clear)

gboolean restore_device(const RestoreDevice *device, GError **error);
