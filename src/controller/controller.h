/* The Controller's inside; private to src/controller. One thread, one loop. */
#pragma once

#include <sys/types.h>

#include "controller/device_files.h"
#include "controller/run.h"
#include "controller/timeline.h"
#include "controller/traffic.h"
#include "energy/models.h"
#include "link/engine.h"
#include "mirror/page_forecast.h"
#include "mirror/page_index.h"
#include "mirror/pinlog.h"
#include "mirror/signals.h"
#include "mirror/symbols.h"
#include "mirror/twin.h"
#include "policy/placement.h"

/* ---- split.c: where the time of a block goes ---- */

typedef enum {
  SPLIT_STOP,        /* until all threads stand, and there is a session */
  SPLIT_CAPTURE,     /* what changed here */
  SPLIT_SEND,        /* packing, encryption, the socket, and a look at the files that the clone was told of */
  SPLIT_CLONE_APPLY, /* these as the clone tells */
  SPLIT_CLONE_RUN,
  SPLIT_CLONE_CAPTURE,
  SPLIT_CLONE_SEND,
  SPLIT_WIRE,  /* what is left of the time that was waited: both ways, and being woken */
  SPLIT_APPLY, /* reintegration */
  SPLIT_PARTS,
} SplitPart;

/* ---- functions ---- */

enum { BLOCK_RECORDS_MAX = 4096 }; /* of a run: the first */
typedef struct {
  guint64 bytes_out, bytes_in; /* on the wire */
  gint64 took_ns;
  Traffic traffic;
} BlockRecord;

typedef struct {
  char *text; /* as the user named it, or could have */
  SymbolQuery *query;
  GArray *addresses; /* guint64, in the process; empty until its module is there */
  gboolean marked;   /* nobody named it: its author says that it is worth it */
  gboolean seen;     /* some module had it */
  gboolean watched;  /* breakpoints are set */
  /* what --stats says */
  guint64 calls, remote, local, cut, aborted;
  guint64 bytes_out, bytes_in;
  gint64 remote_ns, local_ns;
  Traffic traffic;     /* of the blocks whose result counts */
  GArray *blocks;      /* BlockRecord; NULL: none yet */
  GArray *split;       /* gint64[SPLIT_PARTS], a block each; NULL: none yet */
  GHashTable *reasons; /* text → count */
  /* what auto decides from */
  PageForecast *forecast;     /* NULL: not loaded */
  PolicyFunction *policy;     /* NULL: auto has not asked about it yet */
  PolicyAnswer answer;        /* to the last call */
  gint64 again_ns;            /* when calls are looked at again; 0: they are watched */
  guint failures;             /* of blocks, in a row */
  gboolean said, said_remote; /* what was explained last */
  PolicyWhy said_why;
  double said_s;
  double joules_here, joules_there; /* of the device, estimated */
} Function;

typedef struct {
  Function *function; /* NULL: none is being timed */
  MirrorThread *thread;
  guint64 sp, back;
  gint64 start_ns, processor_ns;
  PolicyAnswer answer;
  gboolean spoiled; /* a block ran inside it */
} LocalTiming;

/* ---- a forwarded call ---- */

typedef enum { TASK_FORWARD, TASK_OUTPUT } PinTaskKind;
typedef struct {
  PinTaskKind kind;
  guint64 id;
  MirrorThread *thread;
  PinCall *call;
  PinPlacement *placement;
  guint slot;
  gint64 start_ns; /* timeline_now() */
  gboolean cancelled;
} PinTask;

typedef enum { THREAD_PROGRAM, THREAD_RESERVED, THREAD_SERVANT } ThreadRole; /* MirrorThread.user */

typedef struct {
  pid_t own_tid;
  siginfo_t info;
} ForwardedSignal;

typedef enum { BLOCK_NONE, BLOCK_RUNNING, BLOCK_ENDING } BlockPhase;

