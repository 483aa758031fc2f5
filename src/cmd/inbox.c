/* doppel inbox: what others have sent. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "c2c/send_name.h"
#include "cmd/cmd.h"
#include "cmd/friends.h"
#include "cmd/friends_rows.h"

static const char summary[] = "Lists what other users have sent to this one's clone; \"get\" brings files to "
                              "this device (all of them, unless "
                              "numbers are\nsaid), \"rm\" removes them from the clone. Nothing that is there "
                              "is overwritten: a number is added "
                              "to the name. A file is\nwhole and has the hash that its sender's clone said, "
                              "or it is not there; what was "
                              "interrupted goes on where it was.";

static const char notes[] = "Examples:\n"
                            "  doppel inbox\n"
                            "  doppel inbox get                    all of it, into this directory\n"
                            "  doppel inbox get 4 7 --to ~/Desktop --rm\n"
                            "  doppel inbox rm 5";

typedef struct {
  char *to;
  gboolean rm, json;
} Options;

static void
options_clear(Options *options)
{
  g_free(options->to);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

static gboolean
ask_remove(int fd, guint64 id, GError **error)
{
  Doppel__Send__Remove message = DOPPEL__SEND__REMOVE__INIT;
  message.id = id;
  return friends_rows_change(fd, DOPPEL__SEND__MESSAGE__WHAT_REMOVE, &message, error);
}

static gboolean
receive_content(int fd, FriendsFile *file, guint64 size, FriendsProgress *progress, GError **error)
{
  for (;;) {
    g_autoptr(SendMessage) message = send_message_receive(fd, error);
    if (!message)
      return FALSE;
    if (message->what_case == DOPPEL__SEND__MESSAGE__WHAT_END)
      return TRUE;
    if (message->what_case != DOPPEL__SEND__MESSAGE__WHAT_CHUNK ||
        message->chunk->data.len > size - file->offset)
      return friends_rows_refused(message, error);
    if (!friends_file_write(file, message->chunk->data.data, message->chunk->data.len, error))
      return FALSE;
    friends_progress_tell(file->offset, size, progress);
  }
}

static gboolean
get(int fd, const Doppel__Send__Row *row, const Options *options, GError **error)
{
  FriendsProgress progress;
  g_auto(FriendsFile) file = {0};
  g_autofree char *as = NULL;
  g_autoptr(GString) tag = g_string_new(NULL);
  const char *directory = options->to ? options->to : ".";
  Doppel__Send__Get message = DOPPEL__SEND__GET__INIT;
  for (guint i = 0; i < 16; i++)
    g_string_append_printf(tag, "%02x", row->hash.data[i]);
  if (!friends_file_begin(&file, directory, tag->str, row->size, error))
    return FALSE;
  message.id = row->id;
  message.offset = file.offset;
  if (!send_message_put(fd, DOPPEL__SEND__MESSAGE__WHAT_GET, &message, error))
    return FALSE;
  g_autoptr(SendMessage) found = send_message_receive(fd, error);
  if (!found || found->what_case != DOPPEL__SEND__MESSAGE__WHAT_FOUND)
    return found && friends_rows_refused(found, error);
  friends_progress_begin(&progress, row->name, !options->json);
  gboolean done = receive_content(fd, &file, row->size, &progress, error);
  friends_progress_end(&progress);
  g_autofree char *name = send_name_clean(row->name);
  if (!done ||
      !friends_file_finish(&file, row->hash.data, row->mode, row->mtime_ns, name, FALSE, FALSE, &as, error))
    return FALSE;
  if (!options->json)
    printf("%s%s%s\n", options->to ? options->to : "", options->to ? "/" : "", as);
  return !options->rm || ask_remove(fd, row->id, error);
}

static SendMessage *
find(GPtrArray *messages, guint64 id)
{
  for (guint i = 0; i < messages->len; i++)
    if (((SendMessage *)messages->pdata[i])->row->id == id)
      return messages->pdata[i];
  return NULL;
}

/* Those of the numbers that were said; all where none was. */
static GPtrArray *
choose(GPtrArray *messages, char **words, GError **error)
{
  g_autoptr(GPtrArray) chosen = g_ptr_array_new();
  for (guint i = 0; !*words && i < messages->len; i++)
    g_ptr_array_add(chosen, messages->pdata[i]);
  for (; *words; words++) {
    guint64 id;
    if (!friends_parse_id(*words, &id, error))
      return NULL;
    SendMessage *message = find(messages, id);
    if (!message) {
      doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "there is no item %" G_GUINT64_FORMAT " in the inbox",
                       id);
      return NULL;
    }
    g_ptr_array_add(chosen, message);
  }
  return g_steal_pointer(&chosen);
}

static gboolean
work(const char *what, char **words, const Options *options, GError **error)
{
  g_autoptr(FriendsRows) rows = friends_rows_new(FRIENDS_ROWS_INBOX);
  g_auto(Fd) fd = friends_dial(NULL, "inbox", error);
  g_autoptr(GPtrArray) messages = fd >= 0 ? friends_rows_ask(fd, error) : NULL;
  g_autoptr(GPtrArray) chosen = messages ? choose(messages, words, error) : NULL;
  gboolean good = chosen != NULL;
  for (guint i = 0; good && i < chosen->len; i++) {
    const Doppel__Send__Row *row = ((SendMessage *)chosen->pdata[i])->row;
    if (!what)
      friends_rows_add(rows, row);
    else
      good = strcmp(what, "get") == 0 ? get(fd, row, options, error) : ask_remove(fd, row->id, error);
    if (good && what && options->json)
      friends_rows_add(rows, row);
  }
  if (good && !what && !options->json && friends_rows_count(rows) == 0)
    fputs("Nothing came yet. Who may send to you, \"doppel allow USER send\" says.\n", stderr);
  if (good)
    friends_rows_print(rows, options->json);
  return good;
}

int
cmd_inbox(int argc, char **argv)
{
  g_auto(Options) options = {0};
  const GOptionEntry entries[] = {
      {"to", 0, 0, G_OPTION_ARG_FILENAME, &options.to, "get: into this directory", "DIR"},
      {"rm", 0, 0, G_OPTION_ARG_NONE, &options.rm, "get: remove it from the clone when it is here", NULL},
      {"json", 0, 0, G_OPTION_ARG_NONE, &options.json, "Print JSON", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("[get [ID...] | rm ID...]");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, entries, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, G_MAXINT))
    return 2;
  const char *what = argc > 1 ? argv[1] : NULL;
  gboolean is_get = what && strcmp(what, "get") == 0, is_rm = what && strcmp(what, "rm") == 0;
  if ((what && !is_get && !is_rm) || (is_rm && argc < 3) || ((options.to || options.rm) && !is_get)) {
    fputs("doppel inbox: write \"doppel inbox\", \"doppel inbox get [ID...] [--to DIR] [--rm]\" or \"doppel "
          "inbox rm "
          "ID...\".\n",
          stderr);
    return 2;
  }
  g_autoptr(GError) error = NULL;
  return work(what, argv + MIN(argc, 2), &options, &error) ? 0 : cmd_fail("inbox", error);
}
