#include "identity/user.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

#define KEY      "user.key"
#define NEXT     "user.key.next"
#define RECORD   "user.record"
#define PROPOSED "user.proposed"
#define LOCK     "user.lock"

static char *
path_of(const char *name)
{
  g_autofree char *directory = identity_directory();
  return g_build_filename(directory, name, NULL);
}

void
user_free(User *user)
{
  if (!user)
    return;
  identity_key_free(user->key);
  identity_key_free(user->next);
  g_clear_pointer(&user->record, record_unref);
  g_clear_pointer(&user->proposed, record_unref);
  io_close(&user->lock);
  g_free(user);
}

const Record *
user_newest(const User *user)
{
  return user->proposed ? user->proposed : user->record;
}

static gboolean
lock_user(User *user, GError **error)
{
  g_autofree char *directory = identity_directory();
  g_autofree char *path = path_of(LOCK);
  if (g_mkdir_with_parents(directory, 0700) < 0)
    return doppel_error_errno(error, "cannot make the directory %s", directory);
  user->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (user->lock < 0)
    return doppel_error_errno(error, "cannot open %s", path);
  if (flock(user->lock, LOCK_EX | LOCK_NB) == 0)
    return TRUE;
  return errno == EWOULDBLOCK
             ? doppel_error_set(error, DOPPEL_ERROR_FAILED,
                                "another \"doppel name\" is changing the user's name or key: wait for it")
             : doppel_error_errno(error, "cannot lock %s", path);
}

/* FALSE with an error; nothing there is none. */
static gboolean
load_key(const char *name, IdentityKey **key, GError **error)
{
  g_autofree char *path = path_of(name);
  g_autoptr(GError) problem = NULL;
  *key = identity_key_load(path, &problem);
  if (*key || g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND))
    return TRUE;
  g_propagate_error(error, g_steal_pointer(&problem));
  return FALSE;
}

static gboolean
load_record(const char *name, Record **record, GError **error)
{
  g_autofree char *path = path_of(name);
  g_auto(Fd) fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT)
    return TRUE;
  g_autofree guint8 *data = g_malloc(RECORD_MAX + 1);
  gssize length = fd < 0 ? -1 : io_read_all(fd, data, RECORD_MAX + 1);
  if (length < 0)
    return doppel_error_errno(error, "cannot read the user's record %s", path);
  *record = record_decode_unplaced(data, length, NULL, error);
  if (!*record)
    g_prefix_error(error,
                   "the user's record %s is damaged: restore it from a backup, or remove it and take "
                   "the name back with \"doppel name recover\": ",
                   path);
  return *record != NULL;
}

/* After the directory took a succession its key may still be called the next one. */
static gboolean
choose_key(User *user, GError **error)
{
  g_autoptr(IdentityKey) next = NULL;
  if (!load_key(KEY, &user->key, error) || !load_key(NEXT, &next, error))
    return FALSE;
  const Record *newest = user_newest(user);
  if (!newest || (user->key && identity_public_equal(identity_key_public(user->key), &newest->key)))
    return TRUE;
  if (next && identity_public_equal(identity_key_public(next), &newest->key)) {
    identity_key_free(user->key);
    user->key = g_steal_pointer(&next);
    return TRUE;
  }
  g_autofree char *path = path_of(KEY);
  return doppel_error_set(
      error, DOPPEL_ERROR_DENIED,
      "the key %s is missing or not that of the user \"%s\": restore it from a backup, or "
      "take the name back with \"doppel name recover %s\"",
      path, newest->name, newest->name);
}

/* A proposal that was taken, and whose file is still there. */
static void
forget_taken(User *user)
{
  if (user->record && user->proposed && record_compare(user->record, user->proposed) >= 0)
    g_clear_pointer(&user->proposed, record_unref);
}

User *
user_load(gboolean change, GError **error)
{
  g_autoptr(User) user = g_new0(User, 1);
  user->lock = -1;
  if ((change && !lock_user(user, error)) || !load_record(RECORD, &user->record, error) ||
      !load_record(PROPOSED, &user->proposed, error))
    return NULL;
  forget_taken(user);
  return choose_key(user, error) ? g_steal_pointer(&user) : NULL;
}

gboolean
user_make_key(User *user, GError **error)
{
  g_autofree char *path = path_of(KEY);
  if (!user->key)
    user->key = identity_key_load_or_create(path, error);
  return user->key != NULL;
}

const IdentityKey *
user_next_key(User *user, GError **error)
{
  g_autofree char *path = path_of(NEXT);
  if (!user->next)
    user->next = identity_key_load_or_create(path, error);
  return user->next;
}

static gboolean
save_record(const char *name, const Record *record, GError **error)
{
  g_autofree char *path = path_of(name);
  g_autoptr(GError) problem = NULL;
  gsize length;
  const char *data = g_bytes_get_data(record->bytes, &length);
  return g_file_set_contents_full(path, data, length,
                                  G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600,
                                  &problem) ||
         doppel_error_set(error, DOPPEL_ERROR_FAILED, "cannot write the user's record %s: %s", path,
                          problem->message);
}

static void
replace(Record **place, Record *record)
{
  record_ref(record);
  g_clear_pointer(place, record_unref);
  *place = record;
}

gboolean
user_propose(User *user, Record *record, GError **error)
{
  if (!save_record(PROPOSED, record, error))
    return FALSE;
  replace(&user->proposed, record);
  return TRUE;
}

/* The record comes first: it says which of the two keys is meant. */
gboolean
user_took(User *user, Record *record, GError **error)
{
  g_autofree char *key = path_of(KEY), *next = path_of(NEXT), *proposed = path_of(PROPOSED);
  if (!save_record(RECORD, record, error))
    return FALSE;
  replace(&user->record, record);
  g_clear_pointer(&user->proposed, record_unref);
  g_autoptr(IdentityKey) other = NULL;
  gboolean follows = load_key(NEXT, &other, NULL) && other &&
                     identity_public_equal(identity_key_public(other), &record->key);
  if (follows && g_rename(next, key) < 0)
    return doppel_error_errno(error, "the key %s cannot take the place of %s", next, key);
  if (follows) {
    identity_key_free(user->key);
    user->key = g_steal_pointer(&other);
  }
  g_unlink(proposed);
  return TRUE;
}

PairedClone *
user_clone(GError **error)
{
  g_autoptr(User) user = user_load(FALSE, NULL);
  const Record *newest = user ? user_newest(user) : NULL;
  g_autoptr(GPtrArray) all = newest ? paired_list(NULL) : NULL;
  for (guint i = 0; all && i < all->len; i++) {
    const PairedClone *clone = all->pdata[i];
    if (memcmp(clone->id, newest->clone, sizeof clone->id) == 0 &&
        identity_public_equal(&clone->key, &newest->clone_key))
      return paired_find(clone->name, error);
  }
  return paired_find(NULL, error);
}
