/* The other end of a remote call: does what work.h offers for callers, one after the other.
 *
 * rpc_server HOST:PORT KEYS */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>

#include "programs/rpc_link.h"
#include "programs/work.h"

static void
serve_picture(Link *link, const Bench__Picture *asked)
{
  g_autofree guint8 *data = g_malloc(WORK_THUMBNAIL_MAX);
  Bench__Picture thumbnail = BENCH__PICTURE__INIT;
  Bench__Answer answer = BENCH__ANSWER__INIT;
  thumbnail.jpeg.data = data;
#ifdef WITH_PICTURE
  thumbnail.jpeg.len = work_picture(asked->jpeg.data, asked->jpeg.len, data, WORK_THUMBNAIL_MAX);
#endif
  answer.result_case = BENCH__ANSWER__RESULT_THUMBNAIL;
  answer.thumbnail = &thumbnail;
  rpc_send(link, &answer.base);
}

typedef guint QueryFunction(gint64 low, gint64 high, gint64 modulus, WorkGroup *groups);

static void
serve_query(Link *link, const Bench__Query *asked, QueryFunction *query)
{
  WorkGroup groups[WORK_GROUPS_MAX];
  gint64 columns[3][WORK_GROUPS_MAX];
  Bench__Groups found = BENCH__GROUPS__INIT;
  Bench__Answer answer = BENCH__ANSWER__INIT;
  guint count = query(asked->low, asked->high, asked->modulus, groups);
  for (guint i = 0; i < count; i++) {
    columns[0][i] = groups[i].key;
    columns[1][i] = groups[i].count;
    columns[2][i] = groups[i].sum;
  }
  found.n_key = found.n_count = found.n_sum = count;
  found.key = columns[0];
  found.count = columns[1];
  found.sum = columns[2];
  answer.result_case = BENCH__ANSWER__RESULT_GROUPS;
  answer.groups = &found;
  rpc_send(link, &answer.base);
}

static void
serve_search(Link *link, const Bench__Search *asked)
{
  Bench__Move move = BENCH__MOVE__INIT;
  Bench__Answer answer = BENCH__ANSWER__INIT;
  WorkMove found = work_search(&(WorkBoard){asked->own, asked->both}, asked->depth);
  move.column = found.column;
  move.score = found.score;
  move.boards = found.boards;
  answer.result_case = BENCH__ANSWER__RESULT_MOVE;
  answer.move = &move;
  rpc_send(link, &answer.base);
}

/* FALSE at the end, or for what nobody could have meant. */
static gboolean
serve_one(Link *link)
{
  g_autoptr(LinkMessage) message = rpc_receive(link);
  Bench__Request *request = message ? bench__request__unpack(NULL, message->length, message->data) : NULL;
  gboolean known = TRUE;
  switch (request ? request->call_case : BENCH__REQUEST__CALL__NOT_SET) {
  case BENCH__REQUEST__CALL_PICTURE:
    serve_picture(link, request->picture);
    break;
  case BENCH__REQUEST__CALL_QUERY:
    serve_query(link, request->query, work_query);
    break;
  case BENCH__REQUEST__CALL_SORT:
    serve_query(link, request->sort, work_sort);
    break;
  case BENCH__REQUEST__CALL_SEARCH:
    serve_search(link, request->search);
    break;
  default:
    known = FALSE;
  }
  if (request)
    bench__request__free_unpacked(request, NULL);
  return known;
}

static int
listen_at(const char *text)
{
  struct sockaddr_in address = {.sin_family = AF_INET};
  g_auto(GStrv) parts = g_strsplit(text, ":", 2);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (!parts[0] || !parts[1] || inet_pton(AF_INET, parts[0], &address.sin_addr) != 1)
    g_error("no address: %s", text);
  address.sin_port = htons((guint16)atoi(parts[1]));
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 4) != 0)
    g_error("cannot listen on %s: %s", text, g_strerror(errno));
  return fd;
}

int
main(int argc, char **argv)
{
  if (argc != 3) {
    fprintf(stderr, "usage: rpc_server HOST:PORT KEYS\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  int listener = listen_at(argv[1]);
  work_query_open();
  puts("ready");
  fflush(stdout);
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
      g_error("accept: %s", g_strerror(errno));
    g_autoptr(Link) link = rpc_accept(fd, argv[2]);
    while (serve_one(link))
      continue;
  }
}
