#include "c2c/send_receipt.h"

#include <string.h>

#include "base/error.h"
#include "wire/message.h"

typedef Doppel__Send__ReceiptStatement Statement;

static void
statement_free(Statement *statement)
{
  if (statement)
    doppel__send__receipt_statement__free_unpacked(statement, NULL);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Statement, statement_free)

GBytes *
send_receipt_statement(const SendItem *item, const IdentityPublic *sender)
{
  Statement statement = DOPPEL__SEND__RECEIPT_STATEMENT__INIT;
  statement.item = (ProtobufCBinaryData){SEND_ITEM, (guint8 *)item->item};
  statement.sender = (ProtobufCBinaryData){IDENTITY_PUBLIC_LENGTH, (guint8 *)sender->bytes};
  statement.hash = (ProtobufCBinaryData){SEND_HASH, (guint8 *)item->hash};
  statement.size = item->size;
  statement.name = item->name;
  statement.time_ns = item->changed_us * 1000;
  return wire_pack(&statement.base);
}

/* The domain, its NUL, and the statement. */
static GByteArray *
signed_bytes(const void *statement, gsize length)
{
  GByteArray *bytes = g_byte_array_new();
  g_byte_array_append(bytes, (const guint8 *)SERVICE_RECEIPT_DOMAIN, sizeof SERVICE_RECEIPT_DOMAIN);
  return g_byte_array_append(bytes, statement, length);
}

static Statement *
unpack(const void *data, gsize length, GError **error)
{
  g_autoptr(Statement) statement =
      length <= 1024 ? doppel__send__receipt_statement__unpack(NULL, length, data) : NULL;
  if (statement && statement->item.len == SEND_ITEM && statement->sender.len == IDENTITY_PUBLIC_LENGTH &&
      statement->hash.len == SEND_HASH && statement->size < SEND_SIZE_MAX && statement->name[0] &&
      strlen(statement->name) <= SEND_NAME_MAX && g_utf8_validate(statement->name, -1, NULL))
    return g_steal_pointer(&statement);
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a receipt is malformed");
  return NULL;
}

gboolean
send_receipt_sign(const IdentityKey *key, const guint8 *statement, gsize length,
                  guint8 signature[IDENTITY_SIGNATURE_LENGTH], GError **error)
{
  g_autoptr(Statement) checked = unpack(statement, length, error);
  if (!checked)
    return FALSE;
  g_autoptr(GByteArray) bytes = signed_bytes(statement, length);
  identity_sign(key, bytes->data, bytes->len, signature);
  return TRUE;
}

gboolean
send_receipt_check(const Doppel__Send__Receipt *receipt, const SendItem *item,
                   const IdentityPublic *clone_key, char **name, GError **error)
{
  IdentityPublic key;
  g_autoptr(Statement) statement = unpack(receipt->statement.data, receipt->statement.len, error);
  if (!statement)
    return FALSE;
  g_autoptr(GByteArray) bytes = signed_bytes(receipt->statement.data, receipt->statement.len);
  memcpy(key.bytes, receipt->key.data, sizeof key.bytes);
  if (memcmp(statement->item.data, item->item, SEND_ITEM) != 0 || statement->size != item->size ||
      memcmp(statement->hash.data, item->hash, SEND_HASH) != 0)
    return doppel_error_set(error, DOPPEL_ERROR_DENIED, "a receipt came for another file than was sent");
  if ((clone_key && !identity_public_equal(&key, clone_key)) ||
      !identity_verify(&key, bytes->data, bytes->len, receipt->signature.data))
    return doppel_error_set(error, DOPPEL_ERROR_DENIED, "a receipt came that the other clone has not signed");
  if (name)
    *name = g_strdup(statement->name);
  return TRUE;
}
