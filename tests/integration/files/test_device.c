/* What the device tells its clone about files, and what it takes from one that is no clone. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "controller/device_files.h"
#include "replica/message.h"
#include "wire/replica.pb-c.h"

typedef struct {
  char *directory; /* absolute, no links on the way */
  Link *device, *clone;
  DeviceFiles *files;
} World;

static char *
path_in(const World *world, const char *name)
{
  return g_build_filename(world->directory, name, NULL);
}

static void
put(const World *world, const char *name, const char *text)
{
  g_autofree char *path = path_in(world, name);
  g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void
begin(World *world)
{
  int ends[2];
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  world->device = link_new_local(ends[0]);
  world->clone = link_new_local(ends[1]);
  world->files = device_files_new(world->device, "test", "/bin/true", FALSE, NULL);
  g_assert_nonnull(world->files);
}

static void
end(World *world)
{
  g_clear_pointer(&world->files, device_files_free);
  g_clear_pointer(&world->device, link_free);
  g_clear_pointer(&world->clone, link_free);
}

static void
set_up(World *world, gconstpointer data)
{
  g_autofree char *made = g_dir_make_tmp("doppel-device-XXXXXX", NULL);
  world->directory = realpath(made, NULL);
  g_setenv("XDG_STATE_HOME", world->directory, TRUE);
  put(world, "file", "content");
  g_autofree char *below = path_in(world, "below");
  g_autofree char *link = path_in(world, "link");
  g_assert_cmpint(g_mkdir(below, 0755), ==, 0);
  g_assert_cmpint(symlink("below/../file", link), ==, 0);
  put(world, "below/deep", "deeper content");
  begin(world);
}

static void
tear_down(World *world, gconstpointer data)
{
  g_autofree char *command = g_strdup_printf("rm -rf '%s'", world->directory);
  end(world);
  g_assert_cmpint(system(command), ==, 0);
  free(world->directory);
}

#define MESSAGE(kind, field, contents)                                                                       \
  (&(EngineMessage){PROTOBUF_C_MESSAGE_INIT(&doppel__engine__message__descriptor),                           \
                    DOPPEL__ENGINE__MESSAGE__KIND_##kind,                                                    \
                    {.field = (contents)}})

static ProtobufCBinaryData
bytes(const char *text)
{
  return (ProtobufCBinaryData){strlen(text), (guint8 *)text};
}

static EngineMessage *
ask_paths(World *world, const char *path, gboolean contents)
{
  ProtobufCBinaryData asked = bytes(path);
  Doppel__Engine__AskPaths ask = DOPPEL__ENGINE__ASK_PATHS__INIT;
  gboolean handled;
  g_autoptr(GError) error = NULL;
  ask.id = 7;
  ask.n_path = 1;
  ask.path = &asked;
  ask.contents = contents;
  ask.follow = TRUE;
  g_assert_true(device_files_message(world->files, MESSAGE(ASK_PATHS, ask_paths, &ask), &handled, &error));
  g_assert_no_error(error);
  EngineMessage *answer = engine_wait(world->clone, 5000, &error);
  g_assert_no_error(error);
  g_assert_cmpint(answer->kind_case, ==, DOPPEL__ENGINE__MESSAGE__KIND_PATHS);
  g_assert_cmpint(answer->paths->id, ==, 7);
  return answer;
}

/* What the answer says of a path; FALSE where it says nothing. */
static gboolean
find(gsize count, Doppel__Engine__Told *const *told, const char *path, ReplicaFacts *facts, int *failure)
{
  for (gsize i = 0; i < count; i++)
    if (told[i]->path.len == strlen(path) && memcmp(told[i]->path.data, path, strlen(path)) == 0)
      return replica_facts_unpack(told[i]->facts.data, told[i]->facts.len, facts, failure, NULL);
  return FALSE;
}

static void
test_walk(World *world, gconstpointer data)
{
  g_autofree char *link = path_in(world, "link");
  g_autofree char *below = path_in(world, "below");
  g_autofree char *file = path_in(world, "file");
  g_auto(ReplicaFacts) facts = {0};
  int failure;
  g_autoptr(EngineMessage) answer = ask_paths(world, link, TRUE);
  const Doppel__Engine__Paths *told = answer->paths;
  g_assert_true(find(told->n_told, told->told, "/", &facts, &failure));
  g_assert_true(find(told->n_told, told->told, world->directory, &facts, &failure));
  g_assert_true(find(told->n_told, told->told, link, &facts, &failure));
  g_assert_cmpstr(facts.target, ==, "below/../file");
  replica_facts_clear(&facts);
  g_assert_true(find(told->n_told, told->told, below, &facts, &failure));
  g_assert_true(find(told->n_told, told->told, file, &facts, &failure));
  g_assert_cmpint(facts.size, ==, strlen("content"));
  g_assert_true(facts.hashed);
  /* All of that is known now. */
  g_usleep(50000);
  engine_message_free(ask_paths(world, file, TRUE)); /* once more what was too young to be sure of */
  g_autoptr(EngineMessage) again = ask_paths(world, file, TRUE);
  ReplicaFacts none;
  g_assert_false(find(again->paths->n_told, again->paths->told, file, &none, &failure));
  g_assert_false(find(again->paths->n_told, again->paths->told, below, &none, &failure));
}

static void
test_absent(World *world, gconstpointer data)
{
  g_autofree char *nothing = path_in(world, "nothing/below");
  g_autofree char *parent = path_in(world, "nothing");
  g_autofree char *inside = path_in(world, "file/inside");
  ReplicaFacts facts;
  int failure = 0;
  g_autoptr(EngineMessage) answer = ask_paths(world, nothing, FALSE);
  g_assert_true(find(answer->paths->n_told, answer->paths->told, parent, &facts, &failure));
  g_assert_cmpint(failure, ==, ENOENT);
  g_assert_false(find(answer->paths->n_told, answer->paths->told, nothing, &facts, &failure));
  g_autoptr(EngineMessage) other = ask_paths(world, inside, FALSE);
  g_assert_false(find(other->paths->n_told, other->paths->told, inside, &facts, &failure));
}

static guint
count_stale(World *world, const char *path, int *failure, ReplicaFacts *facts)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) stale = device_files_stale(world->files, getpid(), &error);
  g_assert_no_error(error);
  return find(stale->len, (Doppel__Engine__Told *const *)stale->pdata, path, facts, failure);
}

