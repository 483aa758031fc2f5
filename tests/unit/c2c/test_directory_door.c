/* Who may come in: crowds, passes, and who is counted as a member of a directory. */
#include <string.h>

#include "base/clock.h"
#include "c2c/directory_call.h"
#include "directory_rig.h"
#include "link/crowd.h"

static IdentityKey *own;

static LinkCallerSource
holder_of(guint number)
{
  LinkCallerSource holder = {{0}};
  memcpy(holder.bytes, &number, sizeof number);
  return holder;
}

/* As a directory does. */
static void
come(LinkCrowd *crowd, LinkVisitor *visitor, guint number)
{
  LinkVisitor *leaving;
  LinkCallerSource holder = holder_of(number);
  g_assert_true(link_crowd_has_room(crowd, &holder, &leaving));
  if (leaving) {
    link_crowd_remove(crowd, leaving);
    leaving->owner = NULL;
  }
  *visitor = (LinkVisitor){.owner = visitor, .holder = holder};
  link_crowd_add(crowd, visitor);
}

static void
test_crowd(void)
{
  enum { MOST = 64, EACH = 40, OTHERS = 30, FLOOD = 1000 };
  g_autoptr(LinkCrowd) crowd = link_crowd_new(MOST, EACH);
  g_autofree LinkVisitor *others = g_new0(LinkVisitor, OTHERS);
  g_autofree LinkVisitor *flood = g_new0(LinkVisitor, FLOOD);
  for (guint i = 0; i < OTHERS; i++)
    come(crowd, &others[i], i + 1);
  for (guint i = 0; i < FLOOD; i++)
    come(crowd, &flood[i], 0);
  guint left = 0;
  for (guint i = 0; i < OTHERS; i++)
    left += others[i].owner != NULL;
  g_assert_cmpuint(left, >=, OTHERS - 1); /* the flood displaces itself, all but surely */
  g_assert_nonnull(flood[FLOOD - 1].owner);
  g_assert_cmpuint(link_crowd_count(crowd), ==, MOST);
  for (guint i = 0; i < link_crowd_count(crowd); i++)
    link_crowd_nth(crowd, i)->busy = TRUE;
  LinkVisitor *leaving;
  LinkCallerSource one = holder_of(77);
  g_assert_false(link_crowd_has_room(crowd, &one, &leaving));
  while (link_crowd_count(crowd) > 0)
    link_crowd_remove(crowd, link_crowd_nth(crowd, link_crowd_count(crowd) / 2));
  g_assert_true(link_crowd_has_room(crowd, &one, &leaving));
  g_assert_null(leaving);
  g_assert_null(link_crowd_surplus(crowd));
}

static void
test_pass(void)
{
  const gint64 now = WORLD_TIME, day = 86400;
  g_autoptr(IdentityKey) directory = world_key(1), other = world_key(2), peer = world_key(3);
  DirectoryPasses passes, others;
  directory_passes_init(&passes, directory);
  directory_passes_init(&others, other);
  DirectoryPass pass = directory_pass_make(&passes, identity_key_public(peer), now);
  g_assert_true(directory_pass_check(&passes, &pass, now));
  g_assert_true(directory_pass_is_of(&pass, identity_key_public(peer)));
  g_assert_false(directory_pass_is_of(&pass, identity_key_public(other)));
  g_assert_false(directory_pass_check(&others, &pass, now));
  g_assert_true(directory_pass_check(&passes, &pass, now + DIRECTORY_PASS_DAYS * day));
  g_assert_false(directory_pass_check(&passes, &pass, now + (DIRECTORY_PASS_DAYS + 1) * day));
  g_assert_false(directory_pass_check(&passes, &pass, now - day));
  for (guint i = 0; i < 8 * sizeof pass.bytes; i++) {
    DirectoryPass wrong = pass;
    wrong.bytes[i / 8] ^= (guint8)(1u << i % 8);
    g_assert_false(directory_pass_check(&passes, &wrong, now));
  }
  g_assert_false(directory_pass_check(&passes, &(DirectoryPass){{0}}, now));
}

