#include "cmd/restore_device.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "cmd/clone_store.h"
#include "cmd/phrase_input.h"
#include "identity/address.h"
#include "link/recover.h"
#include "replicator/device_restore.h"

#define REPORT_NS (200 * G_GINT64_CONSTANT(1000000))
#define TOLD_MAX  10 /* names that are listed for people */

void
restore_device_clear(RestoreDevice *device)
{
  g_strfreev(device->from);
  g_free(device->phrase_file);
  g_free(device->root);
  g_free(device->name);
  g_free(device->clone);
}

/* The pairing with this clone that this device has already, from an attempt before, say. */
static PairedClone *
find_same(const PairedClone *clone)
{
  g_autoptr(GPtrArray) all = paired_list(NULL);
  for (guint i = 0; all && i < all->len; i++) {
    const PairedClone *known = all->pdata[i];
    if (memcmp(known->id, clone->id, sizeof known->id) == 0 &&
        identity_public_equal(&known->key, &clone->key))
      return paired_find(known->name, NULL);
  }
  return NULL;
}

static gboolean
check_name(const char *name, GError **error)
{
  return !name || paired_name_check(name, error);
}

static PairedClone *
remember(PairedClone *recovered, GError **error)
{
  g_autoptr(PairedClone) clone = recovered;
  g_autoptr(PairedClone) same = find_same(clone);
  if (same)
    return paired_set_addresses(same->name, (const char *const *)clone->addresses, error)
               ? paired_find(same->name, error)
               : NULL;
  if (paired_add(clone, error))
    return g_steal_pointer(&clone);
  g_prefix_error(error, "the clone lets this device in from now on, but has no place here (the same again "
                        "with --name OTHER): ");
  return NULL;
}

/* By the phrase this device becomes one of the clone's. */
static PairedClone *
get_in(const RestoreDevice *device, GError **error)
{
  for (char **address = device->from; *address; address++)
    if (!identity_address_check(*address, error))
      return NULL;
  if (!check_name(device->name, error))
    return NULL;
  g_autoptr(IdentityKey) key = identity_device_key(error);
  g_autoptr(IdentityRecovery) recovery = key ? phrase_input(device->phrase_file, error) : NULL;
  if (!recovery)
    return NULL;
  PairedClone *clone =
      link_recover((const char *const *)device->from, key, recovery, device->name, device->beside, error);
  clone = clone ? remember(clone, error) : NULL;
  if (clone &&
      !paired_set_successor(clone->name, identity_key_public(identity_recovery_successor(recovery)), error))
    g_clear_pointer(&clone, paired_clone_free);
  if (clone)
    fprintf(stderr, "This device has the clone \"%s\" now%s\n", clone->name,
            device->beside ? ", beside the devices that had it before."
                           : "; every other device is locked out of it.");
  return clone;
}

static char *
choose_root(const RestoreDevice *device, const char *directory, GError **error)
{
  g_autofree char *begun = NULL, *synchronised = clone_index_root(directory);
  clone_index_restoring(directory, &begun);
  const char *before = begun ? begun : synchronised;
  if (!device->root && !begun && geteuid() != 0 && strcmp(before, "/") == 0) {
    doppel_error_set(error, DOPPEL_ERROR_USAGE,
                     "say with --root which directory it is that was synchronised: only root can restore all "
                     "of a device to /");
    return NULL;
  }
  const char *root = device->root ? device->root : before;
  if (g_mkdir(root, 0700) < 0 && errno != EEXIST) {
    doppel_error_errno(error, "the directory %s cannot be made", root);
    return NULL;
  }
  g_autofree char *real = realpath(root, NULL);
  if (!real)
    doppel_error_errno(error, "nothing can be restored to %s", root);
  else if (begun && strcmp(real, before) != 0)
    doppel_error_set(error, DOPPEL_ERROR_USAGE,
                     "this device is being restored to %s: let that come to its end first (\"doppel restore "
                     "--device\", without --root)",
                     before);
  else
    return g_strdup(real);
  return NULL;
}

/* What is shown while it goes on. */
typedef struct {
  gboolean wanted;
  gsize shown;
  gint64 told_at, filling_at;
} Line;

static void
clear(Line *line)
{
  if (line->shown)
    fprintf(stderr, "\r%*s\r", (int)line->shown, "");
  line->shown = 0;
}

static char *
time_left(const Line *line, const DeviceRestoreProgress *progress, gint64 now)
{
  double seconds = (now - line->filling_at) / 1e9;
  if (progress->bytes_done == 0 || seconds < 1)
    return g_strdup("");
  double rate = progress->bytes_done / seconds;
  g_autofree char *speed = clone_store_size((guint64)rate);
  return g_strdup_printf(", %s/s, %.0f s left", speed, (progress->bytes - progress->bytes_done) / rate);
}

static void
show(void *user, const DeviceRestoreProgress *progress)
{
  static const char *const phases[] = {"asking the clone what there is", "making directories", "restoring",
                                       "completing"};
  Line *line = user;
  gint64 now = clock_now_ns();
  if (progress->phase == DEVICE_RESTORE_FILLING && !line->filling_at)
    line->filling_at = now;
  if (!line->wanted || now - line->told_at < REPORT_NS)
    return;
  g_autofree char *text = NULL;
  if (progress->phase == DEVICE_RESTORE_FILLING) {
    g_autofree char *done = clone_store_size(progress->bytes_done);
    g_autofree char *all = clone_store_size(progress->bytes);
    g_autofree char *left = time_left(line, progress, now);
    text = g_strdup_printf("%s: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " paths, %s of %s%s",
                           phases[progress->phase], progress->paths_done, progress->paths, done, all, left);
  } else {
    text = g_strdup_printf("%s ...", phases[progress->phase]);
  }
  clear(line);
  fputs(text, stderr);
  line->shown = strlen(text);
  line->told_at = now;
}

