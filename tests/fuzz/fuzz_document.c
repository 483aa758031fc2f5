/* Replicas of a document: states, checkpoints and edits from anybody, and two members who do anything in any
 * order. Whatever comes, what is loaded can be worked with, and both come to one text. */
#include "clonedoc/document_struct.h"
#include "input.h"

enum { ENTRIES_MAX = 64 };

static IdentityKey *ann, *bob;
static GBytes *anns, *bobs, *body; /* states of both, at one entry, and a checkpoint's body there */
static DocName name;

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

static DocDocument *
load(const IdentityKey *key, GBytes *state)
{
  gsize length;
  const void *bytes = g_bytes_get_data(state, &length);
  DocDocument *doc = doc_document_load(key, bytes, length, NULL);
  demand(doc != NULL);
  return doc;
}

static gboolean
take(DocDocument *doc, guint64 number, GBytes *entry)
{
  gsize length;
  const void *bytes = g_bytes_get_data(entry, &length);
  g_auto(DocTaken) taken = {0};
  return doc_document_take(doc, number, bytes, length, &taken, NULL);
}

/* Ann's document, with Bob and some text in it. */
static void
prepare(void)
{
  guint8 seed[IDENTITY_SEED_LENGTH] = {1};
  ann = identity_key_from_seed(seed);
  seed[0] = 2;
  bob = identity_key_from_seed(seed);
  g_autoptr(DocDocument) one = doc_document_create(ann, identity_key_public(ann));
  g_autoptr(GBytes) first = doc_document_flight(one);
  DocMember as = {*identity_key_public(bob), *identity_key_public(bob), DOC_OWNER};
  demand(take(one, 1, first) && doc_document_change(one, &as, 1, NULL));
  g_autoptr(GBytes) change = doc_document_submit(one);
  g_autoptr(OtOp) text = ot_op_new_edit(0, 0, "some text", 9);
  demand(take(one, 2, change) && doc_document_edit(one, text, NULL));
  g_autoptr(GBytes) edit = doc_document_submit(one);
  name = *doc_document_name(one);
  g_autoptr(DocDocument) two = doc_document_join(&name, bob, NULL, 0, NULL);
  demand(take(one, 3, edit) && take(two, 1, first) && take(two, 2, change) && take(two, 3, edit));
  anns = doc_document_save(one);
  bobs = doc_document_save(two);
  body = doc_document_checkpoint_body(one);
}

static GBytes *
seal(const DocDocument *doc, DocKind kind, const void *bytes, gsize length)
{
  g_autoptr(DocEnvelope) envelope = doc_document_envelope(doc, kind);
  doc_document_seal(doc, envelope, bytes, length);
  return doc_envelope_pack(envelope);
}

static void
type(DocDocument *doc, Input *input)
{
  gsize length = ot_text_length(doc_document_text(doc));
  gsize at = MIN(length, input_below(input, 32)), deleted = MIN(length - at, input_below(input, 4));
  g_autoptr(OtOp) op = ot_op_new_edit(at, deleted, "xyz", input_below(input, 4));
  doc_document_edit(doc, op, NULL);
}

/* What was loaded goes on, and is loaded again as it was. */
static void
work(DocDocument *doc, Input *input)
{
  type(doc, input);
  g_autoptr(GBytes) entry = doc_document_submit(doc), state = doc_document_save(doc);
  g_autoptr(DocDocument) again = load(ann, state);
  demand(ot_text_equal(doc_document_text(doc), doc_document_text(again)) &&
         doc_document_number(doc) == doc_document_number(again));
  g_autoptr(GBytes) flight = doc_document_flight(doc);
  demand(!entry || g_bytes_equal(entry, flight));
  if (flight)
    take(doc, doc_document_number(doc) + 1, flight);
}

/* The bytes that are left, or these with some of them changed. */
static GByteArray *
bytes_of(Input *input, GBytes *valid)
{
  gsize length;
  GByteArray *bytes = g_byte_array_new();
  if (!valid) {
    const guint8 *all = input_bytes(input, input->left, &length);
    g_byte_array_append(bytes, all, (guint)length);
    return bytes;
  }
  const guint8 *from = g_bytes_get_data(valid, &length);
  g_byte_array_append(bytes, from, (guint)length);
  for (guint count = input_below(input, 8); count > 0; count--) {
    gsize at = input_number(input, 2) % bytes->len;
    bytes->data[at] = (guint8)input_number(input, 1);
  }
  return bytes;
}

static void
try_state(Input *input, GBytes *valid)
{
  g_autoptr(GByteArray) bytes = bytes_of(input, valid);
  g_autoptr(DocDocument) doc = doc_document_load(ann, bytes->data, bytes->len, NULL);
  if (doc)
    work(doc, input);
}

static void
try_own(Input *input, GBytes *valid)
{
  g_autoptr(GByteArray) bytes = bytes_of(input, valid);
  g_autoptr(DocDocument) doc = load(ann, anns);
  guint64 number;
  demand(doc_own_number(bytes->data, bytes->len, &number, NULL) ||
         !doc_document_load_own(doc, bytes->data, bytes->len, NULL));
  doc_document_load_own(doc, bytes->data, bytes->len, NULL);
  work(doc, input);
}

static void
try_history(Input *input, GBytes *valid)
{
  g_autoptr(GByteArray) bytes = bytes_of(input, valid);
  g_autoptr(DocHistory) history = doc_history_unpack(bytes->data, bytes->len, &name, DOC_BEHIND_MAX, NULL);
  if (!history)
    return;
  g_autoptr(GBytes) packed = doc_history_pack(history, doc_history_number(history), DOC_BEHIND_MAX);
  gsize length;
  const void *again = packed ? g_bytes_get_data(packed, &length) : NULL;
  g_autoptr(DocHistory) other =
      packed ? doc_history_unpack(again, length, &name, DOC_BEHIND_MAX, NULL) : NULL;
  demand(other && doc_history_number(other) == doc_history_number(history));
}

