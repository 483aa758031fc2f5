/* One run of a program in a sandbox of its own over the clone's files, for what is seen of it: what it does
 * to files is thrown away, and what it writes is read, so that it takes no other way than it would (some
 * programs look whether their output is /dev/null), and thrown away as well unless somebody asked for it. */
#pragma once

#include "profiler/message.h"
#include "profiler/program.h"
#include "replicator/job_bounds.h"

typedef struct {
  ProfilerPlace place;
  const JobBounds *bounds; /* of what it writes to disk */
  const ProfilerStart *start;
  ProfilerRunKind kind; /* PROFILER_ALONE or PROFILER_VALGRIND */
  gboolean output;      /* tell what it writes */
} ProfilerRun;

/* Forks a process for it, which has nothing else of the caller's open than the standard streams. What it
 * tells comes through *socket (SOCK_SEQPACKET), a packed ProfilerMessage in each packet: ProfilerOutput;
 * ProfilerRan, with a descriptor of the profile where there is one (link_pass_receive_with()), and before it
 * a ProfilerObject for each file that the profile names; or a ProfilerRefusal. When the caller closes the
 * socket all ends. The process's id, or -1 with an error. */
pid_t profiler_run_start(const ProfilerRun *run, int *socket, GError **error);
