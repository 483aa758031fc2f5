/* How many entries a second an ordering server of documents takes: members on several connections, each of
 * which has one entry of each of its documents under way. What they send was sealed and signed before. And
 * what bounds it: the log alone, and bare verifications. Prints one JSON object. bench/ot runs it.
 *
 * serve ADDRESS KEY   members of that server
 * floor DIR           the log in a new folder, an entry in each commit and many; Ed25519 */
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "clonedoc/document.h"
#include "clonedoc/server/client.h"
#include "clonedoc/server/log.h"

enum { ENTRY_BYTES = 192, BATCH = 64, CONNECTIONS_MAX = 256 };

static int documents = 64, connections = 8, seconds = 5, prepared = 20000;

static void G_GNUC_NORETURN
die(const char *what, const char *why)
{
  fprintf(stderr, "doc_load: %s: %s\n", what, why);
  exit(1);
}

static double
seconds_since(gint64 begin_ns)
{
  return (double)(clock_now_ns() - begin_ns) / 1e9;
}

/* ---- floors */

static double
verifications(void)
{
  guint8 message[ENTRY_BYTES] = {0}, public[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES],
         signature[crypto_sign_BYTES];
  guint64 count = 0;
  gint64 begin = clock_now_ns();
  crypto_sign_keypair(public, secret);
  crypto_sign_detached(signature, NULL, message, sizeof message, secret);
  for (; seconds_since(begin) < 1; count++)
    if (crypto_sign_verify_detached(signature, message, sizeof message, public) != 0)
      die("libsodium", "does not verify");
  return (double)count / seconds_since(begin);
}

/* Entries a second, so many in a commit. */
static double
log_alone(DocLog *log, guint batch, guint8 which)
{
  g_autoptr(GBytes) entry = g_bytes_new_take(g_malloc0(ENTRY_BYTES), ENTRY_BYTES);
  g_autofree DocLogPut *puts = g_new0(DocLogPut, batch);
  guint64 number = 0;
  gint64 begin = clock_now_ns();
  while (seconds_since(begin) < seconds) {
    g_autoptr(GError) error = NULL;
    for (guint i = 0; i < batch; i++)
      puts[i] = (DocLogPut){.document.bytes = {which}, .number = ++number, .entry = entry};
    if (!doc_log_append_all(log, puts, batch, &error))
      die("the log", error->message);
  }
  return (double)number / seconds_since(begin);
}

static void
floors(const char *folder)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DocLog) log = doc_log_open(folder, &error);
  if (!log)
    die(folder, error->message);
  double single = log_alone(log, 1, 1), many = log_alone(log, BATCH, 2);
  printf("{\"verifications\": %.0f, \"log\": %.0f, \"log_batched\": %.0f, \"batch\": %d}\n", verifications(),
         single, many, BATCH);
}

/* ---- a server */

typedef struct {
  DocName name;
  GPtrArray *entries; /* of GBytes */
  guint sent;
  gint64 sent_at;
  guint64 call;
} Document;

typedef struct {
  DocClient *client;
  IdentityKey *key;
  GPtrArray *documents; /* of Document */
} Member;

static void
document_free(gpointer data)
{
  Document *document = data;
  g_ptr_array_unref(document->entries);
  g_free(document);
}

static void
take_own(DocDocument *doc, GBytes *entry)
{
  g_auto(DocTaken) taken = {0};
  gsize length;
  const void *data = g_bytes_get_data(entry, &length);
  if (!doc_document_take(doc, doc_document_number(doc) + 1, data, length, &taken, NULL))
    die("a document", "does not take its own entry");
}

/* A document of that member's, with so many keystrokes after its first entry. */
static Document *
document_new(const IdentityKey *key, guint count)
{
  Document *document = g_new0(Document, 1);
  g_autoptr(DocDocument) doc = doc_document_create(key, identity_key_public(key));
  GBytes *entry = doc_document_flight(doc);
  document->name = *doc_document_name(doc);
  document->entries = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  g_ptr_array_add(document->entries, entry);
  take_own(doc, entry);
  for (guint i = 0; i < count; i++) {
    g_autoptr(OtOp) op = ot_op_new_edit(i, 0, "x", 1);
    doc_document_edit(doc, op, NULL);
    entry = doc_document_submit(doc);
    g_ptr_array_add(document->entries, entry);
    take_own(doc, entry);
  }
  return document;
}

static void
send_next(Member *member, Document *document)
{
  if (document->sent == document->entries->len)
    return;
  document->sent_at = clock_now_ns();
  document->call =
      doc_client_append(member->client, &document->name, document->entries->pdata[document->sent++]);
}

