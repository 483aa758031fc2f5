/* Contacts and permissions, as the owner changes them. A name that is allowed something for the first time is
 * looked up, and means that user from then on. */
#include <string.h>

#include "base/error.h"
#include "c2c/node_control_private.h"

#define CONTACTS_PAGE    256u /* of the longest names these fit in an answer */
#define PERMISSIONS_PAGE 100u /* likewise */

typedef Doppel__Wire__ControlPermit Permit;
typedef Doppel__Wire__ControlPermissionsPage PermissionsPage;
typedef Doppel__Wire__ControlContactsPage ContactsPage;

void
node_control_permissions(Node *node, LocalCall *call, const ProtobufCMessage *body)
{
  const PermissionsPage *page = (const PermissionsPage *)body;
  g_autoptr(GError) error = NULL;
  IdentityPublic origin;
  const NodeSubject after = {node_cursor(&page->origin, &origin), page->group};
  g_autoptr(GPtrArray) some =
      node_store_permissions(node->store, &after, page->service, PERMISSIONS_PAGE + 1, &error);
  if (!some) {
    node_refuse(call, error);
    return;
  }
  Doppel__Wire__ControlPermissions message = DOPPEL__WIRE__CONTROL_PERMISSIONS__INIT;
  Doppel__Wire__ControlPermission list[PERMISSIONS_PAGE], *pointers[PERMISSIONS_PAGE];
  message.n_permissions = MIN(some->len, PERMISSIONS_PAGE);
  message.more = some->len > PERMISSIONS_PAGE;
  for (guint i = 0; i < message.n_permissions; i++) {
    const NodePermission *permission = some->pdata[i];
    doppel__wire__control_permission__init(&list[i]);
    list[i].subject = permission->subject;
    list[i].service = permission->service;
    list[i].allow = permission->allow;
    list[i].limits = permission->limits;
    list[i].since = permission->since;
    if (permission->of_user)
      list[i].origin = node_bytes(permission->origin.bytes, sizeof permission->origin.bytes);
    list[i].group = permission->group;
    pointers[i] = &list[i];
  }
  message.permissions = pointers;
  node_answer(call, &message.base, FALSE);
}

static void
tell_permitted(LocalCall *call)
{
  const Doppel__Wire__ControlPermissions none = DOPPEL__WIRE__CONTROL_PERMISSIONS__INIT;
  node_answer(call, &none.base, FALSE);
}

static void
change(Node *node, LocalCall *call, const NodeSubject *subject, const char *service, gboolean allow,
       const char *limits, gboolean forget)
{
  g_autoptr(GError) error = NULL;
  gboolean done = forget
                      ? node_store_unpermit(node->store, subject, service, &error)
                      : node_store_permit(node->store, subject, service, allow, limits, node_now(), &error);
  if (done)
    tell_permitted(call);
  else
    node_refuse(call, error);
}

/* What a user is to be called of whom it is only known how they were asked for. */
static const char *
name_for(const char *asked, const Record *record)
{
  return strchr(asked, '/') || g_str_has_prefix(asked, "key:") ? record->name : asked;
}

static void
on_found(Record *record, const NodeAnswer *answer, const GError *error, void *data)
{
  NodeQuestion *question = data;
  g_autoptr(GError) problem = NULL;
  Node *node = question->node;
  if (question->call && !record) {
    node_refuse(question->call, error);
  } else if (question->call) {
    const NodeSubject subject = {.origin = &record->origin};
    if (node_store_add_contact(node->store, name_for(question->text, record), &record->origin, node_now(),
                               &problem))
      change(node, question->call, &subject, question->service, question->flag, question->limits, FALSE);
    else
      node_refuse(question->call, problem);
  }
  node_question_free(question);
}

static gboolean
find_subject(Node *node, const char *text, NodeSubject *subject, IdentityPublic *origin, GError **error)
{
  if (strcmp(text, "*") == 0)
    return TRUE;
  if (strcmp(text, NODE_PROGRAMS) == 0) {
    subject->group = text;
    return TRUE;
  }
  if (*text == '@') {
    subject->group = text + 1;
    return *subject->group ||
           doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "\"@\" is nobody: a group's name comes after it, as in @friends");
  }
  g_autoptr(NodeContact) contact = NULL;
  if (g_str_has_prefix(text, "key:")) {
    IdentityPublic key;
    if (!identity_public_from_text(text + strlen("key:"), &key, error))
      return FALSE;
    contact = node_store_contact(node->store, NULL, &key, error);
  } else {
    contact = node_store_contact(node->store, text, NULL, error);
  }
  if (!contact)
    return FALSE;
  *origin = contact->origin;
  subject->origin = origin;
  return TRUE;
}

