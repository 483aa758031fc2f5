/* Time to a running program in a fresh sandbox: ours, bubblewrap's and unshare's, from fork to the exit of
 * /bin/true.
 *
 *   sandbox_start [ROUNDS [UID]]
 *
 * Prints a table in milliseconds. As root, UID measures for an ordinary user. */
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "augmenter/sandbox.h"
#include "base/clock.h"
#include "base/io.h"

typedef enum { PHASE_ENTER, PHASE_START, PHASE_RUN, PHASE_LEAVE, PHASE_COUNT } Phase;

static const char *const phase_names[] = {"  enter", "  start (id, rights, exec)", "  run true",
                                          "  leave (kill, reap, remove)"};

static const char *const bwrap[] = {"bwrap", "--unshare-all", "--ro-bind", "/",         "/",
                                    "--dev", "/dev",          "--proc",    "/proc",     "--tmpfs",
                                    "/run",  "--hostname",    "x",         "/bin/true", NULL};
static const char *const unshare_command[] = {
    "unshare", "--user", "--map-current-user", "--mount",   "--ipc", "--uts", "--net", "--cgroup", "--time",
    "--pid",   "--fork", "--mount-proc",       "/bin/true", NULL};
static const char *const bare[] = {"/bin/true", NULL};

static int
compare_times(const void *a, const void *b)
{
  gint64 left = *(const gint64 *)a, right = *(const gint64 *)b;
  return (left > right) - (left < right);
}

static void
print_row(const char *name, gint64 *times, guint count)
{
  qsort(times, count, sizeof *times, compare_times);
  printf("%-36s %8.2f %8.2f %8.2f\n", name, times[count / 2] / 1e6, times[count / 10] / 1e6,
         times[count - 1 - count / 10] / 1e6);
}

static void
become(uid_t uid)
{
  if (uid == geteuid())
    return;
  if (setgroups(0, NULL) != 0 || setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0)
    _exit(1);
  prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

/* The Augmenter's part; writes when each phase ended. */
static void
session(const char *tmp, SandboxUpper upper, int report)
{
  gint64 at[PHASE_COUNT];
  g_autoptr(GError) error = NULL;
  SandboxSpec spec = {.local = TRUE, .tmp = tmp, .hostname = "bench", .upper = upper};
  Sandbox *sandbox = sandbox_enter(&spec, &error);
  at[PHASE_ENTER] = clock_now_ns();
  SandboxSpawn spawn = {.path = "/bin/true",
                        .argv = (char *const *)bare,
                        .envp = (char *const[]){NULL},
                        .wanted_pid = 4242,
                        .uid = getuid(),
                        .gid = getgid(),
                        .umask = 022,
                        .personality = ADDR_NO_RANDOMIZE};
  pid_t pid = sandbox ? sandbox_spawn(sandbox, &spawn, &error) : -1;
  if (pid < 0 || !sandbox_release(sandbox, pid, &error)) {
    fprintf(stderr, "%s\n", error->message);
    _exit(1);
  }
  at[PHASE_START] = clock_now_ns();
  waitpid(pid, NULL, 0);
  at[PHASE_RUN] = clock_now_ns();
  sandbox_free(sandbox);
  at[PHASE_LEAVE] = clock_now_ns();
  _exit(io_write_all(report, at, sizeof at) ? 0 : 1);
}

static gboolean
measure_ours(const char *tmp, SandboxUpper upper, uid_t uid, gint64 **phases, gint64 *totals, guint round)
{
  int ends[2], status;
  gint64 at[PHASE_COUNT];
  if (pipe(ends) != 0)
    return FALSE;
  gint64 start = clock_now_ns(), before = start;
  pid_t pid = fork();
  if (pid == 0) {
    become(uid);
    session(tmp, upper, ends[1]);
  }
  close(ends[1]);
  gboolean whole = io_read_all(ends[0], at, sizeof at) == sizeof at;
  close(ends[0]);
  if (waitpid(pid, &status, 0) != pid || status != 0 || !whole)
    return FALSE;
  for (guint i = 0; i < PHASE_COUNT; i++) {
    phases[i][round] = at[i] - before;
    before = at[i];
  }
  totals[round] = at[PHASE_RUN] - start;
  return TRUE;
}

static gboolean
measure_command(const char *const *argv, uid_t uid, gint64 *times, guint round)
{
  int status;
  gint64 start = clock_now_ns();
  pid_t pid = fork();
  if (pid == 0) {
    become(uid);
    execvp(argv[0], (char *const *)argv);
    _exit(127);
  }
  if (waitpid(pid, &status, 0) != pid || status != 0)
    return FALSE;
  times[round] = clock_now_ns() - start;
  return TRUE;
}

static void
row_ours(const char *name, const char *tmp, SandboxUpper upper, uid_t uid, guint rounds)
{
  gint64 *phases[PHASE_COUNT];
  g_autofree gint64 *totals = g_new(gint64, rounds);
  for (guint i = 0; i < PHASE_COUNT; i++)
    phases[i] = g_new(gint64, rounds);
  guint round = 0;
  while (round < rounds && measure_ours(tmp, upper, uid, phases, totals, round))
    round++;
  if (round == rounds) {
    print_row(name, totals, rounds);
    for (guint i = 0; i < PHASE_COUNT; i++)
      print_row(phase_names[i], phases[i], rounds);
  } else {
    printf("%-36s could not run\n", name);
  }
  for (guint i = 0; i < PHASE_COUNT; i++)
    g_free(phases[i]);
}

static void
row_command(const char *name, const char *const *argv, uid_t uid, guint rounds)
{
  g_autofree char *found = g_find_program_in_path(argv[0]);
  g_autofree gint64 *times = g_new(gint64, rounds);
  guint round = 0;
  while (found && round < rounds && measure_command(argv, uid, times, round))
    round++;
  if (round == rounds)
    print_row(name, times, rounds);
  else
    printf("%-36s %s\n", name, found ? "could not run" : "not installed");
}

int
main(int argc, char **argv)
{
  guint rounds = argc > 1 ? (guint)CLAMP(atoi(argv[1]), 1, 100000) : 50;
  uid_t uid = argc > 2 ? (uid_t)strtoul(argv[2], NULL, 10) : geteuid();
  g_autofree char *base = g_dir_make_tmp("doppel-bench-XXXXXX", NULL);
  if (!base || chmod(base, 0755) != 0)
    return 1;
  g_autofree char *tmp = g_build_filename(base, "tmp", NULL), *lock = g_build_filename(tmp, "lock", NULL);
  if (mkdir(tmp, 0700) != 0 || (uid != geteuid() && chown(tmp, uid, uid) != 0))
    return 1;
  setvbuf(stdout, NULL, _IOLBF, 0);
  printf("%-36s %8s %8s %8s   (ms, %u rounds, user %u)\n", "to the exit of /bin/true", "median", "10 %",
         "90 %", rounds, (unsigned)uid);
  row_command("no sandbox", bare, uid, rounds);
  row_ours("doppel", tmp, SANDBOX_UPPER_AUTO, uid, rounds);
  row_ours("doppel, changes in memory", tmp, SANDBOX_UPPER_MEMORY, uid, rounds);
  row_command("bwrap", bwrap, uid, rounds);
  row_command("unshare", unshare_command, uid, rounds);
  unlink(lock);
  rmdir(tmp);
  rmdir(base);
  return 0;
}
