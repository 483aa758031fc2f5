#include "plan/estimate.h"

#include <string.h>

/* ---- what is assumed ---- */

/* Work in instructions, so that it takes longer where these do. */
typedef struct {
  double up, down, round_trips;
  double device, clone;
} Assumed;

static const Assumed session = {16e3, 4e3, 6, 50e6, 300e6};

/* Of a function that was never observed. A short block's own bytes and work are what perl's formatting took,
 * call by call; a first one's are in the middle of perl's, sqlite3's and gzip's. The rest grows with what
 * runs in a block, since what was not executed was not written. */
static const Assumed block_itself = {3e3, 2e3, 1, 2.5e6, 2e6};
static const Assumed first_beyond = {200e3, 50e3, 10, 50e6, 130e6};
#define BYTES_AN_INSTRUCTION (1 / 64.0) /* each way */
#define BYTES_MOST           128e3      /* each way */
#define WORK_A_BYTE          30         /* to find it, to pack it, to put it in its place; on either side */

#define FACTOR_MOST  16.0 /* by how much an observed function of the program changes this for the others */
#define FAILURES_BAR 0.5

/* Of the C library, calls that are about something that only the device has. */
static const char *const pinned[] = {
    "accept",   "accept4",  "connect",    "epoll_pwait", "epoll_wait", "poll",   "ppoll",
    "pselect",  "recv",     "recvfrom",   "recvmmsg",    "recvmsg",    "select", "send",
    "sendmmsg", "sendmsg",  "sendto",     "tcgetattr",   "tcsetattr",  "ioctl",  "bind",
    "listen",   "shutdown", "getsockopt", "getpeername", "setsockopt", "socket",
};

/* What begins before the program does, or never returns: no block can. */
static const char *const never_returns[] = {
    "_start", "__libc_start_main", "__libc_start_call_main", "exit", "_exit", "_Exit", "abort",
};

typedef struct {
  const ProfileGraph *graph;
  const PlanSpeeds *speeds;
  PlanBlock *blocks;
  const ProfileObservation **observed; /* by index; NULL: not observed */
  double *pins, *failures;             /* of an outermost call */
  guint *arc_start, *arcs;             /* by caller */
} Estimate;

static PlanMoves
moves_of(const Assumed *assumed, const PlanSpeeds *speeds)
{
  return (PlanMoves){assumed->up, assumed->down, assumed->round_trips,
                     assumed->device * speeds->device.ns / 1e9, assumed->clone * speeds->clone.ns / 1e9};
}

PlanMoves
plan_session(const PlanSpeeds *speeds)
{
  return moves_of(&session, speeds);
}

static double
outermost(const ProfileFunction *function)
{
  return function->calls > function->nested ? (double)(function->calls - function->nested) : 0;
}

/* "name", or as the C library has it by other names: "__name", "__libc_name", "name@@VERSION". */
static gboolean
is_named(const char *name, const char *const *names, gsize count)
{
  if (!name)
    return FALSE;
  if (g_str_has_prefix(name, "__libc_") && !g_str_has_prefix(name, "__libc_start"))
    name += strlen("__libc_");
  for (gsize i = 0; i < count; i++)
    if (g_str_equal(name, names[i]) || (g_str_has_prefix(name, "__") && g_str_equal(name + 2, names[i])))
      return TRUE;
  return FALSE;
}

static gboolean
is_file(const ProfileGraph *graph, const ProfileFunction *function, const char *prefix)
{
  const ProfileObject *object = graph->objects->pdata[function->object];
  const char *slash = strrchr(object->path, '/');
  return g_str_has_prefix(slash ? slash + 1 : object->path, prefix);
}

static gboolean
is_pinned(const ProfileGraph *graph, const ProfileFunction *function)
{
  return is_named(function->name, pinned, G_N_ELEMENTS(pinned)) && is_file(graph, function, "libc.so");
}

static const char *
why_barred(const Estimate *estimate, guint index)
{
  const ProfileFunction *function = profile_graph_function(estimate->graph, index);
  if (outermost(function) == 0)
    return "it was never called from outside itself";
  if (is_named(function->name, never_returns, G_N_ELEMENTS(never_returns)) ||
      is_file(estimate->graph, function, "ld-linux"))
    return "it starts or ends the program";
  if (estimate->failures[index] >= FAILURES_BAR)
    return estimate->observed[index] ? "blocks of it failed" : "blocks of what it calls failed";
  return NULL;
}

