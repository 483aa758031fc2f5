/* What the files of a block share and nobody else sees. */
#pragma once

#include "controller/controller.h"

/* What waitpid(2) has to tell, of all processes. FALSE where the block cannot go on. */
gboolean block_work_primary(Controller *controller, GError **error);

/* reintegrate.c: FALSE left the program as it was; where neither that nor the new state can be had, it does
 * not return. */
gboolean block_reintegrate(Controller *controller, GError **error);
