#include "clonedoc/evidence.h"

#include <string.h>

#include "base/error.h"
#include "wire/doc_evidence.pb-c.h"
#include "wire/message.h"
#include "wire/unpack.h"

#define VERSION 1

typedef Doppel__Wire__DocEvidence Wire;

static gboolean
refuse(GError **error, const char *why)
{
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                          "that is no evidence against the documents' server: %s", why);
}

/* ---- checking ---- */

/* The hash after all of the entries. */
static gboolean
fold(const Wire *wire, DocChain *chain)
{
  for (gsize i = 0; i < wire->n_entries; i++) {
    g_autoptr(DocEnvelope) envelope = doc_envelope_decode(wire->entries[i].data, wire->entries[i].len, NULL);
    if (!envelope)
      return FALSE;
    doc_envelope_chain(envelope, chain);
  }
  return TRUE;
}

static gboolean
check_heads(const Wire *wire, const DocHead *head, const IdentityPublic *server, DocEvidence *evidence,
            GError **error)
{
  g_auto(DocHead) shorter = {0};
  DocChain chain;
  if (!doc_head_decode(&shorter, wire->shorter.data, wire->shorter.len, server, error))
    return FALSE;
  if (!doc_name_equal(&shorter.document, &head->document) || shorter.number > head->number ||
      head->number - shorter.number != wire->n_entries || !wire_take(&wire->chain, chain.bytes, sizeof chain))
    return refuse(error, "its parts are of different histories");
  evidence->fault = DOC_FAULT_TWO_HEADS;
  evidence->number = shorter.number;
  if (doc_chain_equal(&chain, &shorter.chain))
    return refuse(error, "one history is the beginning of the other");
  return (fold(wire, &chain) && doc_chain_equal(&chain, &head->chain)) ||
         refuse(error, "the entries are not those that were signed");
}

/* The entries are what was signed; only then is it looked for what is wrong, which costs more. */
static gboolean
check_history(const Wire *wire, const DocHead *head, DocEvidence *evidence, GError **error)
{
  DocChain chain = {0};
  if (wire->n_entries != head->number || !fold(wire, &chain) || !doc_chain_equal(&chain, &head->chain))
    return refuse(error, "the entries are not those that were signed");
  g_autoptr(DocHistory) history = doc_history_new(&head->document);
  for (gsize i = 0; i < wire->n_entries; i++) {
    g_autoptr(DocEnvelope) envelope = doc_envelope_decode(wire->entries[i].data, wire->entries[i].len, NULL);
    DocVerdict verdict;
    evidence->number = i + 1;
    if (!doc_history_take(history, evidence->number, envelope, &verdict, NULL)) {
      evidence->fault = doc_history_fault(history);
      return TRUE;
    }
  }
  return refuse(error, "nothing is wrong with the history");
}

/* What is known where an entry of the part begins. */
typedef struct {
  DocChain chain;
  guint64 weight; /* of all edits of the part before it, void ones too: at least what the rules count */
} Place;

typedef struct {
  const DocName *document;
  guint64 first; /* the number of its first entry */
  GArray *places;
  GHashTable *sequences; /* author → the last one in the part */
} Part;

static const Place *
last_place(const Part *part)
{
  return &g_array_index(part->places, Place, part->places->len - 1);
}

/* The place at the entry's base, where a correct server holds its chain against that; NULL: it does not, or
 * that is before the part. */
static const Place *
base_of(const Part *part, const DocEnvelope *envelope)
{
  guint64 last = part->first + part->places->len - 2;
  if (envelope->base + 1 < part->first || last - envelope->base > DOC_BEHIND_MAX)
    return NULL;
  const Place *base = &g_array_index(part->places, Place, envelope->base + 1 - part->first);
  return last_place(part)->weight - base->weight <= DOC_BEHIND_BYTES ? base : NULL;
}

/* As the history's rules have it (history.c), of what can be said without knowing the members. */
static DocFault
look(const Part *part, const DocEnvelope *envelope)
{
  const guint64 *before = g_hash_table_lookup(part->sequences, &envelope->author);
  if (!doc_envelope_is_signed(envelope, part->document))
    return DOC_FAULT_FORGED;
  if (envelope->base == 0 || envelope->base > part->first + part->places->len - 2)
    return DOC_FAULT_FORK;
  const Place *base = base_of(part, envelope);
  if (base && !doc_chain_equal(&envelope->chain, &base->chain))
    return DOC_FAULT_FORK;
  if (before && envelope->sequence != *before + 1)
    return envelope->sequence <= *before ? DOC_FAULT_DUPLICATE : DOC_FAULT_DROPPED;
  return DOC_FAULT_NONE;
}

static void
pass(Part *part, const DocEnvelope *envelope)
{
  Place place = *last_place(part);
  doc_envelope_chain(envelope, &place.chain);
  if (envelope->kind == DOC_EDIT)
    place.weight += g_bytes_get_size(envelope->sealed);
  g_array_append_val(part->places, place);
  g_hash_table_replace(part->sequences, g_memdup2(&envelope->author, sizeof envelope->author),
                       g_memdup2(&envelope->sequence, sizeof envelope->sequence));
}

