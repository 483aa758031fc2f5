/* Memory of another task, by its id (process_vm_readv(2)). All or nothing counts: FALSE where some of it is
 * not there, whatever was moved by then. */
#pragma once

#include <glib.h>
#include <sys/types.h>

gboolean task_memory_read(pid_t tid, guint64 address, void *to, gsize length);
gboolean task_memory_write(pid_t tid, guint64 address, const void *from, gsize length);
