/* A clone host with a public base: what it has is not sent, and whatever becomes of it, the clone is what the
 * device is. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "replica/public_base.h"
#include "rig.h"
#include "sync_rig.h"

#define FILES 400
#define SIZE  9000 /* bytes of most of them */

static char *
file_path(SyncRig *rig, guint number)
{
  return g_strdup_printf("%s/public/%u", rig->store->device->path, number);
}

static void
fill(guint8 *bytes, gsize length, guint32 seed)
{
  for (gsize i = 0; i < length; i++) {
    seed = seed * 1664525 + 1013904223;
    bytes[i] = seed >> 24;
  }
}

/* The device's files; one is large, which is looked for by its size first. */
static void
make_files(SyncRig *rig)
{
  g_autofree char *folder = rig_path(rig->store->device->path, "public");
  g_assert_cmpint(g_mkdir(folder, 0755), ==, 0);
  for (guint i = 0; i < FILES; i++) {
    gsize length = i ? SIZE + i : 2 * PUBLIC_BASE_LARGE;
    g_autofree char *path = file_path(rig, i);
    g_autofree guint8 *bytes = g_malloc(length);
    fill(bytes, length, i);
    g_assert_true(g_file_set_contents(path, (char *)bytes, length, NULL));
  }
}

/* A base with the contents of the first `count` of them. */
static void
make_base(SyncRig *rig, guint count)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GArray) keys = g_array_new(FALSE, FALSE, sizeof(guint64));
  rig->public_base = rig_path(rig->store->base, "base");
  g_assert_cmpint(g_mkdir(rig->public_base, 0700), ==, 0);
  g_auto(Fd) base = open(rig->public_base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_assert_true(public_base_prepare(base, &error));
  for (guint i = 0; i < count; i++) {
    guint8 hash[GENERATION_CONTENT_HASH];
    guint64 size;
    gboolean fresh;
    g_autofree char *path = file_path(rig, i);
    g_auto(Fd) fd = open(path, O_RDONLY | O_CLOEXEC);
    g_assert_true(public_base_put(base, fd, hash, &size, &fresh, &error));
    guint64 key = public_base_key(hash), size_key = public_base_size_key(size);
    g_array_append_val(keys, key);
    if (size >= PUBLIC_BASE_LARGE)
      g_array_append_val(keys, size_key);
  }
  g_assert_true(public_base_tell(base, (guint64 *)keys->data, keys->len, &error));
}

static SyncRig *
rig_with(guint32 seed, guint count)
{
  SyncRig *rig = sync_rig_new(seed, NULL);
  sync_rig_change(rig, 20);
  make_files(rig);
  make_base(rig, count);
  sync_rig_copy(rig);
  return rig;
}

static void
test_named(void)
{
  SyncRig *rig = rig_with(1, FILES);
  g_auto(ReplicatorResult) first = {0}, second = {0}, third = {0};
  sync_rig_run(rig, &first);
  g_assert_cmpuint(first.taken, >=, FILES * SIZE + PUBLIC_BASE_LARGE);
  g_assert_cmpuint(first.sent, <, 300000);
  g_usleep(20000);
  sync_rig_run(rig, &second);
  g_assert_false(second.made);
  /* The device has sums of what it did not send: a change of it is told as one. */
  g_autofree char *path = file_path(rig, 0);
  g_auto(Fd) fd = open(path, O_WRONLY | O_CLOEXEC);
  g_assert_cmpint(pwrite(fd, "changed", 7, 1000000), ==, 7);
  sync_rig_copy(rig);
  sync_rig_run(rig, &third);
  g_assert_true(third.made);
  g_assert_cmpuint(third.sent, <, 10000);
  g_assert_cmpuint(third.taken, ==, 0);
  sync_rig_free(rig);
}

/* Half of it is there. */
static void
test_half(void)
{
  SyncRig *rig = rig_with(2, FILES / 2);
  g_auto(ReplicatorResult) result = {0};
  sync_rig_run(rig, &result);
  g_assert_cmpuint(result.literals, >, FILES / 2 * SIZE);
  g_assert_cmpuint(result.literals, <, (FILES / 2 + 40) * (SIZE + FILES));
  sync_rig_free(rig);
}

