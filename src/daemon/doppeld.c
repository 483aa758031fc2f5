/* doppeld: the clone host's server. */
#include "daemon/daemon.h"
#include "profiler/observe.h"

int
main(int argc, char **argv)
{
  if (profiler_observe_is_wanted(argv))
    return profiler_observe_main(argc, argv);
  return daemon_main(argc, argv, augmenter_session);
}
