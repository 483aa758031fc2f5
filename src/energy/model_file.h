/* A file of power models. Private to the folder: models.h puts the system's and the user's together. */
#pragma once

#include "energy/model.h"

typedef struct {
  GHashTable *models; /* name to EnergyModel; their radios are not looked up yet */
  GHashTable *radios; /* name to EnergyRadio */
  char *use;          /* [use] model, or NULL */
} EnergyModelFile;

void energy_model_file_init(EnergyModelFile *file);
void energy_model_file_clear(EnergyModelFile *file);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(EnergyModelFile, energy_model_file_clear)

/* Adds what the file at `path` has; what was there under the same name is replaced. FALSE where it cannot be
 * read (FAILED, NOT_FOUND) or has a mistake (USAGE): the message names file, group and key, or the line, and
 * says what is allowed. Some of it may have been added then. */
gboolean energy_model_file_read(EnergyModelFile *file, const char *path, GError **error);

/* The same of what was read already, or is to be written there. */
gboolean energy_model_file_add(EnergyModelFile *file, GKeyFile *keys, const char *path, GError **error);
