/* A traced process: its threads, their stops and registers, its memory, and system calls made in its name.
 * Both twins are one of these: the primary to the Controller, the mirror to the Augmenter. Sources:
 * ptrace(2), proc(5).
 *
 * All functions belong to the one thread that traces. Addresses and lengths are bytes. */
#pragma once

#include <glib.h>
#include <signal.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "mirror/arch/arch.h"

typedef struct MirrorProcess MirrorProcess;
typedef struct MirrorFilesMemory MirrorFilesMemory; /* files_memory.h */

typedef struct {
  MirrorProcess *process;
  pid_t tid;     /* as the tracer sees it */
  pid_t own_tid; /* as the thread itself sees it: what glibc keeps in memory, and what both twins agree on */
  gboolean stopped;
  gboolean interrupting; /* a PTRACE_INTERRUPT is on its way: one event stop more will come */
  gboolean armed;        /* its hardware breakpoints are set */
  gboolean in_call;      /* executes a system call that mirror_call_start() began */
  int stop_signal;       /* dequeued by the stop we are in, delivered at the next resume; 0: none */
  siginfo_t stop_info;
  gboolean registers_read, registers_changed;
  ArchRegisters registers;
  ArchRegisters call_saved; /* while in_call */
  guint64 call_saved_mask;
  gboolean answering;               /* runs the calls that mirror_inject_kept_begin() gave it */
  guint64 inject_mask, inject_trap; /* while an injection runs: its own signal mask, where it ends */
  void *user;                       /* the owner's */
  void *answer;                     /* the owner's, freed with the thread */
} MirrorThread;

#define MIRROR_BREAKPOINTS_MAX 64
typedef struct {
  guint64 address;
  int slot; /* hardware slot, or -1: a trap instruction */
  guint8 original[4];
} MirrorBreakpoint;

struct MirrorProcess {
  pid_t pid;                        /* as the tracer sees it */
  pid_t own_pid;                    /* as the process sees itself */
  int directory;                    /* /proc/PID of the tracer's procfs */
  int memory, pagemap, maps, sizes; /* the last one: statm */
  GPtrArray *threads;               /* MirrorThread, the leader first */
  gboolean primary;
  guint64 scratch;          /* 0: not there yet */
  gboolean kept;            /* the scratch holds the batch that stays there (state.c) */
  guint32 umask_asked;      /* the one that the kept batch sets */
  MirrorFilesMemory *files; /* the descriptors as they were read last; NULL: not remembered */
  pid_t born;               /* the thread that the last injected clone3() made */
  /* Pages can be missing (pager.h). fill: before anybody else reads or writes there; serve: while a thread is
   * waited for, which may wait for a page itself. NULL: none can. */
  gboolean (*fill)(guint64 address, gsize length, void *user, GError **error);
  gboolean (*serve)(void *user, GError **error);
  void *fill_user;
  gboolean tells; /* calls that are made for a thread may wait until serve() has been told of them (late.h) */
  MirrorBreakpoint breakpoints[MIRROR_BREAKPOINTS_MAX];
  guint breakpoint_count;
};

/* The scratch region, ours in every twin: code of the stub, room for batches, then slots for forwarded calls'
 * arguments. It is no part of the process's state. */
enum {
  MIRROR_SCRATCH_CODE = 4096,
  MIRROR_SCRATCH_BATCH = 256 << 10,
  MIRROR_SCRATCH_KEPT = MIRROR_SCRATCH_BATCH / 4,
  MIRROR_SCRATCH_SLOT = (1 << 20) + (64 << 10),
  MIRROR_SCRATCH_SLOTS = 32,
  MIRROR_SCRATCH_SIZE =
      MIRROR_SCRATCH_CODE + MIRROR_SCRATCH_BATCH + MIRROR_SCRATCH_SLOTS * MIRROR_SCRATCH_SLOT,
};

/* Takes over the process `pid`, which the caller has PTRACE_SEIZEd and which stands in its first stop.
 * `proc_fd` is a procfs in which `pid` is visible. */