/* Whether a directory gives a pass to who asks so. */
static gboolean
is_member(Rig *rig, const IdentityKey *key, const DirectoryAsker *asker, DirectoryPass *pass)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DirectoryCall) call = directory_call_new(&rig->place, key, asker, 60000, &error);
  g_assert_no_error(error);
  g_autoptr(DirectoryQuestion) question = directory_question_new(DIRECTORY_WHAT(HEAD));
  for (guint i = 0; i < 2; i++) {
    g_autoptr(DirectoryAnswer) answer = directory_call_ask(call, question, 60000, NULL, &error);
    g_assert_no_error(error);
    g_assert_true(i == 0 || !answer->has_pass); /* told once */
  }
  return directory_call_pass(call, pass);
}

static void
test_members(void)
{
  g_autoptr(Rig) rig = rig_new(40);
  rig_start(rig);
  g_autoptr(WorldUser) alice = rig_user(rig, 100, "alice");
  g_autoptr(Record) record = rig_record(alice, 1, 1);
  g_autoptr(DirectoryClient) client = rig_client(own, rig, NULL);
  DirectoryAsker asker = {.has_origin = TRUE, .origin = record->origin};
  DirectoryPass pass;
  g_assert_false(is_member(rig, alice->clone, &asker, &pass));
  rig_register(client, record, 1);
  g_assert_true(is_member(rig, alice->clone, &asker, &pass));
  /* By the pass alone, which makes nobody else a member. */
  DirectoryAsker passing = {.pass = pass};
  g_assert_true(is_member(rig, alice->clone, &passing, &pass));
  g_assert_false(is_member(rig, own, &passing, &pass));
  g_assert_false(is_member(rig, own, &asker, &pass));
  /* One of another directory, or of none: a stranger, who is served. */
  memset(passing.pass.bytes, 0x5a, sizeof passing.pass.bytes);
  g_assert_false(is_member(rig, alice->clone, &passing, &pass));
}

/* A client keeps the pass, over a restart of both. */
static void
test_client(void)
{
  g_autoptr(Rig) rig = rig_new(41);
  rig->options.rate = 8;
  rig_start(rig);
  g_autoptr(WorldUser) alice = rig_user(rig, 100, "alice");
  g_autoptr(Record) record = rig_record(alice, 1, 1);
  g_autoptr(DirectoryClient) client = rig_client(alice->clone, rig, NULL);
  rig_register(client, record, 1);
  rig_stop(rig);
  rig_start(rig);
  /* Strangers use up what the address may do, whatever that is. */
  g_autoptr(GError) error = NULL;
  g_autoptr(DirectoryCall) stranger = directory_call_new(&rig->place, own, NULL, 60000, &error);
  g_assert_no_error(error);
  g_autoptr(DirectoryQuestion) question = directory_question_new(DIRECTORY_WHAT(HEAD));
  gboolean busy = FALSE;
  for (guint i = 0; i < 1000 && !busy; i++) {
    g_autoptr(DirectoryAnswer) answer = directory_call_ask(stranger, question, 60000, NULL, &error);
    g_assert_no_error(error);
    busy = answer->status == DIRECTORY_STATUS(BUSY);
  }
  g_assert_true(busy);
  g_autoptr(DirectoryResult) found = directory_client_whois(client, "alice", &error);
  g_assert_no_error(error);
  g_assert_false(found->cached);
  DirectoryCounters counters = directory_server_counters(rig->server);
  g_assert_cmpuint(counters.door.now[LINK_DOOR_MEMBER], ==, 1);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  clock_shift_unix_time(WORLD_TIME + 10 - clock_unix_time());
  own = world_key(7777);
  g_test_add_func("/directory/door/crowd", test_crowd);
  g_test_add_func("/directory/door/pass", test_pass);
  g_test_add_func("/directory/door/members", test_members);
  g_test_add_func("/directory/door/client", test_client);
  int status = g_test_run();
  identity_key_free(own);
  return status;
}
