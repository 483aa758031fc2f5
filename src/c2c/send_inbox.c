/* "send", for others, and "inbox", for the owner's devices. */
#include <stdio.h>
#include <unistd.h>

#include "base/error.h"
#include "c2c/send_receipt.h"
#include "c2c/send_receive.h"
#include "c2c/service_message.h"
#include "c2c/service_node.h"
#include "c2c/services.h"

static SendBox *
open_inbox(const ServicePlace *place, GError **error)
{
  g_autofree char *directory = g_build_filename(place->directory, "inbox", NULL);
  return send_box_open(directory, TRUE, error);
}

typedef struct {
  const ServicePlace *place;
  const ServicePeer *peer;
} Sender;

/* Signs what the clone has kept, once: whoever asks again gets the same receipt. */
static gboolean
sign(SendReception *reception, const SendItem *item, Doppel__Send__Receipt *receipt, GBytes **statement,
     IdentityPublic *key, guint8 signature[IDENTITY_SIGNATURE_LENGTH], GError **error)
{
  const Sender *sender = reception->data;
  gsize length;
  *statement = send_receipt_statement(item, &sender->peer->origin);
  const void *bytes = g_bytes_get_data(*statement, &length);
  if (!service_node->sign(sender->place, bytes, length, key, signature, error))
    return FALSE;
  receipt->statement = (ProtobufCBinaryData){length, (guint8 *)bytes};
  receipt->signature = (ProtobufCBinaryData){IDENTITY_SIGNATURE_LENGTH, signature};
  receipt->key = (ProtobufCBinaryData){IDENTITY_PUBLIC_LENGTH, key->bytes};
  return send_box_receipt(reception->box, item->id, receipt, FALSE, error);
}

static gboolean
answer_receipt(SendReception *reception, const SendItem *item, GError **error)
{
  Doppel__Send__Row row;
  Doppel__Send__Receipt receipt = DOPPEL__SEND__RECEIPT__INIT;
  g_autoptr(GBytes) statement = NULL;
  IdentityPublic key;
  guint8 signature[IDENTITY_SIGNATURE_LENGTH];
  send_item_row(item, &row, &receipt);
  if (!row.receipt && !sign(reception, item, &receipt, &statement, &key, signature, error))
    return FALSE;
  return send_message_put(reception->fd, DOPPEL__SEND__MESSAGE__WHAT_RECEIPT, &receipt, error);
}

int
send_run(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(SendBox) box = open_inbox(place, &error);
  service_message_patience(fd, SERVICE_PATIENCE_S);
  if (!box)
    return send_message_unable(fd, service, SEND_UNABLE, error);
  g_autofree char *who = identity_public_to_text(&peer->origin);
  Sender sender = {place, peer};
  SendReception reception = {.fd = fd,
                             .box = box,
                             .who = who,
                             .user = peer->name,
                             .stranger = TRUE,
                             .limits = SEND_BOX_LIMITS,
                             .answer = answer_receipt,
                             .data = &sender};
  send_receive_limits(peer->limits, &reception.limits);
  while (!error) {
    g_autoptr(SendMessage) message = send_message_receive(fd, &error);
    if (!message)
      break;
    if (message->what_case != DOPPEL__SEND__MESSAGE__WHAT_OFFER) {
      send_message_refuse(fd, DOPPEL__SEND__WHY__MALFORMED, "that is no offer", NULL);
      doppel_error_set(&error, DOPPEL_ERROR_HOSTILE, "something else came than an offer");
      break;
    }
    send_receive(&reception, message->offer, &error);
  }
  return service_message_ended(service, error);
}

/* ---- the owner's view ---- */

static gboolean
send_row(int fd, Doppel__Send__Message__WhatCase which, const SendItem *item, GError **error)
{
  Doppel__Send__Row row;
  Doppel__Send__Receipt receipt;
  send_item_row(item, &row, &receipt);
  return send_message_put(fd, which, &row, error);
}

static gboolean
send_content(int fd, SendBox *box, const SendItem *item, guint64 offset, GError **error)
{
  g_auto(Fd) file = send_box_content(box, item->id, error);
  return file >= 0 && send_row(fd, DOPPEL__SEND__MESSAGE__WHAT_FOUND, item, error) &&
         send_message_content(fd, file, MIN(offset, item->size), item->size, NULL, NULL, error) &&
         send_message_end(fd, error);
}

static gboolean
list(int fd, SendBox *box, GError **error)
{
  g_autoptr(GPtrArray) items = send_box_list(box, DOPPEL__SEND__STATE__KEPT, error);
  for (guint i = 0; items && i < items->len; i++)
    if (!send_row(fd, DOPPEL__SEND__MESSAGE__WHAT_ROW, items->pdata[i], error))
      return FALSE;
  return items && send_message_end(fd, error);
}

static gboolean
do_inbox(int fd, SendBox *box, const SendMessage *message, GError **error)
{
  g_autoptr(SendItem) item = NULL;
  switch (message->what_case) {
  case DOPPEL__SEND__MESSAGE__WHAT_LIST:
    return list(fd, box, error);
  case DOPPEL__SEND__MESSAGE__WHAT_GET:
    item = send_box_get(box, message->get->id, error);
    return item && send_content(fd, box, item, message->get->offset, error);
  case DOPPEL__SEND__MESSAGE__WHAT_REMOVE:
    return send_box_remove(box, message->remove->id, error) && send_message_end(fd, error);
  default:
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "that is no question to an inbox");
  }
}

int
inbox_run(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(SendBox) box = open_inbox(place, &error);
  service_message_patience(fd, SERVICE_PATIENCE_S);
  if (!box)
    return send_message_unable(fd, service, error->message, error);
  while (!error) {
    g_autoptr(GError) problem = NULL;
    g_autoptr(SendMessage) message = send_message_receive(fd, &error);
    if (message && !do_inbox(fd, box, message, &problem))
      send_message_fail(fd, problem, &error);
  }
  return service_message_ended(service, error);
}
