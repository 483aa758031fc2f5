#include "clonedoc/server/clerk.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/post.h"

struct DocClerk {
  DocLog *log;
  gpointer owner;
  Post *post; /* of DocErrand */
  GAsyncQueue *errands;
  GThread *thread;
  GError *silence; /* the thread's: why the log said nothing to the last errand, */
  gint64 silent;   /* which was begun then */
};

/* What ends the thread. */
static DocErrand farewell;

static void
errand_free(gpointer data)
{
  DocErrand *errand = data;
  g_clear_error(&errand->error);
  errand->free(errand);
}

static void
run(DocClerk *clerk, DocErrand *errand)
{
  gint64 begun = clock_now_ns();
  if (clerk->silence && errand->since <= clerk->silent) {
    errand->error = g_error_copy(clerk->silence);
    return;
  }
  g_clear_error(&clerk->silence);
  if (errand->run(errand, clerk->log, &errand->error) ||
      !g_error_matches(errand->error, DOPPEL_ERROR, DOPPEL_ERROR_GONE))
    return;
  clerk->silence = g_error_copy(errand->error);
  clerk->silent = begun;
}

static gpointer
clerk_main(gpointer data)
{
  DocClerk *clerk = data;
  for (DocErrand *errand; (errand = g_async_queue_pop(clerk->errands)) != &farewell;) {
    if (!post_is_closed(clerk->post))
      run(clerk, errand);
    post_send(clerk->post, errand);
  }
  return NULL;
}

static void
take_back(gpointer data, gpointer owner)
{
  DocErrand *errand = data;
  DocClerk *clerk = owner;
  errand->done(errand, clerk->owner);
  errand_free(errand);
}

DocClerk *
doc_clerk_new(DocLog *log, GMainContext *context, gpointer owner)
{
  DocClerk *clerk = g_new0(DocClerk, 1);
  clerk->log = log;
  clerk->owner = owner;
  clerk->post = post_new(context, take_back, errand_free, clerk);
  clerk->errands = g_async_queue_new();
  clerk->thread = g_thread_new("doc-log", clerk_main, clerk);
  return clerk;
}

void
doc_clerk_free(DocClerk *clerk)
{
  post_close(clerk->post);
  doc_log_hurry(clerk->log);
  g_async_queue_push(clerk->errands, &farewell);
  g_thread_join(clerk->thread);
  post_free(clerk->post);
  g_async_queue_unref(clerk->errands);
  g_clear_error(&clerk->silence);
  g_free(clerk);
}

void
doc_clerk_send(DocClerk *clerk, DocErrand *errand)
{
  errand->since = clock_now_ns();
  g_async_queue_push(clerk->errands, errand);
}
