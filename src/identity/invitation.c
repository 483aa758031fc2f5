#include "identity/invitation.h"

#include <sodium.h>
#include <string.h>

#include "base/error.h"
#include "identity/address.h"
#include "identity/base32.h"

#define HEADING    "doppel1"
#define SUM_LENGTH 4

Invitation *
invitation_new(const IdentityPublic *host, const char *const *addresses, gint64 expires, GError **error)
{
  guint count = g_strv_length((char **)addresses);
  if (count < 1 || count > INVITATION_ADDRESSES_MAX) {
    doppel_error_set(error, DOPPEL_ERROR_USAGE, "an invitation names 1 to %d addresses of the host, not %u",
                     INVITATION_ADDRESSES_MAX, count);
    return NULL;
  }
  for (guint i = 0; i < count; i++)
    if (!identity_address_check(addresses[i], error))
      return NULL;
  if (sodium_init() < 0) {
    doppel_error_set(error, DOPPEL_ERROR_FAILED, "the kernel gives no random numbers for an invitation");
    return NULL;
  }
  Invitation *invitation = g_new0(Invitation, 1);
  invitation->host = *host;
  invitation->expires = expires;
  invitation->addresses = g_strdupv((char **)addresses);
  randombytes_buf(invitation->id, sizeof invitation->id);
  randombytes_buf(invitation->secret, sizeof invitation->secret);
  return invitation;
}

void
invitation_free(Invitation *invitation)
{
  if (!invitation)
    return;
  g_strfreev(invitation->addresses);
  sodium_memzero(invitation, sizeof *invitation);
  g_free(invitation);
}

static void
check_sum(const guint8 *data, gsize length, guint8 sum[SUM_LENGTH])
{
  guint8 hash[crypto_generichash_BYTES];
  crypto_generichash(hash, sizeof hash, data, length, NULL, 0);
  memcpy(sum, hash, SUM_LENGTH);
}

char *
invitation_to_text(const Invitation *invitation)
{
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  guint64 expires = GUINT64_TO_BE((guint64)invitation->expires);
  guint8 count = g_strv_length(invitation->addresses);
  g_byte_array_append(bytes, invitation->host.bytes, sizeof invitation->host.bytes);
  g_byte_array_append(bytes, invitation->id, sizeof invitation->id);
  g_byte_array_append(bytes, invitation->secret, sizeof invitation->secret);
  g_byte_array_append(bytes, (const guint8 *)&expires, sizeof expires);
  g_byte_array_append(bytes, &count, 1);
  for (guint i = 0; i < count; i++) {
    guint8 length = strlen(invitation->addresses[i]);
    g_byte_array_append(bytes, &length, 1);
    g_byte_array_append(bytes, (const guint8 *)invitation->addresses[i], length);
  }
  guint8 sum[SUM_LENGTH];
  check_sum(bytes->data, bytes->len, sum);
  g_byte_array_append(bytes, sum, sizeof sum);
  g_autofree char *letters = base32_encode(bytes->data, bytes->len);
  return g_strconcat(HEADING, letters, NULL);
}

/* What is left to read. */
typedef struct {
  const guint8 *at;
  gsize left;
} Reader;

static const guint8 *
reader_take(Reader *reader, gsize length)
{
  if (reader->left < length)
    return NULL;
  const guint8 *taken = reader->at;
  reader->at += length;
  reader->left -= length;
  return taken;
}

static gboolean
read_addresses(Reader *reader, Invitation *invitation, GError **error)
{
  const guint8 *count = reader_take(reader, 1);
  if (!count || *count < 1 || *count > INVITATION_ADDRESSES_MAX)
    return FALSE;
  invitation->addresses = g_new0(char *, *count + 1);
  for (guint i = 0; i < *count; i++) {
    const guint8 *length = reader_take(reader, 1);
    const guint8 *text = length ? reader_take(reader, *length) : NULL;
    if (!text)
      return FALSE;
    invitation->addresses[i] = g_strndup((const char *)text, *length);
    if (strlen(invitation->addresses[i]) != *length ||
        !identity_address_check(invitation->addresses[i], error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
read_fields(Reader *reader, Invitation *invitation, GError **error)
{
  const guint8 *host = reader_take(reader, sizeof invitation->host.bytes);
  const guint8 *id = reader_take(reader, sizeof invitation->id);
  const guint8 *secret = reader_take(reader, sizeof invitation->secret);
  const guint8 *expires = reader_take(reader, sizeof invitation->expires);
  if (!host || !id || !secret || !expires)
    return FALSE;
  memcpy(invitation->host.bytes, host, sizeof invitation->host.bytes);
  memcpy(invitation->id, id, sizeof invitation->id);
  memcpy(invitation->secret, secret, sizeof invitation->secret);
  guint64 seconds;
  memcpy(&seconds, expires, sizeof seconds);
  invitation->expires = GUINT64_FROM_BE(seconds);
  return read_addresses(reader, invitation, error) && reader->left == 0;
}

Invitation *
invitation_from_text(const char *text, GError **error)
{
  g_autofree char *word = g_strstrip(g_strndup(text, INVITATION_TEXT_MAX + 1));
  gboolean ours =
      strlen(word) <= INVITATION_TEXT_MAX && g_ascii_strncasecmp(word, HEADING, strlen(HEADING)) == 0;
  if (!ours) {
    doppel_error_set(
        error, DOPPEL_ERROR_USAGE,
        "\"%.40s\" is not an invitation: that begins with \"%s\" and is printed by \"doppeld invite\"", word,
        HEADING);
    return NULL;
  }
  g_autoptr(GBytes) bytes = base32_decode(word + strlen(HEADING));
  Reader reader = {0};
  if (bytes)
    reader.at = g_bytes_get_data(bytes, &reader.left);
  guint8 sum[SUM_LENGTH];
  if (reader.left > SUM_LENGTH) {
    reader.left -= SUM_LENGTH;
    check_sum(reader.at, reader.left, sum);
  }
  if (!bytes || reader.left <= SUM_LENGTH || memcmp(sum, reader.at + reader.left, SUM_LENGTH) != 0) {
    doppel_error_set(error, DOPPEL_ERROR_USAGE,
                     "the invitation is mistyped or was cut off: copy it again, whole, in one line");
    return NULL;
  }
  g_autoptr(Invitation) invitation = g_new0(Invitation, 1);
  g_autoptr(GError) problem = NULL;
  if (read_fields(&reader, invitation, &problem))
    return g_steal_pointer(&invitation);
  doppel_error_set(error, DOPPEL_ERROR_USAGE, "the invitation makes no sense: %s",
                   problem ? problem->message : "its fields do not fit");
  return NULL;
}
