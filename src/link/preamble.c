#include "link/preamble.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "link/link.h"

int
link_preamble_step(LinkPreambleReader *reader, int fd, WirePreamble *preamble, GError **error)
{
  while (reader->have < sizeof reader->bytes) {
    ssize_t got = recv(fd, reader->bytes + reader->have, sizeof reader->bytes - reader->have, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0 && errno == EAGAIN)
      return 0;
    if (got <= 0) {
      doppel_error_set(error, DOPPEL_ERROR_GONE,
                       "the peer closed the connection before it said whom it wants");
      return -1;
    }
    reader->have += got;
  }
  return wire_preamble_decode(reader->bytes, preamble, error) ? 1 : -1;
}

gboolean
link_preamble_read(int fd, int timeout_ms, LinkPreamble *preamble, GError **error)
{
  LinkPreambleReader reader = {.have = 0};
  gint64 deadline = clock_now_ns() + timeout_ms * G_GINT64_CONSTANT(1000000);
  for (;;) {
    int step = link_preamble_step(&reader, fd, preamble, error);
    if (step != 0)
      return step > 0;
    gint64 left = (deadline - clock_now_ns() + 999999) / 1000000;
    if (left <= 0)
      return doppel_error_set(error, DOPPEL_ERROR_GONE, "the peer did not say whom it wants within %d ms",
                              timeout_ms);
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    if (poll(&wait, 1, left) < 0 && errno != EINTR)
      return doppel_error_errno(error, "cannot wait for a peer");
  }
}
