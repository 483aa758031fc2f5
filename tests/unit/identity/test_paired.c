/* The list of this device's clones. */
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "identity/paired.h"

static PairedClone *
some_clone(const char *name)
{
  static const char *const addresses[] = {"192.0.2.1:3677", "clone.example.net:99", NULL};
  g_autoptr(IdentityKey) key = identity_key_generate();
  g_autoptr(IdentityKey) host = identity_key_generate();
  PairedClone *clone = g_new0(PairedClone, 1);
  clone->name = g_strdup(name);
  memset(clone->id, name[0], sizeof clone->id);
  clone->key = *identity_key_public(key);
  clone->host = *identity_key_public(host);
  clone->addresses = g_strdupv((char **)addresses);
  clone->since = 1700000000;
  return clone;
}

static void
remove_all(void)
{
  g_autoptr(GPtrArray) clones = paired_list(NULL);
  for (guint i = 0; i < clones->len; i++)
    g_assert_true(paired_remove(((PairedClone *)clones->pdata[i])->name, NULL));
}

static void
test_add(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(PairedClone) home = some_clone("home");
  g_assert_true(paired_add(home, &error));
  g_assert_no_error(error);
  g_autoptr(PairedClone) found = paired_find("home", &error);
  g_assert_no_error(error);
  g_assert_cmpmem(found->id, sizeof found->id, home->id, sizeof home->id);
  g_assert_true(identity_public_equal(&found->key, &home->key));
  g_assert_true(identity_public_equal(&found->host, &home->host));
  g_assert_true(g_strv_equal((const char *const *)found->addresses, (const char *const *)home->addresses));
  g_assert_cmpint(found->since, ==, home->since);

  g_assert_false(paired_add(home, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  g_autofree char *directory = identity_directory();
  g_autofree char *path = g_build_filename(directory, "clones.conf", NULL);
  struct stat status;
  g_assert_cmpint(stat(path, &status), ==, 0);
  g_assert_cmpuint(status.st_mode & 07777, ==, 0600);
  remove_all();
}

/* A clone that was paired before phrases had successor keys has none. */
static void
test_successor(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(PairedClone) home = some_clone("home");
  g_assert_true(paired_add(home, NULL));
  g_autoptr(PairedClone) before = paired_find("home", NULL);
  g_assert_false(before->has_successor);
  g_assert_true(paired_set_successor("home", &home->host, &error));
  g_assert_no_error(error);
  g_autoptr(PairedClone) after = paired_find("home", NULL);
  g_assert_true(after->has_successor);
  g_assert_true(identity_public_equal(&after->successor, &home->host));
  g_assert_true(identity_public_equal(&after->key, &home->key));
  g_assert_false(paired_set_successor("away", &home->host, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
  remove_all();
}

static void
test_find(void)
{
  g_autoptr(GError) error = NULL;
  g_assert_null(paired_find(NULL, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
  g_clear_error(&error);
  g_autoptr(PairedClone) home = some_clone("home");
  g_autoptr(PairedClone) work = some_clone("work");
  g_assert_true(paired_add(work, NULL));
  g_autoptr(PairedClone) only = paired_find(NULL, NULL);
  g_assert_cmpstr(only->name, ==, "work");
  g_assert_true(paired_add(home, NULL));
  g_assert_null(paired_find(NULL, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  g_clear_error(&error);
  g_assert_null(paired_find("hone", &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
  g_assert_nonnull(strstr(error->message, "home"));
  g_autoptr(GPtrArray) all = paired_list(NULL);
  g_assert_cmpuint(all->len, ==, 2);
  g_assert_cmpstr(((PairedClone *)all->pdata[0])->name, ==, "home");

  const char *const moved[] = {"198.51.100.9:1", NULL};
  g_assert_true(paired_set_addresses("home", moved, NULL));
  g_autoptr(PairedClone) after = paired_find("home", NULL);
  g_assert_true(g_strv_equal((const char *const *)after->addresses, moved));
  g_clear_error(&error);
  g_assert_false(paired_set_addresses("nobody", moved, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
  remove_all();
}

static void
test_names(void)
{
  static const char *const bad[] = {"", "local", "a b", "a/b", "-x", ".x", "[x]", "ä", "a\n"};
  static const char *const good[] = {"home", "Home-2", "a.b_c", "7"};
  for (gsize i = 0; i < G_N_ELEMENTS(bad); i++)
    g_assert_false(paired_name_check(bad[i], NULL));
  for (gsize i = 0; i < G_N_ELEMENTS(good); i++)
    g_assert_true(paired_name_check(good[i], NULL));
  g_autofree char *lengthy = g_strnfill(65, 'x');
  g_assert_false(paired_name_check(lengthy, NULL));
}

/* Clones added by several processes at once are all there afterwards. */
static void
test_at_once(void)
{
  enum { PROCESSES = 12 };
  for (int i = 0; i < PROCESSES; i++)
    if (fork() == 0) {
      g_autofree char *name = g_strdup_printf("clone-%d", i);
      g_autoptr(PairedClone) clone = some_clone(name);
      _exit(!paired_add(clone, NULL));
    }
  for (int i = 0; i < PROCESSES; i++) {
    int status;
    wait(&status);
    g_assert_cmpint(status, ==, 0);
  }
  g_autoptr(GPtrArray) all = paired_list(NULL);
  g_assert_cmpuint(all->len, ==, PROCESSES);
  remove_all();
}

static void
test_damaged(void)
{
  g_autoptr(PairedClone) home = some_clone("home");
  g_assert_true(paired_add(home, NULL));
  g_autofree char *directory = identity_directory();
  g_autofree char *path = g_build_filename(directory, "clones.conf", NULL);
  static const char *const texts[] = {"[home]\nid=x\n", "[home]\naddresses=a:1;\nid=aaaa\n", "rubbish"};
  for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
    g_autoptr(GError) error = NULL;
    g_file_set_contents(path, texts[i], -1, NULL);
    g_assert_null(paired_find("home", &error));
    g_assert_nonnull(error);
    g_assert_nonnull(strstr(error->message, path));
  }
}

int
main(int argc, char **argv)
{
  g_autofree char *home = g_dir_make_tmp("doppel-paired-XXXXXX", NULL);
  g_setenv("XDG_STATE_HOME", home, TRUE);
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/identity/paired/add", test_add);
  g_test_add_func("/identity/paired/find", test_find);
  g_test_add_func("/identity/paired/successor", test_successor);
  g_test_add_func("/identity/paired/names", test_names);
  g_test_add_func("/identity/paired/at-once", test_at_once);
  g_test_add_func("/identity/paired/damaged", test_damaged);
  int result = g_test_run();
  g_autofree char *remove = g_strdup_printf("rm -rf '%s'", home);
  g_spawn_command_line_sync(remove, NULL, NULL, NULL, NULL);
  return result;
}