/* Without much to gain what there is is not even asked for. */
static void
test_not_worth(void)
{
  SyncRig *rig = sync_rig_new(3, NULL);
  g_auto(ReplicatorResult) first = {0}, second = {0};
  sync_rig_change(rig, 5);
  sync_rig_run(rig, &first);
  make_files(rig);
  make_base(rig, FILES);
  for (guint i = 1; i < FILES; i++) {
    g_autofree char *path = file_path(rig, i);
    if (i != 7)
      g_unlink(path);
  }
  g_autofree char *large = file_path(rig, 0);
  g_unlink(large);
  sync_rig_copy(rig);
  sync_rig_run(rig, &second);
  g_assert_true(second.made);
  g_assert_cmpuint(second.taken, ==, 0);
  g_assert_cmpuint(second.literals, >=, SIZE);
  sync_rig_free(rig);
}

/* Every content that was told of is gone, or rotten: all is sent, in one attempt. */
static void
test_lost(gconstpointer how)
{
  SyncRig *rig = rig_with(4, FILES);
  g_auto(ReplicatorResult) result = {0}, again = {0};
  rig_run("sh", "-c", how, "sh", rig->public_base, NULL);
  sync_rig_run(rig, &result);
  g_assert_cmpuint(result.literals, >=, FILES * SIZE + PUBLIC_BASE_LARGE);
  g_usleep(20000);
  sync_rig_run(rig, &again);
  g_assert_false(again.made);
  sync_rig_free(rig);
}

/* What is told of the base is no such thing: then there is none. */
static void
test_damaged_set(void)
{
  SyncRig *rig = rig_with(5, FILES);
  g_auto(ReplicatorResult) result = {0};
  rig_run("sh", "-c", "printf x | dd of=\"$1/set\" bs=1 seek=40 conv=notrunc status=none", "sh",
          rig->public_base, NULL);
  sync_rig_run(rig, &result);
  g_assert_cmpuint(result.taken, ==, 0);
  sync_rig_free(rig);
}

/* TRUE where it came to its end. */
static gboolean
cut(SyncRig *rig, GRand *rand, guint within_us)
{
  int ends[2];
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  pid_t receiver = sync_rig_receiver(rig, ends), device = fork();
  if (device == 0) {
    g_auto(ReplicatorResult) result = {0};
    close(ends[1]);
    _exit(sync_rig_send(rig, ends[0], &result, NULL) ? 0 : 1);
  }
  g_usleep(g_rand_int_range(rand, 0, within_us));
  kill(g_rand_boolean(rand) ? device : receiver, SIGKILL);
  close(ends[0]);
  close(ends[1]);
  int status = sync_rig_wait(device);
  sync_rig_wait(receiver);
  return status == 0;
}

/* Either end is killed again and again, while the base loses contents and gets them back. */
static void
test_cuts(void)
{
  /* An attempt that counted on what is gone is given up with a warning. */
  g_log_set_always_fatal((GLogLevelFlags)G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_ERROR);
  for (guint i = 0; i < rig_seeds(3); i++) {
    guint32 seed = rig_first_seed() + i;
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    SyncRig *rig = rig_with(seed, FILES);
    g_auto(ReplicatorResult) result = {0};
    gboolean over = FALSE;
    g_autofree char *aside = rig_path(rig->store->base, "aside");
    for (guint n = 0; n < 25 && !over; n++) {
      over = cut(rig, rand, 2000 << (n / 4 % 6));
      guint64 now = sync_rig_newest(rig);
      g_assert_true(now == 0 || now == 1);
      g_autofree char *some = g_strdup_printf("%02x", g_rand_int_range(rand, 0, 256));
      rig_run("sh", "-c",
              "if [ -d \"$2\" ]; then cp -rT \"$2\" \"$1/contents\"; rm -r \"$2\"; else "
              "cp -r \"$1/contents\" \"$2\"; rm -f \"$1/contents/$3\"/* \"$1/contents/0\"*/*; fi",
              "sh", rig->public_base, aside, some, NULL);
    }
    sync_rig_run(rig, &result);
    g_assert_cmpuint(rig->generation, ==, 1);
    sync_rig_free(rig);
  }
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
  g_test_add_func("/public/named", test_named);
  g_test_add_func("/public/half", test_half);
  g_test_add_func("/public/not-worth", test_not_worth);
  g_test_add_data_func("/public/lost", "rm -rf \"$1/contents\"", test_lost);
  g_test_add_data_func(
      "/public/rotten",
      "for f in \"$1\"/contents/*/*; do chmod 600 \"$f\"; printf x | dd of=\"$f\" bs=1 seek=500 "
      "conv=notrunc status=none; done",
      test_lost);
  g_test_add_func("/public/damaged-set", test_damaged_set);
  g_test_add_func("/public/cuts", test_cuts);
  return g_test_run();
}