static void
test_stale(World *world, gconstpointer data)
{
  g_autofree char *file = path_in(world, "file");
  g_autofree char *nothing = path_in(world, "nothing");
  g_auto(ReplicaFacts) facts = {0};
  int failure;
  engine_message_free(ask_paths(world, file, FALSE));
  engine_message_free(ask_paths(world, nothing, FALSE));
  g_usleep(50000); /* until its times say enough */
  count_stale(world, file, &failure, &facts);
  replica_facts_clear(&facts);
  g_assert_false(count_stale(world, file, &failure, &facts));
  /* The same size, and the same time of modification: the content is to be compared. */
  struct stat before;
  g_assert_cmpint(stat(file, &before), ==, 0);
  int fd = open(file, O_WRONLY);
  g_assert_cmpint(pwrite(fd, "CONTENT", 7, 0), ==, 7);
  g_assert_cmpint(futimens(fd, (struct timespec[2]){before.st_atim, before.st_mtim}), ==, 0);
  close(fd);
  g_assert_true(count_stale(world, file, &failure, &facts));
  g_assert_true(facts.hashed);
  replica_facts_clear(&facts);
  put(world, "nothing", "something");
  g_assert_true(count_stale(world, nothing, &failure, &facts));
  g_assert_cmpint(failure, ==, 0);
  replica_facts_clear(&facts);
  g_assert_cmpint(g_unlink(nothing), ==, 0);
  g_assert_true(count_stale(world, nothing, &failure, &facts));
  g_assert_cmpint(failure, ==, ENOENT);
}

