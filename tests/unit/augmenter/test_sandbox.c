/* The sandbox from inside and outside, as root and as an ordinary user. argv[1] is the probe program. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "sandbox_fixture.h"

#define SECOND   G_GINT64_CONSTANT(1000000000)
#define NOT_HERE 77    /* exit status of a body that finds its subject missing on this machine */
#define ORDINARY 12345 /* a user that owns nothing else */

/* What spawn.c lets root inside keep. */
#define KEPT                                                                                                 \
  (1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_FOWNER | 1ull << CAP_FSETID |                  \
   1ull << CAP_KILL | 1ull << CAP_SETGID | 1ull << CAP_SETUID | 1ull << CAP_SETPCAP | 1ull << CAP_SETFCAP |  \
   1ull << CAP_NET_BIND_SERVICE | 1ull << CAP_SYS_CHROOT | 1ull << CAP_LEASE | 1ull << CAP_IPC_LOCK |        \
   1ull << CAP_IPC_OWNER)

static gint64
clock_ns(clockid_t clock)
{
  struct timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * SECOND + now.tv_nsec;
}

static guint64
hex_fact(const char *output, const char *name)
{
  g_autofree char *value = probe_fact(output, name);
  check(value != NULL);
  return g_ascii_strtoull(value, NULL, 16);
}

static void
check_fact(const char *output, const char *name, const char *expected)
{
  g_autofree char *value = probe_fact(output, name);
  check_string(value, expected);
}

static void
expect_success(const Fixture *fixture, const SandboxSpec *spec, FixtureBody body)
{
  g_assert_cmpint(fixture_run(fixture, spec, body), ==, 0);
}

/* TMP of a session that ended well holds the lock only. */
static void
assert_swept(const Fixture *fixture)
{
  g_autoptr(GDir) dir = g_dir_open(fixture->tmp, 0, NULL);
  const char *name;
  while ((name = g_dir_read_name(dir)))
    g_assert_cmpstr(name, ==, "lock");
}

static char *
data_file(const Fixture *fixture, const char *name)
{
  return g_build_filename(fixture->data, name, NULL);
}

static void
process_body(Sandbox *sandbox, const Fixture *fixture)
{
  Probe probe;
  SandboxRlimit limits[] = {{RLIMIT_NOFILE, {123, 456}}};
  g_autofree char *user = g_strdup_printf("%d", (int)getuid());
  probe_init(&probe, -1, "facts", NULL, NULL);
  probe.spawn.wanted_pid = 31234;
  probe.spawn.cwd = fixture->data;
  probe.spawn.umask = 027;
  probe.spawn.rlimits = limits;
  probe.spawn.rlimit_count = 1;
  probe.spawn.ignored_signals = 1ull << (SIGUSR1 - 1);
  probe.spawn.blocked_signals = 1ull << (SIGUSR2 - 1);
  g_autofree char *facts = probe_finish(sandbox, &probe, NULL);
  check_fact(facts, "pid", "31234");
  check_fact(facts, "ppid", "0");
  check_fact(facts, "uid", user);
  check_fact(facts, "hostname", "the-device");
  check_fact(facts, "cwd", fixture->data);
  check_fact(facts, "umask", "027");
  check_fact(facts, "nofile", "123");
  check_fact(facts, "personality", "40000");
  check_fact(facts, "fds", "1,2,");
  check_fact(facts, "interfaces", "lo:up,");
  check_fact(facts, "tty", "No such device or address");
  check_fact(facts, "NoNewPrivs", "1");
  check(hex_fact(facts, "CapBnd") == (hex_fact(facts, "CapBnd") & KEPT));
  check(hex_fact(facts, "CapEff") == (getuid() == 0 ? KEPT & hex_fact(facts, "CapBnd") : 0));
  check(hex_fact(facts, "CapAmb") == 0);
  check(hex_fact(facts, "SigBlk") == 1ull << (SIGUSR2 - 1));
  check(hex_fact(facts, "SigIgn") & 1ull << (SIGUSR1 - 1));
  check(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
}

static void
test_process(gconstpointer uid)
{
  g_autoptr(Fixture) fixture = fixture_new(GPOINTER_TO_UINT(uid));
  SandboxSpec spec = fixture_spec(fixture);
  expect_success(fixture, &spec, process_body);
  assert_swept(fixture);
}

static void
other_user_body(Sandbox *sandbox, const Fixture *fixture)
{
  Probe probe;
  probe_init(&probe, -1, "facts", NULL, NULL);
  probe.spawn.uid = probe.spawn.gid = 1234;
  g_autofree char *facts = probe_finish(sandbox, &probe, NULL);
  check_fact(facts, "uid", "1234");
  check_fact(facts, "gid", "1234");
  check(hex_fact(facts, "CapEff") == 0);
  check(hex_fact(facts, "CapPrm") == 0);
}

static void
test_other_user(void)
{
  g_autoptr(Fixture) fixture = fixture_new(0);
  SandboxSpec spec = fixture_spec(fixture);
  expect_success(fixture, &spec, other_user_body);
}

static void
clocks_body(Sandbox *sandbox, const Fixture *fixture)
{
  gint64 offset = fixture->base[0] ? g_ascii_strtoll(g_getenv("TEST_OFFSET"), NULL, 10) : 0;
  gint64 before = clock_ns(CLOCK_MONOTONIC), boot = clock_ns(CLOCK_BOOTTIME);
  g_autofree char *facts = probe_run(sandbox, "facts", NULL, NULL, NULL);
  gint64 after = clock_ns(CLOCK_MONOTONIC), boot_after = clock_ns(CLOCK_BOOTTIME);
  g_autofree char *monotonic = probe_fact(facts, "monotonic"), *boottime = probe_fact(facts, "boottime");
  gint64 seen = g_ascii_strtoll(monotonic, NULL, 10) - offset,
         seen_boot = g_ascii_strtoll(boottime, NULL, 10) - 2 * offset;
  check(seen >= before && seen <= after);
  check(seen_boot >= boot && seen_boot <= boot_after);
}

static void
test_clocks(gconstpointer uid)
{
  if (access("/proc/self/ns/time", F_OK) != 0) {
    g_test_skip("this kernel has no time namespaces");
    return;
  }
  g_autoptr(Fixture) fixture = fixture_new(GPOINTER_TO_UINT(uid));
  SandboxSpec spec = fixture_spec(fixture);
  gint64 offsets[] = {1000000 * SECOND + 123456789, -(clock_ns(CLOCK_MONOTONIC) / 4), -1};
  for (gsize i = 0; i < G_N_ELEMENTS(offsets); i++) {
    g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, offsets[i]);
    g_setenv("TEST_OFFSET", text, TRUE);
    spec.monotonic_ns = offsets[i];
    spec.boottime_ns = 2 * offsets[i];
    expect_success(fixture, &spec, clocks_body);
  }
  spec.monotonic_ns = -clock_ns(CLOCK_MONOTONIC) - 1000 * SECOND;
  g_assert_cmpint(WEXITSTATUS(fixture_run(fixture, &spec, clocks_body)), ==, 3);
}

