/* What bench/search runs: the friends, clones that share synthetic files, each with a real node in a process
 * of its own; and the one who asks, with another node, perhaps in another network namespace. Both take
 * commands on standard input, a line each, and answer each by a line.
 *
 *   c2c_search friends --folder DIR --directory ADDRESS=KEY [--clones N] [--files N] [--net A.B.C]
 *     stop N     friend N's host ends: nobody listens at its address
 *     start N    it is there again
 *   c2c_search asker --folder DIR --directory ADDRESS=KEY [--clones N]
 *     restart    a new node: no link to anybody
 *     ask MS WORDS...   as "doppel search --wait" does; a JSON object */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/io.h"
#include "c2c/services.h"
#include "c2c/share_index.h"
#include "c2c/share_message.h"
#include "light_clone.h"
#include "store_maker.h"

#define VOCABULARY   20000
#define WORDS        100 /* of a file */
#define SEED         5
#define PORT         7499
#define FIRST_HOST   10 /* friend 0's address is NET.10 */
#define LIMIT        10 /* hits of each friend */
#define NEEDLE       "needle"
#define SETTLE_US    500000 /* a node that has just begun registers anew */
#define CLONES_MOST  200
#define ASKER_NUMBER 100000

static int clones = 50, files = 200000;
static char *folder = NULL, *directory_text = NULL, *net = NULL;
static GPtrArray *places; /* of DirectoryPlace */

static const GOptionEntry options[] = {
    {"clones", 'n', 0, G_OPTION_ARG_INT, &clones, "How many friends (50)", "N"},
    {"files", 'f', 0, G_OPTION_ARG_INT, &files, "That they share in all (200000)", "N"},
    {"folder", 0, 0, G_OPTION_ARG_FILENAME, &folder, "Where clones keep what they have", "DIRECTORY"},
    {"directory", 0, 0, G_OPTION_ARG_STRING, &directory_text, "Where they register", "ADDRESS=KEY"},
    {"net", 0, 0, G_OPTION_ARG_STRING, &net, "Of the friends' addresses (127.0.0)", "A.B.C"},
    {NULL},
};

static char *
friend_name(guint number)
{
  return g_strdup_printf("friend%u", number);
}

/* ---- what they share ---- */

/* Word n of a language in which the first ones are frequent (Zipf). */
static void
append_word(GString *text, GRand *random)
{
  guint n = (guint)pow(VOCABULARY, g_rand_double(random));
  g_string_append_printf(text, "w%u%c ", n, 'a' + n % 7);
}

static void
fill(const LightClone *clone, guint count)
{
  StoreMaker *maker = store_maker_new(clone->store);
  g_autoptr(GRand) random = g_rand_new_with_seed(SEED + clone->number);
  g_autoptr(GString) text = g_string_new(NULL);
  store_maker_directory(maker, "d");
  for (guint i = 0; i < count; i++) {
    g_autofree char *path = g_strdup_printf("d/%s-%u.txt", clone->name, i);
    g_string_truncate(text, 0);
    for (guint k = 0; k < WORDS; k++)
      append_word(text, random);
    if (clone->number == (guint)clones * 2 / 3 && i == count / 2)
      g_string_append(text, NEEDLE); /* the only file of all that has it */
    store_maker_file(maker, path, text->str, text->len, 0, i);
  }
  store_maker_commit(maker);
  store_maker_free(maker);
}

/* TRUE where it had to be made. */
static gboolean
prepare(const LightClone *clone, guint count)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(ShareIndex) index = share_index_open(clone->place, &error);
  g_autoptr(GPtrArray) shares = index ? share_index_list(index, &error) : NULL;
  if (!shares)
    g_error("%s", error->message);
  if (shares->len == 1 && ((Share *)shares->pdata[0])->files == count)
    return FALSE;
  if (shares->len > 0)
    g_error("%s has something else already", clone->place);
  fill(clone, count);
  g_auto(Fd) store = open(clone->store, O_RDONLY | O_DIRECTORY);
  if (!share_index_add(index, "d", "d", FALSE, NULL, &error) ||
      !share_index_update(index, store, NULL, &error))
    g_error("%s", error->message);
  return TRUE;
}

/* ---- friends ---- */

static void
start_friend(LightClone *clone)
{
  light_clone_start(clone, services, services_tasks);
  light_clone_bind(clone, places);
  light_clone_permit(clone, "*", "search");
}