MirrorProcess *mirror_process_new(pid_t pid, int proc_fd, GError **error);
void mirror_process_free(MirrorProcess *process); /* forgets; does not kill or detach */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MirrorProcess, mirror_process_free)

/* After the process executed another program: opens its memory anew; scratch, breakpoints and other threads
 * are gone. */
gboolean mirror_process_renew(MirrorProcess *process, int proc_fd, GError **error);

MirrorThread *mirror_thread_find(MirrorProcess *process, pid_t tid);
MirrorThread *mirror_thread_find_own(MirrorProcess *process, pid_t own_tid);
static inline MirrorThread *
mirror_thread_leader(MirrorProcess *process)
{
  return (MirrorThread *)process->threads->pdata[0];
}
/* A thread that the kernel attached for us (PTRACE_O_TRACECLONE). NULL where it has come and gone before the
 * word of its birth. */
MirrorThread *mirror_thread_add(MirrorProcess *process, pid_t tid);
void mirror_thread_remove(MirrorThread *thread);

/* ---- stops ---- */

typedef enum {
  MIRROR_STOP_NONE,       /* a stop that was asked for, or means nothing */
  MIRROR_STOP_BREAKPOINT, /* at one of the process's breakpoints; pc is the breakpoint's address */
  MIRROR_STOP_STEP,       /* a single step is done, or an unknown trap */
  MIRROR_STOP_CALL_DONE,  /* the call of mirror_call_start() */
  MIRROR_STOP_SIGNAL,     /* `stop_signal` wants to be delivered */
  MIRROR_STOP_GROUP,      /* job control stopped the process */
  MIRROR_STOP_NEW_THREAD, /* `child` was created */
  MIRROR_STOP_EXEC,
  MIRROR_STOP_EXITING, /* PTRACE_EVENT_EXIT */
  MIRROR_STOP_SYSCALL, /* PTRACE_O_TRACESYSGOOD */
  MIRROR_STOP_FORK,    /* `child` was forked (only where asked for) */
  MIRROR_STOP_GONE,    /* the thread is no more; `status` as of wait(2) */
} MirrorStopKind;

typedef struct {
  MirrorStopKind kind;
  MirrorThread *thread;
  guint64 pc;  /* BREAKPOINT, STEP */
  pid_t child; /* NEW_THREAD, FORK: as the tracer sees it; EXEC: the former tid */
  int status;  /* GONE */
} MirrorStop;

/* Makes sense of what waitpid(2) said of `tid`, which is a thread of the process (or one that is just being
 * born), and notes it. */
MirrorStop mirror_stop_read(MirrorProcess *process, pid_t tid, int status);

/* waitpid(2) for a thread that runs what is ours, and so ends only when the whole process is killed: which
 * for the first of several threads waitpid(2) itself would never tell. */
pid_t mirror_thread_wait(MirrorThread *thread, int *status);

/* Lets a stopped thread run on, delivering `stop_signal`. `request` is PTRACE_CONT, PTRACE_SINGLESTEP,
 * PTRACE_SYSCALL or PTRACE_LISTEN. */
gboolean mirror_thread_resume(MirrorThread *thread, int request, GError **error);
/* Stops all threads. What else they reported meanwhile is handed to `seen` (may be NULL), breakpoints
 * excepted: those are taken back, so that they fire again. GONE when the process died, UNSUPPORTED where its
 * first thread has ended before the others. */
typedef void (*MirrorStopSeen)(const MirrorStop *stop, void *user);
gboolean mirror_process_freeze(MirrorProcess *process, MirrorStopSeen seen, void *user, GError **error);

/* FALSE with GONE where a thread that was stopped has been killed meanwhile: what was read of the process
 * since may be of one that was already being taken apart, and looks empty. */
gboolean mirror_process_stands(MirrorProcess *process, GError **error);

/* Whether a stopped thread has a trap of ours still to report: an interrupt can overtake it. */
gboolean mirror_trap_waits(MirrorThread *thread);

