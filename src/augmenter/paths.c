#include "augmenter/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/error.h"

struct Paths {
  Augmenter *augmenter;
};

Paths *
paths_new(Augmenter *augmenter, GError **error)
{
  Paths *paths = g_new0(Paths, 1);
  paths->augmenter = augmenter;
  return paths;
}

void
paths_free(Paths *paths)
{
  g_free(paths);
}

gboolean
paths_prepare_program(Paths *paths, const char *program, GError **error)
{
  return TRUE;
}

gboolean
paths_prepare_delta(Paths *paths, const MirrorDelta *delta, GError **error)
{
  return TRUE;
}

/* What lies below these is the device's alone; the exceptions are the process itself and what every Linux has alike. */
static const char *const device_prefixes[] = {"/dev/", "/proc/", "/sys/"};
static const char *const native_prefixes[] = {"/proc/self",   "/proc/thread-self", "/dev/null", "/dev/zero", "/dev/full",
                                              "/dev/random", "/dev/urandom",      "/dev/fd",   "/sys/devices/system/cpu",
                                              "/sys/kernel/mm/transparent_hugepage"};

static gboolean
below(const char *path, const char *prefix)
{
  gsize length = strlen(prefix);
  return strncmp(path, prefix, length) == 0 && (prefix[length - 1] == '/' || path[length] == '/' || path[length] == '\0');
}

static gboolean
is_device_path(Paths *paths, const char *path)
{
  char own[32];
  snprintf(own, sizeof own, "/proc/%d", paths->augmenter->process ? paths->augmenter->process->own_pid : 0);
  for (gsize i = 0; i < G_N_ELEMENTS(native_prefixes); i++)
    if (below(path, native_prefixes[i]))
      return FALSE;
  if (below(path, own))
    return FALSE;
  for (gsize i = 0; i < G_N_ELEMENTS(device_prefixes); i++)
    if (below(path, device_prefixes[i]))
      return TRUE;
  return FALSE;
}

/* The absolute path that an argument names, without resolving links. NULL where there is none. */
static char *
read_path(Paths *paths, pid_t tid, const SyscallPath *row, const guint64 *arguments)
{
  char text[PATH_MAX + 1], base[PATH_MAX + 1], link[64];
  guint64 address = arguments[row->path];
  gsize have = 0;
  while (address && have < PATH_MAX) {
    gsize length = MIN(4096 - (address + have) % 4096, PATH_MAX - have);
    struct iovec here = {text + have, length}, there = {(void *)(guintptr)(address + have), length};
    if (process_vm_readv(tid, &here, 1, &there, 1, 0) != (ssize_t)length)
      return NULL;
    gboolean end = memchr(text + have, 0, length) != NULL;
    have += length;
    if (end)
      break;
  }
  text[have] = '\0';
  if (!address || !*text)
    return NULL;
  if (*text == '/')
    return g_canonicalize_filename(text, "/");
  int directory = row->dirfd == SYSCALL_AT_CWD ? AT_FDCWD : (int)arguments[row->dirfd];
  if (directory == AT_FDCWD)
    snprintf(link, sizeof link, "%d/cwd", tid);
  else
    snprintf(link, sizeof link, "%d/fd/%d", tid, directory);
  ssize_t length = readlinkat(paths->augmenter->sandbox->proc_fd, link, base, PATH_MAX);
  if (length <= 0)
    return NULL;
  base[length] = '\0';
  return *base == '/' ? g_canonicalize_filename(text, base) : NULL;
}

PathsVerdict
paths_judge(Paths *paths, pid_t tid, const SyscallRow *row, const guint64 arguments[SYSCALL_ARGS], char **path,
            char **reason)
{
  for (guint i = 0; i < 2; i++) {
    if (!row->paths[i].use)
      continue;
    g_autofree char *named = read_path(paths, tid, &row->paths[i], arguments);
    if (named && is_device_path(paths, named)) {
      *path = g_steal_pointer(&named);
      return PATHS_FORWARD;
    }
  }
  return PATHS_NATIVE;
}

gboolean
paths_answered(Paths *paths, const Doppel__Engine__Paths *answer, GError **error)
{
  return TRUE;
}

gboolean
paths_content(Paths *paths, const Doppel__Engine__Content *content, GError **error)
{
  return TRUE;
}

gboolean
paths_directory(Paths *paths, const Doppel__Engine__Directory *answer, GError **error)
{
  return TRUE;
}

void
paths_stale(Paths *paths, gsize count, const ProtobufCBinaryData *stale)
{
}

gboolean
paths_send_changes(Paths *paths, gboolean *changed, GError **error)
{
  *changed = FALSE;
  return TRUE;
}

gboolean
paths_commit(Paths *paths, GError **error)
{
  return TRUE;
}
