/* The door of a directory before whoever comes: floods from one address or many, preambles in pieces or that
 * are none, passes that are one's own, somebody else's, too old or forged, people who prove a key that is
 * registered or not, ask too much, or leave. Nobody is a member whose key is not registered, nobody has more
 * than their share, who is late goes, and no stranger costs a member its place. So it is at the door of a
 * server that knows no passes, as that of documents, too.
 *
 * The linker gives the door this file's accept4(), links and clock: see meson.build. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "c2c/directory_visit.h"
#include "people.h"
#include "record_world.h"
#include "sockets.h"

#define STEPS      60
#define VISITORS   160u
#define ADDRESSES  4u
#define KEYS       5u
#define REGISTERED 2u /* of these keys, the first ones */
#define PASSES     6u
#define DAY_S      86400
#define CHANNEL    1

/* Whoever comes. */
typedef struct {
  guint key, address;
  int end;           /* of the connection; -1: there was none yet, or they left */
  int door_end;      /* that the door accepts */
  Link *own;         /* their end, once the door has made one */
  guint64 id;        /* the door's; 0: not let in yet */
  gboolean aged;     /* days have gone by since they came: their pass may be too old now */
  gboolean member;   /* at the last look */
  gboolean exhausts; /* nobody at all: there is no descriptor left */
} Visitor;

typedef struct {
  GMainContext *context;
  LinkDoor *door;
  gboolean knows_passes;
  guint member_most;
  guint64 went;           /* of those who were let in */
  DirectoryPasses passes; /* as the directory's other servers make them */
  DirectoryPass told[PASSES];
  guint tellings;
  guint rate;
  Visitor visitors[VISITORS];
  guint count, accepted; /* of them: who came, and who was asked in */
  int bell;              /* the listener */
  guint64 ids;           /* that the door has given */
  gint64 now;
  Input input;
} World;
static World world;

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

static const IdentityPublic *
key_of(guint number)
{
  static IdentityKey *keys[KEYS];
  if (!keys[number])
    keys[number] = world_key(number + 1);
  return identity_key_public(keys[number]);
}

gint64
__wrap_clock_now_ns(void)
{
  return world.now;
}

static void
ring(void)
{
  demand(eventfd_write(world.bell, 1) == 0);
}

int
__wrap_accept4(int listener, struct sockaddr *address, socklen_t *length, int flags)
{
  eventfd_t rings;
  if (world.accepted == world.count) {
    eventfd_read(world.bell, &rings);
    errno = EAGAIN;
    return -1;
  }
  Visitor *visitor = &world.visitors[world.accepted++];
  if (visitor->exhausts) {
    errno = EMFILE;
    return -1;
  }
  struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(visitor->address + 1)};
  memcpy(address, &from, MIN(*length, sizeof from));
  visitor->id = ++world.ids;
  return visitor->door_end;
}

/* Whose link of the door's it is. */
static Visitor *
visitor_of(const Link *link)
{
  for (guint i = 0; i < world.accepted; i++) {
    const DirectoryVisit *connection = link_door_find(world.door, world.visitors[i].id);
    if (connection && connection->base.link == link)
      return &world.visitors[i];
  }
  __builtin_trap();
}

static int next_end = -1; /* of the link that was made last */