ArchRegisters *mirror_thread_registers(MirrorThread *thread, GError **error); /* NULL when it died */
static inline void
mirror_thread_registers_changed(MirrorThread *thread)
{
  thread->registers_changed = TRUE;
}

/* ---- breakpoints: fire in all threads, present and future; memory reads do not show them ---- */

gboolean mirror_breakpoint_add(MirrorProcess *process, guint64 address, gboolean hardware_if_free,
                               GError **error);
gboolean mirror_breakpoint_remove(MirrorProcess *process, guint64 address, GError **error);
MirrorBreakpoint *mirror_breakpoint_find(MirrorProcess *process, guint64 address);
/* Prepares a new thread (hardware slots are per thread). */
gboolean mirror_breakpoints_arm(MirrorThread *thread, GError **error);
/* Resumes a thread that stands on a breakpoint past it. */
gboolean mirror_breakpoint_step_over(MirrorThread *thread, GError **error);

/* ---- memory ---- */

gboolean mirror_memory_read(MirrorProcess *process, guint64 address, void *to, gsize length, GError **error);
gboolean mirror_memory_write(MirrorProcess *process, guint64 address, const void *from, gsize length,
                             GError **error);
/* Of pages that are known to be present. */
gboolean mirror_memory_read_present(MirrorProcess *process, guint64 address, void *to, gsize length,
                                    GError **error);
/* The same of several pieces (addresses of the process), which stand one behind the other in `to`: together,
 * since /proc/PID/mem takes a call for each and copies each page twice. */
gboolean mirror_memory_read_pieces(MirrorProcess *process, const struct iovec *pieces, guint count, void *to,
                                   GError **error);

/* ---- system calls in the process's name ---- */

typedef struct {
  gint64 number; /* or ARCH_BATCH_TOUCH */
  guint64 argument[6];
  gint64 result; /* -errno as the kernel gives it */
} MirrorCall;

/* Makes the scratch region. The leader stands in the stop that reports its exec. */
gboolean mirror_scratch_make(MirrorProcess *process, GError **error);

/* Executes the calls one after another in a stopped thread, which afterwards stands where it stood. None may
 * block. */
gboolean mirror_inject(MirrorThread *thread, MirrorCall *calls, guint count, GError **error);
/* The same for calls that are in the process already, at mirror_kept_address(), a room of MIRROR_SCRATCH_KEPT
 * bytes that nothing else writes to: what is asked again and again need not be put there again. Results are
 * to be read from there. */
guint64 mirror_kept_address(const MirrorProcess *process);
gboolean mirror_inject_kept(MirrorThread *thread, guint first, guint count, GError **error);
/* In two halves, for who has something to do meanwhile that does not need the thread to stand still. What was
 * begun has to be finished before anything else is asked of the thread. */
gboolean mirror_inject_kept_begin(MirrorThread *thread, guint first, guint count, GError **error);
gboolean mirror_inject_kept_finish(MirrorThread *thread, GError **error);
/* One call; its result, or an error of the machinery. */
gboolean mirror_inject_one(MirrorThread *thread, gint64 number, const guint64 arguments[6], gint64 *result,
                           GError **error);
/* As above with a block of bytes at an address of the scratch's batch room, copied in before and out after
 * where wanted. */
guint64 mirror_scratch_bytes(MirrorProcess *process);

/* A call that may block: start, go on with other work, MIRROR_STOP_CALL_DONE comes. The thread's signals are
 * let through (mask empty) so that they are seen; `result` is at most MIRROR_CALL_INTERRUPTED when a signal
 * or an interrupt broke it off. */
#define MIRROR_CALL_INTERRUPTED (-512) /* -ERESTARTSYS; its kin follow below */
gboolean mirror_call_start(MirrorThread *thread, gint64 number, const guint64 arguments[6], GError **error);
gboolean mirror_call_finish(MirrorThread *thread, gint64 *result, GError **error);

guint64 mirror_slot_address(const MirrorProcess *process, guint slot);
