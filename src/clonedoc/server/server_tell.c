/* What an ordering server hands out: entries from a number on, once or as they come, and heads. */
#include "base/error.h"
#include "clonedoc/server/server_private.h"

#define UNWRITTEN_MAX (256u << 10) /* bytes: who takes less than comes gets it later, from the log */
#define UNREAD_MAX    (8u << 20)

/* From memory, where all of them are there. */
static gboolean
add_recent(DocAnswer *answer, const DocOpen *open, guint64 last)
{
  if (!doc_open_recent(open, answer->number) || last - answer->number >= DOC_ENTRIES_MAX)
    return FALSE;
  for (guint64 number = answer->number; number <= last; number++)
    g_ptr_array_add(answer->entries, g_bytes_ref(doc_open_recent(open, number)));
  return TRUE;
}

/* Entries from answer->number on, at most `count` (0: as many as fit), from memory or of those that were
 * `read`. FALSE: so many from there on have to be read. */
static gboolean
add_entries(DocOpen *open, DocAnswer *answer, guint *count, GPtrArray *read)
{
  guint64 end = doc_history_number(open->history);
  if (answer->number > end) {
    answer->number = 0;
    return TRUE;
  }
  guint64 last = *count > 0 && *count <= end - answer->number ? answer->number + *count - 1 : end;
  if (add_recent(answer, open, last))
    return TRUE;
  *count = (guint)MIN(last - answer->number + 1, DOC_ENTRIES_MAX);
  if (!read || read->len == 0 || read->len > *count)
    return FALSE;
  g_ptr_array_unref(answer->entries);
  answer->entries = g_ptr_array_ref(read);
  return TRUE;
}

/* Whoever asks and does not read is not to make anything wait for it (link_send() would, at a larger limit).
 */
static gboolean
may_take(const DocServer *server, const DocTask *task)
{
  const DocVisit *visit = link_door_find(server->door, task->visit);
  return visit && link_backlog(visit->base.link).kept <= UNREAD_MAX;
}

/* Documents that are followed stay open: a part of the room is kept for who only appends or reads. */
static gboolean
has_room(const DocServer *server, const DocOpen *open)
{
  guint most = server->options.open_max * 3 / 4;
  return open->follows->len > 0 || server->followed->len < MAX(most, 1);
}

static void
follow(DocServer *server, DocOpen *open, DocTask *task)
{
  DocVisit *visit = link_door_find(server->door, task->visit);
  if (visit && !has_room(server, open)) {
    doc_server_answer_briefly(server, task, DOC_STATUS(FULL), "this server has too many documents followed");
    return;
  }
  if (visit && visit->follows->len >= server->options.follows_max) {
    doc_server_answer_briefly(server, task, DOC_STATUS(FULL), "too many documents are followed");
    return;
  }
  if (visit) {
    DocFollow *made = g_new0(DocFollow, 1);
    *made = (DocFollow){.visit = visit, .open = open, .id = task->call->id, .next = task->call->from};
    g_ptr_array_add(visit->follows, made);
    if (open->follows->len == 0)
      g_ptr_array_add(server->followed, open);
    g_ptr_array_add(open->follows, made);
    doc_server_answered(server, visit);
    doc_server_tell_visit(server, visit);
  }
  doc_task_free(task);
}

/* Takes both. */
static void
tell_entries(DocServer *server, DocOpen *open, DocTask *task, DocAnswer *answer)
{
  guint count = task->call->count;
  gboolean was_read = task->read && task->first == task->call->from;
  answer->number = task->call->from;
  if (!may_take(server, task)) {
    answer->status = DOC_STATUS(BUSY);
  } else if (!add_entries(open, answer, &count, was_read ? task->read : NULL)) {
    if (!was_read) {
      doc_server_read(server, task, answer->number, count, DOC_BULK);
      doc_answer_free(answer);
      return;
    }
    doc_server_complain(server, "the log of documents has lost entries");
    answer->status = DOC_STATUS(FAILED);
  }
  if (answer->status != DOC_STATUS(OK))
    answer->number = 0;
  doc_server_answer(server, task, answer);
}

void
doc_server_tell(DocServer *server, DocOpen *open, DocTask *task)
{
  const DocCall *call = task->call;
  if (doc_history_number(open->history) > 0 && call->what == DOC_WHAT(FOLLOW)) {
    follow(server, open, task);
    return;
  }
  DocAnswer *answer = doc_answer_new(call->id, DOC_STATUS(OK), NULL);
  answer->head = g_bytes_ref(doc_server_head(server, open));
  if (doc_history_number(open->history) == 0)
    answer->status = DOC_STATUS(UNKNOWN);
  else if (call->what == DOC_WHAT(READ)) {
    tell_entries(server, open, task, answer);
    return;
  }
  doc_server_answer(server, task, answer);
}

static void
drop_read(DocFollow *follow)
{
  if (follow->read)
    follow->visit->reading = FALSE;
  g_clear_pointer(&follow->read, g_ptr_array_unref);
}

