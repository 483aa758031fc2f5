/* Reading again what is kept of a document: all of its entries go through a new replica, which checks chain,
 * signatures and seals as the first time, and has to come to the same history, text and heads. */
#include "base/clock.h"
#include "base/error.h"
#include "clonedoc/room/room_struct.h"

#define SLICE_MS 20 /* in one step: somebody may be typing */

struct RoomCheck {
  const RoomDocument *document;
  const DocDocument *of; /* the replica that was there at the beginning: only compared; NULL: not begun */
  DocDocument *copy, *state;
  guint64 last, damaged;
  char *damage; /* NULL: nothing was found */
  gint64 until;
};

/* What a fault means of an entry that was good when it was taken. */
static const char *const meanings[DOC_FAULTS] = {
    [DOC_FAULT_DAMAGED] = "it is no entry any more",
    [DOC_FAULT_OTHER] = "it is another document's",
    [DOC_FAULT_FORGED] = "its author's signature does not fit it",
    [DOC_FAULT_FORK] = "it does not follow from those before it, one of which may be the damaged one",
    [DOC_FAULT_DUPLICATE] = "its author's entries before it are others",
    [DOC_FAULT_DROPPED] = "its author's entries before it are others",
};

static gboolean G_GNUC_PRINTF(3, 4) found(RoomCheck *check, guint64 entry, const char *format, ...)
{
  va_list words;
  va_start(words, format);
  if (!check->damage) {
    check->damaged = entry;
    check->damage = g_strdup_vprintf(format, words);
  }
  va_end(words);
  return FALSE;
}

/* The replica as it was begun. */
static void
begin(RoomCheck *check)
{
  const RoomDocument *document = check->document;
  g_autoptr(GError) error = NULL;
  check->of = document->doc;
  check->last = doc_document_number(document->doc);
  check->copy = room_document_begin(document, &error);
  if (!check->copy) {
    found(check, document->start.number, "what it began with is damaged: %s", error->message);
    return;
  }
  check->state = room_kept_state(document, &error);
  if (!check->state)
    found(check, 0, "its state cannot be read: %s", error->message);
}

RoomCheck *
room_check_new(RoomDocument *document)
{
  RoomCheck *check = g_new0(RoomCheck, 1);
  check->document = document;
  return check;
}

static void
clear(RoomCheck *check)
{
  g_clear_pointer(&check->copy, doc_document_free);
  g_clear_pointer(&check->state, doc_document_free);
  g_clear_pointer(&check->damage, g_free);
  check->damaged = 0;
}

void
room_check_free(RoomCheck *check)
{
  clear(check);
  g_free(check);
}

/* The state that is kept is that after one of the entries. */
static gboolean
is_state(const RoomCheck *check)
{
  const DocHistory *history = doc_document_history(check->copy), *kept = doc_document_history(check->state);
  guint64 number = doc_document_number(check->copy);
  return doc_document_number(check->state) != number ||
         (doc_chain_equal(doc_history_chain(history, number), doc_history_chain(kept, number)) &&
          ot_text_equal(doc_document_committed(check->copy), doc_document_committed(check->state)));
}

/* Where the history that is in memory does not know the hash any more it shows at the next that it does. */
static gboolean
is_chained(const RoomCheck *check, guint64 number)
{
  const DocHistory *history = doc_document_history(check->of);
  return number < doc_history_first(history) ||
         doc_chain_equal(doc_history_chain(history, number),
                         doc_history_chain(doc_document_history(check->copy), number));
}

static gboolean
take(guint64 number, GBytes *entry, DocVerdict verdict, gint64 time, gpointer data)
{
  RoomCheck *check = data;
  g_autoptr(GError) error = NULL;
  g_auto(DocTaken) taken = {0};
  guint64 next = doc_document_number(check->copy) + 1;
  gsize length;
  const void *bytes = g_bytes_get_data(entry, &length);
  if (number < next) /* of before the checkpoint that it began with */
    return TRUE;
  if (number > next)
    return found(check, next, "it is missing");
  if (!doc_document_take(check->copy, number, bytes, length, &taken, &error)) {
    DocFault fault = doc_history_fault(doc_document_history(check->copy));
    return found(check, number, "%s", meanings[fault] ? meanings[fault] : error->message);
  }
  if (taken.verdict != verdict || !is_chained(check, number))
    return found(check, number, "it is not the one that was taken");
  if (!is_state(check))
    return found(check, 0, "its state is not what the entries up to %" G_GUINT64_FORMAT " make of it",
                 number);
  return clock_now_ns() < check->until;
}

/* What the server has signed is what is kept. */
static void
check_heads(RoomCheck *check)
{
  const DocHistory *history = doc_document_history(check->copy);
  g_auto(DocHead) head = {0}, ahead = {0};
  g_autoptr(GError) error = NULL;
  if (!room_kept_heads(check->document, &head, &ahead, &error))
    found(check, 0, "the server's signed heads cannot be read: %s", error->message);
  else if (head.packed && head.number >= doc_history_first(history) && head.number <= check->last &&
           !doc_chain_equal(&head.chain, doc_history_chain(history, head.number)))
    found(check, head.number, "it is not the one that the server has signed");
}

static void
end(RoomCheck *check)
{
  check_heads(check);
  /* Another text of the same entries has come from memory, not from the disk; it is no better. */
  if (!check->damage && doc_document_number(check->of) == check->last &&
      !ot_text_equal(doc_document_committed(check->of), doc_document_committed(check->copy)))
    found(check, 0, "the text is not what its entries make of it");
}

gboolean
room_check_step(RoomCheck *check)
{
  g_autoptr(GError) error = NULL;
  /* What this step has changed is not on the disk yet. */
  if (check->document->facts_dirty || check->document->state_dirty)
    return FALSE;
  if (check->of != check->document->doc) { /* at first, and where it went over to another history */
    clear(check);
    begin(check);
  }
  guint64 before = check->copy ? doc_document_number(check->copy) : 0;
  check->until = clock_now_ns() + MS(SLICE_MS);
  if (check->damage)
    return TRUE;
  if (before < check->last &&
      !room_entries_each(check->document, before + 1, check->last, take, check, &error))
    found(check, before + 1, "it cannot be read: %s", error->message);
  guint64 number = doc_document_number(check->copy);
  if (!check->damage && number == before && number < check->last)
    found(check, number + 1, "it is missing");
  if (!check->damage && number == check->last)
    end(check);
  return check->damage || number >= check->last;
}

void
room_check_progress(const RoomCheck *check, guint64 *number, guint64 *of)
{
  *of = check->last;
  *number = check->copy ? MIN(doc_document_number(check->copy), check->last) : 0;
}

const char *
room_check_damage(const RoomCheck *check, guint64 *entry)
{
  *entry = check->damaged;
  return check->damage;
}

guint
room_check_unread(const RoomCheck *check)
{
  return check->copy ? doc_document_unread(check->copy) : 0;
}
