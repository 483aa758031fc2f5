/* The filter: its verdicts by interpretation, for every number, and in the kernel, by installing it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mirror/syscall_filter.h"

/* What the program says, and how many instructions it took to say it. */
static guint32
interpret(const GArray *program, const struct seccomp_data *data, guint *steps)
{
  guint32 a = 0, x = 0;
  *steps = 0;
  for (guint at = 0; at < program->len; at++, (*steps)++) {
    struct sock_filter i = g_array_index(program, struct sock_filter, at);
    switch (i.code) {
    case BPF_LD | BPF_W | BPF_ABS:
      g_assert_cmpuint(i.k % 4, ==, 0);
      g_assert_cmpuint(i.k, <, sizeof *data);
      memcpy(&a, (const guint8 *)data + i.k, 4);
      break;
    case BPF_LD | BPF_IMM:
      a = i.k;
      break;
    case BPF_MISC | BPF_TAX:
      x = a;
      break;
    case BPF_ALU | BPF_LSH | BPF_X:
      g_assert_cmpuint(x, <, 32);
      a <<= x;
      break;
    case BPF_JMP | BPF_JA:
      at += i.k;
      break;
    case BPF_JMP | BPF_JEQ | BPF_K:
      at += a == i.k ? i.jt : i.jf;
      break;
    case BPF_JMP | BPF_JGE | BPF_K:
      at += a >= i.k ? i.jt : i.jf;
      break;
    case BPF_JMP | BPF_JGT | BPF_K:
      at += a > i.k ? i.jt : i.jf;
      break;
    case BPF_JMP | BPF_JSET | BPF_K:
      at += a & i.k ? i.jt : i.jf;
      break;
    case BPF_RET | BPF_K:
      return i.k;
    default:
      g_error("instruction %u has the unknown code 0x%x", at, i.code);
    }
  }
  g_error("the program has no end");
}

static guint32
verdict(const GArray *program, long nr, const guint64 args[6], guint64 address)
{
  struct seccomp_data data = {.nr = nr, .arch = SYSCALL_AUDIT_ARCH, .instruction_pointer = address};
  memcpy(data.args, args, sizeof data.args);
  guint steps;
  guint32 result = interpret(program, &data, &steps);
  g_assert_cmpuint(steps, <, 40);
  return result;
}

static GArray *
build(guint64 start, guint64 end)
{
  GError *error = NULL;
  GArray *program = syscall_filter_build(start, end, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(program->len, <, 1024);
  return program;
}

static void
test_every_number(void)
{
  g_autoptr(GArray) program = build(0x7f0000001000, 0x7f0000002000);
  static const guint64 values[] = {0,  1,  2,    3,    4,     7,    11,         16,           31,
                                   32, 33, 0x22, 0x62, 0x102, 1030, 0xfffffffa, 0x10000000000};
  for (long nr = -3; nr < 2000; nr++)
    for (guint v = 0; v < G_N_ELEMENTS(values); v++) {
      guint64 args[6];
      for (guint i = 0; i < 6; i++)
        args[i] = values[v];
      const SyscallRow *row = syscall_row(nr);
      guint32 expected =
          row && syscall_runs_unstopped(row, args) ? SECCOMP_RET_ALLOW : SECCOMP_RET_USER_NOTIF;
      if (verdict(program, nr, args, 0x400000) != expected)
        g_error("number %ld with 0x%" G_GINT64_MODIFIER "x has the wrong verdict", nr, values[v]);
    }
  guint64 none[6] = {};
  g_assert_cmphex(verdict(program, 0x40000000 | SYS_getpid, none, 0), ==, SECCOMP_RET_USER_NOTIF);
}

static void
test_scratch(void)
{
  guint64 start = 0x7f00fffff000, end = start + 0xfff, none[6] = {};
  g_autoptr(GArray) program = build(start, end);
  /* The kernel tells the address behind the instruction. */
  g_assert_cmphex(verdict(program, SYS_read, none, start), ==, SECCOMP_RET_USER_NOTIF);
  g_assert_cmphex(verdict(program, SYS_read, none, start + 2), ==, SECCOMP_RET_ALLOW);
  g_assert_cmphex(verdict(program, SYS_ptrace, none, end), ==, SECCOMP_RET_ALLOW);
  g_assert_cmphex(verdict(program, SYS_read, none, end + 1), ==, SECCOMP_RET_USER_NOTIF);
  g_assert_cmphex(verdict(program, SYS_read, none, (start + 2) & 0xffffffff), ==, SECCOMP_RET_USER_NOTIF);
  g_autoptr(GArray) without = build(0, 0);
  g_assert_cmphex(verdict(without, SYS_read, none, 0), ==, SECCOMP_RET_USER_NOTIF);
  g_autoptr(GError) error = NULL;
  g_assert_null(syscall_filter_build(0x1fffff000, 0x200001000, &error));
  g_assert_nonnull(error);
}

static void
test_other_architecture(void)
{
  g_autoptr(GArray) program = build(0, 0);
  struct seccomp_data data = {.nr = SYS_getpid, .arch = AUDIT_ARCH_I386};
  guint steps;
  g_assert_cmphex(interpret(program, &data, &steps), ==, SECCOMP_RET_USER_NOTIF);
  g_assert_null(syscall_filter_row(&data));
  data.arch = SYSCALL_AUDIT_ARCH;
  g_assert_cmpstr(syscall_filter_row(&data)->name, ==, "getpid");
  data.nr |= 0x40000000;
  g_assert_null(syscall_filter_row(&data));
}

/* ---- in the kernel ---- */

typedef long (*RawCall)(long nr, long a, long b, long c);

/* A page with one function that makes a system call: the engine's scratch, as it were. */
static RawCall
map_scratch(guint8 **page)
{
#if defined(__x86_64__)
  static const guint8 code[] = {0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x48, 0x89,
                                0xd6, 0x48, 0x89, 0xca, 0x0f, 0x05, 0xc3};
#else
  static const guint8 code[] = {0xe8, 0x03, 0x00, 0xaa, 0xe0, 0x03, 0x01, 0xaa, 0xe1, 0x03, 0x02, 0xaa,
                                0xe2, 0x03, 0x03, 0xaa, 0x01, 0x00, 0x00, 0xd4, 0xc0, 0x03, 0x5f, 0xd6};
#endif
  *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  g_assert_true(*page != MAP_FAILED);
  memcpy(*page, code, sizeof code);
  __builtin___clear_cache((char *)*page, (char *)*page + sizeof code);
  return (RawCall)(void *)*page;
}

/* What the child tells the test. */
typedef struct {
  volatile int listener; /* descriptor in the child, -1 until there is one */
  volatile long results[6];
} Shared;

/* Under the filter no call of the C library but the tested ones may be made. */
static G_GNUC_NORETURN void
live_under_filter(Shared *shared, const GArray *program, RawCall scratch, int pipe_end, int file)
{
  GError *error = NULL;
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  shared->listener = syscall_filter_install(program, &error);
  struct timespec now;
  shared->results[0] = syscall(SYS_getpid);
  shared->results[1] = syscall(SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != -1;
  shared->results[1] += syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now) == 0;
  shared->results[2] = scratch(SYS_write, pipe_end, (long)"direct", 6);
  shared->results[3] = syscall(SYS_getppid);
  shared->results[4] = syscall(SYS_write, pipe_end, "notified", 8) == -1 ? -errno : 0;
  shared->results[5] = syscall(SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE, file, 0) != -1;
  syscall(SYS_exit_group, 7);
  __builtin_unreachable();
}

/* Answers one notification; the call's number. */
static long
answer(int listener)
{
  struct seccomp_notif notice = {};
  g_assert_cmpint(ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notice), ==, 0);
  struct seccomp_notif_resp response = {.id = notice.id};
  if (notice.data.nr == SYS_getppid)
    response.val = 4711;
  else if (notice.data.nr == SYS_write)
    response.error = -ENOSPC;
  else
    response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  g_assert_cmpint(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response), ==, 0);
  return notice.data.nr;
}

