#include "replicator/job_output.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"

#define NS_PER_MS G_GINT64_CONSTANT(1000000)

enum {
  PIPE_BYTES = 4 << 20, /* where that is granted; then what everybody may have */
  PIPE_BYTES_USUAL = 1 << 20,
  PIECE_BYTES = 64 << 10, /* at least a page of any machine */
  LOOK_PIECES = 256,      /* of each pipe in one look */
  LATE_MS = 20,           /* for a signal, after the bytes that it tells of */
  AGAIN_MS = 1,           /* to the next look, where that decides */
  PIECES_MAX = 4096,
};

struct JobOutput {
  int ends[JOB_STREAMS];
  int numbers[JOB_STREAMS]; /* of the ends, also when they are closed: their signals may come later */
  gsize page;
  guint looks;
  gboolean drained[JOB_STREAMS]; /* in the last look */
  GQueue pieces[JOB_STREAMS];    /* of GBytes: read and not handed out */
  guint fresh[JOB_STREAMS];      /* of them, at the end: since the last look */
  GQueue writes;            /* of the signals that came: which look was the last before, and the stream */
  guint count[JOB_STREAMS]; /* of them */
  gint64 waiting_ns;        /* since when there are pieces, and no signals; 0: there are none */
  gboolean undecided;       /* whether pieces belong to one write */
};

static gboolean
make_pipe(JobOutput *output, JobStream stream, int *end)
{
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_DIRECT) < 0 && pipe2(ends, O_CLOEXEC) < 0)
    return FALSE;
  output->ends[stream] = output->numbers[stream] = ends[0];
  *end = ends[1];
  if (fcntl(ends[0], F_SETPIPE_SZ, PIPE_BYTES) < 0)
    fcntl(ends[0], F_SETPIPE_SZ, PIPE_BYTES_USUAL);
  return fcntl(ends[0], F_SETSIG, JOB_OUTPUT_SIGNAL) == 0 && fcntl(ends[0], F_SETOWN, getpid()) == 0 &&
         fcntl(ends[0], F_SETFL, O_NONBLOCK | O_ASYNC) == 0;
}

JobOutput *
job_output_new(int ends[JOB_STREAMS])
{
  JobOutput *output = g_new0(JobOutput, 1);
  output->page = (gsize)sysconf(_SC_PAGESIZE);
  for (guint i = 0; i < JOB_STREAMS; i++)
    output->ends[i] = output->numbers[i] = ends[i] = -1;
  for (guint i = 0; i < JOB_STREAMS; i++)
    if (!make_pipe(output, (JobStream)i, &ends[i])) {
      int saved = errno;
      for (guint j = 0; j <= i; j++)
        io_close(&ends[j]);
      job_output_free(output);
      errno = saved;
      return NULL;
    }
  return output;
}

void
job_output_free(JobOutput *output)
{
  for (guint i = 0; i < JOB_STREAMS; i++) {
    io_close(&output->ends[i]);
    g_queue_clear_full(&output->pieces[i], (GDestroyNotify)g_bytes_unref);
  }
  g_queue_clear(&output->writes);
  g_free(output);
}

void
job_output_prepare(const JobOutput *output, struct pollfd fds[JOB_OUTPUT_POLL], int *timeout_ms)
{
  for (guint i = 0; i < JOB_STREAMS; i++)
    fds[i] = (struct pollfd){.fd = output->ends[i], .events = POLLIN};
  if (output->waiting_ns || output->undecided) {
    int left = output->undecided ? AGAIN_MS : clock_left_ms(output->waiting_ns + LATE_MS * NS_PER_MS);
    *timeout_ms = *timeout_ms < 0 ? left : MIN(*timeout_ms, left);
  }
}

/* ---- reading ---- */

static void
look_at(JobOutput *output, JobStream stream)
{
  guint8 piece[PIECE_BYTES];
  for (guint i = 0; i < LOOK_PIECES && !output->drained[stream];) {
    ssize_t got = output->ends[stream] < 0 ? 0 : read(output->ends[stream], piece, sizeof piece);
    if (got < 0 && errno == EINTR)
      continue;
    if (got == 0) /* nobody can write to it any more */
      io_close(&output->ends[stream]);
    if (got > 0) {
      g_queue_push_tail(&output->pieces[stream], g_bytes_new(piece, got));
      output->fresh[stream]++;
    }
    output->drained[stream] = got <= 0;
    i++;
  }
}

