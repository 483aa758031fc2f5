/* Going on from a checkpoint on this device: it has jobs of its own then, as a clone host has them
 * (job_store.h), and what they did to files is taken over from them in the same way (job_collect.h). */
#pragma once

#include "replicator/checkpoint_client.h"
#include "replicator/job_client.h"

typedef struct {
  char *directory;   /* of the user's state */
  JobClient *client; /* asks this device's own jobs */
  pid_t service;     /* who answers */
} CheckpointHere;

/* Starts what answers. NULL with an error. */
CheckpointHere *checkpoint_here_open(GError **error);
void checkpoint_here_free(CheckpointHere *here);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CheckpointHere, checkpoint_here_free)

/* Takes the run's newest checkpoint over from the clone, with what is not here of the files that the program
 * read, and goes on from it: the number of the job, whose process is *runner; 0 with an error. */
guint64 checkpoint_here_resume(CheckpointHere *here, CheckpointClient *clone,
                               const guint8 run[CHECKPOINT_RUN], gboolean force, gboolean again,
                               pid_t *runner, GError **error);

/* The program is over, and what it did is here. */
void checkpoint_here_forget(const CheckpointHere *here, const guint8 run[CHECKPOINT_RUN]);
