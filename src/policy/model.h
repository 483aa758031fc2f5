/* What calls of one function cost, here and in the clone: learned from calls, against what is known before a
 * call.
 *
 * Of each quantity (learner.h) a few simple predictors compete: the usual cost, whatever the arguments; a
 * power of one integer argument; a table over one argument's size; a product of powers of all. The one whose
 * predictions came true lately is asked. So a cost that grows with an argument is known beyond what was seen,
 * one that no argument explains is an average, and what is in unused registers does no harm. Works in
 * logarithms; a single freak moves nothing much.
 *
 * A block's time is not learned as such: it is the device's own work, the clone's work and the link's time
 * for bytes and round trips, and the last is computed from the link as it is when it is asked for. So what
 * was learned on one link holds on another. The first block of a session, which moves the process's state,
 * is learned apart.
 *
 * Memory is bounded: POLICY_MODEL_BYTES a function. */
#pragma once

#include "policy/objective.h"

enum { POLICY_ARGUMENTS = 6 };

/* What is known before a call. */
typedef struct {
  guint64 arguments[POLICY_ARGUMENTS]; /* as in the registers; those that the function has not are anything */
  guint argument_count;                /* that are known: at most POLICY_ARGUMENTS */
  gboolean first;     /* it would be the first block of its session: a mirror has to be made */
  double state_bytes; /* that such a first block has to move, roughly; 0: not known */
  double here_s;      /* for which the program ran on the device since its last block */
  double memory_free; /* bytes that the device can still give to the program; 0: not known */
} PolicyCall;

/* What was seen of a block. */
typedef struct {
  double seconds;     /* from the call to its return */
  double device_s;    /* of these, the device's own work: stopping, capturing, sending, applying */
  double clone_s;     /* of these, in which the clone ran the block, without waiting for the device */
  double around_s;    /* of these, the clone's work for it: applying, capturing, sending */
  double up, down;    /* bytes on the wire */
  double round_trips; /* that were waited for one after the other, the block's own included */
  double memory;      /* bytes that it needed beyond what there was; 0: not known */
} PolicyBlock;

/* What is believed of a function before any call was seen: a plan's predictions. Negative: not known. */
typedef struct {
  double local_s, device_s, clone_s;
  double up, down, round_trips; /* of later blocks */
  double first_up;              /* more of a first block */
} PolicyBelief;

/* How sure an estimate is: the factor by which such predictions were wrong lately, on average; at least 1. */
typedef double PolicyDoubt;

typedef struct PolicyModel PolicyModel;

PolicyModel *policy_model_new(void);
void policy_model_free(PolicyModel *model);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PolicyModel, policy_model_free)

void policy_model_believe(PolicyModel *model, const PolicyBelief *belief);
void policy_model_learn_local(PolicyModel *model, const PolicyCall *call, double seconds, double processor_s);
/* `call->first` says whether it was one. */
void policy_model_learn_block(PolicyModel *model, const PolicyCall *call, const PolicyBlock *block);

/* Calls that were seen, of this run and earlier ones. */
guint64 policy_model_local_count(const PolicyModel *model);
guint64 policy_model_block_count(const PolicyModel *model, gboolean first);

/* FALSE: nothing is known; *cost is untouched. */
gboolean policy_model_local(const PolicyModel *model, const PolicyCall *call, PolicyCost *cost,
                            PolicyDoubt *doubt);
/* On such a link; seconds are INFINITY without one. What is not known of the clone is taken from what is
 * known of the device, as hopeful as is sensible, for who asks is going to find out; `speed` is how many
 * times faster than the device clones have been for other functions, 0 where that is not known, either. */
gboolean policy_model_block(const PolicyModel *model, const PolicyCall *call,
                            const PolicyConditions *conditions, double speed, PolicyCost *cost,
                            PolicyDoubt *doubt);
/* How many times faster than the device the clone ran this function; 0: not known. */
double policy_model_speed(const PolicyModel *model);
/* `state_bytes` of a program whose first blocks send so many bytes. */
double policy_model_state(double sent);
/* Bytes that a call needs beyond what there is; 0: not known. */
double policy_model_memory(const PolicyModel *model, const PolicyCall *call);

/* ---- as bytes ---- */

#define POLICY_MODEL_BYTES (8 << 10)

/* Appends it. */
void policy_model_pack(const PolicyModel *model, GByteArray *into);
/* Of what may be anything. NULL: it is no model. *used: bytes that it took. */
PolicyModel *policy_model_unpack(const guint8 *bytes, gsize length, gsize *used);
