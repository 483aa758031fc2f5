/* A link that everything happens to: cut at every byte, stalled, moved, gone for good. Whatever it was, each
 * message arrives once and in order, or the link says that it is dead. */
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "world.h"

#define SECOND G_GINT64_CONSTANT(1000000000)

static gboolean
device_is_dead(World *world)
{
  return world->device_error != NULL;
}

static gboolean
both_are_dead(World *world)
{
  return world->device_error && world->host_error;
}

/* The scripted conversation: who sends which length, after the message before it has arrived or at once. */
static const struct {
  gboolean from_host, waits;
  guint16 length;
} script[] = {
    {FALSE, FALSE, 40}, {FALSE, FALSE, 0}, {FALSE, FALSE, 300}, {TRUE, TRUE, 200}, {TRUE, FALSE, 1},
    {FALSE, TRUE, 500}, {TRUE, TRUE, 700}, {FALSE, FALSE, 10},  {TRUE, TRUE, 10},
};

/* Where an end has got to. */
typedef struct {
  guint next; /* message of the script that this end has not seen sent or received */
} Actor;

static void
act(Link *link, gboolean is_host, Actor *actor)
{
  while (actor->next < G_N_ELEMENTS(script)) {
    guint i = actor->next;
    if (script[i].from_host == is_host) {
      world_send(link, i, script[i].length);
    } else {
      g_autoptr(LinkMessage) message = link_take(link);
      if (!message)
        return;
      world_check(message, i, script[i].length);
    }
    actor->next++;
  }
  g_assert_null(link_take(link));
}

/* Runs the conversation through `proxy`. */
static void
converse(World *world, Proxy *proxy)
{
  Actor device = {0}, host = {0};
  gint64 deadline = clock_now_ns() + WORLD_PATIENCE_MS * (SECOND / 1000);
  world_dial(world, proxy->address);
  for (;;) {
    act(world->device, FALSE, &device);
    if (world->host)
      act(world->host, TRUE, &host);
    if (device.next == G_N_ELEMENTS(script) && host.next == G_N_ELEMENTS(script))
      break;
    world_step(world, 50);
    if (world->device_error || world->host_error || clock_now_ns() > deadline)
      g_error("the conversation stopped at %u and %u: %s", device.next, host.next,
              world->device_error ? world->device_error->message
                                  : (world->host_error ? world->host_error->message : "time is up"));
  }
  /* What is left of it makes no second message of anything. */
  world_step(world, 0);
  g_assert_null(link_take(world->device));
  g_assert_null(link_take(world->host));
  g_assert_cmpuint(link_counters(world->device)->messages_sent + link_counters(world->host)->messages_sent,
                   ==, G_N_ELEMENTS(script));
  g_assert_cmpuint(link_counters(world->device)->messages_received +
                       link_counters(world->host)->messages_received,
                   ==, G_N_ELEMENTS(script));
}

static guint64
uncut_length(int way)
{
  g_autoptr(World) world = world_new();
  Proxy *proxy = proxy_new(world);
  converse(world, proxy);
  guint64 length = proxy->passed[way];
  g_assert_cmpuint(proxy->cuts, ==, 0);
  proxy_free(world, proxy);
  return length;
}

static void
test_cut(gconstpointer data)
{
  int way = GPOINTER_TO_INT(data);
  guint64 length = uncut_length(way);
  guint cuts = 0;
  for (guint64 at = 1; at < length; at++) {
    g_autoptr(World) world = world_new();
    Proxy *proxy = proxy_new(world);
    proxy->limits[way] = at;
    converse(world, proxy);
    cuts += proxy->cuts;
    proxy_free(world, proxy);
  }
  /* Records differ by some bytes from run to run where acknowledgements fall otherwise. */
  g_assert_cmpuint(cuts, >=, length - 200);
  g_test_message("%u cuts", cuts);
}

