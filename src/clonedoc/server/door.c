#include "clonedoc/server/door.h"

#include <errno.h>
#include <glib-unix.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "link/caller_hash.h"
#include "link/link_source.h"

#define ACCEPTS_MAX      64 /* of a turn of the loop, for each listener */
#define PRICE_CONNECTION 4
#define BURST_S          5 /* a source may ask at once what it may ask in so many seconds */
#define SWEEP_MS         250
#define SECONDS(s)       ((s)*G_GINT64_CONSTANT(1000000000))
#define PREAMBLE_NS      SECONDS(3)
#define HANDSHAKE_MS     5000
#define SILENT_MS        60000 /* who follows is probed so seldom: a probe wakes a radio */
#define FIRST_NS         SECONDS(10)
#define INBOX_MAX        (16u << 10) /* bytes: calls that come together go to the disk together */
#define IDLE_NS          SECONDS(60) /* without a call or a follow */
#define MEMBER_IDLE_NS   SECONDS(300)
#define READ_NS          SECONDS(30) /* to take anything at all of what was answered */

static const struct {
  guint most, most_each; /* of one address; members: of one key */
} crowds[DOC_DOOR_CROWDS] = {
    [DOC_DOOR_WAITING] = {1024, 128},
    [DOC_DOOR_STRANGER] = {1024, 128},
    [DOC_DOOR_MEMBER] = {8192, 16},
};

struct DocDoor {
  const IdentityKey *key;
  GMainContext *context;
  DocDoorEvents events;
  LinkBudget *sources, *members;
  guint burst;
  LinkCrowd *crowds[DOC_DOOR_CROWDS];
  GHashTable *by_id;    /* guint64 → DocVisit */
  GPtrArray *listeners; /* of GSource */
  GArray *listening;    /* of int: their sockets */
  GSource *sweep;
  guint64 next_id;
  DocDoorCounters counters;
};

static void
unwatch(DocVisit *visit)
{
  if (visit->watch)
    g_source_destroy(visit->watch);
  g_clear_pointer(&visit->watch, g_source_unref);
}

static void
watch(DocVisit *visit, GSource *source, GSourceFunc work)
{
  unwatch(visit);
  visit->watch = source;
  g_source_set_callback(source, work, visit, NULL);
  g_source_attach(source, visit->door->context);
}

void
doc_door_drop(DocVisit *visit)
{
  DocDoor *door = visit->door;
  door->events.gone(visit, door->events.data);
  link_crowd_remove(door->crowds[visit->crowd], &visit->visitor);
  unwatch(visit);
  io_close(&visit->fd);
  g_clear_pointer(&visit->link, link_free);
  doc_parts_clear(&visit->parts);
  g_ptr_array_unref(visit->follows);
  g_hash_table_remove(door->by_id, &visit->id); /* frees it */
}

static void
drop_for_room(DocVisit *visit)
{
  visit->door->counters.dropped++;
  doc_door_drop(visit);
}

DocVisit *
doc_door_find(const DocDoor *door, guint64 id)
{
  return g_hash_table_lookup(door->by_id, &id);
}

/* FALSE: that crowd has no room, and nothing is changed. */
static gboolean
join(DocVisit *visit, DocCrowd crowd, const LinkCallerSource *holder)
{
  DocDoor *door = visit->door;
  LinkVisitor *leaving;
  if (!link_crowd_has_room(door->crowds[crowd], holder, &leaving))
    return FALSE;
  if (leaving)
    drop_for_room(leaving->owner);
  if (visit->crowd != DOC_DOOR_CROWDS)
    link_crowd_remove(door->crowds[visit->crowd], &visit->visitor);
  visit->crowd = crowd;
  visit->visitor.holder = *holder;
  link_crowd_add(door->crowds[crowd], &visit->visitor);
  return TRUE;
}

void
doc_door_admit(DocVisit *visit)
{
  if (visit->crowd == DOC_DOOR_MEMBER)
    return;
  LinkCallerSource holder = link_caller_source_of_key(link_peer(visit->link));
  join(visit, DOC_DOOR_MEMBER, &holder);
}

gboolean
doc_door_pay(DocVisit *visit, guint price)
{
  DocDoor *door = visit->door;
  gboolean member = visit->crowd == DOC_DOOR_MEMBER;
  /* Where so little is allowed, what is dear waits for all of it, and not for ever. */
  return link_budget_take(member ? door->members : door->sources,
                          member ? &visit->visitor.holder : &visit->source, MIN(price, door->burst),
                          clock_now_ns());
}

/* Who takes something of what is sent has time for more; who waits for an answer waits for us. */
static void
set_deadline(DocVisit *visit)
{
  gint64 now = clock_now_ns();
  gsize unwritten = link_backlog(visit->link).unwritten;
  if (link_state(visit->link) != LINK_UP)
    return;
  if (unwritten == 0 || visit->unwritten == 0 || unwritten < visit->unwritten)
    visit->deadline = unwritten > 0 ? now + READ_NS
                      : visit->follows->len > 0 || visit->calls > 0
                          ? G_MAXINT64
                          : now + (visit->crowd == DOC_DOOR_MEMBER ? MEMBER_IDLE_NS : IDLE_NS);
  visit->unwritten = unwritten;
}

static gboolean
work_link(gpointer data)
{
  DocVisit *visit = data;
  DocDoor *door = visit->door;
  if (door->events.work(visit, door->events.data)) {
    set_deadline(visit);
    return G_SOURCE_CONTINUE;
  }
  doc_door_drop(visit);
  return G_SOURCE_REMOVE;
}

