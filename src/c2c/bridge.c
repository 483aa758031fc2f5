#include "c2c/bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "c2c/stream_end.h"

enum { ROOM = 64 << 10 };

typedef struct {
  int from, to;
  guint64 *total;
  gsize start, end; /* of what waits in `data` */
  gboolean ended;   /* nothing more comes */
  gboolean over;    /* and all of it is told */
  guint8 data[ROOM];
} Way;

static gboolean
is_no_error(void)
{
  return errno == EAGAIN || errno == EINTR;
}

static gboolean
hear(Way *way)
{
  gssize got = read(way->from, way->data, ROOM);
  if (got < 0)
    return is_no_error();
  if (got == 0 && !stream_end_is_proper(way->from))
    return FALSE;
  way->ended = got == 0;
  way->start = 0;
  way->end = got;
  return TRUE;
}

static gboolean
tell(Way *way)
{
  gssize told = send(way->to, way->data + way->start, way->end - way->start, MSG_NOSIGNAL);
  if (told < 0)
    return is_no_error();
  way->start += told;
  *way->total += told;
  return TRUE;
}

/* Whatever can be done without waiting, once. */
static gboolean
go_on(Way *way)
{
  if (way->start == way->end && !way->ended && !hear(way))
    return FALSE;
  if (way->start < way->end && !tell(way))
    return FALSE;
  if (way->ended && way->start == way->end && !way->over) {
    way->over = TRUE;
    return shutdown(way->to, SHUT_WR) == 0;
  }
  return TRUE;
}

static gboolean
set_unblocking(int fd)
{
  return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0;
}

static short
wanted(const Way *from, const Way *to)
{
  return (from->start == from->end && !from->ended ? POLLIN : 0) | (to->start < to->end ? POLLOUT : 0);
}

/* What poll(2) reports without being asked: nothing that is told this one can arrive any more. */
static gboolean
is_lost(const struct pollfd *fd, const Way *from)
{
  if (!(fd->revents & (POLLERR | POLLHUP)) || (!from->ended && !(fd->revents & POLLERR)))
    return FALSE;
  int problem = 0;
  socklen_t length = sizeof problem;
  getsockopt(fd->fd, SOL_SOCKET, SO_ERROR, &problem, &length);
  errno = problem ? problem : ECONNRESET;
  return TRUE;
}

gboolean
bridge(int a, int b, BridgeCounters *counters)
{
  g_autofree Way *there = g_new(Way, 1), *back = g_new(Way, 1);
  *counters = (BridgeCounters){0};
  there->from = back->to = a;
  there->to = back->from = b;
  there->start = there->end = back->start = back->end = 0;
  there->ended = there->over = back->ended = back->over = FALSE;
  there->total = &counters->there;
  back->total = &counters->back;
  if (!set_unblocking(a) || !set_unblocking(b))
    return FALSE;
  while (!there->over || !back->over) {
    struct pollfd fds[] = {{.fd = a, .events = wanted(there, back)},
                           {.fd = b, .events = wanted(back, there)}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR)
      return FALSE;
    if (!go_on(there) || !go_on(back))
      return FALSE;
    if (!(there->over && back->over) && (is_lost(&fds[0], there) || is_lost(&fds[1], back)))
      return FALSE;
  }
  return TRUE;
}

void
bridge_cut(int fd)
{
  const struct linger at_once = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(fd);
}
