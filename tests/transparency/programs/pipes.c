/* Descriptors that are not files: pipes, sockets, the terminal, events; the block reads, writes, makes and
 * closes them. */
#include "program.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static int ends[2] = {-1, -1}, link_fd = -1, watch = -1, event = -1;
static pid_t server;
static unsigned short port;

static void
input_inside(int round)
{
  char line[200];
  if (fgets(line, sizeof line, stdin))
    printf("round %d: %s", round, line);
  else
    printf("round %d: end of input\n", round);
}

static void
input_rest(void)
{
  unsigned long count = 0, sum = 0;
  for (int byte; (byte = getchar()) != EOF; count++)
    sum = sum * 31 + byte;
  printf("the rest: %lu bytes, %lx\n", count, sum);
}

static void
whole_input(int round)
{
  char data[8192];
  unsigned long count = 0, sum = 0;
  for (ssize_t got; (got = read(0, data, sizeof data)) > 0; count += got)
    for (ssize_t i = 0; i < got; i++)
      sum = sum * 31 + data[i];
  printf("%lu bytes, %lx\n", count, sum);
}

static void
output_inside(int round)
{
  char line[64];
  for (int i = 0; i < 200000; i++) {
    int length = snprintf(line, sizeof line, "round %d line %06d %016lx\n", round, i, churn(i, 2));
    fwrite(line, 1, length, stdout);
  }
  fflush(stdout);
}

static void
both_inside(int round)
{
  for (int i = 0; i < 20; i++) {
    dprintf(1, "out %d.%d\n", round, i);
    dprintf(2, "err %d.%d\n", round, i);
  }
}

/* The reader goes away: the write fails with EPIPE, or the signal kills. */
static void
broken_inside(int round)
{
  static char data[65536];
  memset(data, 'x', sizeof data);
  for (int i = 0; i < 400; i++)
    if (write(1, data, sizeof data) < 0)
      _exit(errno == EPIPE ? 40 : 41);
}

static void
ignore_broken(void)
{
  signal(SIGPIPE, SIG_IGN);
}

static void
own_before(void)
{
  (void)!pipe(ends);
  (void)!write(ends[1], "in the pipe", 11);
}

static void
own_inside(int round)
{
  char text[64] = {0};
  (void)!read(ends[0], text, sizeof text - 1);
  printf("%s\n", text);
  dprintf(ends[1], "from round %d", round);
}

static void
own_after(void)
{
  char text[64] = {0};
  (void)!read(ends[0], text, sizeof text - 1);
  printf("%s\n", text);
  close(ends[1]);
  printf("then the end: %zd\n", read(ends[0], text, 1));
}

static void
made_inside(int round)
{
  if (round == 0) {
    (void)!pipe2(ends, O_CLOEXEC | O_NONBLOCK);
    link_fd = dup(ends[1]);
  }
  dprintf(link_fd, "made inside, round %d;", round);
}

static void
made_after(void)
{
  char text[128] = {0};
  (void)!read(ends[0], text, sizeof text - 1);
  printf("%s\n", text);
  ssize_t got = read(ends[0], text, 1);
  printf("empty: %zd %s\n", got, strerror(errno));
}

/* A server in a process of its own, started on the device: says back what it is told, in capitals. */
static void
serve(int listener)
{
  for (;;) {
    int peer = accept(listener, NULL, NULL);
    char text[4096];
    for (ssize_t got; (got = read(peer, text, sizeof text)) > 0;) {
      for (ssize_t i = 0; i < got; i++)
        if (text[i] >= 'a' && text[i] <= 'z')
          text[i] -= 32;
      (void)!write(peer, text, got);
    }
    close(peer);
  }
}

static int
listen_local(void)
{
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 8))
    perror("listen");
  getsockname(listener, (struct sockaddr *)&address, &length);
  port = ntohs(address.sin_port);
  return listener;
}

