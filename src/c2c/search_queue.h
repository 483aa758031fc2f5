/* Hits that have come and wait to be passed on: the best first, whoever's they are. bm25 of two indexes
 * cannot be compared strictly, but it is what is known. */
#pragma once

#include "c2c/share_message.h"

typedef struct SearchQueue SearchQueue;

SearchQueue *search_queue_new(void);
void search_queue_free(SearchQueue *queue);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SearchQueue, search_queue_free)

/* Takes `message`, a Hit of `user`, who has to live as long. */
void search_queue_add(SearchQueue *queue, const char *user, ShareMessage *message);
guint search_queue_length(SearchQueue *queue);

/* The best, the one that came first of equally good ones: *user whose it is. The caller's; NULL where there
 * is none. */
ShareMessage *search_queue_take(SearchQueue *queue, const char **user);
