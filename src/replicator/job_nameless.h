/* What a job has on its host's disk without a name: a file that was removed, or never had a name (O_TMPFILE,
 * tmpfile(3), a database's temporary tables), takes its room until the last process that has it open is done
 * with it. No directory shows it; procfs does (proc_pid_fd(5)).
 *
 * Not seen are those that are only mapped (/proc/PID/map_files is for those who are privileged outside of the
 * sandbox, too), and those that wait in a socket (SCM_RIGHTS). */
#pragma once

#include <glib.h>

/* Bytes of disk that they take, each counted once, or more than `most`, where counting ends;
 * JOB_BOUNDS_NONE (job_bounds.h) where they cannot be counted. *unseen: a process has what nobody may look
 * at, as one may that is not dumpable (prctl(2)) where the sandbox was made without privilege. `proc` is the
 * path of a procfs of the job's PID namespace, whose process 1 is the sandbox's own; `trees` are descriptors
 * (int) of directories on the disk that counts. What an overlay shows is on it, what is in memory is not. */
guint64 job_nameless_measure(const char *proc, const GArray *trees, guint64 most, gboolean *unseen);
