#include "c2c/directory_door.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib-unix.h>

#include "base/clock.h"
#include "base/io.h"
#include "link/caller_hash.h"
#include "link/link_source.h"

#define ACCEPTS_MAX      64 /* of a turn of the loop, for each listener */
#define PRICE_CONNECTION 4  /* a handshake, and a first question of that price */
#define BURST_S          5  /* a source may ask at once what it may ask in so many seconds */
#define SWEEP_MS         250
#define SECONDS(s)       ((s)*G_GINT64_CONSTANT(1000000000))
#define PREAMBLE_NS      SECONDS(3)
#define HANDSHAKE_MS     5000
#define NO_PROBES_MS     3600000 /* who blocks between questions answers none; the deadlines here do instead */
#define FIRST_NS         SECONDS(10) /* from the connection to its first question */
#define IDLE_NS          SECONDS(60)
#define MEMBER_IDLE_NS   SECONDS(300)

/* How many there may be, and of one address (members, and who has a pass: of one key). A member may have a
 * connection of its own and some that it has not noticed to be gone. */
static const struct {
  guint most, most_each;
} crowds[DOOR_CROWDS] = {
    [DOOR_WAITING] = {1024, 128},
    [DOOR_STRANGER] = {1024, 128},
    [DOOR_PASSING] = {1024, 2},
    [DOOR_MEMBER] = {8192, 4},
};

struct DirectoryDoor {
  const IdentityKey *key;
  GMainContext *context;
  DoorWork work;
  DirectoryCounters *counters;
  gpointer data;
  DirectoryPasses passes;
  LinkBudget *sources, *passing, *members; /* of addresses, passes, keys */
  LinkCrowd *crowds[DOOR_CROWDS];
  GHashTable *by_id;    /* guint64 -> DoorConnection */
  GPtrArray *listeners; /* of GSource */
  GArray *listening;    /* of int: their sockets */
  GSource *sweep;
  guint64 next_id;
};

static void
unwatch(DoorConnection *connection)
{
  if (connection->watch)
    g_source_destroy(connection->watch);
  g_clear_pointer(&connection->watch, g_source_unref);
}

static void
watch(DoorConnection *connection, GSource *source, GSourceFunc work)
{
  unwatch(connection);
  connection->watch = source;
  g_source_set_callback(source, work, connection, NULL);
  g_source_attach(source, connection->door->context);
}

void
directory_door_drop(DoorConnection *connection)
{
  DirectoryDoor *door = connection->door;
  link_crowd_remove(door->crowds[connection->crowd], &connection->visitor);
  unwatch(connection);
  io_close(&connection->fd);
  g_clear_pointer(&connection->link, link_free);
  g_hash_table_remove(door->by_id, &connection->id); /* frees it */
}

static void
drop_for_room(DoorConnection *connection)
{
  connection->door->counters->dropped++;
  directory_door_drop(connection);
}

DoorConnection *
directory_door_find(const DirectoryDoor *door, guint64 id)
{
  return g_hash_table_lookup(door->by_id, &id);
}

/* FALSE: that crowd has no room, and nothing is changed. */
static gboolean
join(DoorConnection *connection, DoorCrowd crowd, const LinkCallerSource *holder)
{
  DirectoryDoor *door = connection->door;
  LinkVisitor *leaving;
  if (!link_crowd_has_room(door->crowds[crowd], holder, &leaving))
    return FALSE;
  if (leaving)
    drop_for_room(leaving->owner);
  if (connection->crowd != DOOR_CROWDS)
    link_crowd_remove(door->crowds[connection->crowd], &connection->visitor);
  connection->crowd = crowd;
  connection->visitor.holder = *holder;
  link_crowd_add(door->crowds[crowd], &connection->visitor);
  return TRUE;
}

static gboolean
join_strangers(DoorConnection *connection)
{
  return link_budget_take(connection->door->sources, &connection->source, PRICE_CONNECTION, clock_now_ns()) &&
         join(connection, DOOR_STRANGER, &connection->source);
}

static gboolean
join_with_pass(DoorConnection *connection)
{
  DirectoryDoor *door = connection->door;
  LinkCallerSource holder = directory_pass_holder(&connection->pass);
  return directory_pass_check(&door->passes, &connection->pass, clock_unix_time()) &&
         link_budget_take(door->passing, &holder, PRICE_CONNECTION, clock_now_ns()) &&
         join(connection, DOOR_PASSING, &holder);
}

