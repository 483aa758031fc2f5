/* doppel-rig: a device and a host on this machine, joined by a link like a phone's. */
#include <glib.h>
#include <locale.h>
#include <stdio.h>

#include "profile.h"
#include "verb.h"

static const struct {
  const char *name, *about;
  VerbMain *main;
} verbs[] = {
    {"exec", "run a command on the device, and perhaps another on the host", verb_exec},
    {"control", "cut, stall, reset, resume or change the link of a running rig", verb_control},
    {"measure", "what the links of this rig are really like", verb_measure},
    {"profiles", "the table of links", verb_profiles},
};

int
verb_profiles(int argc, char **argv)
{
  printf("%-6s %10s %12s %12s %9s  %s\n", "name", "RTT (ms)", "down (Mb/s)", "up (Mb/s)", "queue(ms)",
         "what");
  for (const Profile *each = profiles; each->name; each++)
    printf("%-6s %10.1f %12.1f %12.1f %9u  %s\n", each->name, each->rtt_us / 1e3, each->down_mbit,
           each->up_mbit, each->queue_ms, each->about);
  return 0;
}

int
main(int argc, char **argv)
{
  for (gsize i = 0; argc > 1 && i < G_N_ELEMENTS(verbs); i++)
    if (g_str_equal(argv[1], verbs[i].name))
      return verbs[i].main(argc - 1, argv + 1);
  gboolean asked = argc > 1 && (g_str_equal(argv[1], "--help") || g_str_equal(argv[1], "-h"));
  FILE *to = asked ? stdout : stderr;
  fprintf(to, "usage: doppel-rig VERB [OPTION...]; each verb has a --help\n");
  for (gsize i = 0; i < G_N_ELEMENTS(verbs); i++)
    fprintf(to, "  %-10s %s\n", verbs[i].name, verbs[i].about);
  return asked ? 0 : 2;
}