void
job_output_look(JobOutput *output)
{
  output->looks++;
  for (guint i = 0; i < JOB_STREAMS; i++) {
    output->drained[i] = FALSE;
    output->fresh[i] = 0;
    look_at(output, (JobStream)i);
  }
}

gboolean
job_output_drained(const JobOutput *output)
{
  return output->drained[JOB_STDOUT] && output->drained[JOB_STDERR];
}

void
job_output_signal(JobOutput *output, int fd)
{
  for (guint i = 0; i < JOB_STREAMS; i++)
    if (fd == output->numbers[i]) {
      g_queue_push_tail(&output->writes, GSIZE_TO_POINTER((gsize)output->looks << 1 | i));
      output->count[i]++;
    }
}

/* ---- putting into order ---- */

/* Hands out one; bytes of it. */
static gsize
give(JobOutput *output, JobStream stream, JobOutputTake take, gpointer user)
{
  gsize length;
  g_autoptr(GBytes) piece = g_queue_pop_head(&output->pieces[stream]);
  const guint8 *bytes = g_bytes_get_data(piece, &length);
  take(stream, bytes, length, user);
  return length;
}

/* A write's bytes were there before its signal: where a later look found nothing, they went with those of
 * another. */
static gboolean
was_given(const JobOutput *output, gsize look, JobStream stream)
{
  return look < output->looks && output->drained[stream];
}

/* The oldest write's pieces: all but the last are full pages. There is at least one for each write, and more
 * than writes only where one has several, or its signal is about to come: which a further look tells. FALSE
 * where that is to be waited for. */
static gboolean
give_write(JobOutput *output, JobStream stream, JobOutputTake take, gpointer user)
{
  GQueue *there = &output->pieces[stream];
  gboolean full = g_bytes_get_size(g_queue_peek_head(there)) >= output->page;
  gboolean more = there->length > output->count[stream];
  if (full && more && there->length - MIN(there->length, output->fresh[stream]) <= output->count[stream])
    return FALSE;
  g_queue_pop_head(&output->writes);
  output->count[stream]--;
  gsize length = give(output, stream, take, user);
  while (more && length >= output->page && there->length > output->count[stream])
    length = give(output, stream, take, user);
  return TRUE;
}

static guint
pieces(const JobOutput *output)
{
  return output->pieces[JOB_STDOUT].length + output->pieces[JOB_STDERR].length;
}

/* The oldest write's bytes, where they are there, or were. FALSE where they are to be waited for. */
static gboolean
sort_one(JobOutput *output, JobOutputTake take, gpointer user)
{
  gsize write = GPOINTER_TO_SIZE(g_queue_peek_head(&output->writes));
  JobStream stream = write & 1 ? JOB_STDERR : JOB_STDOUT;
  if (output->pieces[stream].length > 0) {
    output->undecided = !give_write(output, stream, take, user);
    return !output->undecided;
  }
  if (!was_given(output, write >> 1, stream))
    return FALSE;
  g_queue_pop_head(&output->writes);
  output->count[stream]--;
  return TRUE;
}

void
job_output_sort(JobOutput *output, JobOutputTake take, gpointer user)
{
  gboolean moved = FALSE;
  output->undecided = FALSE;
  while (!g_queue_is_empty(&output->writes) && sort_one(output, take, user))
    moved = TRUE;
  gint64 now = clock_now_ns();
  gboolean waits = pieces(output) > 0 && g_queue_is_empty(&output->writes);
  if (!waits || moved || !output->waiting_ns)
    output->waiting_ns = waits ? now : 0;
  if (pieces(output) > PIECES_MAX || (output->waiting_ns && now - output->waiting_ns >= LATE_MS * NS_PER_MS))
    job_output_flush(output, take, user);
}

void
job_output_flush(JobOutput *output, JobOutputTake take, gpointer user)
{
  for (guint i = 0; i < JOB_STREAMS; i++)
    while (output->pieces[i].length > 0)
      give(output, (JobStream)i, take, user);
  output->waiting_ns = 0;
  output->undecided = FALSE;
}