static int
be_friends(void)
{
  LightClone *all[CLONES_MOST];
  char line[64];
  guint made = 0;
  for (guint i = 0; i < (guint)clones; i++) {
    g_autofree char *name = friend_name(i);
    g_autofree char *address = g_strdup_printf("%s.%u:%d", net ? net : "127.0.0", FIRST_HOST + i, PORT);
    all[i] = light_clone_new(folder, i, name, address);
    made += prepare(all[i], files / clones);
  }
  for (guint i = 0; i < (guint)clones; i++)
    start_friend(all[i]);
  printf("ready %d clones %d files %u made\n", clones, files / clones * clones, made);
  fflush(stdout);
  while (fgets(line, sizeof line, stdin)) {
    guint number;
    if (sscanf(line, "stop %u", &number) == 1 && number < (guint)clones)
      light_clone_stop(all[number]);
    else if (sscanf(line, "start %u", &number) == 1 && number < (guint)clones)
      start_friend(all[number]);
    else
      g_error("what is \"%s\"?", g_strchomp(line));
    puts("done");
    fflush(stdout);
  }
  for (guint i = 0; i < (guint)clones; i++)
    light_clone_free(all[i]);
  return 0;
}

/* ---- who asks ---- */

typedef struct {
  gint64 begun, first, last, end; /* us */
  guint hits, answered;
  GString *silent; /* JSON */
} Asked;

static void
take(Asked *asked, const ShareMessage *message)
{
  gint64 now = g_get_monotonic_time() - asked->begun;
  switch (message->what_case) {
  case DOPPEL__SHARE__MESSAGE__WHAT_HIT:
    asked->first = asked->hits++ == 0 ? now : asked->first;
    asked->last = now;
    break;
  case DOPPEL__SHARE__MESSAGE__WHAT_PEER:
    asked->answered += message->peer->done;
    if (!message->peer->done)
      g_string_append_printf(asked->silent, "%s\"%s\"", asked->silent->len ? ", " : "", message->peer->user);
    break;
  case DOPPEL__SHARE__MESSAGE__WHAT_END:
    asked->end = now;
    break;
  default:
    g_error("an answer to a search is none: %s",
            message->what_case == DOPPEL__SHARE__MESSAGE__WHAT_FAILED ? message->failed->words : "?");
  }
}

static void
ask(LightClone *me, guint wait_ms, const char *words)
{
  Asked asked = {.begun = g_get_monotonic_time(), .silent = g_string_new(NULL)};
  Doppel__Share__Query query = DOPPEL__SHARE__QUERY__INIT;
  query.words = (char *)words;
  query.limit = LIMIT;
  query.wait_ms = wait_ms;
  g_auto(Fd) fd = light_clone_dial(me, "", "search-all");
  share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_QUERY, &query, NULL);
  while (asked.end == 0) {
    g_autoptr(ShareMessage) message = share_message_receive(fd, NULL);
    if (!message)
      g_error("the search broke off");
    take(&asked, message);
  }
  printf("{\"first_us\": %" G_GINT64_FORMAT ", \"last_us\": %" G_GINT64_FORMAT
         ", \"end_us\": %" G_GINT64_FORMAT ", \"hits\": %u, \"answered\": %u, \"silent\": [%s]}\n",
         asked.first, asked.last, asked.end, asked.hits, asked.answered, asked.silent->str);
  g_string_free(asked.silent, TRUE);
}

static int
be_asker(void)
{
  char line[1024];
  LightClone *me = light_clone_new(folder, ASKER_NUMBER, "asker", NULL);
  light_clone_start(me, services, NULL);
  light_clone_bind(me, places);
  for (guint i = 0; i < (guint)clones; i++) {
    g_autofree char *name = friend_name(i);
    light_clone_permit(me, name, "message:hello"); /* a contact */
  }
  puts("ready");
  fflush(stdout);
  while (fgets(line, sizeof line, stdin)) {
    g_strchomp(line);
    char *end;
    if (g_str_equal(line, "restart")) {
      light_clone_stop(me);
      light_clone_start(me, services, NULL);
      g_usleep(SETTLE_US);
      puts("done");
    } else if (g_str_has_prefix(line, "ask ")) {
      guint wait_ms = strtoul(line + strlen("ask "), &end, 10);
      ask(me, wait_ms, g_strchug(end));
    } else {
      g_error("what is \"%s\"?", line);
    }
    fflush(stdout);
  }
  light_clone_free(me);
  return 0;
}

int
main(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new("friends|asker - see bench/search");
  g_option_context_add_main_entries(context, options, NULL);
  if (!g_option_context_parse(context, &argc, &argv, &error))
    g_error("%s", error->message);
  if (argc != 2 || !folder || !directory_text || clones < 1 || clones > CLONES_MOST || files < clones)
    g_error("usage: c2c_search friends|asker --folder DIR --directory ADDRESS=KEY");
  struct rlimit most;
  getrlimit(RLIMIT_NOFILE, &most);
  most.rlim_cur = most.rlim_max;
  setrlimit(RLIMIT_NOFILE, &most);
  signal(SIGPIPE, SIG_IGN);
  places = g_ptr_array_new();
  DirectoryPlace *place = directory_place_parse(directory_text, &error);
  if (!place)
    g_error("%s", error->message);
  g_ptr_array_add(places, place);
  return g_str_equal(argv[1], "friends") ? be_friends() : be_asker();
}
