#include "c2c/directory_call.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

struct DirectoryCall {
  DirectoryPlace *place;
  Link *link;
  DirectoryAsker asker;
  gboolean has_pass; /* that of the asker came over this connection */
  guint64 asked;
};

/* A wrong key means something else of a directory than of the clone's host, of which the link speaks. */
static gboolean
explain(const DirectoryPlace *place, GError *why, GError **error)
{
  g_autoptr(GError) owned = why;
  if (!g_error_matches(why, DOPPEL_ERROR, DOPPEL_ERROR_DENIED)) {
    g_propagate_prefixed_error(error, g_steal_pointer(&owned), "the directory %s: ", place->address);
    return FALSE;
  }
  g_autofree char *key = identity_public_to_text(&place->key);
  return doppel_error_set(error, DOPPEL_ERROR_DENIED,
                          "who answers at %s is not the directory with the key %s: it is another one, or "
                          "somebody is in between; if its operator says that it has a new key, \"doppel "
                          "name directory add\" tells that",
                          place->address, key);
}

static DirectoryCall *
connect_to(const DirectoryPlace *place, const IdentityKey *own, const DirectoryAsker *asker, int timeout_ms,
           gboolean later, GError **error)
{
  static const DirectoryAsker nobody;
  if (!asker)
    asker = &nobody;
  GError *why = NULL;
  const char *const addresses[] = {place->address, NULL};
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  options.resume_ms = 0;
  options.connect_ms = timeout_ms;
  options.compression = -1;
  options.message_max = DIRECTORY_ANSWER_MAX;
  options.inbox_max = DIRECTORY_ANSWER_MAX;
  Link *link =
      (later ? link_dial_later : link_dial)(addresses, own, &place->key, asker->pass.bytes, &options, &why);
  if (!link) {
    explain(place, why, error);
    return NULL;
  }
  DirectoryCall *call = g_new0(DirectoryCall, 1);
  call->place = directory_place_copy(place);
  call->link = link;
  call->asker = *asker;
  return call;
}

DirectoryCall *
directory_call_new(const DirectoryPlace *place, const IdentityKey *own, const DirectoryAsker *asker,
                   int timeout_ms, GError **error)
{
  return connect_to(place, own, asker, timeout_ms, FALSE, error);
}

DirectoryCall *
directory_call_begin(const DirectoryPlace *place, const IdentityKey *own, const DirectoryAsker *asker,
                     int timeout_ms, GError **error)
{
  return connect_to(place, own, asker, timeout_ms, TRUE, error);
}

void
directory_call_free(DirectoryCall *call)
{
  if (!call)
    return;
  link_free(call->link);
  directory_place_free(call->place);
  g_free(call);
}

gboolean
directory_call_pass(const DirectoryCall *call, DirectoryPass *pass)
{
  if (call->has_pass)
    *pass = call->asker.pass;
  return call->has_pass;
}

static gboolean
check_head(const DirectoryCall *call, const DirectoryAnswer *answer, DirectoryHead *head, GError **error)
{
  gboolean must = answer->status == DIRECTORY_STATUS(OK) || answer->status == DIRECTORY_STATUS(UNKNOWN);
  if (!answer->head.statement)
    return !must || doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "an answer without a head");
  if (!directory_head_verify(&answer->head, &call->place->key, head, error))
    return FALSE;
  return ABS(head->time - clock_unix_time()) <= DIRECTORY_CLOCKS_S ||
         doppel_error_set(error, DOPPEL_ERROR_DENIED,
                          "its answer is of another time: is a clock wrong here or there?");
}

gboolean
directory_call_put(DirectoryCall *call, DirectoryQuestion *question, GError **error)
{
  GError *why = NULL;
  question->id = ++call->asked;
  question->has_asker = call->asker.has_origin && call->asked == 1;
  question->asker = call->asker.origin;
  g_autoptr(GBytes) bytes = directory_question_encode(question);
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  return link_send(call->link, DIRECTORY_CHANNEL, &(struct iovec){(void *)data, length}, 1, &why) ||
         explain(call->place, why, error);
}

guint
directory_call_prepare(DirectoryCall *call, struct pollfd *fds, int *timeout_ms)
{
  return link_prepare(call->link, fds, timeout_ms);
}

static DirectoryAnswer *
read_answer(DirectoryCall *call, const LinkMessage *message, DirectoryHead *head, GError **error)
{
  GError *why = NULL;
  g_auto(DirectoryHead) seen = {0};
  g_autoptr(DirectoryAnswer) answer = NULL;
  if (message->channel == DIRECTORY_CHANNEL)
    answer = directory_answer_decode(message->data, message->length, &why);
  if (!why && !(answer && (answer->id == call->asked || answer->status == DIRECTORY_STATUS(MALFORMED))))
    doppel_error_set(&why, DOPPEL_ERROR_HOSTILE, "what it sent is no answer to the question");
  if (why || !check_head(call, answer, &seen, &why)) {
    g_propagate_prefixed_error(error, why, "the directory %s: ", call->place->address);
    return NULL;
  }
  if (answer->has_pass) {
    call->asker.pass = answer->pass;
    call->has_pass = TRUE;
  }
  if (head)
    directory_head_copy(head, &seen);
  return g_steal_pointer(&answer);
}

int
directory_call_work(DirectoryCall *call, DirectoryAnswer **answer, DirectoryHead *head, GError **error)
{
  GError *why = NULL;
  if (head)
    *head = (DirectoryHead){0};
  gboolean alive = link_work(call->link, &why);
  g_autoptr(LinkMessage) message = link_take(call->link);
  if (!message && alive)
    return 0;
  if (!message) {
    explain(call->place, why, error);
    return -1;
  }
  g_clear_error(&why);
  *answer = read_answer(call, message, head, error);
  return *answer ? 1 : -1;
}

DirectoryAnswer *
directory_call_ask(DirectoryCall *call, DirectoryQuestion *question, int timeout_ms, DirectoryHead *head,
                   GError **error)
{
  DirectoryAnswer *answer = NULL;
  gint64 until = clock_now_ns() + timeout_ms * G_GINT64_CONSTANT(1000000);
  if (head)
    *head = (DirectoryHead){0};
  if (!directory_call_put(call, question, error))
    return NULL;
  for (;;) {
    int got = directory_call_work(call, &answer, head, error);
    if (got != 0)
      return answer;
    int left = clock_left_ms(until);
    if (left == 0) {
      doppel_error_set(error, DOPPEL_ERROR_GONE, "the directory %s does not answer", call->place->address);
      return NULL;
    }
    struct pollfd fds[LINK_POLL_MAX];
    guint count = directory_call_prepare(call, fds, &left);
    poll(fds, count, left);
  }
}