typedef struct Controller {
  const RunOptions *options;
  char *program; /* absolute */
  pid_t pid;
  MirrorProcess *process;
  int proc_fd, signals; /* procfs; signalfd */
  sigset_t former_mask;
  guint64 inherited; /* bit n: descriptor n came with us */
  GPtrArray *functions;
  Function *whole;    /* --whole: stands for all of the program */
  GPtrArray *modules; /* SymbolFile, opened so far */
  GHashTable *module_paths;
  guint64 loader_hook; /* address; 0: none */
  LocalTiming timing;
  gboolean exited;
  int exit_status; /* wait status */

  /* session */
  Link *link;
  pid_t augmenter; /* the local clone's process */
  gboolean started;
  MirrorTwin *twin;
  MirrorLate *late;    /* pages that stay behind in the clone; NULL: none may */
  guint64 block_taken; /* the program has the results of the session's blocks up to this one */
  Function *left_by;   /* who is charged for what comes home between blocks; NULL: nobody */
  guint64 next_pull;
  GQueue *postponed;  /* EngineMessage that came while pages were waited for */
  DeviceFiles *files; /* NULL: no session */
  guint sessions_failed;
  gboolean kept, greeted; /* this session came from a keeper; the clone has answered in it */
  PageIndex *index;       /* what the clone keeps of pages; NULL: nothing is known */
  gboolean store_known;   /* the clone has said which store it has: */
  guint8 store[PAGE_INDEX_IDENTITY];
  char *why_no_session; /* sticks: no further attempts */
  char *features_mask;
  guint64 bytes_out_before, bytes_in_before;
  TrafficMeter meter; /* like these two, from where the next block's account begins */
  guint block_records;
  Timeline timeline;

  /* block */
  BlockPhase phase;
  guint64 block;
  MirrorThread *block_thread;
  gint64 block_start_ns;
  Function *block_function; /* NULL: the whole program, or none runs */
  gint64 away_since_ns;     /* since when its link is; 0: it is there */
  gboolean too_slow;        /* the block was given up for its link is too slow */
  PinLog *log;
  PageForecast *forecast; /* the function's; NULL: nothing is pushed ahead */
  GHashTable *pointed;    /* guint64: numbers of pages that the block's registers point at */
  MirrorRanges
      *lent;        /* pages pushed ahead on trial, or asked for: touched, unless the clone says otherwise */
  GHashTable *pins; /* fd → its name in procfs: what the clone may use */
  /* The same for what it has closed, and the name is that of what is there instead: should the block be run
   * again, what was done on it before is in the log. */
  GHashTable *let_go;
  GPtrArray *tasks;          /* PinTask under way */
  GArray *signals_sent;      /* ForwardedSignal of this block, in order */
  gint64 signal_deadline_ns; /* the mirror has so long to die of it */
  MirrorDelta *incoming;
  gboolean incoming_complete;
  EngineMessage *end;
  guint end_output;                   /* how many of the end's outputs are written */
  char *failure;                      /* why the block cannot count */
  gint64 split[SPLIT_PARTS], mark_ns; /* ns; until when they are measured */

  PolicyPlacement *policy; /* NULL: not auto */
  EnergyModels *energy_models;
  const EnergyModel *energy; /* NULL: not wanted, or not known */
  char *policy_path;

  struct Checkpoints *checkpoints; /* NULL: none are taken */

  gboolean rerunning; /* calls are answered from the log first */
  GHashTable
      *children; /* tid → RerunAnswer: the program's, traced while it is so; NULL: there was no re-run */
} Controller;

/* ---- launch.c ---- */
#define CONTROLLER_TRACE                                                                                     \
  (PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD)
gboolean controller_launch(Controller *controller, GError **error);
gboolean controller_prepare_image(Controller *controller, GError **error); /* at an exec stop */
gboolean controller_is_inherited(int number, void *user);

