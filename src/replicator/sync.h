/* The device's end of a synchronisation (docs/decisions/0014-generations.md; CloneCloud section 4): the
 * clone's copy becomes what the device's tree is now, as one generation. What a cut interrupts goes on after
 * the last step that was durable in the clone. */
#pragma once

#include "link/link.h"
#include "replica/generation_facts.h"
#include "replica/tree_rules.h"
#include "replica/tree_scan.h"
#include "replicator/clone_index.h"

typedef enum {
  REPLICATOR_AGREEING, /* with the clone about what it has */
  REPLICATOR_LOOKING,  /* at the tree */
  REPLICATOR_TELLING,
  REPLICATOR_COMPLETING,
} ReplicatorPhase;

typedef struct {
  ReplicatorPhase phase;
  guint64 paths, paths_done; /* that have to be looked at more closely */
  guint64 bytes, bytes_done; /* of contents, likewise */
  guint64 sent;              /* bytes, on the wire */
  double rate;               /* bytes of contents a second, lately */
  double left_s;             /* seconds until the end at that rate; < 0: not known yet */
} ReplicatorProgress;

typedef struct {
  const char *root; /* absolute */
  const TreeRules *rules;
  const char *const *directories; /* only what is in these, as for tree_scan(); NULL: everything */
  const guint8 *watch; /* REPLICATOR_WATCH bytes that name who saw that nothing else changed, or NULL: then
                          `directories` count only where the index was last walked under this name, and it is
                          walked otherwise */
  guint64 later;       /* contents that are new, of this many bytes and above, are put off; 0: none */
  guint64 rate;        /* bytes a second on the wire at most; 0: no limit */
  void (*progress)(void *user, const ReplicatorProgress *progress); /* a few times a second; NULL: nobody */
  void *user;
} ReplicatorOptions;

typedef struct {
  guint64 generation; /* the newest, afterwards; 0: none */
  gboolean made;      /* by this synchronisation */
  gboolean resumed;   /* it went on with what an earlier one had begun */
  guint64 others;     /* the newest generation until now, where another device made it; 0: none did */
  gint64 time_ns;     /* of the newest, since 1970 */
  guint64 nodes;      /* in the tree, where it was made */
  guint64 looked_at, paths, bytes, literals, left;
  guint64 taken;          /* bytes of contents that the clone's host had in its public base */
  guint64 sent, received; /* bytes, on the wire */
  gint64 took_ns;
  gboolean walked;  /* all of the tree was looked at */
  GPtrArray *later; /* of strings: the paths of what was put off; NULL: nothing was begun */
  guint64 later_bytes;
  GPtrArray *notes;                        /* of strings: what was left out, and why */
  guint64 lost[GENERATION_LOST_KINDS];     /* what the clone could not keep */
  char *first_lost[GENERATION_LOST_KINDS]; /* a path of each */
} ReplicatorResult;

#define REPLICATOR_WATCH 16 /* bytes of a name */

void replicator_result_clear(ReplicatorResult *result);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ReplicatorResult, replicator_result_clear)

/* Synchronises over `link`, which nobody else uses. `result` (need not be initialised) is set in any case.
 * FALSE with an error: MISMATCH where the clone turned out to have something else than the index says, which
 * the next call puts right by building the index anew; GONE when the link is dead. The clone has its old
 * generation then. */
gboolean replicator_sync(Link *link, CloneIndex *index, const ReplicatorOptions *options,
                         ReplicatorResult *result, GError **error);

/* What a synchronisation would look at now. Where that is nothing at all, the index was walked under the name
 * of `watch`. NULL with an error. */
TreePlan *replicator_plan(CloneIndex *index, const ReplicatorOptions *options, GError **error);

/* What of a plan is for a synchronisation that puts contents of `later` bytes and above off, and what is put
 * off (policy.h says what for). What the plan has only because it was written so shortly before it was told
 * that its times prove nothing is read, and does not count where it is as the clone was told. */
typedef struct {
  guint64 entries, bytes, big_entries, big_bytes;
} ReplicatorPending;
ReplicatorPending replicator_pending(CloneIndex *index, const ReplicatorOptions *options,
                                     const TreePlan *plan, guint64 later);

/* The directories that a limited scan has to look into, so that it sees what is in the directories among
 * `paths` (NULL-terminated, below the root), and, of what is none that the clone has, the directory that it
 * is in: NULL-terminated. */
char **replicator_directories(CloneIndex *index, const char *const *paths);
