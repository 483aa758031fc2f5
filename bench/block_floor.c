/* The least that a block can cost where primary and mirror are traced processes with a heap of 64 MiB, or of
 * MIB: what no engine of this kind can leave out, and nothing else. The first process stops at a hardware
 * breakpoint; its tracer reads its registers, asks for the written pages, reads one and sends bytes over TLS;
 * the other side writes a page and registers into a second process, lets it run to its breakpoint, reads its
 * registers, asks for its written pages and answers; the first process gets its registers and goes on. Nobody
 * looks at descriptors, mappings, signals or files, nothing is packed, and no byte has a meaning.
 *
 * block_floor ROUNDS THERE:BACK: prints each block's nanoseconds, as the first process sees them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bare_tls.h"
#include "base/clock.h"
#include "mirror/arch/arch.h"

enum { PAGE = 4096, ROUNDS_MAX = 1 << 20, MIB_MAX = 16384 };

/* As in src/mirror/tracker.c: the headers of older kernels lack it. */
typedef struct {
  guint64 start, end, categories;
} Region;
typedef struct {
  guint64 size, flags, start, end, walk_end, vec, vec_len, max_pages;
  guint64 category_inverted, category_mask, category_anyof_mask, return_mask;
} Scan;
#define SCAN_IOCTL _IOWR('f', 16, Scan)
enum { SCAN_CHECK_WPASYNC = 2, SCAN_WP_MATCHING = 1, IS_WRITTEN = 2 };
enum { WP_UNPOPULATED = 1 << 13, WP_ASYNC = 1 << 15, USER_MODE_ONLY = 1 };

typedef struct {
  pid_t pid;
  int memory, pagemap;
} Traced;

static guint8 *heap; /* at the same place in both processes, not in their tracers */
static gsize heap_bytes = 64 << 20;
static gint64 *took; /* shared: by the first process, for its tracer */
static int rounds;
static gsize there, back;

void bench_stop(void);

__attribute__((noinline)) void
bench_stop(void)
{
  __asm__ volatile("" ::: "memory");
}

static void
need(gboolean done, const char *what)
{
  if (!done)
    g_error("%s: %s", what, g_strerror(errno));
}

/* ---- the processes: each stops and writes a page in every round ---- */

G_NORETURN
static void
be_traced(gboolean first)
{
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | USER_MODE_ONLY);
  struct uffdio_api api = {.api = UFFD_API, .features = WP_UNPOPULATED | WP_ASYNC};
  struct uffdio_register area = {.range = {(guintptr)heap, heap_bytes}, .mode = UFFDIO_REGISTER_MODE_WP};
  for (gsize at = 0; at < heap_bytes; at += PAGE)
    heap[at] = 1;
  need(uffd >= 0 && ioctl(uffd, UFFDIO_API, &api) == 0 && ioctl(uffd, UFFDIO_REGISTER, &area) == 0,
       "tracking writes");
  need(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0, "being traced");
  raise(SIGSTOP);
  for (int i = 0; i < rounds + 1; i++) {
    gint64 start = clock_now_ns();
    heap[(gsize)(i % 1024) * PAGE]++;
    bench_stop();
    if (first && i < rounds)
      took[i] = clock_now_ns() - start;
  }
  _exit(0);
}

static gboolean
wait_stop(const Traced *traced)
{
  int status;
  return waitpid(traced->pid, &status, __WALL) == traced->pid && WIFSTOPPED(status);
}

/* Past its breakpoint, with these registers. Where the processor cannot be told to pass it once, the
 * instruction is stepped over. */
static void
go_on(const Traced *traced, ArchRegisters *registers)
{
  gboolean passes = arch_breakpoint_pass(registers);
  need(arch_registers_write(traced->pid, registers, NULL), "registers");
  if (!passes) {
    need(arch_breakpoint_clear(traced->pid, 0, NULL) && ptrace(PTRACE_SINGLESTEP, traced->pid, 0, 0) == 0 &&
             wait_stop(traced) && arch_breakpoint_set(traced->pid, 0, (guintptr)bench_stop, NULL),
         "stepping");
  }
  need(ptrace(PTRACE_CONT, traced->pid, 0, 0) == 0, "going on");
}

/* Where a scan finds the written pages, and protects them again. */
static guint64
written(const Traced *traced)
{
  static Region regions[64];
  Scan scan = {.size = sizeof scan,
               .flags = SCAN_CHECK_WPASYNC,
               .start = (guintptr)heap,
               .end = (guintptr)heap + heap_bytes,
               .vec = (guintptr)regions,
               .vec_len = G_N_ELEMENTS(regions),
               .category_mask = IS_WRITTEN,
               .return_mask = IS_WRITTEN};
  int found = ioctl(traced->pagemap, SCAN_IOCTL, &scan);
  need(found >= 0, "PAGEMAP_SCAN");
  if (found == 0)
    return (guintptr)heap;
  scan.flags |= SCAN_WP_MATCHING;
  scan.start = regions[0].start;
  scan.end = regions[found - 1].end;
  need(ioctl(traced->pagemap, SCAN_IOCTL, &scan) >= 0, "PAGEMAP_SCAN");
  return regions[0].start;
}

