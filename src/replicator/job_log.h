/* What a job has written, as its host keeps it: bytes of two streams in one file, in the order in which they
 * were written, and beside it which of them are whose.
 *
 *   log      the bytes
 *   streams  8 bytes, little-endian, for each run of one stream: where it begins in the log, times 2, plus
 * its JobStream; written before the first of its bytes. Bytes before the first run are JOB_STDOUT's. */
#pragma once

#include <glib.h>

typedef enum { JOB_STDOUT, JOB_STDERR, JOB_STREAMS } JobStream;

#define JOB_LOG         "log"
#define JOB_LOG_STREAMS "streams"

/* Whose end it is that writes. */
typedef struct {
  int log, streams;
  guint64 bytes, runs; /* in the files */
  JobStream stream;    /* of the last run */
  gboolean over;       /* something was left out because there was no more to be kept */
} JobLog;
#define JOB_LOG_INIT                                                                                         \
  {                                                                                                          \
    .log = -1, .streams = -1                                                                                 \
  }

/* Makes the files in the job's directory, which are empty. */
gboolean job_log_begin(JobLog *log, int directory, GError **error);
/* Adds bytes, as long as both files together are not longer than `most`, and the disk has room. How many. */
gsize job_log_append(JobLog *log, JobStream stream, const guint8 *bytes, gsize length, guint64 most);
void job_log_end(JobLog *log); /* brings them to the disk */

/* Whose the byte at `offset` of a log is, and those up to *end. `streams`: the second file, or -1 where there
 * is none. To be asked only of bytes that the log is known to have already. */
JobStream job_log_look(int streams, guint64 offset, guint64 *end);
