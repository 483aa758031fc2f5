/* When to synchronise, and what runs in the background, as the user wants it: doppel.conf(5), a key file
 * (GKeyFile) of the system and one of the user, each key of which counts over the system's. */
#pragma once

#include <glib.h>

#include "replicator/conditions.h"
#include "replicator/policy_values.h"

#define POLICY_CONFIG_SYSTEM "/etc/doppel/doppel.conf"

/* What makes a program that `doppel run` is given a background job without being told: any of these. */
typedef struct {
  int nice;             /* its nice level is at least this; POLICY_NICE_NEVER: no level does */
  gboolean no_terminal; /* it has no controlling terminal */
  gboolean scheduled;   /* a scheduler of jobs started it: see JobRulesFacts */
  PolicyNames programs; /* it is called one of these; of those with a slash: it lies there */
} PolicyBackground;

typedef struct {
  gboolean automatic;    /* without being asked */
  gint64 every;          /* s between coarse synchronisations */
  guint64 big;           /* bytes from which a file is put off until there is an opportunity */
  guint64 metered_limit; /* bytes that a coarse one may have on a metered link */
  guint64 battery_limit; /* bytes that it may have on battery */
  int battery_minimum;   /* percent below which there is none on battery */

  gint64 opportunity_every; /* s between opportunistic synchronisations, at least */
  guint opportunity_links;  /* bits 1 << ConditionLink */
  gboolean opportunity_charging;
  PolicyHours opportunity_hours;
  gint64 patience; /* s after which big things do not wait for the hours any more */

  gboolean fine_metered; /* whether blocks may be helped over a metered link */

  guint64 rate[CONDITION_LINKS]; /* bytes/s, of coarse and opportunistic ones; 0: no limit */
  guint64 rate_metered;          /* of these on metered links, besides */
  guint64 rate_on_demand;
  int compression; /* zstd's level, or 0 */

  PolicyBackground background;

  Conditions conditions; /* facts that count over what the device says of itself */
} PolicyConfig;

/* What counts where no file says otherwise. */
void policy_config_default(PolicyConfig *config);

/* Takes what the file at `path` says; one that is not there says nothing. FALSE, with nothing taken, where it
 * cannot be read (FAILED) or has a mistake (USAGE): the message names file, group, key and what is allowed.
 */
gboolean policy_config_load(PolicyConfig *config, const char *path, GError **error);

/* The defaults, the system's file, then the user's: doppel/doppel.conf in XDG_CONFIG_HOME or ~/.config. */
gboolean policy_config_read(PolicyConfig *config, GError **error);

/* What can be configured: index from 0, NULL after the last. */
typedef struct {
  const char *group, *key;
  const PolicyValueKind *kind;
  gsize offset; /* in PolicyConfig */
  const char *otherwise;
} PolicyKey;
const PolicyKey *policy_config_key(guint index);

/* The user's file, which need not be there; the caller's. */
char *policy_config_path(void);

/* What counts for a key, as it is written, the caller's; *where: the file that says so, the caller's as well,
 * or NULL where none does. NULL with an error: as in policy_config_read(). */
char *policy_config_said(const PolicyKey *key, char **where, GError **error);

/* Writes it into the user's file, beside whatever else is in there, comments too; NULL: takes it out, and
 * what the system's file says counts again. What cannot be a value is refused (USAGE), and so is to change a
 * file with a mistake in it; FAILED: it cannot be written, and is as it was. */
gboolean policy_config_change(const PolicyKey *key, const char *value, GError **error);
