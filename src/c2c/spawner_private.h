/* What the spawner and its zygote share. */
#pragma once

#include "c2c/spawner.h"

#define SPAWNER_TASKS G_MAXUINT64 /* in place of a process's number: begin the tasks */

/* All of the zygote's life; never returns. `control_fd` is its end of the pair. */
void spawner_zygote(int control_fd, const Service *services, const ServiceTask *tasks,
                    const ServicePlace *place) G_GNUC_NORETURN;

/* "forward:80" is "forward:"'s. */
const Service *spawner_find(const Service *services, const char *service);
