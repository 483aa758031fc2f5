/* The messages of "shares", "search", "search-all" and "fetch" (wire/share.proto), checked. */
#pragma once

#include "wire/share.pb-c.h"
#include <glib.h>

#define SHARE_NAME_MAX     64   /* bytes */
#define SHARE_PATH_MAX     4096 /* bytes; of what is shared, and of a path in it */
#define SHARE_PATTERNS_MAX 64
#define SHARE_PATTERN_MAX  256 /* bytes */
#define SHARE_WORDS_MAX    500 /* bytes of a query */
#define SHARE_SNIPPET_MAX  1000
#define SHARE_LIMIT_USUAL  50u
#define SHARE_LIMIT_MOST   1000u /* hits of one clone */
#define SHARE_USERS_MAX    1000u
#define SHARE_WAIT_USUAL   5000u /* ms */
#define SHARE_WAIT_MOST    120000u
#define SHARE_SIZE_MAX     (G_GUINT64_CONSTANT(1) << 60)

typedef Doppel__Share__Message ShareMessage;

/* The message in `data` (hostile). NULL with HOSTILE. Texts are UTF-8; of what is shown no text has control
 * characters, and a path is one below a root (replica/path.h); ranks are finite. */
ShareMessage *share_message_unpack(const void *data, gsize length, GError **error);
void share_message_free(ShareMessage *message);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ShareMessage, share_message_free)

/* The next message on a stream. NULL with GONE or HOSTILE. */
ShareMessage *share_message_receive(int fd, GError **error);

/* Sends `message` as that of the oneof `which`. */
gboolean share_message_put(int fd, Doppel__Share__Message__WhatCase which, void *message, GError **error);
gboolean share_message_end(int fd, GError **error);

/* Says why not; the reason that can be told by a program follows from the error's code. */
gboolean share_message_fail(int fd, const GError *why, GError **error);

/* For a service that cannot work at all: says so (in `words`) to the first question. The exit status; why is
 * printed. */
int share_message_unable(int fd, const char *service, const char *words, const GError *why);

/* Answers question after question until the other end leaves. What cannot be answered is told, and is not the
 * end. The exit status of a service. */
typedef gboolean (*ShareAnswer)(int fd, const ShareMessage *question, void *data, GError **error);
int share_message_serve(int fd, const char *service, ShareAnswer answer, void *data);

/* A Failed as an error. Returns FALSE. */
gboolean share_message_failed(const Doppel__Share__Failed *failed, GError **error);

/* Whether it may be what others call a shared directory. */
gboolean share_name_is_good(const char *name);
