/* Which generations are worth keeping: the last ones; of the last hours, days, weeks and months that have
 * any, the newest of each (as backup programs do); and those that the device's owner has pinned. Hours and
 * days are UTC's, weeks begin on Mondays.
 *
 * What the owner wants otherwise than usual is a text file `keep` beside the store: a line for each rule, and
 * one for each pin, which an operator can read. */
#pragma once

#include "replica/generation_head.h"

#define GENERATION_RETENTION_MOST 10000u /* of each rule, and of pins */

typedef struct {
  guint last;                       /* how many, whatever their age */
  guint hours, days, weeks, months; /* of how many of them */
  GArray *pins;                     /* of guint64: numbers; NULL: none */
} GenerationRetention;

/* Who has just synchronised over a mistake wants the one before, and often within the hour. */
#define GENERATION_RETENTION_USUAL                                                                           \
  ((GenerationRetention){.last = 8, .hours = 24, .days = 7, .weeks = 4, .months = 12})

void generation_retention_clear(GenerationRetention *retention);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GenerationRetention, generation_retention_clear)

typedef enum {
  GENERATION_KEPT_NEWEST = 1,
  GENERATION_KEPT_LAST = 2,
  GENERATION_KEPT_HOURLY = 4,
  GENERATION_KEPT_DAILY = 8,
  GENERATION_KEPT_WEEKLY = 16,
  GENERATION_KEPT_MONTHLY = 32,
  GENERATION_KEPT_PINNED = 64,
} GenerationKept;

/* The numbers (guint64 *) of those to be kept, with why: GINT_TO_POINTER of GenerationKept, together. The
 * newest always is. By the time at which this machine had them complete: a device's clock may be wrong. */
GHashTable *generation_retention_keep(const GenerationHead *head, const GenerationRetention *retention);

/* The file's text, and the reverse: FALSE with HOSTILE for what is none. */
char *generation_retention_format(const GenerationRetention *retention);
gboolean generation_retention_parse(const char *text, GenerationRetention *retention, GError **error);

/* Reads it from the directory of a store (the usual where there is none), and replaces it. */
gboolean generation_retention_read(int directory, GenerationRetention *retention, GError **error);
gboolean generation_retention_write(int directory, const GenerationRetention *retention, GError **error);
