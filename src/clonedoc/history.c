#include <string.h>

#include "base/error.h"
#include "clonedoc/history_struct.h"

typedef DocAuthor Author;

static const char *const fault_names[DOC_FAULTS] = {
    "none", "damaged entry",   "another document", "entries left out", "entry replayed", "forged entry",
    "fork", "duplicate entry", "dropped entry",    "two histories",    "rollback",
};

static const char *const verdict_names[] = {
    "good",    "not a member",  "removed",           "not allowed",
    "old key", "other members", "impossible change", "too old",
};

const char *
doc_fault_name(DocFault fault)
{
  return fault_names[fault];
}

const char *
doc_verdict_name(DocVerdict verdict)
{
  return verdict_names[verdict];
}

DocHistory *
doc_history_new(const DocName *document)
{
  DocHistory *history = g_new0(DocHistory, 1);
  history->document = *document;
  history->places = g_array_new(FALSE, TRUE, sizeof(DocPlace));
  g_array_set_size(history->places, 1);
  history->authors = g_hash_table_new_full(identity_public_hash, identity_public_same, NULL, g_free);
  return history;
}

void
doc_history_free(DocHistory *history)
{
  if (!history)
    return;
  g_array_unref(history->places);
  g_hash_table_unref(history->authors);
  g_free(history);
}

DocFault
doc_history_fault(const DocHistory *history)
{
  return history->fault;
}

const DocName *
doc_history_document(const DocHistory *history)
{
  return &history->document;
}

guint64
doc_history_number(const DocHistory *history)
{
  return history->first + history->places->len - 1;
}

guint64
doc_history_first(const DocHistory *history)
{
  return history->first;
}

guint64
doc_history_members_at(const DocHistory *history)
{
  return history->members_at;
}

guint
doc_history_epoch(const DocHistory *history)
{
  return history->epoch;
}

const DocPlace *
doc_history_place(const DocHistory *history, guint64 number)
{
  return &g_array_index(history->places, DocPlace, number - history->first);
}

const DocChain *
doc_history_chain(const DocHistory *history, guint64 number)
{
  return &doc_history_place(history, number)->chain;
}

static const Author *
find(const DocHistory *history, const IdentityPublic *key)
{
  return g_hash_table_lookup(history->authors, key);
}

guint64
doc_history_sequence(const DocHistory *history, const IdentityPublic *key)
{
  const Author *author = find(history, key);
  return author ? author->sequence : 0;
}

DocRole
doc_history_role(const DocHistory *history, const IdentityPublic *key)
{
  const Author *author = find(history, key);
  return author ? author->member.role : DOC_NONE;
}

gboolean
doc_history_is_removed(const DocHistory *history, const IdentityPublic *key)
{
  const Author *author = find(history, key);
  return author && author->member.role == DOC_NONE;
}

static int
compare_members(gconstpointer a, gconstpointer b)
{
  return memcmp(&((const DocMember *)a)->key, &((const DocMember *)b)->key, sizeof(IdentityPublic));
}

GArray *
doc_history_members(const DocHistory *history)
{
  GArray *members = g_array_new(FALSE, FALSE, sizeof(DocMember));
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, history->authors);
  while (g_hash_table_iter_next(&iter, NULL, &value))
    if (((const Author *)value)->member.role != DOC_NONE)
      g_array_append_val(members, ((const Author *)value)->member);
  g_array_sort(members, compare_members);
  return members;
}

/* ---- changes of members ---- */

/* What a change would make of the members. */
typedef struct {
  GHashTable *roles; /* key (of the envelope or an author) → role + 1 */
  guint members, owners, removed, added;
} Outcome;

static void
count_in(Outcome *outcome, DocRole role, gint by)
{
  outcome->members += role != DOC_NONE ? by : 0;
  outcome->owners += role == DOC_OWNER ? by : 0;
}

/* One key's change. FALSE: it cannot be. */
static gboolean
change_one(const DocHistory *history, Outcome *outcome, const DocMember *change)
{
  const Author *before = find(history, &change->key);
  DocRole role = before ? before->member.role : DOC_NONE;
  if (g_hash_table_contains(outcome->roles, &change->key) || change->role == role)
    return FALSE;
  /* A key is one user's for ever, and does not come back. */
  if (before && (role == DOC_NONE || !identity_public_equal(&before->member.user, &change->user)))
    return FALSE;
  g_hash_table_insert(outcome->roles, (gpointer)&change->key, GINT_TO_POINTER(change->role + 1));
  count_in(outcome, role, -1);
  count_in(outcome, change->role, 1);
  outcome->removed += change->role == DOC_NONE;
  outcome->added += role == DOC_NONE;
  return TRUE;
}

