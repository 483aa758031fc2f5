/* All links of the test, in one process: while there is chaos they are cut, stall, are opened late, and what
 * was on the way of an old one may come behind the beginning of a new one. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "link/pass.h"
#include "schedules.h"

enum { BUFFER = 128 << 10, TICK_MS = 4, BACKLOG = 128 };
#define MS(ms) ((ms)*G_GINT64_CONSTANT(1000000))

typedef struct {
  int from, to; /* borrowed */
  guint8 *bytes;
  gsize have;
  gboolean ended; /* nothing more comes */
  gboolean shut;  /* and that was said */
} Way;

typedef struct {
  Fd ends[2]; /* who has opened it; whom it leads to: -1, not yet */
  Way ways[2];
  int port;       /* to connect to */
  gint64 open_at; /* CLOCK_MONOTONIC ns */
  gint64 stalled_until;
  gboolean late; /* the opener's end is gone: what it said still arrives, then */
  gboolean dead;
} Line;

typedef struct {
  const LinksConfig *config;
  Shared *shared;
  int listeners[LINKS_MAX];
  GPtrArray *lines;
  GRand *rand;
  guint32 seed;
  guint32 waiting; /* a device's number, of which one socket has come */
  Fd first;
} Links;

static gboolean
chance(Links *links, guint one_in)
{
  return g_rand_int_range(links->rand, 0, (gint32)one_in) == 0;
}

static guint
pick(Links *links, guint below)
{
  return (guint)g_rand_int_range(links->rand, 0, (gint32)below);
}

int
free_port(void)
{
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* stays */
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
      getsockname(fd, (struct sockaddr *)&address, &length) < 0)
    g_error("a port: %s", g_strerror(errno));
  return ntohs(address.sin_port);
}

int
links_join(int devices, guint32 number, int to)
{
  int ends[2];
  g_auto(Fd) target = to;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return -1;
  g_auto(Fd) far = ends[1];
  if (link_pass_send_with(devices, far, &number, sizeof number, NULL) &&
      link_pass_send_with(devices, target, &number, sizeof number, NULL))
    return ends[0];
  close(ends[0]);
  return -1;
}

/* ---- lines ---- */

static void
line_free(gpointer data)
{
  Line *line = data;
  io_close(&line->ends[0]);
  io_close(&line->ends[1]);
  g_free(line->ways[0].bytes);
  g_free(line->ways[1].bytes);
  g_free(line);
}

static Line *
line_new(Links *links, int opener, int target, int port)
{
  Line *line = g_new0(Line, 1);
  line->ends[0] = opener;
  line->ends[1] = target;
  line->port = port;
  line->ways[0].bytes = g_malloc(BUFFER);
  line->ways[1].bytes = g_malloc(BUFFER);
  fcntl(opener, F_SETFL, O_NONBLOCK);
  if (target >= 0)
    fcntl(target, F_SETFL, O_NONBLOCK);
  if (links->shared->chaos && chance(links, 3)) {
    line->open_at = clock_now_ns() + MS(pick(links, 250));
    links->shared->links.held++;
  }
  g_ptr_array_add(links->lines, line);
  return line;
}

/* FALSE: nobody listens there. */
static gboolean
line_connect(Line *line)
{
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons((guint16)line->port)};
  line->ends[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(line->ends[1], (struct sockaddr *)&address, sizeof address) < 0)
    return FALSE;
  fcntl(line->ends[1], F_SETFL, O_NONBLOCK);
  return TRUE;
}

static void
carry(Line *line, int way)
{
  Way *w = &line->ways[way];
  int from = line->ends[way], to = line->ends[!way];
  if (from >= 0 && !w->ended && w->have < BUFFER) {
    gssize got = recv(from, w->bytes + w->have, BUFFER - w->have, 0);
    w->have += got > 0 ? (gsize)got : 0;
    w->ended = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
  }
  if (w->have > 0 && to >= 0) {
    gssize sent = send(to, w->bytes, w->have, MSG_NOSIGNAL);
    if (sent > 0) {
      w->have -= (gsize)sent;
      memmove(w->bytes, w->bytes + sent, w->have);
    } else if (sent < 0 && errno != EAGAIN && errno != EINTR) {
      line->dead = TRUE;
    }
  }
  if (w->ended && w->have == 0 && !w->shut && to >= 0) {
    shutdown(to, SHUT_WR);
    w->shut = TRUE;
  }
}

static void
line_work(Line *line, gint64 now)
{
  if (line->open_at > now || line->stalled_until > now)
    return;
  if (line->ends[1] < 0 && !line_connect(line)) {
    line->dead = TRUE;
    return;
  }
  for (int way = 0; way < 2 && !line->dead; way++)
    carry(line, way);
  if ((line->ways[0].shut && line->ways[1].shut) || (line->late && line->ways[0].shut))
    line->dead = TRUE;
}

