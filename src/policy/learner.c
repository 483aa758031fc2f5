#include "policy/learner.h"

#include <math.h>
#include <string.h>

enum { USUAL, PRODUCT, LINES, TABLES = LINES + LEARNER_FEATURES };

#define FORGET        0.12 /* of a mean, with each value */
#define LINE_FORGET   0.96
#define LINE_RIDGE    0.3 /* weight times variance that a slope needs to count half */
#define SLOPE_LEAST   (-2.0)
#define SLOPE_MOST    4.0
#define STEP          0.3 /* of the product's slopes */
#define LOSS_MOST     2.0
#define LOSS_FORGET   0.12
#define FREAK         1.1 /* a factor of three */
#define FREAKS_MOST   3   /* in a row: they are no freaks */
#define ERROR_LEAST   0.03
#define ERROR_NEW     0.3 /* more, where nothing like it was seen */
#define PROVEN        0.25
#define PROVEN_BY     5
#define BEYOND_PROVEN 8.0
#define BEYOND        0.7
#define VALUE_MOST    60.0
#define NUMBER_MOST   1e7 /* of what is packed; no logarithm or decayed sum of ours is larger */
#define COUNT_MOST    1e6

static double
gain(double count)
{
  return count > 0 ? MAX(1 / (count + 1), FORGET) : 1;
}

/* ---- the usual ---- */

LearnerGuess
learner_usual_guess(const LearnerUsual *usual)
{
  return (LearnerGuess){usual->count > 0, usual->mean,
                        usual->count > 1 ? MAX(usual->error, ERROR_LEAST) : 0.7};
}

void
learner_usual_learn(LearnerUsual *usual, double value)
{
  double by = CLAMP(value, -VALUE_MOST, VALUE_MOST) - usual->mean;
  if (usual->count > 0)
    usual->error += gain(usual->count - 1) * (MIN(fabs(by), LOSS_MOST) - usual->error);
  usual->mean += gain(usual->count) * by;
  usual->count = MIN(usual->count + 1, COUNT_MOST);
}

/* ---- a line over one feature ---- */

static double
line_variance(const LearnerLine *line)
{
  return MAX(line->xx / line->weight - pow(line->x / line->weight, 2), 0);
}

static double
line_at(const LearnerLine *line, double x)
{
  double mean_x = line->x / line->weight, mean_y = line->y / line->weight;
  double covariance = line->xy / line->weight - mean_x * mean_y;
  double slope = covariance / (line_variance(line) + LINE_RIDGE / line->weight);
  return mean_y + CLAMP(slope, SLOPE_LEAST, SLOPE_MOST) * (x - mean_x);
}

static void
line_learn(LearnerLine *line, double x, double y)
{
  double *sums[] = {&line->weight, &line->x, &line->y, &line->xx, &line->xy};
  const double more[] = {1, x, y, x * x, x * y};
  for (guint i = 0; i < G_N_ELEMENTS(sums); i++)
    *sums[i] = *sums[i] * LINE_FORGET + more[i];
}

/* ---- a table over one feature's size ---- */

/* Small numbers each for itself (a mode, a level), larger ones by half powers of two. */
static double
cell_key(double feature)
{
  return feature < log(17) ? round(expm1(feature)) : 16 + floor(2 * (feature - log(17)) / log(2));
}

static const LearnerCell *
cell_find(const LearnerCell cells[LEARNER_CELLS], double feature)
{
  double key = cell_key(feature);
  for (guint i = 0; i < LEARNER_CELLS; i++)
    if (cells[i].count > 0 && cells[i].key == key)
      return &cells[i];
  return NULL;
}

/* A new key takes the place of the one that is known least; what is known fades, so that it goes one day. */
static LearnerCell *
cell_make(LearnerCell cells[LEARNER_CELLS], double feature)
{
  LearnerCell *least = cells;
  for (guint i = 0; i < LEARNER_CELLS; i++) {
    cells[i].count *= 0.9;
    if (cells[i].count < least->count)
      least = &cells[i];
  }
  *least = (LearnerCell){cell_key(feature), 0, 0};
  return least;
}

static void
cells_learn(LearnerCell cells[LEARNER_CELLS], double feature, double value)
{
  LearnerCell *cell = (LearnerCell *)cell_find(cells, feature);
  if (!cell)
    cell = cell_make(cells, feature);
  cell->mean += gain(cell->count) * (value - cell->mean);
  cell->count = MIN(cell->count + 1, COUNT_MOST);
}

/* ---- a product of powers ---- */

static double
centred(const Learner *learner, guint i, double x)
{
  const LearnerLine *line = &learner->lines[i];
  return CLAMP(x - line->x / line->weight, -40, 40);
}

