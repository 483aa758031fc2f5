/* Who is connected to the agent: its own processes, and this user's others. None of them is waited for. */
#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/agent_place.h"
#include "agent/agent_private.h"

#define CALLERS_MAX  64u
#define JOBS_WAIT_MS 5000
#define OUTPUT_MAX   (64u << 20) /* bytes that a caller may leave unread */

/* ---- one of them ---- */

static gboolean
late(gpointer data)
{
  Agent *agent = data;
  agent_callers_turn(agent);
  for (guint i = 0; i < agent->callers->len; i++)
    if (((const AgentCaller *)agent->callers->pdata[i])->asked)
      return G_SOURCE_CONTINUE;
  agent->waiting = 0;
  return G_SOURCE_REMOVE;
}

static void
caller_free(AgentCaller *caller)
{
  if (caller->has)
    agent_clone_give_up(caller->has);
  if (caller->in)
    g_source_remove(caller->in);
  if (caller->out)
    g_source_remove(caller->out);
  io_close(&caller->fd);
  g_byte_array_unref(caller->input);
  g_byte_array_unref(caller->output);
  g_free(caller);
}

static void
hang_up(AgentCaller *caller)
{
  Agent *agent = caller->agent;
  AgentClone *had = caller->has;
  g_ptr_array_remove_fast(agent->callers, caller); /* frees it */
  if (!had || agent->ending)
    return;
  agent_callers_turn(agent);
  agent_clone_turn(had);
}

/* FALSE: it is gone. */
static gboolean
write_output(AgentCaller *caller)
{
  while (caller->output->len > 0) {
    ssize_t sent = send(caller->fd, caller->output->data, caller->output->len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR)
      continue;
    if (sent < 0)
      return errno == EAGAIN;
    g_byte_array_remove_range(caller->output, 0, (guint)sent);
  }
  return TRUE;
}

static gboolean
writable(int fd, GIOCondition condition, gpointer data)
{
  AgentCaller *caller = data;
  if (!write_output(caller)) {
    caller->out = 0;
    hang_up(caller);
    return G_SOURCE_REMOVE;
  }
  if (caller->output->len > 0)
    return G_SOURCE_CONTINUE;
  caller->out = 0;
  return G_SOURCE_REMOVE;
}

/* What cannot be told now is told later; that the other end is gone is noticed when it is read from. */
static void
tell(AgentCaller *caller, const AgentMessage *message)
{
  g_autoptr(GByteArray) bytes = agent_message_pack(message);
  if (caller->output->len + bytes->len > OUTPUT_MAX) {
    shutdown(caller->fd, SHUT_RDWR);
    return;
  }
  g_byte_array_append(caller->output, bytes->data, bytes->len);
  if (write_output(caller) && caller->output->len > 0 && !caller->out)
    caller->out = g_unix_fd_add(caller->fd, G_IO_OUT | G_IO_ERR | G_IO_HUP, writable, caller);
}

/* ---- what they ask ---- */

static void
tell_scope(AgentCaller *caller, const Doppel__Agent__Scope *scope)
{
  tell(caller, AGENT_MESSAGE(SCOPE, scope, (Doppel__Agent__Scope *)scope));
}

static gboolean
is_worker(const AgentCaller *caller, const AgentClone *clone)
{
  return clone->worker != AGENT_WORKER_NONE && clone->process == caller->process;
}

static void
give(AgentCaller *caller, AgentClone *clone)
{
  Doppel__Agent__Scope scope = DOPPEL__AGENT__SCOPE__INIT;
  g_auto(GStrv) paths = NULL;
  caller->wants = NULL;
  if (caller->part) {
    tell_scope(caller, &scope);
    return;
  }
  caller->own = is_worker(caller, clone);
  agent_clone_give(clone, caller, caller->own, &scope, &paths);
  caller->has = clone;
  tell_scope(caller, &scope);
  g_free(scope.directory);
}

