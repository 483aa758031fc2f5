/* What was executed on the device for a block that is not committed yet (docs/architecture.md "Pins").
 *
 * After an abort the primary runs the block itself. Its calls on pins are then answered from here first, so
 * that nothing happens twice: per pin, as many bytes as were already written are swallowed; bytes and
 * messages that were already read are handed out again; other calls are answered with the result that they
 * had when they are the same call on the same pin. Questions for readiness (poll, select) are answered as
 * ready where something waits here. What the log does not know is executed really. */
#pragma once

#include <glib.h>

#include "mirror/pincall.h"

typedef struct PinLog PinLog;

PinLog *pinlog_new(void);
void pinlog_free(PinLog *log);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PinLog, pinlog_free)

/* Notes an executed call and its result, as pincall_collect() gave it. */
void pinlog_note(PinLog *log, const PinCall *call, const PinResult *result);

typedef enum {
  PINLOG_NOT_IN_LOG, /* execute it */
  PINLOG_ANSWERED,   /* `value` is what it returns; the process's memory has been written */
  PINLOG_PARTLY, /* a write of which the first `value` bytes were done: execute the rest and add up, or return
                  * the short count where the rest cannot be written by itself */
} PinLogAnswer;

/* The process that runs the block again. `fd_of_pin` gives the descriptor that a logged call has made. */
typedef struct {
  const MirrorMemoryOps *memory;
  PinOfFd pin_of_fd;
  PinToFd fd_of_pin;
  void *fd_user;
} PinLogProcess;

/* Answers a call of the re-run, and takes what it used off the log. */
PinLogAnswer pinlog_answer(PinLog *log, const SyscallRow *row, const guint64 args[SYSCALL_ARGS],
                           const PinLogProcess *process, gint64 *value);

/* Whether nothing is left that a call could be answered from. */
gboolean pinlog_empty(const PinLog *log);

/* The block is committed, or its re-run has ended. */
void pinlog_forget(PinLog *log);
