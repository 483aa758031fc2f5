#include "sandbox_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"

static char *probe_path;
static char *const environment[] = {(char *)"ASAN_OPTIONS=detect_leaks=0", NULL};

static void
remove_probe(void)
{
  g_autofree char *directory = g_path_get_dirname(probe_path);
  unlink(probe_path);
  rmdir(directory);
}

/* A copy, where everybody may execute it: the build directory may be root's alone. */
void
fixture_set_probe(const char *path)
{
  g_autofree char *directory = g_dir_make_tmp("doppel-probe-XXXXXX", NULL);
  g_autofree char *content = NULL;
  gsize length;
  g_assert_nonnull(directory);
  g_assert_cmpint(chmod(directory, 0755), ==, 0);
  probe_path = g_build_filename(directory, "probe", NULL);
  g_assert_true(g_file_get_contents(path, &content, &length, NULL));
  g_assert_true(g_file_set_contents_full(probe_path, content, length, G_FILE_SET_CONTENTS_NONE, 0755, NULL));
  g_assert_cmpint(chmod(probe_path, 0755), ==, 0);
  atexit(remove_probe);
}

const char *
fixture_probe(void)
{
  return probe_path;
}

void
fixture_check(gboolean holds, const char *condition, const char *file, int line)
{
  if (holds)
    return;
  fprintf(stderr, "# %s:%d: not true: %s (errno: %s)\n", file, line, condition, strerror(errno));
  _exit(1);
}

void
fixture_check_string(const char *a, const char *b, const char *expression, const char *file, int line)
{
  if (g_strcmp0(a, b) == 0)
    return;
  fprintf(stderr, "# %s:%d: %s is \"%s\", not \"%s\"\n", file, line, expression, a, b);
  _exit(1);
}

Fixture *
fixture_new(uid_t uid)
{
  Fixture *fixture = g_new0(Fixture, 1);
  fixture->base = g_dir_make_tmp("doppel-sandbox-XXXXXX", NULL);
  g_assert_nonnull(fixture->base);
  fixture->tmp = g_build_filename(fixture->base, "tmp", NULL);
  fixture->data = g_build_filename(fixture->base, "data", NULL);
  fixture->uid = uid;
  g_autofree char *file = g_build_filename(fixture->data, "file", NULL);
  g_assert_cmpint(mkdir(fixture->tmp, 0700), ==, 0);
  g_assert_cmpint(mkdir(fixture->data, 0755), ==, 0);
  g_assert_true(g_file_set_contents(file, "original", -1, NULL));
  g_autofree char *gone = g_build_filename(fixture->data, "gone", NULL);
  g_assert_true(g_file_set_contents(gone, "x", -1, NULL));
  g_autofree char *foreign = g_build_filename(fixture->base, "foreign", NULL);
  g_assert_cmpint(mkdir(foreign, 0755) | chmod(foreign, 0777), ==, 0);
  if (geteuid() == 0) {
    g_assert_cmpint(chmod(fixture->base, 0755), ==, 0);
    g_assert_cmpint(chown(fixture->tmp, uid, uid), ==, 0);
    g_assert_cmpint(chown(fixture->data, uid, uid), ==, 0);
    g_assert_cmpint(chown(file, uid, uid), ==, 0);
  }
  return fixture;
}

void
fixture_free(Fixture *fixture)
{
  char *argv[] = {(char *)"rm", (char *)"-rf", (char *)"--one-file-system", fixture->base, NULL};
  g_spawn_sync("/", argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL);
  g_free(fixture->base);
  g_free(fixture->tmp);
  g_free(fixture->data);
  g_free(fixture);
}

SandboxSpec
fixture_spec(const Fixture *fixture)
{
  static const char *writable[2];
  writable[0] = fixture->data;
  return (SandboxSpec){.local = TRUE, .tmp = fixture->tmp, .hostname = "the-device", .writable = writable};
}

