/* The device's end: what its clone's store remembers. */
#pragma once

#include "replica/generation_facts.h"
#include "replica/generation_retention.h"
#include "replicator/sync_message.h"

typedef struct {
  guint64 number;
  gint64 time_ns; /* since 1970, of the device, when it told the last step */
  gint64 kept_ns; /* of the clone's host, when it was complete */
  guint64 nodes;  /* in the tree */
  guint64 bytes;  /* of contents that came with it */
  guint
      reasons; /* why it is kept: GenerationKept (replica/generation_retention.h); 0: for none, it is to go */
} HistoryGeneration;

/* All generations, oldest first: an array of HistoryGeneration. NULL with an error. */
GArray *history_list(Link *link, GError **error);

/* The same, after a change of what is kept: `rules` NULL leaves these as they are (its pins are not looked
 * at), `pin` and `unpin` are numbers (guint64; NULL: none). What no rule keeps goes with the next
 * synchronisation. With `now`, the rules as they are. All may be NULL. */
GArray *history_keep(Link *link, const GenerationRetention *rules, const GArray *pin, const GArray *unpin,
                     GenerationRetention *now, GError **error);

/* Calls `differs` for each path below `path` ("" is the root) that is otherwise in generation `newer` than in
 * `older`. `facts` are of `newer`; NULL for what is not there. The path's bytes are the clone's: any but NUL.
 */
typedef void (*HistoryDiffers)(void *user, const char *path, Doppel__Sync__Change change,
                               const ReplicaFacts *facts);
gboolean history_compare(Link *link, guint64 older, guint64 newer, const char *path, HistoryDiffers differs,
                         void *user, GError **error);

typedef struct {
  guint64 entries, bytes;  /* that were made, and of their contents */
  GenerationLosses losses; /* what could not be set here */
} HistoryRestored;

void history_restored_clear(HistoryRestored *restored);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HistoryRestored, history_restored_clear)

/* Makes `name` in `directory` what `path` was in the generation (0: the newest), with all that was in it:
 * complete, or not at all. What is there now is in the way (FALSE with USAGE) unless `replace`. */
gboolean history_restore(Link *link, guint64 generation, const char *path, int directory, const char *name,
                         gboolean replace, HistoryRestored *restored, GError **error);