static void
reset(int fd)
{
  struct linger linger = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

/* ---- what goes wrong ---- */

static void
cut(Links *links, Line *line, gint64 now)
{
  links->shared->links.cuts++;
  if (line->ends[1] < 0 || chance(links, 2)) {
    if (chance(links, 2)) {
      reset(line->ends[0]);
      if (line->ends[1] >= 0)
        reset(line->ends[1]);
    }
    line->dead = TRUE;
    return;
  }
  /* Who opened it opens another one; what was said over this one arrives later. */
  links->shared->links.late++;
  carry(line, 0);
  io_close(&line->ends[0]);
  line->ways[0].ended = line->late = TRUE;
  line->stalled_until = now + MS(pick(links, 300));
}

static void
disturb(Links *links, gint64 now)
{
  if (links->lines->len == 0)
    return;
  Line *line = links->lines->pdata[pick(links, links->lines->len)];
  if (line->dead || line->late)
    return;
  if (chance(links, 12)) {
    cut(links, line, now);
  } else if (chance(links, 8)) {
    links->shared->links.stalls++;
    line->stalled_until = now + MS(20 + pick(links, 400));
  }
}

static void
look(Links *links)
{
  if (links->seed != links->shared->seed) {
    links->seed = links->shared->seed;
    g_rand_set_seed(links->rand, links->seed);
  }
  if (links->shared->chaos)
    return;
  for (guint i = 0; i < links->lines->len; i++) {
    Line *line = links->lines->pdata[i];
    line->stalled_until = line->open_at = 0;
  }
}

/* ---- */

static int
listen_at(int port)
{
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((guint16)port)};
  int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, BACKLOG) < 0)
    g_error("links: listening: %s", g_strerror(errno));
  return fd;
}

static void
take_device(Links *links)
{
  guint32 number;
  gsize length;
  int fd;
  int step = link_pass_receive_with(links->config->devices, &fd, &number, sizeof number, &length);
  if (step < 0)
    _exit(0);
  if (step == 0)
    return;
  if (links->first >= 0 && links->waiting == number) {
    line_new(links, io_steal_fd(&links->first), fd, 0);
    return;
  }
  /* Of a device that was killed between the two nothing more comes. */
  io_close(&links->first);
  links->first = fd;
  links->waiting = number;
}

static void
await(Links *links, GArray *fds)
{
  g_array_set_size(fds, 0);
  for (guint i = 0; i <= links->config->count; i++) {
    struct pollfd fd = {.fd = i < links->config->count ? links->listeners[i] : links->config->devices,
                        .events = POLLIN};
    g_array_append_val(fds, fd);
  }
  gint64 now = clock_now_ns();
  for (guint i = 0; i < links->lines->len; i++) {
    const Line *line = links->lines->pdata[i];
    for (int end = 0; end < 2 && line->open_at <= now && line->stalled_until <= now; end++) {
      struct pollfd fd = {.fd = line->ends[end]};
      fd.events = (short)((!line->ways[end].ended && line->ways[end].have < BUFFER ? POLLIN : 0) |
                          (line->ways[!end].have > 0 ? POLLOUT : 0));
      if (fd.events)
        g_array_append_val(fds, fd);
    }
  }
  poll((struct pollfd *)fds->data, fds->len, links->shared->chaos ? TICK_MS : 50);
}

static void
accept_all(Links *links, const GArray *fds)
{
  for (guint i = 0; i < links->config->count; i++) {
    int fd = g_array_index(fds, struct pollfd, i).revents
                 ? accept4(links->listeners[i], NULL, NULL, SOCK_CLOEXEC)
                 : -1;
    if (fd >= 0)
      line_new(links, fd, -1, links->config->to[i]);
  }
  if (g_array_index(fds, struct pollfd, links->config->count).revents)
    take_device(links);
}

void
links_run(const LinksConfig *config, Shared *shared)
{
  Links links = {.config = config, .shared = shared, .first = -1, .rand = g_rand_new_with_seed(0)};
  g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(struct pollfd));
  gint64 next = 0;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  links.lines = g_ptr_array_new_with_free_func(line_free);
  for (guint i = 0; i < config->count; i++)
    links.listeners[i] = listen_at(config->port[i]);
  for (;;) {
    await(&links, fds);
    look(&links);
    accept_all(&links, fds);
    gint64 now = clock_now_ns();
    for (; shared->chaos && next < now; next = now + MS(TICK_MS))
      for (guint i = 0; i < 4; i++)
        disturb(&links, now);
    for (guint i = links.lines->len; i > 0; i--) {
      Line *line = links.lines->pdata[i - 1];
      if (!line->dead)
        line_work(line, now);
      if (line->dead)
        g_ptr_array_remove_index_fast(links.lines, i - 1);
    }
  }
}
