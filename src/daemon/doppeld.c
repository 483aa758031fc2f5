/* doppeld: the clone host's server. */
#include "daemon/daemon.h"

int
main(int argc, char **argv)
{
  return daemon_main(argc, argv, augmenter_session);
}
