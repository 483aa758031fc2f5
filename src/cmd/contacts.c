/* doppel contacts: whom names mean. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cmd/cmd.h"
#include "cmd/network_ask.h"
#include "cmd/table.h"

static const char summary[] =
    "Lists whom names mean to this device's clone: a name means the user that it meant "
    "first, whatever a directory says\nlater. \"add\" makes a contact, \"forget\" "
    "forgets one and what they were allowed.";

static const char notes[] = "Examples:\n"
                            "  doppel contacts\n"
                            "  doppel contacts add alice\n"
                            "  doppel contacts add work/alice alice-at-work\n"
                            "  doppel contacts forget alice";

typedef Doppel__Wire__ControlContacts Contacts;

static const TableColumn columns[] = {{"NAME", "name"}, {"USER", "user"}, {"SINCE", "since"}};

static Contacts *
ask(const char *verb, const ProtobufCMessage *body, GError **error)
{
  return (Contacts *)network_ask(verb, body, &doppel__wire__control_contacts__descriptor, error);
}

static int
by_name(gconstpointer a, gconstpointer b)
{
  const Doppel__Wire__ControlContact *const *one = a, *const *other = b;
  return strcmp((*one)->name, (*other)->name);
}

/* All pages. NULL with an error; `contacts` are of the pages. */
static GPtrArray *
ask_all(GPtrArray *contacts, GError **error)
{
  g_autoptr(GPtrArray) pages = network_answers_new();
  Doppel__Wire__ControlContactsPage question = DOPPEL__WIRE__CONTROL_CONTACTS_PAGE__INIT;
  for (gboolean more = TRUE; more;) {
    Contacts *page = ask("contacts", &question.base, error);
    if (!page)
      return NULL;
    g_ptr_array_add(pages, page);
    for (gsize i = 0; i < page->n_contacts; i++)
      g_ptr_array_add(contacts, page->contacts[i]);
    more = page->more && page->n_contacts > 0;
    if (more)
      question.after = page->contacts[page->n_contacts - 1]->origin;
  }
  return g_steal_pointer(&pages);
}

static int
list(gboolean json)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) contacts = g_ptr_array_new();
  g_autoptr(GPtrArray) pages = ask_all(contacts, &error);
  if (!pages)
    return cmd_fail("contacts", error);
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  g_ptr_array_sort(contacts, by_name);
  for (guint i = 0; i < contacts->len; i++) {
    const Doppel__Wire__ControlContact *each = contacts->pdata[i];
    g_autofree char *user = network_key(&each->origin), *since = network_time(each->since);
    const char *cells[] = {each->name, user, since};
    table_add(table, cells);
  }
  if (json || contacts->len > 0)
    table_print(table, json, stdout);
  else
    fputs("There are no contacts yet: \"doppel contacts add USER\", or \"doppel allow\", makes one.\n",
          stderr);
  return 0;
}

static int
change(const Doppel__Wire__ControlContactEdit *edit, gboolean json)
{
  g_autoptr(GError) error = NULL;
  Contacts *none = ask("contact", &edit->base, &error);
  if (!none)
    return cmd_fail("contacts", error);
  doppel__wire__control_contacts__free_unpacked(none, NULL);
  return json ? list(json) : 0;
}

int
cmd_contacts(int argc, char **argv)
{
  gboolean json = FALSE;
  const GOptionEntry options[] = {
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print JSON", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("[add USER [NAME] | forget NAME]");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, 3))
    return 2;
  if (argc == 1)
    return list(json);
  gboolean add = strcmp(argv[1], "add") == 0, forget = strcmp(argv[1], "forget") == 0;
  if ((!add && !forget) || argc == 2 || (forget && argc > 3)) {
    fprintf(stderr,
            "doppel contacts: \"%s\" is nothing that can be done: write add USER [NAME], or forget NAME.\n",
            argv[1]);
    return 2;
  }
  Doppel__Wire__ControlContactEdit edit = DOPPEL__WIRE__CONTROL_CONTACT_EDIT__INIT;
  edit.user = argv[2];
  edit.name = argc > 3 ? argv[3] : (char *)"";
  edit.forget = forget;
  return change(&edit, json);
}
