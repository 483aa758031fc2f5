#include "replicator/job_changes.h"

#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/message.h"

typedef struct {
  guint32 mountpoint, length;
} Head;

gboolean
job_changes_append(int fd, guint mountpoint, const guint8 *data, gsize length)
{
  Head head = {GUINT32_TO_LE(mountpoint), GUINT32_TO_LE((guint32)length)};
  return io_write_all(fd, &head, sizeof head) && io_write_all(fd, data, length);
}

static gboolean
refuse(GError **error, const char *why)
{
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the changes that a job made are damaged: %s", why);
}

gboolean
job_changes_read(int fd, guint mountpoints, JobChangesFunc take, gpointer user, GError **error)
{
  g_autofree guint8 *data = NULL;
  if (lseek(fd, 0, SEEK_SET) < 0)
    return doppel_error_errno(error, "cannot read the changes that a job made");
  for (guint32 last = 0;;) {
    Head head;
    gssize got = io_read_all(fd, &head, sizeof head);
    if (got == 0)
      return TRUE;
    guint32 mountpoint = GUINT32_FROM_LE(head.mountpoint), length = GUINT32_FROM_LE(head.length);
    if (got != sizeof head)
      return refuse(error, "they end too early");
    if (mountpoint >= mountpoints || mountpoint < last || length > REPLICA_MESSAGE_MAX)
      return refuse(error, "a message of no mount point");
    last = mountpoint;
    if (!data)
      data = g_malloc(REPLICA_MESSAGE_MAX);
    if (io_read_all(fd, data, length) != length)
      return refuse(error, "they end too early");
    if (!take(mountpoint, data, length, user, error))
      return FALSE;
  }
}
