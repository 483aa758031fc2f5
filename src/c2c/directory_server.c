/* Connections of a directory. Whoever is slow, or many, loses their own connections first. */
#include "c2c/directory_server.h"

#include "base/clock.h"
#include "base/error.h"
#include "c2c/directory_visit.h"
#include "c2c/directory_work.h"

#define UNREAD_MAX (4u << 20) /* bytes of answers that are under way to somebody */
#define PROOFS_MAX 4          /* of being registered that are looked at over one connection */
#define SECONDS(s) ((s)*G_GINT64_CONSTANT(1000000000))
#define READ_NS    SECONDS(15) /* to take an answer */
#define FINISH_NS  SECONDS(60) /* to have an answer made: beyond that something is wrong here */

struct DirectoryServer {
  DirectoryServerOptions options;
  GMainContext *context;
  DirectoryWork *work;
  LinkDoor *door;
  DirectoryPasses passes;
  DirectoryCounters counters;
};

static void
look_whether_sent(DirectoryVisit *visit)
{
  if (!visit->sending || link_backlog(visit->base.link).unwritten > 0)
    return;
  visit->sending = FALSE;
  visit->base.deadline = clock_now_ns() + link_door_idle_ns(&visit->base);
}

static gboolean
send_answer(DirectoryVisit *visit, DirectoryAnswer *answer)
{
  answer->has_pass = directory_visit_tell_pass(visit, &answer->pass);
  g_autoptr(GBytes) bytes = directory_answer_encode(answer);
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  visit->base.visitor.busy = FALSE;
  visit->sending = TRUE;
  visit->base.deadline = clock_now_ns() + READ_NS;
  if (!link_send(visit->base.link, DIRECTORY_CHANNEL, &(struct iovec){(void *)data, length}, 1, NULL))
    return FALSE;
  look_whether_sent(visit);
  return TRUE;
}

static gboolean
answer_briefly(DirectoryVisit *visit, guint64 id, DirectoryStatus status)
{
  g_autoptr(DirectoryAnswer) answer = directory_answer_new(status, NULL);
  answer->id = id;
  return send_answer(visit, answer);
}

static const DirectoryHandler *
find_handler(const DirectoryServer *server, DirectoryWhat what)
{
  for (guint i = 0; i < server->options.handlers_count; i++)
    if (server->options.handlers[i].what == what)
      return &server->options.handlers[i];
  for (guint i = 0; i < directory_handlers_count; i++)
    if (directory_handlers[i].what == what)
      return &directory_handlers[i];
  return NULL;
}

/* Whether the question may make its asker a member. What that costs was paid with the connection. */
static gboolean
may_prove(DirectoryVisit *visit, const DirectoryQuestion *question)
{
  return visit->base.crowd != LINK_DOOR_MEMBER &&
         (question->has_asker || question->what == DIRECTORY_WHAT(REGISTER)) && visit->proofs++ < PROOFS_MAX;
}

/* FALSE: the connection has to go. */
static gboolean
take_question(DirectoryServer *server, DirectoryVisit *visit, const LinkMessage *message)
{
  g_autoptr(DirectoryQuestion) question =
      message->channel == DIRECTORY_CHANNEL ? directory_question_decode(message->data, message->length, NULL)
                                            : NULL;
  server->counters.questions++;
  if (!question)
    return answer_briefly(visit, 0, DIRECTORY_STATUS(MALFORMED));
  const DirectoryHandler *handler = find_handler(server, question->what);
  if (!handler)
    return answer_briefly(visit, question->id, DIRECTORY_STATUS(MALFORMED));
  if (!directory_visit_pay(visit, handler->price)) {
    server->counters.busy++;
    return answer_briefly(visit, question->id, DIRECTORY_STATUS(BUSY));
  }
  DirectoryTask *task = g_new0(DirectoryTask, 1);
  task->server = server;
  task->handler = handler;
  task->peer = *link_peer(visit->base.link);
  task->connection = visit->base.id;
  task->proves = may_prove(visit, question);
  task->question = g_steal_pointer(&question);
  visit->base.visitor.busy = TRUE;
  visit->sending = FALSE;
  visit->base.deadline = clock_now_ns() + FINISH_NS;
  directory_work_put(server->work, task);
  return TRUE;
}

