/* The clone's own record (Clone2Clone section 4, step 1): the owner's device signs whose the clone is, the
 * clone adds where it is, and registers both with the directory: at the start, when it is bound, when it has
 * moved, and again before the registration expires. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "c2c/node_bind.h"
#include "c2c/node_private.h"
#include "c2c/node_store_groups.h"
#include "identity/statement.h"

#define NS_PER_SECOND  G_GINT64_CONSTANT(1000000000)
#define THING_RECORD   "record"   /* as it is registered, or is to be */
#define THING_ACCEPTED "accepted" /* as a directory took it last */
#define THING_SEQUENCE "sequence" /* of whereabouts that were signed last */
#define RETRY_FIRST    1          /* seconds */
#define RETRY_MOST     300
#define BIND_WORDS     "this clone belongs to another user"

static gboolean
keep(Node *node, const char *name, const void *data, gsize length, GError **error)
{
  g_autoptr(GBytes) bytes = g_bytes_new(data, length);
  return node_store_put(node->store, name, bytes, error);
}

/* Higher than any that was ever signed, also where the store is an older copy of itself. */
static guint64
next_sequence(Node *node, GError **error)
{
  guint64 last = 0, next;
  g_autoptr(GBytes) kept = node_store_get(node->store, THING_SEQUENCE, NULL);
  if (kept && g_bytes_get_size(kept) == sizeof last)
    memcpy(&last, g_bytes_get_data(kept, NULL), sizeof last);
  if (node->own)
    last = MAX(last, node->own->sequence);
  guint64 now = (guint64)node_now();
  next = MAX(last + 1, now);
  return keep(node, THING_SEQUENCE, &next, sizeof next, error) ? next : 0;
}

/* NULL: the clone is nobody's. Groups are joined as the user. */
static void
take_own(Node *node, Record *record)
{
  if (node->own && !(record && identity_public_equal(&record->origin, &node->own->origin))) {
    g_autoptr(GError) error = NULL;
    node_groups_clear(node);
    if (!node_store_forget_messages(node->store, &error))
      g_warning("cannot forget another user's messages: %s", error->message);
  }
  g_clear_pointer(&node->own, record_unref);
  node->own = record;
}

static gboolean
keep_record(Node *node, const char *name, const Record *record, GError **error)
{
  gsize length = 0;
  const void *bytes = record ? g_bytes_get_data(record->bytes, &length) : "";
  return keep(node, name, bytes, length, error);
}

/* What is kept under that name; none is no error. */
static gboolean
load_record(Node *node, const char *name, Record **record, GError **error)
{
  g_autoptr(GError) problem = NULL;
  g_autoptr(GBytes) kept = node_store_get(node->store, name, &problem);
  if (problem) {
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
  }
  if (!kept || g_bytes_get_size(kept) == 0)
    return TRUE;
  *record = record_decode_unplaced(g_bytes_get_data(kept, NULL), g_bytes_get_size(kept), NULL, error);
  return *record != NULL;
}

/* The record as the device made it, with the clone's whereabouts of now. */
static Record *
place(Node *node, const Record *record, GError **error)
{
  g_autoptr(RecordParts) parts = record_parts(record);
  g_autoptr(GBytes) whereabouts = NULL;
  if (!record->revoked) {
    guint64 sequence = next_sequence(node, error);
    if (sequence == 0)
      return NULL;
    gint64 now = node_now();
    whereabouts = record_sign_whereabouts(node->config->key, (const char *const *)node->addresses, sequence,
                                          now, now + NODE_WHEREABOUTS_LIFE);
  }
  return record_assemble(parts->root, (GBytes *const *)parts->successions->pdata, parts->successions->len,
                         parts->binding, parts->hosting, whereabouts, error);
}