/* Bob makes a checkpoint of anything; Ann looks at it, and begins with it herself. */
static void
try_checkpoint(Input *input, GBytes *valid)
{
  g_autoptr(GByteArray) bytes = bytes_of(input, valid);
  g_autoptr(DocDocument) one = load(ann, anns), two = load(bob, bobs);
  g_autoptr(GBytes) entry = seal(two, DOC_CHECKPOINT, bytes->data, bytes->len);
  demand(take(one, 4, entry));
  gsize length;
  const void *packed = g_bytes_get_data(entry, &length);
  g_autoptr(DocEnvelope) envelope = doc_envelope_decode(packed, length, NULL);
  g_autoptr(DocDocument) late = doc_document_new(doc_history_new(&name), ann);
  DocCheckpoint at = {4, {{0}}};
  doc_entry_digest(envelope, &at.digest);
  doc_keyring_free(late->ring);
  late->ring = g_steal_pointer(&one->ring);
  one->ring = doc_keyring_new();
  if (!doc_document_start(late, &at, packed, length, NULL)) {
    demand(doc_document_number(late) == 0);
    return;
  }
  if (take(late, 4, entry))
    work(late, input);
}

/* ---- two members ---- */

typedef struct {
  DocDocument *docs[2], *server;
  GPtrArray *entries; /* after the third */
} Pair;

static void
read_on(Pair *pair, guint who, guint count)
{
  DocDocument *doc = pair->docs[who];
  for (; count > 0 && doc_document_number(doc) < 3 + pair->entries->len; count--) {
    guint64 number = doc_document_number(doc) + 1;
    if (!take(doc, number, pair->entries->pdata[number - 4]))
      return;
  }
}

/* As a server does: what the history allows gets the next number. */
static void
give_number(Pair *pair, GBytes *entry)
{
  gsize length;
  const void *bytes = g_bytes_get_data(entry, &length);
  g_autoptr(DocEnvelope) envelope = doc_envelope_decode(bytes, length, NULL);
  DocVerdict verdict;
  DocFault fault;
  if (pair->entries->len >= ENTRIES_MAX ||
      !doc_history_would_take(pair->server->history, envelope, &verdict, &fault))
    return;
  g_ptr_array_add(pair->entries, g_bytes_ref(entry));
  demand(take(pair->server, 3 + pair->entries->len, entry));
}

static void
send(Pair *pair, guint who)
{
  g_autoptr(GBytes) entry = doc_document_submit(pair->docs[who]);
  if (!entry)
    entry = doc_document_flight(pair->docs[who]);
  if (entry)
    give_number(pair, entry);
}

/* Of Bob's role, by Ann or himself. */
static void
change(DocDocument *doc, DocRole role)
{
  DocMember as = {*identity_key_public(bob), *identity_key_public(bob), role};
  doc_document_change(doc, &as, 1, NULL);
}

static void
step(Pair *pair, Input *input)
{
  guint who = input_below(input, 2);
  DocDocument *doc = pair->docs[who];
  g_autoptr(GBytes) made = NULL;
  gsize length;
  const guint8 *bytes;
  switch (input_below(input, 7)) {
  case 0:
    type(doc, input);
    break;
  case 1:
    send(pair, who);
    break;
  case 2:
    read_on(pair, who, input_below(input, 4));
    break;
  case 3: /* beside its replica, a member sends anything */
    bytes = input_blob(input, &length);
    if (!doc_keyring_has(doc->ring, doc_history_epoch(doc->history)))
      break;
    made = seal(doc, DOC_EDIT, bytes, length);
    give_number(pair, made);
    break;
  case 4:
    made = doc_document_save(doc);
    doc_document_free(doc);
    pair->docs[who] = load(who == 0 ? ann : bob, made);
    break;
  case 5:
    doc_document_checkpoint(doc, NULL);
    break;
  case 6:
    change(doc, (DocRole)input_below(input, 4));
    break;
  }
}

static void
try_pair(Input *input)
{
  Pair pair = {{load(ann, anns), load(bob, bobs)}, load(ann, anns), NULL};
  pair.entries = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  for (guint i = 0; i < 200 && input->left > 0; i++)
    step(&pair, input);
  for (guint i = 0; i < 2; i++)
    read_on(&pair, i, G_MAXUINT);
  gboolean removed = doc_document_is_removed(pair.docs[0]) || doc_document_is_removed(pair.docs[1]);
  demand(removed ||
         ot_text_equal(doc_document_committed(pair.docs[0]), doc_document_committed(pair.docs[1])));
  demand(removed || doc_document_number(pair.docs[0]) == doc_document_number(pair.docs[1]));
  doc_document_free(pair.docs[0]);
  doc_document_free(pair.docs[1]);
  doc_document_free(pair.server);
  g_ptr_array_unref(pair.entries);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  Input input = {data, length};
  if (!ann)
    prepare();
  g_autoptr(DocDocument) doc = load(ann, anns);
  g_autoptr(GBytes) own = doc_document_save_own(doc),
                    history = doc_history_pack(doc->history, 3, DOC_BEHIND_MAX);
  guint what = input_below(&input, 9);
  switch (what / 2) {
  case 0:
    try_state(&input, what % 2 ? anns : NULL);
    break;
  case 1:
    try_own(&input, what % 2 ? own : NULL);
    break;
  case 2:
    try_history(&input, what % 2 ? history : NULL);
    break;
  case 3:
    try_checkpoint(&input, what % 2 ? body : NULL);
    break;
  default:
    try_pair(&input);
    break;
  }
  return 0;
}
