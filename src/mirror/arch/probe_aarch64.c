/* This architecture's programs ask the kernel for processor features, so there is nothing to fault. */
#include "mirror/probe_trials.h"

gboolean
probe_cpuid_fault(ProbeNote *note)
{
  probe_note(
      note,
      "aarch64 has no such instruction: features are told in the auxiliary vector, which doppel rewrites");
  return FALSE;
}
