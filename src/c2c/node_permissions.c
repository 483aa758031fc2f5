/* Who may do what (c2c/node_store.h). */
#include <string.h>

#include "base/error.h"
#include "c2c/node_limits.h"
#include "c2c/node_store_private.h"

void
node_permission_free(NodePermission *permission)
{
  if (!permission)
    return;
  g_free(permission->subject);
  g_free(permission->service);
  g_free(permission->limits);
  g_free(permission->group);
  g_free(permission);
}

void
node_decision_clear(NodeDecision *decision)
{
  g_free(decision->limits);
  g_free(decision->explanation);
  *decision = (NodeDecision){0};
}

/* Letters that a terminal and a comma-separated list bear. */
static gboolean
check_service(const char *service, GError **error)
{
  gsize length = strlen(service);
  gboolean good = length > 0 && length <= NODE_SERVICE_MAX && g_utf8_validate(service, -1, NULL);
  for (gsize i = 0; good && i < length; i++)
    good = !g_ascii_iscntrl(service[i]) && !g_ascii_isspace(service[i]) && service[i] != ',' &&
           (service[i] != '*' || (i == length - 1 && (i == 0 || service[i - 1] == ':')));
  return good ||
         doppel_error_set(error, DOPPEL_ERROR_USAGE,
                          "'%.60s' is no service: it is a name like send, forward:8080, \"forward:*\" "
                          "for all that begin so, or \"*\" for all",
                          service);
}

#define SUBJECT_KINDS "bt"
#define SUBJECT_VALUES(subject)                                                                              \
  (subject)->origin ? (subject)->origin->bytes : (const void *)"",                                           \
      (subject)->origin ? (gsize)IDENTITY_PUBLIC_LENGTH : (gsize)0, (subject)->group ? (subject)->group : ""

static gboolean
check_group(NodeStore *store, const char *group, GError **error)
{
  if (!group || strcmp(group, NODE_PROGRAMS) == 0)
    return TRUE;
  g_autoptr(GArray) members = node_store_members(store, group, error);
  return members != NULL;
}

gboolean
node_store_permit(NodeStore *store, const NodeSubject *subject, const char *service, gboolean allow,
                  const char *limits, gint64 now, GError **error)
{
  return check_service(service, error) && node_limits_parse(limits, NULL, error) &&
         check_group(store, subject->group, error) &&
         database_run(store->database, error, "INSERT OR REPLACE INTO permission VALUES(?, ?, ?, ?, ?, ?)",
                      SUBJECT_KINDS "titi", SUBJECT_VALUES(subject), service, (gint64)allow, limits, now);
}

gboolean
node_store_unpermit(NodeStore *store, const NodeSubject *subject, const char *service, GError **error)
{
  return check_service(service, error) &&
         database_run(store->database, error,
                      "DELETE FROM permission WHERE origin = ? AND team = ? AND service = ?",
                      SUBJECT_KINDS "t", SUBJECT_VALUES(subject), service);
}

/* As the owner would say it. */
static char *
subject_text(NodeStore *store, const NodePermission *permission)
{
  const char *group = permission->group;
  if (strcmp(group, NODE_PROGRAMS) == 0)
    return g_strdup(group);
  if (*group)
    return g_strconcat("@", group, NULL);
  if (!permission->of_user)
    return g_strdup("*");
  g_autoptr(NodeContact) contact = node_store_contact(store, NULL, &permission->origin, NULL);
  g_autofree char *fingerprint = identity_public_to_text(&permission->origin);
  return contact ? g_strdup(contact->name) : g_strconcat("key:", fingerprint, NULL);
}

static NodePermission *
read_permission(NodeStore *store, sqlite3_stmt *statement)
{
  NodePermission *permission = g_new0(NodePermission, 1);
  permission->of_user =
      database_blob(statement, 0, permission->origin.bytes, sizeof permission->origin.bytes);
  permission->group = g_strdup((const char *)sqlite3_column_text(statement, 1));
  permission->subject = subject_text(store, permission);
  permission->service = g_strdup((const char *)sqlite3_column_text(statement, 2));
  permission->allow = sqlite3_column_int(statement, 3) != 0;
  permission->limits = g_strdup((const char *)sqlite3_column_text(statement, 4));
  permission->since = sqlite3_column_int64(statement, 5);
  return permission;
}

