/* Groups, as the owner changes them. */
#include <string.h>

#include "base/error.h"
#include "c2c/node_control_private.h"
#include "c2c/node_store_groups.h"

typedef Doppel__Wire__ControlGroupEdit Edit;

#define PAGE_MAX    256u /* members in an answer, and groups */
#define TROUBLE_MAX 60   /* bytes of each one's in a page, which has to fit in an answer */

static Doppel__Wire__ControlContact *
pack_contact(const IdentityPublic *origin, const char *name, gint64 since)
{
  g_autofree char *fingerprint = identity_public_to_text(origin);
  Doppel__Wire__ControlContact *out = g_new(Doppel__Wire__ControlContact, 1);
  doppel__wire__control_contact__init(out);
  out->name = name ? g_strdup(name) : g_strconcat("key:", fingerprint, NULL);
  out->origin = node_bytes(g_memdup2(origin, sizeof *origin), sizeof *origin);
  out->since = since;
  return out;
}

/* At most `room` members; *more: it has others behind them. */
static Doppel__Wire__ControlGroup *
pack_group(Node *node, const char *name, const IdentityPublic *after, guint room, gboolean *more,
           GError **error)
{
  g_autoptr(GPtrArray) members = node_store_member_contacts(node->store, name, after, room + 1, error);
  if (!members)
    return NULL;
  Doppel__Wire__ControlGroup *group = g_new(Doppel__Wire__ControlGroup, 1);
  doppel__wire__control_group__init(group);
  group->name = g_strdup(name);
  group->members = g_new0(Doppel__Wire__ControlContact *, members->len + 1);
  *more = members->len > room;
  for (guint i = 0; i < MIN(members->len, room); i++) {
    const NodeContact *contact = members->pdata[i];
    group->members[group->n_members++] = pack_contact(&contact->origin, contact->name, contact->since);
  }
  return group;
}

/* The groups from edit->after on: that one's members behind edit->member first. */
static gboolean
list_groups(Node *node, const Edit *edit, Doppel__Wire__ControlGroups *groups, GError **error)
{
  IdentityPublic place;
  const IdentityPublic *after = node_cursor(&edit->member, &place);
  g_autoptr(GPtrArray) names = node_store_groups(node->store, error);
  guint room = PAGE_MAX;
  if (!names)
    return FALSE;
  groups->groups = g_new0(Doppel__Wire__ControlGroup *, names->len + 1);
  for (guint i = 0; i < names->len && !groups->more; i++) {
    const char *name = names->pdata[i];
    int order = *edit->after ? strcmp(name, edit->after) : 1;
    if (order < 0 || (order == 0 && !after))
      continue;
    if (room == 0 || groups->n_groups == PAGE_MAX) {
      groups->more = TRUE;
      break;
    }
    gboolean more = FALSE;
    Doppel__Wire__ControlGroup *group = pack_group(node, name, order == 0 ? after : NULL, room, &more, error);
    if (!group)
      return FALSE;
    groups->groups[groups->n_groups++] = group;
    groups->more = more;
    room -= (guint)group->n_members;
  }
  return TRUE;
}

static Doppel__Wire__ControlGroupMessage *
pack_message(Node *node, const NodeSent *sent)
{
  Doppel__Wire__ControlGroupMessage *message = g_new(Doppel__Wire__ControlGroupMessage, 1);
  doppel__wire__control_group_message__init(message);
  message->sequence = sent->sequence;
  message->group = g_strdup(sent->group);
  message->members = sent->members;
  message->over = sent->spread;
  message->waiting = sent->waiting;
  message->given_up = sent->given_up;
  message->reached = sent->spread ? sent->members - MIN(sent->members, sent->waiting + sent->given_up)
                                  : node_groups_reached(node, sent->sequence);
  return message;
}

