#include "replicator/checkpoint_named.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "augmenter/mountinfo.h"
#include "augmenter/overlay.h"
#include "base/io.h"
#include "replica/facts.h"
#include "replica/path.h"

/* Where it really is; NULL where that cannot be told. */
static char *
path_of(int fd)
{
  char proc[REPLICA_PROC_MAX];
  replica_path_proc_fd(proc, fd);
  return g_file_read_link(proc, NULL);
}

static gboolean
hides(const char *directory, const char *root, const char *path)
{
  g_autofree char *real = realpath(directory, NULL);
  const char *place = real ? real : directory;
  return mountinfo_is_below(place, root) && (strcmp(path, place) == 0 || mountinfo_is_below(path, place));
}

static gboolean
is_in_view(int root, int place, const char *const *hidden, guint count)
{
  g_autofree char *top = path_of(root), *path = path_of(place);
  if (!top || !path || !mountinfo_is_below(path, top))
    return FALSE;
  if (overlay_is_own_place(top[1] ? path + strlen(top) : path))
    return FALSE;
  for (guint i = 0; i < count; i++)
    if (hidden[i] && hides(hidden[i], top, path))
      return FALSE;
  return TRUE;
}

/* A device does something when it is opened, and so may what the kernel makes up: it is looked at first. */
static gboolean
is_ordinary(int place)
{
  struct stat facts;
  return fstat(place, &facts) == 0 && S_ISREG(facts.st_mode) && !replica_facts_pseudo(place);
}

int
checkpoint_named_open(const char *root, const char *const *hidden, guint count, const CheckpointFile *named)
{
  char proc[REPLICA_PROC_MAX];
  if (!named->size)
    return -1;
  g_autofree char *name = g_strndup((const char *)named->path.data + 1, named->path.len - 1);
  g_auto(Fd) top = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  g_auto(Fd) place = top < 0 ? -1 : replica_path_open(top, name, O_PATH);
  if (place < 0 || !is_ordinary(place) || !is_in_view(top, place, hidden, count))
    return -1;
  replica_path_proc_fd(proc, place);
  g_auto(Fd) file = open(proc, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  return file >= 0 && checkpoint_file_is(named, file) ? io_steal_fd(&file) : -1;
}
