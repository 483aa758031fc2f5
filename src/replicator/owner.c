#include "replicator/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

static gboolean
write_beside(int directory, const char *temporary, const IdentityPublic *device)
{
  g_auto(Fd) fd = openat(directory, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  return fd >= 0 && io_write_all(fd, device->bytes, sizeof device->bytes) && fsync(fd) == 0;
}

gboolean
owner_note(int directory, const char *name, const IdentityPublic *device)
{
  g_autofree char *temporary = g_strdup_printf("%s.%d", name, (int)getpid());
  if (write_beside(directory, temporary, device) && renameat(directory, temporary, directory, name) == 0 &&
      fsync(directory) == 0)
    return TRUE;
  int saved = errno;
  unlinkat(directory, temporary, 0);
  errno = saved;
  return FALSE;
}

gboolean
owner_read(int directory, const char *name, IdentityPublic *device)
{
  g_auto(Fd) fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  struct stat status;
  return fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
         status.st_size == (off_t)sizeof device->bytes &&
         io_read_all(fd, device->bytes, sizeof device->bytes) == (gssize)sizeof device->bytes;
}

gboolean
owner_is(int directory, const char *name, const IdentityPublic *device)
{
  IdentityPublic owner;
  return !device || (owner_read(directory, name, &owner) && identity_public_equal(&owner, device));
}
