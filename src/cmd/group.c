/* doppel group: named sets of users. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "cmd/cmd.h"
#include "cmd/network_ask.h"
#include "cmd/table.h"
#include "identity/key.h"

static const char summary[] =
    "Keeps groups of users: \"@GROUP\" in \"doppel allow\" is all of them. Members are contacts (\"doppel "
    "contacts\").";

static const char notes[] = "Examples:\n"
                            "  doppel group create family alice bob\n"
                            "  doppel group add family carol\n"
                            "  doppel group remove family bob\n"
                            "  doppel group delete family\n"
                            "  echo 'dinner at 8' | doppel group send family\n"
                            "  doppel group sent\n"
                            "  doppel allow @family search";

#define MESSAGE_MAX (48u << 10) /* bytes */

#define LOOK_US    200000
#define WAIT_US    (120 * G_USEC_PER_SEC) /* for what the clone gives up after a minute and a half */
#define NAMED_MOST 20u                    /* members that are named to a person */

typedef Doppel__Wire__ControlGroupEdit Edit;
typedef Doppel__Wire__ControlGroups Groups;
typedef Doppel__Wire__ControlGroupMessage Message;

static const TableColumn columns[] = {{"GROUP", "group"}, {"MEMBERS", "members"}};
static const TableColumn sent_columns[] = {{"SENT", "sent"},       {"GROUP", "group"},
                                           {"MEMBERS", "members"}, {"REACHED", "reached"},
                                           {"STATE", "state"},     {"NOT REACHED", "not_reached"}};

static const struct {
  const char *word;
  Doppel__Wire__ControlGroupEdit__What what;
  int least, most; /* words after it */
} actions[] = {
    {"list", DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__LIST, 0, 0},
    {"create", DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__CREATE, 1, 1000},
    {"delete", DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__DELETE, 1, 1},
    {"add", DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__ADD, 2, 1000},
    {"remove", DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__REMOVE, 2, 1000},
    {"send", DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__SEND, 1, 1},
    {"sent", DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__SENT, 0, 0},
};

static gboolean json, no_wait;

static Groups *
ask(const Edit *edit, GError **error)
{
  return (Groups *)network_ask("group", &edit->base, &doppel__wire__control_groups__descriptor, error);
}

static void
groups_done(Groups *groups)
{
  doppel__wire__control_groups__free_unpacked(groups, NULL);
}

/* ---- groups ---- */

/* A group may come in several pages. */
typedef struct {
  Table *table;
  char *name;
  GString *members;
} Listing;

static void
end_group(Listing *listing)
{
  if (listing->name) {
    const char *cells[] = {listing->name, listing->members->str};
    table_add(listing->table, cells);
  }
  g_clear_pointer(&listing->name, g_free);
  g_string_truncate(listing->members, 0);
}

static void
add_page(Listing *listing, const Groups *groups)
{
  for (gsize i = 0; i < groups->n_groups; i++) {
    const Doppel__Wire__ControlGroup *group = groups->groups[i];
    if (g_strcmp0(listing->name, group->name) != 0) {
      end_group(listing);
      listing->name = g_strdup(group->name);
    }
    for (gsize k = 0; k < group->n_members; k++)
      g_string_append_printf(listing->members, "%s%s", listing->members->len > 0 ? " " : "",
                             group->members[k]->name);
  }
}

/* Where the page after this one begins. FALSE: there is none. */
static gboolean
go_on(const Groups *groups, Edit *next, char **after, IdentityPublic *member)
{
  if (!groups->more || groups->n_groups == 0)
    return FALSE;
  const Doppel__Wire__ControlGroup *last = groups->groups[groups->n_groups - 1];
  g_free(*after);
  next->after = *after = g_strdup(last->name);
  next->member = (ProtobufCBinaryData){0};
  if (last->n_members > 0 && last->members[last->n_members - 1]->origin.len == sizeof *member) {
    memcpy(member, last->members[last->n_members - 1]->origin.data, sizeof *member);
    next->member = (ProtobufCBinaryData){sizeof *member, member->bytes};
  }
  return TRUE;
}

