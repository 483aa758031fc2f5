/* Keys on disk: one line of text that says what it is, one with the seed. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "identity/base32.h"
#include "identity/key.h"

#define HEADING "doppel Ed25519 private key 1\n"

static gboolean
check_private(int fd, const char *path, GError **error)
{
  struct stat status;
  if (fstat(fd, &status) < 0)
    return doppel_error_errno(error, "cannot examine the key file %s", path);
  if (!S_ISREG(status.st_mode))
    return doppel_error_set(error, DOPPEL_ERROR_DENIED, "the key file %s is not an ordinary file", path);
  if (status.st_uid != geteuid() && status.st_uid != 0)
    return doppel_error_set(error, DOPPEL_ERROR_DENIED,
                            "the key file %s belongs to another user (%u): use one of your own", path,
                            (guint)status.st_uid);
  if (status.st_mode & 077)
    return doppel_error_set(error, DOPPEL_ERROR_DENIED,
                            "the key file %s can be used by others (mode %03o): if nobody has, chmod 600 it; "
                            "else remove it and pair again",
                            path, (guint)status.st_mode & 0777);
  return TRUE;
}

static IdentityKey *
parse(const char *text, const char *path, GError **error)
{
  gsize letters = BASE32_LENGTH(IDENTITY_SEED_LENGTH);
  if (g_str_has_prefix(text, HEADING) && strlen(text) == strlen(HEADING) + letters + 1 &&
      text[strlen(text) - 1] == '\n') {
    char line[BASE32_LENGTH(IDENTITY_SEED_LENGTH) + 1] = "";
    memcpy(line, text + strlen(HEADING), letters);
    g_autoptr(GBytes) seed = base32_decode(line);
    sodium_memzero(line, sizeof line);
    if (seed) {
      IdentityKey *key = identity_key_from_seed(g_bytes_get_data(seed, NULL));
      sodium_memzero((void *)g_bytes_get_data(seed, NULL), IDENTITY_SEED_LENGTH);
      return key;
    }
  }
  doppel_error_set(error, DOPPEL_ERROR_FAILED,
                   "the key file %s is damaged: restore it from a backup, or remove it and pair again", path);
  return NULL;
}

IdentityKey *
identity_key_load(const char *path, GError **error)
{
  g_auto(Fd) fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 && errno == ENOENT) {
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "there is no key file %s", path);
    return NULL;
  }
  if (fd < 0) {
    doppel_error_errno(error, "cannot open the key file %s", path);
    return NULL;
  }
  if (!check_private(fd, path, error))
    return NULL;
  char text[256];
  gssize length = io_read_all(fd, text, sizeof text - 1);
  if (length < 0) {
    doppel_error_errno(error, "cannot read the key file %s", path);
    return NULL;
  }
  text[length] = '\0';
  IdentityKey *key = parse(text, path, error);
  sodium_memzero(text, sizeof text);
  return key;
}

static gboolean
write_text(int fd, const IdentityKey *key)
{
  char *seed = base32_encode(identity_key_seed(key), IDENTITY_SEED_LENGTH);
  char *text = g_strconcat(HEADING, seed, "\n", NULL);
  gboolean done = io_write_all(fd, text, strlen(text)) && fsync(fd) == 0;
  int saved = errno;
  sodium_memzero(seed, strlen(seed));
  sodium_memzero(text, strlen(text));
  g_free(seed);
  g_free(text);
  errno = saved;
  return done;
}

gboolean
identity_key_save(const IdentityKey *key, const char *path, GError **error)
{
  g_autofree char *directory = g_path_get_dirname(path);
  if (g_mkdir_with_parents(directory, 0700) < 0)
    return doppel_error_errno(error, "cannot make the directory %s for a key", directory);

  g_autofree char *draft = g_strdup_printf("%s.%08x%08x", path, randombytes_random(), randombytes_random());
  g_auto(Fd) fd = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    return doppel_error_errno(error, "cannot make the key file %s", draft);
  /* link() does not replace, rename() would: a key that exists is never lost. */
  gboolean done = write_text(fd, key) && link(draft, path) == 0;
  if (!done)
    doppel_error_errno(error, "cannot write the key file %s", path);
  int saved = errno;
  unlink(draft);
  g_auto(Fd) holder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (done && holder >= 0)
    fsync(holder);
  errno = saved;
  return done;
}

IdentityKey *
identity_key_load_or_create(const char *path, GError **error)
{
  g_autoptr(GError) problem = NULL;
  IdentityKey *key = identity_key_load(path, &problem);
  if (key || !g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND)) {
    if (!key)
      g_propagate_error(error, g_steal_pointer(&problem));
    return key;
  }
  g_clear_error(&problem);
  key = identity_key_generate();
  if (identity_key_save(key, path, &problem))
    return key;
  int saved = errno;
  identity_key_free(key);
  if (saved == EEXIST)
    return identity_key_load(path, error);
  g_propagate_error(error, g_steal_pointer(&problem));
  return NULL;
}

char *
identity_directory(void)
{
  return g_build_filename(g_get_user_state_dir(), "doppel", NULL);
}

IdentityKey *
identity_device_key(GError **error)
{
  g_autofree char *directory = identity_directory();
  g_autofree char *path = g_build_filename(directory, "device.key", NULL);
  return identity_key_load_or_create(path, error);
}
