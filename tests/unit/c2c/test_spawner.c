/* A process for each conversation: what goes wrong in one is nobody else's. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "c2c/spawner.h"

static int
run_echo(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  char bytes[64];
  ssize_t got;
  while ((got = read(fd, bytes, sizeof bytes)) > 0)
    if (!io_write_all(fd, bytes, got))
      return 1;
  return 7;
}

static int
run_facts(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  g_autofree char *words =
      g_strdup_printf("%s %s %d %s %s %02x%02x", service, peer->name, peer->owner, peer->limits,
                      place->clone_name, peer->origin.bytes[0], peer->clone_key.bytes[0]);
  return io_write_all(fd, words, strlen(words)) ? 0 : 1;
}

static int
run_crash(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  signal(SIGSEGV, SIG_DFL);
  raise(SIGSEGV);
  return 0;
}

/* With a child of its own, which must not stay either. */
static int
run_hang(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  signal(SIGTERM, SIG_IGN);
  pid_t child = fork();
  if (child > 0 && !io_write_all(fd, &child, sizeof child))
    return 1;
  for (;;)
    pause();
}

static int
run_hunger(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  for (gsize total = 0; total < 4ull << 30; total += 16u << 20)
    if (mmap(NULL, 16u << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) ==
        MAP_FAILED)
      return 42;
  return 0;
}

static int
run_spin(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  volatile guint turns = 0;
  while (turns < G_MAXUINT)
    turns = turns == G_MAXUINT - 1 ? 0 : turns + 1;
  return 0;
}

static const Service test_services[] = {
    {"echo", FALSE, run_echo},     {"facts:", FALSE, run_facts},
    {"crash", FALSE, run_crash},   {"hang", FALSE, run_hang},
    {"hunger", FALSE, run_hunger}, {"spin", FALSE, run_spin},
    {"mine", TRUE, run_echo},      {NULL},
};

/* Writes to what its place says, and ends; another word where it is not the only one at that. */
static int
run_task(const ServicePlace *where)
{
  g_auto(Fd) fd = open(where->replica, O_WRONLY | O_APPEND | O_CLOEXEC);
  const char *word = flock(fd, LOCK_EX | LOCK_NB) == 0 ? "x" : "twice";
  if (!io_write_all(fd, word, strlen(word)))
    return 1;
  g_usleep(300000);
  return 0;
}

static const ServiceTask test_tasks[] = {{"task", run_task}, {NULL}};

static char task_file[] = "/tmp/doppel-task-XXXXXX";
static const ServicePlace place = {.directory = "/nowhere", .replica = task_file, .clone_name = "home"};

static Spawner *
start(void)
{
  g_autoptr(GError) error = NULL;
  Spawner *spawner = spawner_new(test_services, test_tasks, &place, &error);
  g_assert_no_error(error);
  return spawner;
}

static ServicePeer
peer_of(guint8 letter, const char *limits)
{
  ServicePeer peer = {.name = (char *)"alice", .limits = (char *)limits};
  memset(peer.origin.bytes, letter, sizeof peer.origin.bytes);
  memset(peer.clone_key.bytes, letter + 1, sizeof peer.clone_key.bytes);
  return peer;
}