/* The chain before the part is what it is said to be: from no other do the entries lead to the one that was
 * signed. */
static gboolean
check_part(const Wire *wire, const DocHead *head, DocEvidence *evidence, GError **error)
{
  Place begin = {0};
  if (!wire_take(&wire->chain, &begin.chain, sizeof begin.chain) || wire->n_entries == 0 ||
      wire->n_entries >= head->number)
    return refuse(error, "it is damaged");
  DocChain chain = begin.chain;
  if (!fold(wire, &chain) || !doc_chain_equal(&chain, &head->chain))
    return refuse(error, "the entries are not those that were signed");
  g_autoptr(GArray) places = g_array_new(FALSE, FALSE, sizeof(Place));
  g_autoptr(GHashTable) sequences =
      g_hash_table_new_full(identity_public_hash, identity_public_same, g_free, g_free);
  Part part = {&head->document, head->number - wire->n_entries + 1, places, sequences};
  g_array_append_val(places, begin);
  for (gsize i = 0; i < wire->n_entries; i++) {
    g_autoptr(DocEnvelope) envelope = doc_envelope_decode(wire->entries[i].data, wire->entries[i].len, NULL);
    evidence->number = part.first + i;
    evidence->fault = look(&part, envelope);
    if (evidence->fault != DOC_FAULT_NONE)
      return TRUE;
    pass(&part, envelope);
  }
  return refuse(error, "nothing is wrong with this part of the history");
}

static gboolean
check(const Wire *wire, const IdentityPublic *server, DocEvidence *evidence, GError **error)
{
  g_auto(DocHead) head = {0};
  if (!wire || wire->version != VERSION)
    return refuse(error, "it is damaged");
  if (!doc_head_decode(&head, wire->head.data, wire->head.len, server, error))
    return FALSE;
  evidence->document = head.document;
  evidence->length = head.number;
  return wire->shorter.len > 0 ? check_heads(wire, &head, server, evidence, error)
         : wire->chain.len > 0 ? check_part(wire, &head, evidence, error)
                               : check_history(wire, &head, evidence, error);
}

gboolean
doc_evidence_check(const void *data, gsize length, const IdentityPublic *server, DocEvidence *evidence,
                   GError **error)
{
  *evidence = (DocEvidence){0};
  Wire *wire =
      length <= DOC_EVIDENCE_MAX ? wire_unpack(&doppel__wire__doc_evidence__descriptor, data, length) : NULL;
  gboolean good = check(wire, server, evidence, error);
  if (wire)
    doppel__wire__doc_evidence__free_unpacked(wire, NULL);
  return good;
}

/* ---- making ---- */

/* What shows nothing is not handed out. */
static GBytes *
pack(Wire *wire, const GPtrArray *entries, const IdentityPublic *server, GError **error)
{
  guint count = entries ? entries->len : 0;
  g_autofree ProtobufCBinaryData *of_entries = g_new(ProtobufCBinaryData, count);
  gsize bytes = 0;
  DocEvidence evidence;
  for (guint i = 0; i < count; i++) {
    of_entries[i] = wire_borrow_bytes(entries->pdata[i]);
    bytes += of_entries[i].len + 8;
  }
  if (bytes > DOC_EVIDENCE_MAX - 2 * DOC_HEAD_MAX) {
    doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "the evidence would be too long");
    return NULL;
  }
  wire->version = VERSION;
  wire->entries = of_entries;
  wire->n_entries = count;
  if (!check(wire, server, &evidence, NULL)) {
    doppel_error_set(error, DOPPEL_ERROR_MISMATCH, "this is no evidence against the documents' server");
    return NULL;
  }
  return wire_pack(&wire->base);
}

GBytes *
doc_evidence_of_heads(const DocHead *a, const DocHead *b, const DocChain *chain, const GPtrArray *entries,
                      const IdentityPublic *server, GError **error)
{
  Wire wire = DOPPEL__WIRE__DOC_EVIDENCE__INIT;
  wire.head = wire_borrow_bytes(b->packed);
  wire.shorter = wire_borrow_bytes(a->packed);
  wire.chain = wire_borrow(chain->bytes, sizeof chain->bytes);
  return pack(&wire, entries, server, error);
}

GBytes *
doc_evidence_of_history(const DocHead *head, const GPtrArray *entries, const IdentityPublic *server,
                        GError **error)
{
  Wire wire = DOPPEL__WIRE__DOC_EVIDENCE__INIT;
  wire.head = wire_borrow_bytes(head->packed);
  return pack(&wire, entries, server, error);
}

GBytes *
doc_evidence_of_part(const DocHead *head, const DocChain *chain, const GPtrArray *entries,
                     const IdentityPublic *server, GError **error)
{
  Wire wire = DOPPEL__WIRE__DOC_EVIDENCE__INIT;
  wire.head = wire_borrow_bytes(head->packed);
  wire.chain = wire_borrow(chain->bytes, sizeof chain->bytes);
  return pack(&wire, entries, server, error);
}
