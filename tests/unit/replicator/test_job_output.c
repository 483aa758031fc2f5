/* Two streams of a job: the order in which they were written, however late they are read; and the files that
 * keep it. */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "replicator/job_output.h"
#include <fcntl.h>

/* ---- pipes ---- */

typedef struct {
  JobOutput *output;
  int signals;
  GString *order; /* "o" or "e" for each byte */
  GString *text[JOB_STREAMS];
} World;

static void
take(JobStream stream, const guint8 *bytes, gsize length, gpointer user)
{
  World *world = user;
  g_string_append_len(world->text[stream], (const char *)bytes, (gssize)length);
  for (gsize i = 0; i < length; i++)
    g_string_append_c(world->order, stream == JOB_STDOUT ? 'o' : 'e');
}

static void
look(World *world)
{
  struct signalfd_siginfo info;
  job_output_look(world->output);
  while (read(world->signals, &info, sizeof info) == sizeof info)
    if ((int)info.ssi_signo == JOB_OUTPUT_SIGNAL)
      job_output_signal(world->output, info.ssi_fd);
  job_output_sort(world->output, take, world);
}

static void
begin(World *world, int ends[JOB_STREAMS])
{
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, JOB_OUTPUT_SIGNAL);
  sigaddset(&mask, JOB_OUTPUT_OVERFLOW);
  sigprocmask(SIG_BLOCK, &mask, NULL);
  *world = (World){.signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK),
                   .order = g_string_new(NULL),
                   .text = {g_string_new(NULL), g_string_new(NULL)}};
  world->output = job_output_new(ends);
  g_assert_nonnull(world->output);
}

static void
end(World *world)
{
  for (guint i = 0; i < 1000 && (i == 0 || !job_output_drained(world->output)); i++)
    look(world);
  job_output_flush(world->output, take, world);
  job_output_free(world->output);
  close(world->signals);
}

static void
forget(World *world)
{
  g_string_free(world->order, TRUE);
  g_string_free(world->text[0], TRUE);
  g_string_free(world->text[1], TRUE);
}

/* Fails where they differ, with the place: they may be long. */
static void
assert_same(const GString *got, const GString *expected)
{
  gsize at = 0;
  while (at < got->len && at < expected->len && got->str[at] == expected->str[at])
    at++;
  if (got->len != expected->len || at < got->len)
    g_error("%" G_GSIZE_FORMAT " bytes, %" G_GSIZE_FORMAT " expected, another at %" G_GSIZE_FORMAT, got->len,
            expected->len, at);
}

/* So many random writes up to `most` bytes: what they were, as a World has it. */
static void
write_some(GRand *rand, const int ends[JOB_STREAMS], guint count, guint most, World *said)
{
  for (guint i = 0; i < count; i++) {
    g_autofree char *piece = g_strnfill(g_rand_int_range(rand, 1, most + 1), (char)('a' + i % 26));
    JobStream stream = g_rand_boolean(rand) ? JOB_STDERR : JOB_STDOUT;
    gsize length = g_rand_int_range(rand, 0, 4) ? strlen(piece) : most;
    g_autofree char *full = g_strnfill(length, *piece);
    if (said)
      take(stream, (const guint8 *)full, length, said);
    else if (write(ends[stream], full, length) != (ssize_t)length)
      _exit(1);
  }
}

enum { ROUNDS = 40, WRITES = 200, SIZE = 4096 };

/* Writes for so many rounds, each when it is told to: a pipe never is full. */
G_NORETURN
static void
be_writer(guint32 seed, const int ends[JOB_STREAMS], int go)
{
  char byte;
  GRand *rand = g_rand_new_with_seed(seed);
  for (guint i = 0; i < ROUNDS && read(go, &byte, 1) == 1; i++)
    write_some(rand, ends, WRITES, SIZE, NULL);
  _exit(0);
}

/* A process writes, with nobody waiting for it, and what comes out is in its order: read while it goes on,
 * and read when it has written for long. */
