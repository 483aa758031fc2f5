/* What a clone's node remembers: the owner's contacts, who may do what, groups, and the clone's own part of
 * its record. A SQLite database "node.db" in the clone's C2C directory, which only its owner can enter.
 *
 * A subject of a permission is a user (by origin), a group or everybody. Nobody may do anything by default.
 */
#pragma once

#include "identity/record.h"

#define NODE_LIMITS_MAX  256 /* bytes of a permission's limits */
#define NODE_SERVICE_MAX 128 /* bytes of a service's name */

typedef struct NodeStore NodeStore;

/* Opens the store in `directory`, made (0700) if it is missing. NULL with an error. */
NodeStore *node_store_open(const char *directory, GError **error);
void node_store_close(NodeStore *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NodeStore, node_store_close)

/* Somebody whom the owner knows: `name` means `origin` from `since` (seconds since 1970) on, whatever a
 * directory says later. */
typedef struct {
  char *name;
  IdentityPublic origin;
  gint64 since;
} NodeContact;
void node_contact_free(NodeContact *contact);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NodeContact, node_contact_free)

/* Pins the name. FALSE with an error: DENIED where the name is pinned to another origin. One that has another
 * name gets this one. */
gboolean node_store_add_contact(NodeStore *store, const char *name, const IdentityPublic *origin, gint64 now,
                                GError **error);

/* By name or (where `name` is NULL) by origin. NULL without an error: there is none. */
NodeContact *node_store_contact(NodeStore *store, const char *name, const IdentityPublic *origin,
                                GError **error);

/* Forgets a contact, its permissions and memberships. NOT_FOUND where there is none. */
gboolean node_store_forget_contact(NodeStore *store, const char *name, GError **error);

/* A page, by origin, at most `most` after `after` (NULL: the first): an array of NodeContact. */
GPtrArray *node_store_contacts(NodeStore *store, const IdentityPublic *after, guint most, GError **error);

/* Groups of users. Names are as record_name_check() has them. */
gboolean node_store_add_group(NodeStore *store, const char *group, GError **error);
gboolean node_store_remove_group(NodeStore *store, const char *group, GError **error);
gboolean node_store_join_group(NodeStore *store, const char *group, const IdentityPublic *origin,
                               gboolean member, GError **error);
/* Several origins (an array of IdentityPublic) at once: all of them or none. */
gboolean node_store_join_all(NodeStore *store, const char *group, const GArray *origins, gboolean member,
                             GError **error);
/* A page of a group's members, by origin, at most `most` after `after` (NULL: the first): an array of
 * NodeContact, of which `name` is NULL for who is no contact. */
GPtrArray *node_store_member_contacts(NodeStore *store, const char *group, const IdentityPublic *after,
                                      guint most, GError **error);
/* Names, sorted; and a group's members' origins (an array of IdentityPublic, sorted), NULL with NOT_FOUND. */
GPtrArray *node_store_groups(NodeStore *store, GError **error);
GArray *node_store_members(NodeStore *store, const char *group, GError **error);
/* Whether the user is in any group. FALSE where the store cannot be read, too. */
gboolean node_store_in_group(NodeStore *store, const IdentityPublic *origin);

/* Small things of the node's own, by name: parts of its record, settings. NULL without an error: none. */
gboolean node_store_put(NodeStore *store, const char *name, GBytes *value, GError **error);
GBytes *node_store_get(NodeStore *store, const char *name, GError **error);

/* In the place of a group: programs in this clone's sandboxes. No group is called so (record_name_check()).
 */
#define NODE_PROGRAMS "/programs"

/* Who a permission is for: one of the three. */
typedef struct {
  const IdentityPublic *origin;
  const char *group; /* with origin NULL; both NULL: everybody */
} NodeSubject;

/* Allows or denies. `service` is a service's name, "NAME:*" (every one that begins so), or "*"; `limits` are
 * "KEY=VALUE,...", "" for none (c2c/node_limits.h). FALSE with USAGE for what is none. */
gboolean node_store_permit(NodeStore *store, const NodeSubject *subject, const char *service, gboolean allow,
                           const char *limits, gint64 now, GError **error);

/* Neither allowed nor denied any more. */
gboolean node_store_unpermit(NodeStore *store, const NodeSubject *subject, const char *service,
                             GError **error);

typedef struct {
  char *subject; /* a contact's name, "key:FINGERPRINT", "@GROUP", NODE_PROGRAMS or "*" */
  char *service, *limits;
  gboolean allow;
  gint64 since;
  gboolean of_user;
  IdentityPublic origin; /* of the user */
  char *group;           /* as in NodeSubject; "" for none */
} NodePermission;
void node_permission_free(NodePermission *permission);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NodePermission, node_permission_free)
/* A page, by origin, group and service, at most `most` after what is said of that subject and service ("" and
 * a subject of NULLs: the first). */
GPtrArray *node_store_permissions(NodeStore *store, const NodeSubject *after, const char *service, guint most,
                                  GError **error);

typedef struct {
  gboolean allowed;
  gboolean denied;   /* expressly */
  char *limits;      /* of what allows it */
  char *explanation; /* what decided, for the owner */
} NodeDecision;
void node_decision_clear(NodeDecision *decision);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(NodeDecision, node_decision_clear)

/* Whether the user may use the service. The narrowest subject of which anything is said about the service
 * decides: the user before groups, groups before everybody; a denial before an allowance of subjects that are
 * equally narrow; what is said of the service before what is said of "NAME:*", that before "*". A denial thus
 * beats an allowance of a wider subject. FALSE with an error where the store cannot be read: deny then. */
gboolean node_store_may(NodeStore *store, const IdentityPublic *origin, const char *service,
                        NodeDecision *decision, GError **error);

/* Whether programs in this clone's sandboxes may: only what is said of NODE_PROGRAMS itself counts. */
gboolean node_store_programs_may(NodeStore *store, const char *service, NodeDecision *decision,
                                 GError **error);
