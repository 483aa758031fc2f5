/* cloneds list and show: what is registered, read from the store beside a running server. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "cmd/table.h"
#include "daemon/cloneds.h"

#define PAGE 512

static const TableColumn columns[] = {
    {"NAME", "name", TABLE_TEXT},           {"KEY", "origin", TABLE_TEXT},
    {"ADDRESSES", "addresses", TABLE_TEXT}, {"NUMBER", "number", TABLE_NUMBER},
    {"UNTIL", "until", TABLE_TEXT},         {NULL, "home", TABLE_TEXT},
    {NULL, "expires", TABLE_NUMBER},        {NULL, "revoked", TABLE_BOOLEAN},
};

static char *
words_of_time(gint64 seconds)
{
  g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(seconds);
  return time ? g_date_time_format(time, "%F %T") : g_strdup("-");
}

static Record *
decode(const DirectoryRow *row, GError **error)
{
  gsize length;
  const void *bytes = g_bytes_get_data(row->record, &length);
  Record *record = record_decode(bytes, length, &row->origin, error);
  if (!record)
    g_prefix_error(error, "a record is damaged (see \"cloneds check\"): ");
  return record;
}

static gboolean
add_row(Table *table, const DirectoryRow *row, GError **error)
{
  g_autoptr(Record) record = decode(row, error);
  if (!record)
    return FALSE;
  g_autofree char *origin = identity_public_to_text(&row->origin);
  g_autofree char *home = identity_public_to_text(&row->home);
  g_autofree char *addresses = g_strjoinv(" ", record->addresses);
  g_autofree char *number = g_strdup_printf("%" G_GUINT64_FORMAT, row->number);
  g_autofree char *expires = g_strdup_printf("%" G_GINT64_FORMAT, record->expires);
  g_autofree char *until = record->revoked ? g_strdup("no clone") : words_of_time(record->expires);
  const char *const cells[] = {
      record->name, origin, addresses, number, until, home, expires, record->revoked ? "true" : "false",
  };
  table_add(table, cells);
  return TRUE;
}

static gboolean
list(ClonedsPlace *place, gboolean json, GError **error)
{
  g_autoptr(DirectoryStore) store =
      cloneds_place_complete(place, error) ? cloneds_place_look(place, error) : NULL;
  if (!store)
    return FALSE;
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  IdentityPublic after, *from = NULL;
  for (guint count = PAGE; count == PAGE;) {
    g_autoptr(GPtrArray) page = directory_store_page(store, NULL, from, PAGE, error);
    if (!page)
      return FALSE;
    for (guint i = 0; i < page->len; i++)
      if (!add_row(table, page->pdata[i], error))
        return FALSE;
    count = page->len;
    if (count > 0)
      after = ((DirectoryRow *)page->pdata[count - 1])->origin;
    from = &after;
  }
  table_print(table, json, stdout);
  return fflush(stdout) == 0 || doppel_error_errno(error, "cannot write");
}

int
cloneds_list(int argc, char **argv)
{
  g_auto(ClonedsPlace) place = {0};
  gboolean json = FALSE;
  GOptionEntry entries[] = {
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print JSON", NULL},
      {"store", 0, 0, G_OPTION_ARG_STRING, &place.store, CLONEDS_STORE_HELP, "URI"},
      {"state", 0, 0, G_OPTION_ARG_FILENAME, &place.state, CLONEDS_STATE_HELP, "DIR"},
      {NULL},
  };
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new(NULL);
  g_option_context_add_main_entries(context, entries, NULL);
  g_option_context_set_summary(context,
                               "Lists the users that this directory knows: their names and keys, where "
                               "their clones are, under which\nnumber they were registered here (0: "
                               "another directory told of them), until when.");
  int status;
  if (!cloneds_parse(context, &argc, &argv, 0, &status))
    return status;
  return list(&place, json, &error) ? 0 : cloneds_fail("list", error);
}

/* One user, as "name value" lines or as a JSON object. */
typedef struct {
  gboolean json;
  GString *text;
} Card;

static void
card_add(Card *card, const char *name, const char *key, const char *value, gboolean quoted)
{
  if (!card->json) {
    g_autofree char *printable = g_strescape(value, NULL);
    for (guchar *byte = (guchar *)value; *byte; byte++)
      if (*byte >= 0x80) { /* UTF-8, which records' texts are, and without control characters */
        g_free(printable);
        printable = g_strdup(value);
        break;
      }
    g_string_append_printf(card->text, "%-12s %s\n", name, printable);
    return;
  }
  g_string_append_printf(card->text, "%s\"%s\":", card->text->len > 1 ? "," : "", key);
  if (quoted)
    json_append_string(card->text, value);
  else
    g_string_append(card->text, value);
}

