/* What NATS JetStream says, checked. */
#pragma once

#include <glib.h>

#define JET_ACK_MAX 4096u /* bytes; a longer one is not read */

typedef enum {
  JET_STORED,    /* by a majority, under `sequence` */
  JET_OTHERWISE, /* not stored: the subject's last message is another than was expected */
  JET_LATER,     /* not stored, or maybe: no leader at the moment, say */
  JET_REFUSED,   /* not stored, and never will be */
} JetFate;

typedef struct {
  JetFate fate;
  guint64 sequence;
  char words[160]; /* its own, printable; empty where it gives none */
} JetAck;

/* The answer to a message that was to be stored in `stream`. FALSE: it makes no sense. HOSTILE. */
gboolean jet_answer_ack(JetAck *ack, const void *data, gsize length, const char *stream);

/* A decimal number without signs, blanks and needless zeros. NULL is none. HOSTILE. */
gboolean jet_answer_number(const char *text, guint64 *number);
