/* The trial of cpuid faulting (arch_prctl(2)): the instruction must really fault. */
#include <asm/prctl.h>
#include <cpuid.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mirror/probe_trials.h"

static sigjmp_buf faulted;

static void
on_fault(int number)
{
  siglongjmp(faulted, 1);
}

gboolean
probe_cpuid_fault(ProbeNote *note)
{
  struct sigaction action = {.sa_handler = on_fault};
  sigaction(SIGSEGV, &action, NULL);
  if (syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0) != 0)
    return FALSE;
  if (sigsetjmp(faulted, 1))
    return TRUE;
  guint a, b, c, d;
  __cpuid(0, a, b, c, d);
  probe_note(note, "switched on, but the instruction does not fault");
  return FALSE;
}