static void
layers_body(Sandbox *sandbox, const Fixture *fixture)
{
  g_autofree char *file = data_file(fixture, "file"), *new = data_file(fixture, "new"),
                  *gone = data_file(fixture, "gone");
  const char *rest;
  struct stat status;
  int ended = -1;
  g_autofree char *changed = probe_run(sandbox, "write", file, "changed", &ended);
  check_string(changed, "");
  g_autofree char *written = probe_run(sandbox, "write", new, "made", &ended);
  check_string(written, "");
  g_autofree char *removed = probe_run(sandbox, "remove", gone, NULL, &ended);
  check(ended == 0);
  const SandboxLayer *layer = sandbox_layer_of(sandbox, file, &rest);
  check(layer != NULL && rest[0] != '/');
  g_autofree char *upper = io_read_file_at(layer->upper_fd, rest, 100),
                  *lower = io_read_file_at(layer->lower_fd, rest, 100);
  check_string(upper, "changed");
  check_string(lower, "original");
  layer = sandbox_layer_of(sandbox, new, &rest);
  g_autofree char *made = io_read_file_at(layer->upper_fd, rest, 100);
  check_string(made, "made");
  check(faccessat(layer->lower_fd, rest, F_OK, 0) != 0 && errno == ENOENT);
  layer = sandbox_layer_of(sandbox, gone, &rest);
  check(fstatat(layer->upper_fd, rest, &status, AT_SYMLINK_NOFOLLOW) == 0);
  check(S_ISCHR(status.st_mode) && status.st_rdev == makedev(0, 0));
  check((sandbox_layer_of(sandbox, "/", &rest) != NULL) == (getuid() == 0));
  check(sandbox_layer_of(sandbox, "/dev/null", &rest) == NULL &&
        sandbox_layer_of(sandbox, fixture->tmp, &rest) == NULL);
  check(sandbox_can_write(sandbox, file) && sandbox_can_write(sandbox, new));
  /* what the answer says is what the kernel does */
  g_autofree char *foreign = g_build_filename(fixture->base, "foreign", "file", NULL);
  g_autofree char *refused = probe_run(sandbox, "write", foreign, "x", NULL);
  gboolean writable = sandbox_can_write(sandbox, foreign);
  struct stat above;
  check(stat(fixture->base, &above) == 0);
  check(writable == (getuid() == 0 || above.st_uid == getuid()));
  check(writable == (refused[0] == '\0'));
  check(writable || strcmp(refused, "EOVERFLOW\n") == 0 || strcmp(refused, "EROFS\n") == 0);
  g_autofree char *in_etc = probe_run(sandbox, "write", "/etc/doppel-probe", "x", NULL);
  check_string(in_etc, sandbox_can_write(sandbox, "/etc/doppel-probe") ? "" : "EROFS\n");
}

