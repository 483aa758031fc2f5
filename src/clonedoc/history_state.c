/* A history as bytes, to go on from (history.h). */
#include <string.h>

#include "base/error.h"
#include "clonedoc/history_struct.h"
#include "wire/doc.pb-c.h"
#include "wire/message.h"

#define VERSION 1

/* ---- packing ---- */

/* The arrays of pointers that protobuf-c wants, and what they point to. */
typedef struct {
  GPtrArray *authors; /* of DocAuthor, by key */
  Doppel__Wire__DocMember *members;
  Doppel__Wire__DocAuthor *wire, **of_wire;
  GArray *by, *weights; /* of guint32 */
  GByteArray *chains;
} Packing;

static void
packing_clear(Packing *packing)
{
  g_clear_pointer(&packing->authors, g_ptr_array_unref);
  g_free(packing->members);
  g_free(packing->wire);
  g_free(packing->of_wire);
  g_clear_pointer(&packing->by, g_array_unref);
  g_clear_pointer(&packing->weights, g_array_unref);
  g_clear_pointer(&packing->chains, g_byte_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Packing, packing_clear)

static int
compare_authors(gconstpointer a, gconstpointer b)
{
  const DocAuthor *const *one = a, *const *two = b;
  return memcmp(&(*one)->member.key, &(*two)->member.key, sizeof(IdentityPublic));
}

/* The sequence that an author had after entry `at`. */
static guint64
sequence_at(const DocHistory *history, const DocAuthor *author, guint64 at)
{
  guint64 later = 0;
  for (guint64 number = at + 1; number <= doc_history_number(history); number++)
    later += doc_history_place(history, number)->author == author;
  return author->sequence - later;
}

static void
pack_authors(Packing *packing, const DocHistory *history, guint64 at)
{
  GHashTableIter iter;
  gpointer value;
  packing->authors = g_ptr_array_new();
  g_hash_table_iter_init(&iter, history->authors);
  while (g_hash_table_iter_next(&iter, NULL, &value))
    g_ptr_array_add(packing->authors, value);
  g_ptr_array_sort(packing->authors, compare_authors);
  guint count = packing->authors->len;
  packing->members = g_new(Doppel__Wire__DocMember, count);
  packing->wire = g_new(Doppel__Wire__DocAuthor, count);
  packing->of_wire = g_new(Doppel__Wire__DocAuthor *, count);
  for (guint i = 0; i < count; i++) {
    const DocAuthor *author = packing->authors->pdata[i];
    packing->members[i] = (Doppel__Wire__DocMember)DOPPEL__WIRE__DOC_MEMBER__INIT;
    packing->members[i].user = wire_borrow(author->member.user.bytes, sizeof(IdentityPublic));
    packing->members[i].key = wire_borrow(author->member.key.bytes, sizeof(IdentityPublic));
    packing->members[i].role = (Doppel__Wire__DocRole)author->member.role;
    packing->wire[i] = (Doppel__Wire__DocAuthor)DOPPEL__WIRE__DOC_AUTHOR__INIT;
    packing->wire[i].member = &packing->members[i];
    packing->wire[i].sequence = sequence_at(history, author, at);
    packing->of_wire[i] = &packing->wire[i];
  }
}

static void
pack_places(Packing *packing, const DocHistory *history, guint64 from, guint64 to)
{
  g_autoptr(GHashTable) index = g_hash_table_new(NULL, NULL);
  for (guint i = 0; i < packing->authors->len; i++)
    g_hash_table_insert(index, packing->authors->pdata[i], GUINT_TO_POINTER(i + 1));
  packing->by = g_array_new(FALSE, FALSE, sizeof(guint32));
  packing->weights = g_array_new(FALSE, FALSE, sizeof(guint32));
  packing->chains = g_byte_array_new();
  for (guint64 number = from; number <= to; number++) {
    const DocPlace *place = doc_history_place(history, number);
    g_byte_array_append(packing->chains, place->chain.bytes, DOC_CHAIN_LENGTH);
    if (number == from)
      continue;
    guint32 by = GPOINTER_TO_UINT(g_hash_table_lookup(index, place->author));
    guint32 weight = (guint32)(place->weight - doc_history_place(history, number - 1)->weight);
    g_array_append_val(packing->by, by);
    g_array_append_val(packing->weights, weight);
  }
}

GBytes *
doc_history_pack(const DocHistory *history, guint64 at, guint window)
{
  guint64 from = MAX(history->first, at - MIN(at, window));
  if (at == 0 || at < history->members_at || from > at || (from > 0 && at - from < DOC_BEHIND_MAX))
    return NULL;
  g_auto(Packing) packing = {0};
  pack_authors(&packing, history, at);
  pack_places(&packing, history, from, at);
  Doppel__Wire__DocHistoryState wire = DOPPEL__WIRE__DOC_HISTORY_STATE__INIT;
  wire.version = VERSION;
  wire.document = wire_borrow(history->document.bytes, sizeof history->document.bytes);
  wire.number = at;
  wire.epoch = history->epoch;
  wire.members_at = history->members_at;
  wire.authors = packing.of_wire;
  wire.n_authors = packing.authors->len;
  wire.chains = wire_borrow(packing.chains->data, packing.chains->len);
  wire.by = (guint32 *)packing.by->data;
  wire.n_by = packing.by->len;
  wire.weights = (guint32 *)packing.weights->data;
  wire.n_weights = packing.weights->len;
  return wire_pack(&wire.base);
}

/* ---- taking ---- */

static gboolean
take_author(DocHistory *history, const Doppel__Wire__DocAuthor *from, GPtrArray *authors)
{
  DocMember member;
  if (!from->member || from->member->role < DOPPEL__WIRE__DOC_ROLE__DOC_NONE ||
      from->member->role > DOPPEL__WIRE__DOC_ROLE__DOC_OWNER ||
      from->sequence > doc_history_number(history) ||
      !wire_take(&from->member->user, member.user.bytes, sizeof member.user.bytes) ||
      !wire_take(&from->member->key, member.key.bytes, sizeof member.key.bytes) ||
      g_hash_table_contains(history->authors, &member.key))
    return FALSE;
  member.role = (DocRole)from->member->role;
  DocAuthor *author = doc_history_add_author(history, &member);
  author->sequence = from->sequence;
  g_ptr_array_add(authors, author);
  return TRUE;
}

/* Somebody owns it, and there are not too many. */
static gboolean
members_fit(const DocHistory *history)
{
  g_autoptr(GArray) members = doc_history_members(history);
  guint owners = 0;
  for (guint i = 0; i < members->len; i++)
    owners += g_array_index(members, DocMember, i).role == DOC_OWNER;
  return owners > 0 && members->len <= DOC_MEMBERS_MAX;
}

static gboolean
take_places(DocHistory *history, const Doppel__Wire__DocHistoryState *wire, guint window, GPtrArray *authors)
{
  static const DocChain none;
  gsize count = wire->n_by;
  if (count > window || wire->n_weights != count || wire->chains.len != (count + 1) * DOC_CHAIN_LENGTH ||
      count > wire->number || (count < wire->number && count < DOC_BEHIND_MAX))
    return FALSE;
  history->first = wire->number - count;
  DocPlace place = {.weight = 0};
  for (gsize i = 0; i <= count; i++) {
    memcpy(place.chain.bytes, wire->chains.data + i * DOC_CHAIN_LENGTH, DOC_CHAIN_LENGTH);
    place.author = NULL;
    if (i > 0 && (wire->by[i - 1] > authors->len || wire->weights[i - 1] > DOC_BODY_MAX))
      return FALSE;
    if (i > 0 && wire->by[i - 1] > 0)
      place.author = authors->pdata[wire->by[i - 1] - 1];
    place.weight += i > 0 ? wire->weights[i - 1] : 0;
    g_array_append_val(history->places, place);
  }
  return history->first > 0 || doc_chain_equal(doc_history_chain(history, 0), &none);
}

/* No author has fewer entries than are there. */
static gboolean
sequences_fit(const DocHistory *history)
{
  GHashTableIter iter;
  gpointer value;
  g_autoptr(GHashTable) counts = g_hash_table_new(NULL, NULL);
  for (guint i = 1; i < history->places->len; i++) {
    gpointer author = (gpointer)g_array_index(history->places, DocPlace, i).author;
    guint count = GPOINTER_TO_UINT(g_hash_table_lookup(counts, author));
    g_hash_table_insert(counts, author, GUINT_TO_POINTER(count + 1));
  }
  g_hash_table_iter_init(&iter, history->authors);
  while (g_hash_table_iter_next(&iter, NULL, &value))
    if (((const DocAuthor *)value)->sequence < GPOINTER_TO_UINT(g_hash_table_lookup(counts, value)))
      return FALSE;
  return TRUE;
}

static gboolean
take_wire(DocHistory *history, const Doppel__Wire__DocHistoryState *wire, guint window)
{
  g_autoptr(GPtrArray) authors = g_ptr_array_new();
  if (wire->version != VERSION || wire->document.len != DOC_NAME_LENGTH ||
      memcmp(wire->document.data, history->document.bytes, DOC_NAME_LENGTH) != 0 || wire->number == 0 ||
      wire->number > G_MAXINT64 || wire->epoch == 0 || wire->epoch > DOC_EPOCHS_MAX ||
      wire->members_at == 0 || wire->members_at > wire->number)
    return FALSE;
  /* That many entries, of which only the last ones get places. */
  history->first = wire->number + 1;
  for (gsize i = 0; i < wire->n_authors; i++)
    if (!take_author(history, wire->authors[i], authors))
      return FALSE;
  history->epoch = wire->epoch;
  history->members_at = wire->members_at;
  return take_places(history, wire, window, authors) && members_fit(history) && sequences_fit(history);
}

DocHistory *
doc_history_unpack(const void *data, gsize length, const DocName *document, guint window, GError **error)
{
  g_autoptr(DocHistory) history = doc_history_new(document);
  g_array_set_size(history->places, 0);
  Doppel__Wire__DocHistoryState *wire = doppel__wire__doc_history_state__unpack(NULL, length, data);
  gboolean taken = wire && take_wire(history, wire, window);
  if (wire)
    doppel__wire__doc_history_state__free_unpacked(wire, NULL);
  if (!taken) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "what is said of a document's history is damaged");
    return NULL;
  }
  return g_steal_pointer(&history);
}

guint64
doc_history_signed(const DocHistory *history)
{
  return history->signed_number;
}

void
doc_history_set_signed(DocHistory *history, guint64 number, DocFault fault)
{
  history->signed_number = number;
  history->fault = fault;
}
