/* The receiver's end of an offered file, for "send" and for "outbox". */
#pragma once

#include "c2c/send_box.h"

typedef struct SendReception SendReception;
struct SendReception {
  int fd;
  SendBox *box;
  const char *who, *user;
  gboolean stranger; /* nothing of this machine is told where it cannot take something */
  SendBoxLimits limits;
  /* Answers for an item that is complete. FALSE with an error: the sender is asked to try later. */
  gboolean (*answer)(SendReception *reception, const SendItem *item, GError **error);
  gpointer data;
};

#define SEND_UNABLE "nothing can be taken just now"

/* Takes what is offered. FALSE with an error where the conversation is over. */
gboolean send_receive(SendReception *reception, const Doppel__Send__Offer *offer, GError **error);

/* Changes what a permission's limits say: "bytes=SIZE,items=N", SIZE with K, M, G or T. What it does not know
 * it leaves; a value that is none is 0: nothing is let in by mistake. */
void send_receive_limits(const char *limits, SendBoxLimits *to);
