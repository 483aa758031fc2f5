/* A table that people and programs can read: aligned columns, or JSON (RFC 8259) as an array of objects. */
#pragma once

#include <glib.h>
#include <stdio.h>

typedef enum { TABLE_TEXT, TABLE_NUMBER, TABLE_BOOLEAN } TableKind;

typedef struct {
  const char *title; /* NULL: in JSON only */
  const char *key;   /* NULL: not in JSON */
  TableKind kind;    /* numbers are decimal text, booleans "true" or "false"; right-aligned and unquoted */
} TableColumn;

typedef struct Table Table;

/* `columns` must outlive the table. */
Table *table_new(const TableColumn *columns, guint count);
void table_free(Table *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Table, table_free)

/* One cell per column; copied. NULL is an empty cell, and null in JSON. */
void table_add(Table *table, const char *const *cells);
guint table_rows(const Table *table);

/* Control characters, which could steer a terminal, are shown as they would be written in JSON. */
void table_print(const Table *table, gboolean json, FILE *file);
