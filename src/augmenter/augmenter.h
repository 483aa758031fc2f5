/* The Augmenter (CloneCloud section 3): runs the mirror of one program in the clone, "manages the local
 * execution, and returns a result". This header is private to src/augmenter; the entry is augmenter_session()
 * in session.h.
 *
 * One thread, one loop: the link, the mirror's stops (ptrace) and its notified system calls (seccomp). */
#pragma once

#include "augmenter/sandbox.h"
#include "augmenter/session.h"
#include "link/engine.h"
#include "mirror/pincall.h"
#include "mirror/twin.h"

typedef struct Paths Paths; /* paths.h */

/* A system call of the mirror or of a child that was notified and is not answered yet. */
typedef enum {
  CALL_FORWARDED, /* executed on the device now */
  CALL_HELD,      /* waits for something else: thread ids, facts of a path */
} CallState;

typedef struct {
  struct Augmenter *augmenter;
  guint64 notification; /* seccomp's id */
  pid_t tid;
  gboolean child; /* of a process that the mirror forked, not its own */
  CallState state;
  guint64 id; /* FORWARDED: the message's */
  PinCall *call;
  const SyscallRow *row;
  guint64 arguments[SYSCALL_ARGS];
  gboolean cancelled;
} HeldCall;

typedef struct {
  gint32 pin;
  gboolean socket;
  GByteArray *bytes;
} PinOutput;

typedef struct {
  pid_t own_tid; /* 0: the process */
  siginfo_t info;
} QueuedSignal;

typedef enum {
  MIRROR_ABSENT,
  MIRROR_READY,   /* frozen; twins agree, or nothing has come yet */
  MIRROR_RUNNING, /* a block */
  MIRROR_ENDING,  /* the block is over; answers to forwarded calls are still out */
} MirrorPhase;

typedef struct Augmenter {
  Link *link;
  const AugmenterSession *session;
  Sandbox *sandbox;
  MirrorProcess *process;
  MirrorTwin *twin;
  int control;  /* where doppeld hands over later connections; -1: none will come */
  int listener; /* seccomp notifications */
  int device;   /* on /dev/userfaultfd; -1: none */
  guint64 next_pull;
  GError *missing;       /* why a page did not come, which somebody wanted to look into; NULL: all came */
  MirrorRanges *fetched; /* pages that stayed behind once and were missed; NULL: none may stay */
  guint64 may_stay;      /* pages, of the capture to come */
  GHashTable *pointed;   /* guint64: numbers of pages that the program surely touches next; NULL: as above */
  PageStore *store;      /* NULL: none */
  int children;          /* signalfd for SIGCHLD */
  guint32 uid, gid;      /* of the program */
  MirrorPhase phase;
  gboolean uncommitted; /* a block was sent home, and the device has not said yet that it took it */
  gboolean noticed;     /* in this block: a system call was notified, a signal came, or a thread */
  gboolean called;      /* in this block: it made some system call, or may have */
  gboolean over;        /* the session is to end */
  guint notes_told;
  gint64 ordered_ns; /* when the mirror was ordered */
  gboolean check;    /* a digest of the mirror goes home with each block */

  /* the block */
  guint64 block;
  pid_t block_thread; /* own id */
  guint64 entry_sp, return_address;
  gboolean primary_has_children;
  MirrorDelta *incoming;
  gboolean incoming_complete;
  gint64 apply_ns, started_ns, ended_ns, captured_ns; /* ns: how long; CLOCK_MONOTONIC */
  Doppel__Engine__How how;
  gint32 end_status;
  char *end_reason;
  GArray *end_signals; /* QueuedSignal: to be delivered by the device */

  GPtrArray *held; /* HeldCall */
  guint64 next_forward;
  GHashTable *pins;   /* gint32 as pointers: those that the device holds for this block */
  GArray *bufferable; /* gint32: pins whose output the program need not wait for */
  GPtrArray *outputs; /* PinOutput, in the order of their first byte */
  gint64 output_since_ns;
  GArray *early;   /* QueuedSignal that wait in the program as the block begins */
  GArray *signals; /* QueuedSignal that were sent to the mirror and not yet delivered */
  guint signals_seen;
  GHashTable *sent_back; /* pid_t: their calls were broken off on the device, and answered so */
  GArray *reserved;      /* pid_t: ids for new threads */
  gboolean asked_threads;
  pid_t creator,
      creating_id; /* the thread that is inside a call that makes a task (0: none); the task's id */
  gboolean creating_thread;
  pid_t next_child_id;
  GHashTable *clock_bases; /* what the primary has used, see processor.c */
  GArray *processors;      /* guint32: of the device, those that the program may run on */
  Paths *paths;
  GQueue *postponed; /* EngineMessage that came while an answer about files was waited for */
} Augmenter;

