#include "policy/model.h"

#include <math.h>
#include <string.h>

#include "policy/learner.h"

enum { LOCAL, CLONE, DEVICE, UP, DOWN, TRIPS, LEARNERS };
enum { BUSY, SPEED, AROUND, FIRST_DEVICE, FIRST_AROUND, FIRST_UP, FIRST_DOWN, FIRST_TRIPS, MEMORY, USUALS };
enum { SOME = 3 }; /* calls that make something known */
enum { LOCAL_COUNT, BLOCK_COUNT, FIRST_COUNT, COUNTS };

/* What a later block is hoped to take where none was seen: little. */
#define HOPE_SPEED  4.0
#define HOPE_BYTES  16e3
#define HOPE_DEVICE 2e-3
#define HOPE_AROUND 1e-3
/* And a first one, of whose state nothing is known. */
#define HOPE_STATE  500e3
#define STATE_PACKS 0.3  /* compressed */
#define LEAST       1e-9 /* of what a logarithm is taken of */
#define FAITH       0.7  /* how far off a plan is taken to be */
#define COUNT_LIMIT 1e6

/* Doubles only: packed as a row. */
typedef struct {
  Learner learners[LEARNERS];
  LearnerUsual usuals[USUALS];
  double counts[COUNTS];
} Knowledge;

enum { KNOWLEDGE_NUMBERS = sizeof(Knowledge) / sizeof(double) };
G_STATIC_ASSERT(KNOWLEDGE_NUMBERS * 4 <= POLICY_MODEL_BYTES);

struct PolicyModel {
  Knowledge knows;
  PolicyBelief belief;
};

PolicyModel *
policy_model_new(void)
{
  PolicyModel *model = g_new0(PolicyModel, 1);
  model->belief = (PolicyBelief){-1, -1, -1, -1, -1, -1, -1};
  return model;
}

void
policy_model_free(PolicyModel *model)
{
  g_free(model);
}

void
policy_model_believe(PolicyModel *model, const PolicyBelief *belief)
{
  model->belief = *belief;
}

static double
logarithm(double value)
{
  return log(MAX(value, LEAST));
}

/* Sizes: an argument may be a length, a count, or nothing that matters. */
static void
features_of(const PolicyCall *call, double features[LEARNER_FEATURES])
{
  G_STATIC_ASSERT(LEARNER_FEATURES == POLICY_ARGUMENTS + 1);
  for (guint i = 0; i < POLICY_ARGUMENTS; i++)
    features[i] = i < call->argument_count ? log1p(fabs((double)(gint64)call->arguments[i])) : 0;
  features[POLICY_ARGUMENTS] = call->here_s > 0 ? log1p(MIN(call->here_s, 1e6) * 1e3) : 0;
}

/* ---- learning ---- */

static gboolean
makes_sense(double number)
{
  return number >= 0 && number <= 1e15;
}

static void
count(PolicyModel *model, guint which)
{
  model->knows.counts[which] = MIN(model->knows.counts[which] + 1, COUNT_LIMIT);
}

void
policy_model_learn_local(PolicyModel *model, const PolicyCall *call, double seconds, double processor_s)
{
  double features[LEARNER_FEATURES];
  if (!makes_sense(seconds) || !makes_sense(processor_s))
    return;
  features_of(call, features);
  LearnerGuess clone = learner_guess(&model->knows.learners[CLONE], features);
  if (model->knows.learners[CLONE].usual.count >= SOME)
    learner_usual_learn(&model->knows.usuals[SPEED], logarithm(seconds) - clone.value);
  learner_learn(&model->knows.learners[LOCAL], features, logarithm(seconds));
  learner_usual_learn(&model->knows.usuals[BUSY], CLAMP(logarithm(processor_s) - logarithm(seconds), -5, 5));
  count(model, LOCAL_COUNT);
}

static void
learn_later(PolicyModel *model, const double features[LEARNER_FEATURES], const PolicyBlock *block)
{
  Learner *learners = model->knows.learners;
  learner_learn(&learners[DEVICE], features, logarithm(block->device_s));
  learner_learn(&learners[UP], features, logarithm(block->up));
  learner_learn(&learners[DOWN], features, logarithm(block->down));
  learner_learn(&learners[TRIPS], features, logarithm(block->round_trips));
  learner_usual_learn(&model->knows.usuals[AROUND], logarithm(block->around_s));
  count(model, BLOCK_COUNT);
}

