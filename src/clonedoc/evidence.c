#include "clonedoc/evidence.h"

#include "base/error.h"
#include "wire/doc_evidence.pb-c.h"
#include "wire/message.h"

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
                               : check_history(wire, &head, evidence, error);
}

gboolean
doc_evidence_check(const void *data, gsize length, const IdentityPublic *server, DocEvidence *evidence,
                   GError **error)
{
  *evidence = (DocEvidence){0};
  Wire *wire = length <= DOC_EVIDENCE_MAX ? doppel__wire__doc_evidence__unpack(NULL, length, data) : NULL;
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
