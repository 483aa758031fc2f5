/* doppel doc: documents that several write at once, through a server that none of them trusts. */
#include "cmd/doc.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cmd/cmd.h"

static const char summary[] =
    "Documents that several people write at the same time, through a server that none of them has to trust: "
    "it sees no text\nand no keys, and what it changes, leaves out, or shows to some only is found out. "
    "The own clone keeps them; this device\nhas a copy of each that was opened here, which can be read and "
    "edited without the clone.\n\n"
    "Commands:\n"
    "  list                     The documents, and those that others invite to\n"
    "  create TITLE [FILE]      Make one, of what is in FILE\n"
    "  open DOC                 Bring a copy to this device, for the time without the clone\n"
    "  cat DOC                  Print the text\n"
    "  import DOC FILE          Make the text what is in FILE; what is the same stays as it is\n"
    "  export DOC FILE          Write the text to FILE\n"
    "  edit DOC                 Open it in $VISUAL or $EDITOR; what is saved goes to the others at once\n"
    "  attach DOC FILE          Keep FILE and the document in step until interrupted\n"
    "  watch DOC                Print what is changed, as it is\n"
    "  invite DOC USER          Make USER a member, or give a member another --role\n"
    "  accept DOC|FILE          Accept an invitation, which may have come as a file\n"
    "  key                      Print what others invite who cannot look this member up\n"
    "  members DOC              List the members\n"
    "  remove DOC USER          Remove a member, who can read nothing that comes after it\n"
    "  leave DOC                Forget the document here and in the clone\n"
    "  log DOC                  List the entries of its history\n"
    "  verify DOC               Check the history, the server and the other members' clones against each "
    "other,\n                           and what the clone keeps\n"
    "  check FILE               Say what evidence of \"verify\" shows, knowing nothing but the server's key\n"
    "  recover DOC              After a fault of the server's: go on with the history that it has now";

static const char notes[] =
    "DOC is a title, or the beginning of the document's name (\"list\"). FILE may be \"-\".\n\n"
    "Examples:\n"
    "  doppel doc create plan.md --server docs.example.net:3679=KEY plan.md\n"
    "  doppel doc invite plan.md bob                     bob$ doppel allow alice doc-invite\n"
    "  doppel doc invite plan.md carol --role=reader --from-now\n"
    "  doppel doc edit plan.md\n"
    "  doppel doc attach plan.md ~/notes/plan.md\n"
    "  doppel doc verify plan.md --evidence=proof        anybody$ doppel doc check proof --server-key=KEY\n"
    "  doppel doc key --direct                           without a clone: tell an owner what this prints\n"
    "  doppel doc invite plan.md dora=member:KEY > invitation\n"
    "  doppel doc accept invitation --direct";

enum {
  JSON = 1 << 0,
  OFFLINE = 1 << 1,
  FROM_NOW = 1 << 2,
  UNSENT = 1 << 3,
  ROLE = 1 << 4,
  SERVER = 1 << 5,
  EVIDENCE = 1 << 6,
  TAKE = 1 << 7,
  COUNT = 1 << 8,
  INVITATION = 1 << 9,
  SERVER_KEY = 1 << 10,
};

static const struct {
  const char *name, *words;
  int least, most; /* words after it */
  guint options;
  DocCommand *run;
} commands[] = {
    {"list", "", 0, 0, JSON | OFFLINE, doc_list},
    {"create", " TITLE [FILE]", 1, 2, SERVER, doc_create},
    {"open", " DOC", 1, 1, JSON, doc_open},
    {"cat", " DOC", 1, 1, OFFLINE, doc_cat},
    {"import", " DOC FILE", 2, 2, OFFLINE, doc_import},
    {"export", " DOC FILE", 2, 2, OFFLINE, doc_export},
    {"edit", " DOC", 1, 1, OFFLINE, doc_edit},
    {"attach", " DOC FILE", 2, 2, OFFLINE | TAKE, doc_attach},
    {"watch", " DOC", 1, 1, JSON | OFFLINE, doc_watch},
    {"invite", " DOC USER", 2, 2, ROLE | FROM_NOW | INVITATION, doc_invite},
    {"accept", " DOC", 1, 1, 0, doc_accept},
    {"key", "", 0, 0, 0, doc_key},
    {"members", " DOC", 1, 1, JSON, doc_members},
    {"remove", " DOC USER", 2, 2, 0, doc_remove},
    {"leave", " DOC", 1, 1, UNSENT, doc_leave},
    {"log", " DOC", 1, 1, JSON | COUNT, doc_log},
    {"verify", " DOC", 1, 1, JSON | EVIDENCE, doc_verify},
    {"check", " FILE --server-key=KEY", 1, 1, JSON | SERVER_KEY, doc_check},
    {"recover", " DOC", 1, 1, SERVER, doc_recover},
    {"room", "", 0, 0, 0, doc_room}, /* what --direct starts */
};

