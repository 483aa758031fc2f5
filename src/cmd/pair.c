/* doppel pair: from an invitation to a clone, and the phrase with which another device can take this one's
 * place. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cmd/clone_store.h"
#include "cmd/cmd.h"
#include "cmd/phrase_output.h"
#include "controller/learned.h"
#include "link/pair.h"
#include "link/recover.h"
#include "replicator/discard.h"

static const char summary[] =
    "Accepts an INVITATION, the word that \"doppeld invite\" printed on a clone "
    "host, and remembers the clone that "
    "the host makes\n"
    "for this device. Device and clone know each other by their keys from then on. "
    "An invitation is good for one "
    "device, for a\n"
    "short time. If the answer gets lost, give the same invitation again.\n\n"
    "Shows a recovery phrase of ten words: with it \"doppel restore --device\" brings "
    "everything that was synchronised\n"
    "to a new device when this one is lost, and locks this one out. It is not stored "
    "anywhere: write it down.";

static const char notes[] =
    "Examples:\n"
    "  doppel pair --name home doppel1k7pm...\n"
    "  doppel pair --recovery home     a new phrase; the old one is void from then on";

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
  /* What a former clone of this name has left: one whose entry in the file was removed by hand, say. */
  g_autoptr(GError) problem = NULL;
  g_autofree char *replica = clone_store_directory(clone->name);
  if (!learned_forget(clone->name, &problem) || !discard_directory(replica, &problem))
    g_printerr("doppel pair: %s\n", problem->message);
  return g_steal_pointer(&clone);
}

/* The phrase is shown when the host has it, not before: one that is shown is good. */
static gboolean
give_phrase(const PairedClone *clone, GError **error)
{
  g_autoptr(IdentityKey) device = identity_device_key(error);
  g_autoptr(IdentityRecovery) recovery = device ? identity_recovery_new(error) : NULL;
  if (!recovery)
    return FALSE;
  if (!link_set_recovery(clone, device, recovery, error)) {
    g_prefix_error(error,
                   "the clone \"%s\" has no good recovery phrase (\"doppel pair --recovery %s\" makes "
                   "one): ",
                   clone->name, clone->name);
    return FALSE;
  }
  /* Without it the phrase is good for the clone, and not for the user's name. */
  g_autoptr(GError) problem = NULL;
  if (!paired_set_successor(clone->name, identity_key_public(identity_recovery_successor(recovery)),
                            &problem))
    g_printerr("doppel pair: \"doppel name\" will not know this phrase: %s\n", problem->message);
  printf("The recovery phrase of \"%s\", for the day on which this device is lost:\n", clone->name);
  phrase_output(recovery);
  printf("Write it down, with the address %s, and keep it off this device: whoever has it can read all that\n"
         "is synchronised, and lock you out. It is shown this once. On a new device it is asked for by\n"
         "  doppel restore --device --from %s\n"
         "\"doppel pair --recovery %s\" shows a new one, and makes this one void.\n",
         clone->addresses[0], clone->addresses[0], clone->name);
  return TRUE;
}

static gboolean
accept_invitation(const char *text, const char *name, GError **error)
{
  g_autoptr(PairedClone) clone = pair(text, name, error);
  if (!clone)
    return FALSE;
  g_autofree char *addresses = g_strjoinv(", ", clone->addresses);
  g_autofree char *key = identity_public_to_text(&clone->key);
  printf("Paired with the clone \"%s\" at %s.\nIts key is %s.\nUse it with: doppel run --clone %s -f "
         "FUNCTION -- "
         "PROGRAM ARGUMENT...\n\n",
         clone->name, addresses, key, clone->name);
  /* The clone is there without a phrase, too. */
  g_autoptr(GError) problem = NULL;
  if (!give_phrase(clone, &problem))
    g_printerr("doppel pair: %s\n", problem->message);
  return TRUE;
}

static gboolean
renew_phrase(const char *name, GError **error)
{
  g_autoptr(PairedClone) clone = paired_find(name, error);
  return clone && give_phrase(clone, error);
}

int
cmd_pair(int argc, char **argv)
{
  g_autofree char *name = NULL;
  gboolean recovery = FALSE;
  const GOptionEntry options[] = {
      {"name", 'n', 0, G_OPTION_ARG_STRING, &name,
       "What to call the clone (by default as its host is called)", "NAME"},
      {"recovery", 0, 0, G_OPTION_ARG_NONE, &recovery,
       "Show a new recovery phrase for CLONE, which is paired already; the old one is void", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("INVITATION | --recovery [CLONE]");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, 1))
    return 2;
  g_autoptr(GError) error = NULL;
  gboolean good = FALSE;
  if (recovery && name)
    doppel_error_set(&error, DOPPEL_ERROR_USAGE, "--name is for a new pairing: write --recovery [CLONE]");
  else if (recovery)
    good = renew_phrase(argc > 1 ? argv[1] : NULL, &error);
  else if (argc < 2)
    doppel_error_set(&error, DOPPEL_ERROR_USAGE,
                     "an invitation is missing, which \"doppeld invite\" prints on a clone host");
  else
    good = accept_invitation(argv[1], name, &error);
  return good ? 0 : cmd_fail("pair", error);
}
