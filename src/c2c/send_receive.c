#include "c2c/send_receive.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "c2c/service_message.h"

#define LINGER_S     5
#define LINGER_BYTES (16u << 20)

static guint64
parse_size(const char *text)
{
  static const char units[] = "KMGT";
  char *end = NULL;
  guint64 number = g_ascii_isdigit(*text) ? g_ascii_strtoull(text, &end, 10) : 0;
  if (!end || number > G_MAXUINT32 * (guint64)1024)
    return 0;
  const char *unit = *end ? strchr(units, g_ascii_toupper(*end)) : NULL;
  if (*end && (!unit || end[1]))
    return 0;
  return unit ? MIN(number << (10 * (unit - units + 1)), SEND_SIZE_MAX) : number;
}

void
send_receive_limits(const char *limits, SendBoxLimits *to)
{
  g_auto(GStrv) words = g_strsplit(limits ? limits : "", ",", -1);
  for (char **word = words; *word; word++)
    if (g_str_has_prefix(*word, "bytes="))
      to->each = parse_size(*word + strlen("bytes="));
    else if (g_str_has_prefix(*word, "items="))
      to->items = MIN(parse_size(*word + strlen("items=")), G_MAXINT);
}

/* The sender may be in the middle of writing: who closes at once could take the reason from under their eyes.
 */
static void
linger(int fd)
{
  char buffer[16384];
  gsize total = 0;
  gssize got;
  gint64 until = g_get_monotonic_time() + LINGER_S * G_USEC_PER_SEC;
  shutdown(fd, SHUT_WR);
  service_message_patience(fd, 1);
  while (total < LINGER_BYTES && g_get_monotonic_time() < until &&
         (got = recv(fd, buffer, sizeof buffer, 0)) > 0)
    total += got;
}

static gboolean
receive_content(SendReception *reception, SendIncoming *incoming, SendWhy *why, GError **error)
{
  while (incoming->offset < incoming->item->size) {
    g_autoptr(SendMessage) message = send_message_receive(reception->fd, error);
    if (!message)
      return FALSE;
    if (message->what_case != DOPPEL__SEND__MESSAGE__WHAT_CHUNK) {
      *why = DOPPEL__SEND__WHY__MALFORMED;
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "something else came than the content");
    }
    if (!send_incoming_write(incoming, message->chunk->data.data, message->chunk->data.len, why, error))
      return FALSE;
  }
  return send_incoming_complete(incoming, why, error);
}

/* What the quota or the disk says is for the sender; what has failed here is for the log, unless it is the
 * owner's own device that hears it. */
static gboolean
refuse(SendReception *reception, SendWhy why, const GError *problem, GError **error)
{
  const char *words = problem->message;
  if (reception->stranger && !g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_DENIED)) {
    fprintf(stderr, "send: %s\n", words);
    words = SEND_UNABLE;
  }
  return send_message_refuse(reception->fd, why, words, error);
}

static gboolean
take(SendReception *reception, SendIncoming *incoming, GError **error)
{
  g_autoptr(GError) problem = NULL;
  Doppel__Send__Wanted wanted = DOPPEL__SEND__WANTED__INIT;
  SendWhy why = DOPPEL__SEND__WHY__LATER;
  wanted.offset = incoming->offset;
  if (!send_message_put(reception->fd, DOPPEL__SEND__MESSAGE__WHAT_WANTED, &wanted, error))
    return FALSE;
  if (receive_content(reception, incoming, &why, &problem))
    return TRUE;
  if (!g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_GONE) && refuse(reception, why, problem, NULL))
    linger(reception->fd);
  g_propagate_error(error, g_steal_pointer(&problem));
  return FALSE;
}

gboolean
send_receive(SendReception *reception, const Doppel__Send__Offer *offer, GError **error)
{
  g_autoptr(GError) problem = NULL;
  SendWhy why;
  g_autoptr(SendIncoming) incoming = send_incoming_begin(reception->box, reception->who, reception->user,
                                                         offer, &reception->limits, &why, &problem);
  if (!incoming)
    return refuse(reception, why, problem, error);
  if (incoming->item->state == DOPPEL__SEND__STATE__PARTIAL && !take(reception, incoming, error))
    return FALSE;
  return reception->answer(reception, incoming->item, &problem) ||
         refuse(reception, DOPPEL__SEND__WHY__LATER, problem, error);
}