/* The agent's own process gives way to everybody else's; nobody else's does. */
static void
take(AgentCaller *caller, const Doppel__Agent__Take *take)
{
  Doppel__Agent__Scope scope = DOPPEL__AGENT__SCOPE__INIT;
  agent_refresh(caller->agent);
  AgentClone *clone = agent_find(caller->agent, take->clone);
  if (caller->has || caller->wants || !clone) {
    tell_scope(caller, &scope);
    return;
  }
  caller->part = take->part || !agent_clone_has_root(clone, &take->root);
  if (is_worker(caller, clone) && !clone->taker) {
    give(caller, clone);
    return;
  }
  if (clone->taker && !is_worker(clone->taker, clone)) {
    scope.busy = TRUE;
    tell_scope(caller, &scope);
    return;
  }
  caller->wants = clone;
  if (clone->worker == AGENT_WORKER_LOOKS || clone->worker == AGENT_WORKER_SYNCS)
    agent_worker_stop(clone);
  agent_callers_turn(caller->agent);
}

/* A synchronisation or a look is over. That the agent's own process has ended may have been heard before
 * that, or will be after it. */
static void
go_on(AgentClone *clone)
{
  if (clone->worker != AGENT_WORKER_NONE)
    return;
  agent_callers_turn(clone->agent);
  agent_clone_turn(clone);
}

static void
done(AgentCaller *caller, const Doppel__Agent__Done *message)
{
  Doppel__Agent__Noted noted = DOPPEL__AGENT__NOTED__INIT;
  AgentClone *clone = caller->has;
  if (clone) {
    caller->has = NULL;
    agent_clone_done(clone, message);
  }
  tell(caller, AGENT_MESSAGE(NOTED, noted, &noted));
  if (clone)
    go_on(clone);
}

static void
looked(AgentCaller *caller, const Doppel__Agent__Looked *message)
{
  AgentClone *clone = caller->has;
  if (!clone || !caller->own)
    return;
  caller->has = NULL;
  agent_clone_looked(clone, message);
  go_on(clone);
}

static void
jobs(AgentCaller *caller, const Doppel__Agent__Jobs *message)
{
  AgentClone *clone = agent_find(caller->agent, message->clone);
  if (clone)
    agent_clone_jobs(clone, message);
}

/* Fields that nobody knows here are the message's, and go with it. */
static void
keep_progress(AgentClone *clone, const Doppel__Agent__Progress *progress)
{
  clone->progress = *progress;
  clone->progress.base.n_unknown_fields = 0;
  clone->progress.base.unknown_fields = NULL;
  clone->progressed = TRUE;
}

static void
handle(AgentCaller *caller, const AgentMessage *message)
{
  switch (message->kind_case) {
  case DOPPEL__AGENT__MESSAGE__KIND_STATUS:
    agent_refresh(caller->agent);
    caller->asked = g_get_monotonic_time();
    if (!caller->agent->waiting)
      caller->agent->waiting = g_timeout_add(JOBS_WAIT_MS + 1, late, caller->agent);
    agent_callers_turn(caller->agent);
    break;
  case DOPPEL__AGENT__MESSAGE__KIND_TAKE:
    take(caller, message->take);
    break;
  case DOPPEL__AGENT__MESSAGE__KIND_PROGRESS:
    if (caller->has)
      keep_progress(caller->has, message->progress);
    break;
  case DOPPEL__AGENT__MESSAGE__KIND_LOOKED:
    looked(caller, message->looked);
    break;
  case DOPPEL__AGENT__MESSAGE__KIND_JOBS:
    jobs(caller, message->jobs);
    break;
  case DOPPEL__AGENT__MESSAGE__KIND_DONE:
    done(caller, message->done);
    break;
  default: /* an answer, which nobody has asked for */
    break;
  }
}

/* One whole message of the input. FALSE: there is none yet; *bad where there never will be. */
static gboolean
handle_next(AgentCaller *caller, gboolean *bad)
{
  gsize length;
  if (caller->input->len < AGENT_LENGTH)
    return FALSE;
  *bad = !agent_message_length(caller->input->data, &length, NULL);
  if (*bad || caller->input->len < AGENT_LENGTH + length)
    return FALSE;
  g_autoptr(AgentMessage) message = agent_message_unpack(caller->input->data + AGENT_LENGTH, length, NULL);
  g_byte_array_remove_range(caller->input, 0, (guint)(AGENT_LENGTH + length));
  *bad = !message;
  if (message)
    handle(caller, message);
  return message != NULL;
}

static gboolean
readable(int fd, GIOCondition condition, gpointer data)
{
  AgentCaller *caller = data;
  guint8 bytes[16384];
  gboolean bad = FALSE;
  ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR))
    return G_SOURCE_CONTINUE;
  if (got > 0)
    g_byte_array_append(caller->input, bytes, (guint)got);
  while (got > 0 && handle_next(caller, &bad))
    ;
  if (got > 0 && !bad)
    return G_SOURCE_CONTINUE;
  caller->in = 0;
  hang_up(caller);
  return G_SOURCE_REMOVE;
}

