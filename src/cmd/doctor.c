/* doppel doctor: what this machine offers, what is used instead, what its owner can do. */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/table.h"
#include "mirror/arch/arch.h"
#include "mirror/probe.h"

static const char summary[] = "Tries every feature of the kernel and the processor that doppel uses, each in "
                              "a process of its own, and tells for those\n"
                              "that are missing what is used instead and what can be done about it.";

static const char notes[] =
    "Example: doppel doctor\n"
    "\n"
    "The exit status is 1 when something is missing without which \"doppel run\" cannot work here at all.";

/* Without these there is no "doppel run", or no local clone. */
static const ProbeFeature needed_to_run[] = {PROBE_PTRACE};
static const ProbeFeature needed_for_clone[] = {PROBE_SECCOMP_NOTIFY, PROBE_PID_NAMESPACE,
                                                PROBE_MOUNT_NAMESPACE, PROBE_NET_NAMESPACE};

static const TableColumn columns[] = {
    {"FEATURE", "name"}, {"HERE", NULL},    {"FOR", "use"},   {NULL, "present", TABLE_BOOLEAN},
    {NULL, "detail"},    {NULL, "instead"}, {NULL, "advice"},
};

static gboolean
all_present(const ProbeFeature *features, gsize count)
{
  for (gsize i = 0; i < count; i++)
    if (!probe_has(features[i]))
      return FALSE;
  return TRUE;
}

static void
print_missing(void)
{
  for (int i = 0; i < PROBE_COUNT; i++) {
    const Probe *probe = probe_get(i);
    if (probe->present)
      continue;
    printf("\n%s is missing (%s).\n", probe->name, probe->detail);
    printf("  used instead: %s\n", probe->instead);
    printf("  what you can do: %s\n", probe->advice);
  }
}

static void
print_verdict(gboolean runs, gboolean clones)
{
  gboolean tracked = probe_has(PROBE_WRITE_PROTECT) && probe_has(PROBE_PAGEMAP_SCAN);
  printf("\n%s.\n", !runs ? "doppel run cannot work here"
                    : !clones
                        ? "doppel run works with a paired clone; this machine cannot hold a clone itself"
                        : "doppel run works, with a clone on this machine or a paired one");
  printf("Written pages are found by %s.\n", tracked ? "write-protection and PAGEMAP_SCAN, the fastest way"
                                             : probe_has(PROBE_SOFT_DIRTY)
                                                 ? "soft-dirty bits"
                                                 : "comparing hashes of all pages, which is slow");
}

int
cmd_doctor(int argc, char **argv)
{
  gboolean json = FALSE;
  const GOptionEntry options[] = {
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print JSON", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new(NULL);
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, 0))
    return 2;
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  for (int i = 0; i < PROBE_COUNT; i++) {
    const Probe *probe = probe_get(i);
    g_autofree char *here =
        g_strdup_printf("%s%s%s", probe->present ? "yes" : "no", *probe->detail && probe->present ? ", " : "",
                        probe->present ? probe->detail : "");
    table_add(table, (const char *const[]){probe->name, here, probe->use, probe->present ? "true" : "false",
                                           probe->detail, probe->instead, probe->advice});
  }
  struct utsname system;
  g_autofree char *features = arch_features();
  gboolean runs = all_present(needed_to_run, G_N_ELEMENTS(needed_to_run));
  gboolean clones = all_present(needed_for_clone, G_N_ELEMENTS(needed_for_clone));
  uname(&system);
  if (json) {
    static const TableColumn machine_columns[] = {
        {NULL, "kernel"}, {NULL, "machine"}, {NULL, "user", TABLE_NUMBER}, {NULL, "processor_features"}};
    g_autoptr(Table) machine = table_new(machine_columns, G_N_ELEMENTS(machine_columns));
    g_autofree char *user = g_strdup_printf("%u", geteuid());
    table_add(machine, (const char *const[]){system.release, system.machine, user, features});
    printf("{\"machine\": ");
    table_print(machine, TRUE, stdout);
    printf(",\n \"features\": ");
    table_print(table, TRUE, stdout);
    printf("}\n");
    return runs ? 0 : 1;
  }
  printf("Linux %s on %s, as %s\n\n", system.release, system.machine,
         geteuid() == 0 ? "root" : "an ordinary user");
  table_print(table, FALSE, stdout);
  print_missing();
  printf("\nProcessor features that programs choose their code by: %s\n", *features ? features : "none");
  print_verdict(runs, clones);
  return runs ? 0 : 1;
}
