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
#include "wire/message.h"

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

/* The page after `last`, which is its last one then. FALSE where it is malformed: each page has to go on. */
static gboolean
add_names(GBytes *answer, IdentityPublic *last, GPtrArray *names, gboolean *more)
{
  Doppel__Wire__ControlContacts *list =
      doppel__wire__control_contacts__unpack(NULL, g_bytes_get_size(answer), g_bytes_get_data(answer, NULL));
  if (!list)
    return FALSE;
  gboolean good = !list->more || list->n_contacts > 0;
  *more = list->more;
  for (gsize i = 0; good && i < list->n_contacts; i++) {
    const Doppel__Wire__ControlContact *each = list->contacts[i];
    good = each->origin.len == sizeof last->bytes &&
           memcmp(each->origin.data, last->bytes, sizeof last->bytes) > 0;
    if (!good)
      break;
    memcpy(last->bytes, each->origin.data, sizeof last->bytes);
    g_ptr_array_add(names, g_strdup(each->name));
  }
  doppel__wire__control_contacts__free_unpacked(list, NULL);
  return good;
}

static char **
contacts(const ServicePlace *place, GError **error)
{
  g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
  IdentityPublic last = {{0}};
  for (gboolean more = TRUE; more;) {
    Doppel__Wire__ControlContactsPage page = DOPPEL__WIRE__CONTROL_CONTACTS_PAGE__INIT;
    guint8 question[sizeof last.bytes + 8];
    if (names->len > 0)
      page.after = (ProtobufCBinaryData){sizeof last.bytes, last.bytes};
    gsize length = doppel__wire__control_contacts_page__pack(&page, question);
    g_autoptr(GBytes) answer = control(place, "contacts", question, length, error);
    if (!answer)
      return NULL;
    if (!add_names(answer, &last, names, &more)) {
      malformed(error, "contacts");
      return NULL;
    }
  }
  g_ptr_array_add(names, NULL);
  return (char **)g_ptr_array_steal(names, NULL);
}

static gboolean
whois(const ServicePlace *place, const char *user, IdentityPublic *origin, IdentityPublic *key, char **name,
      GError **error)
{
  Doppel__Wire__ControlWhois question = DOPPEL__WIRE__CONTROL_WHOIS__INIT;
  question.user = (char *)user;
  g_autoptr(GBytes) packed = wire_pack(&question.base);
  gsize length;
  const guint8 *bytes = g_bytes_get_data(packed, &length);
  g_autoptr(GBytes) answer = control(place, "whois", bytes, length, error);
  bytes = answer ? g_bytes_get_data(answer, &length) : NULL;
  if (!answer)
    return FALSE;
  Doppel__Wire__ControlUser *found = doppel__wire__control_user__unpack(NULL, length, bytes);
  g_autoptr(Record) record = found ? record_decode(found->record.data, found->record.len, NULL, error) : NULL;
  if (!found)
    malformed(error, "whois");
  if (record) {
    *origin = record->origin;
    *key = record->clone_key;
    *name = g_strdup(found->contact[0] ? found->contact : record->name);
  }
  if (found)
    doppel__wire__control_user__free_unpacked(found, NULL);
  return record != NULL;
}

static gboolean
clone_key(const ServicePlace *place, const char *user, IdentityPublic *key, GError **error)
{
  IdentityPublic origin;
  g_autofree char *name = NULL;
  return whois(place, user, &origin, key, &name, error);
}

static gboolean
own(const ServicePlace *place, IdentityPublic *origin, GError **error)
{
  g_autoptr(GBytes) answer = control(place, "status", NULL, 0, error);
  gsize length;
  const guint8 *bytes = answer ? g_bytes_get_data(answer, &length) : NULL;
  if (!answer)
    return FALSE;
  Doppel__Wire__ControlStatus *status = doppel__wire__control_status__unpack(NULL, length, bytes);
  gboolean bound = status && status->record.len > 0;
  g_autoptr(Record) record =
      bound ? record_decode(status->record.data, status->record.len, NULL, error) : NULL;
  if (!status)
    malformed(error, "status");
  else
    doppel__wire__control_status__free_unpacked(status, NULL);
  if (status && !bound)
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                     "the clone has no name yet: \"doppel name claim\" gives it one");
  if (record)
    *origin = record->origin;
  return record != NULL;
}

static const ServiceNode node_by_socket = {dial, sign, contacts, clone_key, whois, own};
const ServiceNode *service_node = &node_by_socket;
