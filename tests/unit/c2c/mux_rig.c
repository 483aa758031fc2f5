#include "mux_rig.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"

#define PATIENCE_MS 60000
#define QUIET_NS    G_GINT64_CONSTANT(4000000)
#define QUIET_STEPS 10

/* With a proxy and the kernel's loopback between. */
#define QUIET_TLS_NS G_GINT64_CONSTANT(80000000)

static guint8
pattern(gsize at)
{
  return (at * 2654435761u) >> 13;
}

static Talker *
talker_new(MuxRig *rig)
{
  Talker *talker = g_new0(Talker, 1);
  talker->got = g_byte_array_new();
  talker->hold = rig->lazy;
  g_ptr_array_add(rig->talkers, talker);
  return talker;
}

static void
talker_free(Talker *talker)
{
  g_byte_array_unref(talker->got);
  g_free(talker->words);
  g_free(talker);
}

static void
fill(Talker *talker)
{
  guint8 bytes[50000];
  while (talker->stream && talker->left > 0) {
    gsize length = MIN(talker->left, sizeof bytes);
    for (gsize i = 0; i < length; i++)
      bytes[i] = pattern(talker->filled + i);
    gsize done = mux_write(talker->stream, bytes, length);
    talker->filled += done;
    talker->left -= done;
    if (done < length)
      return;
  }
  if (talker->stream && talker->end_after)
    mux_end(talker->stream);
}

void
talker_write(Talker *talker, gsize length)
{
  talker->left += length;
  fill(talker);
}

void
talker_read(Talker *talker)
{
  guint8 bytes[30000];
  gssize got;
  while (!talker->ended && (got = mux_read(talker->stream, bytes, sizeof bytes)) != 0) {
    talker->ended = got < 0;
    if (got > 0)
      g_byte_array_append(talker->got, bytes, got);
  }
}

void
talker_close(Talker *talker, const char *words)
{
  mux_close(g_steal_pointer(&talker->stream), words);
}

void
talker_check(const Talker *talker, gsize length)
{
  g_assert_cmpuint(talker->got->len, ==, length);
  for (gsize i = 0; i < length; i++)
    if (talker->got->data[i] != pattern(i))
      g_error("byte %zu of %zu is wrong", i, length);
}

static void
on_accepted(MuxStream *stream, void *data)
{
  ((Talker *)data)->accepted = TRUE;
}

static void
on_refused(MuxStream *stream, Doppel__Wire__C2cRefusal why, const char *words, void *data)
{
  Talker *talker = data;
  g_assert_true(talker->stream == stream);
  talker->stream = NULL;
  talker->refusal = why;
  talker->words = g_strdup(words);
}

static void
on_readable(MuxStream *stream, void *data)
{
  Talker *talker = data;
  g_assert_true(talker->stream == stream);
  talker->readables++;
  if (!talker->hold)
    talker_read(talker);
}

static void
on_writable(MuxStream *stream, void *data)
{
  Talker *talker = data;
  g_assert_true(talker->stream == stream);
  talker->writables++;
  fill(talker);
}

static void
on_reset(MuxStream *stream, const char *words, void *data)
{
  Talker *talker = data;
  g_assert_true(talker->stream == stream);
  talker->stream = NULL;
  talker->reset = TRUE;
  talker->words = g_strdup(words);
}

const MuxStreamCallbacks talker_callbacks = {on_accepted, on_refused, on_readable, on_writable, on_reset};

static void
on_open(Mux *mux, MuxStream *stream, const char *user, const char *service, void *data)
{
  MuxRig *rig = data;
  Talker *talker = talker_new(rig);
  if (g_str_has_prefix(user, "alice.")) {
    talker->twin = rig->talkers->pdata[atoi(user + 6)];
    talker->twin->twin = talker;
  }
  talker->stream = stream;
  g_ptr_array_add(rig->asked, talker);
  g_free(rig->user);
  g_free(rig->service);
  rig->user = g_strdup(user);
  rig->service = g_strdup(service);
  if (g_str_equal(service, "none")) {
    mux_refuse(stream, DOPPEL__WIRE__C2C_REFUSAL__C2C_NO_SERVICE, "there is no such service");
    talker->stream = NULL;
  } else if (!rig->wait) {
    mux_accept(stream, &talker_callbacks, talker);
  }
}

static gboolean
on_introduce(Mux *mux, const Doppel__Wire__MuxIntroduce *message, void *data, GError **error)
{
  MuxRig *rig = data;
  g_assert_cmpmem(message->record.data, message->record.len, "record", 6);
  rig->introductions++;
  if (rig->refuse_introduction)
    g_set_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED, "go away");
  return !rig->refuse_introduction;
}

static const MuxCallbacks callbacks = {on_open, on_introduce};