/* Takes the answers that are there, and sends what comes after each, if it is to go on; how many. */
static guint
take_answers(Member *member, gboolean go_on, GArray *waits)
{
  g_autoptr(GError) error = NULL;
  guint count = 0;
  if (!doc_client_work(member->client, &error))
    die("the server", error->message);
  for (DocClientEvent *event; (event = doc_client_take(member->client)); count++) {
    if (event->answer->status != DOC_STATUS(OK))
      die("the server", event->answer->words ? event->answer->words : "refuses an entry");
    for (guint i = 0; i < member->documents->len; i++) {
      Document *document = member->documents->pdata[i];
      if (document->call != event->call)
        continue;
      gint64 wait = clock_now_ns() - document->sent_at;
      g_array_append_val(waits, wait);
      if (go_on)
        send_next(member, document);
      break;
    }
    doc_client_event_free(event);
  }
  return count;
}

static void
send_first(gpointer document, gpointer member)
{
  send_next(member, document);
}

static void
wait_for_any(Member *members)
{
  struct pollfd fds[CONNECTIONS_MAX * LINK_POLL_MAX];
  guint count = 0;
  int timeout = 1000;
  for (int i = 0; i < connections; i++)
    count += doc_client_prepare(members[i].client, fds + count, &timeout);
  poll(fds, count, timeout);
}

static int
compare(gconstpointer a, gconstpointer b)
{
  gint64 left = *(const gint64 *)a, right = *(const gint64 *)b;
  return (left > right) - (left < right);
}

static void
serve(const char *address, const char *text)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GArray) waits = g_array_new(FALSE, FALSE, sizeof(gint64));
  IdentityPublic server;
  Member members[CONNECTIONS_MAX];
  guint64 taken = 0;
  if (!identity_public_from_text(text, &server, &error))
    die(text, error->message);
  for (int i = 0; i < connections; i++) {
    members[i] =
        (Member){.key = identity_key_generate(), .documents = g_ptr_array_new_with_free_func(document_free)};
    for (int d = i; d < documents; d += connections)
      g_ptr_array_add(members[i].documents, document_new(members[i].key, (guint)(prepared / documents)));
    members[i].client = doc_client_new((const char *const[]){address, NULL}, &server, members[i].key, &error);
    if (!members[i].client)
      die(address, error->message);
    /* Connected, and each document there, before the time is taken. */
    for (guint d = 0; d < members[i].documents->len; d++)
      send_next(&members[i], members[i].documents->pdata[d]);
  }
  while (taken < (guint64)documents) {
    wait_for_any(members);
    for (int i = 0; i < connections; i++)
      taken += take_answers(&members[i], FALSE, waits);
  }
  gint64 begin = clock_now_ns();
  g_array_set_size(waits, 0);
  for (int i = 0; i < connections; i++)
    g_ptr_array_foreach(members[i].documents, send_first, &members[i]);
  guint64 count = 0, all = (guint64)documents * (guint64)(prepared / documents);
  while (seconds_since(begin) < seconds && count < all) {
    wait_for_any(members);
    for (int i = 0; i < connections; i++)
      count += take_answers(&members[i], TRUE, waits);
  }
  double took = seconds_since(begin);
  g_array_sort(waits, compare);
  printf("{\"operations\": %" G_GUINT64_FORMAT ", \"seconds\": %.3f, \"per_second\": %.0f, "
         "\"median_ms\": %.2f, \"p99_ms\": %.2f}\n",
         count, took, (double)count / took, (double)g_array_index(waits, gint64, waits->len / 2) / 1e6,
         (double)g_array_index(waits, gint64, waits->len - 1 - waits->len / 100) / 1e6);
  for (int i = 0; i < connections; i++) {
    doc_client_free(members[i].client);
    identity_key_free(members[i].key);
    g_ptr_array_unref(members[i].documents);
  }
}

int
main(int argc, char **argv)
{
  const GOptionEntry options[] = {
      {"documents", 0, 0, G_OPTION_ARG_INT, &documents, "That are written in at once (64)", "N"},
      {"connections", 0, 0, G_OPTION_ARG_INT, &connections, "That carry them (8)", "N"},
      {"seconds", 0, 0, G_OPTION_ARG_INT, &seconds, "How long, at most (5)", "N"},
      {"prepared", 0, 0, G_OPTION_ARG_INT, &prepared, "Entries made before (20000)", "N"},
      {NULL},
  };
  g_autoptr(GOptionContext) context = g_option_context_new("floor DIR | serve ADDRESS KEY");
  g_autoptr(GError) error = NULL;
  g_option_context_add_main_entries(context, options, NULL);
  if (!g_option_context_parse(context, &argc, &argv, &error))
    die("arguments", error->message);
  if (connections < 1 || connections > CONNECTIONS_MAX || documents < connections || prepared < documents)
    die("arguments", "a connection has a document at least, and a document an entry");
  if (sodium_init() < 0)
    die("libsodium", "does not start");
  if (argc == 3 && strcmp(argv[1], "floor") == 0)
    floors(argv[2]);
  else if (argc == 4 && strcmp(argv[1], "serve") == 0)
    serve(argv[2], argv[3]);
  else
    die("usage", "doc_load floor DIR, or doc_load serve ADDRESS KEY");
  return 0;
}