static void
server_before(void)
{
  int listener = listen_local();
  fflush(stdout);
  server = fork();
  if (server == 0)
    serve(listener);
  close(listener);
}

static int
connect_local(void)
{
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (struct sockaddr *)&address, sizeof address))
    perror("connect");
  return fd;
}

static void
connected_before(void)
{
  server_before();
  link_fd = connect_local();
}

static void
talk(int fd, const char *text)
{
  char back[4096];
  size_t length = strlen(text), have = 0;
  send(fd, text, length, MSG_NOSIGNAL);
  for (ssize_t got; have < length && (got = recv(fd, back + have, sizeof back - 1 - have, 0)) > 0;)
    have += got;
  back[have] = 0;
  printf("%s -> %s\n", text, back);
}

static void
connected_inside(int round)
{
  struct pollfd poll_for = {.fd = link_fd, .events = POLLIN | POLLOUT};
  printf("ready %d: %x\n", poll(&poll_for, 1, 1000), poll_for.revents);
  talk(link_fd, round ? "once more" : "hello");
  char long_text[3000];
  memset(long_text, 'a' + round, sizeof long_text);
  long_text[sizeof long_text - 1] = 0;
  talk(link_fd, long_text);
  int value = 0;
  socklen_t length = sizeof value;
  printf("type %d %d\n", getsockopt(link_fd, SOL_SOCKET, SO_TYPE, &value, &length), value == SOCK_STREAM);
}

static void
server_after(void)
{
  if (link_fd >= 0)
    talk(link_fd, "after");
  kill(server, SIGKILL);
  int status;
  printf("server gone: %d\n", waitpid(server, &status, 0) == server && WIFSIGNALED(status));
}

/* Output a little at a time, for as long as something may happen to the link; what was said twice or not at
 * all shows. */
static void
tick_inside(int round)
{
  for (int i = 0; i < 25; i++) {
    unsigned long value = churn(round * 100 + i, 4000000);
    dprintf(1, "%d.%02d %016lx\n", round, i, value);
    if (i % 10 == 5) {
      int fd = open("ticks", O_WRONLY | O_CREAT | O_APPEND, 0644);
      dprintf(fd, "%d.%02d\n", round, i);
      close(fd);
    }
  }
}

/* As above, towards a server that writes down what it gets. */
static void
record(int listener)
{
  int peer = accept(listener, NULL, NULL), fd = open("received", O_WRONLY | O_CREAT | O_APPEND, 0644);
  char text[4096];
  for (ssize_t got; (got = read(peer, text, sizeof text)) > 0;) {
    (void)!write(fd, text, got);
    (void)!write(peer, text, got);
  }
  _exit(0);
}

static void
recorder_before(void)
{
  int listener = listen_local();
  fflush(stdout);
  server = fork();
  if (server == 0)
    record(listener);
  close(listener);
  link_fd = connect_local();
}

static void
send_inside(int round)
{
  char line[64], back[64];
  for (int i = 0; i < 20; i++) {
    int length = snprintf(line, sizeof line, "%d.%02d %016lx\n", round, i, churn(round * 100 + i, 4000000));
    send(link_fd, line, length, MSG_NOSIGNAL);
    if (i % 4 == 3) {
      int have = 0;
      for (ssize_t got; have < 4 * length && (got = recv(link_fd, back, sizeof back, 0)) > 0;)
        have += got;
      printf("%d bytes came back\n", have);
    }
  }
}

static void
recorder_after(void)
{
  int status = 0;
  shutdown(link_fd, SHUT_WR);
  waitpid(server, &status, 0);
  printf("the server ended with %d\n", WEXITSTATUS(status));
}

static void
connect_inside(int round)
{
  int fd = connect_local();
  talk(fd, "connected inside");
  shutdown(fd, SHUT_WR);
  char byte;
  printf("end: %zd\n", recv(fd, &byte, 1, 0));
  close(fd);
}

