#include "identity/paired.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "identity/address.h"
#include "identity/base32.h"

void
paired_clone_free(PairedClone *clone)
{
  if (!clone)
    return;
  g_free(clone->name);
  g_strfreev(clone->addresses);
  g_free(clone);
}

gboolean
paired_name_check(const char *name, GError **error)
{
  gsize length = strlen(name);
  gboolean good = length > 0 && length <= PAIRED_NAME_MAX && name[0] != '-' && name[0] != '.' &&
                  strcmp(name, "local") != 0;
  for (gsize i = 0; good && i < length; i++)
    good = g_ascii_isalnum(name[i]) || strchr("._-", name[i]);
  if (!good)
    return doppel_error_set(
        error, DOPPEL_ERROR_USAGE,
        "\"%.80s\" cannot be a clone's name: use up to %d letters, digits, \".\", \"_\", \"-\" (not in "
        "front), and not \"local\"",
        name, PAIRED_NAME_MAX);
  return TRUE;
}

static char *
file_path(void)
{
  g_autofree char *directory = identity_directory();
  return g_build_filename(directory, "clones.conf", NULL);
}

static GKeyFile *
load(GError **error)
{
  g_autofree char *path = file_path();
  g_autoptr(GKeyFile) file = g_key_file_new();
  g_autoptr(GError) problem = NULL;
  if (!g_key_file_load_from_file(file, path, G_KEY_FILE_KEEP_COMMENTS, &problem) &&
      !g_error_matches(problem, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
    doppel_error_set(error, DOPPEL_ERROR_FAILED, "cannot read the list of clones %s: %s", path,
                     problem->message);
    return NULL;
  }
  return g_steal_pointer(&file);
}

static gboolean
read_key(GKeyFile *file, const char *name, const char *field, IdentityPublic *key, GError **error)
{
  g_autofree char *text = g_key_file_get_string(file, name, field, error);
  return text && identity_public_from_text(text, key, error);
}

static gboolean
read_id(GKeyFile *file, const char *name, guint8 id[PAIRED_ID_LENGTH], GError **error)
{
  g_autofree char *text = g_key_file_get_string(file, name, "id", error);
  if (!text)
    return FALSE;
  g_autoptr(GBytes) bytes = base32_decode(text);
  if (!bytes || g_bytes_get_size(bytes) != PAIRED_ID_LENGTH)
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "\"%.40s\" is no clone's id", text);
  memcpy(id, g_bytes_get_data(bytes, NULL), PAIRED_ID_LENGTH);
  return TRUE;
}

static PairedClone *
read_clone(GKeyFile *file, const char *name, GError **error)
{
  g_autoptr(PairedClone) clone = g_new0(PairedClone, 1);
  clone->name = g_strdup(name);
  clone->since = g_key_file_get_int64(file, name, "since", NULL);
  clone->addresses = g_key_file_get_string_list(file, name, "addresses", NULL, error);
  clone->has_successor = g_key_file_has_key(file, name, "successor", NULL);
  if (clone->addresses && read_id(file, name, clone->id, error) &&
      read_key(file, name, "key", &clone->key, error) && read_key(file, name, "host", &clone->host, error) &&
      (!clone->has_successor || read_key(file, name, "successor", &clone->successor, error)))
    return g_steal_pointer(&clone);
  g_autofree char *path = file_path();
  g_prefix_error(error, "the entry \"%s\" in %s is damaged (remove it and pair again): ", name, path);
  return NULL;
}

static int
compare_names(gconstpointer a, gconstpointer b)
{
  return strcmp((*(PairedClone *const *)a)->name, (*(PairedClone *const *)b)->name);
}

GPtrArray *
paired_list(GError **error)
{
  g_autoptr(GKeyFile) file = load(error);
  if (!file)
    return NULL;
  g_autoptr(GPtrArray) clones = g_ptr_array_new_with_free_func((GDestroyNotify)paired_clone_free);
  g_auto(GStrv) names = g_key_file_get_groups(file, NULL);
  for (char **name = names; *name; name++) {
    PairedClone *clone = read_clone(file, *name, error);
    if (!clone)
      return NULL;
    g_ptr_array_add(clones, clone);
  }
  g_ptr_array_sort(clones, compare_names);
  return g_steal_pointer(&clones);
}

