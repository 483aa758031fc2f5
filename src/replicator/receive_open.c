/* The directory of a clone's replica, and whose turn it is to write to the store in it. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "replicator/receive_private.h"

#define WRITER    "writer.lock" /* held by the session that writes to the store */
#define LIVE      "live.lock"   /* held by it as well, as long as it has a device: not while it tidies up */
#define TURN      "turn.lock"   /* held by the one that waits */
#define TURN_MS   20000         /* to wait for a session that has a device */
#define TURN_LOOK 20            /* ms between attempts */

int
receiver_store(Receiver *receiver)
{
  return receiver->store ? generation_store_directory(receiver->store) : receiver->readable;
}

static int
open_lock(Receiver *receiver, const char *name)
{
  return openat(receiver->directory, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

gboolean
receiver_is_awaited(Receiver *receiver)
{
  g_auto(Fd) turn = open_lock(receiver, TURN);
  return turn >= 0 && flock(turn, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

static gboolean
refuse_turn(Receiver *receiver, GError **error)
{
  return doppel_error_set(error, DOPPEL_ERROR_GONE,
                          "another synchronisation with the clone %s goes on: wait for its end, or stop it",
                          receiver->place->name);
}

static gboolean
is_live(Receiver *receiver)
{
  g_auto(Fd) live = open_lock(receiver, LIVE);
  return live >= 0 && flock(live, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

static gboolean
become_live(Receiver *receiver, GError **error)
{
  receiver->live = open_lock(receiver, LIVE);
  return (receiver->live >= 0 && flock(receiver->live, LOCK_EX) == 0) ||
         doppel_error_errno(error, "the locks in %s cannot be taken", receiver->place->directory);
}

/* A session whose device has gone away gives way to one that waits; one whose device is there does not. One
 * that tidies up comes to its end, which may take as long as a large tree takes. */
static gboolean
wait_for_turn(Receiver *receiver, GError **error)
{
  g_auto(Fd) turn = open_lock(receiver, TURN);
  gint64 deadline = clock_now_ns() + TURN_MS * G_GINT64_CONSTANT(1000000);
  receiver->lock = open_lock(receiver, WRITER);
  if (turn < 0 || receiver->lock < 0)
    return doppel_error_errno(error, "the locks in %s cannot be made", receiver->place->directory);
  if (flock(turn, LOCK_EX | LOCK_NB) < 0)
    return refuse_turn(receiver, error);
  while (flock(receiver->lock, LOCK_EX | LOCK_NB) < 0) {
    if (clock_left_ms(deadline) == 0 && is_live(receiver))
      return refuse_turn(receiver, error);
    if (!receiver_wait(receiver, 0, error))
      return FALSE;
    g_usleep(TURN_LOOK * 1000);
  }
  return become_live(receiver, error);
}

/* An attempt that a full disk does not let go on is still there: the device is not to take it for lost. */
static gboolean
recover(Receiver *receiver, GError **error)
{
  GenerationAttempt attempt;
  return generation_store_attempt(receiver->store, &attempt) ||
         faccessat(generation_store_directory(receiver->store), "attempt", F_OK, AT_SYMLINK_NOFOLLOW) < 0 ||
         generation_store_begin(receiver->store, &attempt, error);
}

static gboolean
open_to_write(Receiver *receiver, const char *path, GError **error)
{
  if (!wait_for_turn(receiver, error))
    return FALSE;
  const GenerationStoreOptions options = {.public_base = receiver->place->public_base};
  receiver->store = generation_store_open(path, &options, error);
  return receiver->store && recover(receiver, error);
}

gboolean
receiver_open(Receiver *receiver, gboolean write, GError **error)
{
  const char *directory = receiver->place->directory;
  g_autofree char *path = g_build_filename(directory, REPLICATOR_STORE, NULL);
  if (write && g_mkdir_with_parents(directory, 0700) < 0)
    return doppel_error_errno(error, "the clone's store %s cannot be made", path);
  receiver->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (receiver->directory < 0)
    return (!write && errno == ENOENT) ||
           doppel_error_errno(error, "the clone's store %s cannot be used", path);
  if (write)
    return open_to_write(receiver, path, error);
  receiver->readable = openat(receiver->directory, REPLICATOR_STORE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return receiver->readable >= 0 || errno == ENOENT ||
         doppel_error_errno(error, "the clone's store %s cannot be used", path);
}

static gboolean
write_file(const char *path, const char *text)
{
  g_auto(Fd) fd = open(path, O_WRONLY | O_CLOEXEC);
  return fd >= 0 && io_write_all(fd, text, strlen(text));
}

void
receiver_enter(guint32 uid, guint32 gid)
{
  g_autofree char *users = g_strdup_printf("%u %u 1\n", uid, (guint)geteuid());
  g_autofree char *groups = g_strdup_printf("%u %u 1\n", gid, (guint)getegid());
  if (geteuid() == 0 || unshare(CLONE_NEWUSER) < 0)
    return;
  /* Without its map a namespace only takes away; what follows then fails with an error of its own. */
  if (!write_file("/proc/self/uid_map", users) || !write_file("/proc/self/setgroups", "deny") ||
      !write_file("/proc/self/gid_map", groups))
    g_printerr("doppeld: the user namespace of a synchronisation has no ids: %s\n", g_strerror(errno));
}