/* The clone is this machine itself: nothing is compressed, and its root is this one's. */
static inline gboolean
augmenter_is_local(const Augmenter *augmenter)
{
  return augmenter->session->control_fd < 0;
}

/* ---- augmenter.c ---- */
/* What the device sends (hostile), whenever it comes. FALSE ends the session; the error may be left to the
 * caller. */
gboolean augmenter_message(Augmenter *augmenter, const EngineMessage *message, GError **error);
/* One turn of the session's loop: waits until something happens, unless something has been put off, and sees
 * to it. FALSE ends the session. */
gboolean augmenter_turn(Augmenter *augmenter, GError **error);
/* The next message, whatever else happens meanwhile. NULL with an error GONE where the device is. */
EngineMessage *augmenter_wait_message(Augmenter *augmenter, GError **error);
/* Keeps it for later (takes it). FALSE with HOSTILE for too many. */
gboolean augmenter_postpone(Augmenter *augmenter, EngineMessage *message, GError **error);

/* ---- start.c: making the mirror ---- */
gboolean augmenter_prepare(Augmenter *augmenter, const Doppel__Engine__Prepare *prepare, GError **error);
gboolean augmenter_start_mirror(Augmenter *augmenter, const Doppel__Engine__Start *start, GError **error);

gboolean augmenter_tell_started(Augmenter *augmenter, GError **error); /* augmenter.c */

/* ---- route.c, route_special.c, forward.c: what becomes of a system call ---- */
gboolean augmenter_notified(Augmenter *augmenter, GError **error); /* reads and routes one notification */
gboolean augmenter_route(Augmenter *augmenter, HeldCall *call, GError **error);
void augmenter_forwarded(Augmenter *augmenter, const Doppel__Engine__Forwarded *message);
gboolean augmenter_retry_held(Augmenter *augmenter, GError **error);
/* The thread is not, or no longer, inside a call that makes a task: it has made it, or failed. TRUE where it
 * was the one that was known to be. */
gboolean augmenter_creation_over(Augmenter *augmenter, pid_t tid, gboolean born);

/* ---- interrupted.c: signals that interrupt system calls ---- */
/* At a signal: sees to it that a call which was notified, and not begun, is made again after the signal. TRUE
 * where that changed the registers. */
gboolean augmenter_call_again(Augmenter *augmenter, pid_t tid, ArchRegisters *registers);
/* The device is to break off the call, where it makes it. */
gboolean augmenter_cancel(Augmenter *augmenter, HeldCall *call, GError **error);
/* What waitpid(2) tells of a task that is none of the mirror's threads. */
gboolean augmenter_child(Augmenter *augmenter, pid_t tid, int status, GError **error);

/* ---- processor.c: processors and their time ---- */
typedef enum {
  PROCESSOR_NATIVE,
  PROCESSOR_DONE /* the answer is written, the call returns 0 */,
  PROCESSOR_ASK
} ProcessorAnswer;
ProcessorAnswer processor_time(Augmenter *augmenter, const HeldCall *held);
void processor_time_told(Augmenter *augmenter, const HeldCall *held); /* after PROCESSOR_ASK */
ProcessorAnswer processor_number(Augmenter *augmenter, const HeldCall *held);