static void
learn_first(PolicyModel *model, const PolicyBlock *block)
{
  LearnerUsual *usuals = model->knows.usuals;
  learner_usual_learn(&usuals[FIRST_DEVICE], logarithm(block->device_s));
  learner_usual_learn(&usuals[FIRST_AROUND], logarithm(block->around_s));
  learner_usual_learn(&usuals[FIRST_UP], logarithm(block->up));
  learner_usual_learn(&usuals[FIRST_DOWN], logarithm(block->down));
  learner_usual_learn(&usuals[FIRST_TRIPS], logarithm(block->round_trips));
  count(model, FIRST_COUNT);
}

void
policy_model_learn_block(PolicyModel *model, const PolicyCall *call, const PolicyBlock *block)
{
  double features[LEARNER_FEATURES];
  if (!makes_sense(block->seconds) || !makes_sense(block->device_s) || !makes_sense(block->clone_s) ||
      !makes_sense(block->around_s) || !makes_sense(block->up) || !makes_sense(block->down) ||
      !makes_sense(block->round_trips) || !makes_sense(block->memory))
    return;
  features_of(call, features);
  LearnerGuess local = learner_guess(&model->knows.learners[LOCAL], features);
  double clone = logarithm(block->clone_s);
  if (local.known)
    learner_usual_learn(&model->knows.usuals[SPEED], local.value - clone);
  learner_learn(&model->knows.learners[CLONE], features, clone);
  if (block->memory > 0)
    learner_usual_learn(&model->knows.usuals[MEMORY], logarithm(block->memory));
  if (call->first)
    learn_first(model, block);
  else
    learn_later(model, features, block);
}

guint64
policy_model_local_count(const PolicyModel *model)
{
  return (guint64)model->knows.counts[LOCAL_COUNT];
}

guint64
policy_model_block_count(const PolicyModel *model, gboolean first)
{
  return (guint64)model->knows.counts[first ? FIRST_COUNT : BLOCK_COUNT];
}

/* ---- asking ---- */

static LearnerGuess
believed(double belief)
{
  return (LearnerGuess){belief >= 0, logarithm(belief), FAITH};
}

/* By what is known of the device itself, or by how much slower it is: whichever came true. */
static LearnerGuess
guess_local(const PolicyModel *model, const double features[LEARNER_FEATURES])
{
  LearnerGuess own = learner_guess(&model->knows.learners[LOCAL], features);
  LearnerGuess clone = learner_guess(&model->knows.learners[CLONE], features);
  LearnerGuess factor = learner_usual_guess(&model->knows.usuals[SPEED]);
  LearnerGuess other = {factor.known, clone.value + factor.value, hypot(factor.error, clone.error)};
  if (!own.known)
    own = believed(model->belief.local_s);
  if (model->knows.learners[CLONE].usual.count >= SOME && other.known &&
      (!own.known || other.error < own.error))
    return other;
  return own;
}

/* By what is known of the clone itself, or by how much faster it is: whichever came true. */
static LearnerGuess
guess_clone(const PolicyModel *model, const double features[LEARNER_FEATURES], double speed)
{
  LearnerGuess own = learner_guess(&model->knows.learners[CLONE], features);
  LearnerGuess factor = learner_usual_guess(&model->knows.usuals[SPEED]);
  LearnerGuess local = learner_guess(&model->knows.learners[LOCAL], features);
  double hope = log(MAX(speed, HOPE_SPEED)), count = model->knows.usuals[SPEED].count;
  /* Hope counts as one call that was seen: a single one may have been anything. */
  LearnerGuess other = {factor.known && local.known,
                        local.value - (count * factor.value + hope) / (count + 1), factor.error};
  if (other.known && (!own.known || other.error <= own.error))
    return other;
  if (!own.known)
    own = believed(model->belief.clone_s);
  if (own.known)
    return own;
  return (LearnerGuess){local.known, local.value - hope, 1};
}

gboolean
policy_model_local(const PolicyModel *model, const PolicyCall *call, PolicyCost *cost, PolicyDoubt *doubt)
{
  double features[LEARNER_FEATURES];
  features_of(call, features);
  LearnerGuess guess = guess_local(model, features), busy = learner_usual_guess(&model->knows.usuals[BUSY]);
  if (!guess.known)
    return FALSE;
  double seconds = exp(guess.value);
  *cost = (PolicyCost){.seconds = seconds, .processor_s = busy.known ? seconds * exp(busy.value) : seconds};
  *doubt = exp(guess.error);
  return TRUE;
}

