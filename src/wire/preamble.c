#include "wire/preamble.h"

#include <string.h>

#include "base/error.h"

static const guint8 magic[6] = {'d', 'o', 'p', 'p', 'e', 'l'};
#define VERSION 1

void
wire_preamble_encode(guint8 bytes[WIRE_PREAMBLE_LENGTH], const WirePreamble *preamble)
{
  memcpy(bytes, magic, sizeof magic);
  bytes[6] = preamble->purpose;
  bytes[7] = VERSION;
  memcpy(bytes + 8, preamble->clone, WIRE_ID_LENGTH);
  memcpy(bytes + 8 + WIRE_ID_LENGTH, preamble->session, WIRE_ID_LENGTH);
}

gboolean
wire_preamble_decode(const guint8 bytes[WIRE_PREAMBLE_LENGTH], WirePreamble *preamble, GError **error)
{
  if (memcmp(bytes, magic, sizeof magic) != 0)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the peer does not speak doppel's protocol");
  if (bytes[7] != VERSION)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "the peer speaks version %u of doppel's protocol, this program version %u",
                            bytes[7], VERSION);
  if (bytes[6] > WIRE_PURPOSE_PEER)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "the peer connects for a purpose (%u) that this program does not know", bytes[6]);
  preamble->purpose = bytes[6];
  memcpy(preamble->clone, bytes + 8, WIRE_ID_LENGTH);
  memcpy(preamble->session, bytes + 8 + WIRE_ID_LENGTH, WIRE_ID_LENGTH);
  return TRUE;
}
