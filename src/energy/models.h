/* The power models that there are: those that are installed, the user's own, and which one counts for this
 * device. The user's file, doppel/power.ini in XDG_CONFIG_HOME or ~/.config, has groups as the installed one
 * has, each of which counts instead of the one of the same name there; and [use], with the model's name. */
#pragma once

#include "energy/model.h"

#define ENERGY_MODEL_DEFAULT    "pixel-2-xl" /* a phone, of which busy and waiting are both known */
#define ENERGY_MODEL_CALIBRATED "calibrated" /* what was measured on this device */

typedef struct EnergyModels EnergyModels;

/* `table`: the installed file; NULL: where it was installed or, in the build tree, built. `own`: the user's,
 * which need not be there; NULL: the usual. NULL where one cannot be read or has a mistake: the message names
 * file, group and key. */
EnergyModels *energy_models_load(const char *table, const char *own, GError **error);
void energy_models_free(EnergyModels *models);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EnergyModels, energy_models_free)

/* In the order of their names; of const EnergyModel *, which live as long as `models`. */
GPtrArray *energy_models_list(const EnergyModels *models);

/* NULL: there is none of that name; the message lists those that there are. */
const EnergyModel *energy_models_find(const EnergyModels *models, const char *name, GError **error);

typedef enum {
  ENERGY_CHOICE_CONFIGURED, /* [use] names it */
  ENERGY_CHOICE_CALIBRATED, /* it was measured on this device */
  ENERGY_CHOICE_DEFAULT,    /* nobody said anything */
} EnergyChoice;

/* The model that counts; `why` may be NULL. NULL where [use] names one that is not there, or the default is
 * missing. */
const EnergyModel *energy_models_chosen(const EnergyModels *models, EnergyChoice *why, GError **error);

/* ---- the user's file ---- */

/* Where it is. */
char *energy_models_own_path(void);

/* Writes into the file at `own` (NULL: the usual) that the model of that name counts; NULL: nothing, so that
 * what was calibrated does, or the default. Whether there is such a model the caller has looked. */
gboolean energy_models_use(const char *own, const char *name, GError **error);

/* Writes a model into the file, as [device NAME], over the one that may be there. */
gboolean energy_models_keep(const char *own, const EnergyModel *model, GError **error);
