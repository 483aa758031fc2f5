#include "daemon/programs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "c2c/local_packet.h"
#include "c2c/node.h"

#define PLACE   "run/doppel" /* LOCAL_CLONE_SOCKET's directory, from a root */
#define NAME    "c2c.socket"
#define TMPFS   "mode=0755,size=16k"
#define FD_PATH 32 /* bytes of "/proc/self/fd/N" */
enum { BACKLOG = 64 };

/* ---- those that doppeld holds ---- */

typedef struct {
  guint8 clone[PAIRED_ID_LENGTH];
  char *path;
  Fd fd;
  struct stat facts; /* of the socket in the file system */
} Held;

struct DaemonPrograms {
  GPtrArray *held; /* of Held */
};

static void
held_free(Held *held)
{
  io_close(&held->fd);
  g_free(held->path);
  g_free(held);
}

DaemonPrograms *
daemon_programs_new(void)
{
  DaemonPrograms *programs = g_new0(DaemonPrograms, 1);
  programs->held = g_ptr_array_new_with_free_func((GDestroyNotify)held_free);
  return programs;
}

void
daemon_programs_free(DaemonPrograms *programs)
{
  if (!programs)
    return;
  g_ptr_array_unref(programs->held);
  g_free(programs);
}

/* A clone's directory goes when it is revoked. */
static void
drop_removed(DaemonPrograms *programs)
{
  for (guint i = programs->held->len; i-- > 0;) {
    const Held *held = programs->held->pdata[i];
    struct stat facts;
    if (lstat(held->path, &facts) < 0 || facts.st_ino != held->facts.st_ino ||
        facts.st_dev != held->facts.st_dev)
      g_ptr_array_remove_index_fast(programs->held, i);
  }
}

/* Whoever can reach it may connect: the directory is closed to everybody else, and in a sandbox programs have
 * the ids of the device's users. */
static gboolean
make_socket(Held *held, GError **error)
{
  struct sockaddr_un address;
  g_auto(Fd) directory = -1;
  if (local_packet_address(held->path, &address, &directory) == 0) {
    unlink(held->path);
    held->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  }
  if (held->fd >= 0 && bind(held->fd, (struct sockaddr *)&address, sizeof address) == 0 &&
      chmod(held->path, 0666) == 0 && lstat(held->path, &held->facts) == 0 && listen(held->fd, BACKLOG) == 0)
    return TRUE;
  return doppel_error_errno(error, "cannot listen at %s", held->path);
}

int
daemon_programs_socket(DaemonPrograms *programs, const DaemonState *state, const DaemonClone *clone,
                       GError **error)
{
  drop_removed(programs);
  for (guint i = 0; i < programs->held->len; i++) {
    const Held *held = programs->held->pdata[i];
    if (memcmp(held->clone, clone->id, sizeof held->clone) == 0)
      return held->fd;
  }
  g_autofree char *directory = daemon_state_clone_c2c(state, clone->id);
  Held *held = g_new0(Held, 1);
  *held = (Held){.path = g_build_filename(directory, NODE_PROGRAMS_SOCKET, NULL), .fd = -1};
  memcpy(held->clone, clone->id, sizeof held->clone);
  if (!make_socket(held, error)) {
    held_free(held);
    return -1;
  }
  g_ptr_array_add(programs->held, held);
  return held->fd;
}

/* ---- in the clone's root ---- */

/* Links in a root that a device has filled lead nowhere: a mount would land there. */
static int
open_inside(int root, const char *path, int flags)
{
  struct open_how how = {.flags = (guint64)(flags | O_CLOEXEC),
                         .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
  return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

static gboolean
is_empty(int directory)
{
  int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *stream = fd < 0 ? NULL : fdopendir(fd);
  guint count = 0;
  if (!stream) {
    io_close(&fd);
    return FALSE;
  }
  while (count < 3 && readdir(stream))
    count++;
  closedir(stream);
  return count == 2;
}

static gboolean
mount_memory(int directory)
{
  char path[FD_PATH];
  g_snprintf(path, sizeof path, "/proc/self/fd/%d", directory);
  return mount("doppel", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, TMPFS) == 0;
}

/* An empty directory of memory at PLACE: over one that is there, or over an empty /run, which is all that a
 * device synchronises of its own. -1 with errno. */
static int
make_place(int root)
{
  g_auto(Fd) place = open_inside(root, PLACE, O_PATH | O_DIRECTORY);
  if (place >= 0)
    return mount_memory(place) ? open_inside(root, PLACE, O_RDONLY | O_DIRECTORY) : -1;
  g_auto(Fd) above = open_inside(root, "run", O_PATH | O_DIRECTORY);
  if (above < 0)
    return -1;
  if (!is_empty(above)) {
    errno = ENOENT;
    return -1;
  }
  if (!mount_memory(above))
    return -1;
  g_auto(Fd) memory = open_inside(root, "run", O_PATH | O_DIRECTORY);
  if (memory < 0 || mkdirat(memory, "doppel", 0755) < 0)
    return -1;
  return open_inside(root, PLACE, O_RDONLY | O_DIRECTORY);
}

static gboolean
bind_socket(const char *path, int place)
{
  char target[FD_PATH];
  g_auto(Fd) made = openat(place, NAME, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  g_auto(Fd) name = made < 0 ? -1 : openat(place, NAME, O_PATH | O_CLOEXEC);
  g_snprintf(target, sizeof target, "/proc/self/fd/%d", name);
  return name >= 0 && mount(path, target, NULL, MS_BIND, NULL) == 0;
}

gboolean
daemon_programs_show(const DaemonState *state, const DaemonClone *clone, const char *root, gboolean own,
                     GError **error)
{
  g_autofree char *directory = daemon_state_clone_c2c(state, clone->id);
  g_autofree char *path = g_build_filename(directory, NODE_PROGRAMS_SOCKET, NULL);
  struct stat facts;
  if (geteuid() != 0 || lstat(path, &facts) < 0 || !S_ISSOCK(facts.st_mode))
    return TRUE;
  if (!own && (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0))
    return doppel_error_errno(error, "cannot make a mount namespace");
  /* Here it is doppeld's own place (FHS 3.0, section 3.15); any other root is never written to. */
  if (strcmp(root, "/") == 0)
    mkdir("/" PLACE, 0755);
  g_auto(Fd) top = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  g_auto(Fd) place = top < 0 ? -1 : make_place(top);
  if (place < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                            "programs in the clone %s do not reach the network of clones: its root has "
                            "neither a directory /" PLACE " nor an empty /run",
                            clone->name);
  return (place >= 0 && bind_socket(path, place)) ||
         doppel_error_errno(error, "programs in the clone %s do not reach the network of clones",
                            clone->name);
}
