/* "outbox", for the owner's devices: what is to be sent, and how it stands. */
#include <stdio.h>

#include "base/error.h"
#include "c2c/send_outbox.h"
#include "c2c/send_receive.h"
#include "c2c/service_message.h"
#include "c2c/service_node.h"
#include "c2c/services.h"

#define WATCH_US 200000

SendBox *
send_outbox_open(const ServicePlace *place, GError **error)
{
  g_autofree char *directory = g_build_filename(place->directory, "outbox", NULL);
  return send_box_open(directory, FALSE, error);
}

static gboolean
answer_kept(SendReception *reception, const SendItem *item, GError **error)
{
  Doppel__Send__Kept kept = DOPPEL__SEND__KEPT__INIT;
  kept.id = item->id;
  return send_message_put(reception->fd, DOPPEL__SEND__MESSAGE__WHAT_KEPT, &kept, error);
}

/* A name that is wrongly typed is said at once, where the directory can be asked. */
static gboolean
is_known(const ServicePlace *place, const char *user, GError **error)
{
  g_autoptr(GError) problem = NULL;
  IdentityPublic key;
  if (service_node->clone_key(place, user, &key, &problem) ||
      !g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND))
    return TRUE;
  g_propagate_error(error, g_steal_pointer(&problem));
  return FALSE;
}

static gboolean
post(int fd, SendBox *box, const ServicePlace *place, const Doppel__Send__Post *message, GError **error)
{
  g_autoptr(GError) problem = NULL;
  SendReception reception = {.fd = fd,
                             .box = box,
                             .who = message->user,
                             .user = message->user,
                             .limits = SEND_BOX_LIMITS,
                             .answer = answer_kept};
  Doppel__Send__Offer offer = *message->offer;
  guint8 item[SEND_ITEM];
  reception.limits.each = reception.limits.all;
  if (!is_known(place, message->user, &problem))
    return send_message_refuse(fd, DOPPEL__SEND__WHY__UNKNOWN, problem->message, error);
  if (send_box_find_partial(box, message->user, &offer, item))
    offer.item = (ProtobufCBinaryData){SEND_ITEM, item};
  return send_receive(&reception, &offer, error);
}

static gboolean
send_row(int fd, const SendItem *item, GError **error)
{
  Doppel__Send__Row row;
  Doppel__Send__Receipt receipt;
  send_item_row(item, &row, &receipt);
  return send_message_put(fd, DOPPEL__SEND__MESSAGE__WHAT_ROW, &row, error);
}

static gboolean
list(int fd, SendBox *box, GError **error)
{
  g_autoptr(GPtrArray) items = send_box_list(box, DOPPEL__SEND__STATE__ANY, error);
  for (guint i = 0; items && i < items->len; i++)
    if (!send_row(fd, items->pdata[i], error))
      return FALSE;
  return items && send_message_end(fd, error);
}

/* Until it is over, or nobody looks any more. */
static gboolean
watch(int fd, SendBox *box, gint64 id, GError **error)
{
  guint64 seen = 0;
  while (!service_message_hung_up(fd)) {
    guint64 version = send_box_version(box);
    if (version != seen) {
      g_autoptr(SendItem) item = send_box_get(box, id, error);
      if (!item || !send_row(fd, item, error))
        return FALSE;
      if (item->state >= DOPPEL__SEND__STATE__DELIVERED)
        return send_message_end(fd, error);
      seen = version;
    }
    g_usleep(WATCH_US);
  }
  return doppel_error_set(error, DOPPEL_ERROR_GONE, "nobody looks any more");
}

static gboolean
do_outbox(int fd, SendBox *box, const SendMessage *message, GError **error)
{
  switch (message->what_case) {
  case DOPPEL__SEND__MESSAGE__WHAT_LIST:
    return list(fd, box, error);
  case DOPPEL__SEND__MESSAGE__WHAT_WATCH:
    return watch(fd, box, message->watch->id, error);
  case DOPPEL__SEND__MESSAGE__WHAT_CANCEL:
    return send_box_remove(box, message->cancel->id, error) && send_message_end(fd, error);
  default:
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "that is no question to an outbox");
  }
}

int
outbox_run(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(SendBox) box = send_outbox_open(place, &error);
  service_message_patience(fd, SERVICE_PATIENCE_S);
  if (!box)
    return send_message_unable(fd, service, error->message, error);
  while (!error) {
    g_autoptr(GError) problem = NULL;
    g_autoptr(SendMessage) message = send_message_receive(fd, &error);
    if (!message)
      break;
    if (message->what_case == DOPPEL__SEND__MESSAGE__WHAT_POST)
      post(fd, box, place, message->post, &error);
    else if (!do_outbox(fd, box, message, &problem))
      send_message_fail(fd, problem, &error);
  }
  return service_message_ended(service, error);
}
