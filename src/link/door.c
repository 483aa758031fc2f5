#include "link/door.h"

#include <errno.h>
#include <glib-unix.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "link/budget.h"
#include "link/caller_hash.h"
#include "link/link_source.h"

#define ACCEPTS_MAX    64 /* of a turn of the loop, for each listener */
#define BURST_S        5  /* a source may ask at once what it may ask in so many seconds */
#define SWEEP_MS       250
#define SECONDS(s)     ((s)*G_GINT64_CONSTANT(1000000000))
#define PREAMBLE_NS    SECONDS(3)
#define HANDSHAKE_MS   5000
#define FIRST_NS       SECONDS(10) /* from the preamble to the first question */
#define IDLE_NS        SECONDS(60)
#define MEMBER_IDLE_NS SECONDS(300)

/* How many there may be, and of one address; who has a pass: of one holder. */
static const struct {
  guint most, most_each;
} crowds[LINK_DOOR_CROWDS] = {
    [LINK_DOOR_WAITING] = {1024, 128},
    [LINK_DOOR_STRANGER] = {1024, 128},
    [LINK_DOOR_PASSING] = {1024, 2},
    [LINK_DOOR_MEMBER] = {8192, 0 /* the rules say */},
};

struct LinkDoor {
  LinkDoorRules rules;
  const IdentityKey *key;
  GMainContext *context;
  guint burst;
  LinkBudget *sources, *passing, *members; /* of addresses, passes, keys */
  LinkCrowd *crowds[LINK_DOOR_CROWDS];
  GHashTable *by_id;    /* guint64 -> the server's struct */
  GPtrArray *listeners; /* of GSource */
  GArray *listening;    /* of int: their sockets */
  GSource *sweep;
  guint64 next_id;
  LinkDoorCounters counters;
};

static void
unwatch(LinkVisit *visit)
{
  if (visit->watch)
    g_source_destroy(visit->watch);
  g_clear_pointer(&visit->watch, g_source_unref);
}

static void
watch(LinkVisit *visit, GSource *source, GSourceFunc work)
{
  unwatch(visit);
  visit->watch = source;
  g_source_set_callback(source, work, visit, NULL);
  g_source_attach(source, visit->door->context);
}

void
link_door_drop(LinkVisit *visit)
{
  LinkDoor *door = visit->door;
  if (door->rules.gone)
    door->rules.gone(visit, door->rules.data);
  link_crowd_remove(door->crowds[visit->crowd], &visit->visitor);
  unwatch(visit);
  io_close(&visit->fd);
  g_clear_pointer(&visit->link, link_free);
  g_hash_table_remove(door->by_id, &visit->id); /* frees it */
}

static void
drop_for_room(LinkVisit *visit)
{
  visit->door->counters.dropped++;
  link_door_drop(visit);
}

gpointer
link_door_find(const LinkDoor *door, guint64 id)
{
  return g_hash_table_lookup(door->by_id, &id);
}

/* ---- crowds ---- */

/* FALSE: that crowd has no room, and nothing is changed. */
static gboolean
join(LinkVisit *visit, LinkDoorCrowd crowd, const LinkCallerSource *holder)
{
  LinkDoor *door = visit->door;
  LinkVisitor *leaving;
  if (!link_crowd_has_room(door->crowds[crowd], holder, &leaving))
    return FALSE;
  if (leaving)
    drop_for_room(leaving->owner);
  if (visit->crowd != LINK_DOOR_CROWDS)
    link_crowd_remove(door->crowds[visit->crowd], &visit->visitor);
  visit->crowd = crowd;
  visit->visitor.holder = *holder;
  link_crowd_add(door->crowds[crowd], &visit->visitor);
  return TRUE;
}

static gboolean
join_strangers(LinkVisit *visit)
{
  return link_budget_take(visit->door->sources, &visit->source, LINK_DOOR_PRICE, clock_now_ns()) &&
         join(visit, LINK_DOOR_STRANGER, &visit->source);
}