static void
test_layers(gconstpointer uid)
{
  g_autoptr(Fixture) fixture = fixture_new(GPOINTER_TO_UINT(uid));
  SandboxSpec spec = fixture_spec(fixture);
  g_autofree char *gone = data_file(fixture, "gone"), *file = data_file(fixture, "file"),
                  *new = data_file(fixture, "new");
  SandboxUpper uppers[] = {SANDBOX_UPPER_AUTO, SANDBOX_UPPER_MEMORY};
  for (gsize i = 0; i < G_N_ELEMENTS(uppers); i++) {
    g_autofree char *text = NULL;
    spec.upper = uppers[i];
    expect_success(fixture, &spec, layers_body);
    g_assert_true(g_file_get_contents(file, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "original");
    g_assert_true(g_file_test(gone, G_FILE_TEST_EXISTS));
    g_assert_false(g_file_test(new, G_FILE_TEST_EXISTS));
    assert_swept(fixture);
  }
}

static void
tracer_body(Sandbox *sandbox, const Fixture *fixture)
{
  g_autoptr(GError) error = NULL;
  int ends[2], status;
  char line[64];
  Probe probe;
  check(pipe2(ends, O_CLOEXEC) == 0);
  probe_init(&probe, ends[1], "peek", NULL, NULL);
  probe.spawn.wanted_pid = 777;
  pid_t pid = sandbox_spawn(sandbox, &probe.spawn, &error);
  check(pid > 0 && pid != 777);
  check(ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL) == 0);
  check(sandbox_release(sandbox, pid, &error));
  check(waitpid(pid, &status, 0) == pid && status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8));
  check(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0);
  check(read(ends[0], line, sizeof line) > 0);
  unsigned long address = strtoul(line, NULL, 16), secret = 0;
  static const char *const names[] = {"mem", "maps", "pagemap", "fd", "task", "status", "syscall"};
  for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
    g_autofree char *path = g_strdup_printf("%d/%s", (int)pid, names[i]);
    g_auto(Fd) fd = openat(sandbox->proc_fd, path, O_RDONLY | O_CLOEXEC);
    check(fd >= 0);
    if (i == 0)
      check(pread(fd, &secret, sizeof secret, (off_t)address) == sizeof secret && secret == 0x5ec2e7);
  }
  struct iovec local = {&secret, sizeof secret}, remote = {(void *)address, sizeof secret};
  secret = 1;
  check(process_vm_writev(pid, &local, 1, &remote, 1, 0) == sizeof secret);
  check(process_vm_readv(pid, &local, 1, &remote, 1, 0) == sizeof secret && secret == 1);
  check(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == 0 && waitpid(pid, &status, 0) == pid &&
        WIFSTOPPED(status));
  /* and free it with the tracee stopped */
}

static void
test_tracer(gconstpointer uid)
{
  g_autoptr(Fixture) fixture = fixture_new(GPOINTER_TO_UINT(uid));
  SandboxSpec spec = fixture_spec(fixture);
  expect_success(fixture, &spec, tracer_body);
  assert_swept(fixture);
}

static void
escapes_body(Sandbox *sandbox, const Fixture *fixture)
{
  static const char *const refused[] = {
      "mount",        "umount", "remount",     "unshare-mount", "sethostname", "mknod",        "sysrq",
      "core-pattern", "kcore",  "ptrace-init", "init-mem",      "init-fds",    "init-environ", "init-root",
      "module",       "kexec",  "clock",       "sysfs",         "dev"};
  g_autofree char *output = probe_run(sandbox, "escapes", NULL, NULL, NULL);
  for (gsize i = 0; i < G_N_ELEMENTS(refused); i++) {
    g_autofree char *result = probe_fact(output, refused[i]);
    if (g_strcmp0(result, "ok") == 0)
      fprintf(stderr, "# %s is possible\n", refused[i]);
    check(result != NULL && strcmp(result, "ok") != 0);
  }
  check(waitpid(sandbox->init, NULL, WNOHANG) == 0); /* its kill(1, SIGKILL) did nothing */
}

static void
test_escapes(gconstpointer uid)
{
  g_autoptr(Fixture) fixture = fixture_new(GPOINTER_TO_UINT(uid));
  SandboxSpec spec = fixture_spec(fixture);
  expect_success(fixture, &spec, escapes_body);
}

static void
hidden_body(Sandbox *sandbox, const Fixture *fixture)
{
  Probe probe;
  probe_init(&probe, -1, "processes", NULL, NULL);
  probe.spawn.wanted_pid = 99;
  g_autofree char *processes = probe_finish(sandbox, &probe, NULL);
  check_string(processes, "1,99,\n");
  g_autofree char *lock = g_build_filename(fixture->tmp, "lock", NULL);
  check(faccessat(AT_FDCWD, lock, F_OK, 0) != 0);
  g_autofree char *read = probe_run(sandbox, "read", lock, NULL, NULL);
  check(strcmp(read, "EACCES\n") == 0 || strcmp(read, "ENOENT\n") == 0);
}

static void
test_hidden(gconstpointer uid)
{
  g_autoptr(Fixture) fixture = fixture_new(GPOINTER_TO_UINT(uid));
  SandboxSpec spec = fixture_spec(fixture);
  expect_success(fixture, &spec, hidden_body);
}

static void
ids_body(Sandbox *sandbox, const Fixture *fixture)
{
  g_autoptr(GError) error = NULL;
  Probe probe;
  probe_init(&probe, -1, "fork-pid", NULL, NULL);
  check(sandbox_next_pid(sandbox, 5000, &error));
  g_autofree char *child = probe_finish(sandbox, &probe, NULL);
  check_string(child, "5001\n"); /* the probe itself is 5000 */
  pid_t refused[] = {1, -5, sandbox->pid_max, G_MAXINT};
  for (gsize i = 0; i < G_N_ELEMENTS(refused); i++) {
    g_clear_error(&error);
    probe.spawn.wanted_pid = refused[i];
    check(sandbox_spawn(sandbox, &probe.spawn, &error) < 0 && error != NULL);
  }
  probe_init(&probe, 2, "fork-pid", NULL, NULL);
  probe.spawn.wanted_pid = 6000;
  pid_t first = sandbox_spawn(sandbox, &probe.spawn, NULL);
  check(first > 0);
  g_clear_error(&error);
  check(sandbox_spawn(sandbox, &probe.spawn, &error) < 0);
  check(error && strstr(error->message, "6000 is taken") != NULL);
  /* the first is never released: sandbox_free() has to end it */
}

