#include "shaper.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "tcp_reset.h"

enum { PACKET_MAX = 65536, SLOTS = 16384, BATCH = 32 };

/* Closer than this the thread spins instead of sleeping: falling asleep and waking costs about as much. */
#define SPIN_NS 20000

typedef struct {
  gint64 due; /* ns: when it comes out at the other end */
  guint32 length;
  guint8 *data;
} Packet;

typedef struct {
  int from, to;
  gint64 line_free; /* ns: when the last packet taken will have been put on the line */
  guint64 head, tail;
  Packet slots[SLOTS]; /* [tail, head) modulo SLOTS */
  guint64 bytes, packets, drops;
} Line;

struct Shaper {
  pthread_t thread;
  pthread_mutex_t lock; /* of what follows */
  Profile profile;
  ShaperState state;
  gint64 reset_until; /* ns */
  gboolean ending;
  ShaperCounters counters;
  int wake; /* an eventfd: something above has changed */
  Line lines[2];
};

/* What the thread works with, copied once per turn. */
typedef struct {
  Profile profile;
  ShaperState state;
  gint64 reset_until;
  gboolean ending;
} Orders;

static gint64
line_time(const Orders *orders, int way, gsize length)
{
  double mbit = way == SHAPER_UP ? orders->profile.up_mbit : orders->profile.down_mbit;
  return mbit > 0 ? (gint64)(length * 8e3 / mbit) : 0;
}

static void
put_on_line(Line *line, const Orders *orders, int way, const guint8 *data, gsize length)
{
  gint64 now = clock_now_ns(), start = MAX(now, line->line_free);
  gboolean full = start - now > orders->profile.queue_ms * G_GINT64_CONSTANT(1000000);
  if (orders->state == SHAPER_CUT || line->head - line->tail == SLOTS ||
      (full && line_time(orders, way, length) > 0)) {
    line->drops++;
    return;
  }
  line->line_free = start + line_time(orders, way, length);
  Packet *packet = &line->slots[line->head++ % SLOTS];
  packet->due = line->line_free + orders->profile.rtt_us * G_GINT64_CONSTANT(500);
  packet->length = (guint32)length;
  packet->data = g_memdup2(data, length);
}

/* Reads what the kernel has, a batch at most. TRUE if there may be more. */
static gboolean
take(Line *line, const Orders *orders, int way)
{
  static __thread guint8 buffer[PACKET_MAX];
  for (int i = 0; i < BATCH; i++) {
    ssize_t length = read(line->from, buffer, sizeof buffer);
    if (length <= 0)
      return FALSE;
    put_on_line(line, orders, way, buffer, (gsize)length);
  }
  return TRUE;
}

/* Tells both ends of a segment's connection that it is no more. What is left of the segment itself. */
static gsize
reset_both(Line *line, Packet *packet)
{
  g_autofree guint8 *reply = g_malloc(packet->length);
  gsize length = tcp_reset_reply(packet->data, packet->length, reply);
  if (length && write(line->from, reply, length) < 0)
    line->drops++;
  return tcp_reset(packet->data, packet->length);
}

/* Hands over what is due. When the next one is, in ns; G_MAXINT64 for none. */
static gint64
deliver(Line *line, const Orders *orders)
{
  if (orders->state == SHAPER_STALLED)
    return G_MAXINT64;
  while (line->tail != line->head) {
    Packet *packet = &line->slots[line->tail % SLOTS];
    gint64 now = clock_now_ns();
    if (packet->due > now)
      return packet->due;
    if (orders->state == SHAPER_CUT) {
      line->drops++;
    } else {
      gsize length = now < orders->reset_until ? reset_both(line, packet) : packet->length;
      if (write(line->to, packet->data, length) < 0)
        line->drops++;
      line->packets++;
      line->bytes += length;
    }
    g_free(packet->data);
    line->tail++;
  }
  return G_MAXINT64;
}

static Orders
exchange(Shaper *shaper)
{
  pthread_mutex_lock(&shaper->lock);
  Orders orders = {shaper->profile, shaper->state, shaper->reset_until, shaper->ending};
  for (int way = 0; way < 2; way++) {
    shaper->counters.bytes[way] = shaper->lines[way].bytes;
    shaper->counters.packets[way] = shaper->lines[way].packets;
    shaper->counters.drops[way] = shaper->lines[way].drops;
  }
  pthread_mutex_unlock(&shaper->lock);
  return orders;
}

