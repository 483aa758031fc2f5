#include "world.h"

#include <dirent.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

World world;

static void
put(const char *name, const char *text)
{
  int fd = openat(world.root, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (fd >= 0 && !io_write_all(fd, text, strlen(text)))
    abort();
  io_close(&fd);
}

static void
remove_world(void)
{
  g_autofree char *command = g_strdup_printf("rm -rf '%s'", world.base);
  if (system(command) != 0)
    abort();
}

static int
make_directory(const char *name)
{
  g_autofree char *path = g_build_filename(world.base, name, NULL);
  if (g_mkdir(path, 0700) < 0)
    abort();
  return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

void
world_make(void)
{
  if (world.base)
    return;
  world.base = g_dir_make_tmp("doppel-fuzz-XXXXXX", NULL);
  world.root_path = g_build_filename(world.base, "root", NULL);
  world.root = make_directory("root");
  world.state = make_directory("state");
  world.outside = make_directory("outside");
  world.upper = make_directory("upper");
  world.lower = make_directory("lower");
  g_setenv("XDG_STATE_HOME", world.base, TRUE);
  atexit(remove_world);
}

/* Takes `fd`. */
static void
remove_below(int fd)
{
  DIR *listing = fdopendir(fd);
  for (struct dirent *entry; (entry = readdir(listing));) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
        unlinkat(fd, entry->d_name, 0) == 0)
      continue;
    int below = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (below >= 0)
      remove_below(below);
    unlinkat(fd, entry->d_name, AT_REMOVEDIR);
  }
  closedir(listing);
}

void
world_fill(void)
{
  remove_below(openat(world.root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  put("a", "some content");
  mkdirat(world.root, "d", 0755);
  put("d/f", "more");
  if (symlinkat("../outside", world.root, "l") == 0) {
    /* Known times, so that a delta of the corpus finds what it says was there. */
    static const char *const names[] = {"a", "d/f", "d", "l", "."};
    struct timespec times[2] = {{.tv_sec = 1000, .tv_nsec = 5}, {.tv_sec = 1000, .tv_nsec = 5}};
    for (guint i = 0; i < G_N_ELEMENTS(names); i++)
      utimensat(world.root, names[i], times, AT_SYMLINK_NOFOLLOW);
  }
}

static void
check_empty(const char *name)
{
  g_autofree char *path = g_build_filename(world.base, name, NULL);
  g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
  if (g_dir_read_name(directory))
    abort();
}

void
world_check(void)
{
  check_empty("outside");
  check_empty("state");
  check_empty("upper");
}