static void
test_ids(gconstpointer uid)
{
  g_autoptr(Fixture) fixture = fixture_new(GPOINTER_TO_UINT(uid));
  SandboxSpec spec = fixture_spec(fixture);
  expect_success(fixture, &spec, ids_body);
}

static void
check_start_error(Sandbox *sandbox, const Probe *probe, const char *expected)
{
  g_autoptr(GError) error = NULL;
  int status;
  pid_t pid = sandbox_spawn(sandbox, &probe->spawn, &error);
  check(pid > 0 && !sandbox_release(sandbox, pid, &error));
  if (!strstr(error->message, expected))
    fprintf(stderr, "# %s\n", error->message);
  check(strstr(error->message, expected) != NULL);
  check(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 127);
}

static void
start_errors_body(Sandbox *sandbox, const Fixture *fixture)
{
  g_autoptr(GError) error = NULL;
  Probe probe;
  probe_init(&probe, 2, "facts", NULL, NULL);
  probe.spawn.path = "/no/such/program";
  check_start_error(sandbox, &probe, "cannot execute it: No such file");
  probe_init(&probe, 2, "facts", NULL, NULL);
  probe.spawn.cwd = "/no/such/directory";
  check_start_error(sandbox, &probe, "working directory");
  probe_init(&probe, 999, "facts", NULL, NULL);
  check(sandbox_spawn(sandbox, &probe.spawn, &error) < 0 && strstr(error->message, "descriptors") != NULL);
  g_clear_error(&error);
  probe_init(&probe, 2, "facts", NULL, NULL);
  probe.spawn.uid = 4294967295u - 1;
  if (getuid() != 0)
    check_start_error(sandbox, &probe, "user and groups");
  probe_init(&probe, 2, "facts", NULL, NULL);
  pid_t pid = sandbox_spawn(sandbox, &probe.spawn, &error);
  check(kill(pid, SIGKILL) == 0 && !sandbox_release(sandbox, pid, &error));
  check(strstr(error->message, "died") != NULL);
}

static void
test_start_errors(gconstpointer uid)
{
  g_autoptr(Fixture) fixture = fixture_new(GPOINTER_TO_UINT(uid));
  SandboxSpec spec = fixture_spec(fixture);
  expect_success(fixture, &spec, start_errors_body);
}

static void
swap_body(Sandbox *sandbox, const Fixture *fixture)
{
  int one[2], two[2];
  Probe probe;
  check(pipe2(one, O_CLOEXEC) == 0 && pipe2(two, O_CLOEXEC) == 0);
  /* each target is another's source */
  SandboxFd fds[] = {{one[1], 1}, {one[0], two[0]}, {two[0], one[0]}, {two[1], 700}};
  probe_init(&probe, -1, "facts", NULL, NULL);
  probe.spawn.fds = fds;
  probe.spawn.fd_count = G_N_ELEMENTS(fds);
  pid_t pid = sandbox_spawn(sandbox, &probe.spawn, NULL);
  check(pid > 0 && sandbox_release(sandbox, pid, NULL));
  close(one[1]);
  char text[8192] = "";
  check(io_read_all(one[0], text, sizeof text - 1) > 0);
  g_autofree char *expected = g_strdup_printf("1,%d,%d,700,", MIN(one[0], two[0]), MAX(one[0], two[0]));
  check_fact(text, "fds", expected);
}

static void
test_swap(gconstpointer uid)
{
  g_autoptr(Fixture) fixture = fixture_new(GPOINTER_TO_UINT(uid));
  SandboxSpec spec = fixture_spec(fixture);
  expect_success(fixture, &spec, swap_body);
}

static void
full_body(Sandbox *sandbox, const Fixture *fixture)
{
  g_autofree char *big = data_file(fixture, "big");
  int status;
  g_autofree char *output = probe_run(sandbox, "fill", big, NULL, &status);
  check_string(output, "ENOSPC\n");
  check(status == 0);
}

static void
test_full(gconstpointer uid)
{
  g_autoptr(Fixture) fixture = fixture_new(GPOINTER_TO_UINT(uid));
  SandboxSpec spec = fixture_spec(fixture);
  spec.upper = SANDBOX_UPPER_MEMORY;
  spec.upper_bytes = 1 << 20;
  expect_success(fixture, &spec, full_body);
  assert_swept(fixture);
}

static void
deep_body(Sandbox *sandbox, const Fixture *fixture)
{
  g_autofree char *deep = data_file(fixture, "deep");
  int status;
  g_autofree char *output = probe_run(sandbox, "nest", deep, "3000", &status);
  check(status == 0);
}

