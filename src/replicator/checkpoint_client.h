/* The device's questions about the checkpoints that a clone keeps (checkpoint_message.h). */
#pragma once

#include "identity/paired.h"
#include "replicator/checkpoint_message.h"

typedef struct {
  PairedClone *clone;
  Link *link;
} CheckpointClient;

/* Connects to the clone `name` (NULL: the only one that is paired). NULL with an error, GONE where it is out
 * of reach. */
CheckpointClient *checkpoint_client_open(const char *name, GError **error);
void checkpoint_client_free(CheckpointClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CheckpointClient, checkpoint_client_free)

/* All runs, of CheckpointMessage with a summary, the one with the newest checkpoint last. */
GPtrArray *checkpoint_client_list(CheckpointClient *client, GError **error);

/* A run's name as users see and type it: its first 12 hexadecimal digits. */
char *checkpoint_run_text(const guint8 run[CHECKPOINT_RUN]);
/* The run that `text`, the beginning of its name, says, out of such a list; NULL: the one with the newest
 * checkpoint. NULL with NOT_FOUND, or USAGE where it may be several. */
const Doppel__Wire__CheckpointSummary *checkpoint_client_find(const GPtrArray *list, const char *text,
                                                              GError **error);

gboolean checkpoint_client_remove(CheckpointClient *client, const guint8 run[CHECKPOINT_RUN], gboolean force,
                                  GError **error);

/* Has the clone go on from the run's newest checkpoint, as a job: its number; 0 with an error. */
guint64 checkpoint_client_resume(CheckpointClient *client, const guint8 run[CHECKPOINT_RUN], gboolean force,
                                 gboolean again, GError **error);

/* Takes it over, and fetches all of it into `file`. HOSTILE where that is not as long as the clone says. */
gboolean checkpoint_client_take(CheckpointClient *client, const guint8 run[CHECKPOINT_RUN], gboolean force,
                                gboolean again, int file, GError **error);
/* Fetches a file that the program only read, as the clone has it, into `file`, which is empty.
 * NOT_FOUND; HOSTILE where what comes is not what is named. */
gboolean checkpoint_client_content(CheckpointClient *client, const CheckpointFile *named, int file,
                                   GError **error);
