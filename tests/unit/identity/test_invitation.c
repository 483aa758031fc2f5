/* Invitations in text: whole and unchanged, or refused with the reason. */
#include <string.h>

#include "base/error.h"
#include "identity/address.h"
#include "identity/base32.h"
#include "identity/invitation.h"

static const char *const two[] = {"clone.example.net:3677", "[2001:db8::7]:3677", NULL};

static Invitation *
some_invitation(void)
{
  g_autoptr(IdentityKey) host = identity_key_generate();
  return invitation_new(identity_key_public(host), two, 1234567890123, NULL);
}

static void
test_round_trip(void)
{
  g_autoptr(Invitation) invitation = some_invitation();
  g_autofree char *text = invitation_to_text(invitation);
  g_autofree char *untidy = g_strdup_printf("\n  %s \t\n", text);
  g_autofree char *upper = g_ascii_strup(text, -1);
  const char *const forms[] = {text, untidy, upper};
  for (gsize i = 0; i < G_N_ELEMENTS(forms); i++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(Invitation) read = invitation_from_text(forms[i], &error);
    g_assert_no_error(error);
    g_assert_true(identity_public_equal(&read->host, &invitation->host));
    g_assert_cmpmem(read->id, sizeof read->id, invitation->id, sizeof invitation->id);
    g_assert_cmpmem(read->secret, sizeof read->secret, invitation->secret, sizeof invitation->secret);
    g_assert_cmpint(read->expires, ==, 1234567890123);
    g_assert_true(g_strv_equal((const char *const *)read->addresses, two));
  }
}

static void
assert_refused(const char *text, const char *reason)
{
  g_autoptr(GError) error = NULL;
  g_assert_null(invitation_from_text(text, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  if (!strstr(error->message, reason))
    g_error("\"%s\" does not say \"%s\"", error->message, reason);
}

/* Any one letter wrong, any end missing. */
static void
test_mistyped(void)
{
  g_autoptr(Invitation) invitation = some_invitation();
  g_autofree char *text = invitation_to_text(invitation);
  for (gsize i = strlen("doppel1"); text[i]; i++) {
    char right = text[i];
    text[i] = right == 'q' ? 'r' : 'q';
    assert_refused(text, "mistyped");
    text[i] = right;
  }
  for (gsize length = strlen(text) - 1; length >= strlen("doppel1"); length--) {
    g_autofree char *part = g_strndup(text, length);
    assert_refused(part, "mistyped");
  }
  assert_refused("", "not an invitation");
  assert_refused("hello", "not an invitation");
  g_autofree char *huge = g_strnfill(10000, 'a');
  memcpy(huge, "doppel1", 7);
  assert_refused(huge, "not an invitation");
}

static void
test_new(void)
{
  g_autoptr(IdentityKey) host = identity_key_generate();
  const char *const none[] = {NULL};
  const char *const bad[] = {"no port", NULL};
  const char *const many[] = {"a:1", "a:2", "a:3", "a:4", "a:5", "a:6", "a:7", "a:8", "a:9", NULL};
  const char *const *const lists[] = {none, bad, many};
  for (gsize i = 0; i < G_N_ELEMENTS(lists); i++) {
    g_autoptr(GError) error = NULL;
    g_assert_null(invitation_new(identity_key_public(host), lists[i], 0, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  }
  g_autoptr(Invitation) a = invitation_new(identity_key_public(host), two, 0, NULL);
  g_autoptr(Invitation) b = invitation_new(identity_key_public(host), two, 0, NULL);
  g_assert_cmpint(memcmp(a->secret, b->secret, sizeof a->secret), !=, 0);
  g_assert_cmpint(memcmp(a->id, b->id, sizeof a->id), !=, 0);
}

static void
test_address(void)
{
  static const struct {
    const char *address, *host, *port;
  } rows[] = {
      {"192.0.2.1:3677", "192.0.2.1", "3677"},
      {"[::1]:1", "::1", "1"},
      {"host-1.example.org:65535", "host-1.example.org", "65535"},
      {"[fe80::1%eth0]:7", "fe80::1%eth0", "7"},
      {"host", NULL, NULL},
      {"host:", NULL, NULL},
      {":80", NULL, NULL},
      {"::1:80", NULL, NULL},
      {"[::1]", NULL, NULL},
      {"[]:80", NULL, NULL},
      {"host:0", NULL, NULL},
      {"host:65536", NULL, NULL},
      {"host:+1", NULL, NULL},
      {"ho st:1", NULL, NULL},
      {"", NULL, NULL},
      {"[::1:80", NULL, NULL},
      {"[::1]x:80", NULL, NULL},
      {"host\n:80", NULL, NULL},
  };
  for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
    g_autofree char *host = NULL;
    g_autofree char *port = NULL;
    gboolean good = identity_address_split(rows[i].address, &host, &port, NULL);
    g_assert_cmpint(good, ==, rows[i].host != NULL);
    g_assert_cmpstr(host, ==, rows[i].host);
    g_assert_cmpstr(port, ==, rows[i].port);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/identity/invitation/round-trip", test_round_trip);
  g_test_add_func("/identity/invitation/mistyped", test_mistyped);
  g_test_add_func("/identity/invitation/new", test_new);
  g_test_add_func("/identity/address", test_address);
  return g_test_run();
}
