/* Looking users up at several directories at once: nobody waits for one that is silent, and what they say is
 * held against each other. */
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "directory_rig.h"

#define NS_PER_MS  G_GINT64_CONSTANT(1000000)
#define HOME_MS    2000   /* that a look-up waits for who says whom a name means */
#define TIMEOUT_MS 120000 /* that a look-up would take if it waited for who is silent */

static IdentityKey *own;

/* What a directory with this handler tells in place of what it has: nothing where `bytes` is NULL. */
typedef struct {
  guint number;
  GBytes *bytes;
  guint slow_ms;
} Lie;
static Lie lies[2];

static gboolean
lying_lookup(DirectoryTask *task, DirectoryStore *store, const DirectoryState *state, GError **error)
{
  const Lie *lie = NULL;
  for (guint i = 0; i < G_N_ELEMENTS(lies); i++) {
    g_autoptr(IdentityKey) key = lies[i].number ? world_key(lies[i].number) : NULL;
    if (key && identity_public_equal(identity_key_public(key),
                                     identity_key_public(directory_server_key(task->server))))
      lie = &lies[i];
  }
  g_autoptr(GPtrArray) records = g_ptr_array_new();
  g_usleep(lie->slow_ms * 1000);
  if (lie->bytes)
    g_ptr_array_add(records, lie->bytes);
  directory_task_answer(task, lie->bytes ? DIRECTORY_STATUS(OK) : DIRECTORY_STATUS(UNKNOWN), NULL);
  task->answer->found = directory_found_sign(directory_server_key(task->server), task->question, records,
                                             state->number, clock_unix_time());
  return TRUE;
}

static const DirectoryHandler lying[] = {
    {.what = DIRECTORY_WHAT(LOOKUP), .price = 1, .read = lying_lookup},
};

static Rig *
lying_rig(guint slot, guint number)
{
  Rig *rig = rig_new(number);
  lies[slot] = (Lie){.number = number};
  rig->options.handlers = lying;
  rig->options.handlers_count = 1;
  rig_start(rig);
  return rig;
}

/* Takes connections, and never says anything. */
static Rig *
silent_rig(guint number, int *fd)
{
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof address;
  Rig *rig = rig_new(number);
  *fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  g_assert_cmpint(bind(*fd, (struct sockaddr *)&address, sizeof address), ==, 0);
  g_assert_cmpint(listen(*fd, 64), ==, 0);
  getsockname(*fd, (struct sockaddr *)&address, &length);
  rig->place.address = g_strdup_printf("127.0.0.1:%u", ntohs(address.sin_port));
  return rig;
}

static DirectoryResult *
find_origin(DirectoryClient *client, const IdentityPublic *origin)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) results = directory_client_find(client, NULL, origin, NULL, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(results->len, ==, 1);
  return g_ptr_array_steal_index(results, 0);
}

static void
finish(DirectoryClient *client)
{
  while (directory_client_linger(client, 1000))
    ;
}

static void
must_complain(DirectoryClient *client, const Rig *rig, const Rig *witness, DirectoryComplaintKind kind)
{
  g_autoptr(GPtrArray) complaints = directory_client_complaints(client, NULL, NULL);
  g_assert_cmpuint(complaints->len, ==, 1);
  const DirectoryComplaint *complaint = complaints->pdata[0];
  g_assert_cmpint(complaint->kind, ==, kind);
  g_assert_true(identity_public_equal(&complaint->directory, &rig->place.key));
  g_assert_true(identity_public_equal(&complaint->witness, &witness->place.key));
}

static void
must_not_complain(DirectoryClient *client)
{
  g_autoptr(GPtrArray) complaints = directory_client_complaints(client, NULL, NULL);
  g_assert_cmpuint(complaints->len, ==, 0);
}

/* The first in the list swallows what is sent to it. */
static void
test_swallowing(void)
{
  int fd;
  g_autoptr(Rig) silent = silent_rig(40, &fd);
  g_autoptr(Rig) honest = rig_new(41);
  rig_start(honest);
  g_autoptr(DirectoryClient) client = rig_client(own, silent, honest, NULL);
  g_autoptr(WorldUser) alice = rig_user(honest, 100, "alice");
  g_autoptr(Record) hers = rig_record(alice, 1, 1);
  rig_register(client, hers, 1);
  directory_client_set_timeout(client, TIMEOUT_MS);
  gint64 began = clock_now_ns();
  g_autoptr(DirectoryResult) by_key = find_origin(client, &hers->origin);
  g_autoptr(DirectoryResult) by_name = directory_client_whois(client, "alice", NULL);
  g_assert_true(g_bytes_equal(by_name->record->bytes, hers->bytes));
  g_assert_cmpint(clock_now_ns() - began, <, TIMEOUT_MS / 2 * NS_PER_MS);
  gint64 answered, away;
  g_autofree char *why = NULL;
  directory_client_health(client, &silent->place.key, &answered, &away, &why);
  g_assert_cmpint(answered, ==, 0);
  /* Nor is it waited for where nobody knows anybody. */
  began = clock_now_ns();
  g_autoptr(GError) error = NULL;
  g_autoptr(DirectoryResult) nobody = directory_client_whois(client, "nobody", &error);
  g_assert_cmpint(clock_now_ns() - began, <, TIMEOUT_MS / 2 * NS_PER_MS);
  g_assert_null(nobody);
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
  g_assert_nonnull(strstr(error->message, silent->place.address));
  io_close(&fd);
}

