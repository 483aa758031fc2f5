/* What a piece of work takes of a device's energy, by a power model (models.h): an estimate, no measurement.
 *
 * The processor: busy_w for each second of processor time, and idle_w for all seconds that the work takes: a
 * device that waits for its clone is awake, too (PowerTutor: Zhang et al., CODES+ISSS 2010, has the processor
 * linear in its use like that).
 *
 * The radio is a machine of states (Balasubramanian et al., IMC 2009; Huang et al., MobiSys 2012): asleep it
 * has to be promoted first, while there is traffic it takes a power and so much for each byte, and then it
 * stays awake for a tail, or several, each of less power, before it sleeps again. The next traffic cuts a
 * tail short, and where it comes soon enough needs no promotion. So many small pieces with pauses between
 * them can take far more than the same bytes at once. The tail after the last piece is counted to its end,
 * although the work may be over by then: it would not be there without it. */
#pragma once

#include "energy/models.h"

/* A piece of traffic: seconds since the work began, and the bytes of both directions, headers included. Where
 * the model says how much a radio has on the air, a piece lasts at least as long as its bytes take. */
typedef struct {
  double start, end;
  guint64 up, down;
} EnergyBurst;

typedef struct {
  double processor_s; /* of all processors */
  double seconds;     /* from beginning to end */
  EnergyRadioKind radio;
  const EnergyBurst *bursts; /* in the order of `start`; they may overlap */
  guint burst_count;
} EnergyWork;

/* J */
typedef struct {
  double processor;
  double waiting;             /* the device without radio, awake */
  double ramp, traffic, tail; /* the radio: promotions, with traffic, awake after traffic */
  double asleep;              /* the radio, the rest of the time */
  double radio;               /* these four */
  double total;               /* all of it */
  gboolean waiting_known;     /* FALSE: the model does not say; 0 above */
  gboolean radio_known;       /* FALSE: the model has no such radio; 0 above */
} EnergyEstimate;

EnergyEstimate energy_estimate(const EnergyModel *model, const EnergyWork *work);