static void
test_deep(gconstpointer uid)
{
  g_autoptr(Fixture) fixture = fixture_new(GPOINTER_TO_UINT(uid));
  SandboxSpec spec = fixture_spec(fixture);
  expect_success(fixture, &spec, deep_body);
  assert_swept(fixture);
}

/* Tells where its processes are and waits to be killed. */
static void
victim_body(Sandbox *sandbox, const Fixture *fixture)
{
  Probe probe;
  int ends[2];
  char line[16];
  g_autofree char *file = data_file(fixture, "left-over");
  g_free(probe_run(sandbox, "write", file, "x", NULL));
  check(pipe2(ends, O_CLOEXEC) == 0);
  probe_init(&probe, ends[1], "forks", NULL, NULL);
  pid_t pid = sandbox_spawn(sandbox, &probe.spawn, NULL);
  check(pid > 0 && sandbox_release(sandbox, pid, NULL));
  check(read(ends[0], line, sizeof line) > 0);
  struct {
    pid_t init, mirror;
  } message = {sandbox->init, pid};
  check(write(3, &message, sizeof message) == sizeof message);
  for (;;)
    pause();
}

static gboolean
is_gone(pid_t pid)
{
  for (int i = 0; i < 6000; i++) {
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid), *stat = NULL;
    if (!g_file_get_contents(path, &stat, NULL, NULL) || strstr(stat, ") Z "))
      return TRUE;
    g_usleep(10000);
  }
  return FALSE;
}

static void
nothing_body(Sandbox *sandbox, const Fixture *fixture)
{
}

static void
test_killed(gconstpointer uid)
{
  g_autoptr(Fixture) fixture = fixture_new(GPOINTER_TO_UINT(uid));
  SandboxSpec spec = fixture_spec(fixture);
  int ends[2], status;
  struct {
    pid_t init, mirror;
  } message;
  g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
  int saved = fcntl(3, F_DUPFD_CLOEXEC, 10);
  if (ends[1] != 3)
    g_assert_cmpint(dup2(ends[1], 3), ==, 3);
  pid_t pid = fixture_fork(fixture, &spec, victim_body);
  g_auto(Fd) reader = ends[0] == 3 ? saved : ends[0];
  g_assert_cmpint(io_read_all(reader, &message, sizeof message), ==, sizeof message);
  g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
  g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
  g_assert_true(is_gone(message.init));
  g_assert_true(is_gone(message.mirror));
  close(3);
  g_autofree char *left = g_strdup_printf("%s/session-*", fixture->tmp);
  g_autoptr(GDir) dir = g_dir_open(fixture->tmp, 0, NULL);
  guint found = 0;
  const char *name;
  while ((name = g_dir_read_name(dir)))
    found += g_str_has_prefix(name, "session-");
  g_assert_cmpuint(found, ==, 1);
  expect_success(fixture, &spec, nothing_body);
  assert_swept(fixture);
}

/* A living session's directory is not swept. */
static void
neighbour_body(Sandbox *sandbox, const Fixture *fixture)
{
  char byte;
  check(write(4, "x", 1) == 1);
  check(read(3, &byte, 1) == 0);
  layers_body(sandbox, fixture);
}

static void
test_neighbours(gconstpointer uid)
{
  g_autoptr(Fixture) fixture = fixture_new(GPOINTER_TO_UINT(uid));
  SandboxSpec spec = fixture_spec(fixture);
  int hold[2], ready[2], status;
  char byte;
  g_assert_cmpint(pipe2(hold, O_CLOEXEC), ==, 0);
  g_assert_cmpint(pipe2(ready, O_CLOEXEC), ==, 0);
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    int in = fcntl(hold[0], F_DUPFD_CLOEXEC, 20), out = fcntl(ready[1], F_DUPFD_CLOEXEC, 20);
    close_range(3, 19, 0);
    dup2(in, 3);
    dup2(out, 4);
    pid_t worker = fixture_fork(fixture, &spec, neighbour_body);
    close_range(3, ~0u, 0);
    waitpid(worker, &status, 0);
    _exit(status == 0 ? 0 : 1);
  }
  close(hold[0]);
  close(ready[1]);
  g_assert_cmpint(read(ready[0], &byte, 1), ==, 1);
  expect_success(fixture, &spec, nothing_body);
  close(hold[1]);
  g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
  g_assert_cmpint(status, ==, 0);
  close(ready[0]);
  assert_swept(fixture);
}

/* Mounts of all kinds below the data directory. */
static void
mounts_before(const Fixture *fixture)
{
  g_autofree char *odd = data_file(fixture, "odd, na:me\t\\"),
                  *odd_file = g_build_filename(odd, "file", NULL);
  g_autofree char *inner = g_build_filename(odd, "inner", NULL),
                  *inner_file = g_build_filename(inner, "file", NULL);
  g_autofree char *bound = data_file(fixture, "bound"), *file = data_file(fixture, "file");
  g_autofree char *shadow = data_file(fixture, "shadow"), *below = g_build_filename(shadow, "below", NULL);
  g_autofree char *below_file = g_build_filename(below, "file", NULL),
                  *over_file = g_build_filename(shadow, "over", NULL);
  check(mkdir(odd, 0755) == 0 && mkdir(shadow, 0755) == 0 && g_file_set_contents(bound, "under", -1, NULL));
  check(mount("t", odd, "tmpfs", 0, "mode=0777") == 0 && g_file_set_contents(odd_file, "odd", -1, NULL));
  check(mkdir(inner, 0777) == 0 && mount("t", inner, "tmpfs", 0, "mode=0777") == 0);
  check(g_file_set_contents(inner_file, "inner", -1, NULL));
  check(chown(odd_file, fixture->uid, fixture->uid) == 0 &&
        chown(inner_file, fixture->uid, fixture->uid) == 0);
  check(mount(file, bound, NULL, MS_BIND, NULL) == 0);
  check(mkdir(below, 0755) == 0 && mount("t", below, "tmpfs", 0, NULL) == 0);
  check(g_file_set_contents(below_file, "hidden", -1, NULL));
  check(mount("t", shadow, "tmpfs", 0, "mode=0777") == 0 && g_file_set_contents(over_file, "over", -1, NULL));
}

