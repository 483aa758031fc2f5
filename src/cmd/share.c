/* doppel share, unshare, shares: directories that others may search and fetch from. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "c2c/share_message.h"
#include "cmd/clone_store.h"
#include "cmd/cmd.h"
#include "cmd/friends.h"
#include "cmd/table.h"
#include "identity/paired.h"
#include "replicator/clone_index.h"

static const char share_summary[] = "Lets others search in these directories, and get files from them: those "
                                    "whom you allow it. What they see is "
                                    "what your clone\nhas of them, as of the last synchronisation, also "
                                    "while this device is off. Names that begin with "
                                    "'.' are not shared unless\nyou say so; symbolic links never are.";

static const char share_notes[] =
    "Examples:\n"
    "  doppel share ~/Recipes\n"
    "  doppel share --name papers --exclude '*.tmp' --exclude drafts/private ~/Work/Papers\n"
    "  doppel allow bob search              and who may search there\n"
    "  doppel allow bob fetch               and get what is found\n"
    "  doppel shares                        what is shared, and since when it can be found";

static const char unshare_summary[] = "Lets nobody search in, or get from, these shared directories any "
                                      "more: from now on. The names are those that "
                                      "\"doppel shares\" lists.";

static const char unshare_notes[] = "Examples:\n"
                                    "  doppel unshare Recipes\n"
                                    "  doppel unshare --all";

static const char shares_summary[] = "Lists the directories that are shared: the name that others see, what "
                                     "can be found in it, and of which generation "
                                     "of this\ndevice's files that is.";

static const char shares_notes[] = "Example:\n"
                                   "  doppel shares --json";

static const TableColumn columns[] = {
    {"NAME", "name"},
    {"DIRECTORY", "directory"},
    {"FILES", "files", TABLE_NUMBER},
    {"SIZE", NULL, TABLE_NUMBER},
    {NULL, "bytes", TABLE_NUMBER},
    {"GENERATION", "generation", TABLE_NUMBER},
    {"", "note"},
    {NULL, "hidden", TABLE_BOOLEAN},
    {NULL, "exclude"},
};

/* The root of what the clone has a copy of; "/" where nothing is paired that says otherwise. */
static char *
replicated_root(const char *clone, GError **error)
{
  g_autoptr(PairedClone) paired = paired_find(clone, error);
  g_autofree char *directory = paired ? clone_store_directory(paired->name) : NULL;
  return directory ? clone_index_root(directory) : NULL;
}

static gboolean
take_answer(ShareMessage *answer, Doppel__Share__Message__WhatCase wanted, GError **error)
{
  if (answer->what_case == wanted)
    return TRUE;
  if (answer->what_case == DOPPEL__SHARE__MESSAGE__WHAT_FAILED)
    return share_message_failed(answer->failed, error);
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone's answer is none");
}

/* ---- share ---- */

typedef struct {
  char *name, *clone;
  char **exclude;
  gboolean hidden;
} Options;

static void
options_clear(Options *options)
{
  g_free(options->name);
  g_free(options->clone);
  g_strfreev(options->exclude);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

static gboolean
check_options(const Options *options, int count, GError **error)
{
  if (options->name && count > 1)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "--name is for one directory");
  if (options->name && !share_name_is_good(options->name))
    return doppel_error_set(
        error, DOPPEL_ERROR_USAGE,
        "--name takes up to %d bytes without '/' and control characters, not beginning with '.'",
        SHARE_NAME_MAX);
  for (char **pattern = options->exclude; pattern && *pattern; pattern++)
    if (!**pattern || strlen(*pattern) > SHARE_PATTERN_MAX || strchr(*pattern, '\n'))
      return doppel_error_set(error, DOPPEL_ERROR_USAGE, "--exclude takes a pattern like '*.tmp'");
  return TRUE;
}

static gboolean
share_one(int fd, const char *root, const char *word, const Options *options, GError **error)
{
  struct stat status;
  Doppel__Share__Share message = DOPPEL__SHARE__SHARE__INIT;
  if (stat(word, &status) < 0 || !S_ISDIR(status.st_mode))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "%s is no directory", word);
  /* What is named through a symbolic link is meant: what it leads to is what the clone has. */
  g_autofree char *real = realpath(word, NULL);
  g_autofree char *path = clone_store_path(root, real ? real : word, error);
  if (!path)
    return FALSE;
  message.path = (ProtobufCBinaryData){strlen(path), (guint8 *)path};
  message.hidden = options->hidden;
  if (options->name)
    message.name = options->name;
  message.exclude = options->exclude;
  message.n_exclude = options->exclude ? g_strv_length(options->exclude) : 0;
  if (!share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_SHARE, &message, error))
    return FALSE;
  g_autoptr(ShareMessage) row = share_message_receive(fd, error);
  if (!row || !take_answer(row, DOPPEL__SHARE__MESSAGE__WHAT_ROW, error))
    return FALSE;
  g_autoptr(ShareMessage) end = share_message_receive(fd, error);
  if (!end || !take_answer(end, DOPPEL__SHARE__MESSAGE__WHAT_END, error))
    return FALSE;
  printf("%s is shared as %s\n", word, row->row->name);
  return TRUE;
}