/* Cut again and again at random places while much is on its way both ways. */
static void
test_storm(void)
{
  g_autoptr(World) world = world_new();
  Proxy *proxy = proxy_new(world);
  g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
  enum { COUNT = 400, RECONNECTS = 6, ATTEMPTS_CUT = 3 };
  guint sent = 0, at_host = 0, at_device = 0, cut_since_up = 0;
  world_dial(world, proxy->address);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  /* A fast link is through with so many messages before it has been cut often. */
  for (gboolean enough = FALSE; !enough || at_host < sent || at_device < sent;) {
    enough = sent >= COUNT && link_counters(world->device)->reconnects >= RECONNECTS;
    if (!enough) {
      world_send(world->device, sent, sent * 37 % 60000);
      world_send(world->host, sent, sent * 41 % 60000);
      sent++;
    }
    /* Handshakes are cut too; but a storm that never lets one through only shows that links grow old. */
    if (world_is_up(world))
      cut_since_up = 0;
    if (cut_since_up <= ATTEMPTS_CUT && g_rand_int_range(rand, 0, 10) == 0) {
      cut_since_up += proxy->pairs->len > 0;
      proxy_cut(proxy);
    }
    world_step(world, g_rand_int_range(rand, 0, 2));
    LinkMessage *message;
    for (; (message = link_take(world->host)); link_message_free(message), at_host++)
      world_check(message, at_host, at_host * 37 % 60000);
    for (; (message = link_take(world->device)); link_message_free(message), at_device++)
      world_check(message, at_device, at_device * 41 % 60000);
    g_assert_no_error(world->device_error);
    g_assert_no_error(world->host_error);
  }
  g_assert_cmpuint(at_host, ==, sent);
  g_assert_cmpuint(at_device, ==, sent);
  proxy_free(world, proxy);
}

static gboolean
device_is_away(World *world)
{
  return link_state(world->device) == LINK_AWAY;
}

/* A path that swallows everything is noticed by probing, not before a probe had its time, and another
 * connection taken. */
static void
test_stall(void)
{
  g_autoptr(World) world = world_new();
  world->options.keepalive_ms = 200;
  Proxy *proxy = proxy_new(world);
  world_dial(world, proxy->address);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  /* Both while a message waits, and while all is quiet. */
  for (int quiet = 0; quiet < 2; quiet++) {
    gint64 start = clock_now_ns();
    world_send(world->host, 2, 10);
    g_autoptr(LinkMessage) heard = world_receive(world, world->device);
    proxy->stalled = TRUE;
    if (!quiet)
      world_send(world->device, 1, 1000);
    world_until(world, device_is_away, WORLD_PATIENCE_MS);
    g_assert_cmpint(clock_now_ns() - start, >=, 2 * 200 * SECOND / 1000);
    proxy_cut(proxy);
    proxy->stalled = FALSE;
    world_until(world, world_is_up, WORLD_PATIENCE_MS);
    if (!quiet) {
      g_autoptr(LinkMessage) message = world_receive(world, world->host);
      world_check(message, 1, 1000);
    }
  }
  proxy_free(world, proxy);
}

static gboolean
all_there(World *world)
{
  g_autoptr(LinkMessage) message = link_take(world->host);
  return message != NULL;
}

/* A message that takes far longer than a peer may be silent is no silence: on a slow link it must not begin
 * again and again. */
static void
test_slow(void)
{
  enum { RATE = 400 << 10, BYTES = 1600 << 10 };
  g_autoptr(World) world = world_new();
  world->options.keepalive_ms = 1000;
  Proxy *proxy = proxy_new(world);
  proxy->rate = RATE;
  world_dial(world, proxy->address);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  g_autofree guint8 *bytes = g_malloc(BYTES);
  for (gsize i = 0; i < BYTES; i++)
    bytes[i] = g_test_rand_int();
  GError *error = NULL;
  g_assert_true(link_send(world->device, 1, &(struct iovec){bytes, BYTES}, 1, &error));
  world_until(world, all_there, WORLD_PATIENCE_MS);
  g_assert_cmpuint(link_counters(world->device)->reconnects, ==, 0);
  g_assert_cmpuint(proxy->cuts, ==, 0);
  proxy_free(world, proxy);
}

/* A quiet link stays up, and costs a probe now and then. */
static void
test_quiet(void)
{
  g_autoptr(World) world = world_new();
  world->options.keepalive_ms = 100;
  world_dial(world, NULL);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  guint64 before = link_counters(world->device)->bytes_sent;
  for (gint64 end = clock_now_ns() + SECOND;
       clock_now_ns() < end || link_counters(world->device)->bytes_sent == before;)
    world_step(world, 50);
  g_assert_true(world_is_up(world));
  g_assert_cmpuint(link_counters(world->device)->reconnects, ==, 0);
  guint64 cost = link_counters(world->device)->bytes_sent - before;
  g_assert_cmpuint(cost, >, 0);
  g_assert_cmpuint(cost, <, 12 * 60);
}

