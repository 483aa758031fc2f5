/* A directory that is a folder with a file for each user, in place of c2c/directory_client.c. */
#include <glib/gstdio.h>
#include <string.h>

#include "base/error.h"
#include "c2c/directory_client.h"
#include "node_world.h"

char *fake_directory;

struct DirectoryClient {
  gint references;
  GHashTable *known; /* fingerprint → Record */
  GPtrArray *places;
};

static GRecMutex lock; /* of what a client and those that share with it know */
#define LOCKED() g_autoptr(GRecMutexLocker) locker = g_rec_mutex_locker_new(&lock)

static char *
path_of(const IdentityPublic *origin)
{
  g_autofree char *text = identity_public_to_text(origin);
  g_autofree char *name = g_strconcat(text, ".record", NULL);
  return g_build_filename(fake_directory, name, NULL);
}

static gboolean
is_away(void)
{
  g_autofree char *path = g_build_filename(fake_directory, "away", NULL);
  return g_file_test(path, G_FILE_TEST_EXISTS);
}

void
fake_directory_away(gboolean away)
{
  g_autofree char *path = g_build_filename(fake_directory, "away", NULL);
  if (away)
    g_assert_true(g_file_set_contents(path, "", 0, NULL));
  else
    g_unlink(path);
}

static Record *
load(const char *path)
{
  g_autofree char *bytes = NULL;
  gsize length;
  return g_file_get_contents(path, &bytes, &length, NULL) ? record_decode(bytes, length, NULL, NULL) : NULL;
}

guint64
fake_directory_sequence(const WorldUser *user)
{
  g_autofree char *path = path_of(&user->binding.origin);
  g_autoptr(Record) record = load(path);
  return record ? record->sequence : 0;
}

DirectoryClient *
directory_client_open(const char *cache, const IdentityKey *own, GError **error)
{
  DirectoryClient *client = g_new0(DirectoryClient, 1);
  client->references = 1;
  client->known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)record_unref);
  client->places = g_ptr_array_new();
  return client;
}

DirectoryClient *
directory_client_share(DirectoryClient *client)
{
  g_atomic_int_inc(&client->references);
  return client;
}

void
directory_client_close(DirectoryClient *client)
{
  if (!g_atomic_int_dec_and_test(&client->references))
    return;
  g_hash_table_unref(client->known);
  g_ptr_array_unref(client->places);
  g_free(client);
}

void
directory_client_set(DirectoryClient *client, const GPtrArray *places)
{
}

const GPtrArray *
directory_client_places(const DirectoryClient *client)
{
  return client->places;
}

void
directory_client_set_user(DirectoryClient *client, const IdentityPublic *origin)
{
}

void
directory_client_set_timeout(DirectoryClient *client, int timeout_ms)
{
}

void
directory_result_free(DirectoryResult *result)
{
  record_unref(result->record);
  g_free(result);
}

static DirectoryResult *
result_new(DirectoryClient *client, Record *record, gboolean cached)
{
  DirectoryResult *result = g_new0(DirectoryResult, 1);
  result->record = record_ref(record);
  result->cached = cached;
  result->told = 1;
  directory_client_learn(client, record, NULL, NULL);
  return result;
}

static DirectoryResult *
not_found(GError **error, gboolean away)
{
  if (away)
    doppel_error_set(error, DOPPEL_ERROR_GONE, "no directory answers");
  else
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "there is no such user");
  return NULL;
}

static DirectoryResult *
find_cached(DirectoryClient *client, const char *name, const IdentityPublic *origin, GError **error)
{
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, client->known);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    Record *record = value;
    if (name ? strcmp(record->name, name) == 0 : identity_public_equal(&record->origin, origin))
      return result_new(client, record, TRUE);
  }
  return not_found(error, TRUE);
}

DirectoryResult *
directory_client_whois(DirectoryClient *client, const char *user, GError **error)
{
  LOCKED();
  if (is_away())
    return find_cached(client, user, NULL, error);
  g_autoptr(GDir) folder = g_dir_open(fake_directory, 0, NULL);
  for (const char *name; (name = g_dir_read_name(folder));) {
    g_autofree char *path = g_build_filename(fake_directory, name, NULL);
    g_autoptr(Record) record = load(path);
    if (record && strcmp(record->name, user) == 0)
      return result_new(client, record, FALSE);
  }
  return not_found(error, FALSE);
}

