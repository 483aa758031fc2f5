/* What threads have done, on its way back to its owner, who lives in the thread of a GMainContext: it comes
 * there in the order in which it was sent. */
#pragma once

#include <glib.h>

typedef struct Post Post;

/* `take` gets each letter, and owns it; `drop` gets those for which it is too late. `context` NULL: the
 * default one. */
Post *post_new(GMainContext *context, void (*take)(gpointer letter, gpointer owner), GDestroyNotify drop,
               gpointer owner);

/* The owner's: nothing comes any more. */
void post_close(Post *post);
/* From any thread: whether that is so, and what was asked for need not be done. */
gboolean post_is_closed(Post *post);

/* Closes it, too. The owner's, when nobody sends any more. */
void post_free(Post *post);

/* From any thread. */
void post_send(Post *post, gpointer letter);