/* ---- functions.c ---- */
gboolean functions_prepare(Controller *controller, GError **error);
gboolean functions_new_image(Controller *controller, GError **error);
gboolean functions_modules_changed(Controller *controller, GError **error);
/* Tells of functions that were named and never came: a library that was not loaded after all. */
void functions_report_unseen(Controller *controller);
Function *functions_at(Controller *controller, guint64 address);
void functions_unwatch(Controller *controller, Function *function);
gboolean functions_watch(Controller *controller, Function *function, GError **error);
void function_reason(Function *function, const char *reason);
void function_free(Function *function);

/* ---- session.c ---- */
gboolean session_open(Controller *controller, GError **error);
void session_close(Controller *controller);
/* Sees to it that the next run finds a session ready. */
void session_keep(Controller *controller);
gboolean session_start(Controller *controller, GError **error); /* makes the mirror */
/* What the clone answers to the opening and to the start; neither is waited for. */
gboolean session_hello(Controller *controller, const Doppel__Engine__Hello *hello, GError **error);
gboolean session_started(Controller *controller, const Doppel__Engine__Started *started, GError **error);

/* ---- block.c ---- */
/* Runs what the frozen-to-be primary is about to do in the clone. FALSE: it has to be run here; the reason
 * was noted. */
/* Bytes on the wire are the next block's from now on. */
void controller_count_from_here(Controller *controller);
gboolean controller_block(Controller *controller, MirrorThread *thread, guint64 entry_sp,
                          guint64 return_address, Function *function);

/* What the clone sends (hostile) while a block runs. A BlockEnd is kept, as controller->end: it is not the
 * caller's any more. FALSE gives the block up; the error may be left to the caller. */
gboolean controller_message(Controller *controller, EngineMessage *message, GError **error);
/* The same between blocks, when there is little that a clone may say. */
gboolean controller_message_between(Controller *controller, const EngineMessage *message, GError **error);

/* ---- pins.c: forwarded calls ---- */
gboolean pins_begin(Controller *controller, const MirrorFiles *files);
gboolean pins_forward(Controller *controller, const Doppel__Engine__Forward *forward, GError **error);
gboolean pins_output(Controller *controller, const Doppel__Engine__Output *output, GError **error);
/* Lets go of what these pins are; their numbers stay taken, so that the program, should it run the block
 * itself, finds none of its own descriptors under them, and they are known as what they were. */
gboolean pins_close(Controller *controller, const Doppel__Engine__ClosePins *close, GError **error);
gboolean pins_cancel(Controller *controller, guint64 id, GError **error);
gboolean pins_threads(Controller *controller, guint count, GError **error);
gboolean pins_done(Controller *controller, MirrorThread *thread,
                   GError **error); /* a task's call has come back */
gboolean pins_output_active(const Controller *controller);
gboolean pins_sleep(Controller *controller, GError **error);
gboolean pins_stop_all(Controller *controller,
                       GError **error); /* nothing of ours runs in the primary afterwards */
void pins_end(Controller *controller);
gboolean pins_wake(Controller *controller, MirrorThread *thread, GError **error);
void pin_task_free(PinTask *task);

/* ---- pages.c: pages that the clone asks for, and those it is sent without asking ---- */
void pages_open(Controller *controller); /* a session: its twin is there */
void pages_hello(Controller *controller, const Doppel__Engine__Hello *hello);
void pages_close(Controller *controller);
void pages_begin(Controller *controller, Function *function); /* a block, before its capture */
gboolean pages_end(Controller *controller, const Doppel__Engine__BlockEnd *end, GError **error);
void pages_cancel(Controller *controller);
void pages_save(Controller *controller, Function *function); /* what was learned, for later runs */
gboolean pages_pull(Controller *controller, const Doppel__Engine__Pull *pull, GError **error);

