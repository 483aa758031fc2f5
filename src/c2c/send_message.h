/* The messages of "send", "outbox" and "inbox" (wire/send.proto), checked: whoever has one may rely on
 * lengths, ranges and texts. */
#pragma once

#include "wire/send.pb-c.h"
#include <glib.h>

#define SEND_ITEM      16 /* bytes */
#define SEND_HASH      32
#define SEND_NAME_MAX  255
#define SEND_SIZE_MAX  (G_GUINT64_CONSTANT(1) << 50)
#define SEND_WORDS_MAX 1000

typedef Doppel__Send__Message SendMessage;
typedef Doppel__Send__Why SendWhy;

/* The message in `data` (hostile). NULL with HOSTILE. Texts are UTF-8; of the numbers, `offset`s are only
 * known to be below SEND_SIZE_MAX. */
SendMessage *send_message_unpack(const void *data, gsize length, GError **error);
void send_message_free(SendMessage *message);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SendMessage, send_message_free)

/* The next message on a stream. NULL with GONE or HOSTILE. */
SendMessage *send_message_receive(int fd, GError **error);

/* Sends `message` as that of the oneof `which`. */
gboolean send_message_put(int fd, Doppel__Send__Message__WhatCase which, void *message, GError **error);

gboolean send_message_refuse(int fd, SendWhy why, const char *words, GError **error);

/* For a service that cannot work at all: says so (in `words`) to the first question. The exit status; why is
 * printed. */
int send_message_unable(int fd, const char *service, const char *words, const GError *why);

/* Refuses for a reason that follows from the error's code. */
gboolean send_message_fail(int fd, const GError *problem, GError **error);
gboolean send_message_end(int fd, GError **error);

/* Sends what is in `file` from `offset` up to `size` as chunks; `progress` (NULL: none) is told after each,
 * and may say FALSE to stop. FALSE with an error: GONE for the stream, FAILED for the file (MISMATCH where it
 * is shorter), ABORTED by `progress`. */
typedef gboolean (*SendProgress)(guint64 done, guint64 size, gpointer data);
gboolean send_message_content(int fd, int file, guint64 offset, guint64 size, SendProgress progress,
                              gpointer data, GError **error);