static MuxRig *
rig_new(void)
{
  MuxRig *rig = g_new0(MuxRig, 1);
  rig->talkers = g_ptr_array_new_with_free_func((GDestroyNotify)talker_free);
  rig->asked = g_ptr_array_new();
  return rig;
}

MuxRig *
mux_rig_half(Link **other)
{
  MuxRig *rig = rig_new();
  int fds[2];
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
  rig->ends[0] = mux_new(link_new_local(fds[0]), TRUE, &callbacks, rig);
  *other = link_new_local(fds[1]);
  return rig;
}

MuxRig *
mux_rig_local(void)
{
  Link *other;
  MuxRig *rig = mux_rig_half(&other);
  rig->ends[1] = mux_new(other, FALSE, &callbacks, rig);
  return rig;
}

MuxRig *
mux_rig_tls(void)
{
  return mux_rig_slow(0);
}

MuxRig *
mux_rig_slow(gsize rate)
{
  MuxRig *rig = rig_new();
  World *world = rig->world = world_new();
  world->anybody = TRUE;
  world->options.compression = -1;
  world->options.purpose = WIRE_PURPOSE_PEER;
  /* What is cut comes back, however long a busy machine takes for that. */
  world->options.resume_ms = world->options.connect_ms = world->options.keepalive_ms = PATIENCE_MS;
  rig->proxy = proxy_new(world);
  rig->proxy->rate = rate;
  world_dial(world, rig->proxy->address);
  world_until(world, world_is_up, PATIENCE_MS);
  rig->ends[0] = mux_new(world->device, TRUE, &callbacks, rig);
  rig->ends[1] = mux_new(world->host, FALSE, &callbacks, rig);
  return rig;
}

void
mux_rig_free(MuxRig *rig)
{
  for (int end = 0; end < 2; end++) {
    mux_free(rig->ends[end]);
    g_clear_error(&rig->errors[end]);
  }
  for (guint i = 0; i < rig->talkers->len; i++)
    g_assert_null(((Talker *)rig->talkers->pdata[i])->stream);
  if (rig->world) {
    rig->world->device = rig->world->host = NULL;
    proxy_free(rig->world, rig->proxy);
    world_free(rig->world);
  }
  g_ptr_array_free(rig->asked, TRUE);
  g_ptr_array_free(rig->talkers, TRUE);
  g_free(rig->user);
  g_free(rig->service);
  g_free(rig);
}

void
mux_rig_step(MuxRig *rig, int timeout_ms)
{
  struct pollfd fds[2 * LINK_POLL_MAX];
  guint count = 0;
  for (int end = 0; end < 2; end++)
    if (rig->ends[end] && !rig->errors[end])
      count += mux_prepare(rig->ends[end], fds + count, &timeout_ms);
  if (rig->world)
    world_step(rig->world, timeout_ms);
  else
    poll(fds, count, timeout_ms);
  for (int end = 0; end < 2; end++)
    if (rig->ends[end] && !rig->errors[end])
      mux_work(rig->ends[end], &rig->errors[end]);
}

void
mux_rig_until(MuxRig *rig, gboolean (*done)(MuxRig *rig, void *data), void *data)
{
  gint64 deadline = clock_now_ns() + PATIENCE_MS * G_GINT64_CONSTANT(1000000);
  while (!done(rig, data)) {
    if (clock_now_ns() > deadline)
      g_error("nothing happened: %s, %s", rig->errors[0] ? rig->errors[0]->message : "alive",
              rig->errors[1] ? rig->errors[1]->message : "alive");
    mux_rig_step(rig, 20);
  }
}

static guint64
traffic(MuxRig *rig)
{
  guint64 sum = 0;
  for (int end = 0; end < 2; end++)
    if (rig->ends[end]) {
      const LinkCounters *counters = link_counters(mux_link(rig->ends[end]));
      sum += counters->bytes_sent + counters->bytes_received;
    }
  return sum;
}

void
mux_rig_settle(MuxRig *rig)
{
  gint64 quiet = rig->world ? QUIET_TLS_NS : QUIET_NS, until = clock_now_ns() + quiet;
  /* Time may pass without us: that nothing happens is seen by steps only. */
  for (guint steps = 0; steps < QUIET_STEPS || clock_now_ns() < until; steps++) {
    guint64 before = traffic(rig);
    mux_rig_step(rig, 2);
    if (traffic(rig) != before) {
      until = clock_now_ns() + quiet;
      steps = 0;
    }
  }
}

Talker *
mux_rig_open(MuxRig *rig, int end, const char *service)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *user = g_strdup_printf("alice.%u", rig->talkers->len);
  Talker *talker = talker_new(rig);
  talker->stream = mux_open(rig->ends[end], user, service, &talker_callbacks, talker, &error);
  g_assert_no_error(error);
  return talker;
}

Talker *
mux_rig_asked(MuxRig *rig, guint n)
{
  g_assert_cmpuint(n, <, rig->asked->len);
  return rig->asked->pdata[n];
}
