#include "c2c/directory_work.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/post.h"

#define READERS 2

typedef struct {
  DirectoryWork *work;
  DirectoryStore *store;
  GThread *thread;
  DirectoryState state; /* of `head` */
  gint64 time;
  DirectorySigned head;
} Hand;

struct DirectoryWork {
  const IdentityKey *key;
  Post *post; /* of Letter */
  DirectoryTaskDone done;
  void (*registered)(GArray *puts, gpointer server);
  gpointer server;
  GThreadPool *verifiers;
  GAsyncQueue *reads, *writes;
  Hand readers[READERS], writer;
  guint commits;
};

/* What ends a thread. */
static DirectoryTask farewell;

GPtrArray *
directory_candidates_new(void)
{
  return g_ptr_array_new();
}

static void
free_candidate(gpointer data, gpointer user)
{
  DirectoryCandidate *candidate = data;
  record_unref(candidate->record);
  g_clear_pointer(&candidate->update, g_bytes_unref);
  g_free(candidate);
}

void
directory_task_free(DirectoryTask *task)
{
  if (task->candidates) {
    g_ptr_array_foreach(task->candidates, free_candidate, NULL);
    g_ptr_array_unref(task->candidates);
  }
  directory_question_free(task->question);
  directory_answer_free(task->answer);
  g_free(task);
}

void
directory_task_add(DirectoryTask *task, Record *record, GBytes *update)
{
  DirectoryCandidate *candidate = g_new0(DirectoryCandidate, 1);
  candidate->record = record;
  candidate->update = update;
  if (!task->candidates)
    task->candidates = directory_candidates_new();
  g_ptr_array_add(task->candidates, candidate);
}

void
directory_task_answer(DirectoryTask *task, DirectoryStatus status, const char *message)
{
  directory_answer_free(task->answer);
  task->answer = directory_answer_new(status, message);
}

/* Either a task or puts. */
typedef struct {
  DirectoryTask *task;
  GArray *puts; /* of DirectoryPut */
} Letter;

static void
letter_free(gpointer data)
{
  Letter *letter = data;
  if (letter->task)
    directory_task_free(letter->task);
  if (letter->puts)
    g_array_unref(letter->puts);
  g_free(letter);
}

static void
take_letter(gpointer data, gpointer owner)
{
  Letter *letter = data;
  DirectoryWork *work = owner;
  if (letter->task)
    work->done(g_steal_pointer(&letter->task), work->server);
  else
    work->registered(letter->puts, work->server);
  letter_free(letter);
}

static void
to_server(DirectoryWork *work, DirectoryTask *task, GArray *puts)
{
  Letter *letter = g_new0(Letter, 1);
  *letter = (Letter){task, puts};
  post_send(work->post, letter);
}

/* Signing is as dear as verifying, and a head of this second is as good as a new one. */
static void
add_head(Hand *hand, DirectoryTask *task, const DirectoryState *state)
{
  gint64 now = clock_unix_time();
  if (!task->answer ||
      (task->answer->status != DIRECTORY_STATUS(OK) && task->answer->status != DIRECTORY_STATUS(UNKNOWN)))
    return;
  if (task->answer->head.statement)
    return;
  if (!hand->head.statement || hand->time != now || !directory_state_equal(&hand->state, state)) {
    directory_signed_clear(&hand->head);
    hand->head = directory_head_sign(hand->work->key, state, now);
    hand->state = *state;
    hand->time = now;
  }
  directory_signed_copy(&task->answer->head, &hand->head);
}

/* Users of other directories are not: those say how many of them there are. */
static gboolean
is_registered(DirectoryStore *store, const IdentityPublic *origin, const IdentityPublic *peer, GError **error)
{
  g_autoptr(DirectoryRow) row = NULL;
  if (directory_store_get(store, origin, &row, error) <= 0 || row->number == 0)
    return FALSE;
  gsize length;
  const void *bytes = g_bytes_get_data(row->record, &length);
  g_autoptr(Record) record = record_decode(bytes, length, origin, error);
  return record && directory_record_is_of(record, peer);
}

static void
read_one(Hand *hand, DirectoryTask *task)
{
  g_autoptr(GError) error = NULL;
  DirectoryState state;
  task->proved = task->proves && task->question->has_asker &&
                 is_registered(hand->store, &task->question->asker, &task->peer, NULL);
  if (directory_store_state(hand->store, &state, &error) &&
      task->handler->read(task, hand->store, &state, &error)) {
    add_head(hand, task, &state);
    return;
  }
  g_printerr("cloneds: %s\n", error->message);
  directory_task_answer(task, DIRECTORY_STATUS(FAILED),
                        "its store cannot be read; its operator's log says why");
}

static gpointer
reader_main(gpointer data)
{
  Hand *hand = data;
  for (;;) {
    DirectoryTask *task = g_async_queue_pop(hand->work->reads);
    if (task == &farewell)
      return NULL;
    if (!post_is_closed(hand->work->post))
      read_one(hand, task);
    to_server(hand->work, task, NULL);
  }
}

