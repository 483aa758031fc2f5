/* Two twins of one program on one machine: every call of its function runs in the mirror, and the output is
 * as without. */
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "mirror/twin.h"

static const char *subject;

static MirrorProcess *
start(int output)
{
  int gate[2];
  g_assert_no_errno(pipe2(gate, O_CLOEXEC));
  pid_t pid = fork();
  if (pid == 0) {
    char go;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    personality(ADDR_NO_RANDOMIZE);
    dup2(output, 1);
    char language[] = "LANG=C";
    char *arguments[] = {(char *)subject, NULL}, *environment[] = {language, NULL};
    if (read(gate[0], &go, 1) == 1)
      execve(subject, arguments, environment);
    _exit(127);
  }
  g_assert_no_errno(
      ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE));
  g_assert_true(write(gate[1], "x", 1) == 1);
  close(gate[0]);
  close(gate[1]);
  int status;
  g_assert_cmpint(waitpid(pid, &status, __WALL), ==, pid);
  g_assert_cmpint(status >> 16, ==, PTRACE_EVENT_EXEC);
  g_autoptr(GError) error = NULL;
  g_auto(Fd) proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  MirrorProcess *process = mirror_process_new(pid, proc, &error);
  g_assert_no_error(error);
  mirror_scratch_make(process, &error);
  g_assert_no_error(error);
  return process;
}

static guint64
symbol_address(const char *name)
{
  g_auto(Fd) fd = open(subject, O_RDONLY | O_CLOEXEC);
  elf_version(EV_CURRENT);
  Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
  guint64 found = 0;
  GElf_Ehdr header;
  gelf_getehdr(elf, &header);
  for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section));) {
    GElf_Shdr head;
    gelf_getshdr(section, &head);
    if (head.sh_type != SHT_SYMTAB)
      continue;
    Elf_Data *data = elf_getdata(section, NULL);
    for (gsize i = 0; i < head.sh_size / head.sh_entsize; i++) {
      GElf_Sym symbol;
      gelf_getsym(data, i, &symbol);
      if (strcmp(elf_strptr(elf, head.sh_link, symbol.st_name), name) == 0)
        found = symbol.st_value + (header.e_type == ET_DYN ? 0x555555554000 : 0);
    }
  }
  elf_end(elf);
  return found;
}

static MirrorStop
wait_stop(MirrorProcess *process)
{
  int status;
  pid_t tid = waitpid(process->pid, &status, __WALL);
  g_assert_cmpint(tid, ==, process->pid);
  return mirror_stop_read(process, tid, status);
}

static void
run_to(MirrorProcess *process, MirrorStopKind kind)
{
  g_autoptr(GError) error = NULL;
  for (;;) {
    mirror_thread_resume(mirror_thread_leader(process), PTRACE_CONT, &error);
    g_assert_no_error(error);
    MirrorStop stop = wait_stop(process);
    if (stop.kind == kind)
      return;
    g_assert_cmpint(stop.kind, !=, MIRROR_STOP_GONE);
    if (stop.kind == MIRROR_STOP_SIGNAL)
      g_error("signal %d at %lx", stop.thread->stop_signal,
              (long)arch_pc(mirror_thread_registers(stop.thread, NULL)));
  }
}

static gboolean
inherited(int number, void *user)
{
  return number <= 2;
}

static MirrorFiles *
files_of(const MirrorTwin *twin)
{
  g_autoptr(GError) error = NULL;
  MirrorFiles *files = twin->primary ? mirror_files_read_primary(twin->process, inherited, NULL, &error)
                                     : mirror_files_read_mirror(twin->process, &error);
  g_assert_no_error(error);
  return files;
}

static GBytes *
digest_of(MirrorTwin *twin)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) files = files_of(twin);
  GBytes *digest = mirror_twin_digest(twin, files, &error);
  g_assert_no_error(error);
  return digest;
}

