/* The device's conditions, kept current from all their sources. For each fact the first of these counts that
 * knows it: the configuration, D-Bus (NetworkManager, UPower), sysfs. That a bus or a service is missing is
 * ordinary. */
#pragma once

#include "replicator/conditions.h"

typedef struct {
  const char *bus; /* address of the D-Bus; NULL: the system bus */
  const char *sys; /* where sysfs is; NULL: /sys */
  guint answer_ms; /* how long a bus or a service may take to answer before it counts as absent; 0: 1000 */
  guint poll_ms;   /* how often to look at what sends no signals, and for what was absent; 0: a minute */
  Conditions configured; /* what the configuration says */
} ConditionsPlaces;

typedef struct ConditionsWatch ConditionsWatch;

/* `changed(data)` is called in the thread-default main context of now, once every source has answered or been
 * given up, and then whenever a fact or its source has changed. */
ConditionsWatch *conditions_watch_new(const ConditionsPlaces *places, void (*changed)(gpointer data),
                                      gpointer data);
/* No call of changed() comes after this. */
void conditions_watch_free(ConditionsWatch *watch);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ConditionsWatch, conditions_watch_free)

/* What is known now; sysfs is read for it. */
Conditions conditions_watch_get(ConditionsWatch *watch);

/* The conditions as they are now, without a watch that goes on. Takes no longer than answer_ms and a little.
 */
Conditions conditions_once(const ConditionsPlaces *places);