static gboolean
add_awaited(Node *node, const Edit *edit, Doppel__Wire__ControlGroupMessage *message, gboolean *more,
            GError **error)
{
  IdentityPublic place;
  g_autoptr(GPtrArray) list = node_store_awaited(node->store, edit->sequence,
                                                 node_cursor(&edit->member, &place), PAGE_MAX + 1, error);
  if (!list)
    return FALSE;
  *more = list->len > PAGE_MAX;
  message->awaited = g_new0(Doppel__Wire__ControlAwaited *, list->len + 1);
  for (guint i = 0; i < MIN(list->len, PAGE_MAX); i++) {
    const NodeAwaited *each = list->pdata[i];
    Doppel__Wire__ControlAwaited *awaited = g_new(Doppel__Wire__ControlAwaited, 1);
    doppel__wire__control_awaited__init(awaited);
    awaited->who = pack_contact(&each->origin, each->name, 0);
    awaited->tries = each->tries;
    g_autofree char *start = g_strndup(each->trouble ? each->trouble : "", TROUBLE_MAX);
    awaited->trouble = g_utf8_make_valid(start, -1);
    message->awaited[message->n_awaited++] = awaited;
  }
  return TRUE;
}

static gboolean
list_sent(Node *node, const Edit *edit, Doppel__Wire__ControlGroups *groups, GError **error)
{
  gboolean more = FALSE;
  g_autoptr(GPtrArray) list = node_store_sent(node->store, edit->sequence, error);
  if (!list)
    return FALSE;
  if (edit->sequence && list->len == 0)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                            "no such message is known any more: see \"doppel group sent\"");
  groups->messages = g_new0(Doppel__Wire__ControlGroupMessage *, list->len + 1);
  for (guint i = 0; i < list->len; i++)
    groups->messages[groups->n_messages++] = pack_message(node, list->pdata[i]);
  if (edit->sequence && !add_awaited(node, edit, groups->messages[0], &more, error))
    return FALSE;
  groups->more = more;
  return TRUE;
}

/* Members are contacts: who is meant by a name must not change under a group. */
static gboolean
join(Node *node, const Edit *edit, gboolean member, GError **error)
{
  g_autoptr(GArray) origins = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  for (gsize i = 0; i < edit->n_users; i++) {
    IdentityPublic origin;
    g_autoptr(NodeContact) contact = NULL;
    if (g_str_has_prefix(edit->users[i], "key:")) {
      if (!identity_public_from_text(edit->users[i] + strlen("key:"), &origin, error))
        return FALSE;
    } else {
      contact = node_store_contact(node->store, edit->users[i], NULL, NULL);
      if (!contact)
        return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                                "%s is no contact: \"doppel contacts add %s\" makes one", edit->users[i],
                                edit->users[i]);
      origin = contact->origin;
    }
    g_array_append_val(origins, origin);
  }
  return node_store_join_all(node->store, edit->group, origins, member, error);
}

static gboolean
send_message(Node *node, const Edit *edit, Doppel__Wire__ControlGroups *groups, GError **error)
{
  Edit which = DOPPEL__WIRE__CONTROL_GROUP_EDIT__INIT;
  guint64 sequence;
  if (!node_groups_send(node, edit->group, edit->message.data, edit->message.len, &sequence, error))
    return FALSE;
  which.sequence = sequence;
  return list_sent(node, &which, groups, error);
}

static gboolean
edit_group(Node *node, const Edit *edit, Doppel__Wire__ControlGroups *groups, GError **error)
{
  switch (edit->what) {
  case DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__LIST:
    return list_groups(node, edit, groups, error);
  case DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__CREATE:
    return node_store_add_group(node->store, edit->group, error) && join(node, edit, TRUE, error);
  case DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__DELETE:
    return node_store_remove_group(node->store, edit->group, error);
  case DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__ADD:
    return join(node, edit, TRUE, error);
  case DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__REMOVE:
    return join(node, edit, FALSE, error);
  case DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__SEND:
    return send_message(node, edit, groups, error);
  case DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__SENT:
    return list_sent(node, edit, groups, error);
  default:
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "the node cannot do this with a group");
  }
}

void
node_control_group(Node *node, LocalCall *call, const ProtobufCMessage *body)
{
  g_autoptr(GError) error = NULL;
  Doppel__Wire__ControlGroups *groups = g_new(Doppel__Wire__ControlGroups, 1);
  doppel__wire__control_groups__init(groups);
  if (edit_group(node, (const Edit *)body, groups, &error))
    node_answer(call, &groups->base, FALSE);
  else
    node_refuse(call, error);
  doppel__wire__control_groups__free_unpacked(groups, NULL);
}