Link *
__wrap_link_accept_later(const LinkPreamble *preamble, const IdentityKey *own, const IdentityPublic *peer,
                         const LinkOptions *options, GError **error)
{
  int ends[2];
  demand(next_end < 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  next_end = ends[1];
  return link_new_local(ends[0]);
}

gboolean
__wrap_link_resume(Link *link, int fd, GError **error)
{
  visitor_of(link)->own = link_new_local(io_steal_fd(&next_end));
  close(fd);
  return TRUE;
}

const IdentityPublic *
__wrap_link_peer(const Link *link)
{
  return key_of(visitor_of(link)->key);
}

static guint
count_now(LinkDoorCrowd crowd)
{
  return link_door_counters(world.door).now[crowd];
}

static gboolean
came(LinkVisit *visit, const LinkPreamble *preamble, LinkCallerSource *holder, gpointer data)
{
  demand(data == &world && visit->crowd == LINK_DOOR_WAITING && !visit->link);
  return world.knows_passes && directory_visit_came((DirectoryVisit *)visit, &world.passes, preamble, holder);
}

static void
gone(LinkVisit *visit, gpointer data)
{
  demand(data == &world && link_door_find(world.door, visit->id) == visit);
  world.went++;
}

/* As a directory does it. */
static gboolean
work(LinkVisit *visit, gpointer data)
{
  DirectoryVisit *connection = (DirectoryVisit *)visit;
  gboolean alive = link_work(visit->link, NULL);
  g_autoptr(LinkMessage) message = alive ? link_take(visit->link) : NULL;
  demand(data == &world && visit->crowd != LINK_DOOR_WAITING);
  if (!alive || (message && (visit->visitor.busy || !directory_visit_identify(connection))))
    return FALSE;
  if (!message)
    return TRUE;
  demand(connection->base.crowd == LINK_DOOR_MEMBER || connection->base.crowd == LINK_DOOR_STRANGER);
  gboolean paid = directory_visit_pay(connection, message->data[0] % 16);
  demand(paid || world.rate > 0);
  connection->base.visitor.busy = paid;
  connection->base.deadline = clock_now_ns() + link_door_idle_ns(&connection->base);
  return TRUE;
}

static void
settle(void)
{
  for (guint i = 0; i < 1000 && g_main_context_iteration(world.context, FALSE); i++)
    ;
}

/* How many are in that one's crowd with whatever it is counted by. */
static guint
count_same(const DirectoryVisit *connection)
{
  guint same = 0;
  for (guint i = 0; i < world.accepted; i++) {
    const DirectoryVisit *other = link_door_find(world.door, world.visitors[i].id);
    same += other && other->base.crowd == connection->base.crowd &&
            link_caller_source_equal(&other->base.visitor.holder, &connection->base.visitor.holder);
  }
  return same;
}

static void
look_at(Visitor *visitor, const DirectoryVisit *connection)
{
  visitor->member = connection->base.crowd == LINK_DOOR_MEMBER;
  demand(connection->base.crowd < LINK_DOOR_CROWDS && connection->base.id == visitor->id);
  demand(!visitor->member || visitor->key < REGISTERED);
  demand((connection->base.link != NULL) == (connection->base.crowd != LINK_DOOR_WAITING));
  if (connection->base.crowd == LINK_DOOR_PASSING)
    demand(world.knows_passes &&
           (visitor->aged || directory_pass_check(&world.passes, &connection->pass, clock_unix_time())) &&
           (world.rate == 0 || count_same(connection) <= 2));
  else if (visitor->member)
    demand(world.rate == 0 || count_same(connection) <= world.member_most);
}

static void
look(void)
{
  guint all = 0, together = 0, each[ADDRESSES][LINK_DOOR_CROWDS] = {{0}};
  for (guint i = 0; i < world.accepted; i++) {
    Visitor *visitor = &world.visitors[i];
    const DirectoryVisit *connection = link_door_find(world.door, visitor->id);
    visitor->member = FALSE;
    if (!connection)
      continue;
    all++;
    look_at(visitor, connection);
    guint same = ++each[visitor->address][connection->base.crowd];
    demand(world.rate == 0 || connection->base.crowd >= LINK_DOOR_PASSING || same <= 128);
  }
  for (LinkDoorCrowd crowd = 0; crowd < LINK_DOOR_CROWDS; crowd++)
    together += count_now(crowd);
  demand(all == together);
}

/* No member goes because of what somebody with another key does. */
static void
settle_act_of(guint key)
{
  gboolean members[VISITORS];
  for (guint i = 0; i < world.accepted; i++)
    members[i] = world.visitors[i].member;
  guint known = world.accepted;
  settle();
  look();
  for (guint i = 0; i < known; i++)
    demand(!members[i] || world.visitors[i].member || world.visitors[i].key == key);
}

static void
come(void)
{
  int ends[2];
  guint address = input_below(&world.input, ADDRESSES), key = input_below(&world.input, KEYS);
  guint count = input_below(&world.input, 8) ? 1 : 1 + input_below(&world.input, 64);
  for (; count > 0 && world.count < VISITORS; count--) {
    demand(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    world.visitors[world.count++] =
        (Visitor){.key = key, .address = address, .end = ends[1], .door_end = ends[0]};
  }
  ring();
  settle_act_of(KEYS);
}

/* There is no descriptor left: somebody has to go, the last of them a member. */
static void
exhaust(void)
{
  guint members = count_now(LINK_DOOR_MEMBER), others = 0, busy = 0;
  if (world.count == VISITORS)
    return;
  for (guint i = 0; i < world.accepted; i++) {
    const DirectoryVisit *connection = link_door_find(world.door, world.visitors[i].id);
    others += connection && connection->base.crowd != LINK_DOOR_MEMBER;
    busy += connection && connection->base.crowd != LINK_DOOR_MEMBER && connection->base.visitor.busy;
  }
  world.visitors[world.count++] = (Visitor){.end = -1, .door_end = -1, .exhausts = TRUE};
  ring();
  settle();
  look();
  demand(others == 0 || busy > 0 || count_now(LINK_DOOR_MEMBER) == members);
}

static Visitor *
some_visitor(void)
{
  return world.count ? &world.visitors[input_number(&world.input, 1) % world.count] : NULL;
}

static DirectoryPass
some_pass(void)
{
  Input *input = &world.input;
  DirectoryPass pass = {{0}};
  guint what = input_below(input, 8);
  gint64 day = input_number(input, 1);
  if (what <= 2)
    pass = world.told[input_below(input, PASSES)];
  else if (what == 3)
    pass = directory_pass_make(&world.passes, key_of(input_below(input, REGISTERED)),
                               clock_unix_time() + (day - 128) * DAY_S);
  else if (what == 4)
    memcpy(pass.bytes, input->data, MIN(input->left, sizeof pass.bytes));
  if (input_below(input, 16) == 0)
    pass.bytes[input_below(input, sizeof pass.bytes)] ^= 1 << input_below(input, 8);
  return pass;
}

static void
say_preamble(Visitor *visitor)
{
  guint8 bytes[WIRE_PREAMBLE_LENGTH];
  LinkPreamble preamble = {.purpose = input_below(&world.input, 8) ? WIRE_PURPOSE_DEVICE : WIRE_PURPOSE_PEER};
  DirectoryPass pass = some_pass();
  memcpy(preamble.clone, pass.bytes, sizeof preamble.clone);
  wire_preamble_encode(bytes, &preamble);
  guint damage = input_below(&world.input, 16), length = sizeof bytes;
  if (damage == 0)
    bytes[input_number(&world.input, 1) % sizeof bytes] ^= 1;
  else if (damage == 1)
    length = input_number(&world.input, 1) % sizeof bytes;
  send(visitor->end, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
  settle_act_of(visitor->key);
}

static void
leave(Visitor *visitor)
{
  io_close(&visitor->end);
  g_clear_pointer(&visitor->own, link_free);
}

static void
ask(Visitor *visitor)
{
  guint8 price = (guint8)input_number(&world.input, 1);
  link_send(visitor->own, CHANNEL, &(struct iovec){&price, 1}, 1, NULL);
  link_work(visitor->own, NULL);
  settle_act_of(visitor->key);
}

/* The answer to a question, that of who has proved a key that is registered with a pass. */
static void
answer(Visitor *visitor)
{
  DirectoryVisit *connection = link_door_find(world.door, visitor->id);
  DirectoryPass pass;
  if (!connection || !connection->base.visitor.busy)
    return;
  if (visitor->key < REGISTERED && input_below(&world.input, 2))
    link_door_admit(&connection->base);
  connection = link_door_find(world.door, visitor->id);
  demand(connection != NULL);
  connection->base.visitor.busy = FALSE;
  gboolean was_told = connection->told_pass;
  if (world.knows_passes && directory_visit_tell_pass(connection, &pass)) {
    demand(!was_told && visitor->key < REGISTERED && !directory_pass_is_none(&pass) &&
           directory_pass_is_of(&pass, key_of(visitor->key)) &&
           directory_pass_check(&world.passes, &pass, clock_unix_time()));
    world.told[world.tellings++ % PASSES] = pass;
  }
  settle_act_of(visitor->key);
}

/* Nobody who is late is there any more. */
static void
pass_time(void)
{
  guint what = input_below(&world.input, 8);
  if (what == 0) {
    clock_shift_unix_time((gint64)input_number(&world.input, 1) * DAY_S / 2);
    for (guint i = 0; i < world.accepted; i++)
      world.visitors[i].aged = TRUE;
  }
  world.now += (gint64)input_number(&world.input, 1) * (what < 4 ? 100000000 : 2000000000);
  /* The door's sweep: the first source of its own. */
  g_source_set_ready_time(g_main_context_find_source_by_user_data(world.context, world.door), 0);
  settle();
  for (guint i = 0; i < world.accepted; i++) {
    const DirectoryVisit *connection = link_door_find(world.door, world.visitors[i].id);
    demand(!connection || connection->base.deadline > world.now);
  }
  look();
}

static void
step(void)
{
  guint what = input_below(&world.input, 16);
  Visitor *visitor = what > 4 ? some_visitor() : NULL;
  if (what <= 2)
    come();
  else if (what == 3)
    pass_time();
  else if (what == 4)
    exhaust();
  else if (!visitor)
    return;
  else if (what <= 8 && visitor->end >= 0 && !visitor->own)
    say_preamble(visitor);
  else if (what <= 11 && visitor->own)
    ask(visitor);
  else if (what <= 14)
    answer(visitor);
  else if (what == 15) {
    leave(visitor);
    settle_act_of(visitor->key);
  }
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  static const guint rates[] = {0, 2, 40, 200};
  static GMainContext *context; /* its own descriptor comes with the first */
  if (!context)
    context = g_main_context_new();
  gint64 began = clock_unix_time();
  guint before = sockets_open();
  world =
      (World){.context = context, .bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .input = {data, length}};
  world.now = G_GINT64_CONSTANT(1000000000000);
  world.rate = rates[input_below(&world.input, G_N_ELEMENTS(rates))];
  directory_passes_init(&world.passes, people_home(0));
  world.knows_passes = input_below(&world.input, 4) > 0;
  LinkDoorRules rules = directory_visit_rules();
  world.member_most = rules.member_most;
  rules.rate = world.rate;
  rules.came = came;
  rules.work = work;
  rules.gone = gone;
  rules.data = &world;
  world.door = link_door_new(&rules, people_home(0), context);
  link_door_listen(world.door, world.bell);
  for (guint i = 0; i < STEPS && world.input.left > 0; i++)
    step();
  LinkDoorCounters counters = link_door_counters(world.door);
  demand(counters.accepted + counters.refused >= world.ids);
  link_door_free(world.door);
  demand(world.went == counters.accepted);
  for (guint i = 0; i < world.count; i++)
    leave(&world.visitors[i]);
  while (g_main_context_iteration(context, FALSE))
    ;
  demand(sockets_open() == before);
  clock_shift_unix_time(began - clock_unix_time());
  return 0;
}
