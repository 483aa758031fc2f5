/* Valgrind's callgrind in a sandbox.
 *
 * It is the clone host's, whatever the clone's root has: its tools are static programs which need nothing of
 * a root but the object that they load into the profiled program. They are copied to the sandbox's /dev/shm,
 * which is memory of its own, goes with it, and can be written whoever the caller is. Profiles are written
 * there, too. */
#pragma once

#include <glib.h>

typedef struct {
  char *from;       /* the directory on the host */
  GPtrArray *files; /* of char *: names; the tool is the first */
  GArray *fds;      /* int, of each */
} ProfilerValgrind;

/* Finds it; before the sandbox is entered. NULL with NOT_FOUND, which says what to install; `local`: on this
 * machine. */
ProfilerValgrind *profiler_valgrind_open(gboolean local, GError **error);
void profiler_valgrind_free(ProfilerValgrind *valgrind);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ProfilerValgrind, profiler_valgrind_free)

/* Copies it into the sandbox that the caller has entered, for a program of this user. A descriptor of the
 * directory that gets profiles, which are called by the process's id; -1 with an error. */
int profiler_valgrind_place(const ProfilerValgrind *valgrind, uid_t uid, gid_t gid, GError **error);

/* The tool there: its path; how it is to be called for that program, and with which environment (the
 * caller's). */
char *profiler_valgrind_path(const ProfilerValgrind *valgrind);
char **profiler_valgrind_arguments(const ProfilerValgrind *valgrind, char *const *program);
char **profiler_valgrind_environment(char *const *program);