static void
test_order(gconstpointer late)
{
  guint32 seed = g_test_rand_int();
  World world, expected = {.order = g_string_new(NULL), .text = {g_string_new(NULL), g_string_new(NULL)}};
  int ends[JOB_STREAMS], go[2], status;
  begin(&world, ends);
  g_assert_cmpint(pipe(go), ==, 0);
  g_test_message("seed %u", seed);
  pid_t child = fork();
  if (child == 0)
    be_writer(seed, ends, go[0]);
  close(ends[0]);
  close(ends[1]);
  g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
  for (guint i = 0; i < ROUNDS; i++) {
    write_some(rand, ends, WRITES, SIZE, &expected);
    g_assert_cmpint(write(go[1], "", 1), ==, 1);
    if (late)
      g_usleep(2000); /* the order is the same however long that is */
    while (world.order->len < expected.order->len)
      look(&world);
  }
  g_assert_cmpint(waitpid(child, &status, 0), ==, child);
  g_assert_cmpint(status, ==, 0);
  end(&world);
  assert_same(world.text[0], expected.text[0]);
  assert_same(world.text[1], expected.text[1]);
  assert_same(world.order, expected.order);
  forget(&world);
  forget(&expected);
  close(go[0]);
  close(go[1]);
}

/* Long writes are several pages: their borders are found where they are read in time. */
static void
test_long(void)
{
  World world;
  int ends[JOB_STREAMS];
  begin(&world, ends);
  static const gsize sizes[] = {5000, 100, 65536, 3, 70000, 4096, 4097};
  g_autoptr(GString) expected = g_string_new(NULL);
  for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
    g_autofree char *piece = g_strnfill(sizes[i], 'x');
    g_assert_cmpint(write(ends[i % 2], piece, sizes[i]), ==, sizes[i]);
    for (gsize j = 0; j < sizes[i]; j++)
      g_string_append_c(expected, i % 2 ? 'e' : 'o');
    for (guint j = 0; j < 2; j++)
      look(&world);
    assert_same(world.order, expected);
  }
  close(ends[0]);
  close(ends[1]);
  end(&world);
  assert_same(world.order, expected);
  forget(&world);
}

/* Two at once: each one's bytes are in its order, and none is lost. */
static void
test_two(void)
{
  World world;
  int ends[JOB_STREAMS], status;
  begin(&world, ends);
  for (guint i = 0; i < JOB_STREAMS; i++)
    if (fork() == 0) {
      for (guint line = 0; line < 20000; line++)
        dprintf(ends[i], "%u\n", line);
      _exit(0);
    }
  close(ends[0]);
  close(ends[1]);
  while (waitpid(-1, &status, WNOHANG) >= 0)
    look(&world);
  end(&world);
  g_autoptr(GString) expected = g_string_new(NULL);
  for (guint line = 0; line < 20000; line++)
    g_string_append_printf(expected, "%u\n", line);
  assert_same(world.text[0], expected);
  assert_same(world.text[1], expected);
  forget(&world);
}

/* More writes than signals can wait: the order may suffer, and nothing else. */
static void
test_overflow(void)
{
  World world;
  int ends[JOB_STREAMS], status;
  begin(&world, ends);
  struct rlimit usual;
  getrlimit(RLIMIT_SIGPENDING, &usual);
  setrlimit(RLIMIT_SIGPENDING, &(struct rlimit){10, usual.rlim_max});
  pid_t child = fork();
  if (child == 0) {
    for (guint i = 0; i < 100; i++)
      dprintf(ends[i % 2], "%u\n", i);
    _exit(0);
  }
  close(ends[0]);
  close(ends[1]);
  g_assert_cmpint(waitpid(child, &status, 0), ==, child);
  end(&world);
  setrlimit(RLIMIT_SIGPENDING, &usual);
  for (guint i = 0; i < JOB_STREAMS; i++) {
    g_autoptr(GString) expected = g_string_new(NULL);
    for (guint line = i; line < 100; line += 2)
      g_string_append_printf(expected, "%u\n", line);
    assert_same(world.text[i], expected);
  }
  forget(&world);
}

/* ---- files ---- */

typedef struct {
  char *path;
  int directory;
  JobLog log;
} Place;

static void
set_up(Place *place, gconstpointer unused)
{
  place->path = g_dir_make_tmp("doppel-log-XXXXXX", NULL);
  place->directory = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_assert_true(job_log_begin(&place->log, place->directory, NULL));
}

