/* Traced children for the tests of src/mirror: programs that stand still where the engine finds its own, or
 * that run under the eyes of the test. A failure of the machinery fails the test at once. */
#pragma once

#include "mirror/process.h"

/* What the puppet (puppet.c) tells and is told, at an address that both know. */
#define BOARD_ADDRESS 0x100000000ull
enum { BOARD_VECTORS = 32, BOARD_VECTOR_BYTES = 64, BOARD_WORKERS = 4 };

/* What a worker of the puppet does with memory, by instructions unless it is a call. */
typedef enum {
  BOARD_NOTHING,
  BOARD_LOAD,  /* the byte at argument 0 */
  BOARD_STORE, /* argument 1 as the 64-bit word at argument 0 */
  BOARD_SUM,   /* of the 64-bit words of argument 1 bytes at argument 0 */
  BOARD_CALL,  /* the system call `number` */
} BoardOperation;
typedef struct {
  guint64 operation; /* set last by the test; back to NOTHING when it is done */
  guint64 number, argument[6];
  gint64 result; /* -errno for a call that failed */
} BoardCommand;

typedef struct {
  guint64 tick;            /* address of the function that everybody calls */
  guint64 loaded, stored;  /* vectors: instructions after the registers were set, after they were stored */
  guint64 ready;           /* how many threads are where they belong */
  guint64 ticks, finished; /* calls of tick(); threads that ended */
  guint64 go;              /* set by the test */
  gint64 result[8];        /* calls: what each thread's call returned, and errno */
  gint64 failure[8];
  guint8 in[BOARD_VECTORS][BOARD_VECTOR_BYTES], out[BOARD_VECTORS][BOARD_VECTOR_BYTES];
  guint64 masks_in[8], masks_out[8];
  BoardCommand command[BOARD_WORKERS]; /* work: one for each thread */
} Board;

/* The puppet with these arguments (`words` are split at spaces), stopped before its first instruction, its
 * scratch made. */
MirrorProcess *rig_puppet(const char *words);
/* As above, but of any program, as the exec left it: no scratch. */
MirrorProcess *rig_exec(char *const *arguments);
void rig_end(MirrorProcess *process); /* kills, reaps, frees */

/* A system call by the leader; its result is the kernel's. */
gint64 rig_call(MirrorProcess *process, gint64 number, const guint64 arguments[6]);
#define RIG_CALL(process, number, ...) rig_call(process, number, (const guint64[6]){__VA_ARGS__})
/* One that must succeed. */
guint64 rig_do(MirrorProcess *process, gint64 number, const guint64 arguments[6]);
#define RIG_DO(process, number, ...) rig_do(process, number, (const guint64[6]){__VA_ARGS__})
/* The same, with `text` in the process's memory as the first argument, or the second where the first is
 * `before`. */
gint64 rig_open(MirrorProcess *process, const char *path, int flags, int mode); /* a descriptor */

guint64 rig_map(MirrorProcess *process, guint64 address, gsize length, int prot, int flags);
void rig_write(MirrorProcess *process, guint64 address, const void *from,
               gsize length); /* by the kernel's FOLL_FORCE */
void rig_store(MirrorProcess *process,
               guint64 address); /* by an instruction of the process: the same byte again */
void rig_scramble(MirrorProcess *process, guint64 address,
                  gsize length); /* by a system call of it: random bytes */
void rig_read(MirrorProcess *process, guint64 address, void *to, gsize length);
guint64 rig_word(MirrorProcess *process, guint64 address);
#define RIG_BOARD(process, field) rig_word(process, BOARD_ADDRESS + G_STRUCT_OFFSET(Board, field))
void rig_board_set(MirrorProcess *process, gsize offset, guint64 value);
#define RIG_BOARD_SET(process, field, value) rig_board_set(process, G_STRUCT_OFFSET(Board, field), value)

/* Lets all threads run and handles their stops (births and ends are noted, signals delivered) until `wanted`
 * says so of a stop, which it returns with its thread stopped, or until `milliseconds` are over (kind NONE).
 */
typedef gboolean (*RigWanted)(const MirrorStop *stop, void *user);
MirrorStop rig_run(MirrorProcess *process, RigWanted wanted, void *user, int milliseconds);
gboolean rig_is_breakpoint(const MirrorStop *stop, void *unused);
/* Runs until the puppet's `ready` is `count`, then freezes. */
void rig_ready(MirrorProcess *process, guint64 count);
void rig_freeze(MirrorProcess *process);
void rig_resume(MirrorProcess *process); /* all that are stopped */

/* A directory of the test's own, removed by rig_tree_remove(). */
char *rig_tree_make(void);
void rig_tree_remove(char *path); /* and frees */

/* Seeded randomness: the seed is in the environment (DOPPEL_SEED), or the clock's, and printed. */
GRand *rig_random(void);