static int
list_groups(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  g_autoptr(GString) members = g_string_new(NULL);
  g_autofree char *after = NULL;
  Listing listing = {table, NULL, members};
  IdentityPublic member;
  Edit edit = DOPPEL__WIRE__CONTROL_GROUP_EDIT__INIT;
  gboolean any = FALSE, more = TRUE;
  while (more) {
    Groups *groups = ask(&edit, &error);
    if (!groups) {
      g_free(listing.name);
      return cmd_fail("group", error);
    }
    any = any || groups->n_groups > 0;
    add_page(&listing, groups);
    more = go_on(groups, &edit, &after, &member);
    groups_done(groups);
  }
  end_group(&listing);
  if (json || any)
    table_print(table, json, stdout);
  else
    fputs("There are no groups yet: \"doppel group create GROUP USER...\" makes one.\n", stderr);
  return 0;
}

/* ---- messages ---- */

/* Who has not got a message: their names, at most so many. NULL with an error. */
static char *
name_awaited(guint64 sequence, guint most, GError **error)
{
  g_autoptr(GString) names = g_string_new(NULL);
  IdentityPublic member;
  Edit edit = DOPPEL__WIRE__CONTROL_GROUP_EDIT__INIT;
  edit.what = DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__SENT;
  edit.sequence = sequence;
  gboolean more = TRUE;
  for (guint named = 0; more && named < most;) {
    Groups *groups = ask(&edit, error);
    if (!groups)
      return NULL;
    const Message *message = groups->n_messages == 1 ? groups->messages[0] : NULL;
    more = groups->more && message && message->n_awaited > 0;
    for (gsize i = 0; message && i < message->n_awaited && message->awaited[i]->who; i++) {
      const Doppel__Wire__ControlContact *who = message->awaited[i]->who;
      if (named++ < most)
        g_string_append_printf(names, "%s%s", names->len > 0 ? " " : "", who->name);
      if (who->origin.len == sizeof member)
        memcpy(&member, who->origin.data, sizeof member);
    }
    edit.member = (ProtobufCBinaryData){sizeof member, member.bytes};
    groups_done(groups);
  }
  return g_string_free(g_steal_pointer(&names), FALSE);
}

static gboolean
add_message(Table *table, const Message *message, guint most, GError **error)
{
  g_autofree char *time = network_time((gint64)(message->sequence / G_USEC_PER_SEC));
  g_autofree char *members = g_strdup_printf("%u", message->members),
                  *reached = g_strdup_printf("%u", message->reached), *names = NULL, *missed = NULL;
  const char *state = !message->over      ? "on its way"
                      : message->waiting  ? "kept"
                      : message->given_up ? "given up"
                                          : "done";
  if (message->waiting > 0 && !(names = name_awaited(message->sequence, most, error)))
    return FALSE;
  missed = message->waiting > most ? g_strdup_printf("%s and %u more", names, message->waiting - most)
                                   : g_strdup(names ? names : "");
  const char *cells[] = {time, message->group, members, reached, state, missed};
  table_add(table, cells);
  return TRUE;
}

static int
list_sent(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Table) table = table_new(sent_columns, G_N_ELEMENTS(sent_columns));
  Edit edit = DOPPEL__WIRE__CONTROL_GROUP_EDIT__INIT;
  edit.what = DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__SENT;
  Groups *groups = ask(&edit, &error);
  gboolean good = groups != NULL;
  for (gsize i = 0; good && i < groups->n_messages; i++)
    good = add_message(table, groups->messages[i], json ? G_MAXUINT : NAMED_MOST, &error);
  if (good && (json || groups->n_messages > 0))
    table_print(table, json, stdout);
  else if (good)
    fputs("No message was sent to a group in the last days: \"doppel group send GROUP\" sends one.\n",
          stderr);
  if (groups)
    groups_done(groups);
  return good ? 0 : cmd_fail("group", error);
}

static void
show_progress(const Message *message)
{
  if (isatty(STDERR_FILENO))
    fprintf(stderr, "\r%s: %u of %u members have it ", message->group, message->reached, message->members);
}

