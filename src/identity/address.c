#include "identity/address.h"

#include <string.h>

#include "base/error.h"

static gboolean
is_port(const char *text)
{
  guint64 number;
  return g_ascii_string_to_unsigned(text, 10, 1, 65535, &number, NULL);
}

/* Names and numbers of hosts, and the scope of a link-local one ("fe80::1%eth0"). */
static gboolean
is_host(const char *text, gsize length, gboolean bracketed)
{
  if (length == 0)
    return FALSE;
  for (gsize i = 0; i < length; i++)
    if (!g_ascii_isalnum(text[i]) && !strchr("-._%", text[i]) && !(bracketed && text[i] == ':'))
      return FALSE;
  return TRUE;
}

gboolean
identity_address_split(const char *address, char **host, char **port, GError **error)
{
  gsize length = strlen(address);
  const char *colon = strrchr(address, ':');
  gboolean bracketed = address[0] == '[';
  const char *from = bracketed ? address + 1 : address;
  const char *to = bracketed && colon && colon > from && colon[-1] == ']' ? colon - 1 : colon;
  if (length > IDENTITY_ADDRESS_MAX || !colon || !is_port(colon + 1) || (bracketed && to == colon) ||
      !is_host(from, to - from, bracketed))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "\"%.80s\" is not an address: write HOST:PORT, or [IPv6]:PORT", address);
  *host = g_strndup(from, to - from);
  *port = g_strdup(colon + 1);
  return TRUE;
}

gboolean
identity_address_check(const char *address, GError **error)
{
  g_autofree char *host = NULL;
  g_autofree char *port = NULL;
  return identity_address_split(address, &host, &port, error);
}