static double
product_at(const Learner *learner, const double features[LEARNER_FEATURES])
{
  double value = learner->lines[0].y / learner->lines[0].weight;
  for (guint i = 0; i < LEARNER_FEATURES; i++)
    value += learner->slopes[i] * centred(learner, i, features[i]);
  return value;
}

/* A step towards the value, as long as the features are (NLMS). */
static void
product_learn(Learner *learner, const double features[LEARNER_FEATURES], double value)
{
  double by = value - product_at(learner, features), length = 1;
  for (guint i = 0; i < LEARNER_FEATURES; i++)
    length += pow(centred(learner, i, features[i]), 2);
  for (guint i = 0; i < LEARNER_FEATURES; i++) {
    double slope = learner->slopes[i] + STEP * by * centred(learner, i, features[i]) / length;
    learner->slopes[i] = CLAMP(slope, SLOPE_LEAST, SLOPE_MOST);
  }
}

/* ---- together ---- */

static gboolean
predict(const Learner *learner, guint which, const double features[LEARNER_FEATURES], double *value)
{
  const LearnerCell *cell;
  switch (which) {
  case USUAL:
    *value = learner->usual.mean;
    return TRUE;
  case PRODUCT:
    *value = product_at(learner, features);
    return TRUE;
  case LINES ... TABLES - 1:
    *value = line_at(&learner->lines[which - LINES], features[which - LINES]);
    return TRUE;
  default:
    cell = cell_find(learner->cells[which - TABLES], features[which - TABLES]);
    *value = cell ? cell->mean : learner->usual.mean;
    return cell != NULL;
  }
}

/* Who has more freedom has to prove more. */
static double
handicap(guint which)
{
  return which == USUAL ? 0 : which == PRODUCT ? 0.4 : 0.2;
}

static guint
best(const Learner *learner, const double features[LEARNER_FEATURES])
{
  guint found = USUAL;
  double least = INFINITY, value;
  for (guint i = 0; i < LEARNER_PREDICTORS; i++) {
    if (learner->judged[i] < 1 && i != USUAL)
      continue;
    double loss = learner->loss[i] + handicap(i) / (learner->judged[i] + 1);
    if (loss < least && predict(learner, i, features, &value)) {
      least = loss;
      found = i;
    }
  }
  return found;
}

/* Features such as there were none before: a prediction is worth less, and an unusual value is no freak. */
static gboolean
is_new(const Learner *learner, const double features[LEARNER_FEATURES])
{
  for (guint i = 0; i < LEARNER_FEATURES; i++) {
    double away = centred(learner, i, features[i]);
    if (away * away > 4 * line_variance(&learner->lines[i]) + 0.5)
      return TRUE;
  }
  return FALSE;
}

LearnerGuess
learner_guess(const Learner *learner, const double features[LEARNER_FEATURES])
{
  LearnerGuess guess = {learner->usual.count > 0};
  if (!guess.known)
    return guess;
  guint which = best(learner, features);
  predict(learner, which, features, &guess.value);
  guess.error = learner->judged[which] > 0 ? MAX(learner->loss[which], ERROR_LEAST) : 0.7;
  /* Who was right so far may say what nobody has seen yet. */
  double beyond = guess.error < PROVEN && learner->judged[which] >= PROVEN_BY ? BEYOND_PROVEN : BEYOND;
  guess.value =
      CLAMP(guess.value, MAX(learner->least - beyond, -VALUE_MOST), MIN(learner->most + beyond, VALUE_MOST));
  if (is_new(learner, features))
    guess.error += ERROR_NEW;
  return guess;
}

static void
judge(Learner *learner, const double features[LEARNER_FEATURES], double value)
{
  double said;
  for (guint i = 0; i < LEARNER_PREDICTORS; i++)
    if (predict(learner, i, features, &said)) {
      learner->loss[i] += gain(learner->judged[i]) * (MIN(fabs(value - said), LOSS_MOST) - learner->loss[i]);
      learner->judged[i] = MIN(learner->judged[i] + 1, COUNT_MOST);
    }
}