static gboolean
join_passing(LinkVisit *visit, const LinkCallerSource *holder)
{
  return link_budget_take(visit->door->passing, holder, LINK_DOOR_PRICE, clock_now_ns()) &&
         join(visit, LINK_DOOR_PASSING, holder);
}

static gboolean
join_members(LinkVisit *visit)
{
  LinkCallerSource holder = link_caller_source_of_key(link_peer(visit->link));
  return join(visit, LINK_DOOR_MEMBER, &holder);
}

gboolean
link_door_identify(LinkVisit *visit, gboolean own)
{
  return (own && join_members(visit)) || join_strangers(visit);
}

void
link_door_admit(LinkVisit *visit)
{
  if (visit->crowd != LINK_DOOR_MEMBER)
    join_members(visit);
}

gboolean
link_door_pay(LinkVisit *visit, guint price)
{
  LinkDoor *door = visit->door;
  gboolean member = visit->crowd == LINK_DOOR_MEMBER;
  /* Where so little is allowed, what is dear waits for all of it, and not for ever. */
  return link_budget_take(member ? door->members : door->sources,
                          member ? &visit->visitor.holder : &visit->source, MIN(price, door->burst),
                          clock_now_ns());
}

gint64
link_door_idle_ns(const LinkVisit *visit)
{
  return visit->crowd == LINK_DOOR_MEMBER ? MEMBER_IDLE_NS : IDLE_NS;
}

/* ---- coming in ---- */

static gboolean
work_link(gpointer data)
{
  LinkVisit *visit = data;
  if (visit->door->rules.work(visit, visit->door->rules.data))
    return G_SOURCE_CONTINUE;
  link_door_drop(visit);
  return G_SOURCE_REMOVE;
}

/* FALSE: has to go. */
static gboolean
begin_link(LinkVisit *visit, const LinkPreamble *preamble)
{
  LinkDoor *door = visit->door;
  LinkCallerSource holder;
  gboolean passes = door->rules.came(visit, preamble, &holder, door->rules.data);
  if (!(passes && join_passing(visit, &holder)) && !join_strangers(visit)) {
    door->counters.refused++;
    return FALSE;
  }
  visit->link = link_accept_later(preamble, door->key, NULL, &door->rules.link, NULL);
  if (!visit->link || !link_resume(visit->link, io_steal_fd(&visit->fd), NULL))
    return FALSE;
  visit->deadline = clock_now_ns() + FIRST_NS;
  watch(visit, link_source_new_link(visit->link), work_link);
  return TRUE;
}

