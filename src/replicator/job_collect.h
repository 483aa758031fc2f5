/* Taking over a job's result: what it did to files is made on the device, once, and the clone's host told.
 *
 * Whoever is killed at any instruction of it, on either side, leaves the device's files as before or as
 * after, and the next one to come takes up where that one was (job_parcel.h): an acknowledgement that was
 * lost is given again, nothing is made twice. */
#pragma once

#include "replicator/job_beside.h"

/* Whether the job is over, and this device's, and what it did to files is not here yet. */
gboolean job_collect_is_due(const JobSummary *summary);

/* Takes over the result of a job that is over, where that is due; FALSE with an error. `tell`
 * is called for what could not be made as the job made it. Where somebody else is at it, it is waited for, or
 * with `wait` FALSE left to them. */
gboolean job_collect(JobClient *client, const JobSummary *summary, gboolean wait, JobBesideFunc tell,
                     gpointer user, GError **error);
