/* Running a piece of test as an Augmenter in a sandbox. */
#pragma once

#include <glib.h>

#include "augmenter/sandbox.h"

typedef struct Fixture {
  char *base; /* a directory for this test, world-readable */
  char *tmp;  /* spec.tmp, below it */
  char *data; /* a directory with files that the clone sees, below it */
  uid_t uid;  /* who runs it */
  void (*before)(
      const struct Fixture *fixture); /* NULL, or run as root in a mount namespace of its own first */
} Fixture;

Fixture *fixture_new(uid_t uid);
void fixture_free(Fixture *fixture);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Fixture, fixture_free)

/* A spec of the local clone. */
SandboxSpec fixture_spec(const Fixture *fixture);

/* Forks a process that becomes fixture->uid, enters the sandbox and calls `body`; waits for it. Its wait
 * status. */
typedef void (*FixtureBody)(Sandbox *sandbox, const Fixture *fixture);
int fixture_run(const Fixture *fixture, const SandboxSpec *spec, FixtureBody body);
pid_t fixture_fork(const Fixture *fixture, const SandboxSpec *spec, FixtureBody body);

/* Fails the test's process, which is not the one that GLib's assertions report from. */
#define check(condition) fixture_check((condition), #condition, __FILE__, __LINE__)
void fixture_check(gboolean holds, const char *condition, const char *file, int line);
#define check_string(a, b) fixture_check_string((a), (b), #a, __FILE__, __LINE__)
void fixture_check_string(const char *a, const char *b, const char *expression, const char *file, int line);

/* A spawn of the probe with these arguments; standard output and error are `output`. */
typedef struct {
  SandboxSpawn spawn;
  const char *argv[8];
  SandboxFd fds[3];
} Probe;
void probe_init(Probe *probe, int output, const char *verb, const char *first, const char *second);

/* Runs the probe in the sandbox to its end: what it printed. *status (NULL allowed) is its wait status. */
char *probe_run(Sandbox *sandbox, const char *verb, const char *first, const char *second, int *status);
char *probe_finish(Sandbox *sandbox, const Probe *probe, int *status);

/* The value of NAME=VALUE in the probe's output. */
char *probe_fact(const char *output, const char *name);

void fixture_set_probe(const char *path);
const char *fixture_probe(void);

/* NULL, or why no sandbox can be had as this user on this machine. */
const char *fixture_why_not(uid_t uid);
