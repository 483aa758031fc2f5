/* "search", for others: what is shared here and has these words. */
#include <stdio.h>

#include "base/error.h"
#include "c2c/search_query.h"
#include "c2c/service_message.h"
#include "c2c/services.h"
#include "c2c/share_index.h"
#include "c2c/share_message.h"

#define PATIENCE_S 30
#define MOST_US    (10 * G_USEC_PER_SEC) /* for one question */

typedef struct {
  int fd;
  gint64 until_us;
  GError *error;
} Answer;

static gboolean
is_cancelled(gpointer data)
{
  const Answer *answer = data;
  return g_get_monotonic_time() > answer->until_us || service_message_hung_up(answer->fd);
}

static gboolean
send_hit(const ShareHit *found, gpointer data)
{
  Answer *answer = data;
  Doppel__Share__Hit hit = DOPPEL__SHARE__HIT__INIT;
  hit.path = (char *)found->path;
  hit.size = found->size;
  hit.mtime_ns = found->mtime_ns;
  hit.rank = found->rank;
  hit.snippet = (char *)found->snippet;
  return !share_message_put(answer->fd, DOPPEL__SHARE__MESSAGE__WHAT_HIT, &hit, &answer->error);
}

static gboolean
answer_query(int fd, ShareIndex *index, const Doppel__Share__Query *query, GError **error)
{
  Answer answer = {fd, g_get_monotonic_time() + MOST_US, NULL};
  g_autofree char *match = search_query_match(query->words, error);
  if (!match || !share_index_search(index, match, query->limit ? query->limit : SHARE_LIMIT_USUAL,
                                    is_cancelled, send_hit, &answer, error))
    return FALSE;
  if (answer.error) {
    g_propagate_error(error, answer.error);
    return FALSE;
  }
  return share_message_end(fd, error);
}

static gboolean
answer(int fd, const ShareMessage *question, void *data, GError **error)
{
  if (question->what_case == DOPPEL__SHARE__MESSAGE__WHAT_QUERY)
    return answer_query(fd, data, question->query, error);
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "that is no query");
}

int
search_run(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(ShareIndex) index = share_index_open(place->directory, &error);
  service_message_patience(fd, PATIENCE_S);
  if (index)
    return share_message_serve(fd, service, answer, index);
  return share_message_unable(fd, service, "what is shared cannot be searched now", error);
}