static void
report_json(const char *clone, const char *root, const DeviceRestored *restored)
{
  g_autoptr(GString) json = g_string_new("{\"clone\": ");
  json_append_string(json, clone);
  g_string_append(json, ", \"root\": ");
  json_append_string(json, root);
  g_string_append_printf(json, ", \"generation\": %" G_GUINT64_FORMAT ", \"resumed\": %s",
                         restored->generation, restored->resumed ? "true" : "false");
  g_string_append_printf(json,
                         ",\n \"paths\": %" G_GUINT64_FORMAT ", \"bytes\": %" G_GUINT64_FORMAT
                         ", \"kept\": %" G_GUINT64_FORMAT ", \"fetched\": %" G_GUINT64_FORMAT,
                         restored->paths, restored->bytes, restored->kept, restored->fetched);
  g_string_append_printf(
      json,
      ",\n \"lost\": {\"owners\": %" G_GUINT64_FORMAT ", \"attributes\": %" G_GUINT64_FORMAT
      ", \"nodes\": %" G_GUINT64_FORMAT "},\n \"aside\": [",
      restored->losses.count[GENERATION_LOST_OWNER], restored->losses.count[GENERATION_LOST_ATTRIBUTES],
      restored->losses.count[GENERATION_LOST_NODE]);
  for (guint i = 0; i < restored->aside->len; i++) {
    g_string_append(json, i ? ", " : "");
    json_append_string(json, restored->aside->pdata[i]);
  }
  g_string_append(json, "]}");
  puts(json->str);
}

static void
report_people(const char *clone, const char *root, const DeviceRestored *restored)
{
  static const char *const lost[GENERATION_LOST_KINDS] = {
      "owners could not be set, for want of privilege",
      "attributes could not be set, for want of privilege or of room in the file system",
      "device nodes are empty files now, for want of privilege",
  };
  g_autofree char *size = clone_store_size(restored->bytes), *came = clone_store_size(restored->fetched);
  printf("Restored generation %" G_GUINT64_FORMAT " of \"%s\" to %s: %" G_GUINT64_FORMAT
         " paths, %s, of which %s came over the network.\n",
         restored->generation, clone, root, restored->paths, size, came);
  for (guint i = 0; i < GENERATION_LOST_KINDS; i++)
    if (restored->losses.count[i])
      fprintf(stderr, "doppel restore: %" G_GUINT64_FORMAT " %s, as of %s\n", restored->losses.count[i],
              lost[i], restored->losses.first[i]);
  if (restored->aside_count)
    fprintf(stderr,
            "doppel restore: %" G_GUINT64_FORMAT " files or directories were in the way and have other names "
            "now, here below %s:\n",
            restored->aside_count, root);
  for (guint i = 0; i < MIN(restored->aside->len, TOLD_MAX); i++) {
    g_autofree char *path = g_strescape(restored->aside->pdata[i], NULL);
    fprintf(stderr, "  %s\n", path);
  }
  if (restored->aside_count > TOLD_MAX)
    fprintf(stderr, "  ... (find %s -name '*.doppel-before*')\n", root);
}

static gboolean
restore_to(const RestoreDevice *device, const PairedClone *clone, const char *root, CloneIndex *index,
           GError **error)
{
  Line line = {.wanted = !device->json && isatty(STDERR_FILENO)};
  const DeviceRestoreOptions options = {
      .root = root, .generation = device->generation, .onto = device->onto, .progress = show, .user = &line};
  g_auto(DeviceRestored) restored = {0};
  g_autoptr(Link) link = clone_store_dial(clone, error);
  gboolean good = link && replicator_restore_device(link, index, &options, &restored, error);
  clear(&line);
  if (!good && clone_index_restoring(index->directory, NULL))
    g_prefix_error(error, "not complete yet (\"doppel restore --device --clone %s\" goes on): ", clone->name);
  if (good && device->json)
    report_json(clone->name, root, &restored);
  else if (good)
    report_people(clone->name, root, &restored);
  return good;
}

static gboolean
check_options(const RestoreDevice *device, GError **error)
{
  const char *problem = NULL;
  if (device->beside && device->replace)
    problem = "--beside and --replace contradict each other";
  else if (!device->from && (device->beside || device->replace || device->phrase_file || device->name))
    problem = "--beside, --replace, --phrase-file and --name are for a device that gets in with a recovery "
              "phrase: say with --from where the clone's host is";
  else if (device->from && device->clone)
    problem = "--clone is for a device that has the clone already; --name says what to call one that --from "
              "finds";
  else if (device->generation < 0)
    problem = "--generation takes the number of a generation, as \"doppel snapshots\" lists them";
  return !problem || doppel_error_set(error, DOPPEL_ERROR_USAGE, "%s", problem);
}

gboolean
restore_device(const RestoreDevice *device, GError **error)
{
  if (!check_options(device, error))
    return FALSE;
  g_autoptr(PairedClone) clone = device->from ? get_in(device, error) : paired_find(device->clone, error);
  if (!clone)
    return FALSE;
  g_autofree char *directory = clone_store_directory(clone->name);
  g_autofree char *root = choose_root(device, directory, error);
  g_autoptr(CloneIndex) index = root ? clone_index_open(directory, error) : NULL;
  return index && restore_to(device, clone, root, index, error);
}
