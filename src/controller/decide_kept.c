/* What is known of a program's functions, over its runs: a file for each build of it and each clone. Only
 * speed depends on it. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/controller.h"
#include "identity/key.h"
#include "mirror/elf_facts.h"
#include "mirror/page_file.h"

#define SUFFIX ".policy"

enum { FILES_MAX = 256, BYTES_MAX = 4 << 20 };

static const PageFileKind kind = {"doppelPO", 1, BYTES_MAX};

static char *
path_of(const Controller *controller)
{
  g_autoptr(ElfFacts) facts = elf_facts_read(controller->program, NULL);
  const char *clone = controller->options->clone;
  g_autofree char *own = identity_directory();
  g_autofree char *key =
      g_strdup_printf("%s %s %s", controller->program, facts && facts->build_id ? facts->build_id : "",
                      clone ? clone : "local");
  g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, key, -1);
  digest[32] = '\0';
  g_autofree char *name = g_strconcat(digest, SUFFIX, NULL);
  return g_build_filename(own, "policies", name, NULL);
}

static void
load(Controller *controller)
{
  g_autoptr(GBytes) bytes = page_file_load(controller->policy_path, &kind);
  gsize length;
  const guint8 *data = bytes ? g_bytes_get_data(bytes, &length) : NULL;
  if (data && !policy_placement_unpack(controller->policy, data, length))
    explain(controller, "what earlier runs learned is of no use: it is learned again");
}

/* With the directory's lock held: the one that was written longest ago goes where there are too many. */
static void
remove_oldest(const char *path)
{
  g_autofree char *directory = g_path_get_dirname(path), *oldest = NULL;
  g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
  guint count = 0;
  time_t when = 0;
  for (const char *name; dir && (name = g_dir_read_name(dir));) {
    g_autofree char *each = g_build_filename(directory, name, NULL);
    GStatBuf status;
    if (!g_str_has_suffix(name, SUFFIX) || g_lstat(each, &status) < 0)
      continue;
    count++;
    if (oldest && status.st_mtime >= when)
      continue;
    when = status.st_mtime;
    g_free(oldest);
    oldest = g_steal_pointer(&each);
  }
  if (count > FILES_MAX)
    g_unlink(oldest);
}

static gboolean
save(Controller *controller, GError **error)
{
  g_autoptr(GByteArray) bytes = policy_placement_pack(controller->policy);
  int lock = page_file_lock(controller->policy_path, error);
  if (lock < 0)
    return FALSE;
  gboolean saved = page_file_save(controller->policy_path, &kind, bytes->data, bytes->len, error);
  if (saved)
    remove_oldest(controller->policy_path);
  close(lock);
  return saved;
}

gboolean
decide_open(Controller *controller, GError **error)
{
  const RunOptions *options = controller->options;
  g_autoptr(GError) why = NULL;
  PolicyAim aim = {.objective = options->objective, .prices = POLICY_PRICES_DEFAULT};
  gboolean wants_energy = options->objective == POLICY_ENERGY || options->stats;
  controller->energy_models = wants_energy ? energy_models_load(NULL, NULL, &why) : NULL;
  if (controller->energy_models)
    aim.energy = controller->energy = energy_models_chosen(controller->energy_models, NULL, &why);
  if (options->objective == POLICY_ENERGY && !controller->energy) {
    g_propagate_error(error, g_steal_pointer(&why));
    return FALSE;
  }
  controller->policy = policy_placement_new(&aim);
  if (!options->clone || g_str_equal(options->clone, "local"))
    policy_tracker_init(policy_placement_tracker(controller->policy), ENERGY_RADIO_WIRED);
  if (options->place != RUN_PLACE_AUTO || options->whole || !controller->functions->len)
    return TRUE;
  controller->policy_path = path_of(controller);
  load(controller);
  return TRUE;
}

void
decide_close(Controller *controller)
{
  g_autoptr(GError) why = NULL;
  gboolean asked = FALSE;
  for (guint i = 0; i < controller->functions->len; i++)
    asked |= ((Function *)controller->functions->pdata[i])->policy != NULL;
  if (controller->policy_path && asked && !save(controller, &why))
    explain(controller, "what this run learned is forgotten: %s", why->message);
  g_clear_pointer(&controller->policy, policy_placement_free);
  g_clear_pointer(&controller->energy_models, energy_models_free);
  g_clear_pointer(&controller->policy_path, g_free);
}