static void
tear_down(Place *place, gconstpointer unused)
{
  job_log_end(&place->log);
  unlinkat(place->directory, JOB_LOG, 0);
  unlinkat(place->directory, JOB_LOG_STREAMS, 0);
  io_close(&place->directory);
  g_assert_cmpint(g_rmdir(place->path), ==, 0);
  g_free(place->path);
}

static gsize
append(Place *place, JobStream stream, const char *text, guint64 most)
{
  return job_log_append(&place->log, stream, (const guint8 *)text, strlen(text), most);
}

static int
streams(const Place *place)
{
  return openat(place->directory, JOB_LOG_STREAMS, O_RDWR | O_CLOEXEC);
}

/* Whose each byte is, and to where. */
static void
assert_runs(int file, const char *whose)
{
  for (gsize i = 0; whose[i]; i++) {
    guint64 until;
    char name = job_log_look(file, i, &until) == JOB_STDERR ? 'e' : 'o';
    gsize same = 1;
    while (whose[i + same] == whose[i])
      same++;
    g_assert_cmpint(name, ==, whose[i]);
    g_assert_cmpuint(until, ==, whose[i + same] ? i + same : G_MAXUINT64);
  }
}

static void
test_runs(Place *place, gconstpointer unused)
{
  guint64 until;
  g_auto(Fd) file = streams(place);
  g_assert_cmpint(job_log_look(file, 0, &until), ==, JOB_STDOUT);
  g_assert_cmpint(job_log_look(-1, 99, &until), ==, JOB_STDOUT);
  g_assert_cmpuint(until, ==, G_MAXUINT64);
  static const char whose[] = "eeooooeoeeeee";
  for (const char *at = whose; *at; at++)
    g_assert_cmpuint(append(place, *at == 'e' ? JOB_STDERR : JOB_STDOUT, "x", G_MAXUINT64), ==, 1);
  assert_runs(file, whose);
  /* A run of which only a part was written, when its host was switched off. */
  g_assert_cmpint(lseek(file, 0, SEEK_END), ==, 5 * 8);
  g_assert_cmpint(write(file, "\x18\0\0", 3), ==, 3);
  assert_runs(file, whose);
}

static void
test_most(Place *place, gconstpointer unused)
{
  g_assert_cmpuint(append(place, JOB_STDOUT, "12345678", 16), ==, 8); /* and 8 bytes for the run */
  g_assert_false(place->log.over);
  g_assert_cmpuint(append(place, JOB_STDOUT, "9", 16), ==, 0);
  g_assert_true(place->log.over);
  g_assert_cmpuint(append(place, JOB_STDOUT, "90", 17), ==, 1);
  g_assert_cmpuint(append(place, JOB_STDERR, "e", 25), ==, 0); /* a run without a byte would say nothing */
  g_assert_cmpuint(append(place, JOB_STDERR, "e", 26), ==, 1);
  g_auto(Fd) file = streams(place);
  assert_runs(file, "oooooooooe");
}

/* Damaged runs are answered with something, and with an end behind where it begins. */
static void
test_damage(Place *place, gconstpointer unused)
{
  g_auto(Fd) file = streams(place);
  for (guint round = 0; round < 2000; round++) {
    guint64 run = g_test_rand_int_range(0, 40), until;
    g_assert_cmpint(pwrite(file, &run, sizeof run, g_test_rand_int_range(0, 100)), ==, sizeof run);
    guint64 offset = g_test_rand_int_range(0, 50);
    job_log_look(file, offset, &until);
    g_assert_cmpuint(until, >, offset);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_data_func("/job-output/order/while-it-writes", GINT_TO_POINTER(FALSE), test_order);
  g_test_add_data_func("/job-output/order/late", GINT_TO_POINTER(TRUE), test_order);
  g_test_add_func("/job-output/long", test_long);
  g_test_add_func("/job-output/two", test_two);
  g_test_add_func("/job-output/overflow", test_overflow);
  g_test_add("/job-log/runs", Place, NULL, set_up, test_runs, tear_down);
  g_test_add("/job-log/most", Place, NULL, set_up, test_most, tear_down);
  g_test_add("/job-log/damage", Place, NULL, set_up, test_damage, tear_down);
  return g_test_run();
}
