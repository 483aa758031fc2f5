/* doppel pair: from an invitation to a clone. */
#include <stdio.h>

#include "base/error.h"
#include "cmd/cmd.h"
#include "link/pair.h"

static const char summary[] = "Accepts an INVITATION, the word that \"doppeld invite\" printed on a clone "
                              "host, and remembers the clone that "
                              "the host makes\n"
                              "for this device. Device and clone know each other by their keys from then on. "
                              "An invitation is good for one "
                              "device, for a\n"
                              "short time. If the answer gets lost, give the same invitation again.";

static const char notes[] = "Example: doppel pair --name home doppel1k7pm...";

/* A name that cannot be had is said before the invitation is used up. */
static gboolean
check_name(const char *name, GError **error)
{
  if (!paired_name_check(name, error))
    return FALSE;
  g_autoptr(GError) problem = NULL;
  g_autoptr(PairedClone) taken = paired_find(name, &problem);
  if (taken)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "this device has a clone named \"%s\" already: choose another name with --name",
                            name);
  if (g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND))
    return TRUE;
  g_propagate_error(error, g_steal_pointer(&problem));
  return FALSE;
}

static PairedClone *
pair(const char *text, const char *name, GError **error)
{
  g_autoptr(Invitation) invitation = invitation_from_text(text, error);
  if (!invitation || (name && !check_name(name, error)))
    return NULL;
  g_autoptr(IdentityKey) device = identity_device_key(error);
  if (!device)
    return NULL;
  g_autoptr(PairedClone) clone = link_pair(invitation, device, name, error);
  if (!clone) {
    if (error && *error && invitation->expires < g_get_real_time() / G_USEC_PER_SEC)
      g_prefix_error(error, "by this device's clock the invitation has expired; ");
    return NULL;
  }
  if (!paired_add(clone, error)) {
    g_prefix_error(
        error, "the host has made the clone, and gives it to this device again with the same invitation; ");
    return NULL;
  }
  return g_steal_pointer(&clone);
}

int
cmd_pair(int argc, char **argv)
{
  g_autofree char *name = NULL;
  const GOptionEntry options[] = {
      {"name", 'n', 0, G_OPTION_ARG_STRING, &name,
       "What to call the clone (by default as its host is called)", "NAME"},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("INVITATION");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 1, 1))
    return 2;
  g_autoptr(GError) error = NULL;
  g_autoptr(PairedClone) clone = pair(argv[1], name, &error);
  if (!clone)
    return cmd_fail("pair", error);
  g_autofree char *addresses = g_strjoinv(", ", clone->addresses);
  g_autofree char *key = identity_public_to_text(&clone->key);
  printf("Paired with the clone \"%s\" at %s.\nIts key is %s.\nUse it with: doppel run --clone %s -f "
         "FUNCTION -- "
         "PROGRAM ARGUMENT...\n",
         clone->name, addresses, key, clone->name);
  return 0;
}