static void
test_expected(World *world, gconstpointer data)
{
  g_autofree char *file = path_in(world, "file");
  g_auto(ReplicaFacts) facts = {0};
  int failure;
  engine_message_free(ask_paths(world, file, TRUE));
  end(world);
  begin(world);
  g_autoptr(GPtrArray) expected = device_files_expected(world->files);
  g_assert_true(find(expected->len, (Doppel__Engine__Told *const *)expected->pdata, file, &facts, &failure));
  g_assert_true(facts.hashed);
}

static void
test_listing(World *world, gconstpointer data)
{
  Doppel__Engine__AskDirectory ask = DOPPEL__ENGINE__ASK_DIRECTORY__INIT;
  gboolean handled;
  int failure;
  g_auto(ReplicaFacts) facts = {0};
  g_autofree char *file = path_in(world, "file");
  ask.path = bytes(world->directory);
  g_assert_true(
      device_files_message(world->files, MESSAGE(ASK_DIRECTORY, ask_directory, &ask), &handled, NULL));
  g_autoptr(EngineMessage) answer = engine_wait(world->clone, 5000, NULL);
  g_assert_cmpint(answer->kind_case, ==, DOPPEL__ENGINE__MESSAGE__KIND_DIRECTORY);
  g_assert_true(answer->directory->last && !answer->directory->error);
  g_assert_true(find(answer->directory->n_entry, answer->directory->entry, "below", &facts, &failure));
  g_assert_false(find(answer->directory->n_entry, answer->directory->entry, "..", &facts, &failure));
  ask.path = bytes(file);
  g_assert_true(
      device_files_message(world->files, MESSAGE(ASK_DIRECTORY, ask_directory, &ask), &handled, NULL));
  g_autoptr(EngineMessage) none = engine_wait(world->clone, 5000, NULL);
  g_assert_true(none->directory->last);
  g_assert_cmpint(none->directory->error, ==, ENOTDIR);
}

/* ---- what no clone sends ---- */

static void
refused(World *world, const EngineMessage *message)
{
  gboolean handled;
  g_autoptr(GError) error = NULL;
  g_assert_false(device_files_message(world->files, message, &handled, &error));
  g_assert_true(handled);
  g_assert_nonnull(error);
}

static void
test_hostile_paths(World *world, gconstpointer data)
{
  g_autofree char *longest = g_strnfill(5000, '/');
  ProtobufCBinaryData bad[] = {bytes(""), bytes("relative"), {5, (guint8 *)"/a\0bc"}, bytes(longest)};
  for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
    Doppel__Engine__AskPaths ask = DOPPEL__ENGINE__ASK_PATHS__INIT;
    Doppel__Engine__AskDirectory list = DOPPEL__ENGINE__ASK_DIRECTORY__INIT;
    ask.n_path = 1;
    ask.path = &bad[i];
    list.path = bad[i];
    refused(world, MESSAGE(ASK_PATHS, ask_paths, &ask));
    refused(world, MESSAGE(ASK_DIRECTORY, ask_directory, &list));
  }
  Doppel__Engine__AskDirectory list = DOPPEL__ENGINE__ASK_DIRECTORY__INIT;
  list.path = bytes("/tmp/../etc");
  refused(world, MESSAGE(ASK_DIRECTORY, ask_directory, &list));
  g_autofree ProtobufCBinaryData *many = g_new(ProtobufCBinaryData, 2000);
  Doppel__Engine__AskPaths ask = DOPPEL__ENGINE__ASK_PATHS__INIT;
  for (gsize i = 0; i < 2000; i++)
    many[i] = bytes("/");
  ask.n_path = 2000;
  ask.path = many;
  refused(world, MESSAGE(ASK_PATHS, ask_paths, &ask));
}

static gboolean
start(World *world, gsize count, ProtobufCBinaryData *mountpoints)
{
  Doppel__Engine__Started started = DOPPEL__ENGINE__STARTED__INIT;
  g_autoptr(GError) error = NULL;
  started.n_mountpoint = count;
  started.mountpoint = mountpoints;
  return device_files_started(world->files, &started, &error);
}

