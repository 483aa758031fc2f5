/* doppel unpair: giving a clone up, on both ends. */
#include <stdio.h>

#include "base/error.h"
#include "cmd/cmd.h"
#include "link/pair.h"

static const char summary[] = "Gives the clone NAME up: its host removes it, then this device forgets it.";

static const char notes[] = "Example: doppel unpair home";

static gboolean
unpair(const char *name, gboolean forget, GError **error)
{
  g_autoptr(PairedClone) clone = paired_find(name, error);
  if (!clone)
    return FALSE;
  if (forget)
    return paired_remove(name, error);
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
  return paired_remove(name, error);
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
  printf("\"%s\" is no longer a clone of this device.\n", argv[1]);
  return 0;
}
