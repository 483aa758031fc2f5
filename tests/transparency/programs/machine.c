/* What lies close to the processor and the loader: rounding, vector registers, clocks, libraries opened
 * inside. */
#include "program.h"

#include <dlfcn.h>
#include <fenv.h>
#include <locale.h>
#include <math.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>

static double (*cosine)(double);
static void *library;
static volatile double one = 1, three = 3;
static struct timespec last[2];

static void
rounding_before(void)
{
  fesetround(FE_UPWARD);
  feclearexcept(FE_ALL_EXCEPT);
}

static void
rounding_inside(int round)
{
  printf("mode %d, %a\n", fegetround() == (round ? FE_DOWNWARD : FE_UPWARD), one / three);
  feclearexcept(FE_ALL_EXCEPT);
  volatile double infinite = one / (three - 3);
  printf("divided by zero %d, %f\n", !!fetestexcept(FE_DIVBYZERO), infinite);
  fesetround(FE_DOWNWARD);
}

static void
rounding_after(void)
{
  printf("mode %d, flag %d, %a\n", fegetround() == FE_DOWNWARD, !!fetestexcept(FE_DIVBYZERO), one / three);
  fesetround(FE_TONEAREST);
}

static void
nothing(int round)
{
}

/* Vector registers that nobody in between touches must come back as they were. */
static void
drive_vectors(int rounds)
{
  double sum = 0;
  for (int round = 0; round < rounds; round++) {
#if defined(__x86_64__)
    uint64_t in[4] = {0x1111222233334444u + round, 2, 3, 0x123456789abcdef0u}, out[4] = {0};
    if (__builtin_cpu_supports("avx"))
      __asm__ volatile(
          "vmovdqu %1, %%ymm15\n\tmov %2, %%edi\n\tsub $128, %%rsp\n\tcall block\n\tadd $128, %%rsp\n\t"
          "vmovdqu %%ymm15, %0"
          : "=m"(out)
          : "m"(in), "r"(round)
          : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm15", "memory", "cc");
    else
      memcpy(out, in, sizeof in);
    check("ymm15", memcmp(in, out, sizeof in) == 0);
#elif defined(__aarch64__)
    register double kept __asm__("d8") = 2.5 + round;
    __asm__ volatile("" : "+w"(kept));
    block(round);
    __asm__ volatile("" : "+w"(kept));
    check("d8", kept == 2.5 + round);
#else
    block(round);
#endif
    sum += sin(round);
  }
  printf("%a\n", sum);
}

static void
long_double_inside(int round)
{
  static volatile long double value = 1.0L;
  for (int i = 0; i < 1000; i++)
    value = value * 1.0000001L + sinl(value);
  printf("%La\n", value);
}

static void
mathematics(int round)
{
  double sum = 0;
  for (int i = 1; i < 20000; i++)
    sum += sin(i) * exp(1.0 / i) + log(i) - pow(i, 0.3);
  char text[512];
  memset(text, 'a' + round, sizeof text);
  text[500] = 0;
  printf("%a %zu %d\n", sum, strlen(text), memcmp(text, text + 1, 400));
}

static void
opens(int round)
{
  if (!library)
    library = dlopen("libm.so.6", RTLD_NOW);
  cosine = (double (*)(double))dlsym(library, "cos");
  void *other = dlopen("libz.so.1", RTLD_NOW | RTLD_LOCAL);
  unsigned long (*crc)(unsigned long, const void *, unsigned) =
      other ? (unsigned long (*)(unsigned long, const void *, unsigned))dlsym(other, "crc32") : NULL;
  if (crc)
    printf("crc %lx\n", crc(0, "block", 5));
  printf("cos %a\n", cosine(round));
  printf("missing: %d\n", dlopen("libnosuch.so.9", RTLD_NOW) == NULL);
}

static void
opens_after(void)
{
  printf("cos %a\n", cosine(9));
  dlclose(library);
}

/* A library opened later, whose function is the block. */
static void
drive_late(int rounds)
{
  static const char text[] = "the same text again and again, the same text again and again";
  unsigned char packed[200];
  unsigned long length = sizeof packed;
  void *handle = dlopen("libz.so.1", RTLD_NOW);
  if (!handle) {
    printf("no libz: %s\n", dlerror());
    return;
  }
  int (*compress)(unsigned char *, unsigned long *, const unsigned char *, unsigned long) =
      (int (*)(unsigned char *, unsigned long *, const unsigned char *, unsigned long))dlsym(handle,
                                                                                             "compress");
  for (int round = 0; round < rounds; round++) {
    length = sizeof packed;
    int result = compress(packed, &length, (const unsigned char *)text, sizeof text);
    printf("packed %d %lu\n", result, length);
  }
}

static void
clocks_before(void)
{
  clock_gettime(CLOCK_MONOTONIC, &last[0]);
  clock_gettime(CLOCK_REALTIME, &last[1]);
}

static double
since(const struct timespec *then, clockid_t clock)
{
  struct timespec now;
  clock_gettime(clock, &now);
  return (now.tv_sec - then->tv_sec) + (now.tv_nsec - then->tv_nsec) / 1e9;
}

static void
clocks_inside(int round)
{
  check("monotonic goes on", since(&last[0], CLOCK_MONOTONIC) >= 0 && since(&last[0], CLOCK_MONOTONIC) < 300);
  check("real goes on", since(&last[1], CLOCK_REALTIME) >= 0 && since(&last[1], CLOCK_REALTIME) < 300);
  struct timespec start, pause_for = {0, 50000000}, boot, until;
  clock_gettime(CLOCK_MONOTONIC, &start);
  nanosleep(&pause_for, NULL);
  double slept = since(&start, CLOCK_MONOTONIC);
  check("slept", slept >= 0.05 && slept < 60);
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += until.tv_nsec / 960000000;
  until.tv_nsec = (until.tv_nsec + 40000000) % 1000000000;
  check("absolute sleep", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == 0 &&
                              since(&until, CLOCK_MONOTONIC) >= 0);
  clock_gettime(CLOCK_BOOTTIME, &boot);
  check("boot clock", since(&start, CLOCK_MONOTONIC) < 120 && boot.tv_sec >= start.tv_sec - 1);
  check("time", labs(time(NULL) - last[1].tv_sec) < 600);
  clocks_before();
}

static void
clocks_after(void)
{
  check("monotonic goes on", since(&last[0], CLOCK_MONOTONIC) >= 0 && since(&last[0], CLOCK_MONOTONIC) < 300);
  check("real goes on", since(&last[1], CLOCK_REALTIME) >= 0);
}

/* ---- processor time ---- */

#define CLOCKS 5
static double used[CLOCKS];

static double
seconds(const struct timeval *time)
{
  return time->tv_sec + time->tv_usec / 1e6;
}

static void
read_used(double now[CLOCKS])
{
  struct timespec process, thread;
  struct rusage usage;
  struct tms tms;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &process);
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &thread);
  getrusage(RUSAGE_SELF, &usage);
  times(&tms);
  now[0] = process.tv_sec + process.tv_nsec / 1e9;
  now[1] = thread.tv_sec + thread.tv_nsec / 1e9;
  now[2] = (double)clock() / CLOCKS_PER_SEC;
  now[3] = seconds(&usage.ru_utime) + seconds(&usage.ru_stime);
  now[4] = (double)(tms.tms_utime + tms.tms_stime) / sysconf(_SC_CLK_TCK);
}

