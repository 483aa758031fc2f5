/* doppel whois: what the directory has of a user. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cmd/cmd.h"
#include "cmd/network_ask.h"
#include "cmd/table.h"
#include "identity/base32.h"

static const char summary[] =
    "Prints what is known of a user in the network of clones: the key by which they are known for ever, "
    "whose "
    "host their\nclone is at, and where it can be reached. All of it is signed, and was verified here.";

static const char notes[] =
    "USER is a name, DIRECTORY/NAME, or key:FINGERPRINT. A contact (\"doppel contacts\") "
    "means who it meant first.\n\n"
    "Examples:\n"
    "  doppel whois alice\n"
    "  doppel whois alice --proof     who has signed what of it";

static const TableColumn columns[] = {
    {"NAME", "name"},
    {"USER", "user"},
    {"ADDRESSES", "addresses"},
    {"EXPIRES", "expires"},
    {NULL, "contact"},
    {NULL, "clone"},
    {NULL, "clone_key"},
    {NULL, "device"},
    {NULL, "provider"},
    {NULL, "directory"},
    {NULL, "serial", TABLE_NUMBER},
    {NULL, "sequence", TABLE_NUMBER},
    {NULL, "reachable_until"},
    {NULL, "revoked", TABLE_BOOLEAN},
    {NULL, "cached", TABLE_BOOLEAN},
    {NULL, "told"},
    {NULL, "notes"},
};

static const TableColumn proof_columns[] = {
    {"STATEMENT", "statement"},
    {"SAYS", "says"},
    {"SIGNED BY", "signed_by"},
    {"KEY", "key"},
    {"VERIFIED", "verified", TABLE_BOOLEAN},
};

static char *
key_text(const IdentityPublic *key)
{
  g_autofree char *text = identity_public_to_text(key);
  return g_strconcat("key:", text, NULL);
}

/* How old it is, where no directory says it now. */
static void
print_age(const Doppel__Wire__ControlUser *user)
{
  g_autofree char *age = network_age(user->time);
  if (!user->cached)
    return;
  if (user->time > 0)
    fprintf(stderr, "This is what is remembered: a directory told it %s ago.\n", age);
  else
    fputs("This is what is remembered: no directory has told it, but the clone itself.\n", stderr);
}

static void
print_user(const Record *record, const Doppel__Wire__ControlUser *user, gboolean json)
{
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  g_autofree char *origin = key_text(&record->origin), *clone_key = key_text(&record->clone_key),
                  *device = key_text(&record->device), *provider = key_text(&record->provider),
                  *directory = key_text(&record->directory);
  g_autofree char *addresses = record->addresses ? g_strjoinv(" ", record->addresses) : g_strdup("");
  g_autofree char *expires = network_time(record->expires),
                  *until = network_time(record->whereabouts_expires), *told = network_time(user->time);
  g_autofree char *clone = base32_encode(record->clone, sizeof record->clone);
  g_autoptr(GString) odd = g_string_new(NULL);
  for (gsize i = 0; i < user->n_notes; i++)
    g_string_append_printf(odd, "%s%s", i > 0 ? "\n" : "", user->notes[i]);
  g_autofree char *serial = g_strdup_printf("%" G_GUINT64_FORMAT, record->serial);
  g_autofree char *sequence = g_strdup_printf("%" G_GUINT64_FORMAT, record->sequence);
  const char *cells[] = {record->name,
                         origin,
                         addresses,
                         expires,
                         *user->contact ? user->contact : NULL,
                         clone,
                         clone_key,
                         device,
                         provider,
                         directory,
                         serial,
                         sequence,
                         until,
                         record->revoked ? "true" : "false",
                         user->cached ? "true" : "false",
                         told,
                         odd->str};
  table_add(table, cells);
  table_print(table, json, stdout);
  if (!json)
    print_age(user);
  if (!json && record->revoked)
    fprintf(stderr, "%s has no clone now.\n", record->name);
}

/* The first letters of a key, as people compare them. */
static char *
short_key(const IdentityPublic *key)
{
  g_autofree char *text = identity_public_to_text(key);
  return g_strdup_printf("%.12s", text);
}

static void
add_statement(Table *table, const char *statement, const char *says, const char *role,
              const IdentityPublic *key)
{
  g_autofree char *text = short_key(key);
  /* record_decode() gives nothing of which not every signature is right. */
  const char *cells[] = {statement, says, role, text, "true"};
  table_add(table, cells);
}

static void
print_proof(const Record *record, gboolean json)
{
  g_autoptr(Table) table = table_new(proof_columns, G_N_ELEMENTS(proof_columns));
  g_autofree char *origin = short_key(&record->origin), *key = short_key(&record->key),
                  *clone_key = short_key(&record->clone_key), *provider = short_key(&record->provider);
  g_autofree char *clone = base32_encode(record->clone, sizeof record->clone);
  g_autofree char *expires = network_time(record->expires),
                  *until = network_time(record->whereabouts_expires);
  g_autofree char *addresses = record->addresses ? g_strjoinv(" ", record->addresses) : g_strdup("");
  g_autofree char *root = g_strdup_printf("the user is %s", origin);
  g_autofree char *later = g_strdup_printf("after %u successions (%u by recovery) the user's key is %s",
                                           record->successions, record->recoveries, key);
  g_autofree char *binding = record->revoked ? g_strdup_printf("%s has no clone", record->name)
                                             : g_strdup_printf("%s's clone is %s with the key %s, until %s",
                                                               record->name, clone, clone_key, expires);
  g_autofree char *hosting = g_strdup_printf("the clone %s is at home at the host %s", clone, provider);
  g_autofree char *where = g_strdup_printf("the clone is at %s, until %s", addresses, until);
  add_statement(table, "root", root, "user", &record->origin);
  if (record->successions > 0)
    add_statement(table, "succession", later, "user or recovery, and the new key", &record->key);
  add_statement(table, "binding", binding, "user", &record->key);
  add_statement(table, "hosting", hosting, "provider", &record->provider);
  if (record->sequence > 0)
    add_statement(table, "whereabouts", where, "clone", &record->clone_key);
  table_print(table, json, stdout);
}

static int
whois(const char *name, gboolean fresh, gboolean proof, gboolean json)
{
  g_autoptr(GError) error = NULL;
  Doppel__Wire__ControlWhois question = DOPPEL__WIRE__CONTROL_WHOIS__INIT;
  question.user = (char *)name;
  question.fresh = fresh;
  ProtobufCMessage *answer =
      network_ask("whois", &question.base, &doppel__wire__control_user__descriptor, &error);
  if (!answer)
    return cmd_fail("whois", error);
  const Doppel__Wire__ControlUser *user = (const Doppel__Wire__ControlUser *)answer;
  g_autoptr(Record) record = record_decode(user->record.data, user->record.len, NULL, &error);
  if (record && proof)
    print_proof(record, json);
  else if (record)
    print_user(record, user, json);
  if (record)
    network_notes("whois", user->notes, user->n_notes);
  protobuf_c_message_free_unpacked(answer, NULL);
  return record ? 0 : cmd_fail("whois", error);
}

int
cmd_whois(int argc, char **argv)
{
  gboolean json = FALSE, proof = FALSE, cached = FALSE;
  const GOptionEntry options[] = {
      {"proof", 0, 0, G_OPTION_ARG_NONE, &proof, "Print each statement, and who has signed it", NULL},
      {"cached", 0, 0, G_OPTION_ARG_NONE, &cached, "What the clone remembers is enough", NULL},
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print JSON, with all keys", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("USER");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 1, 1))
    return 2;
  return whois(argv[1], !cached, proof, json);
}