static gboolean
preamble_ready(int fd, GIOCondition condition, gpointer data)
{
  LinkVisit *visit = data;
  LinkPreamble preamble;
  int step = link_preamble_step(&visit->reader, visit->fd, &preamble, NULL);
  if (step < 0 || (step > 0 && !begin_link(visit, &preamble)))
    link_door_drop(visit);
  return step == 0 ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static void
add_visit(LinkDoor *door, int fd, const struct sockaddr_storage *address)
{
  LinkVisit *visit = g_malloc0(door->rules.size);
  visit->door = door;
  visit->id = ++door->next_id;
  visit->crowd = LINK_DOOR_CROWDS;
  visit->visitor.owner = visit;
  visit->source = link_caller_source_of(address);
  visit->fd = fd;
  visit->deadline = clock_now_ns() + PREAMBLE_NS;
  if (!join(visit, LINK_DOOR_WAITING, &visit->source)) {
    door->counters.refused++;
    io_close(&visit->fd);
    g_free(visit);
    return;
  }
  door->counters.accepted++;
  g_hash_table_insert(door->by_id, &visit->id, visit);
  watch(visit, g_unix_fd_source_new(fd, G_IO_IN), (GSourceFunc)(void (*)(void))preamble_ready);
}

/* Members are the last to go. */
static LinkVisit *
find_surplus(LinkDoor *door)
{
  LinkVisitor *surplus = NULL;
  for (guint crowd = 0; crowd < LINK_DOOR_CROWDS && !surplus; crowd++)
    surplus = link_crowd_surplus(door->crowds[crowd]);
  return surplus ? surplus->owner : NULL;
}

static gboolean
accept_some(int listener, GIOCondition condition, gpointer data)
{
  LinkDoor *door = data;
  for (guint i = 0; i < ACCEPTS_MAX; i++) {
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;
    int fd = accept4(listener, (struct sockaddr *)&address, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      add_visit(door, fd, &address);
      continue;
    }
    /* Out of descriptors: somebody has to make room, or this would come again at once, for ever. */
    LinkVisit *surplus = errno == EMFILE || errno == ENFILE ? find_surplus(door) : NULL;
    if (!surplus)
      break;
    drop_for_room(surplus);
  }
  return G_SOURCE_CONTINUE;
}

static gboolean
sweep(gpointer data)
{
  LinkDoor *door = data;
  gint64 now = clock_now_ns();
  g_autoptr(GPtrArray) late = g_ptr_array_new();
  for (guint crowd = 0; crowd < LINK_DOOR_CROWDS; crowd++)
    for (guint i = 0; i < link_crowd_count(door->crowds[crowd]); i++) {
      LinkVisit *visit = link_crowd_nth(door->crowds[crowd], i)->owner;
      if (now >= visit->deadline)
        g_ptr_array_add(late, visit);
    }
  for (guint i = 0; i < late->len; i++)
    drop_for_room(late->pdata[i]);
  return G_SOURCE_CONTINUE;
}

/* ---- the door ---- */

LinkDoor *
link_door_new(const LinkDoorRules *rules, const IdentityKey *key, GMainContext *context)
{
  LinkDoor *door = g_new0(LinkDoor, 1);
  guint rate = rules->rate;
  door->rules = *rules;
  door->rules.link.resume_ms = 0;
  door->rules.link.connect_ms = HANDSHAKE_MS;
  door->key = key;
  door->context = context;
  door->burst = rate * BURST_S;
  door->sources = link_budget_new(rate, door->burst);
  door->passing = link_budget_new(rate, door->burst);
  door->members = link_budget_new(rate, door->burst);
  for (guint i = 0; i < LINK_DOOR_CROWDS; i++) {
    guint most_each = i == LINK_DOOR_MEMBER ? rules->member_most : crowds[i].most_each;
    door->crowds[i] = link_crowd_new(crowds[i].most, rate > 0 ? most_each : crowds[i].most);
  }
  door->by_id = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
  door->listeners = g_ptr_array_new();
  door->listening = g_array_new(FALSE, FALSE, sizeof(int));
  door->sweep = g_timeout_source_new(SWEEP_MS);
  g_source_set_callback(door->sweep, sweep, door, NULL);
  g_source_attach(door->sweep, context);
  return door;
}

void
link_door_free(LinkDoor *door)
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
  for (guint i = 0; i < LINK_DOOR_CROWDS; i++) {
    while (link_crowd_count(door->crowds[i]) > 0)
      link_door_drop(link_crowd_nth(door->crowds[i], 0)->owner);
    link_crowd_free(door->crowds[i]);
  }
  g_hash_table_unref(door->by_id);
  link_budget_free(door->sources);
  link_budget_free(door->passing);
  link_budget_free(door->members);
  g_free(door);
}

void
link_door_listen(LinkDoor *door, int fd)
{
  GSource *source = g_unix_fd_source_new(fd, G_IO_IN);
  g_source_set_callback(source, (GSourceFunc)(void (*)(void))accept_some, door, NULL);
  g_source_attach(source, door->context);
  g_ptr_array_add(door->listeners, source);
  g_array_append_val(door->listening, fd);
}

LinkDoorCounters
link_door_counters(const LinkDoor *door)
{
  LinkDoorCounters counters = door->counters;
  for (guint i = 0; i < LINK_DOOR_CROWDS; i++)
    counters.now[i] = link_crowd_count(door->crowds[i]);
  return counters;
}