PairedClone *
paired_find(const char *name, GError **error)
{
  g_autoptr(GKeyFile) file = load(error);
  if (!file)
    return NULL;
  gsize count;
  g_auto(GStrv) names = g_key_file_get_groups(file, &count);
  if (!name && count == 1)
    name = names[0];
  if (name && g_key_file_has_group(file, name))
    return read_clone(file, name, error);

  g_autofree char *known = g_strjoinv(", ", names);
  if (count == 0)
    doppel_error_set(
        error, DOPPEL_ERROR_NOT_FOUND,
        "this device has no clone%s%s: get an invitation with \"doppeld invite\" on a clone host and "
        "give it to \"doppel pair\"",
        name ? " named " : "", name ? name : "");
  else if (name)
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "this device has no clone named \"%s\"; it has: %s", name,
                     known);
  else
    doppel_error_set(error, DOPPEL_ERROR_USAGE, "this device has several clones, name one of: %s", known);
  return NULL;
}

/* The file is replaced as a whole, under a lock, so that two changes at once both stay. */
static gboolean
change(gboolean (*apply)(GKeyFile *file, gconstpointer data, GError **error), gconstpointer data,
       GError **error)
{
  g_autofree char *directory = identity_directory();
  g_autofree char *path = file_path();
  g_autofree char *lock_path = g_strconcat(path, ".lock", NULL);
  if (g_mkdir_with_parents(directory, 0700) < 0)
    return doppel_error_errno(error, "cannot make the directory %s", directory);
  g_auto(Fd) lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0 || flock(lock, LOCK_EX) < 0)
    return doppel_error_errno(error, "cannot lock %s", lock_path);
  g_autoptr(GKeyFile) file = load(error);
  if (!file || !apply(file, data, error))
    return FALSE;
  gsize length;
  g_autofree char *text = g_key_file_to_data(file, &length, NULL);
  g_autoptr(GError) problem = NULL;
  if (!g_file_set_contents_full(path, text, length,
                                G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600, &problem))
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "cannot write the list of clones %s: %s", path,
                            problem->message);
  return TRUE;
}

static gboolean
apply_add(GKeyFile *file, gconstpointer data, GError **error)
{
  const PairedClone *clone = data;
  if (g_key_file_has_group(file, clone->name))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "this device has a clone named \"%s\" already: choose another name with --name",
                            clone->name);
  g_autofree char *id = base32_encode(clone->id, sizeof clone->id);
  g_autofree char *key = identity_public_to_text(&clone->key);
  g_autofree char *host = identity_public_to_text(&clone->host);
  g_key_file_set_string(file, clone->name, "id", id);
  g_key_file_set_string(file, clone->name, "key", key);
  g_key_file_set_string(file, clone->name, "host", host);
  g_key_file_set_string_list(file, clone->name, "addresses", (const char *const *)clone->addresses,
                             g_strv_length(clone->addresses));
  g_key_file_set_int64(file, clone->name, "since", clone->since);
  return TRUE;
}

gboolean
paired_add(const PairedClone *clone, GError **error)
{
  return paired_name_check(clone->name, error) && change(apply_add, clone, error);
}

static gboolean
apply_addresses(GKeyFile *file, gconstpointer data, GError **error)
{
  const PairedClone *clone = data;
  if (!g_key_file_has_group(file, clone->name))
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "this device has no clone named \"%s\"",
                            clone->name);
  g_key_file_set_string_list(file, clone->name, "addresses", (const char *const *)clone->addresses,
                             g_strv_length(clone->addresses));
  return TRUE;
}

gboolean
paired_set_addresses(const char *name, const char *const *addresses, GError **error)
{
  for (const char *const *address = addresses; *address; address++)
    if (!identity_address_check(*address, error))
      return FALSE;
  PairedClone clone = {.name = (char *)name, .addresses = (char **)addresses};
  return change(apply_addresses, &clone, error);
}

static gboolean
apply_successor(GKeyFile *file, gconstpointer data, GError **error)
{
  const PairedClone *clone = data;
  if (!g_key_file_has_group(file, clone->name))
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "this device has no clone named \"%s\"",
                            clone->name);
  g_autofree char *text = identity_public_to_text(&clone->successor);
  g_key_file_set_string(file, clone->name, "successor", text);
  return TRUE;
}

gboolean
paired_set_successor(const char *name, const IdentityPublic *successor, GError **error)
{
  PairedClone clone = {.name = (char *)name, .successor = *successor};
  return change(apply_successor, &clone, error);
}

static gboolean
apply_remove(GKeyFile *file, gconstpointer data, GError **error)
{
  if (!g_key_file_remove_group(file, data, NULL))
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "this device has no clone named \"%s\"",
                            (const char *)data);
  return TRUE;
}

gboolean
paired_remove(const char *name, GError **error)
{
  return change(apply_remove, name, error);
}
