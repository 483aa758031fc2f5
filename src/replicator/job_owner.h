/* Whose a job is (owner.h). What it did to files comes to the device that began it, and to no other one by
 * itself. */
#pragma once

#include "replicator/job_store.h"

/* Whether it is the device's on whose behalf the store is used. What was added before there were owners, or
 * on behalf of nobody, is nobody's: then it is not. */
gboolean job_owner_is_served(const JobStore *store, const Job *job);

/* Makes it that device's. FALSE with an error, NOT_FOUND where its result is with another one already. */
gboolean job_owner_adopt(const JobStore *store, const Job *job, GError **error);

/* Ends the jobs of the store in `directory` that are none of `devices` (of IdentityPublic), also those that
 * are about to begin; nothing there is no error. Does not wait for their end. */
gboolean job_owner_end_others(const char *directory, const GArray *devices, GError **error);
