/* Evidence against an ordering server, as anybody may bring it: what one correct server has signed, and all
 * that its members have sealed, never shows a fault of it, however it is put together; of one that signed two
 * histories nothing is named but that. */
#include "clonedoc/document.h"
#include "clonedoc/evidence.h"
#include "input.h"
#include "wire/doc_evidence.pb-c.h"
#include "wire/message.h"

enum { ENTRIES = 5, HEADS = ENTRIES + 1, PARTS_MAX = 8 };

/* Two members' histories that are one up to the third entry, and both go on. */
typedef struct {
  GBytes *entries[ENTRIES];
  GBytes *heads[HEADS], *by_liar[HEADS];
  DocChain chains[HEADS];
} Side;

static IdentityKey *ann, *bob, *honest, *liar;
static Side sides[2];
static DocName name;

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

static void
take(DocDocument *doc, GBytes *entry)
{
  gsize length;
  const void *bytes = g_bytes_get_data(entry, &length);
  g_auto(DocTaken) taken = {0};
  demand(doc_document_take(doc, doc_document_number(doc) + 1, bytes, length, &taken, NULL));
}

static GBytes *
sign(const DocHistory *history, const IdentityKey *key)
{
  DocHead head;
  doc_head_sign(&head, history, key);
  return head.packed;
}

static void
add(Side *side, DocDocument *doc, GBytes *entry)
{
  const DocHistory *history = doc_document_history(doc);
  if (entry) {
    side->entries[doc_document_number(doc)] = g_bytes_ref(entry);
    take(doc, entry);
  }
  guint64 number = doc_document_number(doc);
  side->heads[number] = sign(history, honest);
  side->by_liar[number] = sign(history, liar);
  side->chains[number] = *doc_history_chain(history, number);
}

static void
type(Side *side, DocDocument *doc, const char *text)
{
  g_autoptr(OtOp) op = ot_op_new_edit(0, 0, text, strlen(text));
  demand(doc_document_edit(doc, op, NULL));
  g_autoptr(GBytes) entry = doc_document_submit(doc);
  add(side, doc, entry);
}

static IdentityKey *
key_of(guint8 number)
{
  guint8 seed[IDENTITY_SEED_LENGTH] = {number};
  return identity_key_from_seed(seed);
}

static void
prepare(void)
{
  ann = key_of(1);
  bob = key_of(2);
  honest = key_of(3);
  liar = key_of(4);
  g_autoptr(DocDocument) one = doc_document_create(ann, identity_key_public(ann));
  name = *doc_document_name(one);
  add(&sides[0], one, NULL);
  g_autoptr(GBytes) first = doc_document_flight(one);
  add(&sides[0], one, first);
  DocMember as = {*identity_key_public(bob), *identity_key_public(bob), DOC_WRITER};
  demand(doc_document_change(one, &as, 1, NULL));
  g_autoptr(GBytes) change = doc_document_submit(one);
  add(&sides[0], one, change);
  type(&sides[0], one, "common");
  sides[1] = sides[0];
  g_autoptr(DocDocument) two = doc_document_join(&name, bob, NULL, 0, NULL);
  for (guint i = 0; i < 3; i++)
    take(two, sides[0].entries[i]);
  for (guint i = 0; i < 2; i++) {
    type(&sides[0], one, "left");
    type(&sides[1], two, "right");
  }
}

static gboolean
check(const void *data, gsize length, const IdentityKey *server, DocEvidence *evidence)
{
  g_autoptr(GError) error = NULL;
  gboolean shows = doc_evidence_check(data, length, identity_key_public(server), evidence, &error);
  demand(shows == (error == NULL));
  return shows;
}

static ProtobufCBinaryData
some_bytes(Input *input)
{
  gsize length;
  const guint8 *bytes = input_blob(input, &length);
  return wire_borrow(bytes, length);
}

/* Of one history only where it is the honest server's: it has signed no other. */
static ProtobufCBinaryData
some_head(Input *input, gboolean lies)
{
  const Side *side = &sides[lies ? input_below(input, 2) : 0];
  guint which = input_below(input, HEADS + 2);
  if (which == HEADS)
    return (ProtobufCBinaryData){0};
  return which > HEADS ? some_bytes(input) : wire_borrow_bytes((lies ? side->by_liar : side->heads)[which]);
}

static ProtobufCBinaryData
some_chain(Input *input)
{
  guint which = input_below(input, HEADS + 1);
  const Side *side = &sides[input_below(input, 2)];
  return which == HEADS ? some_bytes(input) : wire_borrow(side->chains[which].bytes, DOC_CHAIN_LENGTH);
}

/* A run of a history's entries, or any of any. */
static guint
some_entries(Input *input, ProtobufCBinaryData *entries)
{
  guint count = input_below(input, PARTS_MAX), first = input_below(input, ENTRIES);
  const Side *side = &sides[input_below(input, 2)];
  gboolean mixed = input_below(input, 4) == 3;
  for (guint i = 0; i < count; i++) {
    if (mixed) {
      first = input_below(input, ENTRIES + 1);
      side = &sides[input_below(input, 2)];
    }
    entries[i] = mixed && first == ENTRIES
                     ? some_bytes(input)
                     : wire_borrow_bytes(side->entries[(first + (mixed ? 0 : i)) % ENTRIES]);
  }
  return count;
}

static void
try_parts(Input *input)
{
  ProtobufCBinaryData entries[PARTS_MAX];
  Doppel__Wire__DocEvidence wire = DOPPEL__WIRE__DOC_EVIDENCE__INIT;
  DocEvidence evidence;
  gboolean lies = input_below(input, 2);
  wire.version = 1 + input_below(input, 8) / 7;
  wire.head = some_head(input, lies);
  wire.shorter = some_head(input, lies);
  wire.chain = some_chain(input);
  wire.n_entries = some_entries(input, entries);
  wire.entries = entries;
  g_autoptr(GBytes) packed = wire_pack(&wire.base);
  gsize length;
  const guint8 *data = g_bytes_get_data(packed, &length);
  demand(!check(data, length, honest, &evidence));
  if (check(data, length, liar, &evidence))
    demand(lies && wire.shorter.len > 0 && evidence.fault == DOC_FAULT_TWO_HEADS &&
           doc_name_equal(&evidence.document, &name));
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  Input input = {data, length};
  DocEvidence evidence;
  if (!ann)
    prepare();
  if (input_below(&input, 4) > 0)
    try_parts(&input);
  else
    demand(!check(input.data, input.left, honest, &evidence));
  return 0;
}
