/* After an abort the primary runs the block itself. What was already done on pins, by the program or by
 * children that it had in the clone, is answered from the block's log and not done again: so its children are
 * traced as well, until the log is empty. */
#pragma once

#include "controller/controller.h"

/* What a stopped call is to return, once it has been kept from the kernel, or what is to be added to what it
 * returns. */
typedef struct {
  gboolean skipped, add;
  gint64 value;
} RerunAnswer;

/* The block is about to be run again. */
void rerun_begin(Controller *controller);
gboolean rerun_stop(Controller *controller, const MirrorStop *stop, GError **error);

/* A call begins, or has come back: TRUE where `registers` were changed. */
gboolean rerun_enter(Controller *controller, pid_t tid, const MirrorMemoryOps *memory,
                     ArchRegisters *registers, gint64 number, RerunAnswer *answer);
gboolean rerun_leave(ArchRegisters *registers, const RerunAnswer *answer);

/* ---- rerun_children.c ---- */

/* All threads of the program stand still: children that they make from now on are traced. */
void rerun_children_begin(Controller *controller);
/* What waitpid(2) said, if it was of such a child. */
gboolean rerun_child_stop(Controller *controller, pid_t tid, int status);
/* The log is empty: each is let go when it stops next. */
void rerun_children_release(Controller *controller);
/* Lets go of all of them, and waits for that. */
void rerun_children_free(Controller *controller);
