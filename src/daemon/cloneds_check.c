/* cloneds check: everything that a directory signs can be recomputed, and this does. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "c2c/directory_chain.h"
#include "c2c/directory_head.h"
#include "daemon/cloneds.h"

#define PAGE        512
#define BYTES       (4u << 20)
#define PROGRESS_NS (1 * G_GINT64_CONSTANT(1000000000))

typedef struct {
  DirectoryStore *store;
  IdentityPublic own;
  guint64 users, told, entries, standing; /* entries whose record is still the newest */
  guint64 problems;
  gint64 said_at; /* CLOCK_MONOTONIC ns */
} Check;

static void G_GNUC_PRINTF(2, 3) complain(Check *check, const char *format, ...)
{
  va_list values;
  va_start(values, format);
  g_autofree char *words = g_strdup_vprintf(format, values);
  va_end(values);
  check->problems++;
  printf("damaged: %s\n", words);
}

/* On a terminal, in a line of its own that the next overwrites. */
static void
progress(Check *check, const char *what, guint64 done)
{
  gint64 now = clock_now_ns();
  if (now - check->said_at < PROGRESS_NS || !isatty(STDERR_FILENO))
    return;
  check->said_at = now;
  g_printerr("%" G_GUINT64_FORMAT " %s\r", done, what);
}

static void
check_told(Check *check, const DirectoryRow *row, const char *user)
{
  g_autoptr(GError) error = NULL;
  DirectorySigned update = {0};
  gsize length;
  const void *bytes = row->update ? g_bytes_get_data(row->update, &length) : NULL;
  check->told++;
  if (!bytes || !directory_signed_unpack(bytes, length, &update, &error)) {
    complain(check, "user %s: the home directory's statement is missing", user);
    return;
  }
  g_autoptr(Record) told = directory_update_verify(&update, NULL, NULL, &error);
  directory_signed_clear(&update);
  if (!told)
    complain(check, "user %s: %s", user, error->message);
  else if (!g_bytes_equal(told->bytes, row->record))
    complain(check, "user %s: the home directory's statement is of another record", user);
}

static void
check_user(Check *check, const DirectoryRow *row)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *user = identity_public_to_text(&row->origin);
  gsize length;
  const void *bytes = g_bytes_get_data(row->record, &length);
  g_autoptr(Record) record = record_decode(bytes, length, &row->origin, &error);
  check->users++;
  if (!record) {
    complain(check, "user %s: %s", user, error->message);
    return;
  }
  if (memcmp(record->hash, row->hash, sizeof row->hash) != 0)
    complain(check, "user %s: the record has another hash than is noted", user);
  if (!identity_public_equal(&record->directory, &row->home))
    complain(check, "user %s: the record has another home than is noted", user);
  if (row->number == 0)
    check_told(check, row, user);
  else if (!identity_public_equal(&record->directory, &check->own))
    complain(check, "user %s: is registered here, but has another home", user);
  g_autoptr(GArray) named = directory_store_find(check->store, record->name, &row->home, &error);
  gboolean found = FALSE;
  for (guint i = 0; named && i < named->len; i++)
    found = found || identity_public_equal(&g_array_index(named, IdentityPublic, i), &row->origin);
  if (!found)
    complain(check, "user %s: is not found by name", user);
  if (row->number > 0 && named && named->len > 1)
    complain(check, "user %s: somebody else has the name, too", user);
}

static gboolean
check_users(Check *check, GError **error)
{
  IdentityPublic after, *from = NULL;
  for (guint count = PAGE; count == PAGE;) {
    g_autoptr(GPtrArray) page = directory_store_page(check->store, NULL, from, PAGE, error);
    if (!page)
      return FALSE;
    for (guint i = 0; i < page->len; i++) {
      check_user(check, page->pdata[i]);
      progress(check, "users' records verified", check->users);
    }
    count = page->len;
    if (count > 0)
      after = ((DirectoryRow *)page->pdata[count - 1])->origin;
    from = &after;
  }
  return TRUE;
}

