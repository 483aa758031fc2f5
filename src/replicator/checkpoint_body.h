/* One checkpoint as a file: a sequence of records (wire/checkpoint.proto), the CheckpointState last. It is
 * written once and never changed.
 *
 * A record has a head of 12 bytes: its length and XXH3-64, little-endian. A record of memory or of a file's
 * content holds at most CHECKPOINT_PIECE bytes; of two that overlap the later one is right. What comes out of
 * a file has passed every check that can be made without a process: lengths, ranges, order, the shape of
 * everything in the state. */
#pragma once

#include "wire/checkpoint.pb-c.h"

#include <glib.h>

#define CHECKPOINT_PIECE       (256u << 10)
#define CHECKPOINT_PAGE        4096u
#define CHECKPOINT_STATE_MAX   (16u << 20) /* bytes of a packed state */
#define CHECKPOINT_FILES_MAX   65536       /* in one state */
#define CHECKPOINT_RUN         16          /* bytes of a run's name */
#define CHECKPOINT_ENTRIES_MAX (1u << 22)  /* pieces of a file, each of at most CHECKPOINT_PIECE */
#define CHECKPOINT_BODY_MAX    (G_GUINT64_CONSTANT(1) << 42) /* bytes of a file */

typedef Doppel__Wire__CheckpointState CheckpointState;
typedef Doppel__Wire__CheckpointFile CheckpointFile;
typedef Doppel__Wire__CheckpointDescriptor CheckpointDescriptor;

void checkpoint_state_free(CheckpointState *state);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CheckpointState, checkpoint_state_free)
/* NULL with HOSTILE. */
CheckpointState *checkpoint_state_unpack(const guint8 *data, gsize length, GError **error);
/* NULL: it can be a file of a process. Else what is wrong with it. */
const char *checkpoint_file_fault(const CheckpointFile *file);

/* Files that a program only reads are known by their size and content, those of more than
 * CHECKPOINT_HASHED_MAX bytes by their size and time. */
#define CHECKPOINT_HASHED_MAX (64u << 20)
/* Takes the content's hash, where it is to be taken. FALSE with errno. */
gboolean checkpoint_file_know(CheckpointFile *named, int file);
/* Whether `file` has its size and, where it is known by that, its content. */
gboolean checkpoint_file_fits(const CheckpointFile *named, int file);
/* Whether `file` is it. */
gboolean checkpoint_file_is(const CheckpointFile *named, int file);

/* ---- writing ---- */

typedef struct CheckpointWriter CheckpointWriter;

/* At the start of `file`, which stays the caller's. */
CheckpointWriter *checkpoint_writer_new(int file);
void checkpoint_writer_free(CheckpointWriter *writer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CheckpointWriter, checkpoint_writer_free)

/* In pieces; `bytes` NULL: as the mapping began, of a file zeros. */
gboolean checkpoint_write_memory(CheckpointWriter *writer, guint64 address, guint64 length,
                                 const guint8 *bytes, GError **error);
gboolean checkpoint_write_block(CheckpointWriter *writer, guint32 file, guint64 offset, guint64 length,
                                const guint8 *bytes, GError **error);
/* A packed record of another file, as it is. */
gboolean checkpoint_write_record(CheckpointWriter *writer, const guint8 *packed, gsize length,
                                 GError **error);
/* The last one. */
gboolean checkpoint_write_state(CheckpointWriter *writer, const CheckpointState *state, GError **error);
guint64 checkpoint_writer_bytes(const CheckpointWriter *writer);
guint64 checkpoint_writer_hash(const CheckpointWriter *writer); /* XXH3-64 of all that was written */

/* ---- reading ---- */

typedef struct {
  guint64 at; /* of the packed record in the file */
  guint32 packed;
  gboolean memory, blank; /* a stretch of memory; one without bytes */
  guint32 file;           /* of what is no memory */
  guint64 start, length;
} CheckpointEntry;

typedef struct {
  int file;        /* its own */
  GArray *entries; /* of CheckpointEntry, in order */
  CheckpointState *state;
  guint64 bytes, hash;
} CheckpointBody;

/* Reads all of `file` (whose descriptor it copies), checking everything but that contents can be unpacked.
 * NULL with an error. */
CheckpointBody *checkpoint_body_read(int file, GError **error);
void checkpoint_body_free(CheckpointBody *body);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CheckpointBody, checkpoint_body_free)

/* The contents of an entry that is not blank; `to` has room for its length. */
gboolean checkpoint_body_unpack(const CheckpointBody *body, const CheckpointEntry *entry, guint8 *to,
                                GError **error);
/* The packed record; free with g_free(). NULL with an error. */
guint8 *checkpoint_body_record(const CheckpointBody *body, const CheckpointEntry *entry, GError **error);
