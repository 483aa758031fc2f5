/* One request to a node's local socket, without waiting: the replies come by callbacks in a GMainContext. It
 * has a connection of its own, whose end gives the request up. */
#pragma once

#include "c2c/local_message.h"

typedef struct LocalQuestion LocalQuestion;

/* A reply, with its descriptor, the callee's (-1: none). `reply` NULL: the node has gone, or has sent what is
 * no reply; nothing comes after that, nor after one without `more`. The question may be freed in it. */
typedef void (*LocalAnswered)(LocalQuestion *question, const LocalReply *reply, int fd, void *data);

/* Asks; the request's id does not matter. NULL with GONE where nobody serves `path`. */
LocalQuestion *local_question_new(const char *path, GMainContext *context, const LocalRequest *request,
                                  LocalAnswered answered, void *data, GError **error);

/* No reply is taken while it is paused. */
void local_question_pause(LocalQuestion *question, gboolean paused);

/* Also gives it up. */
void local_question_free(LocalQuestion *question);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LocalQuestion, local_question_free)