/* ---- demand.c: pages that come when they are touched ---- */
/* Before the sandbox is entered: what userfaultfds are made with; -1 where this machine has, or grants, none.
 */
int demand_device(void);
/* The store of pages, before the sandbox is entered. */
void demand_open_store(Augmenter *augmenter);
/* The mirror's pager, over the twin. */
void demand_begin(Augmenter *augmenter);
/* Memory of a task of the mirror's that is inside a system call. FALSE where some of it is not there. */
gboolean augmenter_memory_read(Augmenter *augmenter, pid_t tid, guint64 address, void *to, gsize length);
gboolean augmenter_memory_write(Augmenter *augmenter, pid_t tid, guint64 address, const void *from,
                                gsize length);
/* FALSE where one of these two wanted a page that did not come. */
gboolean augmenter_memory_came(Augmenter *augmenter, GError **error);
/* What the kernel would do to missing pages in the call's course is wrong, or nobody could be told: they come
 * before. */
gboolean demand_before_call(Augmenter *augmenter, const HeldCall *held, GError **error);
/* A thread ends: the kernel writes to its memory when nobody can wait any more. */
gboolean demand_before_exit(Augmenter *augmenter, pid_t tid, GError **error);

/* ---- stay.c: pages that stay behind (mirror/kept.h) ---- */
void stay_begin(Augmenter *augmenter); /* this session may leave some */
void stay_end(Augmenter *augmenter);
void stay_before_capture(Augmenter *augmenter);
/* The device goes on from the last block. */
void stay_settle(Augmenter *augmenter);
/* The device asks for some (hostile). */
gboolean stay_pull(Augmenter *augmenter, const Doppel__Engine__Pull *pull, GError **error);

/* ---- answer.c: answering seccomp ---- */
void augmenter_continue(Augmenter *augmenter, HeldCall *call);
void augmenter_answer(Augmenter *augmenter, HeldCall *call,
                      gint64 value); /* or -errno; -512: the call is made again */
int augmenter_add_placeholder(Augmenter *augmenter, HeldCall *call, guint32 pin);
void held_call_free(HeldCall *call);
gboolean augmenter_pin_of(Augmenter *augmenter, pid_t tid, int number, gint32 *pin);

/* ---- pins.c ---- */
gboolean augmenter_pins_sync(Augmenter *augmenter,
                             GError **error); /* tells the device of pins that nobody has open any more */

/* ---- output.c: output that waits ---- */
void augmenter_output_add(Augmenter *augmenter, const PinCall *call);
gboolean augmenter_output_flush(Augmenter *augmenter, GError **error);
gboolean augmenter_output_due(const Augmenter *augmenter, int *timeout_ms);
GPtrArray *augmenter_output_take(Augmenter *augmenter); /* Doppel__Engine__Output */
void pin_output_free(PinOutput *output);

/* ---- block.c: beginning and end ---- */
/* The device has taken the last block's result. */
gboolean augmenter_commit(Augmenter *augmenter, GError **error);
gboolean augmenter_block_begin(Augmenter *augmenter, const Doppel__Engine__Block *block, GError **error);
/* The block is over, for this reason. Freezes, waits for what is out, sends the result when all is in. Takes
 * no ownership. */
gboolean augmenter_block_end(Augmenter *augmenter, Doppel__Engine__How how, gint32 status, const char *reason,
                             GError **error);
gboolean augmenter_block_settle(Augmenter *augmenter, GError **error); /* goes on once nothing is out */

/* ---- stops.c: what ptrace reports ---- */
gboolean augmenter_reap(Augmenter *augmenter, GError **error);
void augmenter_keep_signal(Augmenter *augmenter,
                           MirrorThread *thread); /* its stop's signal goes home with the block */
gboolean augmenter_signal(Augmenter *augmenter, const Doppel__Engine__Signal *signal, GError **error);
