/* One quantity against what is known beforehand, both as logarithms: predictors that compete. Private to the
 * folder. */
#pragma once

#include <glib.h>

enum {
  LEARNER_FEATURES = 7, /* a model's: sizes of arguments, and one of the program's state */
  LEARNER_CELLS = 8,    /* of a table */
  LEARNER_PREDICTORS = 2 + 2 * LEARNER_FEATURES,
};

/* Nothing but doubles: so they are packed and checked as a row of numbers. */

/* The usual, a mean that forgets. */
typedef struct {
  double mean, count;
  double error; /* how far off it was lately: mean of absolute differences */
} LearnerUsual;

/* Sums of a weighted straight line. */
typedef struct {
  double weight, x, y, xx, xy;
} LearnerLine;

typedef struct {
  double key, mean, count; /* count 0: free */
} LearnerCell;

typedef struct {
  LearnerUsual usual;
  LearnerLine lines[LEARNER_FEATURES];
  LearnerCell cells[LEARNER_FEATURES][LEARNER_CELLS];
  double slopes[LEARNER_FEATURES]; /* of the product; its level is `usual` */
  double loss[LEARNER_PREDICTORS], judged[LEARNER_PREDICTORS];
  double least, most; /* values seen */
  double streak;      /* freaks in a row, those below negative */
} Learner;

typedef struct {
  gboolean known;
  double value; /* logarithm */
  double error; /* mean of the absolute difference lately */
} LearnerGuess;

LearnerGuess learner_guess(const Learner *learner, const double features[LEARNER_FEATURES]);
void learner_learn(Learner *learner, const double features[LEARNER_FEATURES], double value);

LearnerGuess learner_usual_guess(const LearnerUsual *usual);
void learner_usual_learn(LearnerUsual *usual, double value);

/* ---- as bytes: numbers of 4 bytes ---- */
/* Whether numbers from elsewhere are such as learning makes them: then nothing that is asked of them, or
 * learned on top, is out of bounds. */
gboolean learner_check(const Learner *learner);
gboolean learner_usual_check(const LearnerUsual *usual);
void learner_pack(const double *numbers, gsize count, GByteArray *into);
/* FALSE where there are too few bytes, or one is no number that ours are. */
gboolean learner_unpack(double *numbers, gsize count, const guint8 **at, const guint8 *end);
