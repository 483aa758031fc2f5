/* Contents of files on their way to the clone, which says how much may come. */
#pragma once

#include "link/engine.h"

typedef struct DeviceSends DeviceSends;
DeviceSends *device_sends_new(Link *link);
void device_sends_free(DeviceSends *sends);

/* `root`: of the mount point that is asked about. */
gboolean device_sends_answer(DeviceSends *sends, int root, const Doppel__Engine__AskContent *ask,
                             GError **error);