/* One question at a time: who does not wait for the answer is none of ours. And a question acknowledges the
 * answers before it, so that little is under way to whoever has read them. */
static gboolean
take_next(DirectoryServer *server, DirectoryVisit *visit)
{
  g_autoptr(LinkMessage) message = link_take(visit->base.link);
  return !message || (!visit->base.visitor.busy && link_backlog(visit->base.link).kept <= UNREAD_MAX &&
                      directory_visit_identify(visit) && take_question(server, visit, message));
}

static gboolean
came(LinkVisit *visit, const LinkPreamble *preamble, LinkCallerSource *holder, gpointer data)
{
  DirectoryServer *server = data;
  return directory_visit_came((DirectoryVisit *)visit, &server->passes, preamble, holder);
}

static gboolean
work(LinkVisit *base, gpointer data)
{
  DirectoryVisit *visit = (DirectoryVisit *)base;
  if (!link_work(base->link, NULL))
    return FALSE;
  look_whether_sent(visit);
  return take_next(data, visit);
}

static void
task_done(DirectoryTask *task, gpointer data)
{
  DirectoryServer *server = data;
  DirectoryVisit *visit = link_door_find(server->door, task->connection);
  if (visit && task->proved)
    link_door_admit(&visit->base);
  if (visit && task->answer) {
    task->answer->id = task->question->id;
    if (!send_answer(visit, task->answer))
      link_door_drop(&visit->base);
  } else if (task->answered) {
    task->answered(task->answer, task->data);
  } else if (task->done) {
    task->done(task->candidates, task->data);
  }
  directory_task_free(task);
}

static void
work_registered(GArray *puts, gpointer data)
{
  DirectoryServer *server = data;
  server->counters.registered += puts->len;
  if (server->options.registered)
    server->options.registered(server, (const DirectoryPut *)puts->data, puts->len, server->options.data);
}

void
directory_server_submit(DirectoryServer *server, GPtrArray *candidates,
                        void (*done)(GPtrArray *candidates, gpointer data), gpointer data)
{
  DirectoryTask *task = g_new0(DirectoryTask, 1);
  task->server = server;
  task->candidates = candidates;
  task->done = done;
  task->data = data;
  directory_work_put(server->work, task);
}

void
directory_server_read(DirectoryServer *server, const DirectoryHandler *handler, DirectoryQuestion *question,
                      void (*done)(const DirectoryAnswer *answer, gpointer data), gpointer data)
{
  DirectoryTask *task = g_new0(DirectoryTask, 1);
  task->server = server;
  task->handler = handler;
  task->question = question;
  task->answered = done;
  task->data = data;
  directory_work_put(server->work, task);
}

DirectoryServer *
directory_server_new(const DirectoryServerOptions *options, GMainContext *context, GError **error)
{
  DirectoryServer *server = g_new0(DirectoryServer, 1);
  server->options = *options;
  server->context = g_main_context_ref(context ? context : g_main_context_default());
  directory_passes_init(&server->passes, options->key);
  LinkDoorRules rules = directory_visit_rules();
  rules.rate = options->rate;
  rules.came = came;
  rules.work = work;
  rules.data = server;
  server->door = link_door_new(&rules, options->key, server->context);
  server->work = directory_work_new(options, server->context, task_done, work_registered, server, error);
  if (server->work)
    return server;
  directory_server_free(server);
  return NULL;
}

void
directory_server_free(DirectoryServer *server)
{
  if (!server)
    return;
  link_door_free(server->door);
  g_clear_pointer(&server->work, directory_work_free);
  g_main_context_unref(server->context);
  g_free(server);
}

void
directory_server_listen(DirectoryServer *server, int fd)
{
  link_door_listen(server->door, fd);
}

const IdentityKey *
directory_server_key(const DirectoryServer *server)
{
  return server->options.key;
}

gpointer
directory_server_data(const DirectoryServer *server)
{
  return server->options.data;
}

const GArray *
directory_server_providers(const DirectoryServer *server)
{
  return server->options.providers;
}

DirectoryCounters
directory_server_counters(const DirectoryServer *server)
{
  DirectoryCounters counters = server->counters;
  counters.door = link_door_counters(server->door);
  counters.commits = directory_work_commits(server->work);
  return counters;
}
