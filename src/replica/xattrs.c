#include "replica/xattrs.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

static const char *const carried_exactly[] = {"security.capability", "system.posix_acl_access",
                                              "system.posix_acl_default"};

static gboolean
carried(const char *name, gboolean all)
{
  if (all && g_str_has_prefix(name, "trusted."))
    return name[8] && !g_str_has_prefix(name, "trusted.overlay.");
  if (all && g_str_has_prefix(name, "security."))
    return name[9] != '\0';
  if (g_str_has_prefix(name, "user."))
    return name[5] && !g_str_has_prefix(name, "user.overlay.") && !g_str_has_prefix(name, "user.doppel.");
  for (guint i = 0; i < G_N_ELEMENTS(carried_exactly); i++)
    if (strcmp(name, carried_exactly[i]) == 0)
      return TRUE;
  return FALSE;
}

static int
compare_names(gconstpointer a, gconstpointer b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names that travel, sorted; NULL with an errno in *failure, or for none. They point into *buffer. */
static GPtrArray *
list_names(const char *proc, gboolean all, char **buffer, int *failure)
{
  *failure = 0;
  ssize_t length = llistxattr(proc, NULL, 0);
  for (; length > 0; length = llistxattr(proc, NULL, 0)) {
    *buffer = g_realloc(*buffer, length);
    length = llistxattr(proc, *buffer, length);
    if (length >= 0 || errno != ERANGE)
      break;
  }
  if (length <= 0) {
    if (length < 0 && errno != EOPNOTSUPP)
      *failure = errno;
    return NULL;
  }
  GPtrArray *names = g_ptr_array_new();
  for (char *at = *buffer; at < *buffer + length; at += strlen(at) + 1)
    if (carried(at, all))
      g_ptr_array_add(names, at);
  g_ptr_array_sort(names, compare_names);
  return names;
}

static int
append_attribute(GByteArray *set, const char *proc, const char *name)
{
  g_autofree guint8 *value = NULL;
  ssize_t length;
  for (gsize room = 256;; room = 65536) {
    value = g_realloc(value, room);
    length = lgetxattr(proc, name, value, room);
    if (length >= 0)
      break;
    if (errno != ERANGE || room == 65536)
      return errno == ENODATA ? 0 : errno;
  }
  guint16 name_length = g_htons(strlen(name));
  guint32 value_length = g_htonl(length);
  g_byte_array_append(set, (guint8 *)&name_length, sizeof name_length);
  g_byte_array_append(set, (const guint8 *)name, strlen(name));
  g_byte_array_append(set, (guint8 *)&value_length, sizeof value_length);
  g_byte_array_append(set, value, length);
  return set->len > REPLICA_XATTRS_MAX ? E2BIG : 0;
}

int
replica_xattrs_read(const char *proc, gboolean all, GBytes **set)
{
  *set = NULL;
  int failure;
  g_autofree char *buffer = NULL;
  g_autoptr(GPtrArray) names = list_names(proc, all, &buffer, &failure);
  if (!names || names->len == 0)
    return failure;
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  for (guint i = 0; i < names->len; i++) {
    failure = append_attribute(bytes, proc, names->pdata[i]);
    if (failure)
      return failure;
  }
  if (bytes->len)
    *set = g_byte_array_free_to_bytes(g_steal_pointer(&bytes));
  return 0;
}

typedef struct {
  char name[256];
  const guint8 *value;
  guint32 length;
} Attribute;

/* Takes the next attribute off data[0..*length). FALSE at the end or where the form is broken. */
static gboolean
next_attribute(const guint8 **data, gsize *length, Attribute *attribute)
{
  guint16 name_length;
  guint32 value_length;
  if (*length < sizeof name_length)
    return FALSE;
  memcpy(&name_length, *data, sizeof name_length);
  name_length = g_ntohs(name_length);
  gsize head = sizeof name_length + name_length + sizeof value_length;
  if (name_length >= sizeof attribute->name || *length < head)
    return FALSE;
  memcpy(attribute->name, *data + sizeof name_length, name_length);
  attribute->name[name_length] = '\0';
  memcpy(&value_length, *data + sizeof name_length + name_length, sizeof value_length);
  attribute->length = g_ntohl(value_length);
  if (attribute->length > *length - head || strlen(attribute->name) != name_length)
    return FALSE;
  attribute->value = *data + head;
  *data += head + attribute->length;
  *length -= head + attribute->length;
  return TRUE;
}

GBytes *
replica_xattrs_parse(const guint8 *data, gsize length, gboolean all, gboolean *valid)
{
  *valid = length == 0;
  if (length == 0 || length > REPLICA_XATTRS_MAX)
    return NULL;
  const guint8 *at = data;
  gsize left = length;
  char last[256] = "";
  while (left > 0) {
    Attribute attribute;
    if (!next_attribute(&at, &left, &attribute) || !carried(attribute.name, all) ||
        strcmp(attribute.name, last) <= 0)
      return NULL;
    g_strlcpy(last, attribute.name, sizeof last);
  }
  *valid = TRUE;
  return g_bytes_new(data, length);
}

gboolean
replica_xattrs_equal(GBytes *a, GBytes *b)
{
  return a == b || (a && b && g_bytes_equal(a, b));
}

static gboolean
has_name(GBytes *set, const char *name)
{
  gsize left = 0;
  const guint8 *at = set ? g_bytes_get_data(set, &left) : NULL;
  Attribute attribute;
  while (next_attribute(&at, &left, &attribute))
    if (strcmp(attribute.name, name) == 0)
      return TRUE;
  return FALSE;
}

/* Removes what `have` has and `set` has not. 0, or an errno. */
static int
remove_others(const char *proc, GBytes *have, GBytes *set)
{
  gsize left = 0;
  const guint8 *at = have ? g_bytes_get_data(have, &left) : NULL;
  Attribute attribute;
  while (next_attribute(&at, &left, &attribute))
    if (!has_name(set, attribute.name) && lremovexattr(proc, attribute.name) < 0 && errno != ENODATA)
      return errno;
  return 0;
}

int
replica_xattrs_write(const char *proc, gboolean all, GBytes *set)
{
  GBytes *have_now = NULL;
  int failure = replica_xattrs_read(proc, all, &have_now);
  g_autoptr(GBytes) have = have_now;
  if (failure || replica_xattrs_equal(have, set))
    return failure;
  failure = remove_others(proc, have, set);
  gsize left = 0;
  const guint8 *at = set ? g_bytes_get_data(set, &left) : NULL;
  Attribute attribute;
  while ((!failure || all) && next_attribute(&at, &left, &attribute))
    if (lsetxattr(proc, attribute.name, attribute.value, attribute.length, 0) < 0 && !failure)
      failure = errno;
  return failure;
}
