/* The messages about shared files; what is searched for, as an expression that SQLite takes. */
#include <sqlite3.h>
#include <string.h>

#include "c2c/search_query.h"
#include "c2c/share_index.h"
#include "c2c/share_message.h"

static sqlite3_stmt *
prepare(void)
{
  sqlite3 *database;
  sqlite3_stmt *statement;
  if (sqlite3_open(":memory:", &database) != SQLITE_OK ||
      sqlite3_exec(
          database,
          "CREATE VIRTUAL TABLE words USING fts5(path, content, tokenize='unicode61 remove_diacritics 2');"
          "INSERT INTO words VALUES('a/b.txt', 'some words')",
          NULL, NULL, NULL) != SQLITE_OK ||
      sqlite3_prepare_v2(database, "SELECT rowid, rank FROM words WHERE words MATCH ? ORDER BY rank LIMIT 5",
                         -1, &statement, NULL) != SQLITE_OK)
    g_error("SQLite has no FTS5");
  return statement;
}

static void
check_query(const char *words)
{
  static sqlite3_stmt *statement;
  g_autofree char *match = search_query_match(words, NULL);
  int step = SQLITE_ROW;
  if (!statement)
    statement = prepare();
  if (!match)
    return;
  sqlite3_bind_text(statement, 1, match, -1, SQLITE_STATIC);
  while (step == SQLITE_ROW)
    step = sqlite3_step(statement);
  sqlite3_reset(statement);
  if (step != SQLITE_DONE)
    g_error("SQLite refuses %s", match);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  g_autoptr(ShareMessage) message = share_message_unpack(data, length, NULL);
  g_autofree char *text = g_strndup((const char *)data, length);
  check_query(text);
  if (message && message->what_case == DOPPEL__SHARE__MESSAGE__WHAT_QUERY)
    check_query(message->query->words);
  if (message && message->what_case == DOPPEL__SHARE__MESSAGE__WHAT_SHARE && message->share->n_exclude > 0) {
    char *exclude[] = {message->share->exclude[0], NULL};
    Share share = {.exclude = exclude};
    share_admits(&share, text);
  }
  return 0;
}
