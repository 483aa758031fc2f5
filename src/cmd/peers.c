/* doppel peers: other people's clones that the own one is linked with, and the directory's list of all. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cmd/cmd.h"
#include "cmd/name.h"
#include "cmd/network_ask.h"
#include "cmd/peers_directories.h"
#include "cmd/table.h"

#define PAGE 64

static const char summary[] = "Lists the links between this device's clone and those of others. With --list: "
                              "all clones that the directory has,\nas it has signed them. With "
                              "--directories: those that the clone asks, and what is to be said of them.";

static const char notes[] = "A directory that shows different lists to different people is found out by what "
                            "clones tell each other, one that\nhides a user or shows an old record by "
                            "what other directories say: it is named then, with what to do.\n\n"
                            "Examples:\n"
                            "  doppel peers\n"
                            "  doppel peers --list --count 20\n"
                            "  doppel peers --directories     who answers, since when one does not";

typedef Doppel__Wire__ControlPeers Peers;

static const TableColumn columns[] = {
    {"NAME", "name"},
    {"STATE", "state"},
    {"STREAMS", "streams", TABLE_NUMBER},
    {"SENT", "sent", TABLE_NUMBER},
    {"RECEIVED", "received", TABLE_NUMBER},
    {"ADDRESSES", "addresses"},
    {NULL, "user"},
    {NULL, "clone_key"},
    {NULL, "dialled", TABLE_BOOLEAN},
    {NULL, "reconnects", TABLE_NUMBER},
    {NULL, "since"},
};

static const TableColumn list_columns[] = {
    {"NAME", "name"},    {"USER", "user"},   {"ADDRESSES", "addresses"},
    {NULL, "clone_key"}, {NULL, "provider"}, {NULL, "sequence", TABLE_NUMBER},
    {NULL, "expires"},
};

static char *
number(guint64 value)
{
  return g_strdup_printf("%" G_GUINT64_FORMAT, value);
}

static void
add_peer(Table *table, const Doppel__Wire__ControlPeer *peer)
{
  g_autofree char *streams = number(peer->streams), *sent = number(peer->sent),
                  *received = number(peer->received), *reconnects = number(peer->reconnects);
  g_autofree char *user = network_key(&peer->origin), *clone = network_key(&peer->clone_key);
  g_autofree char *since = network_time(peer->since);
  g_autoptr(GString) addresses = g_string_new(NULL);
  for (gsize i = 0; i < peer->n_addresses; i++)
    g_string_append_printf(addresses, "%s%s", i > 0 ? " " : "", peer->addresses[i]);
  const char *cells[] = {peer->name, peer->state, streams,
                         sent,       received,    addresses->str,
                         user,       clone,       peer->dialled ? "true" : "false",
                         reconnects, since};
  table_add(table, cells);
}

static void
print_head(const Doppel__Wire__ControlHead *head)
{
  g_autofree char *time = network_time(head->time), *key = network_key(&head->directory);
  g_autofree char *trouble = g_strescape(head->trouble, NULL);
  fprintf(stderr, "directory %s (%.16s...): %" G_GUINT64_FORMAT " entries, signed %s\n", head->name, key,
          head->number, time);
  if (*trouble)
    fprintf(stderr, "doppel peers: the directory %s has contradicted itself: %s\n", head->name, trouble);
}

/* The clone's own binding, which only the device with the user's key can renew. */
static void
warn_binding(void)
{
  ProtobufCMessage *answer = network_ask("status", NULL, &doppel__wire__control_status__descriptor, NULL);
  if (!answer)
    return;
  const ProtobufCBinaryData *bytes = &((const Doppel__Wire__ControlStatus *)answer)->record;
  g_autoptr(Record) record =
      bytes->len > 0 ? record_decode_unplaced(bytes->data, bytes->len, NULL, NULL) : NULL;
  g_autofree char *words = record ? name_renewal_words(record) : NULL;
  if (words)
    network_notes("peers", &words, 1);
  protobuf_c_message_free_unpacked(answer, NULL);
}

