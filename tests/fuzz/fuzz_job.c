/* Messages about jobs, from either end, and what a job did to files, and which of its output is whose, as
 * files. What is believed can be packed, and is believed again then, and is the same. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "replica/message.h"
#include "replicator/job_changes.h"
#include "replicator/job_log.h"
#include "replicator/job_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOUNTPOINTS = 3 };

static gboolean
take(guint mountpoint, const guint8 *data, gsize length, gpointer user, GError **error)
{
  guint *last = user;
  if (mountpoint >= MOUNTPOINTS || mountpoint < *last || length > REPLICA_MESSAGE_MAX)
    abort();
  *last = mountpoint;
  return TRUE;
}

static void
try_changes(const uint8_t *data, size_t size)
{
  g_auto(Fd) file = memfd_create("changes", MFD_CLOEXEC);
  guint last = 0;
  if (file >= 0 && io_write_all(file, data, size))
    job_changes_read(file, MOUNTPOINTS, take, &last, NULL);
}

/* Whoever goes on from an end comes to the last one. */
static void
try_runs(const uint8_t *data, size_t size)
{
  enum { STEPS = 64 };
  g_auto(Fd) file = memfd_create("streams", MFD_CLOEXEC);
  if (file < 0 || !io_write_all(file, data, size))
    return;
  guint64 offset = 0, end = 0;
  for (guint i = 0; i < STEPS && end < G_MAXUINT64; i++, offset = end) {
    JobStream stream = job_log_look(file, offset, &end);
    if (end <= offset || (stream != JOB_STDOUT && stream != JOB_STDERR))
      abort();
  }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  try_runs(data, size);
  try_changes(data, size);
  g_autoptr(JobState) state = job_state_unpack(data, size, NULL);
  g_autoptr(JobRequest) request = job_request_unpack(data, size, NULL);
  g_autoptr(JobMessage) message = job_message_unpack(data, size, NULL);
  if (!message)
    return 0;
  g_autoptr(GBytes) packed = job_message_pack(message);
  gsize length;
  const guint8 *bytes = g_bytes_get_data(packed, &length);
  g_autoptr(JobMessage) again = job_message_unpack(bytes, length, NULL);
  g_autoptr(GBytes) packed_again = again ? job_message_pack(again) : NULL;
  if (again && !g_bytes_equal(packed, packed_again))
    abort();
  return 0;
}
