/* doppel restore: a file as it was, or all of a device. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/io.h"
#include "cmd/clone_store.h"
#include "cmd/cmd.h"
#include "cmd/restore_device.h"
#include "replicator/history.h"

static const char summary[] =
    "Brings FILE back as it was in a generation (the newest, without a number): a "
    "file, or a directory with all that "
    "was in it,\n"
    "with owners, modes, attributes and times. It comes to its own place, or to "
    "OUT; what is there already is not "
    "replaced\n"
    "without --force.\n\n"
    "With --device: all that was synchronised, onto a new device when the old one is "
    "lost. --from says where the clone's\n"
    "host is; the recovery phrase that \"doppel pair\" showed is asked for, and makes "
    "this device the clone's only one. What\n"
    "is interrupted goes on where it was at the next call.";

static const char notes[] =
    "Examples:\n"
    "  doppel snapshots                             which generations are there?\n"
    "  doppel restore letters/plan.txt@12           it was deleted by mistake\n"
    "  doppel restore plan.txt@12 -o plan-old.txt   to compare it with what it is now\n"
    "  doppel restore /etc@3 -o /tmp/etc            a directory\n"
    "  doppel restore --device --from clone.example.net:3677 --onto      a new device, freshly installed\n"
    "  doppel restore --device --from 192.0.2.7:3677 --beside --root /srv/home    a second device";

/* FILE@GENERATION; 0 where there is no number. */
static gboolean
parse(const char *word, char **file, guint64 *generation, GError **error)
{
  const char *at = strrchr(word, '@');
  *generation = 0;
  *file = at ? g_strndup(word, at - word) : g_strdup(word);
  if (!**file)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "\"%s\" names no file", word);
  if (!at || g_ascii_string_to_unsigned(at + 1, 10, 1, G_MAXINT64, generation, NULL))
    return TRUE;
  return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                          "\"%s\" is no generation's number; for a name with @ in it, write %s@NUMBER",
                          at + 1, word);
}

static void
report(const HistoryRestored *restored, const char *target)
{
  static const char *const what[GENERATION_LOST_KINDS] = {
      "owners could not be set, for want of privilege",
      "attributes could not be set, for want of privilege or of room in the file system",
      "device nodes are empty files now, for want of privilege",
  };
  g_autofree char *size = clone_store_size(restored->bytes);
  if (restored->entries == 1)
    printf("Restored %s (%s).\n", target, size);
  else
    printf("Restored %s (%" G_GUINT64_FORMAT " entries, %s).\n", target, restored->entries, size);
  for (guint i = 0; i < GENERATION_LOST_KINDS; i++)
    if (restored->losses.count[i])
      fprintf(stderr, "doppel restore: %" G_GUINT64_FORMAT " %s, as of %s%s\n", restored->losses.count[i],
              what[i], target, restored->losses.first[i]);
}

/* `target` is where it goes. */
static gboolean
fetch(Link *link, guint64 generation, const char *path, const char *target, gboolean force, GError **error)
{
  g_autofree char *parent = g_path_get_dirname(target);
  g_autofree char *name = g_path_get_basename(target);
  g_auto(HistoryRestored) restored = {0};
  g_auto(Fd) directory = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0)
    return doppel_error_errno(error, "the directory %s cannot be used (-o says where else it is to go)",
                              parent);
  if (!history_restore(link, generation, path, directory, name, force, &restored, error))
    return FALSE;
  report(&restored, target);
  return TRUE;
}

static gboolean
restore(const char *clone, const char *word, const char *output, gboolean force, GError **error)
{
  guint64 generation;
  g_autofree char *file = NULL, *root = NULL;
  if (!parse(word, &file, &generation, error))
    return FALSE;
  g_autoptr(Link) link = clone_store_reach(clone, &root, error);
  g_autofree char *path = link ? clone_store_path(root, file, error) : NULL;
  if (!path)
    return FALSE;
  if (!*path && !output)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "%s is all that the clone has a copy of: say with -o where it is to go", file);
  g_autofree char *place = output ? g_strdup(output) : g_build_filename(root, path, NULL);
  g_autofree char *target = g_canonicalize_filename(place, NULL);
  return fetch(link, generation, path, target, force, error);
}

static gboolean
run(const char *word, const RestoreDevice *device, const char *output, gboolean force, GError **error)
{
  gboolean only_device = device->from || device->phrase_file || device->root || device->name ||
                         device->generation || device->onto || device->beside || device->replace ||
                         device->json;
  if (device->wanted && (word || output || force))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "--device restores all of a device: it takes no FILE, --output or --force");
  if (device->wanted)
    return restore_device(device, error);
  if (only_device)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "of the options only --output, --force and --clone are for a FILE; the others "
                            "need --device");
  if (!word)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "say which FILE is to be restored, or --device");
  return restore(device->clone, word, output, force, error);
}

int
cmd_restore(int argc, char **argv)
{
  gboolean force = FALSE;
  g_auto(RestoreDevice) device = {0};
  g_autofree char *output = NULL;
  const GOptionEntry options[] = {
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &output, "Where it goes (its own place)", "OUT"},
      {"force", 'f', 0, G_OPTION_ARG_NONE, &force, "Replace what is there", NULL},
      {"clone", 'c', 0, G_OPTION_ARG_STRING, &device.clone, "From this clone; needed where there are several",
       "NAME"},
      {"device", 0, 0, G_OPTION_ARG_NONE, &device.wanted,
       "Restore all that was synchronised, not a FILE; goes on with what was interrupted", NULL},
      {"from", 0, 0, G_OPTION_ARG_STRING_ARRAY, &device.from,
       "The clone's host, for a device that does not have the clone yet: asks for the recovery phrase (may "
       "be repeated)",
       "HOST:PORT"},
      {"phrase-file", 0, 0, G_OPTION_ARG_FILENAME, &device.phrase_file,
       "Read the recovery phrase from FILE (\"-\": standard input)", "FILE"},
      {"beside", 0, 0, G_OPTION_ARG_NONE, &device.beside,
       "Let the devices that have the clone keep it, beside this one", NULL},
      {"replace", 0, 0, G_OPTION_ARG_NONE, &device.replace, "Lock them out (the default)", NULL},
      {"name", 'n', 0, G_OPTION_ARG_STRING, &device.name,
       "What to call the clone here (by default as its host is called)", "NAME"},
      {"generation", 'g', 0, G_OPTION_ARG_INT64, &device.generation, "As it was then (the newest)", "N"},
      {"root", 0, 0, G_OPTION_ARG_FILENAME, &device.root, "Where all of it goes (/)", "DIR"},
      {"onto", 0, 0, G_OPTION_ARG_NONE, &device.onto,
       "DIR need not be empty: what is in the way and differs gets the name NAME.doppel-before", NULL},
      {"json", 0, 0, G_OPTION_ARG_NONE, &device.json, "Print JSON", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("FILE[@GENERATION] | --device");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, 1))
    return 2;
  g_autoptr(GError) error = NULL;
  return run(argc > 1 ? argv[1] : NULL, &device, output, force, &error) ? 0 : cmd_fail("restore", error);
}
