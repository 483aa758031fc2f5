/* The log of an attempt: the steps that were done, so that they can be done again. After a crash it is the
 * truth; the layer that they were done in is made anew from it.
 *
 * A file: 8 bytes of magic, a random salt (8 bytes), the number of the first step (8 bytes), and then
 * records: length (4 bytes), checksum (8 bytes: XXH3-64 with a seed of the salt and the record's place in the
 * order, so that neither an old file's nor another place's bytes pass for one), content. All numbers are
 * little-endian. The first record is the head, the owner's own; the next is the first step's message, and so
 * on.
 *
 * A record that was being written when the machine stopped is a torn tail: reading ends before it, and it is
 * cut off. A record that a disk lost later ends the log as well: then fewer steps are durable than their
 * sender was told, which the sender must look for. */
#pragma once

#include <glib.h>

#define GENERATION_LOG_SYNC_BYTES (512u << 10) /* at most so many bytes, */
#define GENERATION_LOG_SYNC_US    1000000 /* for so many microseconds, are not on the disk while steps come */

typedef struct GenerationLog GenerationLog;

/* Makes the log `name` in `directory` (which is borrowed), in place of one that is there: on disk, with its
 * head, when this returns. NULL with an error, and then the old one is still there. */
GenerationLog *generation_log_new(int directory, const char *name, guint64 first, GBytes *head,
                                  GError **error);

/* Opens a log to be read. NULL with NOT_FOUND, or with HOSTILE for what is none. */
GenerationLog *generation_log_open(int directory, const char *name, GError **error);
void generation_log_free(GenerationLog *log);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GenerationLog, generation_log_free)

GBytes *generation_log_head(const GenerationLog *log);

/* The next step's message, which is yet to be checked. NULL at the end of what is good, without an error: the
 * rest of the file is gone then, and the log can be appended to; with one when the disk cannot be read or
 * written. */
GBytes *generation_log_next(GenerationLog *log, GError **error);

/* Adds the message of the next step, and brings what was added to the disk when it is time. FALSE with an
 * error (a full disk), the log being what it was before. */
gboolean generation_log_append(GenerationLog *log, GBytes *message, GError **error);

/* Brings everything to the disk. FALSE with an error: what was not durable may be lost, and the log has to be
 * opened anew. */
gboolean generation_log_sync(GenerationLog *log, GError **error);

guint64 generation_log_last(const GenerationLog *log);    /* number of the last step in it; first - 1: none */
guint64 generation_log_durable(const GenerationLog *log); /* number of the last one that is on the disk */
guint64 generation_log_size(const GenerationLog *log);    /* bytes */

/* Microseconds until what was appended should be on the disk; -1 when it is. */
gint64 generation_log_due_us(const GenerationLog *log);
