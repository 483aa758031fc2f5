/* Paths that the mirror names: is the clone's copy what the device has? (docs/architecture.md, "Files") */
#pragma once

#include "augmenter/augmenter.h"

Paths *paths_new(Augmenter *augmenter, GError **error);
void paths_free(Paths *paths);

/* The program itself and its interpreter, before the mirror exists. May wait for the device. */
gboolean paths_prepare_program(Paths *paths, const char *program, GError **error);
/* The files of a delta that is about to be applied: mappings and descriptors. May wait for the device. */
gboolean paths_prepare_delta(Paths *paths, const MirrorDelta *delta, GError **error);

typedef enum {
  PATHS_NATIVE,  /* the clone's copy is right: let the call go on */
  PATHS_FORWARD, /* a thing of the device */
  PATHS_WAIT,    /* the device was asked; the call is to be routed again when the answer has come */
  PATHS_CUT,
} PathsVerdict;
/* For a call of the process `tid` whose row names paths. For FORWARD `path` gets the absolute path of the
 * first. */
PathsVerdict paths_judge(Paths *paths, pid_t tid, const SyscallRow *row,
                         const guint64 arguments[SYSCALL_ARGS], char **path, char **reason);

/* Answers of the device. */
gboolean paths_answered(Paths *paths, const Doppel__Engine__Paths *answer, GError **error);
gboolean paths_content(Paths *paths, const Doppel__Engine__Content *content, GError **error);
gboolean paths_directory(Paths *paths, const Doppel__Engine__Directory *answer, GError **error);

/* A block begins: these paths are not what they were. */
void paths_stale(Paths *paths, gsize count, const ProtobufCBinaryData *stale);

/* What the block did to files, sent piece by piece; *changed tells whether there was anything. */
gboolean paths_send_changes(Paths *paths, gboolean *changed, GError **error);
/* The device has them now. */
gboolean paths_commit(Paths *paths, GError **error);
