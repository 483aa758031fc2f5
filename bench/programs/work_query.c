#include <sqlite3.h>

#include "programs/work.h"

enum { ROWS = 100000 };

static sqlite3 *database;
static sqlite3_stmt *by_index, *by_sorting;

static sqlite3_stmt *
prepare(const char *text)
{
  sqlite3_stmt *statement;
  if (sqlite3_prepare_v2(database, text, -1, &statement, NULL) != SQLITE_OK)
    g_error("%s: %s", text, sqlite3_errmsg(database));
  return statement;
}

static void
execute(const char *text)
{
  if (sqlite3_exec(database, text, NULL, NULL, NULL) != SQLITE_OK)
    g_error("%s: %s", text, sqlite3_errmsg(database));
}

void
work_query_open(void)
{
  guint32 noise = 2009;
  if (sqlite3_open(":memory:", &database) != SQLITE_OK)
    g_error("no database in memory");
  execute("create table sale(id integer primary key, shop integer, article integer, price integer); begin");
  sqlite3_stmt *row = prepare("insert into sale(shop, article, price) values(?1 % 20, ?1, ?2)");
  for (guint i = 0; i < ROWS; i++) {
    noise = noise * 1664525 + 1013904223;
    sqlite3_bind_int64(row, 1, noise >> 20);
    sqlite3_bind_int64(row, 2, noise >> 8 & 0xfff);
    if (sqlite3_step(row) != SQLITE_DONE)
      g_error("insert: %s", sqlite3_errmsg(database));
    sqlite3_reset(row);
  }
  sqlite3_finalize(row);
  execute("commit; create index by_shop on sale(shop, price, article)");
  by_index = prepare(
      "select shop, count(*), sum(price) from sale where price between ?1 and ?2 and article % ?3 > 1 "
      "group by 1 order by 1");
  by_sorting = prepare("select article % ?3, count(*), sum(price) from sale where price between ?1 and ?2 "
                       "group by 1 order by 1");
}

static guint
ask(sqlite3_stmt *question, gint64 low, gint64 high, gint64 modulus, WorkGroup *groups)
{
  guint count = 0;
  sqlite3_bind_int64(question, 1, low);
  sqlite3_bind_int64(question, 2, high);
  sqlite3_bind_int64(question, 3, modulus);
  while (count < WORK_GROUPS_MAX && sqlite3_step(question) == SQLITE_ROW)
    groups[count++] = (WorkGroup){sqlite3_column_int64(question, 0), sqlite3_column_int64(question, 1),
                                  sqlite3_column_int64(question, 2)};
  sqlite3_reset(question);
  return count;
}

__attribute__((noinline)) guint
work_query(gint64 low, gint64 high, gint64 modulus, WorkGroup *groups)
{
  return ask(by_index, low, high, modulus, groups);
}

__attribute__((noinline)) guint
work_sort(gint64 low, gint64 high, gint64 modulus, WorkGroup *groups)
{
  return ask(by_sorting, low, high, modulus, groups);
}
