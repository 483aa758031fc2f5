/* Contacts and permissions, as the owner changes them. A name that is allowed something for the first time is
 * looked up, and means that user from then on. */
#include <string.h>

#include "base/error.h"
#include "c2c/node_control_private.h"

typedef Doppel__Wire__ControlPermit Permit;

void
node_control_permissions(Node *node, LocalCall *call, const ProtobufCMessage *body)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) all = node_store_permissions(node->store, &error);
  if (!all) {
    node_refuse(call, error);
    return;
  }
  Doppel__Wire__ControlPermissions message = DOPPEL__WIRE__CONTROL_PERMISSIONS__INIT;
  g_autofree Doppel__Wire__ControlPermission *list = g_new(Doppel__Wire__ControlPermission, all->len + 1);
  g_autofree Doppel__Wire__ControlPermission **pointers =
      g_new(Doppel__Wire__ControlPermission *, all->len + 1);
  for (guint i = 0; i < all->len; i++) {
    const NodePermission *permission = all->pdata[i];
    doppel__wire__control_permission__init(&list[i]);
    list[i].subject = permission->subject;
    list[i].service = permission->service;
    list[i].allow = permission->allow;
    list[i].limits = permission->limits;
    list[i].since = permission->since;
    pointers[i] = &list[i];
  }
  message.permissions = pointers;
  message.n_permissions = all->len;
  node_answer(call, &message.base, FALSE);
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
    node_control_permissions(node, call, NULL);
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
  g_autoptr(GPtrArray) all = node_store_contacts(node->store, &error);
  if (!all) {
    node_refuse(call, error);
    return;
  }
  Doppel__Wire__ControlContacts message = DOPPEL__WIRE__CONTROL_CONTACTS__INIT;
  g_autofree Doppel__Wire__ControlContact *list = g_new(Doppel__Wire__ControlContact, all->len + 1);
  g_autofree Doppel__Wire__ControlContact **pointers = g_new(Doppel__Wire__ControlContact *, all->len + 1);
  for (guint i = 0; i < all->len; i++) {
    const NodeContact *contact = all->pdata[i];
    doppel__wire__control_contact__init(&list[i]);
    list[i].name = contact->name;
    list[i].origin = node_bytes(contact->origin.bytes, sizeof contact->origin.bytes);
    list[i].since = contact->since;
    pointers[i] = &list[i];
  }
  message.contacts = pointers;
  message.n_contacts = all->len;
  node_answer(call, &message.base, FALSE);
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
      node_control_contacts(question->node, question->call, NULL);
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
      node_control_contacts(node, call, NULL);
    else
      node_refuse(call, error);
    return;
  }
  NodeQuestion *question = node_question_new(node, call);
  question->text = g_strdup(edit->user);
  question->service = g_strdup(edit->name);
  node_resolve(node, edit->user, TRUE, on_contact, question);
}
