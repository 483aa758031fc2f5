/* Keys: made, kept private on disk, never lost, and as RFC 8032 has them. */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "identity/base32.h"
#include "identity/key.h"

static char *directory;

static char *
fresh_path(void)
{
  static int count;
  return g_strdup_printf("%s/%d/sub/test.key", directory, count++);
}

/* RFC 8032 section 7.1, test 2. */
static void
test_vector(void)
{
  static const guint8 seed[] = {0x4c, 0xcd, 0x08, 0x9b, 0x28, 0xff, 0x96, 0xda, 0x9d, 0xb6, 0xc3,
                                0x46, 0xec, 0x11, 0x4e, 0x0f, 0x5b, 0x8a, 0x31, 0x9f, 0x35, 0xab,
                                0xa6, 0x24, 0xda, 0x8c, 0xf6, 0xed, 0x4f, 0xb8, 0xa6, 0xfb};
  static const guint8 public[] = {0x3d, 0x40, 0x17, 0xc3, 0xe8, 0x43, 0x89, 0x5a, 0x92, 0xb7, 0x0a,
                                  0xa7, 0x4d, 0x1b, 0x7e, 0xbc, 0x9c, 0x98, 0x2c, 0xcf, 0x2e, 0xc4,
                                  0x96, 0x8c, 0xc0, 0xcd, 0x55, 0xf1, 0x2a, 0xf4, 0x66, 0x0c};
  static const guint8 signature_head[] = {0x92, 0xa0, 0x09, 0xa9, 0xf0, 0xd4, 0xca, 0xb8};
  g_autoptr(IdentityKey) key = identity_key_from_seed(seed);
  guint8 signature[IDENTITY_SIGNATURE_LENGTH];
  g_assert_cmpmem(identity_key_public(key)->bytes, 32, public, 32);
  identity_sign(key, "\x72", 1, signature);
  g_assert_cmpmem(signature, 8, signature_head, 8);
}

static void
test_sign(void)
{
  g_autoptr(IdentityKey) key = identity_key_generate();
  g_autoptr(IdentityKey) other = identity_key_generate();
  guint8 signature[IDENTITY_SIGNATURE_LENGTH];
  identity_sign(key, "a clone", 7, signature);
  g_assert_true(identity_verify(identity_key_public(key), "a clone", 7, signature));
  g_assert_false(identity_verify(identity_key_public(key), "a drone", 7, signature));
  g_assert_false(identity_verify(identity_key_public(other), "a clone", 7, signature));
  signature[10] ^= 1;
  g_assert_false(identity_verify(identity_key_public(key), "a clone", 7, signature));
}

static void
test_save(void)
{
  g_autofree char *path = fresh_path();
  g_autoptr(GError) error = NULL;
  g_autoptr(IdentityKey) key = identity_key_generate();
  g_assert_true(identity_key_save(key, path, &error));
  g_assert_no_error(error);
  struct stat status;
  g_assert_cmpint(stat(path, &status), ==, 0);
  g_assert_cmpuint(status.st_mode & 07777, ==, 0600);
  g_assert_cmpuint(status.st_nlink, ==, 1);
  g_autoptr(IdentityKey) read = identity_key_load(path, &error);
  g_assert_no_error(error);
  g_assert_true(identity_public_equal(identity_key_public(key), identity_key_public(read)));

  /* A second key does not replace the first. */
  g_autoptr(IdentityKey) other = identity_key_generate();
  g_assert_false(identity_key_save(other, path, &error));
  g_assert_cmpint(errno, ==, EEXIST);
  g_autoptr(IdentityKey) still = identity_key_load(path, NULL);
  g_assert_true(identity_public_equal(identity_key_public(key), identity_key_public(still)));
  g_autofree char *parent = g_path_get_dirname(path);
  g_autoptr(GDir) entries = g_dir_open(parent, 0, NULL);
  g_assert_cmpstr(g_dir_read_name(entries), ==, "test.key");
  g_assert_null(g_dir_read_name(entries));
}

