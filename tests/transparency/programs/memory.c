/* Memory in all its kinds: large, mapped, moved, protected, shared, discarded, and the program's break. */
#include "program.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, MIB = 1 << 20 };

static char *kept, *shared, *forbidden;
static int file_fd = -1;

static char *
map(size_t length, int flags, int fd)
{
  char *at = mmap(NULL, length, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (at == MAP_FAILED) {
    perror("mmap");
    exit(9);
  }
  return at;
}

static unsigned long
digest(const char *data, size_t length)
{
  unsigned long sum = 14695981039346656037ul;
  for (size_t i = 0; i < length; i++)
    sum = (sum ^ (unsigned char)data[i]) * 1099511628211ul;
  return sum;
}

static void
fill(char *data, size_t length, unsigned long seed)
{
  for (size_t i = 0; i < length; i += 8) {
    seed = seed * 6364136223846793005ul + 1;
    memcpy(data + i, &seed, length - i < 8 ? length - i : 8);
  }
}

static void
large(int round)
{
  size_t length = 500ul * MIB;
  char *big = malloc(length);
  if (!big) {
    printf("no memory\n");
    return;
  }
  unsigned long sum = 0;
  for (size_t at = 0; at < length; at += PAGE)
    big[at] = (char)(at / PAGE + round);
  for (size_t at = 0; at < length; at += PAGE)
    sum += (unsigned char)big[at];
  free(big);
  printf("sum %lu\n", sum);
}

static void
heap_before(void)
{
  kept = malloc(8 * MIB);
  fill(kept, 8 * MIB, 1);
  printf("%lx\n", digest(kept, 8 * MIB));
}

static void
heap_inside(int round)
{
  kept = realloc(kept, (16 + 8 * round) * MIB);
  fill(kept + 4 * MIB, MIB, round);
  char *small[100];
  for (int i = 0; i < 100; i++)
    small[i] = strdup("a string of the block");
  for (int i = 0; i < 100; i += 2)
    free(small[i]);
  printf("%lx %s\n", digest(kept, 8 * MIB), small[1]);
}

static void
heap_after(void)
{
  printf("%lx\n", digest(kept, 8 * MIB));
  free(kept);
}

static void
maps_before(void)
{
  kept = map(16 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  fill(kept, 16 * PAGE, 3);
}

static void
maps_inside(int round)
{
  printf("%lx\n", digest(kept, 16 * PAGE));
  munmap(kept + 4 * PAGE, 4 * PAGE); /* a hole */
  char *again = mmap(kept + 4 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  check("mapped in the hole", again == kept + 4 * PAGE);
  memset(again, 'a' + round, 4 * PAGE);
  char *gone = map(MIB, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  memset(gone, 1, MIB);
  munmap(gone, MIB);
}

static void
maps_after(void)
{
  printf("%lx\n", digest(kept, 16 * PAGE));
}

static void
move_inside(int round)
{
  char *reserved = map(64 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  char *moved = mremap(kept, 16 * PAGE, 32 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, reserved);
  check("moved", moved == reserved);
  kept = moved;
  munmap(reserved + 32 * PAGE, 32 * PAGE);
  printf("%lx\n", digest(kept, 16 * PAGE));
  fill(kept, 16 * PAGE, round);
  check("the new part is zero", kept[31 * PAGE] == 0);
  kept = mremap(kept, 32 * PAGE, 16 * PAGE, 0);
}

static void
discard_inside(int round)
{
  printf("%lx\n", digest(kept, 16 * PAGE));
  madvise(kept + 2 * PAGE, 3 * PAGE, MADV_DONTNEED);
  check("discarded", kept[2 * PAGE] == 0 && kept[5 * PAGE - 1] == 0);
  kept[3 * PAGE] = 'x';
}

static void
protect_inside(int round)
{
  mprotect(kept, 4 * PAGE, round % 2 ? PROT_READ | PROT_WRITE : PROT_READ);
  mprotect(kept + 8 * PAGE, PAGE, PROT_NONE);
  mprotect(kept + 8 * PAGE, PAGE, PROT_READ | PROT_WRITE);
  kept[8 * PAGE] = 'p';
}

static void
protect_after(void)
{
  kept[0] = 'w'; /* writable again after an even number of rounds */
  printf("%lx\n", digest(kept, 16 * PAGE));
}

static sigjmp_buf escape;
static volatile int faults;

static void
on_fault(int number, siginfo_t *info, void *context)
{
  faults++;
  char *page = (char *)((uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1));
  if (page == kept + PAGE)
    mprotect(page, PAGE, PROT_READ | PROT_WRITE); /* what a garbage collector's write barrier does */
  else
    siglongjmp(escape, 1);
}

static void
guard_before(void)
{
  maps_before();
  forbidden = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
}

static void
guard_inside(int round)
{
  mprotect(kept + PAGE, PAGE, PROT_READ);
  kept[PAGE] = 'b';
  printf("barrier hit %d, byte %c\n", faults, kept[PAGE]);
  if (sigsetjmp(escape, 1) == 0)
    *(volatile char *)forbidden = 1;
  else
    printf("escaped, faults %d\n", faults);
}

/* stdio's buffer is allocated before the break is moved by hand. */
static void
break_before(void)
{
  printf("start\n");
}

static void
break_inside(int round)
{
  char *start = sbrk(0);
  char *grown = sbrk(2 * MIB);
  check("grew", grown == start && sbrk(0) == start + 2 * MIB);
  fill(grown, 2 * MIB, round);
  kept = grown;
  sbrk(-MIB);
  printf("%lx\n", digest(kept, MIB));
}

static void
break_after(void)
{
  printf("%lx\n", digest(kept, MIB));
  check("usable", sbrk(PAGE) == kept + MIB);
}

static void
shared_before(void)
{
  shared = map(4 * PAGE, MAP_SHARED | MAP_ANONYMOUS, -1);
  strcpy(shared, "before");
}

static void
shared_inside(int round)
{
  printf("%s\n", shared);
  snprintf(shared, PAGE, "round %d", round);
  strcpy(shared + 2 * PAGE, "third page");
}

static void
shared_after(void)
{
  fflush(stdout);
  if (fork() == 0) {
    strcat(shared, ", and a child's word");
    _exit(0);
  }
  wait(NULL);
  printf("%s; %s\n", shared, shared + 2 * PAGE);
}

static void
file_before(void)
{
  file_fd = open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0644);
  (void)!ftruncate(file_fd, 8 * PAGE);
  kept = map(8 * PAGE, MAP_SHARED, file_fd);
  fill(kept, 8 * PAGE, 5);
}

static void
file_inside(int round)
{
  printf("%lx\n", digest(kept, 8 * PAGE));
  memset(kept + PAGE * (1 + round), 'A' + round, PAGE);
  msync(kept, 8 * PAGE, MS_SYNC);
  char word[16] = {0};
  (void)!pread(file_fd, word, 8, PAGE * (1 + round));
  printf("through the descriptor: %s\n", word);
}

static void
file_after(void)
{
  char *copy = malloc(8 * PAGE);
  (void)!pread(file_fd, copy, 8 * PAGE, 0);
  check("file and mapping agree", memcmp(copy, kept, 8 * PAGE) == 0);
  munmap(kept, 8 * PAGE);
  close(file_fd);
}

static void
private_file_inside(int round)
{
  int fd = open("input", O_RDONLY);
  char *data = map(8 * PAGE, MAP_PRIVATE, fd);
  close(fd);
  printf("%lx\n", digest(data, 8 * PAGE));
  data[0] ^= 1;
  printf("%lx\n", digest(data, 8 * PAGE));
  munmap(data, 8 * PAGE);
  kept = NULL;
}

/* Mapped inside, used on the device afterwards. */
static void
private_file_kept(int round)
{
  int fd = open("input", O_RDONLY);
  kept = map(8 * PAGE, MAP_PRIVATE, fd);
  close(fd);
  kept[PAGE] = 'k';
}

static void
memory_file_before(void)
{
  file_fd = memfd_create("kept", MFD_CLOEXEC);
  (void)!ftruncate(file_fd, 4 * PAGE);
  shared = map(4 * PAGE, MAP_SHARED, file_fd);
  strcpy(shared, "before");
}

static void
memory_file_inside(int round)
{
  char line[64] = {0};
  (void)!pread(file_fd, line, sizeof line - 1, 0);
  printf("read %s\n", line);
  int length = snprintf(line, sizeof line, "inside %d", round);
  (void)!pwrite(file_fd, line, length + 1, 0);
  printf("mapping says %s\n", shared);
  (void)!pwrite(file_fd, "page three", 11, 2 * PAGE);
}

static void
memory_file_after(void)
{
  printf("%s, %s\n", shared, shared + 2 * PAGE);
}

static void
memory_file_made(int round)
{
  file_fd = memfd_create("made", 0);
  (void)!write(file_fd, "made inside", 12);
}

static void
memory_file_used(void)
{
  char line[64] = {0};
  (void)!pread(file_fd, line, sizeof line - 1, 0);
  printf("%s\n", line);
}

/* More stack than was ever touched before. */
__attribute__((noinline)) static unsigned long
deep(int depth)
{
  volatile char room[PAGE];
  room[0] = (char)depth;
  room[PAGE - 1] = 1;
  return depth ? deep(depth - 1) + room[0] + room[PAGE - 1] : 0;
}

static void
stack_inside(int round)
{
  printf("deep %lu\n", deep(1000 + 300 * round));
}

static void
stack_after(void)
{
  printf("deep %lu\n", deep(1600));
}

static void
input_before(void)
{
  int fd = open("input", O_WRONLY | O_CREAT | O_TRUNC, 0600);
  char *data = malloc(8 * PAGE);
  fill(data, 8 * PAGE, 11);
  (void)!write(fd, data, 8 * PAGE);
  close(fd);
  free(data);
}

static void
kept_after(void)
{
  printf("%lx\n", digest(kept, 8 * PAGE));
}

const Case cases[] = {{"large", NULL, large, NULL, NULL},
                      {"heap", heap_before, heap_inside, heap_after, NULL},
                      {"maps", maps_before, maps_inside, maps_after, NULL},
                      {"move", maps_before, move_inside, maps_after, NULL},
                      {"discard", maps_before, discard_inside, maps_after, NULL},
                      {"protect", maps_before, protect_inside, protect_after, NULL},
                      {"guard", guard_before, guard_inside, maps_after, NULL},
                      {"break", break_before, break_inside, break_after, NULL},
                      {"shared", shared_before, shared_inside, shared_after, NULL},
                      {"shared-file", file_before, file_inside, file_after, NULL},
                      {"private-file", input_before, private_file_inside, NULL, NULL},
                      {"private-file-kept", input_before, private_file_kept, kept_after, NULL},
                      {"memory-file", memory_file_before, memory_file_inside, memory_file_after, NULL},
                      {"memory-file-made", NULL, memory_file_made, memory_file_used, NULL},
                      {"stack", NULL, stack_inside, stack_after, NULL},
                      {NULL}};
