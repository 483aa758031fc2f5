/* The messages about files that are sent, and names under which they come. */
#include <string.h>

#include "c2c/send_message.h"
#include "c2c/send_name.h"
#include "c2c/send_receipt.h"
#include "c2c/send_receive.h"

static void
check_name(const char *offered)
{
  g_autofree char *name = send_name_clean(offered);
  g_autofree char *numbered = send_name_numbered(name, 4000000000u);
  const char *const names[] = {name, numbered};
  for (guint i = 0; i < G_N_ELEMENTS(names); i++)
    if (!names[i][0] || strlen(names[i]) > SEND_NAME_MAX || !g_utf8_validate(names[i], -1, NULL) ||
        strpbrk(names[i], "/\\\n\033") || strchr(".-", names[i][0]))
      g_error("a name is not clean");
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  g_autoptr(SendMessage) message = send_message_unpack(data, length, NULL);
  g_autofree char *text = g_strndup((const char *)data, length);
  SendBoxLimits limits = SEND_BOX_LIMITS;
  SendItem item = {0};
  static IdentityKey *key;
  guint8 signature[IDENTITY_SIGNATURE_LENGTH];
  send_receive_limits(text, &limits);
  if (!key)
    key = identity_key_generate();
  send_receipt_sign(key, data, length, signature, NULL);
  check_name(text);
  if (message && message->what_case == DOPPEL__SEND__MESSAGE__WHAT_OFFER)
    check_name(message->offer->name);
  if (message && message->what_case == DOPPEL__SEND__MESSAGE__WHAT_RECEIPT)
    send_receipt_check(message->receipt, &item, NULL, NULL, NULL);
  return 0;
}