/* FALSE: has to go. */
static gboolean
begin_link(DocVisit *visit, const LinkPreamble *preamble)
{
  DocDoor *door = visit->door;
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  options.resume_ms = 0;
  options.connect_ms = HANDSHAKE_MS;
  options.keepalive_ms = SILENT_MS;
  options.compression = -1; /* what is sealed does not get smaller */
  options.message_max = DOC_PART_MAX;
  options.inbox_max = INBOX_MAX;
  if (!link_budget_take(door->sources, &visit->source, PRICE_CONNECTION, clock_now_ns()) ||
      !join(visit, DOC_DOOR_STRANGER, &visit->source)) {
    door->counters.refused++;
    return FALSE;
  }
  visit->link = link_accept_later(preamble, door->key, NULL, &options, NULL);
  if (!visit->link || !link_resume(visit->link, io_steal_fd(&visit->fd), NULL))
    return FALSE;
  visit->deadline = clock_now_ns() + FIRST_NS;
  watch(visit, link_source_new_link(visit->link), work_link);
  return TRUE;
}

static gboolean
preamble_ready(int fd, GIOCondition condition, gpointer data)
{
  DocVisit *visit = data;
  LinkPreamble preamble;
  int step = link_preamble_step(&visit->reader, visit->fd, &preamble, NULL);
  if (step < 0 || (step > 0 && !begin_link(visit, &preamble)))
    doc_door_drop(visit);
  return step == 0 ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static void
add_visit(DocDoor *door, int fd, const struct sockaddr_storage *address)
{
  DocVisit *visit = g_new0(DocVisit, 1);
  visit->door = door;
  visit->id = ++door->next_id;
  visit->crowd = DOC_DOOR_CROWDS;
  visit->visitor.owner = visit;
  visit->source = link_caller_source_of(address);
  visit->fd = fd;
  visit->deadline = clock_now_ns() + PREAMBLE_NS;
  if (!join(visit, DOC_DOOR_WAITING, &visit->source)) {
    door->counters.refused++;
    io_close(&visit->fd);
    g_free(visit);
    return;
  }
  door->counters.accepted++;
  visit->follows = g_ptr_array_new();
  g_hash_table_insert(door->by_id, &visit->id, visit);
  watch(visit, g_unix_fd_source_new(fd, G_IO_IN), (GSourceFunc)(void (*)(void))preamble_ready);
}

/* Members are the last to go. */
static DocVisit *
find_surplus(DocDoor *door)
{
  LinkVisitor *surplus = NULL;
  for (guint crowd = 0; crowd < DOC_DOOR_CROWDS && !surplus; crowd++)
    surplus = link_crowd_surplus(door->crowds[crowd]);
  return surplus ? surplus->owner : NULL;
}

static gboolean
accept_some(int listener, GIOCondition condition, gpointer data)
{
  DocDoor *door = data;
  for (guint i = 0; i < ACCEPTS_MAX; i++) {
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;
    int fd = accept4(listener, (struct sockaddr *)&address, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      add_visit(door, fd, &address);
      continue;
    }
    /* Out of descriptors: somebody has to make room, or this would come again at once, for ever. */
    DocVisit *surplus = errno == EMFILE || errno == ENFILE ? find_surplus(door) : NULL;
    if (!surplus)
      break;
    drop_for_room(surplus);
  }
  return G_SOURCE_CONTINUE;
}

static gboolean
sweep(gpointer data)
{
  DocDoor *door = data;
  gint64 now = clock_now_ns();
  g_autoptr(GPtrArray) late = g_ptr_array_new();
  for (guint crowd = 0; crowd < DOC_DOOR_CROWDS; crowd++)
    for (guint i = 0; i < link_crowd_count(door->crowds[crowd]); i++) {
      DocVisit *visit = link_crowd_nth(door->crowds[crowd], i)->owner;
      if (now >= visit->deadline)
        g_ptr_array_add(late, visit);
    }
  for (guint i = 0; i < late->len; i++)
    drop_for_room(late->pdata[i]);
  return G_SOURCE_CONTINUE;
}

DocDoor *
doc_door_new(const IdentityKey *key, guint rate, GMainContext *context, const DocDoorEvents *events)
{
  DocDoor *door = g_new0(DocDoor, 1);
  door->key = key;
  door->context = context;
  door->events = *events;
  door->burst = rate * BURST_S;
  door->sources = link_budget_new(rate, door->burst);
  door->members = link_budget_new(rate, door->burst);
  for (guint i = 0; i < DOC_DOOR_CROWDS; i++)
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
doc_door_free(DocDoor *door)
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
  for (guint i = 0; i < DOC_DOOR_CROWDS; i++) {
    while (link_crowd_count(door->crowds[i]) > 0)
      doc_door_drop(link_crowd_nth(door->crowds[i], 0)->owner);
    link_crowd_free(door->crowds[i]);
  }
  g_hash_table_unref(door->by_id);
  link_budget_free(door->sources);
  link_budget_free(door->members);
  g_free(door);
}

void
doc_door_listen(DocDoor *door, int fd)
{
  GSource *source = g_unix_fd_source_new(fd, G_IO_IN);
  g_source_set_callback(source, (GSourceFunc)(void (*)(void))accept_some, door, NULL);
  g_source_attach(source, door->context);
  g_ptr_array_add(door->listeners, source);
  g_array_append_val(door->listening, fd);
}

DocDoorCounters
doc_door_counters(const DocDoor *door)
{
  DocDoorCounters counters = door->counters;
  for (guint i = 0; i < DOC_DOOR_CROWDS; i++)
    counters.now[i] = link_crowd_count(door->crowds[i]);
  return counters;
}