/* What is learned of a value: a freak only as far as one may be off. */
static double
without_freak(Learner *learner, const double features[LEARNER_FEATURES], double value)
{
  LearnerGuess guess = learner_guess(learner, features);
  double by = value - guess.value, most = MAX(4 * guess.error, FREAK);
  if (fabs(by) <= most || learner->usual.count < 3) {
    learner->streak = 0;
    return value;
  }
  learner->streak = learner->streak * by > 0 ? learner->streak + (by > 0 ? 1 : -1) : by > 0 ? 1 : -1;
  if (fabs(learner->streak) < FREAKS_MOST && is_new(learner, features))
    return value;
  if (fabs(learner->streak) < FREAKS_MOST)
    return CLAMP(guess.value + (by > 0 ? 0.3 : -0.3) * most, -VALUE_MOST, VALUE_MOST);
  /* It has become another: what was known is worth little. */
  learner->streak = 0;
  learner->usual = (LearnerUsual){value, 1, 0.3};
  for (guint i = 0; i < LEARNER_FEATURES; i++) {
    LearnerLine *line = &learner->lines[i];
    *line = (LearnerLine){0.1, 0.1 * line->x / line->weight, 0.1 * line->y / line->weight,
                          0.1 * line->xx / line->weight, 0.1 * line->xy / line->weight};
    memset(learner->cells[i], 0, sizeof learner->cells[i]);
  }
  return value;
}

void
learner_learn(Learner *learner, const double features[LEARNER_FEATURES], double value)
{
  value = CLAMP(value, -VALUE_MOST, VALUE_MOST);
  learner->least = learner->usual.count > 0 ? MIN(learner->least, value) : value;
  learner->most = learner->usual.count > 0 ? MAX(learner->most, value) : value;
  if (learner->usual.count > 0) {
    judge(learner, features, value);
    value = without_freak(learner, features, value);
    product_learn(learner, features, value);
  }
  learner_usual_learn(&learner->usual, value);
  for (guint i = 0; i < LEARNER_FEATURES; i++) {
    line_learn(&learner->lines[i], features[i], value);
    cells_learn(learner->cells[i], features[i], value);
  }
}

/* ---- as bytes ---- */

static gboolean
is_usual(const LearnerUsual *usual)
{
  return fabs(usual->mean) <= VALUE_MOST && usual->count >= 0 && usual->count <= COUNT_MOST &&
         usual->error >= 0 && usual->error <= LOSS_MOST;
}

static gboolean
is_line(const LearnerLine *line, gboolean used)
{
  return used ? line->weight >= 0.05 && line->weight <= 1 / (1 - LINE_FORGET) + 1 && line->xx >= 0
              : line->weight == 0 && line->x == 0 && line->y == 0 && line->xx == 0 && line->xy == 0;
}

static gboolean
are_cells(const LearnerCell cells[LEARNER_CELLS])
{
  for (guint i = 0; i < LEARNER_CELLS; i++)
    if (fabs(cells[i].mean) > VALUE_MOST || cells[i].count < 0 || cells[i].count > COUNT_MOST)
      return FALSE;
  return TRUE;
}

gboolean
learner_usual_check(const LearnerUsual *usual)
{
  return is_usual(usual);
}

gboolean
learner_check(const Learner *learner)
{
  gboolean good = is_usual(&learner->usual) && fabs(learner->streak) <= FREAKS_MOST &&
                  fabs(learner->least) <= VALUE_MOST && learner->most >= learner->least &&
                  learner->most <= VALUE_MOST;
  for (guint i = 0; i < LEARNER_FEATURES && good; i++)
    good = is_line(&learner->lines[i], learner->usual.count > 0) && are_cells(learner->cells[i]) &&
           learner->slopes[i] >= SLOPE_LEAST && learner->slopes[i] <= SLOPE_MOST;
  for (guint i = 0; i < LEARNER_PREDICTORS && good; i++)
    good = learner->loss[i] >= 0 && learner->loss[i] <= LOSS_MOST && learner->judged[i] >= 0 &&
           learner->judged[i] <= COUNT_MOST;
  return good;
}

void
learner_pack(const double *numbers, gsize count, GByteArray *into)
{
  for (gsize i = 0; i < count; i++) {
    float number = (float)numbers[i];
    guint32 bits;
    memcpy(&bits, &number, sizeof bits);
    bits = GUINT32_TO_LE(bits);
    g_byte_array_append(into, (const guint8 *)&bits, sizeof bits);
  }
}

gboolean
learner_unpack(double *numbers, gsize count, const guint8 **at, const guint8 *end)
{
  if ((gsize)(end - *at) / 4 < count)
    return FALSE;
  for (gsize i = 0; i < count; i++, *at += 4) {
    guint32 bits;
    float number;
    memcpy(&bits, *at, sizeof bits);
    bits = GUINT32_FROM_LE(bits);
    memcpy(&number, &bits, sizeof number);
    if (!isfinite(number) || fabsf(number) > NUMBER_MOST)
      return FALSE;
    numbers[i] = number;
  }
  return TRUE;
}
