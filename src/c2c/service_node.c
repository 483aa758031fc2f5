/* The node by its local socket. Each call has a connection of its own: a service is a short-lived process,
 * and may have threads. */
#include "c2c/service_node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "c2c/api.h"
#include "doppel/c2c.h"
#include "wire/c2c_control.pb-c.h"

#define CONTROL_MS 30000

static void
connection_close(C2c *c2c)
{
  c2c_close(c2c);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(C2c, connection_close)

/* What the library's errno means. */
static gboolean
fail(GError **error, int number, char *why)
{
  DoppelErrorCode code = DOPPEL_ERROR_FAILED;
  if (number == ENOENT)
    code = DOPPEL_ERROR_NOT_FOUND;
  else if (number == EACCES)
    code = DOPPEL_ERROR_DENIED;
  else if (number == EHOSTUNREACH || number == EAGAIN || number == ECONNREFUSED || number == ETIMEDOUT)
    code = DOPPEL_ERROR_GONE;
  doppel_error_set(error, code, "%s", why && *why ? why : g_strerror(number));
  free(why);
  return FALSE;
}

static C2c *
connect_to(const ServicePlace *place, GError **error)
{
  char *why = NULL;
  C2c *c2c = c2c_open(place->socket, &why);
  if (!c2c)
    fail(error, errno, why);
  return c2c;
}

static int
dial(const ServicePlace *place, const char *user, const char *service, GError **error)
{
  char *why = NULL;
  g_autoptr(C2c) c2c = connect_to(place, error);
  int fd = c2c ? c2c_dial(c2c, user, service, &why) : -1;
  if (c2c && fd < 0)
    fail(error, errno, why);
  return fd;
}

/* The only reply there is to what is asked here. */
static int
keep_answer(const unsigned char *body, size_t length, int more, void *data)
{
  GBytes **answer = data;
  g_clear_pointer(answer, g_bytes_unref);
  *answer = g_bytes_new(body, length);
  return 0;
}

static GBytes *
control(const ServicePlace *place, const char *verb, const void *body, gsize length, GError **error)
{
  char *why = NULL;
  g_autoptr(GBytes) answer = NULL;
  g_autoptr(C2c) c2c = connect_to(place, error);
  if (!c2c)
    return NULL;
  if (c2c_control(c2c, verb, body, length, CONTROL_MS, keep_answer, &answer, &why) < 0 || !answer) {
    fail(error, errno, why);
    return NULL;
  }
  return g_steal_pointer(&answer);
}

static gboolean
malformed(GError **error, const char *verb)
{
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the node's answer to \"%s\" is malformed", verb);
}

static gboolean
sign(const ServicePlace *place, const void *statement, gsize length, IdentityPublic *key,
     guint8 signature[IDENTITY_SIGNATURE_LENGTH], GError **error)
{
  g_autoptr(GBytes) answer = control(place, "sign-receipt", statement, length, error);
  if (!answer)
    return FALSE;
  gsize got;
  const guint8 *bytes = g_bytes_get_data(answer, &got);
  if (got != sizeof key->bytes + IDENTITY_SIGNATURE_LENGTH)
    return malformed(error, "sign-receipt");
  memcpy(key->bytes, bytes, sizeof key->bytes);
  memcpy(signature, bytes + sizeof key->bytes, IDENTITY_SIGNATURE_LENGTH);
  return TRUE;
}

static char **
contacts(const ServicePlace *place, GError **error)
{
  g_autoptr(GBytes) answer = control(place, "contacts", NULL, 0, error);
  gsize length;
  const guint8 *bytes = answer ? g_bytes_get_data(answer, &length) : NULL;
  if (!answer)
    return NULL;
  Doppel__Wire__ControlContacts *list = doppel__wire__control_contacts__unpack(NULL, length, bytes);
  g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
  for (gsize i = 0; list && i < list->n_contacts; i++)
    if (list->contacts[i]->name[0])
      g_ptr_array_add(names, g_strdup(list->contacts[i]->name));
  if (!list)
    malformed(error, "contacts");
  else
    doppel__wire__control_contacts__free_unpacked(list, NULL);
  g_ptr_array_add(names, NULL);
  return list ? (char **)g_ptr_array_steal(names, NULL) : NULL;
}

static gboolean
clone_key(const ServicePlace *place, const char *user, IdentityPublic *key, GError **error)
{
  Doppel__Wire__ControlWhois whois = DOPPEL__WIRE__CONTROL_WHOIS__INIT;
  whois.user = (char *)user;
  gsize length = doppel__wire__control_whois__get_packed_size(&whois);
  g_autofree guint8 *question = g_malloc(length);
  doppel__wire__control_whois__pack(&whois, question);
  g_autoptr(GBytes) answer = control(place, "whois", question, length, error);
  const guint8 *bytes = answer ? g_bytes_get_data(answer, &length) : NULL;
  if (!answer)
    return FALSE;
  Doppel__Wire__ControlUser *found = doppel__wire__control_user__unpack(NULL, length, bytes);
  g_autoptr(Record) record = found ? record_decode(found->record.data, found->record.len, NULL, error) : NULL;
  if (!found)
    malformed(error, "whois");
  else
    doppel__wire__control_user__free_unpacked(found, NULL);
  if (record)
    *key = record->clone_key;
  return record != NULL;
}

static const ServiceNode node_by_socket = {dial, sign, contacts, clone_key};
const ServiceNode *service_node = &node_by_socket;
