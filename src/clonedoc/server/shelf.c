#include "clonedoc/server/shelf.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"

#define RECENT_MAX   64u /* entries */
#define RECENT_BYTES (256u << 10)

struct DocShelf {
  guint most;
  GDestroyNotify drop; /* of what waits */
  GHashTable *open;    /* DocName → DocOpen */
  GQueue used;         /* the one that was used last at the head */
  GQueue reading;      /* of DocOpen */
};

/* ---- one document ---- */

static void
forget(DocOpen *open)
{
  g_clear_pointer(&open->history, doc_history_free);
  g_clear_pointer(&open->authors, g_hash_table_unref);
  g_clear_pointer(&open->unsettled, doc_envelope_free);
  g_clear_pointer(&open->words, g_free);
  g_queue_clear_full(&open->recent, (GDestroyNotify)g_bytes_unref);
  doc_head_clear(&open->head);
  open->recent_bytes = 0;
  open->bytes = 0;
}

static void
begin(DocOpen *open)
{
  forget(open);
  open->history = doc_history_new(&open->name);
  open->authors = g_hash_table_new_full(identity_public_hash, identity_public_same, g_free,
                                        (GDestroyNotify)g_array_unref);
}

static void
open_free(gpointer data)
{
  DocOpen *open = data;
  forget(open);
  g_ptr_array_unref(open->follows);
  g_free(open);
}

guint64
doc_open_number(const DocOpen *open, const IdentityPublic *author, guint64 sequence)
{
  const GArray *numbers = g_hash_table_lookup(open->authors, author);
  return numbers && sequence > 0 && sequence <= numbers->len ? g_array_index(numbers, guint64, sequence - 1)
                                                             : 0;
}

/* A member's entries have sequences without gaps, or the history would not have taken them. */
static void
note_author(DocOpen *open, const IdentityPublic *author, guint64 sequence, guint64 number)
{
  GArray *numbers = g_hash_table_lookup(open->authors, author);
  if (!numbers) {
    numbers = g_array_new(FALSE, TRUE, sizeof(guint64));
    g_hash_table_insert(open->authors, g_memdup2(author, sizeof *author), numbers);
  }
  if (sequence == numbers->len + 1)
    g_array_append_val(numbers, number);
}

void
doc_open_add(DocOpen *open, const IdentityPublic *author, guint64 sequence, guint64 number, GBytes *entry)
{
  gsize length = g_bytes_get_size(entry);
  note_author(open, author, sequence, number);
  doc_head_clear(&open->head);
  open->bytes += length;
  open->recent_bytes += length;
  g_queue_push_tail(&open->recent, g_bytes_ref(entry));
  while (open->recent.length > RECENT_MAX || (open->recent.length > 1 && open->recent_bytes > RECENT_BYTES)) {
    g_autoptr(GBytes) oldest = g_queue_pop_head(&open->recent);
    open->recent_bytes -= g_bytes_get_size(oldest);
  }
}

GBytes *
doc_open_recent(const DocOpen *open, guint64 number)
{
  guint64 last = doc_history_number(open->history);
  if (number > last || last - number >= open->recent.length)
    return NULL;
  return g_queue_peek_nth((GQueue *)&open->recent, (guint)(open->recent.length - 1 - (last - number)));
}

/* ---- reading ---- */

static gboolean
take_stored(DocOpen *open, GBytes *entry, GError **error)
{
  DocVerdict verdict;
  gsize length;
  const void *bytes = g_bytes_get_data(entry, &length);
  g_autoptr(DocEnvelope) envelope = doc_envelope_decode(bytes, length, error);
  guint64 number = doc_history_number(open->history) + 1;
  if (!envelope || !doc_history_take_again(open->history, number, envelope, &verdict, error))
    return FALSE;
  doc_open_add(open, &envelope->author, envelope->sequence, number, entry);
  return TRUE;
}

static gboolean
take_slice(DocOpen *open, const GPtrArray *entries, GError **error)
{
  for (guint i = 0; i < entries->len; i++)
    if (!take_stored(open, entries->pdata[i], error)) {
      g_prefix_error(error, "what the log of documents holds is damaged: ");
      return FALSE;
    }
  return TRUE;
}

/* Behind one that is not full was nothing, when it was read. An empty one is not waited for: other servers
 * may append as fast as this one reads. */