static void
sleep_until(Shaper *shaper, gint64 due)
{
  struct pollfd polls[3] = {{.fd = shaper->lines[0].from, .events = POLLIN},
                            {.fd = shaper->lines[1].from, .events = POLLIN},
                            {.fd = shaper->wake, .events = POLLIN}};
  struct timespec limit = {0, 0};
  guint64 count;
  if (due != G_MAXINT64) {
    gint64 wait = due - clock_now_ns() - SPIN_NS / 2;
    if (wait > 0)
      limit = (struct timespec){wait / 1000000000, wait % 1000000000};
  }
  ppoll(polls, 3, due == G_MAXINT64 ? NULL : &limit, NULL);
  if (polls[2].revents)
    (void)!read(shaper->wake, &count, sizeof count);
}

static void *
carry(void *data)
{
  Shaper *shaper = data;
  prctl(PR_SET_TIMERSLACK, 1);
  setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid),
              -15); /* best effort: a late packet is a wrong measurement */
  for (;;) {
    Orders orders = exchange(shaper);
    gboolean more = FALSE;
    gint64 due = G_MAXINT64;
    if (orders.ending)
      return NULL;
    for (int way = 0; way < 2; way++) {
      more |= take(&shaper->lines[way], &orders, way);
      gint64 next = deliver(&shaper->lines[way], &orders);
      due = MIN(due, next);
    }
    if (!more && due > clock_now_ns() + SPIN_NS)
      sleep_until(shaper, due);
  }
}

static void
notify(Shaper *shaper)
{
  guint64 one = 1;
  (void)!write(shaper->wake, &one, sizeof one);
}

Shaper *
shaper_start(int device, int host, const Profile *profile)
{
  Shaper *shaper = g_new0(Shaper, 1);
  shaper->profile = *profile;
  pthread_mutex_init(&shaper->lock, NULL);
  shaper->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  shaper->lines[SHAPER_UP].from = shaper->lines[SHAPER_DOWN].to = device;
  shaper->lines[SHAPER_UP].to = shaper->lines[SHAPER_DOWN].from = host;
  pthread_create(&shaper->thread, NULL, carry, shaper);
  return shaper;
}

void
shaper_stop(Shaper *shaper)
{
  pthread_mutex_lock(&shaper->lock);
  shaper->ending = TRUE;
  pthread_mutex_unlock(&shaper->lock);
  notify(shaper);
  pthread_join(shaper->thread, NULL);
  for (int way = 0; way < 2; way++) {
    Line *line = &shaper->lines[way];
    for (; line->tail != line->head; line->tail++)
      g_free(line->slots[line->tail % SLOTS].data);
    close(line->from);
  }
  close(shaper->wake);
  pthread_mutex_destroy(&shaper->lock);
  g_free(shaper);
}

void
shaper_set_state(Shaper *shaper, ShaperState state)
{
  pthread_mutex_lock(&shaper->lock);
  shaper->state = state;
  pthread_mutex_unlock(&shaper->lock);
  notify(shaper);
}

void
shaper_set_profile(Shaper *shaper, const Profile *profile)
{
  pthread_mutex_lock(&shaper->lock);
  shaper->profile = *profile;
  pthread_mutex_unlock(&shaper->lock);
  notify(shaper);
}

void
shaper_reset_connections(Shaper *shaper, guint milliseconds)
{
  pthread_mutex_lock(&shaper->lock);
  shaper->reset_until = clock_now_ns() + milliseconds * G_GINT64_CONSTANT(1000000);
  pthread_mutex_unlock(&shaper->lock);
  notify(shaper);
}

ShaperCounters
shaper_counters(Shaper *shaper)
{
  notify(shaper); /* the thread brings its counters up to date when it turns */
  g_usleep(2000);
  pthread_mutex_lock(&shaper->lock);
  ShaperCounters counters = shaper->counters;
  clockid_t clock;
  struct timespec used;
  if (pthread_getcpuclockid(shaper->thread, &clock) == 0 && clock_gettime(clock, &used) == 0)
    counters.cpu_seconds = used.tv_sec + used.tv_nsec / 1e9;
  pthread_mutex_unlock(&shaper->lock);
  return counters;
}
