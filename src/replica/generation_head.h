/* The list of a store's generations: the file HEAD, which is what makes a generation exist.
 *
 * Text, so that an operator can read it: a line for the store's identity, one for each generation, and a last
 * one with a checksum of all before it (XXH3-64). It is only ever replaced whole, by a rename. */
#pragma once

#include <glib.h>

#define GENERATION_IDENTITY 16  /* bytes */
#define GENERATION_LAYERS   400 /* of one generation at most: the kernel mounts 500 */

typedef struct {
  guint64 number; /* from 1 */
  gint64 time_ns; /* since 1970, of the device, when it made it */
  gint64 kept_ns; /* of this machine, when it was complete: what retention goes by */
  guint64 nodes;  /* in the tree, its root not among them */
  guint64 bytes;  /* of contents that came with it */
  GArray *layers; /* of guint64, their numbers, top first */
} GenerationRecord;

typedef struct {
  guint8 identity[GENERATION_IDENTITY]; /* random, of the store */
  GPtrArray *generations;               /* of GenerationRecord, oldest first */
} GenerationHead;

GenerationRecord *generation_record_new(void);
void generation_record_free(GenerationRecord *record);

/* A new store's: a random identity, no generation. */
GenerationHead *generation_head_new(void);
void generation_head_free(GenerationHead *head);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GenerationHead, generation_head_free)

GBytes *generation_head_format(const GenerationHead *head);
GenerationHead *generation_head_parse(GBytes *text, GError **error); /* NULL with HOSTILE */

/* Reads HEAD in `store`; NULL with NOT_FOUND where there is none. */
GenerationHead *generation_head_read(int store, GError **error);

/* Replaces it; it is on the disk afterwards, and before it everything that was synced before. FALSE with an
 * error, and then the old one is still there. */
gboolean generation_head_write(int store, const GenerationHead *head, GError **error);

/* The newest generation, or NULL; and the one of that number, or NULL. */
GenerationRecord *generation_head_last(const GenerationHead *head);
GenerationRecord *generation_head_find(const GenerationHead *head, guint64 number);
