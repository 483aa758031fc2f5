/* doppel unpair: giving a clone up, on both ends. */
#include <stdio.h>

#include "base/error.h"
#include "cmd/clone_store.h"
#include "cmd/clone_where.h"
#include "cmd/cmd.h"
#include "controller/learned.h"
#include "identity/user.h"
#include "link/pair.h"
#include "replicator/discard.h"
#include "replicator/job_parcel.h"

static const char summary[] = "Gives the clone NAME up: its host removes it, then this device forgets it. A "
                              "clone that other devices have, "
                              "too,\n"
                              "stays theirs.";

static const char notes[] = "Example: doppel unpair home";

/* The name in the network of clones goes on pointing to it. */
static void
tell_of_name(const PairedClone *clone)
{
  g_autoptr(User) user = user_load(FALSE, NULL);
  const Record *record = user ? user->record : NULL;
  if (record && !record->revoked && identity_public_equal(&record->clone_key, &clone->key))
    printf("It was the clone of \"%s\" in the network of clones: \"doppel name claim %s\" gives that name "
           "another "
           "one,\n\"doppel name revoke\" says that there is none.\n",
           record->name, record->name);
}

/* In this order: a run that begins in between finds no clone, and learns nothing. */
static gboolean
forget_clone(const PairedClone *clone, GError **error)
{
  const char *name = clone->name;
  if (!paired_remove(name, error))
    return FALSE;
  g_autofree char *parcels = job_parcel_directory(clone);
  g_autofree char *replica = clone_store_directory(name);
  gboolean good = learned_forget(name, error);
  clone_where_forget(clone);
  good = discard_directory(parcels, good ? error : NULL) && good;
  if (discard_directory(replica, good ? error : NULL) && good) {
    printf("\"%s\" is no longer a clone of this device.\n", name);
    tell_of_name(clone);
    return TRUE;
  }
  g_prefix_error(error, "\"%s\" is no longer a clone of this device, but ", name);
  return FALSE;
}

static gboolean
unpair(const char *name, gboolean forget, GError **error)
{
  g_autoptr(PairedClone) clone = paired_find(name, error);
  if (!clone)
    return FALSE;
  if (forget)
    return forget_clone(clone, error);
  g_autoptr(IdentityKey) device = identity_device_key(error);
  if (!device)
    return FALSE;
  g_autoptr(GError) problem = NULL;
  /* What the host has revoked already is as good as given up. */
  if (!link_unpair(clone, device, &problem) &&
      !g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND)) {
    g_propagate_prefixed_error(
        error, g_steal_pointer(&problem),
        "\"%s\" is still paired (with --forget only this device's part is undone): ", name);
    return FALSE;
  }
  return forget_clone(clone, error);
}

int
cmd_unpair(int argc, char **argv)
{
  gboolean forget = FALSE;
  const GOptionEntry options[] = {
      {"forget", 0, 0, G_OPTION_ARG_NONE, &forget,
       "Do not ask the host: it is gone for good, or \"doppeld revoke\" is used there", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("NAME");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 1, 1))
    return 2;
  g_autoptr(GError) error = NULL;
  if (!unpair(argv[1], forget, &error))
    return cmd_fail("unpair", error);
  return 0;
}