int
cmd_share(int argc, char **argv)
{
  g_auto(Options) options = {0};
  const GOptionEntry entries[] = {
      {"name", 'n', 0, G_OPTION_ARG_STRING, &options.name,
       "What others call it; otherwise as the directory is called", "NAME"},
      {"exclude", 'x', 0, G_OPTION_ARG_STRING_ARRAY, &options.exclude,
       "Not what has such a name, or such a path below it (may be repeated)", "PATTERN"},
      {"hidden", 0, 0, G_OPTION_ARG_NONE, &options.hidden, "Names that begin with '.', too", NULL},
      {"clone", 'c', 0, G_OPTION_ARG_STRING, &options.clone,
       "Of this clone's copy; needed where there are several", "NAME"},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("DIRECTORY...");
  g_option_context_set_summary(context, share_summary);
  g_option_context_set_description(context, share_notes);
  g_option_context_add_main_entries(context, entries, NULL);
  if (!cmd_parse(context, &argc, &argv, 1, G_MAXINT))
    return 2;
  g_autoptr(GError) error = NULL;
  g_autofree char *root =
      check_options(&options, argc - 1, &error) ? replicated_root(options.clone, &error) : NULL;
  g_auto(Fd) fd = root ? friends_dial(NULL, "shares", &error) : -1;
  gboolean good = fd >= 0;
  for (int i = 1; good && i < argc; i++)
    good = share_one(fd, root, argv[i], &options, &error);
  return good ? 0 : cmd_fail("share", error);
}

/* ---- what is shared ---- */

/* All rows: of ShareMessage. */
static GPtrArray *
ask_rows(int fd, GError **error)
{
  Doppel__Share__List list = DOPPEL__SHARE__LIST__INIT;
  g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)share_message_free);
  if (!share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_LIST, &list, error))
    return NULL;
  for (;;) {
    g_autoptr(ShareMessage) message = share_message_receive(fd, error);
    if (!message)
      return NULL;
    if (message->what_case == DOPPEL__SHARE__MESSAGE__WHAT_END)
      return g_steal_pointer(&rows);
    if (!take_answer(message, DOPPEL__SHARE__MESSAGE__WHAT_ROW, error))
      return NULL;
    g_ptr_array_add(rows, g_steal_pointer(&message));
  }
}

static void
add_row(Table *table, const Doppel__Share__Row *row)
{
  g_autofree char *path = g_strdup_printf("/%.*s", (int)row->path.len, (const char *)row->path.data);
  g_autofree char *files = g_strdup_printf("%" G_GUINT64_FORMAT, row->files);
  g_autofree char *bytes = g_strdup_printf("%" G_GUINT64_FORMAT, row->bytes);
  g_autofree char *size = clone_store_size(row->bytes);
  g_autofree char *generation = g_strdup_printf("%" G_GUINT64_FORMAT, row->generation);
  g_autoptr(GString) exclude = g_string_new(NULL);
  for (gsize i = 0; i < row->n_exclude; i++)
    g_string_append_printf(exclude, "%s%s", i ? " " : "", row->exclude[i]);
  const char *note = !row->generation ? "not indexed yet"
                     : row->missing   ? "the clone has no such directory"
                                      : "";
  const char *cells[] = {
      row->name, path, files, size, bytes, generation, note, row->hidden ? "true" : "false", exclude->str};
  table_add(table, cells);
}

int
cmd_shares(int argc, char **argv)
{
  gboolean json = FALSE;
  const GOptionEntry entries[] = {
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print JSON", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new(NULL);
  g_option_context_set_summary(context, shares_summary);
  g_option_context_set_description(context, shares_notes);
  g_option_context_add_main_entries(context, entries, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, 0))
    return 2;
  g_autoptr(GError) error = NULL;
  g_auto(Fd) fd = friends_dial(NULL, "shares", &error);
  g_autoptr(GPtrArray) rows = fd >= 0 ? ask_rows(fd, &error) : NULL;
  if (!rows)
    return cmd_fail("shares", error);
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  for (guint i = 0; i < rows->len; i++)
    add_row(table, ((ShareMessage *)rows->pdata[i])->row);
  if (json || rows->len > 0)
    table_print(table, json, stdout);
  else
    fputs("Nothing is shared: \"doppel share DIRECTORY\" does.\n", stderr);
  return 0;
}

/* ---- unshare ---- */

static gboolean
unshare_one(int fd, const char *name, GError **error)
{
  Doppel__Share__Unshare message = DOPPEL__SHARE__UNSHARE__INIT;
  message.name = (char *)name;
  if (!share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_UNSHARE, &message, error))
    return FALSE;
  g_autoptr(ShareMessage) answer = share_message_receive(fd, error);
  return answer && take_answer(answer, DOPPEL__SHARE__MESSAGE__WHAT_END, error);
}

static gboolean
unshare_all(int fd, GError **error)
{
  g_autoptr(GPtrArray) rows = ask_rows(fd, error);
  for (guint i = 0; rows && i < rows->len; i++)
    if (!unshare_one(fd, ((ShareMessage *)rows->pdata[i])->row->name, error))
      return FALSE;
  return rows != NULL;
}

int
cmd_unshare(int argc, char **argv)
{
  gboolean all = FALSE;
  const GOptionEntry entries[] = {
      {"all", 'a', 0, G_OPTION_ARG_NONE, &all, "All that is shared", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("NAME...");
  g_option_context_set_summary(context, unshare_summary);
  g_option_context_set_description(context, unshare_notes);
  g_option_context_add_main_entries(context, entries, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, G_MAXINT))
    return 2;
  if (all == (argc > 1)) {
    fputs("doppel unshare: say which, as \"doppel shares\" calls them, or --all\n", stderr);
    return 2;
  }
  g_autoptr(GError) error = NULL;
  g_auto(Fd) fd = friends_dial(NULL, "shares", &error);
  gboolean good = fd >= 0 && (!all || unshare_all(fd, &error));
  for (int i = 1; good && i < argc; i++)
    good = unshare_one(fd, argv[i], &error);
  return good ? 0 : cmd_fail("unshare", error);
}