static void
check_read(Sandbox *sandbox, const char *path, const char *expected)
{
  g_autofree char *text = probe_run(sandbox, "read", path, NULL, NULL);
  check_string(text, expected);
}

static void
check_written(Sandbox *sandbox, const char *path)
{
  const char *rest;
  int status;
  check(sandbox_can_write(sandbox, path));
  g_autofree char *output = probe_run(sandbox, "write", path, "changed", &status);
  check_string(output, "");
  check_read(sandbox, path, "changed");
  const SandboxLayer *layer = sandbox_layer_of(sandbox, path, &rest);
  g_autofree char *upper = io_read_file_at(layer->upper_fd, rest, 100);
  check_string(upper, "changed");
}

static void
mounts_body(Sandbox *sandbox, const Fixture *fixture)
{
  g_autofree char *odd = data_file(fixture, "odd, na:me\t\\/file"),
                  *inner = data_file(fixture, "odd, na:me\t\\/inner/file");
  g_autofree char *bound = data_file(fixture, "bound"), *over = data_file(fixture, "shadow/over");
  g_autofree char *below = data_file(fixture, "shadow/below/file");
  check_read(sandbox, odd, "odd");
  check_read(sandbox, inner, "inner");
  check_read(sandbox, bound, "original");
  check_read(sandbox, over, "over");
  check_read(sandbox, below, "ENOENT\n");
  check_written(sandbox, odd);
  check_written(sandbox, inner);
  g_autofree char *refused = probe_run(sandbox, "write", bound, "changed", NULL);
  check_string(refused, "EROFS\n");
  check(!sandbox_can_write(sandbox, bound));
  gboolean noted = FALSE;
  for (guint i = 0; i < sandbox->notes->len; i++)
    noted |= strstr(sandbox->notes->pdata[i], "bound is read-only") != NULL;
  check(noted);
}

static void
test_mounts(gconstpointer uid)
{
  if (geteuid() != 0) {
    g_test_skip("only root can mount");
    return;
  }
  g_autoptr(Fixture) fixture = fixture_new(GPOINTER_TO_UINT(uid));
  SandboxSpec spec = fixture_spec(fixture);
  fixture->before = mounts_before;
  expect_success(fixture, &spec, mounts_body);
  g_autofree char *file = data_file(fixture, "file"), *text = NULL;
  g_assert_true(g_file_get_contents(file, &text, NULL, NULL));
  g_assert_cmpstr(text, ==, "original");
  assert_swept(fixture);
}

/* A mount beside the test's directory: then what lies above both is taken apart, and the test's directory,
 * which holds the sessions, is shown as a whole. */
static void
sibling_before(const Fixture *fixture)
{
  g_autofree char *sibling = g_strconcat(fixture->base, "-sibling", NULL);
  check(mkdir(sibling, 0755) == 0 && mount("t", sibling, "tmpfs", 0, "mode=0755") == 0);
}

static void
test_sibling(gconstpointer uid)
{
  if (geteuid() != 0) {
    g_test_skip("only root can mount");
    return;
  }
  g_autoptr(Fixture) fixture = fixture_new(GPOINTER_TO_UINT(uid));
  g_autofree char *sibling = g_strconcat(fixture->base, "-sibling", NULL);
  SandboxSpec spec = fixture_spec(fixture);
  fixture->before = sibling_before;
  expect_success(fixture, &spec, layers_body);
  g_assert_cmpint(rmdir(sibling), ==, 0);
  assert_swept(fixture);
}

/* The file system that holds the sessions is a mount of its own. */
static void
own_mount_before(const Fixture *fixture)
{
  check(mount(fixture->base, fixture->base, NULL, MS_BIND, NULL) == 0);
}

static void
test_own_mount(gconstpointer uid)
{
  if (geteuid() != 0) {
    g_test_skip("only root can mount");
    return;
  }
  g_autoptr(Fixture) fixture = fixture_new(GPOINTER_TO_UINT(uid));
  SandboxSpec spec = fixture_spec(fixture);
  fixture->before = own_mount_before;
  expect_success(fixture, &spec, layers_body);
  assert_swept(fixture);
}

/* A clone's root in a directory, made of links and one mount. */
static char *
clone_root(const Fixture *fixture)
{
  return g_build_filename(fixture->base, "root", NULL);
}

