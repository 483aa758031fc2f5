/* Two people talk through their clones.
 *
 *   c2c-chat listen         wait for a friend ("doppel allow FRIEND message:chat" lets them in)
 *   c2c-chat call FRIEND    call one
 *
 * What is typed goes to the friend, line by line; the end of input (Ctrl-D) ends one's own half.
 *
 *   cc c2c-chat.c $(pkg-config --cflags --libs doppel-c2c) -o c2c-chat */
#include <doppel/c2c.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SERVICE "message:chat"

/* Writes all of it. 0, or -1 with errno. */
static int
write_all(int fd, const char *data, size_t length)
{
  while (length > 0) {
    ssize_t written = write(fd, data, length);
    if (written < 0 && errno != EINTR)
      return -1;
    if (written > 0) {
      data += written;
      length -= written;
    }
  }
  return 0;
}

/* Passes on what can be read. 1; 0 at the end; -1 with errno. */
static int
pass(int from, int to)
{
  char data[4096];
  ssize_t length = read(from, data, sizeof data);
  if (length < 0)
    return errno == EINTR || errno == EAGAIN ? 1 : -1;
  if (length == 0)
    return 0;
  return write_all(to, data, length) < 0 ? -1 : 1;
}

/* Until both have said all they had to say. */
static int
talk(int stream)
{
  struct pollfd fds[] = {{STDIN_FILENO, POLLIN, 0}, {stream, POLLIN, 0}};
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    if (poll(fds, 2, -1) < 0 && errno != EINTR)
      return -1;
    int said = fds[0].fd >= 0 && fds[0].revents ? pass(STDIN_FILENO, stream) : 1;
    int heard = fds[1].fd >= 0 && fds[1].revents ? pass(stream, STDOUT_FILENO) : 1;
    if (said < 0 || heard < 0 || (heard == 0 && c2c_ended(stream) < 0))
      return -1;
    if (said == 0) {
      shutdown(stream, SHUT_WR);
      fds[0].fd = -1;
    }
    if (heard == 0)
      fds[1].fd = -1;
  }
  return 0;
}

/* The name comes from somebody else's record: no control characters are shown. */
static void
print_name(const char *name)
{
  for (; *name; name++)
    fputc((unsigned char)*name < 0x20 || *name == 0x7f ? '?' : *name, stderr);
}

static int
wait_for_friend(C2c *c2c, char **why)
{
  C2cPeer peer;
  C2cListener *listener = c2c_listen(c2c, SERVICE, why);
  if (!listener)
    return -1;
  fprintf(stderr, "waiting\n");
  int stream = c2c_accept(listener, &peer);
  c2c_listener_close(listener);
  if (stream >= 0) {
    print_name(peer.name);
    fprintf(stderr, " is here\n");
  }
  return stream;
}

int
main(int argc, char **argv)
{
  char *why = NULL;
  int listening = argc == 2 && strcmp(argv[1], "listen") == 0;
  if (!listening && !(argc == 3 && strcmp(argv[1], "call") == 0)) {
    fprintf(stderr, "usage: c2c-chat listen | c2c-chat call FRIEND\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  C2c *c2c = c2c_open(NULL, &why);
  int stream = -1;
  if (c2c)
    stream = listening ? wait_for_friend(c2c, &why) : c2c_dial(c2c, argv[2], SERVICE, &why);
  int good = stream >= 0 && talk(stream) == 0;
  if (!good)
    fprintf(stderr, "c2c-chat: %s\n", why ? why : strerror(errno));
  free(why);
  if (stream >= 0)
    close(stream);
  c2c_close(c2c);
  return good ? 0 : 1;
}
