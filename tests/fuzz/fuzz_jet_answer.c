/* What NATS JetStream answers to a message that was to be stored, and the numbers in its headers. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "clonedoc/server/jet_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  JetAck ack;
  if (jet_answer_ack(&ack, data, size, "s") && (ack.fate == JET_STORED) != (ack.sequence > 0))
    abort();
  g_autofree char *text = g_strndup((const char *)data, size), *again = NULL;
  guint64 number;
  if (!jet_answer_number(text, &number))
    return 0;
  again = g_strdup_printf("%" G_GUINT64_FORMAT, number);
  if (strcmp(text, again) != 0)
    abort();
  return 0;
}