/* The home directory replays an old record to who has never seen a newer one; another one knows better. */
static void
test_newest_wins(void)
{
  g_autoptr(Rig) home = lying_rig(0, 42);
  g_autoptr(Rig) other = lying_rig(1, 43);
  g_autoptr(DirectoryClient) client = rig_client(own, home, other, NULL);
  g_autoptr(WorldUser) alice = rig_user(home, 100, "alice");
  g_autoptr(Record) old = rig_record(alice, 1, 1);
  g_autoptr(Record) new = rig_record(alice, 1, 2);
  lies[0].bytes = old->bytes;
  lies[1].bytes = new->bytes;
  g_autoptr(DirectoryResult) found = find_origin(client, &old->origin);
  finish(client);
  g_autoptr(DirectoryResult) again = find_origin(client, &old->origin);
  g_assert_true(g_bytes_equal(again->record->bytes, new->bytes));
  must_complain(client, home, other, DIRECTORY_OLDER);
  lies[0].bytes = new->bytes;
  g_autoptr(DirectoryResult) right = find_origin(client, &old->origin);
  finish(client);
  must_not_complain(client);
}

/* Also by name, for which the directory has to be asked a second time: the name could have been given up. */
static void
test_hiding(void)
{
  g_autoptr(Rig) home = lying_rig(0, 44);
  g_autoptr(Rig) other = lying_rig(1, 45);
  g_autoptr(DirectoryClient) client = rig_client(own, home, other, NULL);
  g_autoptr(WorldUser) alice = rig_user(home, 100, "alice");
  g_autoptr(Record) hers = rig_record(alice, 1, 1);
  lies[1].bytes = hers->bytes;
  g_autoptr(DirectoryResult) found = directory_client_whois(client, "alice", NULL);
  g_assert_true(g_bytes_equal(found->record->bytes, hers->bytes));
  finish(client);
  must_complain(client, home, other, DIRECTORY_HIDES);
}

/* A directory that is not the user's home need not know them. */
static void
test_not_hiding(void)
{
  g_autoptr(Rig) home = lying_rig(0, 46);
  g_autoptr(Rig) other = lying_rig(1, 47);
  g_autoptr(DirectoryClient) client = rig_client(own, other, home, NULL);
  g_autoptr(WorldUser) alice = rig_user(home, 100, "alice");
  g_autoptr(Record) hers = rig_record(alice, 1, 1);
  lies[0].bytes = hers->bytes;
  g_autoptr(DirectoryResult) found = find_origin(client, &hers->origin);
  finish(client);
  must_not_complain(client);
}

/* Whom a name means the home directory says, also where another one is faster. */
static void
test_slow_home(void)
{
  g_autoptr(Rig) home = lying_rig(0, 48);
  g_autoptr(Rig) other = lying_rig(1, 49);
  g_autoptr(WorldUser) alice = rig_user(home, 100, "alice");
  g_autoptr(WorldUser) mallory = rig_user(other, 200, "alice");
  g_autoptr(Record) hers = rig_record(alice, 1, 1);
  g_autoptr(Record) his = rig_record(mallory, 1, 1);
  lies[0].bytes = hers->bytes;
  lies[0].slow_ms = 800;
  lies[1].bytes = his->bytes;
  for (guint tries = 0;; tries++) {
    g_autoptr(DirectoryClient) client = rig_client(own, home, other, NULL);
    gint64 began = clock_now_ns();
    g_autoptr(DirectoryResult) found = directory_client_whois(client, "alice", NULL);
    if (identity_public_equal(&found->record->origin, &hers->origin))
      return;
    /* A busy machine may have come too late: then it has waited for the home directory in vain. */
    g_assert_cmpint(clock_now_ns() - began, >=, HOME_MS * NS_PER_MS);
    g_assert_cmpuint(tries, <, 20);
  }
}

static gpointer
look_up_often(gpointer data)
{
  g_autoptr(DirectoryClient) client = data;
  for (guint i = 0; i < 20; i++) {
    g_autoptr(DirectoryResult) found = directory_client_whois(client, "alice", NULL);
    g_assert_nonnull(found);
  }
  return NULL;
}

/* Several threads ask, with one cache. */
static void
test_shared(void)
{
  g_autoptr(Rig) rig = rig_new(50);
  rig_start(rig);
  g_autoptr(DirectoryClient) client = rig_client(own, rig, NULL);
  g_autoptr(WorldUser) alice = rig_user(rig, 100, "alice");
  g_autoptr(Record) first = rig_record(alice, 1, 1);
  rig_register(client, first, 1);
  GThread *threads[4];
  for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
    threads[i] = g_thread_new("asks", look_up_often, directory_client_share(client));
  for (guint i = 2; i <= 20; i++) {
    g_autoptr(Record) record = rig_record(alice, 1, i);
    rig_register(client, record, i);
  }
  for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
    g_thread_join(threads[i]);
  g_autoptr(Record) known = directory_client_known(client, &first->origin);
  g_assert_cmpuint(known->sequence, ==, 20);
  must_not_complain(client);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  clock_shift_unix_time(WORLD_TIME + 10 - clock_unix_time());
  own = world_key(7777);
  g_test_add_func("/directory/find/swallowing", test_swallowing);
  g_test_add_func("/directory/find/newest-wins", test_newest_wins);
  g_test_add_func("/directory/find/hiding", test_hiding);
  g_test_add_func("/directory/find/not-hiding", test_not_hiding);
  g_test_add_func("/directory/find/slow-home", test_slow_home);
  g_test_add_func("/directory/find/shared", test_shared);
  int status = g_test_run();
  identity_key_free(own);
  return status;
}
