/* Files that a program only read, between a clone and a device of which either lies. */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replicator/checkpoint_client.h"
#include "replicator/checkpoint_service.h"

enum { LENGTH = 700000, ANSWER_MS = 60000 };

typedef struct {
  char *directory; /* the clone's root, but where that is the machine's own */
  char *state;     /* of the clone host, below it */
  CheckpointClient client;
  Link *clone; /* its end, where it lies; else a service has it: */
  pid_t service;
} World;

static void
begin(World *world, int ends[2])
{
  g_autofree char *directory = g_dir_make_tmp("doppel-named-XXXXXX", NULL);
  world->directory = realpath(directory, NULL);
  world->state = g_build_filename(world->directory, "state", NULL);
  g_assert_cmpint(g_mkdir(world->state, 0700), ==, 0);
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
}

G_NORETURN
static void
be_service(const World *world, const char *root, int fd)
{
  const AugmenterSession session = {
      .root = root, .hidden = world->state, .tmp = "/nowhere", .clone_name = "clone", .control_fd = -1};
  const JobHost host = {.directory = world->state, .lease = -1};
  g_autoptr(Link) link = link_new_local(fd);
  _exit(checkpoint_service(link, &session, world->state, &host));
}

/* A clone that serves the machine's root, or with `below` the directory. */
static void
set_up_service(World *world, gconstpointer below)
{
  int ends[2];
  begin(world, ends);
  world->service = fork();
  if (world->service == 0) {
    close(ends[0]);
    be_service(world, below ? world->directory : "/", ends[1]);
  }
  g_assert_cmpint(world->service, >, 0);
  close(ends[1]);
  world->client.link = link_new_local(ends[0]);
}

static void
set_up_liar(World *world, gconstpointer unused)
{
  int ends[2];
  begin(world, ends);
  world->client.link = link_new_local(ends[0]);
  world->clone = link_new_local(ends[1]);
}

static void
tear_down(World *world, gconstpointer unused)
{
  static const char *const names[] = {"file", "link", "state/key", "dev/file", "dev"};
  g_clear_pointer(&world->client.link, link_free);
  g_clear_pointer(&world->clone, link_free);
  if (world->service)
    g_assert_cmpint(waitpid(world->service, NULL, 0), ==, world->service);
  for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
    g_autofree char *path = g_build_filename(world->directory, names[i], NULL);
    g_remove(path);
  }
  g_assert_cmpint(g_rmdir(world->state), ==, 0);
  g_assert_cmpint(g_rmdir(world->directory), ==, 0);
  g_free(world->state);
  free(world->directory);
}

/* A file in the clone's root. */
static char *
make(World *world, const char *name, guint seed)
{
  char *path = g_build_filename(world->directory, name, NULL);
  g_autofree guint8 *bytes = g_malloc(LENGTH);
  for (guint i = 0; i < LENGTH; i++)
    bytes[i] = (guint8)(i * seed >> 7);
  g_assert_true(g_file_set_contents(path, (const char *)bytes, LENGTH, NULL));
  return path;
}

/* As its owner would name it. */
static CheckpointFile
name_file(const char *path, gboolean hashed)
{
  CheckpointFile named = DOPPEL__WIRE__CHECKPOINT_FILE__INIT;
  struct stat facts;
  g_auto(Fd) file = open(path, O_RDONLY | O_CLOEXEC);
  g_assert_cmpint(fstat(file, &facts), ==, 0);
  named.kind = DOPPEL__WIRE__CHECKPOINT_FILE__KIND__NAMED;
  named.path = (ProtobufCBinaryData){strlen(path), (guint8 *)path};
  named.size = (guint64)facts.st_size;
  named.mtime_ns = (gint64)facts.st_mtim.tv_sec * 1000000000 + facts.st_mtim.tv_nsec;
  if (hashed)
    g_assert_true(checkpoint_file_know(&named, file));
  return named;
}

/* The same as the clone sees it, whose root is not the machine's. */
static void
name_below(World *world, CheckpointFile *named)
{
  gsize above = strlen(world->directory);
  named->path.data += above;
  named->path.len -= above;
}

static int
temporary(void)
{
  g_autofree char *name = g_build_filename(g_get_tmp_dir(), "doppel-content-XXXXXX", NULL);
  int file = mkostemp(name, O_CLOEXEC);
  g_assert_cmpint(file, >=, 0);
  g_unlink(name);
  return file;
}

static gboolean
fetch(World *world, const CheckpointFile *named, GError **error)
{
  g_auto(Fd) file = temporary();
  gboolean done = checkpoint_client_content(&world->client, named, file, error);
  if (done)
    g_assert_true(checkpoint_file_fits(named, file));
  return done;
}

