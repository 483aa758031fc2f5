/* What lies below /dev, /proc and /sys is the device's; but for the process itself, and what every Linux has
 * alike. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "augmenter/paths_private.h"
#include "mirror/files.h"

static const struct {
  const char *path; /* with all below */
  SpecialKind kind;
} places[] = {
    {"/dev/null", SPECIAL_CLONE},
    {"/dev/zero", SPECIAL_CLONE},
    {"/dev/full", SPECIAL_CLONE},
    {"/dev/random", SPECIAL_CLONE},
    {"/dev/urandom", SPECIAL_CLONE},
    {"/dev/fd", SPECIAL_WAY}, /* links into /proc/self */
    {"/dev/stdin", SPECIAL_WAY},
    {"/dev/stdout", SPECIAL_WAY},
    {"/dev/stderr", SPECIAL_WAY},
    {"/sys/devices/system/cpu", SPECIAL_CLONE},
    {"/sys/kernel/mm/transparent_hugepage", SPECIAL_CLONE},
    {"/proc/self", SPECIAL_SELF},
    {"/proc/thread-self", SPECIAL_SELF},
    {"/dev/shm", SPECIAL_NEITHER}, /* see mirror/pincall_permitted.c */
    {"/dev/mqueue", SPECIAL_NEITHER},
    {"/dev/core", SPECIAL_NEITHER},
    {"/dev/mem", SPECIAL_NEITHER},
    {"/dev/kmem", SPECIAL_NEITHER},
    {"/dev/port", SPECIAL_NEITHER},
    {"/dev", SPECIAL_DEVICE},
    {"/proc", SPECIAL_DEVICE},
    {"/sys", SPECIAL_DEVICE},
};

/* What /proc says of the process that is the machine's and not the process's. */
static const char *const of_the_device[] = {"mounts",   "mountinfo", "mountstats", "cgroup",
                                            "net",      "uid_map",   "gid_map",    "setgroups",
                                            "loginuid", "sessionid", "projid_map", "timens_offsets"};

static gboolean
is_below(const char *path, const char *directory)
{
  gsize length = strlen(directory);
  return strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static gboolean
is_own_number(const Paths *paths, const char *name)
{
  const Augmenter *augmenter = paths->augmenter;
  gsize digits = strspn(name, "0123456789");
  int number = digits && digits < 10 && (name[digits] == '/' || !name[digits]) ? atoi(name) : 0;
  return number > 0 && augmenter->process &&
         (number == augmenter->process->own_pid || mirror_thread_find_own(augmenter->process, number) ||
          number >= augmenter->sandbox->pid_max / 4 * 3);
}

SpecialKind
special_kind(const Paths *paths, const char *path, gboolean last)
{
  if (g_str_has_prefix(path, "/proc/") && is_own_number(paths, path + strlen("/proc/")))
    return SPECIAL_SELF;
  for (gsize i = 0; i < G_N_ELEMENTS(places); i++) {
    if (!last && strcmp(places[i].path, path) != 0 && is_below(places[i].path, path))
      return SPECIAL_WAY;
    if (is_below(path, places[i].path))
      return places[i].kind;
  }
  return SPECIAL_NOT;
}

/* Where a magic link of the process leads: an absolute path; NULL for what has none. A pin's number in *pin,
 * else -1. */
static char *
read_magic(const Paths *paths, pid_t tid, const char *link, gint32 *pin)
{
  g_autofree char *path = g_strdup_printf("%d/%s", tid, link);
  char target[PATH_MAX];
  *pin = g_str_has_prefix(link, "fd/")
             ? mirror_files_pin_of(paths->augmenter->sandbox->proc_fd, tid, atoi(link + 3))
             : -1;
  ssize_t length = readlinkat(paths->augmenter->sandbox->proc_fd, path, target, sizeof target - 1);
  if (*pin >= 0 || length <= 0 || *target != '/')
    return NULL;
  target[length] = '\0';
  return g_str_has_suffix(target, " (deleted)") || g_str_has_prefix(target, "/memfd:") ? NULL
                                                                                       : g_strdup(target);
}

/* The length of a magic link's name at the start of `text`, or 0. */
static gsize
magic_length(const char *text)
{
  static const char *const names[] = {"cwd", "root", "exe"};
  for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
    if (is_below(text, names[i]))
      return strlen(names[i]);
  gsize digits = g_str_has_prefix(text, "fd/") ? strspn(text + 3, "0123456789") : 0;
  return digits && (text[3 + digits] == '/' || !text[3 + digits]) ? 3 + digits : 0;
}

SpecialKind
special_self(const Paths *paths, pid_t tid, const char **rest, gboolean follow, char **target, char **forward)
{
  const char *text = *rest + strspn(*rest, "/");
  if (g_str_has_prefix(text, "task/")) {
    const char *below = strchr(text + strlen("task/"), '/');
    text = below ? below + strspn(below, "/") : "";
  }
  for (gsize i = 0; i < G_N_ELEMENTS(of_the_device); i++)
    if (is_below(text, of_the_device[i]))
      return SPECIAL_DEVICE;
  gsize length = magic_length(text);
  if (!length)
    return SPECIAL_CLONE;
  g_autofree char *link = g_strndup(text, length);
  const char *after = text + length;
  gint32 pin;
  g_autofree char *found = read_magic(paths, tid, link, &pin);
  if (pin >= 0) {
    *forward = g_strdup_printf("/proc/self/fd/%d%s", pin, after);
    return SPECIAL_DEVICE;
  }
  if (!found || (!*after && !follow))
    return SPECIAL_CLONE;
  *target = g_steal_pointer(&found);
  *rest = after;
  return SPECIAL_WAY;
}