gboolean
directory_door_identify(DoorConnection *connection)
{
  if (connection->crowd != DOOR_PASSING)
    return TRUE;
  const IdentityPublic *peer = link_peer(connection->link);
  LinkCallerSource holder = link_caller_source_of_key(peer);
  return (directory_pass_is_of(&connection->pass, peer) && join(connection, DOOR_MEMBER, &holder)) ||
         join_strangers(connection);
}

void
directory_door_admit(DoorConnection *connection)
{
  LinkCallerSource holder = link_caller_source_of_key(link_peer(connection->link));
  if (connection->crowd != DOOR_MEMBER)
    join(connection, DOOR_MEMBER, &holder);
}

gboolean
directory_door_pay(DoorConnection *connection, guint price)
{
  DirectoryDoor *door = connection->door;
  if (!connection->paid)
    price -= MIN(price, PRICE_CONNECTION);
  connection->paid = TRUE;
  return link_budget_take(connection->crowd == DOOR_MEMBER ? door->members : door->sources,
                          connection->crowd == DOOR_MEMBER ? &connection->visitor.holder
                                                           : &connection->source,
                          price, clock_now_ns());
}

gboolean
directory_door_tell_pass(DoorConnection *connection, DirectoryPass *pass)
{
  if (connection->crowd != DOOR_MEMBER || connection->told_pass)
    return FALSE;
  connection->told_pass = TRUE;
  *pass = directory_pass_make(&connection->door->passes, link_peer(connection->link), clock_unix_time());
  return TRUE;
}

gint64
directory_door_idle_ns(const DoorConnection *connection)
{
  return connection->crowd == DOOR_MEMBER ? MEMBER_IDLE_NS : IDLE_NS;
}

guint
directory_door_count(const DirectoryDoor *door, DoorCrowd crowd)
{
  return link_crowd_count(door->crowds[crowd]);
}