static void
carry(MirrorTwin *from, MirrorTwin *to, gint64 times[2])
{
  g_autoptr(GError) error = NULL;
  gint64 begin = clock_now_ns();
  g_autoptr(GPtrArray) files = files_of(from);
  g_autoptr(MirrorDelta) delta = mirror_twin_capture(from, files, &error);
  g_assert_no_error(error);
  gint64 middle = clock_now_ns();
  gboolean begun;
  mirror_twin_apply(to, delta, &begun, &error);
  g_assert_no_error(error);
  times[0] = middle - begin;
  times[1] = clock_now_ns() - middle;
  g_test_message("%s: %u sections, %u runs, %u bytes; capture %" G_GINT64_FORMAT
                 " us, apply %" G_GINT64_FORMAT " us",
                 from->primary ? "out" : "home", delta->sections->len, delta->runs->len, delta->data->len,
                 times[0] / 1000, times[1] / 1000);
}

static void
assert_twins_equal(MirrorTwin *a, MirrorTwin *b)
{
  g_autoptr(GBytes) first = digest_of(a);
  g_autoptr(GBytes) second = digest_of(b);
  g_autofree char *parts = mirror_digest_differ(first, second);
  g_assert_cmpstr(parts, ==, NULL);
}

static char *
output_of(int fd)
{
  GString *all = g_string_new(NULL);
  char piece[4096];
  ssize_t got;
  while ((got = read(fd, piece, sizeof piece)) > 0)
    g_string_append_len(all, piece, got);
  return g_string_free(all, FALSE);
}

static void
test_every_call(gconstpointer data)
{
  MirrorTrack track = GPOINTER_TO_INT(data);
  g_autoptr(GError) error = NULL;
  int out[2], null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  g_assert_no_errno(pipe2(out, O_CLOEXEC));
  MirrorProcess *primary = start(out[1]), *mirror = start(null);
  close(out[1]);
  /* Here both live in one PID namespace; a sandbox gives the mirror the primary's id. */
  mirror->own_pid = mirror_thread_leader(mirror)->own_tid = primary->own_pid;
  g_autoptr(MirrorTwin) device = mirror_twin_new(primary, TRUE, track, -1, &error);
  if (g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED)) {
    g_test_skip(error->message);
    kill(primary->pid, SIGKILL);
    kill(mirror->pid, SIGKILL);
    return;
  }
  g_assert_no_error(error);
  g_autoptr(MirrorTwin) clone = mirror_twin_new(mirror, FALSE, track, -1, &error);
  g_assert_no_error(error);
  guint64 work = symbol_address("work");
  mirror_breakpoint_add(primary, work, TRUE, &error);
  g_assert_no_error(error);
  for (int call = 0; call < 6; call++) {
    gint64 times[2];
    run_to(primary, MIRROR_STOP_BREAKPOINT);
    ArchRegisters *registers = mirror_thread_registers(mirror_thread_leader(primary), &error);
    guint64 top;
    mirror_memory_read(primary, arch_sp(registers), &top, sizeof top, &error);
    g_assert_no_error(error);
    guint64 back = arch_return_address(registers, top);
    carry(device, clone, times);
    assert_twins_equal(device, clone);
    mirror_breakpoint_add(mirror, back, TRUE, &error);
    g_assert_no_error(error);
    run_to(mirror, MIRROR_STOP_BREAKPOINT);
    mirror_breakpoint_remove(mirror, back, &error);
    carry(clone, device, times);
    assert_twins_equal(device, clone);
  }
  mirror_breakpoint_remove(primary, work, &error);
  run_to(primary, MIRROR_STOP_GONE);
  g_autofree char *got = output_of(out[0]);
  g_autofree char *wanted = NULL;
  char *command[] = {(char *)subject, NULL};
  g_assert_true(g_spawn_sync(NULL, command, NULL, 0, NULL, NULL, &wanted, NULL, NULL, &error));
  g_assert_cmpstr(got, ==, wanted);
  kill(mirror->pid, SIGKILL);
  waitpid(mirror->pid, NULL, __WALL);
  close(out[0]);
  close(null);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  subject = g_getenv("DOPPEL_SUBJECT");
  g_assert_nonnull(subject);
  g_test_add_data_func("/twin/every-call/pagemap", GINT_TO_POINTER(MIRROR_TRACK_PAGEMAP), test_every_call);
  g_test_add_data_func("/twin/every-call/soft-dirty", GINT_TO_POINTER(MIRROR_TRACK_SOFT_DIRTY),
                       test_every_call);
  g_test_add_data_func("/twin/every-call/hash", GINT_TO_POINTER(MIRROR_TRACK_HASH), test_every_call);
  return g_test_run();
}