/* Who has to be given keys: all who stay where the key changes, else who is new. */
static gboolean
gets_keys(const DocHistory *history, const Outcome *outcome, const IdentityPublic *key)
{
  const Author *before = find(history, key);
  gpointer changed = g_hash_table_lookup(outcome->roles, key);
  gboolean was = before && before->member.role != DOC_NONE;
  gboolean is = changed ? GPOINTER_TO_INT(changed) - 1 != DOC_NONE : was;
  return is && (outcome->removed > 0 || !was);
}

/* Each who is to get keys gets them once, and nobody else. */
static gboolean
keys_fit(const DocHistory *history, const Outcome *outcome, const DocEnvelope *envelope)
{
  g_autoptr(GHashTable) given = g_hash_table_new(identity_public_hash, identity_public_same);
  for (guint i = 0; i < envelope->keys->len; i++) {
    const DocSealedKeys *keys = envelope->keys->pdata[i];
    if (keys->first > envelope->epoch || !gets_keys(history, outcome, &keys->key) ||
        !g_hash_table_add(given, (gpointer)&keys->key))
      return FALSE;
  }
  return g_hash_table_size(given) == (outcome->removed > 0 ? outcome->members : outcome->added);
}

static gboolean
change_fits(const DocHistory *history, const DocEnvelope *envelope)
{
  g_autoptr(GHashTable) roles = g_hash_table_new(identity_public_hash, identity_public_same);
  g_autoptr(GArray) members = doc_history_members(history);
  Outcome outcome = {.roles = roles};
  for (guint i = 0; i < members->len; i++)
    count_in(&outcome, g_array_index(members, DocMember, i).role, 1);
  for (guint i = 0; i < envelope->changes->len; i++)
    if (!change_one(history, &outcome, &g_array_index(envelope->changes, DocMember, i)))
      return FALSE;
  return outcome.owners > 0 && outcome.members <= DOC_MEMBERS_MAX &&
         envelope->epoch == history->epoch + (history->epoch == 0 || outcome.removed > 0) &&
         keys_fit(history, &outcome, envelope);
}

DocAuthor *
doc_history_add_author(DocHistory *history, const DocMember *member)
{
  Author *author = g_new0(Author, 1);
  author->member = *member;
  g_hash_table_insert(history->authors, &author->member.key, author);
  return author;
}

static void
change(DocHistory *history, const DocEnvelope *envelope)
{
  for (guint i = 0; i < envelope->changes->len; i++) {
    const DocMember *member = &g_array_index(envelope->changes, DocMember, i);
    Author *author = g_hash_table_lookup(history->authors, &member->key);
    if (!author)
      author = doc_history_add_author(history, member);
    author->member.role = member->role;
  }
  history->epoch = envelope->epoch;
}

/* ---- entries ---- */

/* A first entry says who the members are, its author an owner among them. */
static DocFault
look_at_first(const DocHistory *history, const DocEnvelope *envelope, gboolean verified)
{
  DocName name;
  doc_envelope_name(envelope, &name);
  if (!doc_name_equal(&name, &history->document))
    return DOC_FAULT_OTHER;
  if (envelope->base != 0 || envelope->kind != DOC_MEMBERS || envelope->sequence != 1 ||
      !change_fits(history, envelope))
    return DOC_FAULT_DAMAGED;
  for (guint i = 0; i < envelope->changes->len; i++) {
    const DocMember *member = &g_array_index(envelope->changes, DocMember, i);
    if (member->role == DOC_OWNER && identity_public_equal(&member->key, &envelope->author))
      return verified || doc_envelope_is_signed(envelope, NULL) ? DOC_FAULT_NONE : DOC_FAULT_FORGED;
  }
  return DOC_FAULT_DAMAGED;
}

static DocVerdict
judge(const DocHistory *history, const DocEnvelope *envelope, const Author *author)
{
  DocRole role = author->member.role;
  if (role == DOC_NONE)
    return DOC_VOID_REMOVED;
  if (envelope->kind != DOC_MEMBERS) {
    if (role < DOC_WRITER)
      return DOC_VOID_ROLE;
    if (envelope->epoch != history->epoch)
      return DOC_VOID_KEY;
    /* A checkpoint says who the members are, too. */
    gboolean others = envelope->kind == DOC_CHECKPOINT && envelope->base < history->members_at;
    return others ? DOC_VOID_MEMBERS : DOC_GOOD;
  }
  if (role != DOC_OWNER)
    return DOC_VOID_ROLE;
  if (envelope->base < history->members_at)
    return DOC_VOID_MEMBERS;
  return change_fits(history, envelope) ? DOC_GOOD : DOC_VOID_CHANGE;
}

