#include "profile/object.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

#define CHUNK (128 << 10)

static gint64
mtime_of(const struct stat *status)
{
  return status->st_mtim.tv_sec * G_GINT64_CONSTANT(1000000000) + status->st_mtim.tv_nsec;
}

/* NULL with errno. */
static char *
hash_of(int fd)
{
  g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
  g_autofree guint8 *chunk = g_malloc(CHUNK);
  for (gint64 offset = 0;;) {
    ssize_t got = pread(fd, chunk, CHUNK, offset);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return NULL;
    if (got == 0)
      return g_strdup(g_checksum_get_string(sum));
    g_checksum_update(sum, chunk, got);
    offset += got;
  }
}

int
profile_object_open(const char *path, GError **error)
{
  struct stat status;
  int fd = stat(path, &status) < 0 || !S_ISREG(status.st_mode)
               ? -1
               : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0)
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "%s, which a profile names, is no file that can be read",
                     path);
  return fd;
}

ProfileObject *
profile_object_read_fd(int fd, const ElfFacts *facts, GError **error)
{
  struct stat status;
  g_autoptr(ProfileObject) object = g_new0(ProfileObject, 1);
  if (fstat(fd, &status) < 0) {
    doppel_error_errno(error, "cannot read %s", facts->path);
    return NULL;
  }
  object->path = g_strdup(facts->path);
  object->build_id = g_strdup(facts->build_id);
  object->size = (guint64)status.st_size;
  object->mtime_ns = mtime_of(&status);
  if (!object->build_id && !(object->hash = hash_of(fd))) {
    doppel_error_errno(error, "cannot read %s", facts->path);
    return NULL;
  }
  return g_steal_pointer(&object);
}

ProfileObject *
profile_object_read(const char *path, GError **error)
{
  g_auto(Fd) fd = profile_object_open(path, error);
  g_autoptr(ElfFacts) facts = fd >= 0 ? elf_facts_read_fd(fd, path, error) : NULL;
  return facts ? profile_object_read_fd(fd, facts, error) : NULL;
}

ProfileObject *
profile_object_copy(const ProfileObject *object)
{
  ProfileObject *copy = g_memdup2(object, sizeof *object);
  copy->path = g_strdup(object->path);
  copy->build_id = g_strdup(object->build_id);
  copy->hash = g_strdup(object->hash);
  return copy;
}

void
profile_object_free(ProfileObject *object)
{
  if (!object)
    return;
  g_free(object->path);
  g_free(object->build_id);
  g_free(object->hash);
  g_free(object);
}

gboolean
profile_object_same(const ProfileObject *left, const ProfileObject *right)
{
  if (left->build_id || right->build_id)
    return g_strcmp0(left->build_id, right->build_id) == 0;
  return left->size == right->size && left->hash && g_strcmp0(left->hash, right->hash) == 0;
}

char *
profile_object_key(const ProfileObject *object)
{
  return object->build_id ? g_strdup(object->build_id)
                          : g_strdup_printf("%" G_GUINT64_FORMAT ":%s", object->size, object->hash);
}

gboolean
profile_object_is_current(const ProfileObject *object)
{
  struct stat status;
  if (stat(object->path, &status) < 0 || !S_ISREG(status.st_mode))
    return FALSE;
  gboolean same_size = (guint64)status.st_size == object->size;
  if (!object->build_id && (!same_size || mtime_of(&status) == object->mtime_ns))
    return same_size;
  g_autoptr(ProfileObject) now = profile_object_read(object->path, NULL);
  return now && profile_object_same(object, now);
}
