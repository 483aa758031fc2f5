/* Where the next call runs. Here: measured in both places, then the faster one (smarter policies build on the
 * same numbers). */
#include "controller/controller.h"

enum {
  LOCAL_SAMPLES = 2,  /* the first call often pays for what the later ones find ready */
  REMOTE_SAMPLES = 3, /* the first moves all of the process's state */
  FAILURES_MAX = 3,
  REMEASURE_EVERY = 64, /* calls between two looks at the other place */
};

gboolean
decide_remote(Controller *controller, Function *function)
{
  if (function->failures >= FAILURES_MAX || controller->why_no_session)
    return FALSE;
  if (controller->options->place == RUN_PLACE_CLONE)
    return TRUE;
  if (function->local_samples < LOCAL_SAMPLES)
    return FALSE;
  if (function->remote_samples < REMOTE_SAMPLES)
    return TRUE;
  gboolean remote = function->last_remote_ns < function->last_local_ns;
  return function->calls % REMEASURE_EVERY == 0 ? !remote : remote;
}

void
decide_learn_remote(Function *function, gint64 ns)
{
  function->last_remote_ns = ns;
  function->remote_samples++;
  function->failures = 0;
}

void
decide_learn_local(Controller *controller, Function *function, gint64 ns)
{
  function->last_local_ns = ns;
  function->local_samples++;
  function->local_ns += ns;
  /* So short that even stopping at its entry costs more than it does: it is left alone from now on. */
  if (function->local_samples >= LOCAL_SAMPLES && ns < 50000) {
    explain(controller,
            "%s: a call takes %.1f us on the device, less than any off-loading; it is not watched any more",
            function->text, ns / 1e3);
    functions_unwatch(controller, function);
  }
}
