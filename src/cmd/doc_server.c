#include "cmd/doc_server.h"

#include <string.h>

#include "base/error.h"
#include "clonedoc/server/call.h"
#include "identity/address.h"

void
doc_server_clear(DocServer *server)
{
  g_clear_pointer(&server->addresses, g_strfreev);
}

/* "host", "192.0.2.1" or "[2001:db8::1]" want a port. */
static char *
with_port(const char *address)
{
  const char *colon = strrchr(address, ':'), *bracket = strrchr(address, ']');
  return colon && (!bracket || colon > bracket) ? g_strdup(address)
                                                : g_strconcat(address, ":" DOC_PORT, NULL);
}

gboolean
doc_server_parse(const char *text, DocServer *server, GError **error)
{
  const char *equals = strrchr(text, '=');
  if (!equals || !identity_public_from_text(equals + 1, &server->key, NULL))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "\"%s\" is no server: write ADDRESS=KEY, as \"clonedocd key\" prints it", text);
  g_autofree char *list = g_strndup(text, equals - text);
  g_auto(GStrv) addresses = g_strsplit(list, ",", 0);
  for (char **each = addresses; *each; each++) {
    g_autofree char *whole = with_port(*each);
    if (!identity_address_check(whole, error))
      return FALSE;
    g_free(*each);
    *each = g_steal_pointer(&whole);
  }
  if (!addresses[0] || g_strv_length(addresses) > DOC_ROOM_ADDRESSES_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "a server has 1 to %u addresses",
                            DOC_ROOM_ADDRESSES_MAX);
  server->addresses = g_steal_pointer(&addresses);
  return TRUE;
}

static gboolean
take_last(DocCopies *copies, DocServer *server, GError **error)
{
  g_autoptr(GPtrArray) list = doc_copies_list(copies, error);
  gint64 newest = -1;
  for (guint i = 0; list && i < list->len; i++) {
    g_autoptr(DocRow) row = doc_known_row(list->pdata[i]);
    if (!row || row->changed <= newest || row->n_addresses == 0 ||
        row->server.len != sizeof server->key.bytes || row->state == DOPPEL__ROOM__STATE__INVITED ||
        row->fault[0])
      continue;
    newest = row->changed;
    doc_server_clear(server);
    server->addresses = g_new0(char *, row->n_addresses + 1);
    for (gsize k = 0; k < row->n_addresses; k++)
      server->addresses[k] = g_strdup(row->addresses[k]);
    memcpy(server->key.bytes, row->server.data, sizeof server->key.bytes);
  }
  return list &&
         (server->addresses ||
          doppel_error_set(error, DOPPEL_ERROR_USAGE,
                           "which server is to order it? Say --server=ADDRESS=KEY, as \"clonedocd key\" "
                           "prints it there"));
}

gboolean
doc_server_choose(const char *text, DocCopies *copies, DocServer *server, GError **error)
{
  return text ? doc_server_parse(text, server, error) : take_last(copies, server, error);
}
