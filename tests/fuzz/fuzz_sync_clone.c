/* What a device sends to the clone's end of a synchronisation. Whatever it is, the store can be opened
 * afterwards, and nothing came to be beside it. */
#include <sys/socket.h>

#include "replica/generation_store.h"
#include "replicator/receive.h"
#include "sync_input.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize length);

static void
be_quiet(const char *text)
{
}

static void
be_quiet_too(const char *domain, GLogLevelFlags level, const char *message, gpointer unused)
{
}

static void
check(const char *base)
{
  static const char *const known[] = {"replica"};
  g_autoptr(GDir) entries = g_dir_open(base, 0, NULL);
  for (const char *name; (name = g_dir_read_name(entries));)
    if (strcmp(name, known[0]) != 0)
      abort();
  g_autofree char *path = g_build_filename(base, "replica", "store", NULL);
  if (!g_file_test(path, G_FILE_TEST_IS_DIR))
    return;
  g_autoptr(GError) error = NULL;
  GenerationStore *store = generation_store_open(path, NULL, &error);
  if (!store)
    abort();
  generation_store_free(store);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  int ends[2];
  g_set_printerr_handler(be_quiet);
  g_log_set_default_handler(be_quiet_too, NULL);
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return 0;
  Input input = {data, length};
  char *base = sync_input_directory();
  g_autofree char *directory = g_build_filename(base, "replica", NULL);
  const ReplicatorPlace place = {.directory = directory, .name = "fuzz", .control_fd = -1};
  Link *device = link_new_local(ends[0]), *clone = link_new_local(ends[1]);
  sync_input_send(&input, device, ends[0], TRUE);
  replicator_receive(clone, &place);
  link_free(clone);
  link_free(device);
  check(base);
  sync_input_remove(base);
  return 0;
}
