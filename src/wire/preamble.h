/* The plain preamble of a connection: whom it is for. It is sent in clear before TLS, so that a clone host
 * can hand the socket to the right process without taking part in the handshake. It proves nothing. */
#pragma once

#include <glib.h>

#define WIRE_PREAMBLE_LENGTH 40 /* "doppel", purpose, version (a byte each), clone, session */
#define WIRE_ID_LENGTH       16

typedef enum {
  WIRE_PURPOSE_DEVICE, /* a device and its clone; or pairing */
  WIRE_PURPOSE_PEER,   /* another clone */
} WirePurpose;

typedef struct {
  guint8 clone[WIRE_ID_LENGTH];   /* all zero: the host itself, for pairing */
  guint8 session[WIRE_ID_LENGTH]; /* chosen by the dialler, random: routes re-connections; no secret */
  guint8 purpose;                 /* a WirePurpose */
} WirePreamble;

void wire_preamble_encode(guint8 bytes[WIRE_PREAMBLE_LENGTH], const WirePreamble *preamble);

/* FALSE: HOSTILE for what is no preamble, UNSUPPORTED for that of another version or for
 * a purpose that is not known. */
gboolean wire_preamble_decode(const guint8 bytes[WIRE_PREAMBLE_LENGTH], WirePreamble *preamble,
                              GError **error);
