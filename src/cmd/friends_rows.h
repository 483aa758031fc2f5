/* Tables of what is in the outbox and in the inbox. */
#pragma once

#include "c2c/send_message.h"

typedef enum { FRIENDS_ROWS_OUTBOX, FRIENDS_ROWS_INBOX } FriendsRowsKind;

typedef struct FriendsRows FriendsRows;

FriendsRows *friends_rows_new(FriendsRowsKind kind);
void friends_rows_free(FriendsRows *rows);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FriendsRows, friends_rows_free)
void friends_rows_add(FriendsRows *rows, const Doppel__Send__Row *row);
guint friends_rows_count(const FriendsRows *rows);

/* Nothing where there are none, unless as JSON. */
void friends_rows_print(const FriendsRows *rows, gboolean json);

/* The clone's answer is another than was asked for: FALSE, with NOT_FOUND and its words where it refuses. */
gboolean friends_rows_refused(const SendMessage *answer, GError **error);

/* Asks for what is done when the clone says so. FALSE with an error. */
gboolean friends_rows_change(int fd, Doppel__Send__Message__WhatCase what, void *message, GError **error);

/* All rows that the own clone's service lists. An array of SendMessage, each a
 * Row; NULL with an error. */
GPtrArray *friends_rows_ask(int fd, GError **error);
