/* What the files of a process share and nobody else sees. */
#pragma once

#include "mirror/process.h"

/* A thread of the process that nobody knew yet. */
MirrorThread *process_thread_new(MirrorProcess *process, pid_t tid);

/* process_wait.c: waits for one thread to stop, whatever else the process waits for. FALSE when it is gone,
 * without a word of its end. */
gboolean process_wait(MirrorThread *thread, MirrorStop *stop, GError **error);

/* process_memory.c: as it is, with the traps of our breakpoints in it. Writing asks for missing pages first,
 * reading takes them as they are. */
gboolean process_read_raw(MirrorProcess *process, guint64 address, void *to, gsize length, GError **error);
gboolean process_write_raw(MirrorProcess *process, guint64 address, const void *from, gsize length,
                           GError **error);