GPtrArray *
directory_client_find(DirectoryClient *client, const char *name, const IdentityPublic *origin,
                      const IdentityPublic *home, GError **error)
{
  LOCKED();
  g_autofree char *path = path_of(origin);
  g_autoptr(Record) record = is_away() ? NULL : load(path);
  DirectoryResult *result = record      ? result_new(client, record, FALSE)
                            : is_away() ? find_cached(client, NULL, origin, error)
                                        : not_found(error, FALSE);
  if (!result)
    return NULL;
  GPtrArray *results = g_ptr_array_new_with_free_func((GDestroyNotify)directory_result_free);
  g_ptr_array_add(results, result);
  return results;
}

gboolean
directory_client_register(DirectoryClient *client, const Record *record, guint64 *number,
                          DirectoryStatus *status, GError **error)
{
  g_autofree char *path = path_of(&record->origin);
  g_autoptr(Record) old = load(path);
  *number = 7;
  if (is_away())
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "no directory answers");
  if (g_str_equal(record->name, FAKE_NAME_TAKEN)) {
    *status = DIRECTORY_STATUS(TAKEN);
    return doppel_error_set(error, DOPPEL_ERROR_MISMATCH, "the name is another user's");
  }
  if (old && record_compare(record, old) != 0 && !record_supersedes(record, old)) {
    *status = DIRECTORY_STATUS(STALE);
    return doppel_error_set(error, DOPPEL_ERROR_MISMATCH, "a newer record is known");
  }
  return g_file_set_contents(path, g_bytes_get_data(record->bytes, NULL), g_bytes_get_size(record->bytes),
                             error);
}

Record *
directory_client_known(DirectoryClient *client, const IdentityPublic *origin)
{
  LOCKED();
  g_autofree char *text = identity_public_to_text(origin);
  Record *record = g_hash_table_lookup(client->known, text);
  return record ? record_ref(record) : NULL;
}

gboolean
directory_client_learn(DirectoryClient *client, Record *record, Record **newer, GError **error)
{
  LOCKED();
  g_hash_table_insert(client->known, identity_public_to_text(&record->origin), record_ref(record));
  return TRUE;
}

static int
by_origin(gconstpointer a, gconstpointer b)
{
  const DirectoryResult *const *one = a, *const *other = b;
  return memcmp((*one)->record->origin.bytes, (*other)->record->origin.bytes, sizeof(IdentityPublic));
}

GPtrArray *
directory_client_list(DirectoryClient *client, const IdentityPublic *after, guint count, gboolean *more,
                      DirectoryHead *head, GError **error)
{
  GPtrArray *results = g_ptr_array_new_with_free_func((GDestroyNotify)directory_result_free);
  g_autoptr(GDir) folder = g_dir_open(fake_directory, 0, NULL);
  for (const char *name; (name = g_dir_read_name(folder));) {
    g_autofree char *path = g_build_filename(fake_directory, name, NULL);
    g_autoptr(Record) record = load(path);
    if (record && (!after || memcmp(record->origin.bytes, after->bytes, sizeof after->bytes) > 0))
      g_ptr_array_add(results, result_new(client, record, FALSE));
  }
  g_ptr_array_sort(results, by_origin);
  *more = results->len > count;
  g_ptr_array_set_size(results, (gint)MIN(results->len, count));
  return results;
}

GArray *
directory_client_heads(DirectoryClient *client)
{
  return g_array_new(FALSE, FALSE, sizeof(DirectoryHead));
}

gboolean
directory_client_saw_head(DirectoryClient *client, const DirectorySigned *head, GError **error)
{
  return TRUE;
}

gboolean
directory_client_watch(DirectoryClient *client, GError **error)
{
  return TRUE;
}

void
directory_evidence_free(DirectoryEvidence *evidence)
{
}

GPtrArray *
directory_client_evidence(DirectoryClient *client, GError **error)
{
  return g_ptr_array_new();
}

gboolean
directory_client_is_marked(DirectoryClient *client, const IdentityPublic *directory)
{
  return FALSE;
}

gboolean
directory_client_linger(DirectoryClient *client, int ms)
{
  return FALSE;
}

GPtrArray *
directory_client_complaints(DirectoryClient *client, const IdentityPublic *origin, GError **error)
{
  return g_ptr_array_new();
}

void
directory_client_health(DirectoryClient *client, const IdentityPublic *directory, gint64 *answered,
                        gint64 *away, char **words)
{
  *answered = *away = 0;
  *words = NULL;
}