static void
become(uid_t uid)
{
  if (uid == geteuid())
    return;
  check(setgroups(0, NULL) == 0);
  check(setresgid(uid, uid, uid) == 0);
  check(setresuid(uid, uid, uid) == 0);
  prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* as after a log-in, where an exec comes between */
}

pid_t
fixture_fork(const Fixture *fixture, const SandboxSpec *spec, FixtureBody body)
{
  fflush(NULL);
  pid_t pid = fork();
  if (pid != 0)
    return pid;
  g_autoptr(GError) error = NULL;
  if (fixture->before) {
    check(unshare(CLONE_NEWNS) == 0);
    check(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    fixture->before(fixture);
  }
  become(fixture->uid);
  Sandbox *sandbox = sandbox_enter(spec, &error);
  if (!sandbox) {
    fprintf(stderr, "# %s\n", error->message);
    _exit(3);
  }
  if (g_getenv("DOPPEL_TEST_NOTES"))
    for (guint i = 0; i < sandbox->notes->len; i++)
      fprintf(stderr, "# note: %s\n", (const char *)sandbox->notes->pdata[i]);
  body(sandbox, fixture);
  sandbox_free(sandbox);
  _exit(0);
}

int
fixture_run(const Fixture *fixture, const SandboxSpec *spec, FixtureBody body)
{
  int status = -1;
  pid_t pid = fixture_fork(fixture, spec, body);
  g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
  return status;
}

void
probe_init(Probe *probe, int output, const char *verb, const char *first, const char *second)
{
  *probe =
      (Probe){.argv = {probe_path, verb, first, first ? second : NULL, NULL},
              .fds = {{output, 1}, {output, 2}},
              .spawn = {.envp = environment, .umask = 022, .personality = ADDR_NO_RANDOMIZE, .fd_count = 2}};
  probe->spawn.path = probe_path;
  probe->spawn.argv = (char *const *)probe->argv;
  probe->spawn.fds = probe->fds;
  probe->spawn.uid = getuid();
  probe->spawn.gid = getgid();
}

char *
probe_finish(Sandbox *sandbox, const Probe *probe, int *status)
{
  g_autoptr(GError) error = NULL;
  int ends[2], ignored;
  Probe copy = *probe;
  check(pipe2(ends, O_CLOEXEC) == 0);
  copy.fds[0].from = copy.fds[1].from = ends[1];
  copy.spawn.argv = (char *const *)copy.argv;
  copy.spawn.fds = copy.fds;
  pid_t pid = sandbox_spawn(sandbox, &copy.spawn, &error);
  close(ends[1]);
  if (pid < 0 || !sandbox_release(sandbox, pid, &error)) {
    fprintf(stderr, "# %s\n", error->message);
    _exit(4);
  }
  GString *output = g_string_new(NULL);
  char block[4096];
  gssize got;
  while ((got = io_read_all(ends[0], block, sizeof block)) > 0)
    g_string_append_len(output, block, got);
  close(ends[0]);
  check(waitpid(pid, status ? status : &ignored, 0) == pid);
  return g_string_free(output, FALSE);
}

char *
probe_run(Sandbox *sandbox, const char *verb, const char *first, const char *second, int *status)
{
  Probe probe;
  probe_init(&probe, -1, verb, first, second);
  return probe_finish(sandbox, &probe, status);
}

char *
probe_fact(const char *output, const char *name)
{
  g_auto(GStrv) lines = g_strsplit(output, "\n", -1);
  for (char **line = lines; *line; line++)
    if (g_str_has_prefix(*line, name) && (*line)[strlen(name)] == '=')
      return g_strdup(*line + strlen(name) + 1);
  return NULL;
}

const char *
fixture_why_not(uid_t uid)
{
  int status = -1;
  if (uid != geteuid() && geteuid() != 0)
    return "only root can run this test as another user";
  pid_t pid = fork();
  if (pid == 0) {
    become(uid);
    _exit(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 ? 0 : 1);
  }
  waitpid(pid, &status, 0);
  return status == 0 ? NULL : "this machine allows no user namespaces here";
}
