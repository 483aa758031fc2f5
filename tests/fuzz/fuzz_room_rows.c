/* A room's file that was damaged, or put together of several: it is refused with words, or the room works
 * with what is in it, keeps that, and says nothing that its devices cannot take. */
#include <sys/socket.h>
#include <unistd.h>

#include "room_bed.h"
#include "wire/message.h"

enum { CHANGES = 6 };

static const struct {
  const char *table, *columns[17];
} tables[] = {
    {"document",
     {"name", "title", "addresses", "server", "stage", "inviter", "inviter_user", "invitation",
      "invitation_number", "start", "digest", "start_entry", "fault", "pardon", "fault_words", "fault_at",
      "proof"}},
    {"state", {"name", "state"}},
    {"own", {"name", "own", "head", "ahead", "changed"}},
    {"entry", {"name", "number", "entry", "verdict", "time"}},
    {"copy", {"name", "id", "pair", "used"}},
    {"person", {"name", "key", "user", "said", "invite", "entry", "from_now", "head", "head_at"}},
};

static sqlite3 *file;

/* ---- damage ---- */

static gint64
pick_row(const char *table, Input *input)
{
  g_autofree char *sql = g_strdup_printf("SELECT rowid FROM %s ORDER BY rowid", table);
  g_autoptr(DatabaseStatement) rows = database_prepare(file, NULL, sql, "");
  gint64 row = 0;
  for (guint left = 1 + input_below(input, 8); left > 0 && database_step(rows, NULL) > 0; left--)
    row = sqlite3_column_int64(rows, 0);
  return row;
}

/* A value that is somewhere in the file. */
static sqlite3_value *
some_value(Input *input)
{
  guint table = input_below(input, G_N_ELEMENTS(tables)), column = 0,
        wanted = input_below(input, G_N_ELEMENTS(tables[0].columns));
  while (column < wanted && column + 1 < G_N_ELEMENTS(tables[0].columns) && tables[table].columns[column + 1])
    column++;
  g_autofree char *sql = g_strdup_printf("SELECT %s FROM %s WHERE rowid = ?", tables[table].columns[column],
                                         tables[table].table);
  g_autoptr(DatabaseStatement) row =
      database_prepare(file, NULL, sql, "i", pick_row(tables[table].table, input));
  return database_step(row, NULL) > 0 ? sqlite3_value_dup(sqlite3_column_value(row, 0)) : NULL;
}

static void
bind_changed(sqlite3_stmt *statement, const guint8 *from, gsize length, Input *input)
{
  g_autofree guint8 *bytes = g_memdup2(from, length);
  for (guint count = 1 + input_below(input, 3); count > 0 && length > 0; count--) {
    gsize at = input_number(input, 2) % length;
    bytes[at] = (guint8)input_number(input, 1);
  }
  if (length > 0 && input_below(input, 4) == 0)
    length -= input_number(input, 1) % length;
  sqlite3_bind_blob(statement, 1, bytes ? bytes : (const guint8 *)"", (int)length, SQLITE_TRANSIENT);
}

static void
bind_something(sqlite3_stmt *statement, sqlite3_value *old, Input *input)
{
  sqlite3_value *other = NULL;
  gsize length;
  const guint8 *bytes;
  switch (input_below(input, 6)) {
  case 0:
    other = some_value(input);
    if (other)
      sqlite3_bind_value(statement, 1, other);
    sqlite3_value_free(other);
    break;
  case 1:
    sqlite3_bind_int64(statement, 1,
                       input_below(input, 2) ? input_below(input, 16) : (gint64)input_number(input, 8));
    break;
  case 2:
    bytes = input_blob(input, &length);
    sqlite3_bind_blob(statement, 1, length ? bytes : (const guint8 *)"", (int)length, SQLITE_TRANSIENT);
    break;
  case 3:
    bytes = input_blob(input, &length);
    sqlite3_bind_text(statement, 1, length ? (const char *)bytes : "", (int)length, SQLITE_TRANSIENT);
    break;
  case 4:
    break; /* nothing */
  default:
    bind_changed(statement, sqlite3_value_blob(old), sqlite3_value_bytes(old), input);
  }
}

