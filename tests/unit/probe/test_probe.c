#include <dirent.h>
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "mirror/probe.h"

static guint
open_descriptors(void)
{
  guint count = 0;
  DIR *folder = opendir("/proc/self/fd");
  while (readdir(folder))
    count++;
  closedir(folder);
  return count;
}

/* Whatever the machine, every question gets an answer with its reason, soon, and nothing is left behind. */
static void
test_all(void)
{
  guint before = open_descriptors();
  for (int i = 0; i < PROBE_COUNT; i++) {
    gint64 start = clock_now_ns();
    const Probe *probe = probe_get(i);
    g_assert_cmpint(clock_now_ns() - start, <, (gint64)5 * 1000000000);
    g_test_message("%s: %s %s", probe->name, probe->present ? "yes" : "no", probe->detail);
    g_assert_true(probe->name && *probe->name && *probe->use && *probe->instead && *probe->advice);
    g_assert_true(probe->present || *probe->detail);
    g_assert_true(probe_get(i) == probe);
    g_assert_cmpint(probe_has(i), ==, probe->present);
  }
  g_assert_cmpuint(open_descriptors(), ==, before);
  g_assert_cmpint(waitpid(-1, NULL, WNOHANG), ==, -1);
  g_assert_cmpint(errno, ==, ECHILD);
}

static void
test_names(void)
{
  g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
  for (int i = 0; i < PROBE_COUNT; i++) {
    const char *name = probe_get(i)->name;
    g_assert_true(g_hash_table_add(names, (gpointer)name));
    g_assert_cmpuint(strspn(name, "abcdefghijklmnopqrstuvwxyz-"), ==, strlen(name));
  }
}

/* What one feature needs of another must have been found too, or one of the trials lies. */
static void
test_consistent(void)
{
  if (probe_has(PROBE_WRITE_PROTECT))
    g_assert_true(probe_has(PROBE_PAGEMAP_SCAN) && probe_has(PROBE_USERFAULTFD));
  if (probe_has(PROBE_USERFAULTFD_KERNEL))
    g_assert_true(probe_has(PROBE_USERFAULTFD));
  if (probe_has(PROBE_BREAKPOINT) || probe_has(PROBE_PROC_MEM))
    g_assert_true(probe_has(PROBE_PTRACE));
  if (probe_has(PROBE_SECCOMP_KILLABLE) || probe_has(PROBE_SECCOMP_SYNC_WAKE) ||
      probe_has(PROBE_SECCOMP_ADDFD))
    g_assert_true(probe_has(PROBE_SECCOMP_NOTIFY));
  if (probe_has(PROBE_OVERLAY_USER))
    g_assert_true(probe_has(PROBE_USER_NAMESPACE));
}

static void
test_left_out(void)
{
  if (!g_test_subprocess()) {
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    return;
  }
  g_setenv("DOPPEL_WITHOUT", "pagemap-scan,ptrace", TRUE);
  g_assert_false(probe_has(PROBE_PAGEMAP_SCAN));
  g_assert_false(probe_has(PROBE_PTRACE));
  g_assert_nonnull(strstr(probe_get(PROBE_PTRACE)->detail, "DOPPEL_WITHOUT"));
  g_assert_true(probe_has(PROBE_PIDFD_GETFD) || *probe_get(PROBE_PIDFD_GETFD)->detail);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/probe/left-out", test_left_out);
  g_test_add_func("/probe/all", test_all);
  g_test_add_func("/probe/names", test_names);
  g_test_add_func("/probe/consistent", test_consistent);
  return g_test_run();
}