static void
check_entry(Check *check, DirectoryState *state, const DirectoryEntry *entry)
{
  if (entry->number != state->number + 1)
    complain(check, "the log goes from number %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT, state->number,
             entry->number);
  directory_chain_extend(state, entry->hash);
  state->number = entry->number;
  if (memcmp(state->chain, entry->chain, sizeof state->chain) != 0) {
    complain(check, "the chain is broken at number %" G_GUINT64_FORMAT, entry->number);
    memcpy(state->chain, entry->chain, sizeof state->chain);
  }
  check->entries++;
  if (!entry->record)
    return;
  guint8 hash[RECORD_HASH_LENGTH];
  gsize length;
  const void *bytes = g_bytes_get_data(entry->record, &length);
  directory_chain_hash(bytes, length, hash);
  check->standing++;
  if (memcmp(hash, entry->hash, sizeof hash) != 0)
    complain(check, "number %" G_GUINT64_FORMAT " in the log is of another record", entry->number);
}

static gboolean
check_log(Check *check, const DirectoryState *end, GError **error)
{
  DirectoryState state = {0};
  while (state.number < end->number) {
    g_autoptr(GPtrArray) entries = directory_store_changes(check->store, state.number, BYTES, error);
    if (!entries)
      return FALSE;
    if (entries->len == 0)
      break;
    for (guint i = 0; i < entries->len && state.number < end->number; i++)
      check_entry(check, &state, entries->pdata[i]);
    progress(check, "entries of the log recomputed", check->entries);
  }
  if (!directory_state_equal(&state, end))
    complain(check, "the log does not make what is signed as its end (number %" G_GUINT64_FORMAT ")",
             end->number);
  return TRUE;
}

static gboolean
check_all(ClonedsPlace *place, guint64 *problems, GError **error)
{
  Check check = {.said_at = clock_now_ns()};
  DirectoryState before, after;
  if (!cloneds_place_complete(place, error))
    return FALSE;
  g_autoptr(IdentityKey) key = cloneds_place_key(place, error);
  g_autoptr(DirectoryStore) store = key ? cloneds_place_look(place, error) : NULL;
  if (!store)
    return FALSE;
  check.store = store;
  check.own = *identity_key_public(key);
  if (!directory_store_state(store, &before, error) || !check_log(&check, &before, error) ||
      !check_users(&check, error) || !directory_store_state(store, &after, error))
    return FALSE;
  /* Beside a running server both have gone on meanwhile. */
  if (directory_state_equal(&before, &after) && check.standing > check.users - check.told)
    complain(&check, "the log has %" G_GUINT64_FORMAT " records that no user has",
             check.standing - check.users);
  printf("%" G_GUINT64_FORMAT " users (%" G_GUINT64_FORMAT " of other directories), %" G_GUINT64_FORMAT
         " registrations: %s\n",
         check.users, check.told, check.entries, check.problems ? "damaged" : "all is as it was signed");
  *problems = check.problems;
  return fflush(stdout) == 0 || doppel_error_errno(error, "cannot write");
}

int
cloneds_check(int argc, char **argv)
{
  g_auto(ClonedsPlace) place = {0};
  GOptionEntry entries[] = {
      {"store", 0, 0, G_OPTION_ARG_STRING, &place.store, CLONEDS_STORE_HELP, "URI"},
      {"state", 0, 0, G_OPTION_ARG_FILENAME, &place.state, CLONEDS_STATE_HELP, "DIR"},
      {NULL},
  };
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new(NULL);
  g_option_context_add_main_entries(context, entries, NULL);
  g_option_context_set_summary(
      context, "Verifies every record's signatures, recomputes the log's chain from its first "
               "entry, and says what is damaged.\nExit status 1 where something is. It may "
               "run beside \"cloneds serve\".");
  int status;
  guint64 problems = 0;
  if (!cloneds_parse(context, &argc, &argv, 0, &status))
    return status;
  if (!check_all(&place, &problems, &error))
    return cloneds_fail("check", error);
  return problems ? 1 : 0;
}
