/* An ordering server that lies, for the tests of those who do not trust it: clonedocd's own server, told
 * to hand out something else.
 *   malicious-clonedocd TRICK AFTER FOLDER ADDRESS [ADDRESS]
 * TRICK is a row of the table below. Up to entry AFTER of a document it is honest; from then on each who
 * follows is told a history of their own, with heads that fit it as far as the server can make them: it has
 * its key, and no member's. "fork" has two addresses, whose groups of members see two histories, both of
 * them true to what their group wrote. Prints "listening on ADDRESS...; the server's key is KEY". */
#include <arpa/inet.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "clonedoc/server/server.h"
#include "identity/statement.h"
#include "wire/doc.pb-c.h"
#include "wire/message.h"

/* What one member was told of one document. */
typedef struct {
  guint64 number;
  DocChain chain;
  GBytes *last, *held;
  gboolean lied;
} Told;

typedef struct Liar Liar;
/* What is handed out in place of an entry: any number of others. */
typedef void (*Trick)(Told *told, GBytes *entry, GPtrArray *out);

struct Liar {
  const IdentityKey *key;
  guint64 after;
  Trick trick;
  GHashTable *told; /* document and peer → Told */
};

/* ---- the tricks ---- */

static void
give(GPtrArray *out, GBytes *entry)
{
  g_ptr_array_add(out, g_bytes_ref(entry));
}

static void
reorder(Told *told, GBytes *entry, GPtrArray *out)
{
  if (told->lied) {
    give(out, entry);
  } else if (!told->held) {
    told->held = g_bytes_ref(entry);
  } else {
    give(out, entry);
    give(out, told->held);
    told->lied = TRUE;
  }
}

static void
drop(Told *told, GBytes *entry, GPtrArray *out)
{
  if (told->lied)
    give(out, entry);
  told->lied = TRUE;
}

static void
duplicate(Told *told, GBytes *entry, GPtrArray *out)
{
  give(out, entry);
  if (!told->lied)
    give(out, entry);
  told->lied = TRUE;
}

/* Another content under the author's name. */
static void
forge(Told *told, GBytes *entry, GPtrArray *out)
{
  gsize length;
  const void *bytes = g_bytes_get_data(entry, &length);
  g_autoptr(DocEnvelope) envelope = doc_envelope_decode(bytes, length, NULL);
  if (!told->lied && envelope->kind != DOC_MEMBERS) {
    const void *signed_bytes = g_bytes_get_data(envelope->statement, &length);
    g_autofree guint8 *statement = g_memdup2(signed_bytes, length);
    statement[length - 1] ^= 1;
    g_bytes_unref(envelope->statement);
    envelope->statement = g_bytes_new_take(g_steal_pointer(&statement), length);
    g_autoptr(GBytes) packed = doc_envelope_pack(envelope);
    told->lied = TRUE;
    give(out, packed);
  } else {
    give(out, entry);
  }
}

/* An old entry in place of a new one. */
static void
replay(Told *told, GBytes *entry, GPtrArray *out)
{
  give(out, told->lied || !told->last ? entry : told->last);
  told->lied |= told->last != NULL;
}

/* Takes back what it has told, and tells nothing more. */
static void
take_back(Told *told, GBytes *entry, GPtrArray *out)
{
  told->lied = TRUE;
}

/* Nobody is to know that the members have changed. */
static void
members(Told *told, GBytes *entry, GPtrArray *out)
{
  gsize length;
  const void *bytes = g_bytes_get_data(entry, &length);
  g_autoptr(DocEnvelope) envelope = doc_envelope_decode(bytes, length, NULL);
  if (envelope->kind == DOC_MEMBERS)
    told->lied = TRUE;
  else
    give(out, entry);
}

static const struct {
  const char *name;
  Trick trick; /* NULL: by two logs */
} tricks[] = {
    {"reorder", reorder}, {"drop", drop},          {"duplicate", duplicate}, {"forge", forge},
    {"replay", replay},   {"truncate", take_back}, {"members", members},     {"fork", NULL},
};

/* ---- handing out ---- */

static GBytes *
sign_head(const Liar *liar, const DocName *document, guint64 number, const DocChain *chain)
{
  guint8 signature[IDENTITY_SIGNATURE_LENGTH];
  Doppel__Wire__DocHead head = DOPPEL__WIRE__DOC_HEAD__INIT;
  head.version = 1;
  head.document = wire_borrow(document->bytes, sizeof document->bytes);
  head.number = number;
  head.chain = wire_borrow(chain->bytes, sizeof chain->bytes);
  g_autoptr(GBytes) statement = wire_pack(&head.base);
  gsize length;
  const void *bytes = g_bytes_get_data(statement, &length);
  statement_sign(liar->key, STATEMENT_DOC_HEAD, bytes, length, signature);
  Doppel__Wire__DocSigned with = DOPPEL__WIRE__DOC_SIGNED__INIT;
  with.statement = wire_borrow(bytes, length);
  with.signature = wire_borrow(signature, sizeof signature);
  return wire_pack(&with.base);
}

