/* How much of its host's disk a job may take. Nobody can keep a program in an overlay from writing (there is
 * no quota of a directory everywhere), so it is looked at how much it has: once a second, or less often where
 * looking takes long. A job that is beyond a bound is stopped, and says so; what it wrote until it is looked
 * at is beyond it, too. */
#pragma once

#include <glib.h>

#define JOB_BOUNDS_NONE G_MAXUINT64

/* As the host's operator wants it, for each job. */
typedef struct {
  guint64 output_bytes;  /* of its standard output and standard error; JOB_BOUNDS_NONE: any */
  guint64 changes_bytes; /* of disk, by what it makes and changes; JOB_BOUNDS_NONE: any */
  guint64 reserve_bytes; /* of disk that stay free; JOB_BOUNDS_NONE: a twentieth of it, at most 1 GiB */
} JobBounds;
#define JOB_BOUNDS_DEFAULT                                                                                   \
  {                                                                                                          \
    G_GUINT64_CONSTANT(1) << 30, JOB_BOUNDS_NONE, JOB_BOUNDS_NONE                                            \
  }

/* "500", "20M": a number with an optional K, M or G (binary). FALSE for what is none, is 0, or is beyond
 * `most`. */
gboolean job_bounds_parse(const char *text, guint64 most, guint64 *amount);
/* The other way round, the caller's. */
char *job_bounds_text(guint64 amount);

/* Bytes of disk that the tree takes, or more than `most`, where counting ends; JOB_BOUNDS_NONE where some of
 * it cannot be looked at. */
guint64 job_bounds_measure(int directory, guint64 most);

/* A job that runs. */
typedef struct {
  JobBounds host;
  guint64 output_bytes, changes_bytes; /* that were asked for besides; 0: nothing was */
  gint64 look_ns;                      /* CLOCK_MONOTONIC: when to look next */
} JobBoundsWatch;
void job_bounds_begin(JobBoundsWatch *watch, const JobBounds *host, guint64 output_bytes,
                      guint64 changes_bytes);

guint64 job_bounds_output(const JobBoundsWatch *watch); /* bytes of output that are kept */

/* Why the job is to be stopped, the caller's text; NULL: it may go on, or it is not time to look yet.
 * `trees` are descriptors (int) of what it has written, all on the disk of `directory`; `proc` is a procfs
 * that shows its processes and no others (job_nameless.h), NULL: it has none. */
char *job_bounds_look(JobBoundsWatch *watch, const GArray *trees, const char *proc, int directory);
/* The same, where the output is longer. */
char *job_bounds_output_reason(const JobBoundsWatch *watch);
