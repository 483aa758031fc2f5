/* Where a call runs: on the device, or as a block in the clone (CloneCloud, HotOS 2009, section 4: "the
 * computation and network latency and resource usage such as power").
 *
 * The cheaper place by what models and link say, in the unit of the objective. Not knowing costs, too, and
 * so does finding out:
 * - A function that was never seen runs on the device first, unless a plan's beliefs say otherwise.
 * - A place about which too little is known is tried when it could pay by then: what it may win, over as many
 *   calls as this run is likely to have yet, is more than what it may lose. Unless earlier runs tell, a run
 *   is taken to have as many calls before it as behind it.
 * - What trying has lost (what a call cost beyond what the other place was thought to cost) is kept account
 *   of, in the objective's unit, and stays below POLICY_EXPLORE_SHARE of what calls cost in all runs, plus
 * the loss of the last try, which nobody knew before: conservative bandits do the same (Wu et al., ICML
 * 2016). The first tries of a function, POLICY_FIRST_TRIES in each place, are on credit: they may lose as
 * much as they could win in this run, and are paid back by the share before anything else is tried.
 * - Where an operation needs more memory than the device has it is tagged and runs in the clone whatever it
 *   costs (CloneCloud, section 4: "not possible to run because available memory is not large enough").
 *
 * Numbers only: the clock is handed in, nothing is read or written. One thread. */
#pragma once

#include "policy/model.h"
#include "policy/tracker.h"

#define POLICY_EXPLORE_SHARE 0.02
enum { POLICY_FIRST_TRIES = 2 };

typedef struct PolicyPlacement PolicyPlacement; /* of a program: all its functions */
typedef struct PolicyFunction PolicyFunction;

typedef enum {
  POLICY_UNSEEN,      /* nothing is known of it: the device */
  POLICY_LINK_UNSEEN, /* nothing is known of the link: the device */
  POLICY_CHEAPER,     /* the numbers say so */
  POLICY_TRY,         /* to find out what it costs there */
  POLICY_NO_LINK,     /* the device, for there is no way to the clone */
  POLICY_MEMORY,      /* the clone, for the device's memory is too small */
  POLICY_MEMORY_CUT,  /* the same, but there is no way to the clone */
  POLICY_FAILS,       /* the device, for blocks of it failed lately */
  POLICY_NOT_YET,     /* the clone would be cheaper, but its first block is not worth it yet */
} PolicyWhy;

/* What was decided, and from what: to be handed back when the call is over. */
typedef struct {
  gboolean remote;
  PolicyWhy why;
  gboolean local_known, block_known;
  PolicyCost local, block; /* as predicted */
  PolicyDoubt local_doubt, block_doubt;
  double local_price, block_price; /* in the objective's unit; block_price with its share of a first block */
  double first_price;              /* of a first block, beyond a later one; 0: it would be none */
  double calls_ahead;              /* that this run was thought to have yet */
  gboolean sizes_known;            /* such a block's bytes were seen */
  double pause_s;                  /* until the next call, likely */
  PolicyConditions conditions;
  PolicyCall call;
  double began_s;
} PolicyAnswer;

PolicyPlacement *policy_placement_new(const PolicyAim *aim);
void policy_placement_free(PolicyPlacement *placement);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PolicyPlacement, policy_placement_free)

/* The link, which the caller tells what it sees. */
PolicyTracker *policy_placement_tracker(PolicyPlacement *placement);

/* The function of this name (any text: path, build-id and offset), which is added where it is not known. At
 * most POLICY_FUNCTIONS are kept; the ones not used for longest are forgotten when they are packed. */
enum { POLICY_FUNCTIONS = 256 };
PolicyFunction *policy_placement_function(PolicyPlacement *placement, const char *name);
void policy_function_believe(PolicyFunction *function, const PolicyBelief *belief);

/* ---- a call ---- */

PolicyAnswer policy_ask(PolicyPlacement *placement, PolicyFunction *function, const PolicyCall *call,
                        double now_s);
void policy_ran_here(PolicyPlacement *placement, PolicyFunction *function, const PolicyAnswer *answer,
                     double seconds, double processor_s);
/* Its result counts. What its traffic says of the link is learned, too. */
void policy_ran_there(PolicyPlacement *placement, PolicyFunction *function, const PolicyAnswer *answer,
                      const PolicyBlock *block);
/* It was given up after so long. `link`: for the link's sake; else it was the function's fault, or the
 * clone's. What the call then takes on the device is told by policy_ran_here(). */
void policy_failed_there(PolicyPlacement *placement, PolicyFunction *function, const PolicyAnswer *answer,
                         double seconds, gboolean link);
/* The device had not the memory for it, or so it seems. */
void policy_out_of_memory(PolicyFunction *function, const PolicyAnswer *answer);

/* s for which a block whose link is gone should be waited for before the device runs it itself: half of what
 * that takes, so that a link which never comes back costs at most so much more. */
double policy_patience(const PolicyAnswer *answer);

/* s since its beginning after which a block that is still on its way to the clone should be given up: the
 * link has become another. What was expected, and as long again as the device takes, so that such a change
 * costs at most twice what the device alone would. INFINITY: never. */
double policy_deadline(const PolicyAnswer *answer);
/* That was done, after so many bytes. */
void policy_slow_there(PolicyPlacement *placement, PolicyFunction *function, const PolicyAnswer *answer,
                       double seconds, double moved);

/* Whether to send a ping while this call runs on the device: its answer may change the next decision. */
gboolean policy_wants_ping(PolicyPlacement *placement, PolicyFunction *function, const PolicyAnswer *answer,
                           double now_s);

/* ---- watching ----
 *
 * A call that is stopped at costs the program a moment. Where calls are so short that no block could pay,
 * watching stops, and a few calls are looked at again later: after POLICY_RELOOK_S at first and each time
 * twice as long, to POLICY_RELOOK_MOST_S, for later calls may be long. */
#define POLICY_RELOOK_S      0.1
#define POLICY_RELOOK_MOST_S 10.0

/* Whether calls of it should be stopped at, as of a call that is over. FALSE: not before *again_s. */
gboolean policy_watch(PolicyPlacement *placement, PolicyFunction *function, double now_s, double *again_s);

/* ---- words ---- */

/* "the clone: 0.12 s there (3 blocks; device 12 ms, clone 80 ms, link 28 ms for 1 round trip, 40 kB up, 2 kB
 * down) against 0.95 s here (5 calls); a link like wifi: ...": why a call runs where it does. */
char *policy_words(const PolicyPlacement *placement, const PolicyFunction *function,
                   const PolicyAnswer *answer);
const char *policy_why_word(PolicyWhy why); /* "cheaper": for JSON */
/* In the order in which they were met first. */
guint policy_placement_count(const PolicyPlacement *placement);
PolicyFunction *policy_placement_nth(const PolicyPlacement *placement, guint index);
const char *policy_function_name(const PolicyFunction *function);
const PolicyModel *policy_function_model(const PolicyFunction *function);

/* ---- kept over runs ---- */

/* Ends the run: its calls are those of an earlier run from now on. All that is known, as bytes. */
GByteArray *policy_placement_pack(PolicyPlacement *placement);
/* For a placement that knows no function yet: takes what bytes say, which may be anything. FALSE: they are
 * none of these, and nothing has changed. */
gboolean policy_placement_unpack(PolicyPlacement *placement, const guint8 *bytes, gsize length);