/* A process in its first stop at the breakpoint, with nothing written. */
static Traced
start(gboolean first)
{
  char path[64];
  Traced traced = {.pid = fork()};
  if (traced.pid == 0)
    be_traced(first);
  snprintf(path, sizeof path, "/proc/%d/mem", traced.pid);
  traced.memory = open(path, O_RDWR | O_CLOEXEC);
  snprintf(path, sizeof path, "/proc/%d/pagemap", traced.pid);
  traced.pagemap = open(path, O_RDONLY | O_CLOEXEC);
  need(wait_stop(&traced), "starting a process");
  need(arch_breakpoint_set(traced.pid, 0, (guintptr)bench_stop, NULL), "setting a breakpoint");
  Scan all = {.size = sizeof all,
              .flags = SCAN_WP_MATCHING,
              .start = (guintptr)heap,
              .end = (guintptr)heap + heap_bytes,
              .category_mask = IS_WRITTEN,
              .return_mask = IS_WRITTEN};
  need(ioctl(traced.pagemap, SCAN_IOCTL, &all) >= 0, "PAGEMAP_SCAN");
  need(ptrace(PTRACE_CONT, traced.pid, 0, 0) == 0 && wait_stop(&traced), "reaching the breakpoint");
  return traced;
}

/* ---- both sides ---- */

static void
be_clone(LinkTls *tls, int listener)
{
  guint8 page[PAGE];
  ArchRegisters registers;
  Traced mirror = start(FALSE);
  gnutls_session_t session = bare_tls_open(tls, accept(listener, NULL, NULL), TRUE);
  for (int i = 0; i < rounds; i++) {
    guint64 at = (guintptr)heap + (gsize)(i % 1024) * PAGE;
    bare_tls_receive(session, there);
    need(pread(mirror.memory, page, PAGE, at) == PAGE && pwrite(mirror.memory, page, PAGE, at) == PAGE,
         "writing");
    need(arch_registers_read(mirror.pid, &registers, NULL), "registers");
    go_on(&mirror, &registers);
    need(wait_stop(&mirror), "running the block");
    need(arch_registers_read(mirror.pid, &registers, NULL), "registers");
    written(&mirror);
    bare_tls_send(session, back);
  }
  kill(mirror.pid, SIGKILL);
}

static void
be_device(LinkTls *tls, const struct sockaddr_in *address)
{
  guint8 page[PAGE];
  ArchRegisters registers;
  Traced primary = start(TRUE);
  gnutls_session_t session = bare_tls_open(tls, bare_tls_connect(address), FALSE);
  for (int i = 0; i < rounds; i++) {
    need(arch_registers_read(primary.pid, &registers, NULL), "registers");
    need(pread(primary.memory, page, PAGE, written(&primary)) == PAGE, "reading");
    bare_tls_send(session, there);
    bare_tls_receive(session, back);
    go_on(&primary, &registers);
    need(wait_stop(&primary), "the next block");
  }
  kill(primary.pid, SIGKILL);
}

static void *
shared(void *at, gsize length, int kind)
{
  void *made = mmap(at, length, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0);
  need(made != MAP_FAILED, "mapping");
  return made;
}

static gboolean
take_arguments(int argc, char **argv)
{
  char *end;
  if (argc != 3 && argc != 4)
    return FALSE;
  int mib = argc == 4 ? atoi(argv[3]) : 64;
  heap_bytes = (gsize)mib << 20;
  rounds = atoi(argv[1]);
  there = g_ascii_strtoull(argv[2], &end, 10);
  back = *end == ':' ? g_ascii_strtoull(end + 1, &end, 10) : 0;
  return !*end && mib >= 4 && mib <= MIB_MAX && rounds > 0 && rounds <= ROUNDS_MAX && there &&
         there <= BARE_TLS_LARGEST && back && back <= BARE_TLS_LARGEST;
}

int
main(int argc, char **argv)
{
  if (!take_arguments(argc, argv)) {
    g_printerr("usage: block_floor ROUNDS THERE:BACK [MIB] (bytes there and back; of the heap)\n");
    return 2;
  }
  IdentityKey *keys[] = {identity_key_generate(), identity_key_generate()};
  struct sockaddr_in address;
  heap = shared(NULL, heap_bytes, MAP_PRIVATE);
  took = shared(NULL, (rounds + 1) * sizeof *took, MAP_SHARED);
  int listener = bare_tls_listen(&address);
  pid_t clone = fork();
  need(clone >= 0, "fork");
  if (clone == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    be_clone(link_tls_new(keys[1], identity_key_public(keys[0]), NULL), listener);
    _exit(0);
  }
  be_device(link_tls_new(keys[0], identity_key_public(keys[1]), NULL), &address);
  waitpid(clone, NULL, 0);
  for (int i = 0; i < rounds; i++)
    printf("%" G_GINT64_FORMAT "\n", took[i]);
  return 0;
}