/* ---- all of them ---- */

static guint64
cpu_us(void)
{
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  return (guint64)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * G_USEC_PER_SEC + used.ru_utime.tv_usec +
         used.ru_stime.tv_usec;
}

static void
tell_report(AgentCaller *caller)
{
  Agent *agent = caller->agent;
  g_autoptr(AgentReport) report = agent_report_new(getpid(), agent->since, cpu_us(), agent->problem);
  Conditions conditions = conditions_watch_get(agent->conditions);
  agent_report_add_conditions(report, &conditions);
  for (guint i = 0; i < agent->clones->len; i++) {
    AgentFacts facts;
    agent_clone_judge(agent->clones->pdata[i]);
    agent_clone_facts(agent->clones->pdata[i], &facts);
    agent_report_add_clone(report, &facts);
  }
  agent_gateway_report(agent, report);
  caller->asked = 0;
  tell(caller, AGENT_MESSAGE(REPORT, report, &report->report));
}

/* Jobs may have much to bring home: a report does not wait for that for ever. */
static gboolean
is_late(const AgentClone *clone, gint64 asked)
{
  return clone->worker == AGENT_WORKER_JOBS && g_get_monotonic_time() - asked >= JOBS_WAIT_MS * 1000;
}

/* Whether all is known that a report needs; what is not is found out. */
static gboolean
can_report(Agent *agent, gint64 asked)
{
  gboolean all = agent->settled;
  for (guint i = 0; agent->settled && i < agent->clones->len; i++) {
    AgentClone *clone = agent->clones->pdata[i];
    gboolean others = clone->taker && !clone->taker->own;
    if (others || clone->worker == AGENT_WORKER_SYNCS || is_late(clone, asked) ||
        agent_worker_waits(clone, AGENT_WORKER_LOOKS) || agent_clone_knows_pending(clone, asked))
      continue;
    if (clone->worker == AGENT_WORKER_NONE && !clone->taker)
      agent_worker_start(clone, AGENT_WORKER_LOOKS);
    all = all && clone->worker == AGENT_WORKER_NONE && !clone->taker;
  }
  return all;
}

void
agent_callers_turn(Agent *agent)
{
  for (guint i = 0; i < agent->callers->len; i++) {
    AgentCaller *caller = agent->callers->pdata[i];
    AgentClone *clone = caller->wants;
    if (clone && !clone->taker && clone->worker != AGENT_WORKER_LOOKS && clone->worker != AGENT_WORKER_SYNCS)
      give(caller, clone);
  }
  for (guint i = 0; i < agent->callers->len; i++) {
    AgentCaller *caller = agent->callers->pdata[i];
    if (caller->asked && can_report(agent, caller->asked))
      tell_report(caller);
  }
}

static gboolean
called(int listener, GIOCondition condition, gpointer data)
{
  Agent *agent = data;
  g_auto(Fd) fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  pid_t process;
  if (fd < 0 || !agent_place_is_own(fd, &process) || agent->callers->len >= CALLERS_MAX)
    return G_SOURCE_CONTINUE;
  AgentCaller *caller = g_new0(AgentCaller, 1);
  caller->agent = agent;
  caller->process = process;
  caller->fd = io_steal_fd(&fd);
  caller->input = g_byte_array_new();
  caller->output = g_byte_array_new();
  caller->in = g_unix_fd_add(caller->fd, G_IO_IN | G_IO_HUP | G_IO_ERR, readable, caller);
  g_ptr_array_add(agent->callers, caller);
  return G_SOURCE_CONTINUE;
}

gboolean
agent_callers_listen(Agent *agent, GError **error)
{
  if (!agent_place_take(&agent->lock, &agent->listener, error))
    return FALSE;
  agent->callers = g_ptr_array_new_with_free_func((GDestroyNotify)caller_free);
  g_unix_fd_add(agent->listener, G_IO_IN, called, agent);
  return TRUE;
}

void
agent_callers_end(Agent *agent)
{
  if (agent->callers)
    agent_place_leave();
  if (agent->waiting)
    g_source_remove(agent->waiting);
  g_clear_pointer(&agent->callers, g_ptr_array_unref);
  io_close(&agent->listener);
}