/* ---- what is below ---- */

static void
index_arcs(Estimate *estimate)
{
  const GArray *arcs = estimate->graph->arcs;
  guint n = estimate->graph->functions->len;
  estimate->arc_start = g_new0(guint, n + 2);
  estimate->arcs = g_new(guint, arcs->len + 1);
  /* Shifted by one, so that filling moves each start to where it belongs. */
  for (guint i = 0; i < arcs->len; i++)
    estimate->arc_start[g_array_index(arcs, ProfileArc, i).caller + 2]++;
  for (guint v = 2; v < n + 2; v++)
    estimate->arc_start[v] += estimate->arc_start[v - 1];
  for (guint i = 0; i < arcs->len; i++)
    estimate->arcs[estimate->arc_start[g_array_index(arcs, ProfileArc, i).caller + 1]++] = i;
}

/* Functions with callees first, but for cycles. */
static guint *
callees_first(const Estimate *estimate)
{
  guint n = estimate->graph->functions->len, found = 0;
  guint *order = g_new(guint, n + 1);
  g_autofree guint *next = g_new0(guint, n + 1);
  g_autofree guint8 *seen = g_new0(guint8, n + 1);
  g_autoptr(GArray) path = g_array_new(FALSE, FALSE, sizeof(guint));
  for (guint root = 0; root < n; root++) {
    if (seen[root])
      continue;
    seen[root] = TRUE;
    g_array_append_val(path, root);
    while (path->len > 0) {
      guint v = g_array_index(path, guint, path->len - 1);
      guint at = estimate->arc_start[v] + next[v]++;
      if (at >= estimate->arc_start[v + 1]) {
        order[found++] = v;
        g_array_set_size(path, path->len - 1);
        continue;
      }
      guint callee = g_array_index(estimate->graph->arcs, ProfileArc, estimate->arcs[at]).callee;
      if (!seen[callee]) {
        seen[callee] = TRUE;
        g_array_append_val(path, callee);
      }
    }
  }
  return order;
}

/* What an outermost call of v has of `each` by those that it calls. */
static double
sum_below(const Estimate *estimate, guint v, const double *each, double most)
{
  double sum = 0, calls = outermost(profile_graph_function(estimate->graph, v));
  for (guint at = estimate->arc_start[v]; calls > 0 && at < estimate->arc_start[v + 1]; at++) {
    const ProfileArc *arc = &g_array_index(estimate->graph->arcs, ProfileArc, estimate->arcs[at]);
    if (arc->callee != v && arc->calls > arc->nested)
      sum += (double)(arc->calls - arc->nested) / calls * each[arc->callee];
  }
  return MIN(sum, most);
}

#define PINS_MOST 1e9
#define ROUNDS    4 /* of cycles: what is called within one is mostly nested, and not counted again */

static void
carry_up(Estimate *estimate)
{
  g_autofree guint *order = callees_first(estimate);
  guint n = estimate->graph->functions->len;
  for (guint round = 0; round < ROUNDS; round++)
    for (guint i = 0; i < n; i++) {
      guint v = order[i];
      if (estimate->observed[v] || is_pinned(estimate->graph, profile_graph_function(estimate->graph, v)))
        continue;
      estimate->pins[v] = sum_below(estimate, v, estimate->pins, PINS_MOST);
      estimate->failures[v] = sum_below(estimate, v, estimate->failures, 1);
    }
}

/* ---- what was seen ---- */

static PlanMoves
mean_of(const ProfileBlocks *blocks)
{
  double n = (double)MAX(blocks->blocks, 1);
  return (PlanMoves){blocks->bytes_out / n, blocks->bytes_in / n, 1 + blocks->round_trips / n,
                     blocks->device_ns / n / 1e9, blocks->clone_ns / n / 1e9};
}

static PlanMoves
beyond(const PlanMoves *more, const PlanMoves *less)
{
  return (PlanMoves){MAX(0, more->up - less->up), MAX(0, more->down - less->down),
                     MAX(0, more->round_trips - less->round_trips), MAX(0, more->device_s - less->device_s),
                     MAX(0, more->clone_s - less->clone_s)};
}