static gboolean
is_lacked(World *world, CheckpointFile *named)
{
  Doppel__Wire__CheckpointFiles files = DOPPEL__WIRE__CHECKPOINT_FILES__INIT;
  files.n_file = 1;
  files.file = &named;
  g_assert_true(CHECKPOINT_SEND(world->client.link, FILES, files, &files, NULL));
  g_autoptr(CheckpointMessage) answer = checkpoint_message_wait(world->client.link, ANSWER_MS, NULL);
  g_assert_nonnull(answer);
  g_assert_cmpint(answer->kind_case, ==, DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_LACKS);
  return answer->lacks->n_index == 1;
}

static void
assert_kept_back(World *world, CheckpointFile *named)
{
  g_autoptr(GError) error = NULL;
  g_assert_true(is_lacked(world, named));
  g_assert_false(fetch(world, named, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
}

/* ---- a device that asks ---- */

static void
test_files(World *world, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *path = make(world, "file", 3), *other = make(world, "link", 5);
  CheckpointFile hashed = name_file(path, TRUE), timed = name_file(path, FALSE);
  g_assert_false(is_lacked(world, &hashed));
  g_assert_false(is_lacked(world, &timed));
  g_assert_true(fetch(world, &hashed, &error));
  g_assert_no_error(error);
  /* Another one, and one that a link leads to. */
  CheckpointFile elsewhere = name_file(other, TRUE);
  elsewhere.path = hashed.path;
  assert_kept_back(world, &elsewhere);
  g_remove(other);
  g_assert_cmpint(symlink(path, other), ==, 0);
  CheckpointFile linked = name_file(other, TRUE);
  assert_kept_back(world, &linked);
}

/* The machine's root has a /proc whose files are as empty as any, and go on when they are read. */
static void
test_processes(World *world, gconstpointer unused)
{
  static const char *const names[] = {"environ", "maps", "status"};
  for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
    g_autofree char *path = g_strdup_printf("/proc/%d/%s", (int)getpid(), names[i]);
    CheckpointFile named = name_file(path, TRUE);
    Doppel__Wire__CheckpointContent content = DOPPEL__WIRE__CHECKPOINT_CONTENT__INIT;
    g_assert_cmpuint(named.size, ==, 0);
    g_assert_true(is_lacked(world, &named));
    content.file = &named;
    g_assert_true(CHECKPOINT_SEND(world->client.link, CONTENT, content, &content, NULL));
    g_autoptr(CheckpointMessage) answer = checkpoint_message_wait(world->client.link, ANSWER_MS, NULL);
    g_assert_nonnull(answer);
    g_assert_cmpint(answer->kind_case, ==, DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_PIECE);
    g_assert_cmpuint(answer->piece->bytes.len, ==, 0);
    g_assert_true(answer->piece->last);
  }
}

static void
test_made_up(World *world, gconstpointer unused)
{
  static const char path[] = "/sys/kernel/profiling", *const paths[] = {path, "/sys/kernel/uevent_seqnum"};
  gboolean any = FALSE;
  for (guint i = 0; i < G_N_ELEMENTS(paths); i++) {
    if (!g_file_test(paths[i], G_FILE_TEST_EXISTS))
      continue;
    CheckpointFile named = name_file(paths[i], FALSE); /* a page, as all of them say */
    g_assert_cmpuint(named.size, >, 0);
    assert_kept_back(world, &named);
    any = TRUE;
  }
  if (!any)
    g_test_skip("there is no sysfs here");
}

static void
test_hidden(World *world, gconstpointer below)
{
  g_autofree char *key = make(world, "state/key", 7), *path = make(world, "file", 3),
                  *dev = g_build_filename(world->directory, "dev", NULL);
  CheckpointFile hidden = name_file(key, TRUE), seen = name_file(path, TRUE);
  if (below) {
    name_below(world, &hidden);
    name_below(world, &seen);
    /* There a program in the clone finds another /dev than that of its root. */
    g_assert_cmpint(g_mkdir(dev, 0700), ==, 0);
    g_autofree char *device = make(world, "dev/file", 3);
    CheckpointFile covered = name_file(device, TRUE);
    name_below(world, &covered);
    assert_kept_back(world, &covered);
  }
  assert_kept_back(world, &hidden);
  g_assert_false(is_lacked(world, &seen));
}

/* ---- a clone that answers ---- */

static void
say_piece(World *world, guint64 offset, guint64 length, gboolean last)
{
  Doppel__Wire__CheckpointBytes piece = DOPPEL__WIRE__CHECKPOINT_BYTES__INIT;
  g_autofree guint8 *bytes = g_malloc0(MAX(length, 1));
  piece.offset = offset;
  piece.bytes = (ProtobufCBinaryData){length, bytes};
  piece.last = last;
  g_assert_true(CHECKPOINT_SEND(world->clone, PIECE, piece, &piece, NULL));
}

static const struct {
  const char *name;
  guint64 named, sent[2]; /* bytes, in one piece or two */
  gboolean hashed, good;
} answers[] = {
    {"right", 9000, {5000, 4000}, TRUE, TRUE},        {"right-unhashed", 9000, {9000, 0}, FALSE, TRUE},
    {"more", 9000, {9001, 0}, FALSE, FALSE},          {"more-later", 9000, {5000, 4001}, FALSE, FALSE},
    {"more-than-all", 9000, {9000, 1}, FALSE, FALSE}, {"less", 9000, {5000, 3999}, FALSE, FALSE},
    {"nothing", 9000, {0, 0}, FALSE, FALSE},          {"other", 9000, {9000, 0}, TRUE, FALSE},
};

static void
say_answer(World *world, gsize which)
{
  guint64 first = answers[which].sent[0], second = answers[which].sent[1];
  say_piece(world, 0, first, !second);
  if (second)
    say_piece(world, first, second, TRUE);
}

/* What came is no more than was to come. */
static void
assert_answer(gsize which, gboolean done, int file, const GError *error)
{
  struct stat facts;
  g_assert_cmpint(fstat(file, &facts), ==, 0);
  g_assert_cmpuint((guint64)facts.st_size, <=, answers[which].named);
  g_assert_cmpint(done, ==, answers[which].good);
  if (!done)
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

static void
test_content_lies(World *world, gconstpointer which)
{
  gsize i = GPOINTER_TO_SIZE(which);
  g_autoptr(GError) error = NULL;
  g_autofree char *path = g_build_filename(world->directory, "file", NULL);
  g_autofree char *zeros = g_malloc0(answers[i].named);
  if (answers[i].hashed && !answers[i].good)
    zeros[100] = 1;
  g_assert_true(g_file_set_contents(path, zeros, (gssize)answers[i].named, NULL));
  CheckpointFile named = name_file(path, answers[i].hashed);
  g_auto(Fd) file = temporary();
  say_answer(world, i);
  gboolean done = checkpoint_client_content(&world->client, &named, file, &error);
  assert_answer(i, done, file, error);
}

static void
test_take_lies(World *world, gconstpointer which)
{
  gsize i = GPOINTER_TO_SIZE(which);
  g_autoptr(GError) error = NULL;
  guint8 run[CHECKPOINT_RUN] = {1};
  CheckpointChain chain = DOPPEL__WIRE__CHECKPOINT_CHAIN__INIT;
  Doppel__Wire__CheckpointLink link = DOPPEL__WIRE__CHECKPOINT_LINK__INIT;
  Doppel__Wire__CheckpointSummary summary = DOPPEL__WIRE__CHECKPOINT_SUMMARY__INIT;
  link.name = (char *)"1";
  link.bytes = answers[i].named;
  chain.n_link = 1;
  chain.link = &(Doppel__Wire__CheckpointLink *){&link};
  summary.run = (ProtobufCBinaryData){sizeof run, run};
  summary.chain = &chain;
  g_assert_true(CHECKPOINT_SEND(world->clone, SUMMARY, summary, &summary, NULL));
  say_answer(world, i);
  g_auto(Fd) file = temporary();
  gboolean done = checkpoint_client_take(&world->client, run, FALSE, FALSE, file, &error);
  assert_answer(i, done, file, error);
}

/* What is empty is not even asked for. */
static void
test_empty(World *world, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *path = g_build_filename(world->directory, "file", NULL);
  g_assert_true(g_file_set_contents(path, "", 0, NULL));
  CheckpointFile named = name_file(path, TRUE);
  g_assert_true(fetch(world, &named, &error));
  g_assert_no_error(error);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add("/checkpoint-service/files", World, NULL, set_up_service, test_files, tear_down);
  g_test_add("/checkpoint-service/processes", World, NULL, set_up_service, test_processes, tear_down);
  g_test_add("/checkpoint-service/made-up", World, NULL, set_up_service, test_made_up, tear_down);
  g_test_add("/checkpoint-service/hidden", World, NULL, set_up_service, test_hidden, tear_down);
  g_test_add("/checkpoint-service/hidden-below", World, "", set_up_service, test_hidden, tear_down);
  g_test_add("/checkpoint-client/empty", World, NULL, set_up_liar, test_empty, tear_down);
  for (gsize i = 0; i < G_N_ELEMENTS(answers); i++) {
    g_autofree char *content = g_strconcat("/checkpoint-client/content/", answers[i].name, NULL),
                    *take = g_strconcat("/checkpoint-client/take/", answers[i].name, NULL);
    g_test_add(content, World, GSIZE_TO_POINTER(i), set_up_liar, test_content_lies, tear_down);
    if (g_strcmp0(answers[i].name, "other") != 0) /* that is for who reads it */
      g_test_add(take, World, GSIZE_TO_POINTER(i), set_up_liar, test_take_lies, tear_down);
  }
  return g_test_run();
}