static void
test_refused(void)
{
  g_autofree char *path = fresh_path();
  g_autoptr(GError) error = NULL;
  g_assert_null(identity_key_load(path, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
  g_clear_error(&error);

  g_autoptr(IdentityKey) key = identity_key_load_or_create(path, &error);
  g_assert_nonnull(key);
  chmod(path, 0640);
  g_assert_null(identity_key_load(path, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  g_clear_error(&error);
  g_assert_null(identity_key_load_or_create(path, NULL));

  chmod(path, 0600);
  g_assert_cmpint(truncate(path, 60), ==, 0);
  g_assert_null(identity_key_load(path, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
  g_clear_error(&error);

  g_unlink(path);
  g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
  g_assert_null(identity_key_load(path, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
}

/* Many processes that need the same new key at once agree on one. */
static void
test_race(void)
{
  g_autofree char *path = fresh_path();
  int ends[2];
  g_assert_cmpint(pipe(ends), ==, 0);
  enum { PROCESSES = 16 };
  for (int i = 0; i < PROCESSES; i++)
    if (fork() == 0) {
      g_autoptr(IdentityKey) key = identity_key_load_or_create(path, NULL);
      _exit(!key || write(ends[1], identity_key_public(key)->bytes, 32) != 32);
    }
  close(ends[1]); /* so that the end of all is heard */
  guint8 first[32], next[32];
  g_assert_cmpint(read(ends[0], first, 32), ==, 32);
  for (int i = 1; i < PROCESSES; i++) {
    g_assert_cmpint(read(ends[0], next, 32), ==, 32);
    g_assert_cmpmem(first, 32, next, 32);
  }
  for (int i = 0; i < PROCESSES; i++)
    wait(NULL);
  close(ends[0]);
}

static void
test_text(void)
{
  for (int i = 0; i < 50; i++) {
    g_autoptr(IdentityKey) key = identity_key_generate();
    g_autofree char *text = identity_public_to_text(identity_key_public(key));
    IdentityPublic read;
    g_assert_cmpuint(strlen(text), ==, 52);
    g_assert_true(identity_public_from_text(text, &read, NULL));
    g_assert_true(identity_public_equal(&read, identity_key_public(key)));
    g_autofree char *upper = g_ascii_strup(text, -1);
    g_assert_true(identity_public_from_text(upper, &read, NULL));
    text[51] = text[51] == 'b' ? 'c' : 'b'; /* the last letter carries one bit and four zeros */
    g_autoptr(GError) error = NULL;
    g_assert_false(identity_public_from_text(text, &read, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  }
  IdentityPublic read;
  g_assert_false(identity_public_from_text("", &read, NULL));
  g_assert_false(identity_public_from_text("aaaa", &read, NULL));
}

static void
test_base32(void)
{
  static const struct {
    const char *bytes, *text;
  } pairs[] = {{"", ""},
               {"f", "my"},
               {"fo", "mzxq"},
               {"foo", "mzxw6"},
               {"foob", "mzxw6yq"},
               {"fooba", "mzxw6ytb"},
               {"foobar", "mzxw6ytboi"}};
  for (gsize i = 0; i < G_N_ELEMENTS(pairs); i++) {
    g_autofree char *text = base32_encode((const guint8 *)pairs[i].bytes, strlen(pairs[i].bytes));
    g_assert_cmpstr(text, ==, pairs[i].text);
    g_autoptr(GBytes) bytes = base32_decode(text);
    g_assert_cmpmem(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), pairs[i].bytes,
                    strlen(pairs[i].bytes));
  }
  static const char *const bad[] = {"m", "mz1q", "mzx", "mzxw6yt", "mz xq", "mzxr", "my======"};
  for (gsize i = 0; i < G_N_ELEMENTS(bad); i++)
    g_assert_null(base32_decode(bad[i]));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  directory = g_dir_make_tmp("doppel-key-XXXXXX", NULL);
  g_test_add_func("/identity/key/rfc8032", test_vector);
  g_test_add_func("/identity/key/sign", test_sign);
  g_test_add_func("/identity/key/save", test_save);
  g_test_add_func("/identity/key/refused", test_refused);
  g_test_add_func("/identity/key/race", test_race);
  g_test_add_func("/identity/key/text", test_text);
  g_test_add_func("/identity/base32", test_base32);
  int result = g_test_run();
  g_autofree char *remove = g_strdup_printf("rm -rf '%s'", directory);
  g_spawn_command_line_sync(remove, NULL, NULL, NULL, NULL);
  return result;
}
