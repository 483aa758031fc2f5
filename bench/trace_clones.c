#include "trace_clones.h"

#include <string.h>

#include "clonedoc/document.h"

/* An author's device shows what the history says that the author had seen; the clone is further on. */
typedef struct {
  IdentityKey *key;
  DocDocument *doc;
  OtText *device;
  GQueue unseen;  /* of Foreign: what the clone has shown and the device has not taken yet */
  GArray *steps;  /* the author's, of guint */
  guint done;     /* of them */
  guint64 last;   /* the number of the last entry of its own */
  guint32 *taken; /* by agent: how many steps of each the clone has taken */
} Author;

typedef struct {
  OtOp *op;
  guint agent, number; /* the how manieth of its agent */
} Foreign;

typedef struct {
  const Trace *trace;
  Author *authors;
  DocHistory *history; /* the server's */
  GPtrArray *entries;
  GArray *agents; /* who has written each entry; those before the first edit are nobody's */
} Room;

static void
must(gboolean good, const GError *error)
{
  if (!good)
    g_error("%s", error ? error->message : "an author's clone has nothing to send");
}

static void
foreign_free(gpointer data)
{
  Foreign *foreign = data;
  ot_op_free(foreign->op);
  g_free(foreign);
}

/* ---- the server ---- */

static void
publish(Room *room, GBytes *entry, guint agent)
{
  g_autoptr(GError) error = NULL;
  DocVerdict verdict;
  gsize length;
  must(entry != NULL, NULL);
  const void *data = g_bytes_get_data(entry, &length);
  g_autoptr(DocEnvelope) envelope = doc_envelope_decode(data, length, &error);
  must(envelope != NULL, error);
  must(doc_history_take(room->history, room->entries->len + 1, envelope, &verdict, &error), error);
  if (verdict != DOC_GOOD)
    g_error("entry %u is void: %s", room->entries->len + 1, doc_verdict_name(verdict));
  g_ptr_array_add(room->entries, entry);
  g_array_append_val(room->agents, agent);
}

/* ---- clones ---- */

static void
take_next(Room *room, guint agent)
{
  Author *author = &room->authors[agent];
  g_autoptr(GError) error = NULL;
  g_auto(DocTaken) taken = {0};
  guint64 number = doc_document_number(author->doc) + 1;
  gsize length;
  const void *data = g_bytes_get_data(room->entries->pdata[number - 1], &length);
  must(doc_document_take(author->doc, number, data, length, &taken, &error), error);
  guint by = g_array_index(room->agents, guint, number - 1);
  if (by == G_MAXUINT)
    return;
  author->taken[by]++;
  if (by == agent)
    return;
  Foreign *foreign = g_new(Foreign, 1);
  *foreign = (Foreign){taken.shown ? g_steal_pointer(&taken.shown) : ot_op_new(), by, author->taken[by]};
  g_queue_push_tail(&author->unseen, foreign);
}

/* Up to what the author had seen, and until the last entry of its own is back. */
static void
read_on(Room *room, guint agent, const TraceStep *step)
{
  Author *author = &room->authors[agent];
  gboolean behind = TRUE;
  while (behind) {
    behind = doc_document_number(author->doc) < author->last;
    for (guint other = 0; other < room->trace->agents; other++)
      behind |= other != agent && author->taken[other] < step->seen[other];
    if (behind)
      take_next(room, agent);
  }
}

/* ---- devices ---- */

static void
apply(const OtOp *op, OtText *text)
{
  g_autoptr(GError) error = NULL;
  must(ot_op_apply(op, text, &error), error);
}

/* The device takes what the author saw before this step; NULL: all there is. */
static void
show(Author *author, const TraceStep *step)
{
  for (Foreign *first; (first = g_queue_peek_head(&author->unseen)) &&
                       (!step || first->number <= step->seen[first->agent]);) {
    apply(first->op, author->device);
    foreign_free(g_queue_pop_head(&author->unseen));
  }
}

/* The device's operation as the clone takes it: over what the device has not seen. */
static OtOp *
carried(Author *author, OtOp *op)
{
  for (GList *each = author->unseen.head; each; each = each->next) {
    Foreign *foreign = each->data;
    OtOp *op_later, *foreign_later;
    ot_op_transform(foreign->op, op, &foreign_later, &op_later);
    ot_op_free(op);
    ot_op_free(foreign->op);
    op = op_later;
    foreign->op = foreign_later;
  }
  return op;
}