/* Where the other owner is merely busy, a late answer is an answer. */
static void
test_busy_owner(void)
{
  g_autoptr(World) world = world_new();
  world->options.keepalive_ms = 2000;
  world_dial(world, NULL);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  world_send(world->device, 1, 10);
  g_usleep(2 * world->options.keepalive_ms * 1000 + 300000);
  g_autoptr(LinkMessage) message = world_receive(world, world->host);
  world_check(message, 1, 10);
  world_step(world, 10);
  world_step(world, 10);
  g_assert_true(world_is_up(world));
  g_assert_cmpuint(link_counters(world->device)->reconnects, ==, 0);
}

/* The host comes up at another address: the device, told of it, finds it again; nothing is lost. */
static void
test_moves(void)
{
  g_autoptr(World) world = world_new();
  Proxy *old = proxy_new(world), *new = proxy_new(world);
  world_dial(world, old->address);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  world_send(world->device, 1, 100);
  world_send(world->host, 2, 50000);
  old->deaf = TRUE;
  close(old->listener);
  old->listener = -1;
  proxy_cut(old);
  const char *addresses[] = {old->address, new->address, NULL};
  link_set_addresses(world->device, addresses);
  g_autoptr(LinkMessage) at_host = world_receive(world, world->host);
  g_autoptr(LinkMessage) at_device = world_receive(world, world->device);
  world_check(at_host, 1, 100);
  world_check(at_device, 2, 50000);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  g_assert_cmpuint(link_counters(world->device)->reconnects, ==, 1);
  g_assert_cmpuint(link_counters(world->host)->reconnects, ==, 1);
  g_assert_cmpuint(new->passed[0], >, 0);
  proxy_free(world, old);
  proxy_free(world, new);
}

/* Beyond the time to resume both ends give up, and not before. */
static void
test_too_late(void)
{
  g_autoptr(World) world = world_new();
  world->options.resume_ms = 600;
  Proxy *proxy = proxy_new(world);
  world_dial(world, proxy->address);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  proxy->deaf = TRUE;
  proxy_cut(proxy);
  gint64 start = clock_now_ns();
  world_until(world, both_are_dead, WORLD_PATIENCE_MS);
  gint64 took = clock_now_ns() - start;
  g_assert_cmpint(took, >=, 600 * SECOND / 1000);
  g_assert_cmpint(link_state(world->device), ==, LINK_DEAD);
  g_assert_cmpint(link_state(world->host), ==, LINK_DEAD);
  g_assert_error(world->device_error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
  g_assert_nonnull(strstr(world->device_error->message, "did not come back within 600 ms"));
  proxy_free(world, proxy);
}

static void
test_never_resume(void)
{
  g_autoptr(World) world = world_new();
  world->options.resume_ms = 0;
  Proxy *proxy = proxy_new(world);
  world_dial(world, proxy->address);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  proxy_cut(proxy);
  world_until(world, both_are_dead, WORLD_PATIENCE_MS);
  g_assert_error(world->device_error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
  proxy_free(world, proxy);
}

/* The host's process died and another one got the call: it does not start the session afresh. */
static void
test_host_forgot(void)
{
  g_autoptr(World) world = world_new();
  Proxy *proxy = proxy_new(world);
  world_dial(world, proxy->address);
  world_until(world, world_is_up, WORLD_PATIENCE_MS);
  Link *dead = g_steal_pointer(&world->host);
  proxy_cut(proxy);
  world_send(world->device, 1, 10);
  world_until(world, device_is_dead, WORLD_PATIENCE_MS);
  g_assert_error(world->device_error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
  g_assert_nonnull(strstr(world->device_error->message, "has ended"));
  g_assert_null(link_take(world->host));
  link_free(dead);
  proxy_free(world, proxy);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_data_func("/link/cut/to-host", GINT_TO_POINTER(0), test_cut);
  g_test_add_data_func("/link/cut/to-device", GINT_TO_POINTER(1), test_cut);
  g_test_add_func("/link/storm", test_storm);
  g_test_add_func("/link/stall", test_stall);
  g_test_add_func("/link/slow", test_slow);
  g_test_add_func("/link/quiet", test_quiet);
  g_test_add_func("/link/busy-owner", test_busy_owner);
  g_test_add_func("/link/moves", test_moves);
  g_test_add_func("/link/too-late", test_too_late);
  g_test_add_func("/link/never-resume", test_never_resume);
  g_test_add_func("/link/host-forgot", test_host_forgot);
  return g_test_run();
}