/* ---- home.c: pages that stayed behind, and come when the program touches them ---- */
int home_device(const Controller *controller); /* for the program to have at its exec; -1: none */
/* At an exec stop, the scratch made. `device`: the same, in the program, where it is closed. */
gboolean home_image(Controller *controller, int device, GError **error);
void home_forget(Controller *controller);                     /* the program has become another, or is gone */
gboolean home_attach(Controller *controller, GError **error); /* a session: its twin is there */
void home_detach(Controller *controller);
int home_fd(const Controller *controller);
gboolean home_serve(Controller *controller, GError **error);
/* Before a session ends that could go on: all comes home. Does not return where it cannot. */
void home_bring(Controller *controller);
/* After a block: what the kernel will touch when nobody can wait any more. */
gboolean home_secure(Controller *controller, GError **error);
/* The session has ended. Does not return where something stayed behind. */
void home_cut(Controller *controller, const char *why);
G_NORETURN void home_lost(Controller *controller, const GError *error);

/* ---- signals.c ---- */
gboolean signals_forward(Controller *controller, MirrorThread *thread, GError **error);
void signals_requeue(Controller *controller, guint from);
gboolean signals_own(Controller *controller);

/* ---- rerun.c ---- */
int rerun_request(
    Controller *controller); /* how threads are resumed: PTRACE_SYSCALL while the log is not empty */

/* ---- decide.c ---- */
/* Loads what is known of the program from earlier runs. FALSE: the objective needs what is not there. */
gboolean decide_open(Controller *controller, GError **error);
void decide_close(Controller *controller); /* keeps it */
gboolean decide_remote(Controller *controller, Function *function, const ArchRegisters *registers);
/* The block whose parts are in controller->split counts. */
void decide_learn_remote(Controller *controller, Function *function, gint64 ns);
void decide_failed(Controller *controller, Function *function, gint64 ns);
/* Whether the block that runs is not to be waited for: its link is gone, or so slow that the device is done
 * sooner. */
gboolean decide_gives_up(Controller *controller, int *timeout_ms);
/* ns of the program's processor time so far; 0: it does not tell. */
gint64 decide_processor_ns(const Controller *controller);
void decide_learn_local(Controller *controller, const LocalTiming *timing, gint64 ns);
/* Functions that are not watched are, from their time on. */
void decide_timeout(const Controller *controller, int *timeout_ms);
gboolean decide_relook(Controller *controller, GError **error);

/* ---- split.c ---- */
void split_add(Function *function, const gint64 parts[SPLIT_PARTS]);
void split_json(GString *json,
                const Function *function); /* as a further member of an object: medians in microseconds */

/* ---- stats.c ---- */
void stats_write(Controller *controller);
/* A block whose result counts took so long and so much. */
void stats_block(Controller *controller, Function *function, gint64 took_ns);
/* Pages came home between two blocks; what the link and the meter said before that. */
void stats_came_home(Controller *controller, const LinkCounters *since, const Traffic *before);
void explain(Controller *controller, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* ---- checkpoints.c (checkpoints.h): while the program runs on the device ---- */
gboolean checkpoints_open(Controller *controller, GError **error); /* before the program is started */
void checkpoints_close(Controller *controller);
int checkpoints_fd(const Controller *controller); /* to be polled; -1: none */
void checkpoints_timeout(const Controller *controller, int *timeout_ms);
/* Does what is due. FALSE where the program is gone. */
gboolean checkpoints_turn(Controller *controller, GError **error);
void checkpoints_new_image(Controller *controller);
void checkpoints_json(GString *json, const Controller *controller);
void checkpoints_table(const Controller *controller);

/* ---- controller.c ---- */
/* A stop of the program while it runs here, that was read already. */
gboolean controller_stopped(Controller *controller, const MirrorStop *stop, GError **error);
gboolean controller_stop(Controller *controller, pid_t tid, int status, GError **error);
gboolean controller_resume(Controller *controller, MirrorThread *thread, GError **error);
gboolean controller_resume_all(Controller *controller, GError **error);
gboolean controller_counts(const MirrorThread *thread, void *user);
