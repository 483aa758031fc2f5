/* What a clone sends to a device that synchronises, or looks at its store. The device's tree is only read,
 * and what is restored comes to its place or does not. */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "replicator/device_restore.h"
#include "replicator/history.h"
#include "replicator/sync.h"
#include "sync_input.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize length);

static void
be_quiet(const char *domain, GLogLevelFlags level, const char *message, gpointer unused)
{
}

static void
differs(void *user, const char *path, Doppel__Sync__Change change, const ReplicaFacts *facts)
{
  if (change == DOPPEL__SYNC__CHANGE__PRESENT || !path)
    abort();
}

static void
make_tree(const char *tree)
{
  static const char *const files[] = {"a", "d/f"};
  g_autofree char *folder = g_build_filename(tree, "d", NULL);
  g_mkdir_with_parents(folder, 0700);
  for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
    g_autofree char *file = g_build_filename(tree, files[i], NULL);
    g_file_set_contents(file, "contents that are longer than nothing", -1, NULL);
  }
  /* Enough for the public base to be asked for. */
  g_autofree char *large = g_build_filename(folder, "large", NULL);
  g_auto(Fd) fd = open(large, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, 1100000) < 0)
    abort();
}

static void
synchronise(Link *link, const char *base)
{
  g_autofree char *tree = g_build_filename(base, "tree", NULL);
  g_autofree char *directory = g_build_filename(base, "index", NULL);
  g_autoptr(TreeRules) rules = tree_rules_new();
  g_auto(ReplicatorResult) result = {0};
  make_tree(tree);
  g_autoptr(CloneIndex) index = clone_index_open(directory, NULL);
  const ReplicatorOptions options = {.root = tree, .rules = rules};
  if (index)
    replicator_sync(link, index, &options, &result, NULL);
}

static void
restore(Link *link, const char *base, const char *path)
{
  g_auto(HistoryRestored) restored = {0};
  g_autofree char *place = g_build_filename(base, "place", NULL);
  mkdir(place, 0700);
  g_auto(Fd) directory = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  gboolean good = history_restore(link, 1, path, directory, "out", FALSE, &restored, NULL);
  g_autoptr(GDir) entries = g_dir_open(place, 0, NULL);
  const char *name = g_dir_read_name(entries);
  if (good != (name != NULL) || (name && strcmp(name, "out") != 0) || g_dir_read_name(entries))
    abort();
}

/* Whatever comes stays in the place. */
static void
restore_device(Link *link, const char *base)
{
  g_autofree char *place = g_build_filename(base, "place", NULL);
  g_autofree char *tree = g_build_filename(place, "tree", NULL);
  g_autofree char *directory = g_build_filename(base, "index", NULL);
  g_auto(DeviceRestored) restored = {0};
  make_tree(tree);
  g_autoptr(CloneIndex) index = clone_index_open(directory, NULL);
  const DeviceRestoreOptions options = {.root = tree, .onto = TRUE};
  gboolean good = index && replicator_restore_device(link, index, &options, &restored, NULL);
  g_autoptr(GDir) entries = g_dir_open(place, 0, NULL);
  const char *name = g_dir_read_name(entries);
  if (!name || strcmp(name, "tree") != 0 || g_dir_read_name(entries) ||
      (good && clone_index_restoring(directory, NULL)))
    abort();
}

static void
list(Link *link)
{
  GArray *generations = history_list(link, NULL);
  if (generations)
    g_array_unref(generations);
}

static void
look(Link *link, guint which, const char *base)
{
  if (which == 0)
    synchronise(link, base);
  else if (which == 1)
    history_compare(link, 1, 2, "", differs, NULL, NULL);
  else if (which == 2)
    list(link);
  else if (which == 5)
    restore_device(link, base);
  else
    restore(link, base, which == 3 ? "" : "d");
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  int ends[2];
  g_log_set_default_handler(be_quiet, NULL);
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return 0;
  Input input = {data, length};
  char *base = sync_input_directory();
  Link *clone = link_new_local(ends[0]), *device = link_new_local(ends[1]);
  guint which = input_below(&input, 8);
  sync_input_send(&input, clone, ends[0], FALSE);
  look(device, which > 6 ? 0 : MIN(which, 5), base);
  link_free(device);
  link_free(clone);
  sync_input_remove(base);
  return 0;
}