static void
forget(DocServer *server, DocFollow *follow)
{
  g_ptr_array_remove_fast(follow->visit->follows, follow);
  g_ptr_array_remove_fast(follow->open->follows, follow);
  if (follow->open->follows->len == 0)
    g_ptr_array_remove_fast(server->followed, follow->open);
  drop_read(follow);
  g_free(follow);
}

/* FALSE: it takes no more now, or what comes next has to be read; or was, and others may read first. */
static gboolean
tell_some(DocServer *server, DocFollow *follow)
{
  guint count = 0;
  g_autoptr(GPtrArray) read = NULL;
  LinkBacklog backlog = link_backlog(follow->visit->base.link);
  if (backlog.unwritten > UNWRITTEN_MAX || backlog.kept > UNREAD_MAX)
    return FALSE;
  g_autoptr(DocAnswer) answer = doc_answer_new(follow->id, DOC_STATUS(OK), NULL);
  answer->number = follow->next;
  read = follow->read ? g_ptr_array_ref(follow->read) : NULL;
  drop_read(follow);
  if (!add_entries(follow->open, answer, &count, read)) {
    if (!follow->visit->reading)
      doc_server_read_follow(server, follow, count, DOC_BULK);
    return FALSE;
  }
  follow->next += answer->entries->len;
  follow->greeted = TRUE;
  answer->head = g_bytes_ref(doc_server_head(server, follow->open));
  if (server->options.hand_out)
    server->options.hand_out(link_peer(follow->visit->base.link), &follow->open->name, answer,
                             server->options.data);
  g_autoptr(GBytes) bytes = doc_answer_encode(answer);
  /* A link that is dead says so when it is worked on. */
  return doc_message_send(follow->visit->base.link, bytes, NULL) && !read;
}

static void
tell_follow(DocServer *server, DocFollow *follow)
{
  /* A log that has lost its end: who follows has to be told, not left waiting for numbers to come again. */
  if (follow->greeted && follow->open->state == DOC_OPEN_READY &&
      follow->next > doc_history_number(follow->open->history) + 1) {
    follow->next = doc_history_number(follow->open->history) + 1;
    follow->greeted = FALSE;
    drop_read(follow);
  }
  while (follow->open->state == DOC_OPEN_READY &&
         (!follow->greeted || follow->next <= doc_history_number(follow->open->history)) &&
         tell_some(server, follow))
    ;
}

/* All of a connection, which have one read at a time among them: who follows much and takes little is not to
 * fill the memory, nor to keep others from the log. */
static void
tell_turns(DocServer *server, DocVisit *visit)
{
  gboolean was_reading;
  do {
    guint first = visit->turn;
    was_reading = visit->reading;
    for (guint i = 0; i < visit->follows->len; i++) {
      guint which = (first + i) % visit->follows->len;
      DocFollow *follow = visit->follows->pdata[which];
      gboolean may_read = !visit->reading;
      if (!follow->failed)
        tell_follow(server, follow);
      if (may_read && visit->reading)
        visit->turn = which + 1;
    }
  } while (was_reading && !visit->reading);
}

void
doc_server_tell_follows(DocServer *server, DocOpen *open)
{
  for (guint i = 0; i < open->follows->len; i++) {
    DocFollow *follow = open->follows->pdata[i];
    gboolean was_reading = follow->visit->reading;
    follow->failed = FALSE;
    if (open->state == DOC_OPEN_BROKEN)
      drop_read(follow);
    tell_follow(server, follow);
    if (was_reading && !follow->visit->reading)
      tell_turns(server, follow->visit);
  }
}

void
doc_server_tell_visit(DocServer *server, DocVisit *visit)
{
  for (guint i = 0; i < visit->follows->len; i++)
    ((DocFollow *)visit->follows->pdata[i])->failed = FALSE;
  tell_turns(server, visit);
}

/* Where nothing could be read, it is tried again when there is something to be told or the connection works.
 */
void
doc_server_tell_read(DocServer *server, guint64 visit_id, guint64 id, const DocName *document, guint64 from,
                     GPtrArray *entries)
{
  DocVisit *visit = link_door_find(server->door, visit_id);
  if (!visit)
    return;
  visit->reading = FALSE;
  for (guint i = 0; i < visit->follows->len; i++) {
    DocFollow *follow = visit->follows->pdata[i];
    if (follow->id != id || follow->next != from || !doc_name_equal(&follow->open->name, document))
      continue;
    follow->failed = !entries || entries->len == 0;
    follow->read = follow->failed ? NULL : g_ptr_array_ref(entries);
    visit->reading = !follow->failed;
    break;
  }
  tell_turns(server, visit);
}

void
doc_server_end_follows(DocServer *server, DocVisit *visit)
{
  while (visit->follows && visit->follows->len > 0)
    forget(server, visit->follows->pdata[0]);
}

void
doc_server_end_follow(DocServer *server, DocVisit *visit, guint64 id)
{
  gboolean was_reading = visit->reading;
  for (guint i = visit->follows->len; i-- > 0;)
    if (((DocFollow *)visit->follows->pdata[i])->id == id)
      forget(server, visit->follows->pdata[i]);
  if (was_reading && !visit->reading)
    tell_turns(server, visit);
}
