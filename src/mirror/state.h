/* The small state of a process (all but the contents of its memory) as named sections of bytes. Twins agree
 * on a set of sections; a delta carries those that differ. What a section means is known to the file that
 * reads and applies it. */
#pragma once

#include "mirror/files.h"
#include "mirror/layout.h"

typedef enum {
  MIRROR_SECTION_LAYOUT = 1, /* mirror_layout_pack() */
  MIRROR_SECTION_MISC,       /* brk, umask, working directory */
  MIRROR_SECTION_SIGNALS,    /* 64 kernel sigactions */
  MIRROR_SECTION_FILES,      /* mirror_files_pack() */
  MIRROR_SECTION_LIMITS,     /* those resource limits that a program would notice in the mirror */
  MIRROR_SECTION_REGISTERS,  /* per thread, id is its own tid */
  MIRROR_SECTION_EXTENDED,   /* per thread */
  MIRROR_SECTION_THREAD,     /* per thread: mask, alternate stack, robust list, tid address, name */
  MIRROR_SECTION_COUNT,
} MirrorSectionKind;

typedef struct {
  guint32 kind, id;
  GBytes *bytes; /* NULL: gone */
} MirrorSection;

typedef GHashTable MirrorState; /* key: kind << 32 | id → GBytes */
MirrorState *mirror_state_new(void);
static inline guint64
mirror_section_key(guint32 kind, guint32 id)
{
  return (guint64)kind << 32 | id;
}
GBytes *mirror_state_get(const MirrorState *state, guint32 kind, guint32 id);
void mirror_state_set(MirrorState *state, guint32 kind, guint32 id, GBytes *bytes); /* takes; NULL removes */
/* Sections of `now` that differ from `agreed`, and those that are gone. */
GPtrArray *mirror_state_difference(const MirrorState *agreed, const MirrorState *now);
void mirror_section_free(MirrorSection *section);

/* Reads the small state of a frozen process, files excepted (they are the caller's to read, each twin in its
 * way). `layout` is the present one. Threads whose `user` mark says they are reserved are left out. `still`
 * is what a mirror agreed on before it ran, where none of its system calls was notified and no signal
 * delivered: then its signal actions, umask and working directory are what they were, since all calls that
 * change them are notified (syscalls_table.c), and a signal's delivery may set an action back (SA_RESETHAND).
 * NULL: all is read. *children: whether it has any. */
typedef gboolean (*MirrorThreadCounts)(const MirrorThread *thread, void *user);
/* Has the leader begin to answer what only the process itself knows; mirror_state_read() waits for that.
 * Until then, or mirror_state_answered(), nothing else may be asked of the leader that needs it to stand
 * still. */
gboolean mirror_state_ask(MirrorProcess *process, const MirrorState *still, GError **error);
gboolean mirror_state_answered(MirrorProcess *process, GError **error);
MirrorState *mirror_state_read(MirrorProcess *process, MirrorLayout *layout, const MirrorFiles *files,
                               MirrorThreadCounts counts, void *user, const MirrorState *still,
                               gboolean *children, GError **error);
/* The same of a process that has made no system call since it agreed on `agreed`, and got no signal: only its
 * registers and its stack's size can be others. */
MirrorState *mirror_state_read_silent(MirrorProcess *process, MirrorLayout *layout, const MirrorState *agreed,
                                      GError **error);

/* Where the kernel writes when this thread ends, as far as both twins know: its id's address, its list of
 * robust locks. Number of places; 0: nothing is known. */
gsize mirror_state_exit_writes(const MirrorState *agreed, pid_t own_tid, guint64 places[2]);

/* rseq areas are written by the kernel at any time and mean nothing elsewhere: unregisters those of all
 * threads, as glibc has it where the kernel knows no rseq (rseq(2), glibc's "The Restartable Sequences"). */
gboolean mirror_state_quiet_rseq(MirrorProcess *process, GError **error);

/* Whether a section that came from the other side (hostile) has the shape of its kind; those that have an
 * unpacker of their own (layout, files) are left to it. */
gboolean mirror_state_check(guint32 kind, GBytes *bytes, GError **error);

/* Applying sections, which have been checked. Each changes only what differs from what the process has. */
/* The working directory that a MISC section names; NULL where it makes no sense. */
char *mirror_state_directory(GBytes *bytes);
gboolean mirror_state_apply_misc(MirrorProcess *process, GBytes *bytes, GError **error);
/* On the mirror only those limits that a program would notice there: not the device's on memory and time. */
gboolean mirror_state_apply_limits(MirrorProcess *process, GBytes *bytes, GError **error);
/* Whether the process itself, asked for this limit, says what the section says. */
gboolean mirror_state_has_limit(MirrorProcess *process, GBytes *bytes, int resource);
gboolean mirror_state_apply_signals(MirrorProcess *process, GBytes *former, GBytes *bytes, GError **error);
gboolean mirror_state_apply_thread(MirrorThread *thread, GBytes *bytes, GError **error);
gboolean mirror_state_apply_registers(MirrorThread *thread, GBytes *bytes, GError **error);
gboolean mirror_state_apply_extended(MirrorThread *thread, GBytes *bytes, GError **error);
