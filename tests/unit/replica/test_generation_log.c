/* The log of an attempt: whatever happens to the file, what is read is a beginning of what was written, or an
 * error. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/generation_log.h"
#include "rig.h"

#define STEPS 12

typedef struct {
  char *base;
  int fd;
} Place;

static void
set_up(Place *place, gconstpointer size)
{
  place->base = g_dir_make_tmp("doppel-log-XXXXXX", NULL);
  g_assert_cmpint(mount("tmpfs", place->base, "tmpfs", 0, size), ==, 0);
  place->fd = open(place->base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_assert_cmpint(place->fd, >=, 0);
}

static void
tear_down(Place *place, gconstpointer size)
{
  close(place->fd);
  g_assert_cmpint(umount2(place->base, MNT_DETACH), ==, 0);
  rmdir(place->base);
  g_free(place->base);
}

static GBytes *
message(guint number)
{
  g_autofree char *text = g_strdup_printf("step %u %.*s", number, (int)(number * 7 % 40),
                                          "........................................");
  return g_bytes_new(text, strlen(text));
}

static void
write_log(Place *place, guint64 first, guint count)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) head = g_bytes_new("head", 4);
  g_autoptr(GenerationLog) log = generation_log_new(place->fd, "log", first, head, &error);
  g_assert_no_error(error);
  for (guint i = 0; i < count; i++) {
    g_autoptr(GBytes) bytes = message(i);
    g_assert_true(generation_log_append(log, bytes, &error));
  }
  g_assert_cmpuint(generation_log_last(log), ==, first + count - 1);
  g_assert_cmpuint(generation_log_durable(log), ==, first - 1);
  g_assert_cmpint(generation_log_due_us(log), >, 0);
  g_assert_true(generation_log_sync(log, &error));
  g_assert_cmpuint(generation_log_durable(log), ==, first + count - 1);
  g_assert_cmpint(generation_log_due_us(log), ==, -1);
}

/* How many steps come out; -1 for an error, which must be HOSTILE. What comes must be what was written. */
static int
read_log(Place *place, GenerationLog **opened)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GenerationLog) log = generation_log_open(place->fd, "log", &error);
  if (!log) {
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
    return -1;
  }
  g_assert_cmpmem(g_bytes_get_data(generation_log_head(log), NULL),
                  g_bytes_get_size(generation_log_head(log)), "head", 4);
  int count = 0;
  for (GBytes *next; (next = generation_log_next(log, &error)); count++) {
    g_autoptr(GBytes) expected = message(count);
    g_assert_true(g_bytes_equal(next, expected));
    g_bytes_unref(next);
  }
  g_assert_no_error(error);
  if (opened)
    *opened = g_steal_pointer(&log);
  return count;
}

static GBytes *
contents(Place *place)
{
  g_autofree char *path = rig_path(place->base, "log");
  char *data;
  gsize length;
  g_assert_true(g_file_get_contents(path, &data, &length, NULL));
  return g_bytes_new_take(data, length);
}