static void
processor_before(void)
{
  do {
    churn(1, 1000000);
    read_used(used);
  } while (used[0] < 0.1);
}

/* Each clock goes on from what it said before the block, and runs while the block computes. */
static void
processor_inside(int round)
{
  double start[CLOCKS], end[CLOCKS];
  read_used(start);
  do {
    churn(round, 1000000);
    read_used(end);
  } while (end[0] < start[0] + 0.05);
  for (int i = 0; i < CLOCKS; i++) {
    check("goes on", start[i] >= used[i] - 0.011 && start[i] < used[i] + 5);
    check("runs", end[i] >= start[i] + 0.02 && end[i] < start[i] + 5);
  }
  unsigned number = 99999, node = 99999;
  cpu_set_t set;
  sched_getaffinity(0, sizeof set, &set);
  check("processor",
        syscall(SYS_getcpu, &number, &node, NULL) == 0 && number < CPU_SETSIZE && CPU_ISSET(number, &set));
  check("node", node < 1024);
}

static unsigned long hardware;
static int processors;

static void
hardware_before(void)
{
  cpu_set_t set;
  hardware = getauxval(AT_HWCAP);
  sched_getaffinity(0, sizeof set, &set);
  processors = CPU_COUNT(&set);
}

static void
hardware_inside(int round)
{
  unsigned char bytes[16];
  check("hwcap",
        getauxval(AT_HWCAP) == hardware && getauxval(AT_PAGESZ) == (unsigned long)sysconf(_SC_PAGESIZE));
  check("random", getrandom(bytes, sizeof bytes, 0) == sizeof bytes);
  check("some processors", sysconf(_SC_NPROCESSORS_ONLN) > 0 && processors > 0);
}

static void
locale_inside(int round)
{
  setlocale(LC_ALL, round ? "C" : "C.UTF-8");
  printf("%s %zu\n", setlocale(LC_CTYPE, NULL),
         mbstowcs(NULL, "é", 0) == (size_t)-1 ? 0 : mbstowcs(NULL, "é", 0));
}

const Case cases[] = {{"rounding", rounding_before, rounding_inside, rounding_after, NULL},
                      {"vectors", NULL, nothing, NULL, drive_vectors},
                      {"long-double", NULL, long_double_inside, NULL, NULL},
                      {"mathematics", NULL, mathematics, NULL, NULL},
                      {"dlopen", NULL, opens, opens_after, NULL},
                      {"late-library", NULL, NULL, NULL, drive_late},
                      {"clocks", clocks_before, clocks_inside, clocks_after, NULL},
                      {"processor", processor_before, processor_inside, NULL, NULL},
                      {"hardware", hardware_before, hardware_inside, NULL, NULL},
                      {"locale", NULL, locale_inside, NULL, NULL},
                      {NULL}};
