/* The place in the clone in which a program is looked at, and the program there: what a job's request asks
 * for, in a sandbox of its own. */
#pragma once

#include "augmenter/sandbox.h"
#include "replicator/job_message.h"

typedef struct {
  gboolean local;           /* the clone's root is this machine's own */
  const char *root;         /* else the directory with it */
  const char *tmp, *hidden; /* as SandboxSpec's */
} ProfilerPlace;

/* Enters. NULL with an error: the process must exit then. */
Sandbox *profiler_program_enter(const ProfilerPlace *place, const JobRequest *request, GError **error);

/* Its words, the caller's. */
char **profiler_program_arguments(const JobRequest *request);
char **profiler_program_environment(const JobRequest *request);

/* Its resource limits, of which it says how many; the caller's. What this machine does not grant is cut. */
SandboxRlimit *profiler_program_limits(const JobRequest *request);

/* What it reads: the file `path`, which is what the device's user has there, from that place on; without a
 * path nothing. -1 with an error. */
int profiler_program_input(const ProtobufCBinaryData *path, guint64 offset, GError **error);

typedef struct {
  const char *path;  /* NULL: the program's */
  char *const *argv; /* NULL: as well */
  char *const *envp;
  int input, output, error;
} ProfilerSpawn;

/* Starts it, or what is to run it, up to its exec: sandbox_release() lets it go. Its id, or -1 with an error.
 */
pid_t profiler_program_spawn(Sandbox *sandbox, const JobRequest *request, const ProfilerSpawn *spawn,
                             GError **error);
