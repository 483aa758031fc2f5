/* The device's files, as the clone asks for them and as a block changes them. */
#pragma once

#include "controller/controller.h"

/* Paths that the clone was told about and that are not what they were then. Strings, owned by the array. */
GPtrArray *device_files_stale(Controller *controller);
gboolean device_files_answer_paths(Controller *controller, const Doppel__Engine__AskPaths *ask, GError **error);
gboolean device_files_answer_content(Controller *controller, const Doppel__Engine__AskContent *ask, GError **error);

/* A piece of what the block changed: staged beside what is there. */
gboolean device_files_take(Controller *controller, const Doppel__Engine__FilePiece *piece, GError **error);
gboolean device_files_ready(Controller *controller, gboolean expected, GError **error);
gboolean device_files_commit(Controller *controller, GError **error);
void device_files_clear(Controller *controller);
