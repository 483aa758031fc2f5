/* Files in the clone: is its copy what the device has, and what did the block do to it?
 * (docs/architecture.md, "Files")
 *
 * A path that a call names is walked in the clone's own view. Each step that the block itself has not changed
 * must have been told by the device in this session, and made the same here; what is missing is asked for,
 * and the call waits. */
#pragma once

#include "augmenter/augmenter.h"

/* `start` says what the device tells unasked. NULL with an error. */
Paths *paths_new(Augmenter *augmenter, const Doppel__Engine__Start *start, GError **error);
void paths_free(Paths *paths);

/* The mount points of the writable layers, in the order in which they are numbered: of strings. */
GPtrArray *paths_mountpoints(Paths *paths);

/* What people should know about the clone's files so far, of strings, owned by `paths`. */
const GPtrArray *paths_notes(Paths *paths);

/* The program itself, its interpreter and its working directory, before the mirror exists. May wait for the
 * device. */
gboolean paths_prepare_program(Paths *paths, const char *program, const char *directory, GError **error);
/* The files of a delta that is about to be applied: mappings, descriptors, working directory. May wait for
 * the device. */
gboolean paths_prepare_delta(Paths *paths, const MirrorDelta *delta, GError **error);

typedef enum {
  PATHS_NATIVE,  /* the clone's copy is right: let the call go on */
  PATHS_FORWARD, /* a thing of the device */
  PATHS_WAIT,    /* the device was asked; the call is to be routed again when the answer has come */
  PATHS_CUT,
  PATHS_DONE, /* the call has been made: it returns 0 */
} PathsVerdict;
/* For a call of the process `tid` whose row names paths. For FORWARD `path` gets the absolute path of the
 * first, or NULL where it is right as it is; for FORWARD and CUT `reason` why, or NULL. */
PathsVerdict paths_judge(Paths *paths, pid_t tid, const SyscallRow *row,
                         const guint64 arguments[SYSCALL_ARGS], char **path, char **reason);

/* For a call on a descriptor that is no pin: NATIVE, DONE or WAIT. It may change a file. */
PathsVerdict paths_judge_descriptor(Paths *paths, pid_t tid, const SyscallRow *row,
                                    const guint64 arguments[SYSCALL_ARGS]);

/* For a call on a pin that may name a socket by a path: NATIVE where the device can make it; WAIT, or CUT
 * with the reason. */
PathsVerdict paths_judge_socket(Paths *paths, pid_t tid, const SyscallRow *row,
                                const guint64 arguments[SYSCALL_ARGS], char **reason);

/* For a call of a child on a socket of its own, which the clone has: NATIVE where it reaches nobody; WAIT; or
 * CUT with the reason, where the device has something there. */
PathsVerdict paths_judge_own_socket(Paths *paths, pid_t tid, const SyscallRow *row,
                                    const guint64 arguments[SYSCALL_ARGS], char **reason);

/* A call was made by the device, and succeeded: bind(2) may have made a name. */
void paths_note_forwarded(Paths *paths, pid_t tid, const SyscallRow *row,
                          const guint64 arguments[SYSCALL_ARGS]);

/* Answers of the device. FALSE with an error where they make no sense. */
gboolean paths_message(Paths *paths, const EngineMessage *message, gboolean *handled, GError **error);

/* The clone's view of its files cannot be kept up any more: the session is to end with the block, for another
 * to begin. */
gboolean paths_are_worn(const Paths *paths);

/* Contents are on their way: the block's changes cannot be captured yet. */
gboolean paths_busy(const Paths *paths);

/* A block begins: these paths are not what they were. */
gboolean paths_stale(Paths *paths, gsize count, Doppel__Engine__Told *const *stale, GError **error);

/* What the block did to files, sent piece by piece; *changed tells whether there was anything. UNSUPPORTED
 * where the device could not do the same. The mirror stands still. */
gboolean paths_send_changes(Paths *paths, gboolean *changed, GError **error);
/* The device has them now. */
gboolean paths_commit(Paths *paths, GError **error);
