/* A program that came from the device: which interpreter does it name? */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "augmenter/paths_private.h"
#include "replica/path.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize length);

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  static int fd = -1;
  if (fd < 0)
    fd = memfd_create("fuzz", MFD_CLOEXEC);
  if (ftruncate(fd, 0) < 0 || pwrite(fd, data, length, 0) != (ssize_t)length)
    return 0;
  g_autofree char *path = program_interpreter_of(fd);
  if (path && (!*path || strlen(path) >= REPLICA_PATH_MAX))
    __builtin_trap();
  return 0;
}