/* All pages, of which the first has more than links. NULL with an error. */
static GPtrArray *
ask_all(Table *table, GError **error)
{
  g_autoptr(GPtrArray) pages = network_answers_new();
  Doppel__Wire__ControlPeersPage question = DOPPEL__WIRE__CONTROL_PEERS_PAGE__INIT;
  for (gboolean more = TRUE; more;) {
    Peers *page =
        (Peers *)network_ask("peers", &question.base, &doppel__wire__control_peers__descriptor, error);
    if (!page)
      return NULL;
    g_ptr_array_add(pages, page);
    for (gsize i = 0; i < page->n_peers; i++)
      add_peer(table, page->peers[i]);
    more = page->more && page->n_peers > 0;
    if (more)
      question.after = page->peers[page->n_peers - 1]->id;
  }
  return g_steal_pointer(&pages);
}

static int
peers(gboolean directories, gboolean json)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  g_autoptr(GPtrArray) pages = ask_all(table, &error);
  if (!pages)
    return cmd_fail("peers", error);
  const Peers *told = pages->pdata[0];
  if (directories)
    peers_directories_print(told, json);
  else if (json || table_rows(table) > 0)
    table_print(table, json, stdout);
  else
    fputs("The clone is linked with no other now; links are made when they are used.\n", stderr);
  for (gsize i = 0; !directories && i < told->n_heads; i++)
    print_head(told->heads[i]);
  peers_directories_warn(told);
  warn_binding();
  return 0;
}

static gboolean
add_users(Table *table, const Doppel__Wire__ControlListed *listed, IdentityPublic *last, GError **error)
{
  for (gsize i = 0; i < listed->n_users; i++) {
    const ProtobufCBinaryData *bytes = &listed->users[i]->record;
    g_autoptr(Record) record = record_decode(bytes->data, bytes->len, NULL, error);
    if (!record)
      return FALSE;
    g_autofree char *origin = identity_public_to_text(&record->origin);
    g_autofree char *user = g_strconcat("key:", origin, NULL);
    g_autofree char *clone = identity_public_to_text(&record->clone_key),
                    *provider = identity_public_to_text(&record->provider);
    g_autofree char *addresses = record->addresses ? g_strjoinv(" ", record->addresses) : g_strdup("");
    g_autofree char *sequence = number(record->sequence), *expires = network_time(record->expires);
    const char *cells[] = {record->name, user, addresses, clone, provider, sequence, expires};
    table_add(table, cells);
    *last = record->origin;
  }
  return TRUE;
}

static int
list(guint count, gboolean json)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Table) table = table_new(list_columns, G_N_ELEMENTS(list_columns));
  IdentityPublic last;
  gboolean more = TRUE;
  while (more && table_rows(table) < count && !error) {
    Doppel__Wire__ControlList question = DOPPEL__WIRE__CONTROL_LIST__INIT;
    question.count = MIN(count - table_rows(table), PAGE);
    if (table_rows(table) > 0)
      question.after = (ProtobufCBinaryData){sizeof last.bytes, last.bytes};
    ProtobufCMessage *answer =
        network_ask("list", &question.base, &doppel__wire__control_listed__descriptor, &error);
    if (!answer)
      break;
    const Doppel__Wire__ControlListed *listed = (const Doppel__Wire__ControlListed *)answer;
    more = add_users(table, listed, &last, &error) && listed->more && listed->n_users > 0;
    if (!more || table_rows(table) >= count)
      if (listed->head)
        print_head(listed->head);
    protobuf_c_message_free_unpacked(answer, NULL);
  }
  if (error)
    return cmd_fail("peers", error);
  table_print(table, json, stdout);
  if (more && !json)
    fprintf(stderr, "There are more: ask for them with --count.\n");
  return 0;
}

int
cmd_peers(int argc, char **argv)
{
  gboolean json = FALSE, all = FALSE, directories = FALSE;
  int count = PAGE;
  const GOptionEntry options[] = {
      {"list", 0, 0, G_OPTION_ARG_NONE, &all, "List the clones that the directory has", NULL},
      {"count", 0, 0, G_OPTION_ARG_INT, &count, "With --list: at most so many (64)", "N"},
      {"directories", 0, 0, G_OPTION_ARG_NONE, &directories, "List the directories that the clone asks",
       NULL},
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print JSON, with keys", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new(NULL);
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, 0))
    return 2;
  if (count < 1) {
    fputs("doppel peers: --count takes a number above 0.\n", stderr);
    return 2;
  }
  if (all && directories) {
    fputs("doppel peers: --list and --directories are two lists: ask for one.\n", stderr);
    return 2;
  }
  return all ? list(count, json) : peers(directories, json);
}
