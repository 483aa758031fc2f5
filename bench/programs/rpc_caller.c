/* A program that calls one of the functions of work.h again and again, each time with other arguments: as it
 * is (natively, or off-loaded by who watches it), or by a remote call to rpc_server.
 *
 * rpc_caller picture|query|sort|search CALLS [HOST:PORT KEYS]
 * prints a line a call: nanoseconds, and the bytes on the wire of a remote call; at last a digest of all
 * results. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "programs/rpc_link.h"
#include "programs/work.h"

enum { CALLS_MAX = 1000, SEARCH_DEPTH = 14, SEARCH_MOVES = 4, ROOM = 65536 };
G_STATIC_ASSERT(ROOM >= WORK_THUMBNAIL_MAX && ROOM >= WORK_GROUPS_MAX * sizeof(WorkGroup));

/* The arguments of all calls are there before the first, the results after each: neither is in the time
 * taken. */
typedef struct {
  const char *name;
  void (*prepare)(guint calls);
  void (*argue)(guint call);
  gsize (*here)(void);                            /* the bytes in `result` */
  void (*ask)(Link *link);                        /* sends the arguments */
  gsize (*answered)(const Bench__Answer *answer); /* as here() */
} Work;

static guint8 *result;

/* Pictures, as a camera gives one after the other into the same memory. */

static guint8 *picture;
static gsize picture_length;
static GPtrArray *pictures; /* GBytes */

#ifdef WITH_PICTURE
static void
picture_prepare(guint calls)
{
  picture = g_malloc0(WORK_JPEG_MAX);
  pictures = g_ptr_array_new();
  for (guint call = 0; call < calls; call++) {
    gsize length = work_picture_make(call + 1, picture);
    g_ptr_array_add(pictures, g_bytes_new(picture, length));
  }
}

static gsize
picture_here(void)
{
  return work_picture(picture, picture_length, result, WORK_THUMBNAIL_MAX);
}
#else
static void
picture_prepare(guint calls)
{
  fprintf(stderr, "rpc_caller: built without libjpeg\n");
  exit(77);
}

static gsize
picture_here(void)
{
  return 0;
}
#endif

static void
picture_argue(guint call)
{
  gconstpointer data = g_bytes_get_data(pictures->pdata[call], &picture_length);
  if (picture) /* without libjpeg there is none, and nobody comes here */
    memcpy(picture, data, picture_length);
}

static void
picture_ask(Link *link)
{
  Bench__Picture asked = BENCH__PICTURE__INIT;
  Bench__Request request = BENCH__REQUEST__INIT;
  asked.jpeg = (ProtobufCBinaryData){picture_length, picture};
  request.call_case = BENCH__REQUEST__CALL_PICTURE;
  request.picture = &asked;
  rpc_send(link, &request.base);
}

static gsize
picture_answered(const Bench__Answer *answer)
{
  if (answer->result_case != BENCH__ANSWER__RESULT_THUMBNAIL || answer->thumbnail->jpeg.len > ROOM)
    return 0;
  memcpy(result, answer->thumbnail->jpeg.data, answer->thumbnail->jpeg.len);
  return answer->thumbnail->jpeg.len;
}

/* Queries. */

static gint64 low, high, modulus;

static void
query_prepare(guint calls)
{
  work_query_open();
}

static void
query_argue(guint call)
{
  low = 100 + 7 * call;
  high = 3900 - 3 * call;
  modulus = 11 + call % 13;
}

static gsize
query_here(void)
{
  return work_query(low, high, modulus, (WorkGroup *)result) * sizeof(WorkGroup);
}

static gsize
sort_here(void)
{
  return work_sort(low, high, modulus, (WorkGroup *)result) * sizeof(WorkGroup);
}

static void
queries_ask(Link *link, Bench__Request__CallCase which)
{
  Bench__Query asked = BENCH__QUERY__INIT;
  Bench__Request request = BENCH__REQUEST__INIT;
  asked.low = low;
  asked.high = high;
  asked.modulus = modulus;
  request.call_case = which;
  request.query = &asked; /* `sort` is the same member of the union, and of the same type */
  rpc_send(link, &request.base);
}

static void
query_ask(Link *link)
{
  queries_ask(link, BENCH__REQUEST__CALL_QUERY);
}

static void
sort_ask(Link *link)
{
  queries_ask(link, BENCH__REQUEST__CALL_SORT);
}