static void
root_before(const Fixture *fixture)
{
  static const char *const links[] = {"bin", "lib", "lib64"};
  g_autofree char *root = clone_root(fixture), *usr = g_build_filename(root, "usr", NULL);
  g_autofree char *tmp = g_build_filename(root, "sessions", NULL),
                  *probe = g_build_filename(root, "probe", NULL);
  g_autofree char *state = g_build_filename(root, "state", NULL), *key = g_build_filename(state, "key", NULL);
  check(mkdir(root, 0755) == 0 && mkdir(usr, 0755) == 0 && mkdir(tmp, 0755) == 0);
  check(mkdir(state, 0755) == 0 && g_file_set_contents(key, "secret", -1, NULL));
  check(mount("/usr", usr, NULL, MS_BIND, NULL) == 0);
  for (gsize i = 0; i < G_N_ELEMENTS(links); i++) {
    g_autofree char *link = g_build_filename(root, links[i], NULL),
                    *target = g_strconcat("usr/", links[i], NULL);
    check(symlink(target, link) == 0);
  }
  g_autofree char *dev = g_build_filename(root, "dev", NULL);
  check(mkdir(dev, 0755) == 0);
  g_autofree char *contents = NULL;
  gsize length;
  check(g_file_get_contents(fixture_probe(), &contents, &length, NULL));
  check(g_file_set_contents(probe, contents, (gssize)length, NULL) && chmod(probe, 0755) == 0);
}

static void
root_body(Sandbox *sandbox, const Fixture *fixture)
{
  Probe probe;
  int status;
  probe_init(&probe, -1, "write", "/usr/share/doppel-probe", "x");
  probe.spawn.path = "/probe";
  g_autofree char *output = probe_finish(sandbox, &probe, &status);
  check_string(output, "");
  probe_init(&probe, -1, "read", fixture->data, NULL);
  probe.spawn.path = "/probe";
  g_autofree char *outside = probe_finish(sandbox, &probe, NULL);
  check_string(outside, "ENOENT\n");
  probe_init(&probe, -1, "read", "/state/key", NULL);
  probe.spawn.path = "/probe";
  g_autofree char *hidden = probe_finish(sandbox, &probe, NULL);
  check_string(hidden, "ENOENT\n");
  const char *rest;
  check(sandbox_layer_of(sandbox, "/state/key", &rest) == NULL);
  const SandboxLayer *layer = sandbox_layer_of(sandbox, "/usr/share/doppel-probe", &rest);
  check_string(layer->mountpoint, "/usr");
  check_string(rest, "share/doppel-probe");
  check(faccessat(layer->upper_fd, rest, F_OK, 0) == 0);
  check(faccessat(layer->lower_fd, rest, F_OK, 0) != 0);
}

static void
test_root(void)
{
  g_autoptr(Fixture) fixture = fixture_new(0);
  g_autofree char *root = clone_root(fixture), *state = g_build_filename(root, "state", NULL);
  SandboxSpec spec = fixture_spec(fixture);
  fixture->before = root_before;
  spec.local = FALSE;
  spec.root = root;
  spec.hidden = state;
  spec.sub_ids = FALSE;
  int status = -1;
  /* spec.root is resolved by the child, after it was made */
  status = fixture_run(fixture, &spec, root_body);
  g_assert_cmpint(status, ==, 0);
  g_assert_false(g_file_test("/usr/share/doppel-probe", G_FILE_TEST_EXISTS));
  assert_swept(fixture);
}

/* Where /tmp is a file system of its own, a layer over / does not have it. */
static void
copy_too(const char *root, const char *path)
{
  g_autofree char *there = g_build_filename(root, path, NULL), *parent = g_path_get_dirname(there);
  char *argv[] = {(char *)"cp", (char *)"-ax", (char *)path, parent, NULL};
  if (access(there, F_OK) == 0)
    return;
  check(g_mkdir_with_parents(parent, 0755) == 0);
  check(g_spawn_sync("/", argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL));
}

/* As in a container: the root itself is an overlay. */
static void
overlay_before(const Fixture *fixture)
{
  static const char *const kept[] = {"proc", "dev", "sys"};
  g_autofree char *root = g_build_filename(fixture->base, "merged", NULL),
                  *memory = g_build_filename(fixture->base, "m", NULL);
  check(mkdir(root, 0755) == 0 && mkdir(memory, 0755) == 0 && mount("t", memory, "tmpfs", 0, NULL) == 0);
  g_autofree char *options = g_strdup_printf("lowerdir=/,upperdir=%s/u,workdir=%s/w", memory, memory);
  g_autofree char *upper = g_build_filename(memory, "u", NULL), *work = g_build_filename(memory, "w", NULL);
  check(mkdir(upper, 0755) == 0 && mkdir(work, 0755) == 0);
  if (mount("o", root, "overlay", 0, options) != 0)
    _exit(NOT_HERE);
  for (gsize i = 0; i < G_N_ELEMENTS(kept); i++) {
    g_autofree char *from = g_strconcat("/", kept[i], NULL), *to = g_build_filename(root, kept[i], NULL);
    check(mount(from, to, NULL, MS_BIND | MS_REC, NULL) == 0);
  }
  g_autofree char *probe = g_path_get_dirname(fixture_probe());
  copy_too(root, fixture->base);
  copy_too(root, probe);
  check(chdir(root) == 0 && syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0);
  check(chdir("/") == 0);
}