/* What has become of it. */
static int
print_sent(const Message *message)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *names = NULL;
  if (json) {
    g_autoptr(Table) table = table_new(sent_columns, G_N_ELEMENTS(sent_columns));
    if (!add_message(table, message, G_MAXUINT, &error))
      return cmd_fail("group", error);
    table_print(table, TRUE, stdout);
    return 0;
  }
  printf("%s: %u of %u members have it.\n", message->group, message->reached, message->members);
  if (!message->over) {
    puts("It is on its way to the others still: \"doppel group sent\" says how far it is.");
    return 0;
  }
  if (message->waiting == 0)
    return 0;
  if (!(names = name_awaited(message->sequence, NAMED_MOST, &error)))
    return cmd_fail("group", error);
  printf("Not reached: %s", names);
  if (message->waiting > NAMED_MOST)
    printf(" and %u more", message->waiting - NAMED_MOST);
  puts(". Your clone keeps it for them for a week.");
  return 0;
}

/* Takes the answer to the sending. */
static int
follow(Groups *groups)
{
  g_autoptr(GError) error = NULL;
  gint64 end = g_get_monotonic_time() + WAIT_US;
  gboolean shown = FALSE;
  Edit edit = DOPPEL__WIRE__CONTROL_GROUP_EDIT__INIT;
  edit.what = DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__SENT;
  while (groups && groups->n_messages == 1 && !groups->messages[0]->over && !no_wait &&
         g_get_monotonic_time() < end) {
    show_progress(groups->messages[0]);
    shown = TRUE;
    edit.sequence = groups->messages[0]->sequence;
    groups_done(groups);
    g_usleep(LOOK_US);
    groups = ask(&edit, &error);
  }
  if (shown && isatty(STDERR_FILENO))
    fputs("\r\033[K", stderr);
  if (!groups)
    return cmd_fail("group", error);
  int status = groups->n_messages == 1 ? print_sent(groups->messages[0]) : 0;
  groups_done(groups);
  return status;
}

/* ---- */

static int
edit_groups(guint action, int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  Edit edit = DOPPEL__WIRE__CONTROL_GROUP_EDIT__INIT;
  edit.what = actions[action].what;
  if (edit.what == DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__LIST)
    return list_groups();
  if (edit.what == DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__SENT)
    return list_sent();
  edit.group = argv[2];
  if (argc > 3) {
    edit.users = argv + 3;
    edit.n_users = argc - 3;
  }
  g_autofree guint8 *message = NULL;
  if (edit.what == DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__SEND) {
    message = g_malloc(MESSAGE_MAX + 1);
    gssize length = io_read_all(STDIN_FILENO, message, MESSAGE_MAX + 1);
    if (length < 0 || length > (gssize)MESSAGE_MAX) {
      fprintf(stderr, "doppel group: a message has %u bytes at most, on standard input.\n", MESSAGE_MAX);
      return 1;
    }
    edit.message = (ProtobufCBinaryData){length, message};
  }
  Groups *groups = ask(&edit, &error);
  if (!groups)
    return cmd_fail("group", error);
  if (edit.what == DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__SEND)
    return follow(groups);
  groups_done(groups);
  return json ? list_groups() : 0;
}

int
cmd_group(int argc, char **argv)
{
  const GOptionEntry options[] = {
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print all groups, or messages, as JSON", NULL},
      {"no-wait", 0, 0, G_OPTION_ARG_NONE, &no_wait,
       "With send: do not wait until it is known who has got the message", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("[list | create GROUP [USER...] | delete GROUP | add GROUP "
                                                 "USER... | remove GROUP USER... | send GROUP | sent]");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, 1000))
    return 2;
  if (argc == 1)
    return edit_groups(0, argc, argv);
  for (guint i = 0; i < G_N_ELEMENTS(actions); i++)
    if (strcmp(argv[1], actions[i].word) == 0 && argc - 2 >= actions[i].least && argc - 2 <= actions[i].most)
      return edit_groups(i, argc, argv);
  fprintf(stderr,
          "doppel group: \"%s\" is nothing that can be done so: write list, create GROUP [USER...], delete "
          "GROUP, "
          "add GROUP USER..., remove GROUP USER..., send GROUP or sent.\n",
          argv[1]);
  return 2;
}