static gboolean
is_old(const DocHistory *history, guint64 base)
{
  guint64 last = doc_history_number(history);
  return last - base > DOC_BEHIND_MAX ||
         doc_history_place(history, last)->weight - doc_history_place(history, base)->weight >
             DOC_BEHIND_BYTES;
}

static DocFault
look(const DocHistory *history, const DocEnvelope *envelope, gboolean verified, DocVerdict *verdict)
{
  *verdict = DOC_GOOD;
  if (doc_history_number(history) == 0)
    return look_at_first(history, envelope, verified);
  /* Of somebody who never was a member nothing can be told, not even who said it. */
  const Author *author = find(history, &envelope->author);
  if (!author) {
    *verdict = DOC_VOID_STRANGER;
    return DOC_FAULT_NONE;
  }
  if (!verified && !doc_envelope_is_signed(envelope, &history->document))
    return DOC_FAULT_FORGED;
  if (envelope->base == 0 || envelope->base > doc_history_number(history))
    return DOC_FAULT_FORK;
  /* What it was made on may not be known any more to who began at a checkpoint, and counts for nobody. */
  gboolean old = is_old(history, envelope->base);
  if (!old && !doc_chain_equal(&envelope->chain, doc_history_chain(history, envelope->base)))
    return DOC_FAULT_FORK;
  if (envelope->sequence <= author->sequence)
    return DOC_FAULT_DUPLICATE;
  if (envelope->sequence > author->sequence + 1)
    return DOC_FAULT_DROPPED;
  *verdict = judge(history, envelope, author);
  if (old && *verdict == DOC_GOOD)
    *verdict = DOC_VOID_OLD;
  return DOC_FAULT_NONE;
}

gboolean
doc_history_would_take(const DocHistory *history, const DocEnvelope *envelope, DocVerdict *verdict,
                       DocFault *fault)
{
  *fault = history->fault != DOC_FAULT_NONE ? history->fault : look(history, envelope, FALSE, verdict);
  return *fault == DOC_FAULT_NONE;
}

gboolean
doc_history_stop(DocHistory *history, DocFault fault, guint64 number, GError **error)
{
  history->fault = fault;
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                          "the server of the document cannot be trusted: %s (entry %" G_GUINT64_FORMAT ")",
                          doc_fault_name(fault), number);
}

static gboolean
take(DocHistory *history, guint64 number, const DocEnvelope *envelope, gboolean verified, DocVerdict *verdict,
     GError **error)
{
  guint64 next = doc_history_number(history) + 1;
  DocFault fault = history->fault;
  if (fault == DOC_FAULT_NONE)
    fault = number > next   ? DOC_FAULT_GAP
            : number < next ? DOC_FAULT_REPLAYED
                            : look(history, envelope, verified, verdict);
  if (fault != DOC_FAULT_NONE)
    return doc_history_stop(history, fault, number, error);
  if (*verdict == DOC_GOOD && envelope->kind == DOC_MEMBERS) {
    change(history, envelope);
    history->members_at = number;
  }
  Author *author = g_hash_table_lookup(history->authors, &envelope->author);
  if (author)
    author->sequence = envelope->sequence;
  DocPlace place = *doc_history_place(history, number - 1);
  doc_envelope_chain(envelope, &place.chain);
  place.author = author;
  if (*verdict == DOC_GOOD && envelope->kind == DOC_EDIT)
    place.weight += g_bytes_get_size(envelope->sealed);
  g_array_append_val(history->places, place);
  return TRUE;
}

gboolean
doc_history_take(DocHistory *history, guint64 number, const DocEnvelope *envelope, DocVerdict *verdict,
                 GError **error)
{
  return take(history, number, envelope, FALSE, verdict, error);
}

gboolean
doc_history_take_again(DocHistory *history, guint64 number, const DocEnvelope *envelope, DocVerdict *verdict,
                       GError **error)
{
  return take(history, number, envelope, TRUE, verdict, error);
}

/* ---- heads ---- */

gboolean
doc_history_check_head(DocHistory *history, const DocHead *head, GError **error)
{
  DocFault fault = history->fault;
  if (fault == DOC_FAULT_NONE && !doc_name_equal(&head->document, &history->document))
    fault = DOC_FAULT_OTHER;
  if (fault == DOC_FAULT_NONE && head->number <= doc_history_number(history) &&
      head->number >= history->first &&
      !doc_chain_equal(&head->chain, doc_history_chain(history, head->number)))
    fault = DOC_FAULT_TWO_HEADS;
  if (fault == DOC_FAULT_NONE && head->number < history->signed_number)
    fault = DOC_FAULT_ROLLBACK;
  if (fault != DOC_FAULT_NONE)
    return doc_history_stop(history, fault, head->number, error);
  history->signed_number = head->number;
  return TRUE;
}
