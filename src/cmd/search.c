/* doppel search: in what friends share. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "c2c/share_message.h"
#include "cmd/clone_store.h"
#include "cmd/cmd.h"
#include "cmd/friends.h"

static const char summary[] =
    "Asks the clones of all contacts at once what they share that has these words, all of them, in its path "
    "or its "
    "text, and prints\nwhat is found as it comes; of each clone the best first. Who is away keeps nobody "
    "waiting; who did "
    "not answer is said at\nthe end. Quotes keep words together, a * stands for the rest of a word.";

static const char notes[] = "Examples:\n"
                            "  doppel search apple pie\n"
                            "  doppel search '\"apple pie\"' 'recip*'\n"
                            "  doppel search --on bob --on carol --limit 5 apple\n"
                            "  doppel get bob Recipes/pie.txt          what was found\n"
                            "\n"
                            "They have to allow it: bob$ doppel allow alice search";

typedef struct {
  char **on;
  int limit;
  double wait;
  gboolean json;
} Options;

typedef struct {
  const Options *options;
  guint hits, answers;
  GPtrArray *silent; /* who did not answer, and why */
} Output;

/* Nothing of another user's steers the terminal: the message's texts have no control characters. */
static void
print_hit(Output *output, const Doppel__Share__Hit *hit)
{
  g_autofree char *size = clone_store_size(hit->size);
  gboolean terminal = isatty(STDOUT_FILENO);
  printf("%s%s  %s%s  (%s)\n", terminal ? "\033[1m" : "", hit->user, hit->path, terminal ? "\033[0m" : "",
         size);
  if (hit->snippet[0])
    printf("    %s\n", hit->snippet);
}

static void
print_hit_json(Output *output, const Doppel__Share__Hit *hit)
{
  g_autoptr(GString) json = g_string_new(output->hits ? ",\n {\"user\": " : "\n {\"user\": ");
  g_autofree char *time = clone_store_time(hit->mtime_ns, TRUE);
  char rank[G_ASCII_DTOSTR_BUF_SIZE];
  json_append_string(json, hit->user);
  g_string_append(json, ", \"path\": ");
  json_append_string(json, hit->path);
  g_string_append_printf(json, ", \"bytes\": %" G_GUINT64_FORMAT ", \"modified\": ", hit->size);
  json_append_string(json, time);
  g_string_append_printf(json, ", \"rank\": %s, \"text\": ", g_ascii_dtostr(rank, sizeof rank, hit->rank));
  json_append_string(json, hit->snippet);
  fputs(g_string_append_c(json, '}')->str, stdout);
}

static void
take_hit(Output *output, const Doppel__Share__Hit *hit)
{
  if (output->options->json)
    print_hit_json(output, hit);
  else
    print_hit(output, hit);
  fflush(stdout);
  output->hits++;
}

static void
take_end(Output *output, const Doppel__Share__Peer *peer)
{
  if (peer->done)
    output->answers++;
  else
    g_ptr_array_add(output->silent, g_strdup_printf("%s: %s", peer->user, peer->words));
}

static gboolean
ask(int fd, const char *words, const Options *options, GError **error)
{
  Doppel__Share__Query query = DOPPEL__SHARE__QUERY__INIT;
  query.words = (char *)words;
  query.limit = options->limit;
  query.user = options->on;
  query.n_user = options->on ? g_strv_length(options->on) : 0;
  query.wait_ms = options->wait * 1000;
  return share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_QUERY, &query, error);
}

static gboolean
take_all(int fd, Output *output, GError **error)
{
  for (;;) {
    g_autoptr(ShareMessage) message = share_message_receive(fd, error);
    if (!message)
      return FALSE;
    switch (message->what_case) {
    case DOPPEL__SHARE__MESSAGE__WHAT_HIT:
      take_hit(output, message->hit);
      break;
    case DOPPEL__SHARE__MESSAGE__WHAT_PEER:
      take_end(output, message->peer);
      break;
    case DOPPEL__SHARE__MESSAGE__WHAT_END:
      return TRUE;
    case DOPPEL__SHARE__MESSAGE__WHAT_FAILED:
      return share_message_failed(message->failed, error);
    default:
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone's answer is none");
    }
  }
}

static void
print_end(const Output *output)
{
  for (guint i = 0; i < output->silent->len; i++)
    fprintf(stderr, "doppel search: %s\n", (const char *)output->silent->pdata[i]);
  if (output->hits == 0 && output->answers > 0)
    fprintf(stderr, "Nothing was found; %u answered.\n", output->answers);
  if (output->answers == 0 && output->silent->len == 0)
    fputs("There is nobody to ask: \"doppel allow USER SERVICE\" makes somebody a contact.\n", stderr);
}

static gboolean
search(char **words, const Options *options, GError **error)
{
  g_autofree char *joined = g_strjoinv(" ", words);
  g_autoptr(GPtrArray) silent = g_ptr_array_new_with_free_func(g_free);
  Output output = {.options = options, .silent = silent};
  g_auto(Fd) fd = friends_dial(NULL, "search-all", error);
  if (fd < 0 || !ask(fd, joined, options, error))
    return FALSE;
  if (options->json)
    fputc('[', stdout);
  gboolean good = take_all(fd, &output, error);
  if (options->json)
    puts(output.hits ? "\n]" : "]");
  print_end(&output);
  return good;
}

int
cmd_search(int argc, char **argv)
{
  Options options = {0};
  const GOptionEntry entries[] = {
      {"on", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.on, "Only at this user's (may be repeated)", "USER"},
      {"limit", 'l', 0, G_OPTION_ARG_INT, &options.limit, "At most so many of each (50)", "N"},
      {"wait", 'w', 0, G_OPTION_ARG_DOUBLE, &options.wait, "So long for those who do not answer (5)",
       "SECONDS"},
      {"json", 0, 0, G_OPTION_ARG_NONE, &options.json, "Print JSON", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("WORD...");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, entries, NULL);
  if (!cmd_parse(context, &argc, &argv, 1, G_MAXINT))
    return 2;
  g_autoptr(GError) error = NULL;
  if (options.limit < 0 || options.limit > (int)SHARE_LIMIT_MOST)
    doppel_error_set(&error, DOPPEL_ERROR_USAGE, "--limit takes a number up to %u", SHARE_LIMIT_MOST);
  else if (!(options.wait >= 0 && options.wait <= SHARE_WAIT_MOST / 1000))
    doppel_error_set(&error, DOPPEL_ERROR_USAGE, "--wait takes up to %u seconds", SHARE_WAIT_MOST / 1000);
  gboolean good = !error && search(argv + 1, &options, &error);
  g_strfreev(options.on);
  return good ? 0 : cmd_fail("search", error);
}
