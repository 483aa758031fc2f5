/* Signals that wait in a process (blocked, or not yet delivered) and move with it. Sources: sigtimedwait(2),
 * rt_sigqueueinfo(2). */
#pragma once

#include <signal.h>

#include "mirror/process.h"

typedef struct {
  pid_t own_tid; /* 0: sent to the process */
  siginfo_t info;
} MirrorSignal;

/* Takes all of them out of a frozen process. Appends MirrorSignals. */
gboolean mirror_signals_take(MirrorProcess *process, GArray *into, GError **error);

/* Puts one into a frozen process, as if its sender had just sent it. A thread that is gone: the process. */
gboolean mirror_signals_put(MirrorProcess *process, const MirrorSignal *signal, GError **error);