static void
connect_kept(int round)
{
  if (round == 0)
    link_fd = connect_local();
  talk(link_fd, "kept");
}

static void *
client(void *unused)
{
  int fd = connect_local();
  (void)!write(fd, "from a client", 13);
  char back[32] = {0};
  (void)!read(fd, back, sizeof back - 1);
  close(fd);
  return strdup(back);
}

static void
accept_inside(int round)
{
  pthread_t thread;
  void *said;
  int listener = listen_local();
  pthread_create(&thread, NULL, client, NULL);
  int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  char text[64] = {0};
  (void)!read(peer, text, sizeof text - 1);
  (void)!write(peer, "an answer", 9);
  pthread_join(thread, &said);
  printf("%s / %s\n", text, (char *)said);
  free(said);
  close(peer);
  close(listener);
}

static void
pair_before(void)
{
  socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends);
}

static void
pair_inside(int round)
{
  char text[64] = {0}, control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec part = {"a packet", 8};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  printf("sent %zd\n", sendmsg(ends[0], &message, 0));
  part = (struct iovec){text, sizeof text};
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  printf("received %zd %s\n", recvmsg(ends[1], &message, 0), text);
}

static void
datagram_inside(int round)
{
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, from;
  socklen_t length = sizeof address;
  int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
  bind(a, (struct sockaddr *)&address, sizeof address);
  getsockname(a, (struct sockaddr *)&address, &length);
  printf("sent %zd\n", sendto(b, "datagram", 8, 0, (struct sockaddr *)&address, sizeof address));
  char text[32] = {0};
  length = sizeof from;
  ssize_t got = recvfrom(a, text, sizeof text, 0, (struct sockaddr *)&from, &length);
  printf("%s %zd from %s\n", text, got, inet_ntoa(from.sin_addr));
  close(a);
  close(b);
}

/* What the block made and closed has left no number taken; how it opened a file can still be asked. */
static void
numbers_inside(int round)
{
  int made = socket(AF_INET, SOCK_DGRAM, 0), events = eventfd(0, 0);
  close(made);
  close(events);
  if (round == 1)
    ends[0] = open("/etc/passwd", O_RDONLY | O_NOFOLLOW);
  printf("made %d and %d\n", made, events);
}

static void
numbers_after(void)
{
  int next = open("/dev/null", O_RDONLY);
  printf("next %d, flags %o\n", next, (unsigned)fcntl(ends[0], F_GETFL));
}

static void
events_before(void)
{
  event = eventfd(3, EFD_NONBLOCK);
  watch = epoll_create1(0);
  (void)!pipe(ends);
  struct epoll_event want = {.events = EPOLLIN, .data.u32 = 7};
  epoll_ctl(watch, EPOLL_CTL_ADD, event, &want);
  want.data.u32 = 8;
  epoll_ctl(watch, EPOLL_CTL_ADD, ends[0], &want);
}

static void
events_inside(int round)
{
  struct epoll_event got[4];
  uint64_t value = 0;
  int count = epoll_wait(watch, got, 4, 1000);
  printf("ready %d, first %u\n", count, got[0].data.u32);
  (void)!read(event, &value, 8);
  printf("value %lu\n", (unsigned long)value);
  value = 40 + round;
  (void)!write(event, &value, 8);
}

static void
events_after(void)
{
  uint64_t value = 0;
  (void)!read(event, &value, 8);
  (void)!write(ends[1], "x", 1);
  struct epoll_event got[4];
  int count = epoll_wait(watch, got, 4, 1000);
  printf("value %lu, then %d ready: %u\n", (unsigned long)value, count, got[0].data.u32);
}

static void
events_made_inside(int round)
{
  uint64_t value = 0;
  if (round == 0)
    events_before();
  int timer = timerfd_create(CLOCK_MONOTONIC, 0);
  struct itimerspec when = {.it_value = {0, 20000000}};
  timerfd_settime(timer, 0, &when, NULL);
  (void)!read(timer, &value, 8);
  printf("timer %lu\n", (unsigned long)value);
  close(timer);
  value = 2;
  (void)!write(event, &value, 8);
}

