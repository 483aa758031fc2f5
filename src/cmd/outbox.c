/* doppel outbox: what this user's clone has to deliver. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cmd/cmd.h"
#include "cmd/friends.h"
#include "cmd/friends_rows.h"

static const char summary[] =
    "Lists what was sent with \"doppel send\", and how it stands: it waits for the other clone (and why), is "
    "being "
    "sent, was\ndelivered (the other clone has given a signed receipt), or was refused (and why). What is "
    "over is "
    "listed for three months.\nWith \"cancel\" the clone does not deliver these any more, or forgets them.";

static const char notes[] = "Examples:\n"
                            "  doppel outbox\n"
                            "  doppel outbox cancel 12 13";

static gboolean
cancel(int fd, const char *word, GError **error)
{
  Doppel__Send__Cancel message = DOPPEL__SEND__CANCEL__INIT;
  return friends_parse_id(word, &message.id, error) &&
         friends_rows_change(fd, DOPPEL__SEND__MESSAGE__WHAT_CANCEL, &message, error);
}

static gboolean
list(int fd, gboolean json, GError **error)
{
  g_autoptr(FriendsRows) rows = friends_rows_new(FRIENDS_ROWS_OUTBOX);
  g_autoptr(GPtrArray) messages = friends_rows_ask(fd, error);
  for (guint i = 0; messages && i < messages->len; i++)
    friends_rows_add(rows, ((SendMessage *)messages->pdata[i])->row);
  if (!messages)
    return FALSE;
  if (!json && friends_rows_count(rows) == 0)
    fputs("Nothing was sent: \"doppel send USER FILE\" does.\n", stderr);
  friends_rows_print(rows, json);
  return TRUE;
}

int
cmd_outbox(int argc, char **argv)
{
  gboolean json = FALSE;
  const GOptionEntry entries[] = {
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print JSON", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("[cancel ID...]");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, entries, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, G_MAXINT))
    return 2;
  if (argc > 1 && (strcmp(argv[1], "cancel") != 0 || argc < 3)) {
    fputs("doppel outbox: to give items up write: doppel outbox cancel ID...\n", stderr);
    return 2;
  }
  g_autoptr(GError) error = NULL;
  g_auto(Fd) fd = friends_dial(NULL, "outbox", &error);
  gboolean good = fd >= 0;
  for (int i = 2; good && i < argc; i++)
    good = cancel(fd, argv[i], &error);
  if (good && argc == 1)
    good = list(fd, json, &error);
  return good ? 0 : cmd_fail("outbox", error);
}
