/* What a device and its radios take: power models, of numbers that somebody has published
 * (share/doppel/power.ini, which says what each number means) or that were measured on this device. Here in
 * SI units: W, s, J, and J a byte. */
#pragma once

#include <glib.h>

typedef enum {
  ENERGY_RADIO_WIFI,
  ENERGY_RADIO_LTE,
  ENERGY_RADIO_3G,
  ENERGY_RADIO_WIRED,
  ENERGY_RADIO_KINDS,
} EnergyRadioKind;

/* "wifi", "lte", "3g", "wired": as files have it. */
const char *energy_radio_word(EnergyRadioKind kind);
/* FALSE: it is none of these words. */
gboolean energy_radio_parse(const char *word, EnergyRadioKind *kind);

/* A state in which a radio waits for traffic. Coming from there it takes ramp_w for ramp_s first. */
typedef struct {
  double w, s; /* s of a tail: how long it lasts, unless traffic ends it; of idleness it means nothing */
  double ramp_w, ramp_s;
} EnergyWaiting;

enum { ENERGY_TAILS = 3 };

typedef struct {
  char *name, *title, *source;
  char *file; /* where it was read */
  EnergyRadioKind kind;
  double active_w;                   /* while there is traffic */
  double up_j, down_j;               /* J a byte, on top of that */
  double air_rate;                   /* bytes/s that traffic has at most; 0: not known */
  EnergyWaiting idle;                /* when no tail is left */
  EnergyWaiting tails[ENERGY_TAILS]; /* after traffic, one after the other */
  guint tail_count;
} EnergyRadio;

typedef struct {
  char *name, *title, *source;
  char *file;
  double busy_w; /* for each processor that is busy, on top of idle_w */
  double idle_w; /* awake, waiting, without radios; ENERGY_UNKNOWN where the source does not say */
  char *radio_names[ENERGY_RADIO_KINDS];         /* NULL: of none such anything is known */
  const EnergyRadio *radios[ENERGY_RADIO_KINDS]; /* the same; of the EnergyModels that this came from */
} EnergyModel;

#define ENERGY_UNKNOWN (-1.0)

void energy_radio_free(EnergyRadio *radio);
void energy_model_free(EnergyModel *model);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EnergyRadio, energy_radio_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EnergyModel, energy_model_free)