static int
fetch_listener(const Shared *shared, pid_t pid)
{
  for (guint waited = 0; shared->listener < 0; waited++) {
    g_assert_cmpuint(waited, <, 60000);
    g_usleep(1000);
  }
  int process = syscall(SYS_pidfd_open, pid, 0);
  int listener = syscall(SYS_pidfd_getfd, process, shared->listener, 0);
  close(process);
  return listener;
}

static void
test_installed(void)
{
  Shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  shared->listener = -1;
  guint8 *page;
  RawCall scratch = map_scratch(&page);
  g_autoptr(GArray) program = build((guintptr)page, (guintptr)page + 4096);
  int ends[2], file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  g_assert_cmpint(pipe(ends), ==, 0);
  pid_t pid = fork();
  if (pid == 0)
    live_under_filter(shared, program, scratch, ends[1], file);
  int listener = fetch_listener(shared, pid);
  g_assert_cmpint(listener, >=, 0);
  static const long expected[] = {SYS_getppid, SYS_write, SYS_mmap, SYS_exit_group};
  for (guint i = 0; i < G_N_ELEMENTS(expected); i++)
    g_assert_cmpint(answer(listener), ==, expected[i]);
  int status;
  g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
  g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
  g_assert_cmpint(shared->results[0], ==, pid);
  g_assert_cmpint(shared->results[1], ==, 2);
  g_assert_cmpint(shared->results[2], ==, 6);
  g_assert_cmpint(shared->results[3], ==, 4711);
  g_assert_cmpint(shared->results[4], ==, -ENOSPC);
  g_assert_cmpint(shared->results[5], ==, 1);
  char text[16] = {};
  g_assert_cmpint(read(ends[0], text, sizeof text), ==, 6);
  g_assert_cmpstr(text, ==, "direct");
  struct pollfd gone = {listener, POLLIN, 0};
  g_assert_cmpint(poll(&gone, 1, 60000), ==, 1);
  g_assert_cmpint(gone.revents & POLLIN, ==, 0);
  close(listener), close(file), close(ends[0]), close(ends[1]);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/filter/every-number", test_every_number);
  g_test_add_func("/filter/scratch", test_scratch);
  g_test_add_func("/filter/other-architecture", test_other_architecture);
  g_test_add_func("/filter/installed", test_installed);
  return g_test_run();
}