static void
put_contents(Place *place, const guint8 *data, gsize length)
{
  g_auto(Fd) fd = openat(place->fd, "log", O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  g_assert_true(fd >= 0 && io_write_all(fd, data, length));
}

static void
test_whole(Place *place, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GenerationLog) log = NULL;
  g_assert_null(generation_log_open(place->fd, "log", &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
  write_log(place, 100, STEPS);
  g_assert_cmpint(read_log(place, &log), ==, STEPS);
  g_assert_cmpuint(generation_log_durable(log), ==, 100 + STEPS - 1);
}

/* Cut off anywhere, the log gives the steps that are whole, and takes further ones after them. */
static void
test_truncated(Place *place, gconstpointer unused)
{
  write_log(place, 1, STEPS);
  g_autoptr(GBytes) whole = contents(place);
  int last = -1;
  for (gsize length = 0; length < g_bytes_get_size(whole); length++) {
    put_contents(place, g_bytes_get_data(whole, NULL), length);
    g_autoptr(GenerationLog) log = NULL;
    int count = read_log(place, &log);
    g_assert_cmpint(count, >=, last);
    g_assert_cmpint(count, <, STEPS);
    last = count;
    if (count < 0)
      continue;
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) further = message(count);
    g_assert_true(generation_log_append(log, further, &error));
    g_assert_cmpint(read_log(place, NULL), ==, count + 1);
  }
  g_assert_cmpint(last, ==, STEPS - 1);
}

static void
test_flipped(Place *place, gconstpointer unused)
{
  write_log(place, 1, STEPS);
  g_autoptr(GBytes) whole = contents(place);
  gsize length = g_bytes_get_size(whole);
  g_autofree guint8 *copy = g_memdup2(g_bytes_get_data(whole, NULL), length);
  for (gsize bit = 0; bit < length * 8; bit++) {
    gboolean in_number = bit >= 16 * 8 && bit < 24 * 8; /* of the first step: the owner checks it */
    copy[bit / 8] ^= 1 << bit % 8;
    put_contents(place, copy, length);
    g_assert_true(read_log(place, NULL) < STEPS || in_number);
    copy[bit / 8] ^= 1 << bit % 8;
  }
}

/* Records that are good by themselves do not pass in another place or another log. */
static void
test_moved(Place *place, gconstpointer unused)
{
  write_log(place, 1, 2);
  g_autoptr(GBytes) one = contents(place);
  write_log(place, 1, 2);
  g_autoptr(GBytes) other = contents(place);
  gsize length = g_bytes_get_size(one);
  g_assert_cmpuint(g_bytes_get_size(other), ==, length);
  g_autofree guint8 *mixed = g_memdup2(g_bytes_get_data(one, NULL), length);
  memcpy(mixed + length - 20, (const guint8 *)g_bytes_get_data(other, NULL) + length - 20, 20);
  put_contents(place, mixed, length);
  g_assert_cmpint(read_log(place, NULL), <, 2);
}

/* A full disk refuses a step; what is there stays, and once there is room it goes on. */
static void
test_full(Place *place, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *ballast = rig_path(place->base, "ballast"), *path = rig_path(place->base, "log");
  g_autofree char *zeros = g_malloc0(300000);
  g_assert_true(g_file_set_contents(ballast, zeros, 300000, NULL));
  g_autoptr(GBytes) head = g_bytes_new("head", 4), large = g_bytes_new(zeros, 100000);
  g_autoptr(GenerationLog) log = generation_log_new(place->fd, "log", 1, head, &error);
  g_assert_no_error(error);
  guint count = 0;
  while (generation_log_append(log, large, &error))
    count++;
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
  g_assert_nonnull(strstr(error->message, g_strerror(ENOSPC)));
  g_clear_error(&error);
  g_assert_cmpuint(count, >, 1);
  g_assert_cmpuint(generation_log_last(log), ==, count);
  struct stat status;
  g_assert_cmpint(stat(path, &status), ==, 0);
  g_assert_cmpuint(status.st_size, ==, generation_log_size(log));
  g_assert_cmpint(unlink(ballast), ==, 0);
  g_assert_true(generation_log_append(log, large, &error));
  g_assert_true(generation_log_sync(log, &error));
  g_assert_cmpuint(generation_log_durable(log), ==, count + 1);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  const char *refusal = rig_enter(&argc, &argv);
  if (refusal) {
    g_print("1..0 # SKIP %s\n", refusal);
    return 0;
  }
#define ADD(name, size)                                                                                      \
  g_test_add("/replica/generation/log/" #name, Place, size, set_up, test_##name, tear_down)
  ADD(whole, NULL);
  ADD(truncated, NULL);
  ADD(flipped, NULL);
  ADD(moved, NULL);
  ADD(full, "size=1m");
  return g_test_run();
}
