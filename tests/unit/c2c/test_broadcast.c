/* Messages to a group while clones of its members are killed at any moment, and begin anew: each gets to the
 * program of each member, whoever was its sender, passed it on, or had just taken it. DOPPEL_KILLS: how many
 * are killed; DOPPEL_SEED: of the moments and of whom. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "node_world.h"
#include "wire/c2c_control.pb-c.h"

/* Of seven one sends to four, and one of these to two. */
enum { MEMBERS = 7, MESSAGES = 10 /* for each that is killed */, NAME_MAX_LENGTH = 8, WAIT_S = 600 };

static guint kills = 6;
static guint32 seed = 1;

typedef struct {
  WorldClone *clones[MEMBERS];
  char *logs[MEMBERS]; /* what the member's program has got: a line for each */
  pid_t programs[MEMBERS], sender;
} World;

static void
must(WorldClone *clone, const char *verb, const ProtobufCMessage *body)
{
  g_assert_cmpint(clone_ask(clone, verb, body, NULL), ==, 0);
}

/* Of all others. */
static void
make_group(const World *world, guint member)
{
  char *users[MEMBERS];
  Doppel__Wire__ControlGroupEdit edit = DOPPEL__WIRE__CONTROL_GROUP_EDIT__INIT;
  for (guint i = 0; i < MEMBERS; i++) {
    Doppel__Wire__ControlContactEdit contact = DOPPEL__WIRE__CONTROL_CONTACT_EDIT__INIT;
    if (i == member)
      continue;
    contact.user = users[edit.n_users++] = world->clones[i]->name;
    must(world->clones[member], "contact", &contact.base);
  }
  edit.what = DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__CREATE;
  edit.group = (char *)"team";
  edit.users = users;
  must(world->clones[member], "group", &edit.base);
}

/* ---- processes beside: fork() and threads do not go together ---- */

/* FALSE: the node has gone. */
static gboolean
take_one(C2cListener *listener, int log, GRand *random)
{
  char text[64];
  C2cPeer peer;
  g_auto(Fd) fd = c2c_accept(listener, &peer);
  if (fd < 0)
    return FALSE;
  g_usleep((gulong)g_rand_int_range(random, 0, 20000));
  gssize length = io_read_all(fd, text, sizeof text);
  if (length > 0 && c2c_ended(fd) == 0)
    io_write_all(log, text, (gsize)length);
  return TRUE;
}

static void
run_program(const World *world, guint member)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(seed + member);
  int log = open(world->logs[member], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (;;) {
    C2c *c2c = c2c_open(world->clones[member]->socket, NULL);
    C2cListener *listener = c2c ? c2c_listen(c2c, "group:team", NULL) : NULL;
    while (listener && take_one(listener, log, random))
      ;
    if (listener)
      c2c_listener_close(listener);
    if (c2c)
      c2c_close(c2c);
    g_usleep(10000);
  }
}

/* Whether a node that was killed meanwhile has taken it nobody knows: it is sent again, then. */
static void
send_one(WorldClone *clone, guint member, guint number)
{
  g_autofree char *text = g_strdup_printf("%u of %u\n", number, member);
  Doppel__Wire__ControlGroupEdit edit = DOPPEL__WIRE__CONTROL_GROUP_EDIT__INIT;
  edit.what = DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__SEND;
  edit.group = (char *)"team";
  edit.message = (ProtobufCBinaryData){strlen(text), (guint8 *)text};
  while (clone_ask(clone, "group", &edit.base, NULL) != 0)
    g_usleep(20000);
}

static guint
sender_of(guint number)
{
  return number * 3 % MEMBERS;
}

static void
run_sender(const World *world)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(seed ^ 0x5e4d);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (guint i = 0; i < kills * MESSAGES; i++) {
    send_one(world->clones[sender_of(i)], sender_of(i), i);
    g_usleep((gulong)g_rand_int_range(random, 0, 30000));
  }
  _exit(0);
}

static pid_t
beside(void)
{
  pid_t child = fork();
  g_assert_cmpint(child, >=, 0);
  return child;
}

/* ---- the world ---- */

static World
world_new(void)
{
  World world = {0};
  node_world_begin();
  for (guint i = 0; i < MEMBERS; i++) {
    char name[NAME_MAX_LENGTH];
    g_snprintf(name, sizeof name, "user%u", i);
    world.clones[i] = clone_bound(100 + 10 * i, name);
    world.logs[i] = g_strconcat(world.clones[i]->place, ".log", NULL);
  }
  for (guint i = 0; i < MEMBERS; i++)
    make_group(&world, i);
  for (guint i = 0; i < MEMBERS; i++)
    if ((world.programs[i] = beside()) == 0)
      run_program(&world, i);
  if ((world.sender = beside()) == 0)
    run_sender(&world);
  return world;
}

static void
world_clear(World *world)
{
  for (guint i = 0; i < MEMBERS; i++) {
    kill(world->programs[i], SIGKILL);
    waitpid(world->programs[i], NULL, 0);
    clone_free(world->clones[i]);
    g_free(world->logs[i]);
  }
  node_world_end();
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

/* The first that the member's program has not got, `repeated` those that it got twice; G_MAXUINT: it has all.
 */
static guint
find_missing(const World *world, guint member, guint *repeated)
{
  g_autofree char *text = NULL;
  g_autofree guint *got = g_new0(guint, kills * MESSAGES);
  *repeated = 0;
  if (g_file_get_contents(world->logs[member], &text, NULL, NULL)) {
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; **line; line++) {
      guint number = (guint)g_ascii_strtoull(*line, NULL, 10);
      g_assert_cmpuint(number, <, kills * MESSAGES);
      *repeated += got[number]++ > 0;
    }
  }
  for (guint i = 0; i < kills * MESSAGES; i++)
    if (sender_of(i) != member && got[i] == 0)
      return i;
  return G_MAXUINT;
}

static void
test_kills(void)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(seed);
  g_auto(World) world = world_new();
  int status;
  for (guint i = 0; i < kills; i++) {
    g_usleep((gulong)g_rand_int_range(random, 0, 300000));
    WorldClone *victim = world.clones[g_rand_int_range(random, 0, MEMBERS)];
    clone_kill(victim);
    g_usleep((gulong)g_rand_int_range(random, 0, 100000));
    clone_revive(victim);
  }
  g_assert_cmpint(waitpid(world.sender, &status, 0), ==, world.sender);
  g_assert_cmpint(status, ==, 0);
  gint64 end = clock_now_ns() + WAIT_S * G_GINT64_CONSTANT(1000000000);
  for (guint member = 0; member < MEMBERS; member++) {
    guint missing, repeated;
    while ((missing = find_missing(&world, member, &repeated)) != G_MAXUINT) {
      if (clock_now_ns() > end)
        g_error("seed %u: the program of member %u has not got message %u of member %u", seed, member,
                missing, sender_of(missing));
      g_usleep(50000);
    }
    if (repeated > 0)
      g_test_message("member %u got %u again", member, repeated);
  }
}

int
main(int argc, char **argv)
{
  signal(SIGPIPE, SIG_IGN);
  g_test_init(&argc, &argv, NULL);
  kills = g_getenv("DOPPEL_KILLS") ? (guint)atoi(g_getenv("DOPPEL_KILLS")) : kills;
  seed = g_getenv("DOPPEL_SEED") ? (guint32)atoll(g_getenv("DOPPEL_SEED")) : seed;
  g_test_message("seed %u, %u kills", seed, kills);
  g_test_add_func("/broadcast/kills", test_kills);
  return g_test_run();
}
