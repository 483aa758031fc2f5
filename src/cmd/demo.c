/* doppel demo: shows on this one machine what takes several. A demonstration is a script, which people can
 * read (libexec/doppel/demo-NAME). */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/error.h"
#include "cmd/cmd.h"

static const char summary[] =
    "Shows on this machine what takes several. There is one demonstration:\n\n"
    "  c2c   the network of clones: two users, each with a clone at a provider of its own, and a directory.\n"
    "        The clones register, are looked up and connect; each step says what was signed by whom. Then\n"
    "        a file is sent while the receiver's device is off, and is there when it comes back.";

static const char notes[] =
    "Example: doppel demo c2c\n"
    "\n"
    "Users, providers and directory are in network namespaces of their own, joined by a bridge, in a "
    "temporary\n"
    "directory. Nothing of it is left afterwards, and nothing of this machine is touched. It needs no root "
    "where\n"
    "the kernel lets users make namespaces, and the programs of util-linux and iproute2.";

/* In the build tree it stands where the build has put it; else where it was installed. */
static char *
find_script(const char *programs, const char *demonstration, GError **error)
{
  g_autofree char *name = g_strconcat("demo-", demonstration, NULL);
  g_autofree char *built = g_build_filename(programs, "..", "..", "libexec", "doppel", name, NULL);
  if (access(built, R_OK) == 0)
    return g_steal_pointer(&built);
  g_autofree char *installed = g_build_filename(DOPPEL_LIBEXEC, name, NULL);
  if (access(installed, R_OK) == 0)
    return g_steal_pointer(&installed);
  doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                   "its script is missing: %s. Install doppel again, or build all of the tree", installed);
  return NULL;
}

static gboolean
show(const char *demonstration, gboolean keep, GError **error)
{
  if (!g_str_equal(demonstration, "c2c"))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "there is no demonstration \"%s\"; there is c2c",
                            demonstration);
  g_autofree char *self = g_file_read_link("/proc/self/exe", error);
  if (!self)
    return FALSE;
  g_autofree char *programs = g_path_get_dirname(self);
  g_autofree char *script = find_script(programs, demonstration, error);
  if (!script)
    return FALSE;
  g_setenv("DOPPEL_BIN", programs, TRUE);
  g_setenv("DOPPEL_DEMO_KEEP", keep ? "yes" : "", TRUE);
  execl("/bin/sh", "sh", script, NULL);
  return doppel_error_set(error, DOPPEL_ERROR_FAILED, "/bin/sh does not start: %s", g_strerror(errno));
}

int
cmd_demo(int argc, char **argv)
{
  gboolean keep = FALSE;
  const GOptionEntry options[] = {
      {"keep", 0, 0, G_OPTION_ARG_NONE, &keep,
       "Leave the temporary directory, with the logs of all, and say where it is", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("NAME");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 1, 1))
    return 2;
  g_autoptr(GError) error = NULL;
  show(argv[1], keep, &error);
  return cmd_fail("demo", error);
}
