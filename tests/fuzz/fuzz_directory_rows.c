/* What a directory and its clients find in their own files, where these are damaged, or another's: rows of
 * any types and bytes. Nothing that comes out of them is believed unproved. */
#include <sqlite3.h>

#include "c2c/directory_cache.h"
#include "c2c/directory_store.h"
#include "people.h"

#define ROWS 12

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

static void
bind_bytes(sqlite3_stmt *statement, int column, GBytes *bytes)
{
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  sqlite3_bind_blob(statement, column, data, (int)length, SQLITE_TRANSIENT);
}

static GBytes *
some_proof(Input *input)
{
  DirectoryState state = {.number = input_below(input, 4), .chain = {(guint8)input_below(input, 3)}};
  const IdentityKey *key = people_home(input_below(input, PEOPLE_HOMES));
  DirectorySigned proof = input_below(input, 2)
                              ? directory_head_sign(key, &state, 1000 + input_below(input, 4))
                              : directory_update_sign(key, 1, people_any_record(input)->bytes);
  GBytes *packed = directory_signed_pack(&proof);
  directory_signed_clear(&proof);
  return packed;
}

/* What may be right in that column, or not. */
static void
bind_something(sqlite3_stmt *statement, int column, Input *input)
{
  gsize length;
  const guint8 *bytes;
  g_autoptr(GBytes) proof = NULL;
  guint who = input_below(input, PEOPLE);
  switch (input_below(input, 8)) {
  case 0:
    bytes = input_blob(input, &length);
    sqlite3_bind_blob(statement, column, length ? bytes : (const guint8 *)"", (int)length, SQLITE_TRANSIENT);
    break;
  case 1:
    sqlite3_bind_text(statement, column, people_name(who), -1, SQLITE_STATIC);
    break;
  case 2:
    bind_bytes(statement, column, people_any_record(input)->bytes);
    break;
  case 3:
    sqlite3_bind_blob(statement, column, people_origin(who)->bytes, IDENTITY_PUBLIC_LENGTH, SQLITE_TRANSIENT);
    break;
  case 4:
    bytes = identity_key_public(people_home(who % PEOPLE_HOMES))->bytes;
    sqlite3_bind_blob(statement, column, bytes, IDENTITY_PUBLIC_LENGTH, SQLITE_TRANSIENT);
    break;
  case 5:
    proof = some_proof(input);
    bind_bytes(statement, column, proof);
    break;
  default:
    sqlite3_bind_int64(statement, column,
                       input_below(input, 8) ? input_below(input, 5) : (gint64)input_number(input, 8));
  }
}

static void
damage(const char *path, const char *const *inserts, guint count, Input *input)
{
  sqlite3 *database;
  demand(sqlite3_open(path, &database) == SQLITE_OK);
  for (guint i = 0; i < ROWS && input->left > 0; i++) {
    sqlite3_stmt *statement;
    demand(sqlite3_prepare_v2(database, inserts[input_below(input, count)], -1, &statement, NULL) ==
           SQLITE_OK);
    for (int column = 1; column <= sqlite3_bind_parameter_count(statement); column++)
      bind_something(statement, column, input);
    sqlite3_step(statement);
    sqlite3_finalize(statement);
  }
  sqlite3_close(database);
}

/* Takes `results`. */
static void
check_results(GPtrArray *results, const char *name, const IdentityPublic *origin)
{
  for (guint i = 0; results && i < results->len; i++) {
    const Record *record = ((const DirectoryResult *)results->pdata[i])->record;
    demand((!name || g_str_equal(record->name, name)) &&
           (!origin || identity_public_equal(&record->origin, origin)));
  }
  if (results)
    g_ptr_array_unref(results);
}

static void
check_heads(GArray *heads)
{
  for (guint i = 0; heads && i < heads->len; i++) {
    const DirectoryHead *head = &g_array_index(heads, DirectoryHead, i);
    g_auto(DirectoryHead) same = {0};
    demand(directory_head_verify(&head->proof, &head->directory, &same, NULL));
  }
  if (heads)
    g_array_unref(heads);
}

static void
drop(gpointer array)
{
  if (array)
    g_ptr_array_unref(array);
}

static void
use_cache(Input *input)
{
  static const char *const inserts[] = {"INSERT OR REPLACE INTO record VALUES(?,?,?,?,?,?,?)",
                                        "INSERT OR REPLACE INTO head VALUES(?,?,?,?,?,?)",
                                        "INSERT OR REPLACE INTO evidence VALUES(?,?,?,?,?,?)"};
  g_autoptr(DirectoryCache) cache = directory_cache_open("/cache", NULL);
  demand(cache != NULL);
  damage("/cache", inserts, G_N_ELEMENTS(inserts), input);
  for (guint i = 0; i < PEOPLE; i++) {
    const IdentityPublic *origin = people_origin(i);
    check_results(directory_cache_find(cache, NULL, origin, NULL, NULL), NULL, origin);
    check_results(directory_cache_find(cache, people_name(i), NULL, NULL, NULL), people_name(i), NULL);
    g_autoptr(Record) newer = NULL;
    directory_cache_put(cache, people_record(i, input_below(input, PEOPLE_KINDS)), NULL, NULL, &newer, NULL);
  }
  for (guint i = 0; i < PEOPLE_HOMES; i++) {
    const IdentityPublic *home = identity_key_public(people_home(i));
    g_auto(DirectoryHead) anchor = {0};
    g_auto(DirectoryHead) other = {0};
    check_heads(directory_cache_unlinked(cache, home, NULL));
    drop(directory_cache_evidence(cache, home, NULL));
    if (directory_cache_anchor(cache, home, &anchor, NULL) > 0)
      directory_cache_other_head(cache, &anchor, &other, NULL);
    if (anchor.proof.statement)
      directory_cache_add_head(cache, &anchor, TRUE, NULL);
  }
  check_heads(directory_cache_heads(cache, NULL));
}

static void
use_store(Input *input)
{
  static const char *const inserts[] = {"INSERT OR REPLACE INTO record VALUES(?,?,?,?,?,?,?,?)",
                                        "INSERT OR REPLACE INTO log VALUES(?,?,?,?)"};
  g_autoptr(DirectoryStore) store = directory_store_open("sqlite:/directory", NULL);
  DirectoryState state;
  guint64 count;
  demand(store != NULL);
  damage("/directory", inserts, G_N_ELEMENTS(inserts), input);
  directory_store_state(store, &state, NULL);
  directory_store_count(store, &count, NULL);
  for (guint i = 0; i < PEOPLE; i++) {
    g_autoptr(DirectoryRow) row = NULL;
    directory_store_get(store, people_origin(i), &row, NULL);
    GArray *named = directory_store_find(store, people_name(i), NULL, NULL);
    if (named)
      g_array_unref(named);
  }
  for (guint i = 0; i < PEOPLE_HOMES; i++) {
    const IdentityPublic *home = identity_key_public(people_home(i));
    GArray *seen = directory_store_seen(store, home, people_origin(i)->bytes[0], NULL);
    drop(directory_store_page(store, home, NULL, 10, NULL));
    if (seen)
      g_array_unref(seen);
  }
  for (guint64 since = 0; since < 5; since++) {
    guint8 chain[DIRECTORY_CHAIN_LENGTH];
    drop(directory_store_changes(store, since, 1 + input_number(input, 2), NULL));
    directory_store_chain(store, since, chain, NULL);
  }
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  people_files_in_memory();
  Input input = {data, length};
  (input_below(&input, 2) ? use_cache : use_store)(&input);
  return 0;
}