static gboolean
work_link(gpointer data)
{
  DoorConnection *connection = data;
  return connection->door->work(connection, connection->door->data) ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

/* FALSE: has to go. */
static gboolean
begin_link(DoorConnection *connection, const LinkPreamble *preamble)
{
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  options.resume_ms = 0;
  options.connect_ms = HANDSHAKE_MS;
  options.keepalive_ms = NO_PROBES_MS;
  options.compression = -1;
  options.message_max = DIRECTORY_QUESTION_MAX;
  options.inbox_max = 1;
  G_STATIC_ASSERT(sizeof connection->pass.bytes == sizeof preamble->clone);
  memcpy(connection->pass.bytes, preamble->clone, sizeof preamble->clone);
  if (!join_with_pass(connection) && !join_strangers(connection)) {
    connection->door->counters->refused++;
    return FALSE;
  }
  connection->link = link_accept_later(preamble, connection->door->key, NULL, &options, NULL);
  if (!connection->link || !link_resume(connection->link, io_steal_fd(&connection->fd), NULL))
    return FALSE;
  connection->deadline = clock_now_ns() + FIRST_NS;
  watch(connection, link_source_new_link(connection->link), work_link);
  return TRUE;
}

static gboolean
preamble_ready(int fd, GIOCondition condition, gpointer data)
{
  DoorConnection *connection = data;
  LinkPreamble preamble;
  int step = link_preamble_step(&connection->reader, connection->fd, &preamble, NULL);
  if (step < 0 || (step > 0 && !begin_link(connection, &preamble)))
    directory_door_drop(connection);
  return step == 0 ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static void
add_connection(DirectoryDoor *door, int fd, const struct sockaddr_storage *address)
{
  DoorConnection *connection = g_new0(DoorConnection, 1);
  connection->door = door;
  connection->id = ++door->next_id;
  connection->crowd = DOOR_CROWDS;
  connection->visitor.owner = connection;
  connection->source = link_caller_source_of(address);
  connection->fd = fd;
  connection->deadline = clock_now_ns() + PREAMBLE_NS;
  if (!join(connection, DOOR_WAITING, &connection->source)) {
    door->counters->refused++;
    io_close(&connection->fd);
    g_free(connection);
    return;
  }
  door->counters->accepted++;
  g_hash_table_insert(door->by_id, &connection->id, connection);
  watch(connection, g_unix_fd_source_new(fd, G_IO_IN), (GSourceFunc)(void (*)(void))preamble_ready);
}

/* Members are the last to go. */
static DoorConnection *
find_surplus(DirectoryDoor *door)
{
  LinkVisitor *surplus = NULL;
  for (guint crowd = 0; crowd < DOOR_CROWDS && !surplus; crowd++)
    surplus = link_crowd_surplus(door->crowds[crowd]);
  return surplus ? surplus->owner : NULL;
}

static gboolean
accept_some(int listener, GIOCondition condition, gpointer data)
{
  DirectoryDoor *door = data;
  for (guint i = 0; i < ACCEPTS_MAX; i++) {
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;
    int fd = accept4(listener, (struct sockaddr *)&address, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      add_connection(door, fd, &address);
      continue;
    }
    /* Out of descriptors: somebody has to make room, or this would come again at once, for ever. */
    DoorConnection *surplus = errno == EMFILE || errno == ENFILE ? find_surplus(door) : NULL;
    if (!surplus)
      break;
    drop_for_room(surplus);
  }
  return G_SOURCE_CONTINUE;
}

static gboolean
sweep(gpointer data)
{
  DirectoryDoor *door = data;
  gint64 now = clock_now_ns();
  g_autoptr(GPtrArray) late = g_ptr_array_new();
  for (guint crowd = 0; crowd < DOOR_CROWDS; crowd++)
    for (guint i = 0; i < link_crowd_count(door->crowds[crowd]); i++) {
      DoorConnection *connection = link_crowd_nth(door->crowds[crowd], i)->owner;
      if (now >= connection->deadline)
        g_ptr_array_add(late, connection);
    }
  for (guint i = 0; i < late->len; i++)
    drop_for_room(late->pdata[i]);
  return G_SOURCE_CONTINUE;
}

DirectoryDoor *
directory_door_new(const IdentityKey *key, guint rate, GMainContext *context, DoorWork work,
                   DirectoryCounters *counters, gpointer data)
{
  DirectoryDoor *door = g_new0(DirectoryDoor, 1);
  door->key = key;
  door->context = context;
  door->work = work;
  door->counters = counters;
  door->data = data;
  directory_passes_init(&door->passes, key);
  door->sources = link_budget_new(rate, rate * BURST_S);
  door->passing = link_budget_new(rate, rate * BURST_S);
  door->members = link_budget_new(rate, rate * BURST_S);
  for (guint i = 0; i < DOOR_CROWDS; i++)
    door->crowds[i] = link_crowd_new(crowds[i].most, rate > 0 ? crowds[i].most_each : crowds[i].most);
  door->by_id = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
  door->listeners = g_ptr_array_new();
  door->listening = g_array_new(FALSE, FALSE, sizeof(int));
  door->sweep = g_timeout_source_new(SWEEP_MS);
  g_source_set_callback(door->sweep, sweep, door, NULL);
  g_source_attach(door->sweep, context);
  return door;
}

void
directory_door_free(DirectoryDoor *door)
{
  for (guint i = 0; i < door->listeners->len; i++) {
    g_source_destroy(door->listeners->pdata[i]);
    g_source_unref(door->listeners->pdata[i]);
    close(g_array_index(door->listening, int, i));
  }
  g_ptr_array_unref(door->listeners);
  g_array_unref(door->listening);
  g_source_destroy(door->sweep);
  g_source_unref(door->sweep);
  for (guint i = 0; i < DOOR_CROWDS; i++) {
    while (link_crowd_count(door->crowds[i]) > 0)
      directory_door_drop(link_crowd_nth(door->crowds[i], 0)->owner);
    link_crowd_free(door->crowds[i]);
  }
  g_hash_table_unref(door->by_id);
  link_budget_free(door->sources);
  link_budget_free(door->passing);
  link_budget_free(door->members);
  g_free(door);
}

void
directory_door_listen(DirectoryDoor *door, int fd)
{
  GSource *source = g_unix_fd_source_new(fd, G_IO_IN);
  g_source_set_callback(source, (GSourceFunc)(void (*)(void))accept_some, door, NULL);
  g_source_attach(source, door->context);
  g_ptr_array_add(door->listeners, source);
  g_array_append_val(door->listening, fd);
}
