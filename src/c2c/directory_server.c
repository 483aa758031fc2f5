/* Connections of a directory. Whoever is slow, or many, loses their own connections first. */
#include "c2c/directory_server.h"

#include "base/clock.h"
#include "base/error.h"
#include "c2c/directory_door.h"
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
  DirectoryDoor *door;
  DirectoryCounters counters;
};

static void
look_whether_sent(DoorConnection *connection)
{
  if (!connection->sending || link_backlog(connection->link).unwritten > 0)
    return;
  connection->sending = FALSE;
  connection->deadline = clock_now_ns() + directory_door_idle_ns(connection);
}

static gboolean
send_answer(DoorConnection *connection, DirectoryAnswer *answer)
{
  answer->has_pass = directory_door_tell_pass(connection, &answer->pass);
  g_autoptr(GBytes) bytes = directory_answer_encode(answer);
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  connection->visitor.busy = FALSE;
  connection->sending = TRUE;
  connection->deadline = clock_now_ns() + READ_NS;
  if (!link_send(connection->link, DIRECTORY_CHANNEL, &(struct iovec){(void *)data, length}, 1, NULL))
    return FALSE;
  look_whether_sent(connection);
  return TRUE;
}

static gboolean
answer_briefly(DoorConnection *connection, guint64 id, DirectoryStatus status)
{
  g_autoptr(DirectoryAnswer) answer = directory_answer_new(status, NULL);
  answer->id = id;
  return send_answer(connection, answer);
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
may_prove(DoorConnection *connection, const DirectoryQuestion *question)
{
  return connection->crowd != DOOR_MEMBER &&
         (question->has_asker || question->what == DIRECTORY_WHAT(REGISTER)) &&
         connection->proofs++ < PROOFS_MAX;
}

/* FALSE: the connection has to go. */
static gboolean
take_question(DirectoryServer *server, DoorConnection *connection, const LinkMessage *message)
{
  g_autoptr(DirectoryQuestion) question =
      message->channel == DIRECTORY_CHANNEL ? directory_question_decode(message->data, message->length, NULL)
                                            : NULL;
  server->counters.questions++;
  if (!question)
    return answer_briefly(connection, 0, DIRECTORY_STATUS(MALFORMED));
  const DirectoryHandler *handler = find_handler(server, question->what);
  if (!handler)
    return answer_briefly(connection, question->id, DIRECTORY_STATUS(MALFORMED));
  if (!directory_door_pay(connection, handler->price)) {
    server->counters.busy++;
    return answer_briefly(connection, question->id, DIRECTORY_STATUS(BUSY));
  }
  DirectoryTask *task = g_new0(DirectoryTask, 1);
  task->server = server;
  task->handler = handler;
  task->peer = *link_peer(connection->link);
  task->connection = connection->id;
  task->proves = may_prove(connection, question);
  task->question = g_steal_pointer(&question);
  connection->visitor.busy = TRUE;
  connection->sending = FALSE;
  connection->deadline = clock_now_ns() + FINISH_NS;
  directory_work_put(server->work, task);
  return TRUE;
}

/* One question at a time: who does not wait for the answer is none of ours. And a question acknowledges the
 * answers before it, so that little is under way to whoever has read them. */
static gboolean
take_next(DirectoryServer *server, DoorConnection *connection)
{
  g_autoptr(LinkMessage) message = link_take(connection->link);
  return !message || (!connection->visitor.busy && link_backlog(connection->link).kept <= UNREAD_MAX &&
                      directory_door_identify(connection) && take_question(server, connection, message));
}

static gboolean
work_link(DoorConnection *connection, gpointer data)
{
  gboolean alive = link_work(connection->link, NULL);
  if (alive)
    look_whether_sent(connection);
  if (alive && take_next(data, connection))
    return TRUE;
  directory_door_drop(connection);
  return FALSE;
}

static void
task_done(DirectoryTask *task, gpointer data)
{
  DirectoryServer *server = data;
  DoorConnection *connection = directory_door_find(server->door, task->connection);
  if (connection && task->proved)
    directory_door_admit(connection);
  if (connection && task->answer) {
    task->answer->id = task->question->id;
    if (!send_answer(connection, task->answer))
      directory_door_drop(connection);
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
  server->door =
      directory_door_new(options->key, options->rate, server->context, work_link, &server->counters, server);
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
  directory_door_free(server->door);
  g_clear_pointer(&server->work, directory_work_free);
  g_main_context_unref(server->context);
  g_free(server);
}

void
directory_server_listen(DirectoryServer *server, int fd)
{
  directory_door_listen(server->door, fd);
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
  counters.members = directory_door_count(server->door, DOOR_MEMBER);
  counters.connections = counters.members;
  for (DoorCrowd crowd = 0; crowd < DOOR_MEMBER; crowd++)
    counters.connections += directory_door_count(server->door, crowd);
  counters.commits = directory_work_commits(server->work);
  return counters;
}