static gboolean
take_addresses(Node *node)
{
  g_auto(GStrv) now = node->config->addresses(node->config->data);
  for (guint i = 0; now && now[i]; i++)
    if (i >= RECORD_ADDRESSES_MAX)
      g_clear_pointer(&now[i], g_free);
  if (!now || !now[0] ||
      (node->addresses && g_strv_equal((const char *const *)now, (const char *const *)node->addresses)))
    return FALSE;
  g_strfreev(node->addresses);
  node->addresses = g_steal_pointer(&now);
  return TRUE;
}

gboolean
node_register_load(Node *node, GError **error)
{
  take_addresses(node);
  node->renew_at = G_MAXINT64;
  if (!load_record(node, THING_RECORD, &node->own, error) ||
      !load_record(node, THING_ACCEPTED, &node->accepted, error))
    return FALSE;
  if (node->own)
    node->renew_at = clock_now_ns();
  return TRUE;
}

static void
answer_bound(Node *node, DirectoryStatus status, const char *words, guint64 number)
{
  const NodeBound bound = {.status = status,
                           .message = (char *)words,
                           .record = status == DIRECTORY_STATUS(OK) ? node->own : NULL,
                           .number = number};
  g_autoptr(GBytes) bytes = node_bound_encode(&bound);
  g_autoptr(GPtrArray) calls = g_steal_pointer(&node->bound);
  node->bound = g_ptr_array_new();
  for (guint i = 0; i < calls->len; i++)
    local_call_answer(calls->pdata[i], g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), FALSE);
}

static gint64
jitter(gint64 seconds)
{
  return (seconds + g_random_int_range(0, MAX(1, (gint32)seconds / 5)) - seconds / 10) * NS_PER_SECOND;
}

/* Refused whenever it is said again. */
static gboolean
is_refused_for_good(DirectoryStatus status)
{
  return status == DIRECTORY_STATUS(MALFORMED) || status == DIRECTORY_STATUS(UNPROVED) ||
         status == DIRECTORY_STATUS(STALE) || status == DIRECTORY_STATUS(TAKEN) ||
         status == DIRECTORY_STATUS(FOREIGN) || status == DIRECTORY_STATUS(EXPIRED);
}

static gboolean
is_same_binding(const Record *a, const Record *b)
{
  g_autoptr(RecordParts) of_a = record_parts(a), of_b = record_parts(b);
  return g_bytes_equal(of_a->binding, of_b->binding) && of_a->successions->len == of_b->successions->len;
}

/* A binding that the directory does not take must not cost the clone the one that it has: a name that is
 * another's, say. TRUE where there was something to go back from. */
static gboolean
go_back(Node *node)
{
  g_autoptr(GError) error = NULL;
  if (node->accepted && is_same_binding(node->accepted, node->asked))
    return FALSE;
  Record *before = node->accepted ? record_ref(node->accepted) : NULL;
  if (!keep_record(node, THING_RECORD, before, &error))
    g_warning("cannot forget a binding that was refused: %s", error->message);
  take_own(node, before);
  node->failures = 0;
  node->renew_at = before ? clock_now_ns() : G_MAXINT64;
  return TRUE;
}

static void
remember_accepted(Node *node)
{
  g_autoptr(GError) error = NULL;
  g_clear_pointer(&node->accepted, record_unref);
  node->accepted = record_ref(node->asked);
  if (!keep_record(node, THING_ACCEPTED, node->accepted, &error))
    g_warning("cannot keep what was registered: %s", error->message);
}

static void
on_registered(DirectoryStatus status, guint64 number, const char *words, void *data)
{
  Node *node = data;
  node->registering = FALSE;
  g_clear_pointer(&node->trouble, g_free);
  /* Where it was bound anew meanwhile the next answer is the one that counts. */
  if (node->renew_at == G_MAXINT64)
    answer_bound(node, status, words, number);
  gint64 now = clock_now_ns();
  if (status == DIRECTORY_STATUS(OK)) {
    remember_accepted(node);
    node->registered = TRUE;
    node->failures = 0;
    /* What changed while the directory was asked is due at once. */
    if (node->renew_at == G_MAXINT64 && !node->own->revoked)
      node->renew_at = now + jitter(NODE_RENEWAL);
    return;
  }
  node->registered = FALSE;
  node->trouble = g_strdup(words);
  if (is_refused_for_good(status) && node->own == node->asked && go_back(node))
    return;
  gint64 wait = MIN(RETRY_FIRST << MIN(node->failures, 10), RETRY_MOST);
  node->failures++;
  node->renew_at = MIN(node->renew_at, now + wait * NS_PER_SECOND + g_random_int_range(0, 500) * 1000000);
  if (node->failures == 1)
    g_message("cannot register the clone: %s", words);
}