static void
card_add_key(Card *card, const char *name, const char *key, const IdentityPublic *public)
{
  g_autofree char *text = identity_public_to_text(public);
  card_add(card, name, key, text, TRUE);
}

static void
card_add_time(Card *card, const char *name, const char *key, gint64 seconds)
{
  g_autofree char *text = card->json ? g_strdup_printf("%" G_GINT64_FORMAT, seconds) : words_of_time(seconds);
  card_add(card, name, key, text, FALSE);
}

static void
card_add_number(Card *card, const char *name, const char *key, guint64 number)
{
  g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, number);
  card_add(card, name, key, text, FALSE);
}

static void
describe(Card *card, const DirectoryRow *row, const Record *record)
{
  g_autofree char *addresses = g_strjoinv(" ", record->addresses);
  if (card->json)
    g_string_append_c(card->text, '{');
  card_add(card, "name", "name", record->name, TRUE);
  card_add_key(card, "user", "origin", &record->origin);
  card_add_key(card, "key now", "key", &record->key);
  card_add_number(card, "successions", "successions", record->successions);
  card_add_number(card, "by recovery", "recoveries", record->recoveries);
  card_add_key(card, "clone", "clone_key", &record->clone_key);
  card_add_key(card, "device", "device", &record->device);
  card_add_key(card, "provider", "provider", &record->provider);
  card_add_key(card, "home", "home", &record->directory);
  card_add(card, "clone there", "has_clone", record->revoked ? "false" : "true", FALSE);
  card_add(card, "addresses", "addresses", addresses, TRUE);
  card_add_number(card, "serial", "serial", record->serial);
  card_add_number(card, "sequence", "sequence", record->sequence);
  card_add_time(card, "bound", "issued", record->issued);
  card_add_time(card, "until", "expires", record->expires);
  card_add_time(card, "place until", "whereabouts_expires", record->whereabouts_expires);
  card_add_number(card, "number", "number", row->number);
  if (card->json)
    g_string_append_c(card->text, '}');
}

static GArray *
find(DirectoryStore *store, const char *user, GError **error)
{
  if (!g_str_has_prefix(user, "key:"))
    return record_name_check(user, error) ? directory_store_find(store, user, NULL, error) : NULL;
  IdentityPublic origin;
  if (!identity_public_from_text(user + strlen("key:"), &origin, error))
    return NULL;
  GArray *one = g_array_new(FALSE, FALSE, sizeof origin);
  g_array_append_val(one, origin);
  return one;
}

static gboolean
show(ClonedsPlace *place, const char *user, gboolean json, GError **error)
{
  g_autoptr(DirectoryStore) store =
      cloneds_place_complete(place, error) ? cloneds_place_look(place, error) : NULL;
  g_autoptr(GArray) origins = store ? find(store, user, error) : NULL;
  guint shown = 0;
  if (!origins)
    return FALSE;
  g_autoptr(GString) all = g_string_new(json ? "[" : NULL);
  for (guint i = 0; i < origins->len; i++) {
    g_autoptr(DirectoryRow) row = NULL;
    int found = directory_store_get(store, &g_array_index(origins, IdentityPublic, i), &row, error);
    g_autoptr(Record) record = found > 0 ? decode(row, error) : NULL;
    if (found < 0 || (found > 0 && !record))
      return FALSE;
    if (!record)
      continue;
    Card card = {json, g_string_new(NULL)};
    describe(&card, row, record);
    g_string_append_printf(all, "%s%s", shown == 0 ? "" : json ? "," : "\n", card.text->str);
    g_string_free(card.text, TRUE);
    shown++;
  }
  if (shown == 0)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                            "there is no user \"%s\" here: see \"cloneds list\"", user);
  printf("%s%s", all->str, json ? "]\n" : "");
  return fflush(stdout) == 0 || doppel_error_errno(error, "cannot write");
}

int
cloneds_show(int argc, char **argv)
{
  g_auto(ClonedsPlace) place = {0};
  gboolean json = FALSE;
  GOptionEntry entries[] = {
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print JSON", NULL},
      {"store", 0, 0, G_OPTION_ARG_STRING, &place.store, CLONEDS_STORE_HELP, "URI"},
      {"state", 0, 0, G_OPTION_ARG_FILENAME, &place.state, CLONEDS_STATE_HELP, "DIR"},
      {NULL},
  };
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new("USER");
  g_option_context_add_main_entries(context, entries, NULL);
  g_option_context_set_summary(context,
                               "Shows all that the directory knows of the users of that name, or of the one "
                               "whose first key it is\n(key:FINGERPRINT).");
  g_option_context_set_description(context, "Example: cloneds show alice");
  int status;
  if (!cloneds_parse(context, &argc, &argv, 1, &status))
    return status;
  return show(&place, argv[1], json, &error) ? 0 : cloneds_fail("show", error);
}
