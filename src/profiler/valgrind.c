#include "profiler/valgrind.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "mirror/arch/arch.h"
#include "profile/callgrind.h"

#define PLACE "/dev/shm/doppel-profile"
#define TOOLS PLACE "/tools"
#define FILES PLACE "/out"

enum { CHUNK = 128 << 10 };

/* Where Debian and valgrind's own Makefile put it. */
static const char *const places[] = {"/usr/libexec/valgrind", "/usr/lib/valgrind",
                                     "/usr/local/libexec/valgrind", "/usr/local/lib/valgrind"};

/* Valgrind's names for processors. */
static const struct {
  const char *ours, *theirs;
} processors[] = {{"x86_64", "amd64"}, {"aarch64", "arm64"}};

static const char *
processor(void)
{
  for (guint i = 0; i < G_N_ELEMENTS(processors); i++)
    if (strcmp(processors[i].ours, arch_name) == 0)
      return processors[i].theirs;
  return arch_name;
}

void
profiler_valgrind_free(ProfilerValgrind *valgrind)
{
  if (!valgrind)
    return;
  for (guint i = 0; i < valgrind->fds->len; i++)
    close(g_array_index(valgrind->fds, int, i));
  g_array_unref(valgrind->fds);
  g_ptr_array_unref(valgrind->files);
  g_free(valgrind->from);
  g_free(valgrind);
}

/* FALSE with errno. Takes `name`. */
static gboolean
add(ProfilerValgrind *valgrind, char *name)
{
  g_autofree char *path = g_build_filename(valgrind->from, name, NULL);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    g_free(name);
    return FALSE;
  }
  g_ptr_array_add(valgrind->files, name);
  g_array_append_val(valgrind->fds, fd);
  return TRUE;
}

static ProfilerValgrind *
try_place(const char *place)
{
  g_autoptr(ProfilerValgrind) valgrind = g_new0(ProfilerValgrind, 1);
  valgrind->from = g_strdup(place);
  valgrind->files = g_ptr_array_new_with_free_func(g_free);
  valgrind->fds = g_array_new(FALSE, FALSE, sizeof(int));
  if (!add(valgrind, g_strdup_printf("callgrind-%s-linux", processor())) ||
      !add(valgrind, g_strdup_printf("vgpreload_core-%s-linux.so", processor())) ||
      !add(valgrind, g_strdup("default.supp")))
    return NULL;
  return g_steal_pointer(&valgrind);
}

ProfilerValgrind *
profiler_valgrind_open(gboolean local, GError **error)
{
  for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
    ProfilerValgrind *valgrind = try_place(places[i]);
    if (valgrind)
      return valgrind;
  }
  doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                   "profiling takes valgrind, which %s does not have: install the package \"valgrind\" there "
                   "(on Debian: apt install valgrind)%s",
                   local ? "this machine, the host of the local clone," : "the clone's host",
                   local ? ", or profile in a paired clone (--clone)" : "");
  return NULL;
}

/* ---- in the sandbox ---- */

static gboolean
copy(int from, const char *path)
{
  g_autofree guint8 *chunk = g_malloc(CHUNK);
  g_auto(Fd) to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
  if (to < 0)
    return FALSE;
  for (off_t at = 0;;) {
    ssize_t got = pread(from, chunk, CHUNK, at);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return got == 0 && fchmod(to, 0755) == 0;
    if (!io_write_all(to, chunk, (gsize)got))
      return FALSE;
    at += got;
  }
}

static gboolean
make_directory(const char *path, mode_t mode)
{
  return mkdir(path, mode) == 0 && chmod(path, mode) == 0;
}

static gboolean
place_all(const ProfilerValgrind *valgrind)
{
  if (!make_directory(PLACE, 0755) || !make_directory(TOOLS, 0755) || !make_directory(FILES, 0700))
    return FALSE;
  for (guint i = 0; i < valgrind->files->len; i++) {
    g_autofree char *path = g_build_filename(TOOLS, valgrind->files->pdata[i], NULL);
    if (!copy(g_array_index(valgrind->fds, int, i), path))
      return FALSE;
  }
  return TRUE;
}

int
profiler_valgrind_place(const ProfilerValgrind *valgrind, uid_t uid, gid_t gid, GError **error)
{
  int directory = place_all(valgrind) ? open(FILES, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1;
  if (directory >= 0 && fchown(directory, uid, gid) == 0)
    return directory;
  doppel_error_errno(error, "valgrind cannot be put into the clone");
  io_close(&directory);
  return -1;
}

char *
profiler_valgrind_path(const ProfilerValgrind *valgrind)
{
  return g_build_filename(TOOLS, valgrind->files->pdata[0], NULL);
}

char **
profiler_valgrind_arguments(const ProfilerValgrind *valgrind, char *const *program)
{
  GPtrArray *words = g_ptr_array_new();
  g_ptr_array_add(words, profiler_valgrind_path(valgrind));
  for (const char *const *word = profile_callgrind_arguments; *word; word++)
    g_ptr_array_add(words, g_strdup(*word));
  g_ptr_array_add(words, g_strdup("--vgdb=no")); /* pipes in /tmp */
  g_ptr_array_add(words, g_strdup("--callgrind-out-file=" FILES "/%p"));
  g_ptr_array_add(words, g_strdup("--"));
  for (char *const *word = program; *word; word++)
    g_ptr_array_add(words, g_strdup(*word));
  g_ptr_array_add(words, NULL);
  return (char **)g_ptr_array_free(words, FALSE);
}

char **
profiler_valgrind_environment(char *const *program)
{
  char **list = g_strdupv((char **)program);
  list = g_environ_setenv(list, "LD_BIND_NOW", "1", TRUE);
  list = g_environ_setenv(list, "VALGRIND_LIB", TOOLS, TRUE);
  /* A tool refuses to run without it; and starts it for nothing but programs that are executed. */
  return g_environ_setenv(list, "VALGRIND_LAUNCHER", "/usr/bin/valgrind", TRUE);
}