static gboolean
renew(Node *node, GError **error)
{
  g_autoptr(Record) record = place(node, node->own, error);
  if (!record || !keep_record(node, THING_RECORD, record, error))
    return FALSE;
  take_own(node, g_steal_pointer(&record));
  g_clear_pointer(&node->asked, record_unref);
  node->asked = record_ref(node->own);
  node->registering = TRUE;
  node->renew_at = G_MAXINT64;
  node_directory_register(node->directory, node->own, on_registered, node);
  return TRUE;
}

void
node_register_moved(Node *node)
{
  if (take_addresses(node) && node->own)
    node->renew_at = clock_now_ns();
}

gint64
node_register_due(const Node *node)
{
  return node->own && node->addresses && !node->registering ? node->renew_at : G_MAXINT64;
}

void
node_register_tick(Node *node, gint64 now)
{
  g_autoptr(GError) error = NULL;
  if (!node->own || node->registering || now < node->renew_at || !node->addresses)
    return;
  if (!renew(node, &error))
    on_registered(DIRECTORY_STATUS(FAILED), 0, error->message, node);
}

/* The owner's device may bind a clone that is nobody's, and change its own user's binding. */
static gboolean
check_binding(Node *node, const Record *record, GError **error)
{
  const NodeConfig *config = node->config;
  if (memcmp(record->clone, config->clone, sizeof record->clone) != 0 ||
      !identity_public_equal(&record->clone_key, identity_key_public(config->key)))
    return doppel_error_set(error, DOPPEL_ERROR_DENIED, "the record is that of another clone");
  if (!node->own)
    return TRUE;
  if (!identity_public_equal(&record->origin, &node->own->origin)) {
    /* One that nobody ever took, or that was given up, stands in nobody's way. */
    if (!node->accepted || node->accepted->revoked)
      return TRUE;
    return doppel_error_set(error, DOPPEL_ERROR_DENIED, BIND_WORDS);
  }
  /* Said again: it is registered again. */
  if (is_same_binding(node->own, record))
    return TRUE;
  g_autoptr(RecordParts) own = record_parts(node->own);
  g_autoptr(Record) bare = record_assemble(own->root, (GBytes *const *)own->successions->pdata,
                                           own->successions->len, own->binding, own->hosting, NULL, error);
  if (!bare)
    return FALSE;
  if (!record_supersedes(record, bare))
    return doppel_error_set(error, DOPPEL_ERROR_DENIED, "the clone has a newer binding than this one");
  return TRUE;
}

gboolean
node_register_bind(Node *node, const guint8 *body, gsize length, LocalCall *call, GError **error)
{
  g_autoptr(NodeBind) bind = node_bind_decode(body, length, error);
  if (!bind || !check_binding(node, bind->record, error) ||
      !node_directory_configure(node->directory, bind->places, error) ||
      !keep_record(node, THING_RECORD, bind->record, error))
    return FALSE;
  take_own(node, record_ref(bind->record));
  g_ptr_array_add(node->bound, call);
  node->failures = 0;
  node->renew_at = clock_now_ns();
  node_register_tick(node, node->renew_at);
  return TRUE;
}

void
node_register_clear(Node *node)
{
  g_clear_pointer(&node->own, record_unref);
  g_clear_pointer(&node->accepted, record_unref);
  g_clear_pointer(&node->asked, record_unref);
  g_strfreev(node->addresses);
  g_free(node->trouble);
  g_ptr_array_unref(node->bound);
}
