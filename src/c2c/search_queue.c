#include "c2c/search_queue.h"

struct SearchQueue {
  GSequence *hits; /* of Waiting, as they are taken */
};

typedef struct {
  const char *user;
  ShareMessage *message;
} Waiting;

static void
waiting_free(gpointer data)
{
  Waiting *waiting = data;
  share_message_free(waiting->message);
  g_free(waiting);
}

static int
by_rank(gconstpointer a, gconstpointer b, gpointer data)
{
  double left = ((const Waiting *)a)->message->hit->rank, right = ((const Waiting *)b)->message->hit->rank;
  return (left > right) - (left < right);
}

SearchQueue *
search_queue_new(void)
{
  SearchQueue *queue = g_new0(SearchQueue, 1);
  queue->hits = g_sequence_new(waiting_free);
  return queue;
}

void
search_queue_free(SearchQueue *queue)
{
  if (!queue)
    return;
  g_sequence_free(queue->hits);
  g_free(queue);
}

void
search_queue_add(SearchQueue *queue, const char *user, ShareMessage *message)
{
  Waiting *waiting = g_new(Waiting, 1);
  *waiting = (Waiting){user, message};
  g_sequence_insert_sorted(queue->hits, waiting, by_rank, NULL);
}

guint
search_queue_length(SearchQueue *queue)
{
  return g_sequence_get_length(queue->hits);
}

ShareMessage *
search_queue_take(SearchQueue *queue, const char **user)
{
  GSequenceIter *first = g_sequence_get_begin_iter(queue->hits);
  if (g_sequence_iter_is_end(first))
    return NULL;
  Waiting *waiting = g_sequence_get(first);
  *user = waiting->user;
  ShareMessage *message = g_steal_pointer(&waiting->message);
  g_sequence_remove(first);
  return message;
}
