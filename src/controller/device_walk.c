#include "controller/device_walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/path.h"

enum { LINKS_MAX = 40, STEPS_MAX = 4096 };

typedef struct {
  DeviceTold *told;
  GPtrArray *news;
  GString *at; /* absolute, without a slash in the end: "" is the root */
  char *rest;
  gboolean follow, content;
  guint links;
  gboolean full;
} Walk;

static const DeviceTelling *
tell(Walk *walk, const char *path, gboolean content)
{
  gboolean news;
  const DeviceTelling *telling = device_told_read(walk->told, path, content, TRUE, &news);
  walk->full = telling == NULL;
  if (telling && news)
    g_ptr_array_add(walk->news, (gpointer)telling);
  return telling;
}

static gboolean
only_slashes(const char *text)
{
  return text[strspn(text, "/")] == '\0';
}

/* One component more. FALSE at the walk's end. */
static gboolean
step(Walk *walk)
{
  char *name = walk->rest + strspn(walk->rest, "/");
  gsize length = strcspn(name, "/");
  if (length == 0)
    return FALSE;
  g_autofree char *former = walk->rest;
  walk->rest = g_strdup(name + length);
  gboolean last = only_slashes(walk->rest), slash = *walk->rest == '/';
  name[length] = '\0';
  if (strcmp(name, ".") == 0)
    return TRUE;
  if (strcmp(name, "..") == 0) {
    char *end = strrchr(walk->at->str, '/');
    g_string_truncate(walk->at, end ? end - walk->at->str : 0);
    return TRUE;
  }
  gsize before = walk->at->len;
  g_string_append_printf(walk->at, "/%s", name);
  if (length > REPLICA_NAME_MAX || walk->at->len >= REPLICA_PATH_MAX)
    return FALSE;
  const DeviceTelling *telling = tell(walk, walk->at->str, walk->content && last);
  if (!telling || telling->failure || telling->facts.pseudo)
    return FALSE;
  if (telling->facts.type == REPLICA_DIRECTORY)
    return TRUE;
  if (telling->facts.type != REPLICA_SYMLINK || (last && !walk->follow && !slash) ||
      ++walk->links > LINKS_MAX)
    return FALSE;
  g_string_truncate(walk->at, *telling->facts.target == '/' ? 0 : before);
  char *rest = g_strconcat(telling->facts.target, walk->rest, NULL);
  g_free(walk->rest);
  walk->rest = rest;
  return strlen(rest) < REPLICA_PATH_MAX;
}

gboolean
device_walk(DeviceTold *told, const char *path, gboolean follow, gboolean content, GPtrArray *news,
            GError **error)
{
  Walk walk = {.told = told,
               .news = news,
               .at = g_string_new(NULL),
               .rest = g_strdup(path),
               .follow = follow,
               .content = content};
  if (tell(&walk, "/", FALSE))
    for (guint steps = 0; steps < STEPS_MAX && step(&walk); steps++)
      ;
  g_string_free(walk.at, TRUE);
  g_free(walk.rest);
  return !walk.full || doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                                        "the block looks at more than %d paths", DEVICE_TOLD_MAX);
}

int
device_list(DeviceTold *told, const char *path, DeviceListingFunc each, gpointer user_data)
{
  gboolean news;
  /* Before the names: what changes meanwhile will be noticed. */
  const DeviceTelling *telling = device_told_read(told, path, FALSE, TRUE, &news);
  g_auto(Fd) root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  Fd fd = replica_path_open(root, path + 1, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
  DIR *listing = fd < 0 ? NULL : fdopendir(fd);
  if (!listing) {
    int failure = errno;
    io_close(&fd);
    return failure;
  }
  int failure = !telling ? E2BIG : telling->facts.pseudo ? EOPNOTSUPP : 0;
  errno = 0;
  for (struct dirent *entry; !failure && (entry = readdir(listing)); errno = 0) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
      continue;
    g_autofree char *below = g_strconcat(strcmp(path, "/") == 0 ? "" : path, "/", entry->d_name, NULL);
    telling = device_told_read(told, below, FALSE, FALSE, &news);
    if (!telling || !each(entry->d_name, telling, user_data))
      failure = E2BIG;
  }
  if (!failure)
    failure = errno;
  closedir(listing);
  return failure;
}