static void
type(Room *room, guint agent, const TraceStep *step)
{
  Author *author = &room->authors[agent];
  for (guint i = 0; i < step->patches; i++) {
    g_autoptr(GError) error = NULL;
    const TracePatch *patch = &g_array_index(room->trace->patches, TracePatch, step->patch + i);
    OtOp *op = ot_op_new_edit(patch->at, patch->deleted, patch->inserted, patch->bytes);
    apply(op, author->device);
    op = carried(author, op);
    must(doc_document_edit(author->doc, op, &error), error);
    ot_op_free(op);
  }
  GBytes *entry = doc_document_submit(author->doc);
  /* A step may change nothing. */
  if (!entry)
    g_error("a step of the history changes nothing");
  publish(room, entry, agent);
  author->last = room->entries->len;
}

/* ---- all of it ---- */

static void
found(Room *room)
{
  Author *owner = &room->authors[0];
  owner->doc = doc_document_create(owner->key, identity_key_public(owner->key));
  room->history = doc_history_new(doc_document_name(owner->doc));
  publish(room, doc_document_flight(owner->doc), G_MAXUINT);
  take_next(room, 0);
  for (guint i = 1; i < room->trace->agents; i++) {
    const IdentityPublic *key = identity_key_public(room->authors[i].key);
    DocMember member = {*key, *key, DOC_WRITER};
    must(doc_document_change(owner->doc, &member, 1, NULL), NULL);
    publish(room, doc_document_submit(owner->doc), G_MAXUINT);
    take_next(room, 0);
    room->authors[i].doc =
        doc_document_join(doc_document_name(owner->doc), room->authors[i].key, NULL, 0, NULL);
  }
  for (guint i = 1; i < room->trace->agents; i++)
    while (doc_document_number(room->authors[i].doc) < room->entries->len)
      take_next(room, i);
}

/* Whether all that the author saw before the next step is at the server. */
static gboolean
is_ready(const Room *room, guint agent)
{
  const Author *author = &room->authors[agent];
  if (author->done == author->steps->len)
    return FALSE;
  const TraceStep *step =
      &g_array_index(room->trace->steps, TraceStep, g_array_index(author->steps, guint, author->done));
  for (guint other = 0; other < room->trace->agents; other++)
    if (other != agent && step->seen[other] > room->authors[other].done)
      return FALSE;
  return TRUE;
}

static void
check(const Trace *trace, const OtText *text, const char *whose)
{
  g_autofree char *copy = ot_text_copy(text, 0, ot_text_length(text), NULL);
  if (strcmp(copy, trace->end) != 0)
    g_error("through clones: the text of a %s is not the history's", whose);
}

static void
finish(Room *room)
{
  for (guint agent = 0; agent < room->trace->agents; agent++) {
    Author *author = &room->authors[agent];
    while (doc_document_number(author->doc) < room->entries->len)
      take_next(room, agent);
    show(author, NULL);
    check(room->trace, author->device, "device");
    check(room->trace, doc_document_text(author->doc), "clone");
    doc_document_free(author->doc);
    identity_key_free(author->key);
    ot_text_free(author->device);
    g_array_unref(author->steps);
    g_free(author->taken);
  }
  doc_history_free(room->history);
  g_ptr_array_unref(room->entries);
  g_array_unref(room->agents);
  g_free(room->authors);
}

/* Of who could write next the first does: where two insert at one place, the lower agent's comes first then,
 * as in the histories. */
void
trace_through_clones(const Trace *trace)
{
  Room room = {.trace = trace, .authors = g_new0(Author, trace->agents)};
  room.entries = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  room.agents = g_array_new(FALSE, FALSE, sizeof(guint));
  for (guint agent = 0; agent < trace->agents; agent++) {
    guint8 seed[IDENTITY_SEED_LENGTH] = {(guint8)agent, (guint8)(agent >> 8)};
    Author *author = &room.authors[agent];
    author->key = identity_key_from_seed(seed);
    author->device = ot_text_new();
    g_queue_init(&author->unseen);
    author->steps = g_array_new(FALSE, FALSE, sizeof(guint));
    author->taken = g_new0(guint32, trace->agents);
  }
  for (guint i = 0; i < trace->steps->len; i++)
    g_array_append_val(room.authors[g_array_index(trace->steps, TraceStep, i).agent].steps, i);
  found(&room);
  for (guint agent = 0; agent < trace->agents; agent++) {
    Author *author = &room.authors[agent];
    if (!is_ready(&room, agent))
      continue;
    const TraceStep *step =
        &g_array_index(trace->steps, TraceStep, g_array_index(author->steps, guint, author->done));
    read_on(&room, agent, step);
    show(author, step);
    type(&room, agent, step);
    author->done++;
    agent = G_MAXUINT; /* from the first again */
  }
  finish(&room);
}
