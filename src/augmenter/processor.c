/* Processors, and the time that a program has had of them.
 *
 * The program's time is what its twins have used together: the primary's, which is asked of the device and
 * stands still during a block, and the mirror's of all blocks. A program that measures across the beginning
 * of a block so sees a clock that goes on. (Children's time is what this side's children used.)
 *
 * A number of a processor is one that the device has: programs index with it what they made for as many as
 * there are. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>

#include "augmenter/augmenter.h"
#include "base/io.h"

#define NS_PER_S G_GINT64_CONSTANT(1000000000)

/* What the device tells may be any number: what does not fit wraps around. */
static gint64
scaled_sum(gint64 a, gint64 scale, gint64 b)
{
  return (gint64)((guint64)a * (guint64)scale + (guint64)b);
}

/* ---- what the mirror has used ---- */

typedef struct {
  gint64 user, system; /* clock ticks */
} Ticks;

static Ticks
ticks_of(Augmenter *augmenter, const HeldCall *held)
{
  gboolean thread = held->row->nr == SYS_getrusage && (int)held->arguments[0] == RUSAGE_THREAD;
  char path[64] = "stat";
  unsigned long user = 0, system = 0;
  if (thread)
    snprintf(path, sizeof path, "task/%d/stat", held->tid);
  g_autofree char *stat = io_read_file_at(augmenter->process->directory, path, 4096);
  const char *rest = stat ? strrchr(stat, ')') : NULL;
  if (!rest || sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
    return (Ticks){0};
  return (Ticks){user, system};
}

static gint64
nanoseconds_of(Augmenter *augmenter, pid_t tid, gboolean thread)
{
  char path[64];
  unsigned long long ran = 0;
  struct timespec now;
  clockid_t clock;
  if (!thread)
    return clock_getcpuclockid(augmenter->process->pid, &clock) == 0 && clock_gettime(clock, &now) == 0
               ? now.tv_sec * NS_PER_S + now.tv_nsec
               : 0;
  snprintf(path, sizeof path, "task/%d/schedstat", tid);
  g_autofree char *text = io_read_file_at(augmenter->process->directory, path, 256);
  return text && sscanf(text, "%llu", &ran) == 1 ? (gint64)ran : 0;
}

/* ---- memory of who asks ---- */

/* ---- time ---- */

static gboolean
is_own_clock(const HeldCall *held)
{
  clockid_t clock = (clockid_t)held->arguments[0];
  return held->row->nr == SYS_clock_gettime &&
         (clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID);
}

/* The device's part of a clock is asked for once in a block. */
static gpointer
clock_key(const HeldCall *held)
{
  gboolean thread = (clockid_t)held->arguments[0] == CLOCK_THREAD_CPUTIME_ID;
  return GINT_TO_POINTER(thread ? held->tid : 0);
}

static gboolean
write_clock(Augmenter *augmenter, const HeldCall *held, gint64 base)
{
  gint64 sum = scaled_sum(base, 1, nanoseconds_of(augmenter, held->tid, clock_key(held) != NULL));
  struct timespec told = {sum / NS_PER_S, sum % NS_PER_S};
  return augmenter_memory_write(augmenter, held->tid, held->arguments[1], &told, sizeof told);
}

ProcessorAnswer
processor_time(Augmenter *augmenter, const HeldCall *held)
{
  gpointer base;
  gboolean children = held->row->nr == SYS_getrusage && (int)held->arguments[0] == RUSAGE_CHILDREN;
  if (held->child || children)
    return PROCESSOR_NATIVE;
  if (!is_own_clock(held) ||
      !g_hash_table_lookup_extended(augmenter->clock_bases, clock_key(held), NULL, &base))
    return PROCESSOR_ASK;
  return write_clock(augmenter, held, *(gint64 *)base) ? PROCESSOR_DONE : PROCESSOR_ASK;
}

static void
add_ticks(struct timeval *time, gint64 ticks)
{
  gint64 us = scaled_sum(time->tv_sec, G_USEC_PER_SEC, time->tv_usec);
  us = scaled_sum(us, 1, ticks * G_USEC_PER_SEC / sysconf(_SC_CLK_TCK));
  *time = (struct timeval){us / G_USEC_PER_SEC, us % G_USEC_PER_SEC};
}

/* The device's answer is in the mirror's memory. */
void
processor_time_told(Augmenter *augmenter, const HeldCall *held)
{
  struct timespec clock;
  struct tms tms;
  struct rusage usage;
  pid_t tid = held->tid;
  if (is_own_clock(held) && augmenter_memory_read(augmenter, tid, held->arguments[1], &clock, sizeof clock)) {
    gint64 base = scaled_sum(clock.tv_sec, NS_PER_S, clock.tv_nsec);
    g_hash_table_insert(augmenter->clock_bases, clock_key(held), g_memdup2(&base, sizeof base));
    write_clock(augmenter, held, base);
    return;
  }
  Ticks ticks = ticks_of(augmenter, held);
  if (held->row->nr == SYS_times &&
      augmenter_memory_read(augmenter, tid, held->arguments[0], &tms, sizeof tms)) {
    tms.tms_utime = scaled_sum(tms.tms_utime, 1, ticks.user);
    tms.tms_stime = scaled_sum(tms.tms_stime, 1, ticks.system);
    augmenter_memory_write(augmenter, tid, held->arguments[0], &tms, sizeof tms);
  } else if (held->row->nr == SYS_getrusage &&
             augmenter_memory_read(augmenter, tid, held->arguments[1], &usage, sizeof usage)) {
    add_ticks(&usage.ru_utime, ticks.user);
    add_ticks(&usage.ru_stime, ticks.system);
    augmenter_memory_write(augmenter, tid, held->arguments[1], &usage, sizeof usage);
  }
}

/* ---- which processor ---- */

ProcessorAnswer
processor_number(Augmenter *augmenter, const HeldCall *held)
{
  const GArray *known = augmenter->processors;
  unsigned node = 0;
  if (!known->len)
    return PROCESSOR_NATIVE;
  /* Threads that run side by side here are told different ones, as far as the device has so many. */
  unsigned number = g_array_index(known, guint32, (guint)held->tid % known->len);
  gboolean written = (!held->arguments[0] || augmenter_memory_write(augmenter, held->tid, held->arguments[0],
                                                                    &number, sizeof number)) &&
                     (!held->arguments[1] ||
                      augmenter_memory_write(augmenter, held->tid, held->arguments[1], &node, sizeof node));
  return written ? PROCESSOR_DONE : PROCESSOR_NATIVE;
}