static void
permit(Node *node, LocalCall *call, const Permit *message, gboolean allow)
{
  g_autoptr(GError) error = NULL;
  NodeSubject subject = {0};
  IdentityPublic origin;
  if (find_subject(node, message->subject, &subject, &origin, &error)) {
    change(node, call, &subject, message->service, allow, message->limits, message->forget);
    return;
  }
  if (!error && message->forget)
    doppel_error_set(&error, DOPPEL_ERROR_NOT_FOUND, "%s is no contact: see \"doppel contacts\"",
                     message->subject);
  if (error) {
    node_refuse(call, error);
    return;
  }
  NodeQuestion *question = node_question_new(node, call);
  question->text = g_strdup(message->subject);
  question->service = g_strdup(message->service);
  question->limits = g_strdup(message->limits);
  question->flag = allow;
  node_resolve(node, message->subject, TRUE, on_found, question);
}

void
node_control_allow(Node *node, LocalCall *call, const ProtobufCMessage *body)
{
  permit(node, call, (const Permit *)body, TRUE);
}

void
node_control_deny(Node *node, LocalCall *call, const ProtobufCMessage *body)
{
  permit(node, call, (const Permit *)body, FALSE);
}

void
node_control_contacts(Node *node, LocalCall *call, const ProtobufCMessage *body)
{
  g_autoptr(GError) error = NULL;
  IdentityPublic after;
  g_autoptr(GPtrArray) some = node_store_contacts(
      node->store, node_cursor(&((const ContactsPage *)body)->after, &after), CONTACTS_PAGE + 1, &error);
  if (!some) {
    node_refuse(call, error);
    return;
  }
  Doppel__Wire__ControlContacts message = DOPPEL__WIRE__CONTROL_CONTACTS__INIT;
  Doppel__Wire__ControlContact list[CONTACTS_PAGE], *pointers[CONTACTS_PAGE];
  message.n_contacts = MIN(some->len, CONTACTS_PAGE);
  message.more = some->len > CONTACTS_PAGE;
  for (guint i = 0; i < message.n_contacts; i++) {
    const NodeContact *contact = some->pdata[i];
    doppel__wire__control_contact__init(&list[i]);
    list[i].name = contact->name;
    list[i].origin = node_bytes(contact->origin.bytes, sizeof contact->origin.bytes);
    list[i].since = contact->since;
    pointers[i] = &list[i];
  }
  message.contacts = pointers;
  node_answer(call, &message.base, FALSE);
}

static void
tell_changed(LocalCall *call)
{
  const Doppel__Wire__ControlContacts none = DOPPEL__WIRE__CONTROL_CONTACTS__INIT;
  node_answer(call, &none.base, FALSE);
}

static void
on_contact(Record *record, const NodeAnswer *answer, const GError *error, void *data)
{
  NodeQuestion *question = data;
  g_autoptr(GError) problem = NULL;
  if (question->call && !record) {
    node_refuse(question->call, error);
  } else if (question->call) {
    const char *name = *question->service ? question->service : name_for(question->text, record);
    if (node_store_add_contact(question->node->store, name, &record->origin, node_now(), &problem))
      tell_changed(question->call);
    else
      node_refuse(question->call, problem);
  }
  node_question_free(question);
}

void
node_control_contact(Node *node, LocalCall *call, const ProtobufCMessage *body)
{
  const Doppel__Wire__ControlContactEdit *edit = (const Doppel__Wire__ControlContactEdit *)body;
  g_autoptr(GError) error = NULL;
  if (edit->forget) {
    if (node_store_forget_contact(node->store, edit->user, &error))
      tell_changed(call);
    else
      node_refuse(call, error);
    return;
  }
  NodeQuestion *question = node_question_new(node, call);
  question->text = g_strdup(edit->user);
  question->service = g_strdup(edit->name);
  node_resolve(node, edit->user, TRUE, on_contact, question);
}