/* Where no block but first ones was seen, a later one is as a first one without the session's start. */
static void
use_observation(PlanBlock *block, const ProfileObservation *seen, const PlanSpeeds *speeds)
{
  PlanMoves first = mean_of(&seen->first), start = plan_session(speeds);
  PlanMoves settled = beyond(&first, &start);
  settled.round_trips = MAX(1, settled.round_trips);
  block->observed = TRUE;
  block->later = seen->later.blocks > 0 ? mean_of(&seen->later) : settled;
  if (seen->first.blocks > 0)
    block->first = beyond(&settled, &block->later);
}

static PlanMoves
assume(double instructions, double factor, const PlanSpeeds *speeds)
{
  double more = MIN(instructions * BYTES_AN_INSTRUCTION, BYTES_MOST);
  Assumed assumed = block_itself;
  assumed.up = (assumed.up + more) * factor;
  assumed.down = (assumed.down + more) * factor;
  assumed.device += (assumed.up + assumed.down) * WORK_A_BYTE;
  assumed.clone += (assumed.up + assumed.down) * WORK_A_BYTE;
  return moves_of(&assumed, speeds);
}

/* How far the assumption is off where it can be held against something. */
static double
factor_of(const Estimate *estimate)
{
  double seen = 0, assumed = 0;
  for (guint v = 0; v < estimate->graph->functions->len; v++) {
    const PlanBlock *block = &estimate->blocks[v];
    if (!block->observed)
      continue;
    PlanMoves guess = assume(block->instructions, 1, estimate->speeds);
    seen += block->later.up + block->later.down;
    assumed += guess.up + guess.down;
  }
  return seen > 0 && assumed > 0 ? CLAMP(seen / assumed, 1 / FACTOR_MOST, FACTOR_MOST) : 1;
}

static void
take_observations(Estimate *estimate, const ProfileObserved *observed)
{
  for (guint i = 0; observed && i < observed->functions->len; i++) {
    const ProfileFunction *place = profile_graph_function(observed->places, i);
    const ProfileObservation *seen = &g_array_index(observed->functions, ProfileObservation, i);
    guint v;
    if (!profile_graph_find(estimate->graph, observed->places->objects->pdata[place->object], place->offset,
                            &v))
      continue;
    double blocks = (double)seen->first.blocks + (double)seen->later.blocks;
    estimate->blocks[v].no_local = seen->out_of_memory > 0;
    if (blocks == 0 && seen->failed == 0)
      continue;
    estimate->observed[v] = seen;
    estimate->pins[v] = blocks > 0 ? seen->forwarded / blocks : 0;
    estimate->failures[v] = blocks > 0 ? MIN(seen->failed / blocks, 1) : 1;
    if (blocks > 0)
      use_observation(&estimate->blocks[v], seen, estimate->speeds);
  }
}

PlanBlock *
plan_estimate(const ProfileGraph *graph, const ProfileObserved *observed, const PlanSpeeds *speeds)
{
  guint n = graph->functions->len;
  g_autofree double *pins = g_new0(double, n + 1), *failures = g_new0(double, n + 1);
  g_autofree const ProfileObservation **seen = g_new0(const ProfileObservation *, n + 1);
  Estimate estimate = {graph, speeds, g_new0(PlanBlock, n + 1), seen, pins, failures};
  index_arcs(&estimate);
  for (guint v = 0; v < n; v++) {
    const ProfileFunction *function = profile_graph_function(graph, v);
    double calls = outermost(function);
    estimate.blocks[v].instructions = calls > 0 ? function->inclusive / calls : 0;
    pins[v] = is_pinned(graph, function);
  }
  take_observations(&estimate, observed);
  carry_up(&estimate);
  double factor = factor_of(&estimate);
  for (guint v = 0; v < n; v++) {
    PlanBlock *block = &estimate.blocks[v];
    block->failures = failures[v];
    block->barred = why_barred(&estimate, v);
    if (block->observed)
      continue;
    block->later = assume(block->instructions, factor, speeds);
    block->later.round_trips += pins[v];
    block->first = moves_of(&first_beyond, speeds);
  }
  g_free(estimate.arc_start);
  g_free(estimate.arcs);
  return estimate.blocks;
}