static void
forget(Told *told)
{
  g_clear_pointer(&told->held, g_bytes_unref);
  g_clear_pointer(&told->last, g_bytes_unref);
  *told = (Told){0};
}

static void
told_free(gpointer told)
{
  forget(told);
  g_free(told);
}

static Told *
find_told(Liar *liar, const DocName *document, const IdentityPublic *peer)
{
  guint8 both[DOC_NAME_LENGTH + IDENTITY_PUBLIC_LENGTH];
  memcpy(both, document->bytes, DOC_NAME_LENGTH);
  memcpy(both + DOC_NAME_LENGTH, peer->bytes, IDENTITY_PUBLIC_LENGTH);
  g_autoptr(GBytes) key = g_bytes_new(both, sizeof both);
  Told *told = g_hash_table_lookup(liar->told, key);
  if (!told) {
    told = g_new0(Told, 1);
    g_hash_table_insert(liar->told, g_bytes_ref(key), told);
  }
  return told;
}

static void
note_told(Told *told, GBytes *entry)
{
  gsize length;
  const void *bytes = g_bytes_get_data(entry, &length);
  g_autoptr(DocEnvelope) envelope = doc_envelope_decode(bytes, length, NULL);
  doc_envelope_chain(envelope, &told->chain);
  g_clear_pointer(&told->last, g_bytes_unref);
  told->last = g_bytes_ref(entry);
  told->number++;
}

/* Of those who follow from the beginning; who asks once is told the truth, which does them no good. */
static void
hand_out(const IdentityPublic *peer, const DocName *document, DocAnswer *answer, gpointer data)
{
  Liar *liar = data;
  Told *told = find_told(liar, document, peer);
  if (!liar->trick || answer->status != DOC_STATUS(OK) || answer->entries->len == 0)
    return;
  if (answer->number == 1) /* begins anew */
    forget(told);
  g_autoptr(GPtrArray) out = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  guint64 first = told->number + 1;
  for (guint i = 0; i < answer->entries->len; i++) {
    guint from = out->len;
    if (answer->number + i <= liar->after)
      give(out, answer->entries->pdata[i]);
    else
      liar->trick(told, answer->entries->pdata[i], out);
    for (guint j = from; j < out->len; j++)
      note_told(told, out->pdata[j]);
  }
  g_ptr_array_unref(answer->entries);
  answer->entries = g_ptr_array_ref(out);
  answer->number = out->len > 0 ? first : 0;
  g_bytes_unref(answer->head);
  static const DocChain none;
  gboolean back = liar->trick == take_back && told->lied;
  answer->head = back && out->len == 0 ? sign_head(liar, document, 0, &none)
                                       : sign_head(liar, document, told->number, &told->chain);
}

/* ---- a log that is two from some entry on ---- */

static GMutex forked_lock; /* each server has a thread for its side */

typedef struct {
  GPtrArray *common, *sides[2]; /* of GBytes */
} Forked;

typedef struct {
  DocLog log;
  guint side;
  guint64 after;
  GHashTable *documents; /* DocName as GBytes → Forked; of both sides */
} ForkedLog;

static void
forked_release(gpointer data)
{
  Forked *forked = data;
  g_ptr_array_unref(forked->common);
  g_ptr_array_unref(forked->sides[0]);
  g_ptr_array_unref(forked->sides[1]);
  g_free(forked);
}

static Forked *
find_forked(ForkedLog *log, const DocName *document)
{
  g_autoptr(GBytes) key = g_bytes_new(document->bytes, sizeof document->bytes);
  Forked *forked = g_hash_table_lookup(log->documents, key);
  if (!forked) {
    forked = g_new0(Forked, 1);
    GPtrArray **all[] = {&forked->common, &forked->sides[0], &forked->sides[1]};
    for (guint i = 0; i < G_N_ELEMENTS(all); i++)
      *all[i] = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    g_hash_table_insert(log->documents, g_bytes_ref(key), forked);
  }
  return forked;
}