static void
options_clear(DocOptions *options)
{
  g_free(options->role);
  g_free(options->server);
  g_free(options->server_key);
  g_free(options->evidence);
  g_free(options->take);
  g_free(options->invitation);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DocOptions, options_clear)

static gboolean
check_options(const DocOptions *options, const char *command, guint allowed, GError **error)
{
  const struct {
    gboolean given;
    guint option;
    const char *name;
  } given[] = {{options->json, JSON, "--json"},
               {options->offline, OFFLINE, "--offline"},
               {options->from_now, FROM_NOW, "--from-now"},
               {options->unsent, UNSENT, "--unsent"},
               {options->role != NULL, ROLE, "--role"},
               {options->server != NULL, SERVER, "--server"},
               {options->server_key != NULL, SERVER_KEY, "--server-key"},
               {options->evidence != NULL, EVIDENCE, "--evidence"},
               {options->take != NULL, TAKE, "--take"},
               {options->invitation != NULL, INVITATION, "--invitation"},
               {options->count != 0, COUNT, "--count"}};
  for (gsize i = 0; i < G_N_ELEMENTS(given); i++)
    if (given[i].given && !(given[i].option & allowed))
      return doppel_error_set(error, DOPPEL_ERROR_USAGE, "%s is not for \"%s\"", given[i].name, command);
  if (options->count < 0 || options->count > (int)DOC_ROOM_LOG_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "--count takes 1 to %u", DOC_ROOM_LOG_MAX);
  return TRUE;
}

static gboolean
run(char **words, int count, const DocOptions *options, GError **error)
{
  const char *command = count > 0 ? words[0] : "list";
  for (gsize i = 0; i < G_N_ELEMENTS(commands); i++) {
    if (strcmp(commands[i].name, command) != 0)
      continue;
    int after = MAX(count - 1, 0);
    if (after < commands[i].least || after > commands[i].most)
      return doppel_error_set(error, DOPPEL_ERROR_USAGE, "write \"doppel doc %s%s\"", command,
                              commands[i].words);
    if (!check_options(options, command, commands[i].options, error) ||
        (options->direct && commands[i].run != doc_room && !doc_direct_begin(options->offline, error)))
      return FALSE;
    gboolean good = commands[i].run(words + MIN(count, 1), options, error);
    doc_direct_end();
    return good;
  }
  return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                          "there is no command \"%.60s\": \"doppel doc --help\" lists them", command);
}

int
cmd_doc(int argc, char **argv)
{
  g_auto(DocOptions) options = {0};
  const GOptionEntry entries[] = {
      {"offline", 0, 0, G_OPTION_ARG_NONE, &options.offline,
       "list, cat, import, export, edit, attach, watch: with this device's copy, without asking the clone",
       NULL},
      {"direct", 0, 0, G_OPTION_ARG_NONE, &options.direct,
       "Without a clone: this device itself keeps documents, others than the clone has, while a command runs",
       NULL},
      {"server", 's', 0, G_OPTION_ARG_STRING, &options.server,
       "create: through this ordering server, as \"clonedocd key\" says it (several addresses by commas); by "
       "default that of the newest document. recover: on another one",
       "ADDRESS=KEY"},
      {"server-key", 0, 0, G_OPTION_ARG_STRING, &options.server_key,
       "check: the key of the server that is said to be at fault", "KEY"},
      {"role", 'r', 0, G_OPTION_ARG_STRING, &options.role, "invite: reader, writer (the usual) or owner",
       "ROLE"},
      {"from-now", 0, 0, G_OPTION_ARG_NONE, &options.from_now,
       "invite: they read the text as it is and what comes, not its history", NULL},
      {"invitation", 0, 0, G_OPTION_ARG_FILENAME, &options.invitation,
       "invite: write the invitation there, to be passed on and accepted by them from there (\"-\": print "
       "it)",
       "FILE"},
      {"take", 0, 0, G_OPTION_ARG_STRING, &options.take,
       "attach: where the file and the document differ the first time, take what \"file\" or \"document\" "
       "has",
       "WHICH"},
      {"count", 'n', 0, G_OPTION_ARG_INT, &options.count, "log: the last N entries (100)", "N"},
      {"evidence", 0, 0, G_OPTION_ARG_FILENAME, &options.evidence,
       "verify: write the evidence of a fault there, if there is one, for whoever has the server's key",
       "FILE"},
      {"unsent", 0, 0, G_OPTION_ARG_NONE, &options.unsent,
       "leave: even if something typed here is not with the server yet", NULL},
      {"json", 0, 0, G_OPTION_ARG_NONE, &options.json,
       "list, open, members, log, verify, check: print JSON; watch: an object a line", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("[COMMAND [WORD...]]");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, entries, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, 3))
    return 2;
  g_autoptr(GError) error = NULL;
  return run(argv + 1, argc - 1, &options, &error) ? 0 : cmd_fail("doc", error);
}