/* Of a later block. */
static double
later(const PolicyModel *model, const double features[LEARNER_FEATURES], guint which, double belief,
      double hope)
{
  LearnerGuess guess = learner_guess(&model->knows.learners[which], features);
  return guess.known ? exp(guess.value) : belief >= 0 ? belief : hope;
}

static double
usual(const PolicyModel *model, guint which, double otherwise)
{
  LearnerGuess guess = learner_usual_guess(&model->knows.usuals[which]);
  return guess.known ? exp(guess.value) : otherwise;
}

typedef struct {
  double device, around, up, down, trips;
} Overhead;

static Overhead
later_overhead(const PolicyModel *model, const double features[LEARNER_FEATURES])
{
  const PolicyBelief *belief = &model->belief;
  return (Overhead){
      later(model, features, DEVICE, belief->device_s,
            MIN(usual(model, FIRST_DEVICE, HOPE_DEVICE), HOPE_DEVICE)),
      usual(model, AROUND, HOPE_AROUND),
      later(model, features, UP, belief->up, HOPE_BYTES),
      later(model, features, DOWN, belief->down, HOPE_BYTES),
      later(model, features, TRIPS, belief->round_trips, 1),
  };
}

/* Of a first one: as it was, or the later ones' and the program's state. */
static Overhead
first_overhead(const PolicyModel *model, const PolicyCall *call, const Overhead *of_later)
{
  double state = call->state_bytes > 0 ? call->state_bytes * STATE_PACKS : HOPE_STATE;
  double more = model->belief.first_up >= 0 ? model->belief.first_up : state;
  return (Overhead){
      usual(model, FIRST_DEVICE, of_later->device + more / 100e6),
      usual(model, FIRST_AROUND, of_later->around + more / 100e6),
      usual(model, FIRST_UP, of_later->up + more),
      usual(model, FIRST_DOWN, of_later->down),
      usual(model, FIRST_TRIPS, of_later->trips + 1),
  };
}

gboolean
policy_model_block(const PolicyModel *model, const PolicyCall *call, const PolicyConditions *conditions,
                   double speed, PolicyCost *cost, PolicyDoubt *doubt)
{
  double features[LEARNER_FEATURES];
  features_of(call, features);
  LearnerGuess clone = guess_clone(model, features, speed);
  if (!clone.known)
    return FALSE;
  Overhead more = later_overhead(model, features);
  if (call->first)
    more = first_overhead(model, call, &more);
  double clone_s = exp(clone.value) + more.around;
  *cost = (PolicyCost){
      .seconds =
          more.device + clone_s + policy_conditions_seconds(conditions, more.trips, more.up, more.down),
      .processor_s = more.device,
      .up = more.up,
      .down = more.down,
      .round_trips = more.trips,
      .clone_s = clone_s,
  };
  *doubt = exp(clone.error);
  return TRUE;
}

double
policy_model_speed(const PolicyModel *model)
{
  return usual(model, SPEED, 0);
}

double
policy_model_state(double sent)
{
  return sent / STATE_PACKS;
}

double
policy_model_memory(const PolicyModel *model, const PolicyCall *call)
{
  return usual(model, MEMORY, 0);
}

/* ---- as bytes ---- */

void
policy_model_pack(const PolicyModel *model, GByteArray *into)
{
  learner_pack((const double *)&model->knows, KNOWLEDGE_NUMBERS, into);
}

static gboolean
check(const Knowledge *knows)
{
  gboolean good = TRUE;
  for (guint i = 0; i < LEARNERS && good; i++)
    good = learner_check(&knows->learners[i]);
  for (guint i = 0; i < USUALS && good; i++)
    good = learner_usual_check(&knows->usuals[i]);
  for (guint i = 0; i < COUNTS && good; i++)
    good = knows->counts[i] >= 0 && knows->counts[i] <= COUNT_LIMIT;
  return good;
}

PolicyModel *
policy_model_unpack(const guint8 *bytes, gsize length, gsize *used)
{
  g_autoptr(PolicyModel) model = policy_model_new();
  const guint8 *at = bytes;
  if (!learner_unpack((double *)&model->knows, KNOWLEDGE_NUMBERS, &at, bytes + length) ||
      !check(&model->knows))
    return NULL;
  *used = at - bytes;
  return g_steal_pointer(&model);
}
