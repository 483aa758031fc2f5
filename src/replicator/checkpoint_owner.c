#include "replicator/checkpoint_owner.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replicator/owner.h"

#define SUFFIX ".owner"

static char *
file_name(const guint8 run[CHECKPOINT_RUN])
{
  GString *name = g_string_new(NULL);
  for (guint i = 0; i < CHECKPOINT_RUN; i++)
    g_string_append_printf(name, "%02x", run[i]);
  g_string_append(name, SUFFIX);
  return g_string_free(name, FALSE);
}

static int
open_store(const char *directory)
{
  return open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Runs go without their owners' files. One that is not there was never there before: a run is made first. */
static void
sweep(const char *path, int directory)
{
  g_autoptr(GDir) entries = g_dir_open(path, 0, NULL);
  for (const char *name; entries && (name = g_dir_read_name(entries));) {
    if (!g_str_has_suffix(name, SUFFIX))
      continue;
    g_autofree char *run = g_strndup(name, strlen(name) - strlen(SUFFIX));
    if (faccessat(directory, run, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
      unlinkat(directory, name, 0);
  }
}

gboolean
checkpoint_owner_denies(const char *directory, const guint8 run[CHECKPOINT_RUN], const IdentityPublic *device,
                        GError **error)
{
  IdentityPublic owner;
  g_autofree char *name = file_name(run);
  g_auto(Fd) store = device ? open_store(directory) : -1;
  if (store < 0 || !owner_read(store, name, &owner) || identity_public_equal(&owner, device))
    return FALSE;
  doppel_error_set(error, DOPPEL_ERROR_DENIED, "these are the checkpoints of another device's program");
  return TRUE;
}

gboolean
checkpoint_owner_claim(const char *directory, const guint8 run[CHECKPOINT_RUN], const IdentityPublic *device,
                       GError **error)
{
  IdentityPublic owner;
  g_autofree char *name = file_name(run);
  if (!device)
    return TRUE;
  g_auto(Fd) store = open_store(directory);
  if (store >= 0)
    sweep(directory, store);
  if (store >= 0 && owner_read(store, name, &owner))
    return !checkpoint_owner_denies(directory, run, device, error);
  return (store >= 0 && owner_note(store, name, device)) ||
         doppel_error_errno(error, "cannot write down whose checkpoints these are");
}

gboolean
checkpoint_owner_is_other(const char *directory, const guint8 run[CHECKPOINT_RUN],
                          const IdentityPublic *device)
{
  if (!device)
    return FALSE;
  g_autofree char *name = file_name(run);
  g_auto(Fd) store = open_store(directory);
  return store < 0 || !owner_is(store, name, device);
}
