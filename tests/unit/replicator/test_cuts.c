/* Either end is killed at any moment, and so is the link: the clone has a generation, the old one or the new
 * one, and the next synchronisation goes on. */
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "rig.h"
#include "sync_rig.h"

#define CHANGES  30
#define CUTS_MAX 40 /* of one generation */

static pid_t
start_device(SyncRig *rig, const int ends[2])
{
  pid_t child = fork();
  if (child > 0)
    return child;
  close(ends[1]);
  g_auto(ReplicatorResult) result = {0};
  g_autoptr(GError) error = NULL;
  gboolean good = sync_rig_send(rig, ends[0], &result, &error);
  _exit(good ? 0 : 1);
}

/* TRUE where the synchronisation came to its end. */
static gboolean
cut(SyncRig *rig, GRand *rand, guint within_us)
{
  int ends[2];
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  pid_t receiver = sync_rig_receiver(rig, ends), device = start_device(rig, ends);
  guint who = g_rand_int_range(rand, 0, 3);
  g_usleep(g_rand_int_range(rand, 0, within_us));
  if (who == 0)
    kill(device, SIGKILL);
  else if (who == 1)
    kill(receiver, SIGKILL);
  else
    shutdown(ends[0], SHUT_RDWR);
  close(ends[0]);
  close(ends[1]);
  int status = sync_rig_wait(device);
  sync_rig_wait(receiver);
  return status == 0;
}

static void
test_cuts(void)
{
  guint cuts = 0;
  for (guint i = 0; i < rig_seeds(3); i++) {
    guint32 seed = rig_first_seed() + i;
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    SyncRig *rig = sync_rig_new(seed, NULL);
    for (guint round = 0; round < 4; round++) {
      g_auto(ReplicatorResult) result = {0};
      gboolean over = FALSE;
      sync_rig_change(rig, CHANGES);
      guint64 before = rig->generation;
      for (guint n = 0; n < CUTS_MAX && !over; n++, cuts++) {
        over = cut(rig, rand, 1000 << (n / 4 % 6));
        guint64 now = sync_rig_newest(rig);
        g_assert_true(now == before || now == before + 1);
      }
      sync_rig_run(rig, &result);
      g_assert_cmpuint(rig->generation, ==, before + 1);
    }
    sync_rig_free(rig);
  }
  g_test_message("%u cuts", cuts);
}

static void
run_in(const char *directory, const char *script)
{
  rig_run("sh", "-c", script, "sh", directory, NULL);
}

/* A file of the clone rotted, and what is put together from it is not what the device has: it has to be sent
 * whole, for all its names, wherever a cut comes between. */
static void
test_rotten(void)
{
  guint cuts = 0, resumed = 0;
  for (guint i = 0; i < rig_seeds(4); i++) {
    guint32 seed = rig_first_seed() + i;
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    SyncRig *rig = sync_rig_new(seed, NULL);
    const char *tree = rig->store->device->path;
    g_auto(ReplicatorResult) first = {0}, last = {0};
    sync_rig_change(rig, CHANGES);
    run_in(tree, "cd \"$1\" && head -c 300000 /dev/urandom >aaa && ln aaa aab && ln aaa zzz");
    sync_rig_copy(rig);
    sync_rig_run(rig, &first);
    run_in(rig->store->path, "for f in \"$1\"/layers/*/tree/aaa; do printf rotten | dd of=\"$f\" bs=1 "
                             "seek=1000 conv=notrunc status=none; done");
    run_in(tree, "cd \"$1\" && printf new | dd of=aaa bs=1 seek=200000 conv=notrunc status=none && "
                 "head -c 3000000 /dev/urandom >mmm");
    sync_rig_copy(rig);
    gboolean over = FALSE;
    for (guint n = 0; n < 10 && !over; n++, cuts++)
      over = cut(rig, rand, 4000 << (n % 4));
    sync_rig_run(rig, &last);
    resumed += last.resumed;
    g_assert_cmpuint(rig->generation, ==, 2);
    sync_rig_free(rig);
  }
  g_test_message("%u cuts, the last synchronisation went on in %u", cuts, resumed);
}

int
main(int argc, char **argv)
{
  const char *why = rig_enter(&argc, &argv);
  g_test_init(&argc, &argv, NULL);
  if (why || geteuid() != 0) {
    g_print("1..0 # SKIP %s\n", why ? why : "needs a namespace in which it is root");
    return 0;
  }
  g_test_add_func("/replicator/cuts", test_cuts);
  g_test_add_func("/replicator/cuts/rotten", test_rotten);
  return g_test_run();
}