static void
test_hostile_mountpoints(World *world, gconstpointer data)
{
  static const char *const bad[] = {"", "relative", "//", "/a/", "/a/../b", "/./a"};
  for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
    ProtobufCBinaryData mountpoint = bytes(bad[i]);
    g_assert_false(start(world, 1, &mountpoint));
  }
  ProtobufCBinaryData good[] = {bytes("/"), bytes("/no-such-directory")};
  Doppel__Engine__FilePiece piece = DOPPEL__ENGINE__FILE_PIECE__INIT;
  refused(world, MESSAGE(FILE_PIECE, file_piece, &piece));
  g_assert_true(start(world, 2, good));
  g_assert_false(start(world, 2, good)); /* twice */
  piece.mountpoint = 2;
  refused(world, MESSAGE(FILE_PIECE, file_piece, &piece));
  piece.mountpoint = 1;
  refused(world, MESSAGE(FILE_PIECE, file_piece, &piece));
  piece.mountpoint = 0;
  piece.bytes = bytes("\xff\xff no message");
  refused(world, MESSAGE(FILE_PIECE, file_piece, &piece));
  g_assert_false(device_files_ready(world->files, TRUE, NULL));
  device_files_clear(world->files);
  g_assert_true(device_files_ready(world->files, FALSE, NULL));
}

static gboolean
ask_content(World *world, const char *path, guint more, gboolean request)
{
  Doppel__Wire__ReplicaPullRequest pull = DOPPEL__WIRE__REPLICA_PULL_REQUEST__INIT;
  Doppel__Engine__AskContent ask = DOPPEL__ENGINE__ASK_CONTENT__INIT;
  gboolean handled;
  pull.path = bytes(path);
  g_autoptr(GBytes) packed = replica_message_pack(&pull.base);
  ask.id = 3;
  ask.more = more;
  ask.has_request = request;
  ask.request.data = (guint8 *)g_bytes_get_data(packed, &ask.request.len);
  return device_files_message(world->files, MESSAGE(ASK_CONTENT, ask_content, &ask), &handled, NULL);
}

static void
test_content(World *world, gconstpointer data)
{
  ProtobufCBinaryData root = bytes("/");
  g_autofree char *file = path_in(world, "file");
  g_assert_true(start(world, 1, &root));
  g_assert_false(ask_content(world, "../etc/passwd", 1, TRUE));
  g_assert_false(ask_content(world, "/etc/passwd", 1, TRUE));
  g_assert_false(ask_content(world, file + 1, 100000, TRUE));
  g_assert_true(ask_content(world, file + 1, 1, TRUE));
  g_autoptr(EngineMessage) part = engine_wait(world->clone, 5000, NULL);
  g_assert_cmpint(part->kind_case, ==, DOPPEL__ENGINE__MESSAGE__KIND_CONTENT);
  g_assert_true(part->content->has_part);
  g_assert_null(part->content->error);
  g_assert_false(ask_content(world, file + 1, 1, TRUE)); /* of the same number */
  put(world, "file", "changed while it was read");
  g_assert_true(ask_content(world, "", 1, FALSE));
  g_autoptr(EngineMessage) over = engine_wait(world->clone, 5000, NULL);
  g_assert_true(over->content->again);
  g_assert_nonnull(over->content->error);
  g_assert_true(ask_content(world, "no/such/file", 1, TRUE));
  g_autoptr(EngineMessage) none = engine_wait(world->clone, 5000, NULL);
  g_assert_false(none->content->again);
  g_assert_nonnull(none->content->error);
}

int
main(int argc, char **argv)
{
  static const struct {
    const char *name;
    void (*run)(World *, gconstpointer);
  } tests[] = {
      {"/device-files/walk", test_walk},
      {"/device-files/absent", test_absent},
      {"/device-files/stale", test_stale},
      {"/device-files/expected", test_expected},
      {"/device-files/listing", test_listing},
      {"/device-files/content", test_content},
      {"/device-files/hostile-paths", test_hostile_paths},
      {"/device-files/hostile-mount-points", test_hostile_mountpoints},
  };
  g_test_init(&argc, &argv, NULL);
  for (gsize i = 0; i < G_N_ELEMENTS(tests); i++)
    g_test_add(tests[i].name, World, NULL, set_up, tests[i].run, tear_down);
  return g_test_run();
}