#define PERMISSION_COLUMNS "SELECT p.origin, p.team, p.service, p.allow, p.limits, p.since FROM permission p "

GPtrArray *
node_store_permissions(NodeStore *store, const NodeSubject *after, const char *service, guint most,
                       GError **error)
{
  g_autoptr(GPtrArray) permissions = g_ptr_array_new_with_free_func((GDestroyNotify)node_permission_free);
  g_autoptr(DatabaseStatement) statement =
      database_prepare(store->database, error,
                       PERMISSION_COLUMNS "WHERE (p.origin, p.team, p.service) > (?, ?, ?) "
                                          "ORDER BY p.origin, p.team, p.service LIMIT ?",
                       SUBJECT_KINDS "ti", SUBJECT_VALUES(after), service, (gint64)most);
  int step = statement ? 1 : -1;
  while (step > 0 && (step = database_step(statement, error)) > 0)
    g_ptr_array_add(permissions, read_permission(store, statement));
  return step == 0 ? g_steal_pointer(&permissions) : NULL;
}

static void
explain(NodeDecision *decision, const NodePermission *permission, const char *service)
{
  decision->allowed = permission->allow;
  decision->denied = !permission->allow;
  decision->limits = g_strdup(permission->allow ? permission->limits : "");
  decision->explanation =
      g_strdup_printf("%s is %s for %s%s%s%s", service, permission->allow ? "allowed" : "denied",
                      strcmp(permission->subject, "*") == 0 ? "everybody (*)" : permission->subject,
                      strcmp(permission->service, service) == 0 ? "" : " by ",
                      strcmp(permission->service, service) == 0 ? "" : permission->service,
                      permission->allow && *permission->limits ? ", with limits" : "");
}

/* "forward:80" is of the family "forward:*". */
static char *
family_of(const char *service)
{
  const char *colon = strchr(service, ':');
  return colon ? g_strdup_printf("%.*s:*", (int)(colon - service), service) : g_strdup("*");
}

gboolean
node_store_programs_may(NodeStore *store, const char *service, NodeDecision *decision, GError **error)
{
  *decision = (NodeDecision){0};
  g_autofree char *family = family_of(service);
  g_autoptr(DatabaseStatement) statement = database_prepare(
      store->database, error,
      PERMISSION_COLUMNS "WHERE p.origin = x'' AND p.team = ?1 AND p.service IN (?2, ?3, '*') "
                         "ORDER BY p.service = '*', p.service = ?3 LIMIT 1",
      "ttt", NODE_PROGRAMS, service, family);
  int step = statement ? database_step(statement, error) : -1;
  if (step > 0) {
    g_autoptr(NodePermission) permission = read_permission(store, statement);
    explain(decision, permission, service);
  }
  return step >= 0;
}

gboolean
node_store_may(NodeStore *store, const IdentityPublic *origin, const char *service, NodeDecision *decision,
               GError **error)
{
  *decision = (NodeDecision){0};
  g_autofree char *family = family_of(service);
  g_autoptr(DatabaseStatement) statement = database_prepare(
      store->database, error,
      PERMISSION_COLUMNS
      "WHERE (p.origin = ?1 OR (p.origin = x'' AND (p.team = '' OR p.team IN"
      " (SELECT team FROM member WHERE origin = ?1)))) AND p.service IN (?2, ?3, '*') "
      /* The narrowest subject first; of groups, whose order means nothing, each one's most precise word
         counts, and one denial among these is enough. */
      "AND NOT EXISTS (SELECT 1 FROM permission q WHERE q.origin = p.origin AND q.team = p.team"
      " AND q.service IN (?2, ?3, '*') AND q.service <> p.service AND (q.service = ?2 OR p.service = '*')) "
      "ORDER BY p.origin = x'', p.team = '', p.allow LIMIT 1",
      "btt", origin->bytes, sizeof origin->bytes, service, family);
  int step = statement ? database_step(statement, error) : -1;
  if (step > 0) {
    g_autoptr(NodePermission) permission = read_permission(store, statement);
    explain(decision, permission, service);
  } else if (step == 0) {
    decision->limits = g_strdup("");
    decision->explanation = g_strdup_printf("nothing is said about %s for this user, and what is not allowed "
                                            "is denied",
                                            service);
  }
  return step >= 0;
}