static gboolean
is_full(const GPtrArray *entries)
{
  gsize sum = 0;
  for (guint i = 0; i < entries->len; i++)
    sum += g_bytes_get_size(entries->pdata[i]);
  return entries->len >= DOC_SLICE_ENTRIES || sum >= DOC_SLICE_BYTES;
}

DocOpen *
doc_shelf_next(DocShelf *shelf)
{
  return g_queue_pop_head(&shelf->reading);
}

void
doc_shelf_begin_anew(DocOpen *open)
{
  begin(open);
}

gboolean
doc_shelf_take(DocShelf *shelf, DocOpen *open, const GPtrArray *entries, const GError *why)
{
  g_autoptr(GError) error = NULL;
  open->doubted = FALSE;
  if (!why && !take_slice(open, entries, &error))
    why = error;
  if (!why && is_full(entries)) {
    g_queue_push_tail(&shelf->reading, open);
    return FALSE;
  }
  open->queued = FALSE;
  open->state = why ? DOC_OPEN_BROKEN : DOC_OPEN_READY;
  open->broken_at = clock_now_ns();
  g_free(open->words);
  open->words = g_strdup(why ? why->message : NULL);
  return TRUE;
}

static void
begin_reading(DocShelf *shelf, DocOpen *open)
{
  open->state = DOC_OPEN_READING;
  if (!open->queued)
    g_queue_push_tail(&shelf->reading, open);
  open->queued = TRUE;
}

void
doc_shelf_read_again(DocShelf *shelf, DocOpen *open, gboolean doubted)
{
  gboolean ahead = open->puts > 1 || (open->puts == 1 && !open->unsettled);
  if (ahead || open->state == DOC_OPEN_BROKEN)
    begin(open);
  g_clear_pointer(&open->unsettled, doc_envelope_free);
  open->puts = 0;
  open->doubted = doubted;
  begin_reading(shelf, open);
}

/* ---- all ---- */

static gboolean
is_pinned(const DocOpen *open)
{
  return open->follows->len > 0 || open->waiting.length > 0 || open->queued || open->puts > 0;
}

/* FALSE: all that are open are in use. */
static gboolean
make_room(DocShelf *shelf)
{
  GList *next;
  for (GList *link = shelf->used.tail; link && g_hash_table_size(shelf->open) >= shelf->most; link = next) {
    DocOpen *open = link->data;
    next = link->prev;
    if (!is_pinned(open))
      doc_shelf_close(shelf, open);
  }
  return g_hash_table_size(shelf->open) < shelf->most;
}

DocOpen *
doc_shelf_find(const DocShelf *shelf, const DocName *name)
{
  return g_hash_table_lookup(shelf->open, name);
}

DocOpen *
doc_shelf_open(DocShelf *shelf, const DocName *name)
{
  DocOpen *open = g_hash_table_lookup(shelf->open, name);
  if (open) {
    g_queue_unlink(&shelf->used, &open->used);
    g_queue_push_head_link(&shelf->used, &open->used);
    if (open->state == DOC_OPEN_BROKEN)
      doc_shelf_read_again(shelf, open, FALSE);
    return open;
  }
  if (!make_room(shelf))
    return NULL;
  open = g_new0(DocOpen, 1);
  open->name = *name;
  open->follows = g_ptr_array_new();
  open->used.data = open;
  begin(open);
  g_hash_table_insert(shelf->open, &open->name, open);
  g_queue_push_head_link(&shelf->used, &open->used);
  begin_reading(shelf, open);
  return open;
}

void
doc_shelf_close(DocShelf *shelf, DocOpen *open)
{
  if (is_pinned(open))
    return;
  g_queue_unlink(&shelf->used, &open->used);
  g_hash_table_remove(shelf->open, &open->name); /* frees it */
}

DocShelf *
doc_shelf_new(guint most, GDestroyNotify drop)
{
  DocShelf *shelf = g_new0(DocShelf, 1);
  shelf->most = most;
  shelf->drop = drop;
  shelf->open = g_hash_table_new_full(doc_name_hash, doc_name_is, NULL, open_free);
  return shelf;
}

void
doc_shelf_free(DocShelf *shelf)
{
  for (GList *link = shelf->used.head; link; link = link->next)
    g_queue_clear_full(&((DocOpen *)link->data)->waiting, shelf->drop);
  g_queue_clear(&shelf->reading);
  g_hash_table_unref(shelf->open);
  g_free(shelf);
}