static gboolean
forked_append(DocLog *base, DocLogPut *puts, guint count, GError **error)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&forked_lock);
  ForkedLog *log = (ForkedLog *)base;
  for (guint i = 0; i < count; i++) {
    Forked *forked = find_forked(log, &puts[i].document);
    GPtrArray *side = forked->sides[log->side];
    puts[i].outcome = puts[i].number == forked->common->len + side->len + 1 ? DOC_LOG_DONE : DOC_LOG_TAKEN;
    if (puts[i].outcome == DOC_LOG_DONE)
      g_ptr_array_add(forked->common->len < log->after ? forked->common : side, g_bytes_ref(puts[i].entry));
  }
  return TRUE;
}

static GPtrArray *
forked_read(DocLog *base, const DocName *document, guint64 from, guint count, gsize bytes, GError **error)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&forked_lock);
  ForkedLog *log = (ForkedLog *)base;
  const Forked *forked = find_forked(log, document);
  GPtrArray *found = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  const GPtrArray *common = forked->common, *side = forked->sides[log->side];
  for (guint64 i = from - 1; i < common->len + side->len && found->len < count; i++)
    give(found, i < common->len ? common->pdata[i] : side->pdata[i - common->len]);
  return found;
}

static gboolean
forked_length(DocLog *base, const DocName *document, guint64 *length, GError **error)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&forked_lock);
  ForkedLog *log = (ForkedLog *)base;
  const Forked *forked = find_forked(log, document);
  *length = forked->common->len + forked->sides[log->side]->len;
  return TRUE;
}

static gboolean
forked_size(DocLog *base, guint64 *documents, guint64 *bytes, GError **error)
{
  *documents = *bytes = 0;
  return TRUE;
}

static void
forked_free(DocLog *log)
{
  g_free(log);
}

static const DocLogKind forked_kind = {.scheme = "forked",
                                       .free = forked_free,
                                       .append = forked_append,
                                       .read = forked_read,
                                       .length = forked_length,
                                       .size = forked_size};

static DocLog *
new_forked(guint side, guint64 after, GHashTable *documents)
{
  ForkedLog *log = g_new0(ForkedLog, 1);
  *log = (ForkedLog){{&forked_kind}, side, after, documents};
  return &log->log;
}

/* ---- main ---- */

static int
listen_on(const char *text)
{
  const char *colon = strrchr(text, ':');
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((guint16)atoi(colon ? colon + 1 : "0"))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 64) < 0)
    g_error("cannot listen on %s", text);
  return fd;
}

static gboolean
stop(gpointer loop)
{
  g_main_loop_quit(loop);
  return G_SOURCE_CONTINUE;
}

int
main(int argc, char **argv)
{
  guint which = 0;
  while (argc > 4 && which < G_N_ELEMENTS(tricks) && strcmp(tricks[which].name, argv[1]) != 0)
    which++;
  gboolean forks = which < G_N_ELEMENTS(tricks) && !tricks[which].trick;
  if (which == G_N_ELEMENTS(tricks) || argc != (forks ? 6 : 5)) {
    fprintf(stderr, "malicious-clonedocd: see the beginning of malicious.c\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  static const guint8 seed[IDENTITY_SEED_LENGTH] = {66};
  g_autoptr(IdentityKey) key = identity_key_from_seed(seed); /* the same after another start */
  g_autoptr(GHashTable) told =
      g_hash_table_new_full(g_bytes_hash, g_bytes_equal, (GDestroyNotify)g_bytes_unref, told_free);
  g_autoptr(GHashTable) documents =
      g_hash_table_new_full(g_bytes_hash, g_bytes_equal, (GDestroyNotify)g_bytes_unref, forked_release);
  Liar liar = {key, strtoull(argv[2], NULL, 10), tricks[which].trick, told};
  DocServer *servers[2] = {NULL};
  DocLog *logs[2] = {NULL};
  for (guint i = 0; i < (forks ? 2u : 1u); i++) {
    g_autoptr(GError) error = NULL;
    DocServerOptions options = DOC_SERVER_OPTIONS_DEFAULT;
    options.key = key;
    options.rate = 0;
    options.log = logs[i] = forks ? new_forked(i, liar.after, documents) : doc_log_open(argv[3], &error);
    options.hand_out = hand_out;
    options.data = &liar;
    servers[i] = options.log ? doc_server_new(&options, NULL, &error) : NULL;
    if (!servers[i])
      g_error("%s", error->message);
    doc_server_listen(servers[i], listen_on(argv[4 + i]));
  }
  g_autofree char *text = identity_public_to_text(identity_key_public(key));
  fprintf(stderr, "malicious-clonedocd: listening on %s; the server's key is %s\n", argv[4], text);
  g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
  g_unix_signal_add(SIGTERM, stop, loop);
  g_main_loop_run(loop);
  for (guint i = 0; i < 2; i++) {
    doc_server_free(servers[i]);
    doc_log_free(logs[i]);
  }
  return 0;
}
