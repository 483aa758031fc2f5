/* doppel allow, doppel deny: who may do what in the own clone. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cmd/cmd.h"
#include "cmd/network_ask.h"
#include "cmd/table.h"

static const char allow_summary[] =
    "Lets USER use a service of this device's clone; nobody may anything "
    "otherwise. USER is a name, @GROUP, \"*\" for "
    "everybody, or\n/programs for the own jobs there (\"doppel run --background\"). "
    "Without words: lists what is allowed and denied.";
static const char deny_summary[] =
    "Keeps USER from a service of this device's clone, whatever a group of theirs or everybody may. Without "
    "words: lists\nwhat is allowed and denied.";

static const char notes[] =
    "A name means the user whom the directory names when it is used here first, from then on (\"doppel "
    "contacts\").\nServices are send, search, forward:PORT, run, message:NAME; \"forward:*\" is all that "
    "begin "
    "so, \"*\" all.\nLIMIT is memory (bytes, with K, M, G), time and cpu (seconds), streams, processes, or "
    "one of "
    "the service's own.\nWhat is said of a user counts before what is said of their groups, that before what "
    "is "
    "said of everybody; of two\ngroups a denial counts.\n\n"
    "Examples:\n"
    "  doppel allow bob send\n"
    "  doppel allow bob run memory=1G time=600\n"
    "  doppel allow '*' search\n"
    "  doppel allow /programs message:chat    programs in the clone's own sandboxes may use it\n"
    "  doppel deny carol search\n"
    "  doppel allow --forget bob send";

static const TableColumn columns[] = {
    {"USER", "user"}, {"SERVICE", "service"}, {"MAY", "may"}, {"LIMITS", "limits"}, {"SINCE", "since"},
};

static void
print_permissions(const Doppel__Wire__ControlPermissions *permissions, gboolean json)
{
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  for (gsize i = 0; i < permissions->n_permissions; i++) {
    const Doppel__Wire__ControlPermission *each = permissions->permissions[i];
    g_autofree char *since = network_time(each->since);
    const char *cells[] = {each->subject, each->service, each->allow ? "yes" : "no", each->limits, since};
    table_add(table, cells);
  }
  if (json || permissions->n_permissions > 0)
    table_print(table, json, stdout);
  else
    fputs("Nobody may do anything in this device's clone: \"doppel allow USER SERVICE\" changes that.\n",
          stderr);
}

static int
permit(const char *verb, int argc, char **argv, gboolean forget, gboolean json)
{
  g_autoptr(GError) error = NULL;
  Doppel__Wire__ControlPermit question = DOPPEL__WIRE__CONTROL_PERMIT__INIT;
  g_autofree char *limits = argc > 3 ? g_strjoinv(",", argv + 3) : g_strdup("");
  if (argc > 2) {
    question.subject = argv[1];
    question.service = argv[2];
    question.limits = limits;
    question.forget = forget;
  }
  ProtobufCMessage *answer = network_ask(argc > 2 ? verb : "permissions", argc > 2 ? &question.base : NULL,
                                         &doppel__wire__control_permissions__descriptor, &error);
  if (!answer)
    return cmd_fail(verb, error);
  if (argc <= 2 || json)
    print_permissions((const Doppel__Wire__ControlPermissions *)answer, json);
  protobuf_c_message_free_unpacked(answer, NULL);
  return 0;
}

static int
run(const char *verb, const char *summary, const char *words, int most, int argc, char **argv)
{
  gboolean json = FALSE, forget = FALSE;
  const GOptionEntry options[] = {
      {"forget", 0, 0, G_OPTION_ARG_NONE, &forget, "Say nothing of it any more", NULL},
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print what is allowed and denied as JSON", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new(words);
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, most))
    return 2;
  if (argc == 2) {
    fprintf(stderr, "doppel %s: which service? Write doppel %s %s SERVICE.\n", verb, verb, argv[1]);
    return 2;
  }
  return permit(verb, argc, argv, forget, json);
}

int
cmd_allow(int argc, char **argv)
{
  enum { LIMITS_MAX = 16 };
  return run("allow", allow_summary, "[USER SERVICE [LIMIT=VALUE...]]", 2 + LIMITS_MAX, argc, argv);
}

int
cmd_deny(int argc, char **argv)
{
  return run("deny", deny_summary, "[USER SERVICE]", 2, argc, argv);
}
