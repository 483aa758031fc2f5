/* doppel allow, doppel deny: who may do what in the own clone. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cmd/cmd.h"
#include "cmd/network_ask.h"
#include "cmd/table.h"

static const char allow_summary[] =
    "Lets USER use a service of this device's clone; nobody may anything "
    "otherwise (but members of a document may compare its\nheads). USER is a name, @GROUP, \"*\" for "
    "everybody, or\n/programs for the own jobs there (\"doppel run --background\"). "
    "Without words: lists what is allowed and denied.";
static const char deny_summary[] =
    "Keeps USER from a service of this device's clone, whatever a group of theirs or everybody may. Without "
    "words: lists\nwhat is allowed and denied.";

static const char notes[] =
    "A name means the user whom the directory names when it is used here first, from then on (\"doppel "
    "contacts\").\nServices are send, search, forward:PORT, run, doc-invite, doc-heads, message:NAME; "
    "\"forward:*\" is all that begin so, \"*\" all.\nLIMIT is memory (bytes, with K, M, G), time and cpu "
    "(seconds), streams, processes, or "
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

typedef Doppel__Wire__ControlPermission Permission;
typedef Doppel__Wire__ControlPermissions Permissions;

static const TableColumn columns[] = {
    {"USER", "user"}, {"SERVICE", "service"}, {"MAY", "may"}, {"LIMITS", "limits"}, {"SINCE", "since"},
};

static Permissions *
ask(const char *verb, const ProtobufCMessage *body, GError **error)
{
  return (Permissions *)network_ask(verb, body, &doppel__wire__control_permissions__descriptor, error);
}

/* All pages. NULL with an error; `permissions` are of the pages. */
static GPtrArray *
ask_all(GPtrArray *permissions, GError **error)
{
  g_autoptr(GPtrArray) pages = network_answers_new();
  Doppel__Wire__ControlPermissionsPage question = DOPPEL__WIRE__CONTROL_PERMISSIONS_PAGE__INIT;
  for (gboolean more = TRUE; more;) {
    Permissions *page = ask("permissions", &question.base, error);
    if (!page)
      return NULL;
    g_ptr_array_add(pages, page);
    for (gsize i = 0; i < page->n_permissions; i++)
      g_ptr_array_add(permissions, page->permissions[i]);
    more = page->more && page->n_permissions > 0;
    if (more) {
      const Permission *last = page->permissions[page->n_permissions - 1];
      question.origin = last->origin;
      question.group = last->group;
      question.service = last->service;
    }
  }
  return g_steal_pointer(&pages);
}

/* Users first, everybody last, as narrower subjects count before wider ones. */
static int
width(const Permission *permission)
{
  return permission->origin.len > 0 ? 0 : *permission->group ? 1 : 2;
}

static int
by_subject(gconstpointer a, gconstpointer b)
{
  const Permission *one = *(const Permission *const *)a, *other = *(const Permission *const *)b;
  int order = width(one) - width(other);
  order = order ? order : strcmp(one->subject, other->subject);
  return order ? order : strcmp(one->service, other->service);
}

static int
list(const char *verb, gboolean json)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) permissions = g_ptr_array_new();
  g_autoptr(GPtrArray) pages = ask_all(permissions, &error);
  if (!pages)
    return cmd_fail(verb, error);
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  g_ptr_array_sort(permissions, by_subject);
  for (guint i = 0; i < permissions->len; i++) {
    const Permission *each = permissions->pdata[i];
    g_autofree char *since = network_time(each->since);
    const char *cells[] = {each->subject, each->service, each->allow ? "yes" : "no", each->limits, since};
    table_add(table, cells);
  }
  if (json || permissions->len > 0)
    table_print(table, json, stdout);
  else
    fputs("Nobody may do anything in this device's clone: \"doppel allow USER SERVICE\" changes that.\n",
          stderr);
  return 0;
}

static int
permit(const char *verb, char **argv, gboolean forget, gboolean json)
{
  g_autoptr(GError) error = NULL;
  Doppel__Wire__ControlPermit question = DOPPEL__WIRE__CONTROL_PERMIT__INIT;
  g_autofree char *limits = g_strjoinv(",", argv + 3);
  question.subject = argv[1];
  question.service = argv[2];
  question.limits = limits;
  question.forget = forget;
  Permissions *none = ask(verb, &question.base, &error);
  if (!none)
    return cmd_fail(verb, error);
  doppel__wire__control_permissions__free_unpacked(none, NULL);
  return json ? list(verb, json) : 0;
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
  return argc > 2 ? permit(verb, argv, forget, json) : list(verb, json);
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