/* The near end of a conversation. */
static int
converse(Spawner *spawner, const char *service, const ServicePeer *peer)
{
  g_autoptr(GError) error = NULL;
  int ends[2];
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  guint64 id = spawner_start(spawner, ends[1], service, peer, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(id, >, 0);
  return ends[0];
}

static SpawnerExit
await_exit(Spawner *spawner)
{
  SpawnerExit out;
  gboolean lost = FALSE;
  while (!spawner_next_exit(spawner, &out, &lost)) {
    struct pollfd fd = {.fd = spawner_fd(spawner), .events = POLLIN};
    g_assert_false(lost);
    g_assert_cmpint(poll(&fd, 1, 60000), ==, 1);
  }
  return out;
}

static void
test_conversation(void)
{
  g_autoptr(Spawner) spawner = start();
  ServicePeer peer = peer_of('a', "");
  g_auto(Fd) fd = converse(spawner, "echo", &peer);
  char bytes[6] = "";
  g_assert_true(io_write_all(fd, "hello", 5));
  g_assert_cmpint(io_read_all(fd, bytes, 5), ==, 5);
  g_assert_cmpstr(bytes, ==, "hello");
  g_assert_cmpuint(spawner_running(spawner), ==, 1);
  shutdown(fd, SHUT_WR);
  SpawnerExit end = await_exit(spawner);
  g_assert_cmpint(end.status, ==, 7);
  g_assert_cmpint(end.signal, ==, 0);
  g_assert_cmpuint(spawner_running(spawner), ==, 0);
}

static void
test_facts(void)
{
  g_autoptr(Spawner) spawner = start();
  ServicePeer peer = peer_of('a', "time=9,quota=5");
  g_auto(Fd) fd = converse(spawner, "facts:x", &peer);
  char bytes[200] = "";
  g_assert_cmpint(io_read_all(fd, bytes, sizeof bytes - 1), >, 0);
  g_assert_cmpstr(bytes, ==, "facts:x alice 0 time=9,quota=5 home 6162");
  g_assert_cmpint(await_exit(spawner).status, ==, 0);
}

static void
test_crash(void)
{
  g_autoptr(Spawner) spawner = start();
  ServicePeer peer = peer_of('a', "");
  g_auto(Fd) other = converse(spawner, "echo", &peer);
  g_auto(Fd) fd = converse(spawner, "crash", &peer);
  SpawnerExit end = await_exit(spawner);
  g_assert_cmpint(end.signal, ==, SIGSEGV);
  char byte;
  g_assert_cmpint(read(fd, &byte, 1), ==, 0);
  g_assert_true(io_write_all(other, "x", 1));
  g_assert_cmpint(read(other, &byte, 1), ==, 1);
}

static void
await_end_of(pid_t pid)
{
  for (guint i = 0; i < 6000 && kill(pid, 0) == 0; i++)
    g_usleep(10000);
  g_assert_cmpint(kill(pid, 0), ==, -1);
  g_assert_cmpint(errno, ==, ESRCH);
}

static void
test_overtime(void)
{
  g_autoptr(Spawner) spawner = start();
  ServicePeer peer = peer_of('a', "time=1");
  SpawnerExit end = {0};
  pid_t child = 0;
  /* A busy machine may let it say nothing before its second is over. */
  for (guint i = 0; i < 20 && child == 0; i++) {
    g_auto(Fd) fd = converse(spawner, "hang", &peer);
    if (io_read_all(fd, &child, sizeof child) != sizeof child)
      child = 0;
    end = await_exit(spawner);
  }
  g_assert_cmpint(child, >, 0);
  g_assert_true(end.overtime);
  g_assert_cmpint(end.signal, ==, SIGKILL);
  await_end_of(child);
}

static void
test_stop(void)
{
  g_autoptr(Spawner) spawner = start();
  ServicePeer peer = peer_of('a', "");
  g_auto(Fd) fd = converse(spawner, "hang", &peer);
  spawner_stop(spawner, 1);
  SpawnerExit end = await_exit(spawner);
  g_assert_cmpint(end.signal, ==, SIGKILL);
  g_assert_false(end.overtime);
}

static void
test_hunger(void)
{
#ifdef __SANITIZE_ADDRESS__
  g_test_skip("addresses are not limited under the address sanitizer");
#else
  g_autoptr(Spawner) spawner = start();
  ServicePeer peer = peer_of('a', "memory=256M");
  g_auto(Fd) fd = converse(spawner, "hunger", &peer);
  g_assert_cmpint(await_exit(spawner).status, ==, 42);
#endif
}

static void
test_processor(void)
{
  g_autoptr(Spawner) spawner = start();
  ServicePeer peer = peer_of('a', "cpu=1");
  g_auto(Fd) fd = converse(spawner, "spin", &peer);
  int signal_number = await_exit(spawner).signal;
  g_assert_true(signal_number == SIGXCPU || signal_number == SIGKILL);
}

static void
refuse(Spawner *spawner, const char *service, const ServicePeer *peer, DoppelErrorCode code)
{
  g_autoptr(GError) error = NULL;
  int ends[2];
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  g_assert_cmpuint(spawner_start(spawner, ends[1], service, peer, &error), ==, 0);
  g_assert_error(error, DOPPEL_ERROR, (int)code);
  char byte;
  g_assert_cmpint(read(ends[0], &byte, 1), ==, 0);
  close(ends[0]);
}

static void
test_refusals(void)
{
  g_autoptr(Spawner) spawner = start();
  g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
  ServicePeer peer = peer_of('a', ""), other = peer_of('b', ""), owner = peer_of('a', "");
  owner.owner = TRUE;
  refuse(spawner, "nothing", &peer, DOPPEL_ERROR_NOT_FOUND);
  refuse(spawner, "facts:", &peer, DOPPEL_ERROR_NOT_FOUND);
  refuse(spawner, "mine", &peer, DOPPEL_ERROR_DENIED);
  for (guint i = 0; i < SPAWNER_PER_PEER; i++)
    g_array_append_val(fds, (int){converse(spawner, "echo", &peer)});
  refuse(spawner, "echo", &peer, DOPPEL_ERROR_GONE);
  close(converse(spawner, "echo", &other));
  close(converse(spawner, "mine", &owner));
  await_exit(spawner);
  await_exit(spawner);
  for (guint i = 0; i < fds->len; i++)
    close(g_array_index(fds, int, i));
  for (guint i = 0; i < fds->len; i++)
    await_exit(spawner);
  close(converse(spawner, "echo", &peer));
  g_assert_cmpint(await_exit(spawner).status, ==, 7);
}

/* All of them go with the node, however stubborn. */
static void
test_end(void)
{
  Spawner *spawner = start();
  ServicePeer peer = peer_of('a', "");
  g_auto(Fd) fd = converse(spawner, "hang", &peer);
  pid_t child;
  g_assert_cmpint(io_read_all(fd, &child, sizeof child), ==, sizeof child);
  spawner_free(spawner);
  await_end_of(child);
}

/* A task that ends is begun again, once each time. */
static void
test_tasks_again(void)
{
  g_auto(Fd) fd = mkstemp(task_file);
  g_autoptr(Spawner) spawner = start();
  g_usleep(100000);
  g_assert_cmpint(lseek(fd, 0, SEEK_END), ==, 0);
  spawner_begin_tasks(spawner);
  for (guint i = 0; i < 6000 && lseek(fd, 0, SEEK_END) < 2; i++)
    g_usleep(10000);
  char said[16] = {0};
  g_assert_cmpint(pread(fd, said, sizeof said - 1, 0), >=, 2);
  g_assert_cmpuint(strspn(said, "x"), ==, strlen(said)); /* or a third time by now */
  unlink(task_file);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/spawner/conversation", test_conversation);
  g_test_add_func("/spawner/facts", test_facts);
  g_test_add_func("/spawner/crash", test_crash);
  g_test_add_func("/spawner/overtime", test_overtime);
  g_test_add_func("/spawner/stop", test_stop);
  g_test_add_func("/spawner/hunger", test_hunger);
  g_test_add_func("/spawner/processor", test_processor);
  g_test_add_func("/spawner/refusals", test_refusals);
  g_test_add_func("/spawner/end", test_end);
  g_test_add_func("/spawner/tasks", test_tasks_again);
  return g_test_run();
}
