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

static const TableColumn columns[] = {{"NAME", "name"}, {"USER", "user"}, {"SINCE", "since"}};

static void
print_contacts(const Doppel__Wire__ControlContacts *contacts, gboolean json)
{
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  for (gsize i = 0; i < contacts->n_contacts; i++) {
    const Doppel__Wire__ControlContact *each = contacts->contacts[i];
    g_autofree char *user = network_key(&each->origin), *since = network_time(each->since);
    const char *cells[] = {each->name, user, since};
    table_add(table, cells);
  }
  if (json || contacts->n_contacts > 0)
    table_print(table, json, stdout);
  else
    fputs("There are no contacts yet: \"doppel contacts add USER\", or \"doppel allow\", makes one.\n",
          stderr);
}

static int
contacts(const Doppel__Wire__ControlContactEdit *edit, gboolean json)
{
  g_autoptr(GError) error = NULL;
  ProtobufCMessage *answer = network_ask(edit ? "contact" : "contacts", edit ? &edit->base : NULL,
                                         &doppel__wire__control_contacts__descriptor, &error);
  if (!answer)
    return cmd_fail("contacts", error);
  if (!edit || json)
    print_contacts((const Doppel__Wire__ControlContacts *)answer, json);
  protobuf_c_message_free_unpacked(answer, NULL);
  return 0;
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
    return contacts(NULL, json);
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
  return contacts(&edit, json);
}