static void
terminal_inside(int round)
{
  char line[100];
  struct winsize size = {0};
  ioctl(0, TIOCGWINSZ, &size);
  printf("terminal %d, %dx%d\nname? ", isatty(0), size.ws_col, size.ws_row);
  fflush(stdout);
  if (!fgets(line, sizeof line, stdin))
    strcpy(line, "nobody\n");
  printf("hello %s", line);
}

static void
secret_inside(int round)
{
  struct termios saved, quiet;
  char line[100] = {0};
  tcgetattr(0, &saved);
  quiet = saved;
  quiet.c_lflag &= ~(ECHO | ICANON);
  quiet.c_cc[VMIN] = 1;
  tcsetattr(0, TCSANOW, &quiet);
  dprintf(1, "secret? ");
  (void)!read(0, line, 1);
  tcsetattr(0, TCSANOW, &saved);
  dprintf(1, "\nit starts with %c\n", line[0]);
}

static volatile sig_atomic_t interrupted;

static void
on_interrupt(int number)
{
  interrupted = number;
}

static void
interrupt_before(void)
{
  struct sigaction action = {.sa_handler = on_interrupt};
  sigaction(SIGINT, &action, NULL);
}

static void
interrupt_inside(int round)
{
  interrupted = 0;
  printf("waiting %d\n", round);
  fflush(stdout);
  char byte;
  ssize_t got = read(0, &byte, 1);
  printf("read %zd %s, signal %d\n", got, got < 0 ? strerror(errno) : "", interrupted);
}

/* What it has read is read, though what it came from is closed long before the end. */
static void
close_inside(int round)
{
  static char line[64];
  if (round == 0) {
    ssize_t got = read(0, line, sizeof line - 1);
    close(0);
    printf("read %zd\n", got);
  }
  for (int i = 0; i < 12; i++) {
    struct pollfd output = {1, POLLOUT, 0};
    poll(&output, 1, 1000);
    printf("tick %d\n", i);
    fflush(stdout);
    usleep(15000);
  }
  printf("%d: it was %s", round, line);
}

const Case cases[] = {{"input", NULL, input_inside, input_rest, NULL},
                      {"whole-input", NULL, whole_input, NULL, NULL},
                      {"output", NULL, output_inside, NULL, NULL},
                      {"both", NULL, both_inside, NULL, NULL},
                      {"broken", NULL, broken_inside, NULL, NULL},
                      {"broken-ignored", ignore_broken, broken_inside, NULL, NULL},
                      {"own", own_before, own_inside, own_after, NULL},
                      {"made", NULL, made_inside, made_after, NULL},
                      {"connected", connected_before, connected_inside, server_after, NULL},
                      {"tick", NULL, tick_inside, NULL, NULL},
                      {"close", NULL, close_inside, NULL, NULL},
                      {"send", recorder_before, send_inside, recorder_after, NULL},
                      {"connect", server_before, connect_inside, server_after, NULL},
                      {"connect-kept", server_before, connect_kept, server_after, NULL},
                      {"accept", NULL, accept_inside, NULL, NULL},
                      {"pair", pair_before, pair_inside, NULL, NULL},
                      {"datagram", NULL, datagram_inside, NULL, NULL},
                      {"numbers", NULL, numbers_inside, numbers_after, NULL},
                      {"events", events_before, events_inside, events_after, NULL},
                      {"events-made", NULL, events_made_inside, events_after, NULL},
                      {"terminal", NULL, terminal_inside, NULL, NULL},
                      {"secret", NULL, secret_inside, NULL, NULL},
                      {"interrupt", interrupt_before, interrupt_inside, NULL, NULL},
                      {NULL}};
