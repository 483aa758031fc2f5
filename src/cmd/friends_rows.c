#include "cmd/friends_rows.h"

#include <stdio.h>

#include "base/error.h"
#include "base/line.h"
#include "cmd/clone_store.h"
#include "cmd/table.h"

static const TableColumn outbox[] = {
    {"ID", "id", TABLE_NUMBER},
    {"TO", "user"},
    {"NAME", "name"},
    {"SIZE", NULL, TABLE_NUMBER},
    {NULL, "bytes", TABLE_NUMBER},
    {"STATE", "state"},
    {NULL, "done", TABLE_NUMBER},
    {"SINCE", "since"},
    {"", "why"},
    {NULL, "kept_as"},
    {NULL, "hash"},
};

static const TableColumn inbox[] = {
    {"ID", "id", TABLE_NUMBER},    {"FROM", "user"}, {"NAME", "name"}, {"SIZE", NULL, TABLE_NUMBER},
    {NULL, "bytes", TABLE_NUMBER}, {"CAME", "came"}, {NULL, "hash"},
};

struct FriendsRows {
  FriendsRowsKind kind;
  GPtrArray *rows; /* of Doppel__Send__Row, copies */
};

static void
row_free(gpointer row)
{
  doppel__send__row__free_unpacked(row, NULL);
}

FriendsRows *
friends_rows_new(FriendsRowsKind kind)
{
  FriendsRows *rows = g_new0(FriendsRows, 1);
  rows->kind = kind;
  rows->rows = g_ptr_array_new_with_free_func(row_free);
  return rows;
}

void
friends_rows_free(FriendsRows *rows)
{
  g_ptr_array_unref(rows->rows);
  g_free(rows);
}

void
friends_rows_add(FriendsRows *rows, const Doppel__Send__Row *row)
{
  gsize length = doppel__send__row__get_packed_size(row);
  g_autofree guint8 *bytes = g_malloc(length + 1);
  doppel__send__row__pack(row, bytes);
  Doppel__Send__Row *copy = doppel__send__row__unpack(NULL, length, bytes);
  if (copy)
    g_ptr_array_add(rows->rows, copy);
}

guint
friends_rows_count(const FriendsRows *rows)
{
  return rows->rows->len;
}

static char *
state_in_words(const Doppel__Send__Row *row)
{
  switch (row->state) {
  case DOPPEL__SEND__STATE__PARTIAL:
    return g_strdup("coming");
  case DOPPEL__SEND__STATE__SENDING:
    return g_strdup_printf("sending %u %%", row->size ? (guint)(row->done * 100.0 / row->size) : 0);
  case DOPPEL__SEND__STATE__DELIVERED:
    return g_strdup("delivered");
  case DOPPEL__SEND__STATE__REFUSED:
    return g_strdup("refused");
  case DOPPEL__SEND__STATE__GONE:
    return g_strdup("cancelled");
  default:
    return g_strdup("waiting");
  }
}

/* What the receiver has said that it is called there. Only the own clone's word is believed here: it has
 * checked the signature. */
static char *
kept_as(const Doppel__Send__Row *row)
{
  Doppel__Send__ReceiptStatement *statement =
      row->receipt ? doppel__send__receipt_statement__unpack(NULL, row->receipt->statement.len,
                                                             row->receipt->statement.data)
                   : NULL;
  char *name = statement ? g_utf8_make_valid(statement->name, -1) : NULL;
  if (statement)
    doppel__send__receipt_statement__free_unpacked(statement, NULL);
  return name;
}

static char *
hex(const ProtobufCBinaryData *bytes)
{
  GString *text = g_string_new(NULL);
  for (gsize i = 0; i < bytes->len; i++)
    g_string_append_printf(text, "%02x", bytes->data[i]);
  return g_string_free(text, FALSE);
}

static void
add_row(Table *table, FriendsRowsKind kind, const Doppel__Send__Row *row, gboolean json)
{
  g_autofree char *id = g_strdup_printf("%" G_GUINT64_FORMAT, row->id);
  g_autofree char *size = clone_store_size(row->size);
  g_autofree char *bytes = g_strdup_printf("%" G_GUINT64_FORMAT, row->size);
  g_autofree char *done = g_strdup_printf("%" G_GUINT64_FORMAT, row->done);
  g_autofree char *when = clone_store_time(row->changed_ns, json);
  g_autofree char *hash = hex(&row->hash);
  g_autofree char *state =
      json && row->state == DOPPEL__SEND__STATE__SENDING ? g_strdup("sending") : state_in_words(row);
  g_autofree char *as = kept_as(row);
  const char *out[] = {id, row->user, row->name, size, bytes, state, done, when, row->words, as, hash};
  const char *in[] = {id, row->user, row->name, size, bytes, when, hash};
  table_add(table, kind == FRIENDS_ROWS_OUTBOX ? out : in);
}

void
friends_rows_print(const FriendsRows *rows, gboolean json)
{
  g_autoptr(Table) table = rows->kind == FRIENDS_ROWS_OUTBOX ? table_new(outbox, G_N_ELEMENTS(outbox))
                                                             : table_new(inbox, G_N_ELEMENTS(inbox));
  for (guint i = 0; i < rows->rows->len; i++)
    add_row(table, rows->kind, rows->rows->pdata[i], json);
  if (json || rows->rows->len > 0)
    table_print(table, json, stdout);
}

gboolean
friends_rows_refused(const SendMessage *answer, GError **error)
{
  if (answer->what_case != DOPPEL__SEND__MESSAGE__WHAT_REFUSED)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone's answer is none");
  g_autofree char *words = line_of(answer->refused->words, SEND_WORDS_MAX);
  return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "%s", words);
}

gboolean
friends_rows_change(int fd, Doppel__Send__Message__WhatCase what, void *message, GError **error)
{
  g_autoptr(SendMessage) answer =
      send_message_put(fd, what, message, error) ? send_message_receive(fd, error) : NULL;
  return answer &&
         (answer->what_case == DOPPEL__SEND__MESSAGE__WHAT_END || friends_rows_refused(answer, error));
}

GPtrArray *
friends_rows_ask(int fd, GError **error)
{
  Doppel__Send__List list = DOPPEL__SEND__LIST__INIT;
  g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)send_message_free);
  if (!send_message_put(fd, DOPPEL__SEND__MESSAGE__WHAT_LIST, &list, error))
    return NULL;
  for (;;) {
    g_autoptr(SendMessage) message = send_message_receive(fd, error);
    if (!message)
      return NULL;
    if (message->what_case == DOPPEL__SEND__MESSAGE__WHAT_END)
      return g_steal_pointer(&rows);
    if (message->what_case != DOPPEL__SEND__MESSAGE__WHAT_ROW) {
      friends_rows_refused(message, error);
      return NULL;
    }
    g_ptr_array_add(rows, g_steal_pointer(&message));
  }
}
