/* The device's files in a session: what the clone is told about them, their contents, and what blocks change
 * (docs/architecture.md, "Files").
 *
 * Told are facts of paths in real file systems, as the calling user finds them. What was told is remembered
 * with its signature and looked at again before each block. */
#pragma once

#include "link/engine.h"
#include "replica/apply.h"

typedef struct DeviceFiles DeviceFiles;

/* Undoes or sweeps what runs that were killed left half done. To be called once, before anything is started.
 */
void device_files_recover(void);

/* A session begins. `clone` names the clone, `program` is absolute. `local`: the clone sees this machine's
 * own files, so that contents need no hashes. NULL with an error. */
DeviceFiles *device_files_new(Link *link, const char *clone, const char *program, gboolean local,
                              GError **error);

/* Remembers, for the next run, which paths were asked about. */
void device_files_free(DeviceFiles *files);

/* What former runs of the program asked about, for Start: of Doppel__Engine__Told. */
GPtrArray *device_files_expected(DeviceFiles *files);

/* How much was asked in the session, in words. */
char *device_files_summary(const DeviceFiles *files);

/* The clone has started. HOSTILE where its mount points are none. */
gboolean device_files_started(DeviceFiles *files, const Doppel__Engine__Started *started, GError **error);

/* A block begins. What was told and is no longer so, with what it is now: of Doppel__Engine__Told.
 * UNSUPPORTED where the program (`pid`) sees another tree than the caller. NULL with an error. */
GPtrArray *device_files_stale(DeviceFiles *files, pid_t pid, GError **error);

/* AskPaths, AskDirectory, AskContent, FilePiece: answers it. Nothing for others, with *handled FALSE. */
gboolean device_files_message(DeviceFiles *files, const EngineMessage *message, gboolean *handled,
                              GError **error);

/* The block is over: whether all its changes have come, to be made; makes them, all or none; forgets them. */
gboolean device_files_ready(DeviceFiles *files, gboolean expected, GError **error);
gboolean device_files_commit(DeviceFiles *files, GError **error);
void device_files_clear(DeviceFiles *files);
