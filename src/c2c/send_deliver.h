/* The sender's end of "send" (and of a Post to the own clone's outbox): one file over a stream. */
#pragma once

#include "c2c/send_message.h"

typedef struct {
  SendMessage *answer; /* Receipt or Kept; NULL: it was not taken */
  SendWhy why;         /* where it was refused */
  guint64 resumed;     /* bytes that were there already */
} SendDelivery;

void send_delivery_clear(SendDelivery *delivery);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SendDelivery, send_delivery_clear)

/* Sends `message` (an Offer or a Post) and what `file` has, from where the other end wants it. FALSE with an
 * error: DENIED where it was refused, with *delivery saying why (its words, as one line, are the error's);
 * GONE for the stream, HOSTILE for an answer that is none, others for the file. */
gboolean send_deliver(int fd, Doppel__Send__Message__WhatCase which, void *message, guint64 size, int file,
                      SendProgress progress, gpointer data, SendDelivery *delivery, GError **error);

/* Fills in what an offer says of an open regular file: size, hash, mode, time; hash is `hash`. The name is
 * the caller's. FALSE with an error. */
gboolean send_offer_from_file(int file, Doppel__Send__Offer *offer, guint8 hash[SEND_HASH], GError **error);