static void
put_clear(DirectoryPut *put)
{
  record_unref(put->record);
}

static void
commit_tasks(Hand *hand, DirectoryJudge *judge, GPtrArray *tasks)
{
  DirectoryWork *work = hand->work;
  g_autoptr(GPtrArray) candidates = g_ptr_array_new();
  GArray *registered = g_array_new(FALSE, FALSE, sizeof(DirectoryPut));
  g_array_set_clear_func(registered, (GDestroyNotify)put_clear);
  for (guint i = 0; i < tasks->len; i++) {
    DirectoryTask *task = tasks->pdata[i];
    g_ptr_array_extend(candidates, task->candidates, NULL, NULL);
  }
  g_atomic_int_add(&work->commits, (gint)directory_judge_all(judge, candidates, registered));
  DirectoryState state;
  gboolean known = directory_store_state(hand->store, &state, NULL);
  for (guint i = 0; i < tasks->len; i++) {
    DirectoryTask *task = tasks->pdata[i];
    if (task->handler && task->handler->judged)
      task->handler->judged(task);
    if (known)
      add_head(hand, task, &state);
    to_server(work, task, NULL);
  }
  if (registered->len > 0)
    to_server(work, NULL, registered);
  else
    g_array_unref(registered);
}

/* Whatever has come while the last commit was under way goes into the next. */
static gpointer
writer_main(gpointer data)
{
  Hand *hand = data;
  DirectoryJudge judge;
  directory_judge_init(&judge, hand->store, identity_key_public(hand->work->key));
  g_autoptr(GPtrArray) tasks = g_ptr_array_new();
  for (gboolean ends = FALSE; !ends;) {
    DirectoryTask *task = g_async_queue_pop(hand->work->writes);
    for (; task; task = g_async_queue_try_pop(hand->work->writes)) {
      ends = ends || task == &farewell;
      if (task != &farewell)
        g_ptr_array_add(tasks, task);
      if (ends || tasks->len >= DIRECTORY_BATCH_MAX)
        break;
    }
    if (tasks->len > 0)
      commit_tasks(hand, &judge, tasks);
    g_ptr_array_set_size(tasks, 0);
  }
  directory_judge_clear(&judge);
  return NULL;
}

static void
verify_one(gpointer data, gpointer user)
{
  DirectoryTask *task = data;
  DirectoryWork *work = user;
  if (!post_is_closed(work->post) && task->handler->verify(task))
    g_async_queue_push(work->writes, task);
  else
    to_server(work, task, NULL);
}

static gboolean
start_hand(DirectoryWork *work, Hand *hand, const char *uri, const char *name, GThreadFunc run,
           GError **error)
{
  hand->work = work;
  hand->store = directory_store_open(uri, error);
  if (hand->store)
    hand->thread = g_thread_new(name, run, hand);
  return hand->store != NULL;
}

static void
end_hand(Hand *hand)
{
  if (hand->thread)
    g_thread_join(hand->thread);
  directory_store_close(hand->store);
  directory_signed_clear(&hand->head);
}

void
directory_work_free(DirectoryWork *work)
{
  post_close(work->post);
  g_thread_pool_free(work->verifiers, FALSE, TRUE);
  for (guint i = 0; i < READERS; i++)
    g_async_queue_push(work->reads, &farewell);
  g_async_queue_push(work->writes, &farewell);
  for (guint i = 0; i < READERS; i++)
    end_hand(&work->readers[i]);
  end_hand(&work->writer);
  g_async_queue_unref(work->reads);
  g_async_queue_unref(work->writes);
  post_free(work->post);
  g_free(work);
}

DirectoryWork *
directory_work_new(const DirectoryServerOptions *options, GMainContext *context, DirectoryTaskDone done,
                   void (*registered)(GArray *puts, gpointer server), gpointer server, GError **error)
{
  DirectoryWork *work = g_new0(DirectoryWork, 1);
  work->key = options->key;
  work->post = post_new(context, take_letter, letter_free, work);
  work->done = done;
  work->registered = registered;
  work->server = server;
  work->reads = g_async_queue_new();
  work->writes = g_async_queue_new();
  work->verifiers = g_thread_pool_new(verify_one, work, (gint)MAX(g_get_num_processors(), 1), FALSE, NULL);
  gboolean good = start_hand(work, &work->writer, options->store, "directory-write", writer_main, error);
  for (guint i = 0; good && i < READERS; i++)
    good = start_hand(work, &work->readers[i], options->store, "directory-read", reader_main, error);
  if (good)
    return work;
  directory_work_free(work);
  return NULL;
}

void
directory_work_put(DirectoryWork *work, DirectoryTask *task)
{
  if (task->candidates)
    g_async_queue_push(work->writes, task);
  else if (task->handler->verify)
    g_thread_pool_push(work->verifiers, task, NULL);
  else
    g_async_queue_push(work->reads, task);
}

const IdentityKey *
directory_work_key(const DirectoryWork *work)
{
  return work->key;
}

guint64
directory_work_commits(const DirectoryWork *work)
{
  return (guint)g_atomic_int_get(&work->commits);
}