static void
overlay_body(Sandbox *sandbox, const Fixture *fixture)
{
  g_autofree char *file = data_file(fixture, "file");
  check_read(sandbox, file, "original");
  check_written(sandbox, file);
  gboolean noted = FALSE;
  for (guint i = 0; i < sandbox->notes->len; i++)
    noted |= strstr(sandbox->notes->pdata[i], "kept in memory") != NULL;
  check(noted);
}

static void
test_on_overlay(gconstpointer uid)
{
  if (geteuid() != 0) {
    g_test_skip("only root can mount");
    return;
  }
  g_autoptr(Fixture) fixture = fixture_new(GPOINTER_TO_UINT(uid));
  SandboxSpec spec = fixture_spec(fixture);
  fixture->before = overlay_before;
  int status = fixture_run(fixture, &spec, overlay_body);
  if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_HERE)
    g_test_skip("in this container nothing can be laid over /");
  else
    g_assert_cmpint(status, ==, 0);
}

static void
overlay_twice_before(const Fixture *fixture)
{
  overlay_before(fixture);
  Fixture inner = *fixture;
  inner.base = g_strconcat(fixture->base, "/inner", NULL);
  check(mkdir(inner.base, 0755) == 0);
  overlay_before(&inner);
}

static void
test_on_two_overlays(void)
{
  g_autoptr(Fixture) fixture = fixture_new(0);
  SandboxSpec spec = fixture_spec(fixture);
  fixture->before = overlay_twice_before;
  int status = fixture_run(fixture, &spec, overlay_body);
  if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_HERE)
    g_test_skip("in this container nothing can be laid over /");
  else
    g_assert_cmpint(WEXITSTATUS(status), ==, 3);
}

static void
limits_body(Sandbox *sandbox, const Fixture *fixture)
{
  for (guint i = 0; i < sandbox->notes->len; i++)
    if (strstr(sandbox->notes->pdata[i], "use of pids is not limited"))
      _exit(NOT_HERE);
  g_autofree char *output = probe_run(sandbox, "forks-until", "100", NULL, NULL);
  check_string(output, "EAGAIN after 4\n");
}

static void
test_limits(void)
{
  g_autoptr(Fixture) fixture = fixture_new(0);
  SandboxSpec spec = fixture_spec(fixture);
  spec.limits = (SandboxLimits){.pids = 5, .memory_bytes = 256 << 20, .cpu_percent = 150};
  int status = fixture_run(fixture, &spec, limits_body);
  if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_HERE)
    g_test_skip("no control group for pids can be made here");
  else
    g_assert_cmpint(status, ==, 0);
  assert_swept(fixture);
}

static void
test_bad_tmp(void)
{
  g_autoptr(Fixture) fixture = fixture_new(geteuid());
  SandboxSpec spec = fixture_spec(fixture);
  g_assert_cmpint(chmod(fixture->tmp, 0777), ==, 0);
  g_assert_cmpint(WEXITSTATUS(fixture_run(fixture, &spec, nothing_body)), ==, 3);
  spec.tmp = "/proc/no/such/place";
  g_assert_cmpint(WEXITSTATUS(fixture_run(fixture, &spec, nothing_body)), ==, 3);
}

static const struct {
  const char *name;
  GTestDataFunc run;
} both[] = {
    {"process", test_process},
    {"clocks", test_clocks},
    {"layers", test_layers},
    {"tracer", test_tracer},
    {"escapes", test_escapes},
    {"hidden", test_hidden},
    {"ids", test_ids},
    {"swap", test_swap},
    {"start-errors", test_start_errors},
    {"full", test_full},
    {"deep", test_deep},
    {"killed", test_killed},
    {"neighbours", test_neighbours},
    {"mounts", test_mounts},
    {"sibling", test_sibling},
    {"own-mount", test_own_mount},
    {"on-overlay", test_on_overlay},
};

static void
skip(gconstpointer reason)
{
  g_test_skip(reason);
}

static void
add_for(const char *who, uid_t uid)
{
  const char *reason = fixture_why_not(uid);
  for (gsize i = 0; i < G_N_ELEMENTS(both); i++) {
    g_autofree char *path = g_strdup_printf("/sandbox/%s/%s", who, both[i].name);
    if (reason)
      g_test_add_data_func(path, reason, skip);
    else
      g_test_add_data_func(path, GUINT_TO_POINTER(uid), both[i].run);
  }
}

static const struct {
  const char *name;
  GTestFunc run;
} only_root[] = {
    {"other-user", test_other_user},
    {"root", test_root},
    {"on-two-overlays", test_on_two_overlays},
    {"limits", test_limits},
};

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  fixture_set_probe(argv[1]);
  add_for("user", geteuid() == 0 ? ORDINARY : geteuid());
  add_for("root", 0);
  const char *reason = geteuid() == 0 ? fixture_why_not(0) : "needs root";
  for (gsize i = 0; i < G_N_ELEMENTS(only_root); i++) {
    g_autofree char *path = g_strdup_printf("/sandbox/only-root/%s", only_root[i].name);
    if (reason)
      g_test_add_data_func(path, reason, skip);
    else
      g_test_add_func(path, only_root[i].run);
  }
  g_test_add_func("/sandbox/bad-tmp", test_bad_tmp);
  return g_test_run();
}
