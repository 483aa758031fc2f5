/* A host's word that a clone is at home with it, for the clone's own devices. */
#include "base/error.h"
#include "host.h"
#include "identity/record.h"

static gboolean
is_hosting(GBytes *hosting, const PairedClone *clone)
{
  gsize length;
  const void *data = g_bytes_get_data(hosting, &length);
  return record_check_hosting(data, length, clone->id, &clone->key, &clone->host, NULL);
}

static void
test_own(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Host) host = host_new();
  g_autoptr(PairedClone) clone = host_pair(host), other = host_pair(host);
  g_autofree char *directory = daemon_state_clone_c2c(host->state, clone->id);
  g_assert_false(g_file_test(directory, G_FILE_TEST_EXISTS));
  g_autoptr(GBytes) hosting = link_pair_hosting(clone, host->device_key, &error);
  g_assert_no_error(error);
  g_assert_true(is_hosting(hosting, clone));
  g_assert_false(is_hosting(hosting, other));
  g_assert_true(g_file_test(directory, G_FILE_TEST_IS_DIR));
  /* As often as it is asked for. */
  g_autoptr(GBytes) again = link_pair_hosting(clone, host->device_key, &error);
  g_assert_no_error(error);
  g_assert_true(is_hosting(again, clone));
  g_assert_true(daemon_state_revoke(host->state, clone->id, &error));
  g_assert_false(g_file_test(directory, G_FILE_TEST_EXISTS));
}

static void
test_stranger(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Host) host = host_new();
  g_autoptr(PairedClone) clone = host_pair(host);
  g_autoptr(IdentityKey) stranger = identity_key_generate();
  g_assert_null(link_pair_hosting(clone, stranger, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
  g_autofree char *directory = daemon_state_clone_c2c(host->state, clone->id);
  g_assert_false(g_file_test(directory, G_FILE_TEST_EXISTS));
  g_clear_error(&error);
  clone->id[0] ^= 1;
  g_assert_null(link_pair_hosting(clone, host->device_key, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
}

/* What the host says of another clone's key is not what was asked for. */
static void
test_other_key(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Host) host = host_new();
  g_autoptr(PairedClone) clone = host_pair(host);
  clone->key.bytes[0] ^= 1;
  g_assert_null(link_pair_hosting(clone, host->device_key, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/hosting/own", test_own);
  g_test_add_func("/hosting/stranger", test_stranger);
  g_test_add_func("/hosting/other-key", test_other_key);
  return g_test_run();
}
