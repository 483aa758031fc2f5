/* The clone's end: what its host's public base has. */
#include <fcntl.h>
#include <unistd.h>

#include "replica/public_base.h"
#include "replicator/receive_private.h"

guint64
receiver_public_length(Receiver *receiver)
{
  const char *path = receiver->place->public_base;
  guint64 length = 0;
  g_auto(Fd) base = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  if (base >= 0 && receiver->public_set < 0)
    receiver->public_set = public_base_open_set(base, &length);
  return length;
}

/* Of one that is damaged nothing is told. */
gboolean
receiver_public(Receiver *receiver, const Doppel__Sync__Contents *question, GError **error)
{
  ReceiverAnswer answer;
  g_autoptr(GBytes) set = receiver->public_set < 0 ? NULL : public_base_read_set(receiver->public_set);
  gsize length = 0;
  const guint8 *bytes = set ? g_bytes_get_data(set, &length) : NULL;
  receiver_answer_init(&answer, receiver, question->grant);
  receiver_answer_bytes(&answer, bytes, length);
  return receiver_answer_end(&answer, error);
}