static void
change(Input *input)
{
  guint table = input_below(input, G_N_ELEMENTS(tables)), count = 0;
  const char *name = tables[table].table;
  while (count < G_N_ELEMENTS(tables[0].columns) && tables[table].columns[count])
    count++;
  const char *column = tables[table].columns[input_below(input, count)];
  gint64 row = pick_row(name, input);
  if (input_below(input, 8) == 7) {
    g_autofree char *sql = g_strdup_printf("DELETE FROM %s WHERE rowid = ?", name);
    database_run(file, NULL, sql, "i", row);
    return;
  }
  g_autofree char *select = g_strdup_printf("SELECT %s FROM %s WHERE rowid = ?", column, name);
  g_autofree char *sql =
      g_strdup_printf("UPDATE OR IGNORE %s SET %s = ?1 WHERE rowid = %" G_GINT64_FORMAT, name, column, row);
  g_autoptr(DatabaseStatement) old = database_prepare(file, NULL, select, "i", row);
  if (database_step(old, NULL) <= 0)
    return;
  sqlite3_value *value = sqlite3_value_dup(sqlite3_column_value(old, 0));
  sqlite3_reset(old);
  g_autoptr(DatabaseStatement) update = database_prepare(file, NULL, sql, "");
  bind_something(update, value, input);
  sqlite3_step(update);
  sqlite3_value_free(value);
}

/* ---- work ---- */

static void
hear(int fd)
{
  g_autoptr(GByteArray) in = g_byte_array_new();
  guint8 buffer[16384];
  gssize got;
  GBytes *frame;
  while ((got = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT)) > 0)
    g_byte_array_append(in, buffer, (guint)got);
  for (int step; (step = wire_stream_take(in, DOC_ROOM_FRAME_MAX, &frame, NULL)) != 0; g_bytes_unref(frame)) {
    bed_demand(step > 0);
    gsize length;
    const void *data = g_bytes_get_data(frame, &length);
    g_autoptr(DocRoomAnswer) answer = doc_room_answer_take(data, length, NULL);
    bed_demand(answer != NULL);
  }
}

static void
ask(DocRoomQuestion *question, Doppel__Room__Question__WhatCase what)
{
  int fd = bed_converse(DOC_ROOM_DEVICE, NULL);
  question->what_case = what;
  bed_demand(wire_stream_send(fd, &question->base, NULL));
  bed_work();
  bed_serve(NULL);
  bed_work();
  hear(fd);
  close(fd);
}

static void
carry(Bed *bed)
{
  for (guint left = 8; left > 0; left--) {
    g_autoptr(DocErrand) errand = doc_room_next_errand(bed->room);
    if (!errand)
      return;
    doc_room_errand_done(bed->room, errand->id, NULL, NULL);
  }
}

static void
use(Bed *bed)
{
  guint8 copy[DOC_ROOM_COPY_LENGTH] = {9};
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  question.list = TRUE;
  ask(&question, DOC_ROOM_ASK(LIST));
  for (guint i = 0; i < BED_DOCUMENTS; i++) {
    Doppel__Room__Range range = DOPPEL__ROOM__RANGE__INIT;
    Doppel__Room__Open open = DOPPEL__ROOM__OPEN__INIT;
    Doppel__Room__Recover recover = DOPPEL__ROOM__RECOVER__INIT;
    ProtobufCBinaryData name = wire_borrow(bed->shelves[i].name.bytes, DOC_NAME_LENGTH);
    question.accept = name;
    ask(&question, DOC_ROOM_ASK(ACCEPT));
    ask(&question, DOC_ROOM_ASK(MEMBERS));
    ask(&question, DOC_ROOM_ASK(VERIFY));
    range.document = open.document = recover.document = name;
    question.log = &range;
    ask(&question, DOC_ROOM_ASK(LOG));
    open.copy = wire_borrow(copy, sizeof copy);
    question.open = &open;
    ask(&question, DOC_ROOM_ASK(OPEN));
    question.recover = &recover;
    ask(&question, DOC_ROOM_ASK(RECOVER));
    carry(bed);
  }
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  Input input = {data, length};
  Bed *bed = bed_begin();
  g_autoptr(GError) error = NULL;
  g_clear_pointer(&bed->room, doc_room_free);
  bed_demand(sqlite3_open(bed_file(), &file) == SQLITE_OK);
  for (guint i = 0; i < CHANGES && input.left > 0; i++)
    change(&input);
  bed_demand(sqlite3_close(file) == SQLITE_OK);
  bed_demand(bed_open(&error) == (error == NULL));
  if (bed->room) {
    use(bed);
    g_clear_pointer(&bed->room, doc_room_free);
    bed_demand(bed_open(&error) == (error == NULL)); /* what was of no use before may be in the way now */
  }
  bed_end();
  return 0;
}
