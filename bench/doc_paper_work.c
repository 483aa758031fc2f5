/* One process of bench/clonedoc: obeys, types, and counts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "doc_paper.h"

#ifdef WITH_CALLGRIND
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_ZERO_STATS
#define CALLGRIND_DUMP_STATS_AT(name)
#define CALLGRIND_TOGGLE_COLLECT
#endif

static const PaperWho *who;
static const PaperPart *part;
static GRand *rand_of_keys;
static guint to_type, bursts;
static gsize cursor;
static gint64 next_key, changed_at, typed_at;
static double cpu_at, cpu_of_orders, orders_before;
static PaperMoved moved_at;

void G_GNUC_NORETURN
paper_die(const PaperWho *of, const char *what, const char *why)
{
  fprintf(stderr, "doc_paper: %s %u: %s: %s\n", of->clone ? "clone" : "device", of->number, what,
          why ? why : "no reason is known");
  _exit(1);
}

IdentityKey *
paper_key(guint number, char role)
{
  guint8 seed[IDENTITY_SEED_LENGTH] = {(guint8)(number + 1), (guint8)role, 'p', 'a', 'p', 'e', 'r'};
  return identity_key_from_seed(seed);
}

static double
cpu_seconds(void)
{
  struct timespec used;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

void
paper_shown(const OtOp *op)
{
  cursor = ot_op_move(op, cursor);
  changed_at = clock_now_ns();
}

/* ---- typing ---- */

static void
begin_typing(guint keys)
{
  guint32 seed[] = {who->seed, who->number, bursts++};
  g_clear_pointer(&rand_of_keys, g_rand_free);
  rand_of_keys = g_rand_new_with_seed_array(seed, G_N_ELEMENTS(seed));
  to_type = keys;
  next_key = clock_now_ns() + (gint64)(g_rand_double(rand_of_keys) * who->gap_ms * 1e6);
}

/* What the seed says, whatever the mode: one in 10 deletes, one in 20 goes elsewhere before. */
static void
type_key(void)
{
  static const char letters[] = "eeeeetttaaooiinnsshhrrddlluccmfwypvbgk      ,.";
  double where = g_rand_double(rand_of_keys), kind = g_rand_double(rand_of_keys);
  char key = letters[g_rand_int_range(rand_of_keys, 0, sizeof letters - 1)];
  double gap = (0.5 + g_rand_double(rand_of_keys)) * who->gap_ms;
  gsize length = ot_text_length(part->text());
  if (kind < 0.05)
    cursor = (gsize)(where * (double)(length + 1));
  cursor = MIN(cursor, length);
  gboolean deletes = kind >= 0.9 && cursor > 0;
  g_autoptr(OtOp) op = deletes ? ot_op_new_edit(cursor - 1, 1, "", 0) : ot_op_new_edit(cursor, 0, &key, 1);
  part->edit(op);
  cursor = deletes ? cursor - 1 : cursor + 1;
  next_key += (gint64)(gap * 1e6);
  changed_at = typed_at = clock_now_ns();
  to_type--;
}

/* ---- orders ---- */

static void
take_digest(const char *utf8, gsize bytes, gpointer checksum)
{
  g_checksum_update(checksum, (const guchar *)utf8, (gssize)bytes);
}

static void
fill_look(PaperLook *look)
{
  PaperMoved moved = part->moved();
  *look = (PaperLook){.settled = TRUE};
  part->look(look);
  look->settled = look->settled && to_type == 0;
  look->changed_at = changed_at;
  look->typed_at = typed_at;
  look->sent = moved.sent - moved_at.sent;
  look->received = moved.received - moved_at.received;
  look->messages_sent = moved.messages_sent - moved_at.messages_sent;
  look->messages_received = moved.messages_received - moved_at.messages_received;
  if (!part->text())
    return;
  g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
  gsize length = sizeof look->digest;
  ot_text_each(part->text(), take_digest, checksum);
  g_checksum_get_digest(checksum, look->digest, &length);
  look->length = ot_text_length(part->text());
}

static void
obey(const PaperOrder *order)
{
  switch (order->what) {
  case PAPER_LOOK:
    break;
  case PAPER_TYPE:
    begin_typing(order->value);
    break;
  case PAPER_BEGIN:
    moved_at = part->moved();
    cpu_at = cpu_seconds();
    cpu_of_orders = 0;
    CALLGRIND_ZERO_STATS;
    break;
  case PAPER_END:
    CALLGRIND_DUMP_STATS_AT("phase");
    break;
  default:
    part->obey(order);
  }
}

/* FALSE: there are no more orders. */
static gboolean
take_order(guint32 *what)
{
  PaperOrder order;
  PaperLook look;
  gssize got = recv(PAPER_CONTROL, &order, sizeof order, MSG_DONTWAIT);
  *what = PAPER_LOOK;
  if (got < 0 && (errno == EAGAIN || errno == EINTR))
    return TRUE;
  if (got != sizeof order)
    return FALSE;
  *what = order.what;
  obey(&order);
  CALLGRIND_TOGGLE_COLLECT;
  double done = cpu_seconds();
  fill_look(&look);
  look.cpu = MAX(done - cpu_at - cpu_of_orders, 0);
  gboolean sent = send(PAPER_CONTROL, &look, sizeof look, MSG_NOSIGNAL) == sizeof look;
  cpu_of_orders += cpu_seconds() - done;
  CALLGRIND_TOGGLE_COLLECT;
  return sent;
}

static guint
count_ready(const GArray *fds)
{
  guint ready = 0;
  for (guint i = 1; i < fds->len; i++)
    ready += g_array_index(fds, struct pollfd, i).revents != 0;
  return ready;
}

void
paper_work(const PaperWho *of)
{
  g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(struct pollfd));
  who = of;
  part = of->sporc || of->clone ? &paper_room : &paper_device;
  part->open(who);
  double looked = -1; /* since when this turn was the bench's alone */
  for (;;) {
    int timeout_ms = -1;
    struct pollfd control = {.fd = PAPER_CONTROL, .events = POLLIN};
    g_array_set_size(fds, 0);
    g_array_append_val(fds, control);
    part->prepare(fds, &timeout_ms);
    if (to_type > 0) {
      int left = clock_left_ms(next_key);
      timeout_ms = timeout_ms < 0 ? left : MIN(timeout_ms, left);
    }
    if (looked >= 0)
      cpu_of_orders = orders_before + cpu_seconds() - looked;
    looked = -1;
    double before = cpu_seconds();
    if (poll((struct pollfd *)fds->data, fds->len, timeout_ms) < 0 && errno != EINTR)
      paper_die(who, "poll", g_strerror(errno));
    if (g_array_index(fds, struct pollfd, 0).revents) {
      guint32 what;
      orders_before = cpu_of_orders;
      if (!take_order(&what))
        return;
      gboolean begins = what == PAPER_BEGIN;
      if ((begins || what == PAPER_LOOK || what == PAPER_END) && count_ready(fds) == 0) {
        looked = begins ? cpu_at : before;
        orders_before = begins ? 0 : orders_before;
        continue;
      }
    }
    while (to_type > 0 && clock_now_ns() >= next_key)
      type_key();
    part->work();
  }
}
