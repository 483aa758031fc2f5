/* A message to a group and the answers to one, as any peer sends them, and the window of what was seen, as a
 * damaged file has it: what is decoded is within bounds, and goes on as it came. */
#include <string.h>

#include "c2c/group_message.h"
#include "c2c/group_seen.h"

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

static void
look_at_message(const guint8 *data, gsize length)
{
  static const IdentityPublic nobody;
  g_autoptr(GroupMessage) message = group_message_decode(data, length, NULL);
  if (!message)
    return;
  demand(g_bytes_get_size(message->body) <= GROUP_BODY_MAX && !group_message_verify(message, &nobody, NULL));
  gsize packed_length;
  g_autoptr(GBytes) packed = group_message_pack(message, 7, TRUE);
  const void *bytes = g_bytes_get_data(packed, &packed_length);
  g_autoptr(GroupMessage) again = group_message_decode(bytes, packed_length, NULL);
  demand(again && again->alone && again->patience_ms == 7 &&
         g_bytes_equal(again->statement, message->statement) &&
         memcmp(again->signature, message->signature, sizeof again->signature) == 0 &&
         (again->record == NULL) == (message->record == NULL));
}

static void
look_at_answers(const guint8 *data, gsize length)
{
  for (gssize taken = 1; taken > 0; data += taken, length -= (gsize)taken) {
    g_auto(GroupAnswer) answer = {0};
    taken = group_answer_take(data, length, &answer, NULL);
    if (taken <= 0)
      return;
    demand((gsize)taken <= length && answer.status >= GROUP_FORWARDS && answer.status <= GROUP_DONE &&
           (!answer.missed || answer.missed->len <= GROUP_MISSED_MAX));
    g_autoptr(GBytes) packed = group_answer_new(&answer);
    demand(g_bytes_get_size(packed) <= GROUP_PREFIX + GROUP_ANSWER_MAX);
  }
}

static void
look_at_window(const guint8 *data, gsize length)
{
  g_autoptr(GArray) window = group_seen_load(data, length);
  demand(window->len <= GROUP_SEEN);
  for (guint i = 1; i < window->len; i++)
    demand(g_array_index(window, guint64, i) > g_array_index(window, guint64, i - 1));
  guint64 now = G_GUINT64_CONSTANT(1700000000000000);
  if (group_seen_look(window, now, now) == GROUP_NEW)
    demand(group_seen_look(window, now, now) == GROUP_KNOWN && window->len <= GROUP_SEEN);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  look_at_message(data, length);
  look_at_answers(data, length);
  look_at_window(data, length);
  return 0;
}