static gsize
query_answered(const Bench__Answer *answer)
{
  const Bench__Groups *found = answer->groups;
  if (answer->result_case != BENCH__ANSWER__RESULT_GROUPS || found->n_key > WORK_GROUPS_MAX ||
      found->n_count != found->n_key || found->n_sum != found->n_key)
    return 0;
  for (gsize i = 0; i < found->n_key; i++)
    ((WorkGroup *)result)[i] = (WorkGroup){found->key[i], found->count[i], found->sum[i]};
  return found->n_key * sizeof(WorkGroup);
}

/* Searches. */

static WorkBoard board;

static void
search_prepare(guint calls)
{
}

static void
search_argue(guint call)
{
  board = work_search_begin(call + 1, SEARCH_MOVES);
}

static gsize
search_here(void)
{
  *(WorkMove *)result = work_search(&board, SEARCH_DEPTH);
  return sizeof(WorkMove);
}

static void
search_ask(Link *link)
{
  Bench__Search asked = BENCH__SEARCH__INIT;
  Bench__Request request = BENCH__REQUEST__INIT;
  asked.own = board.own;
  asked.both = board.both;
  asked.depth = SEARCH_DEPTH;
  request.call_case = BENCH__REQUEST__CALL_SEARCH;
  request.search = &asked;
  rpc_send(link, &request.base);
}

static gsize
search_answered(const Bench__Answer *answer)
{
  if (answer->result_case != BENCH__ANSWER__RESULT_MOVE)
    return 0;
  *(WorkMove *)result = (WorkMove){answer->move->column, answer->move->score, answer->move->boards};
  return sizeof(WorkMove);
}

static const Work works[] = {
    {"picture", picture_prepare, picture_argue, picture_here, picture_ask, picture_answered},
    {"query", query_prepare, query_argue, query_here, query_ask, query_answered},
    {"sort", query_prepare, query_argue, sort_here, sort_ask, query_answered},
    {"search", search_prepare, search_argue, search_here, search_ask, search_answered},
    {NULL},
};

static gsize
remotely(const Work *work, Link *link)
{
  work->ask(link);
  g_autoptr(LinkMessage) message = rpc_receive(link);
  Bench__Answer *answer = message ? bench__answer__unpack(NULL, message->length, message->data) : NULL;
  if (!answer)
    g_error("no answer to a remote call");
  gsize length = work->answered(answer);
  bench__answer__free_unpacked(answer, NULL);
  return length;
}

static guint64
wire_bytes(Link *link)
{
  const LinkCounters *counters = link ? link_counters(link) : NULL;
  return counters ? counters->bytes_sent + counters->bytes_received : 0;
}

static void
call_all(const Work *work, guint calls, Link *link)
{
  g_autoptr(GChecksum) digest = g_checksum_new(G_CHECKSUM_SHA256);
  g_autofree gint64 *took = g_new0(gint64, calls);
  g_autofree guint64 *bytes = g_new0(guint64, calls);
  for (guint call = 0; call < calls; call++) {
    work->argue(call);
    guint64 before = wire_bytes(link);
    gint64 start = clock_now_ns();
    gsize length = link ? remotely(work, link) : work->here();
    took[call] = clock_now_ns() - start;
    bytes[call] = wire_bytes(link) - before;
    if (!length)
      g_error("call %u of %s has no result", call, work->name);
    g_checksum_update(digest, result, length);
  }
  for (guint call = 0; call < calls; call++)
    printf("%" G_GINT64_FORMAT " %" G_GUINT64_FORMAT "\n", took[call], bytes[call]);
  printf("%s\n", g_checksum_get_string(digest));
}

int
main(int argc, char **argv)
{
  const Work *work = works;
  int calls = argc == 3 || argc == 5 ? atoi(argv[2]) : 0;
  while (calls && work->name && !g_str_equal(work->name, argv[1]))
    work++;
  if (calls < 1 || calls > CALLS_MAX || !work->name) {
    fprintf(stderr, "usage: rpc_caller picture|query|sort|search CALLS [HOST:PORT KEYS]\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  result = g_malloc0(ROOM);
  work->prepare((guint)calls);
  g_autoptr(Link) link = argc == 5 ? rpc_dial(argv[3], argv[4]) : NULL;
  call_all(work, (guint)calls, link);
  g_free(result);
  return 0;
}
