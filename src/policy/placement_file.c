/* What a placement knows, as bytes: magic, checksum, numbers, functions. Only speed depends on it. */
#include <math.h>
#include <string.h>

#include "policy/placement_private.h"

#define MAGIC "doppelP1"
enum { CHECKSUM = 32, HEAD = 8 + CHECKSUM, NAME_MOST = 1024 };

/* ---- packing ---- */

static void
put_number(GByteArray *into, guint32 number)
{
  number = GUINT32_TO_LE(number);
  g_byte_array_append(into, (const guint8 *)&number, sizeof number);
}

static void
end_run(PolicyPlacement *placement)
{
  gboolean used = FALSE;
  for (guint i = 0; i < placement->functions->len; i++) {
    PolicyFunction *function = placement->functions->pdata[i];
    if (!function->calls)
      continue;
    used = TRUE;
    learner_usual_learn(&function->run_calls, log((double)function->calls));
    function->used = MIN(placement->runs + 1, 1e6);
    function->calls = function->looked = function->rests_until = 0;
    function->failures = 0;
  }
  placement->runs = MIN(placement->runs + used, 1e6);
  placement->regret = placement->block_ended_s = 0;
  /* Older runs count less, so that what was lost long ago is forgotten with what was spent then. */
  for (guint i = 0; i < POLICY_OBJECTIVES; i++)
    while (placement->spent[i] > 1e6 || placement->lost[i] > 1e6) {
      placement->spent[i] /= 2;
      placement->lost[i] /= 2;
    }
}

static gint
compare_used(gconstpointer a, gconstpointer b)
{
  const PolicyFunction *x = *(PolicyFunction *const *)a, *y = *(PolicyFunction *const *)b;
  return (x->used < y->used) - (x->used > y->used);
}

static void
pack_function(const PolicyFunction *function, GByteArray *into)
{
  double numbers[] = {function->run_calls.mean, function->run_calls.count, function->run_calls.error,
                      function->used, MIN(function->memory_need, 1e12) / 1e6};
  guint length = MIN(strlen(function->name), NAME_MOST);
  put_number(into, length);
  g_byte_array_append(into, (const guint8 *)function->name, length);
  learner_pack(numbers, G_N_ELEMENTS(numbers), into);
  policy_model_pack(function->model, into);
}

static void
pack_links(const PolicyTracker *tracker, GByteArray *into)
{
  for (guint i = 0; i < POLICY_PROFILES; i++) {
    const PolicyConditions *known = &tracker->known[i];
    gboolean any = known->round_trip_s > 0;
    double numbers[] = {any ? log(known->round_trip_s) : 0, any ? log(known->up) : 0,
                        any ? log(known->down) : 0, any ? known->radio + 1 : 0};
    learner_pack(numbers, G_N_ELEMENTS(numbers), into);
  }
}

GByteArray *
policy_placement_pack(PolicyPlacement *placement)
{
  GByteArray *into = g_byte_array_new();
  guint8 empty[CHECKSUM] = {0};
  end_run(placement);
  g_byte_array_append(into, (const guint8 *)MAGIC, 8);
  g_byte_array_append(into, empty, CHECKSUM);
  double numbers[] = {placement->runs,        placement->speed.mean, placement->speed.count,
                      placement->speed.error, placement->state.mean, placement->state.count,
                      placement->state.error};
  learner_pack(numbers, G_N_ELEMENTS(numbers), into);
  learner_pack(placement->spent, POLICY_OBJECTIVES, into);
  learner_pack(placement->lost, POLICY_OBJECTIVES, into);
  pack_links(&placement->tracker, into);
  g_autoptr(GPtrArray) functions = g_ptr_array_new();
  for (guint i = 0; i < placement->functions->len; i++)
    g_ptr_array_add(functions, placement->functions->pdata[i]);
  g_ptr_array_sort(functions, compare_used);
  guint count = MIN(functions->len, POLICY_FUNCTIONS);
  put_number(into, count);
  for (guint i = 0; i < count; i++)
    pack_function(functions->pdata[i], into);
  gsize length = CHECKSUM;
  g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
  g_checksum_update(checksum, into->data + HEAD, into->len - HEAD);
  g_checksum_get_digest(checksum, into->data + 8, &length);
  return into;
}

/* ---- and back ---- */

typedef struct {
  const guint8 *at, *end;
} Reader;

static gboolean
get_number(Reader *reader, guint32 most, guint32 *number)
{
  if (reader->end - reader->at < 4)
    return FALSE;
  memcpy(number, reader->at, 4);
  reader->at += 4;
  *number = GUINT32_FROM_LE(*number);
  return *number <= most;
}

static gboolean
get_numbers(Reader *reader, double *numbers, gsize count)
{
  return learner_unpack(numbers, count, &reader->at, reader->end);
}

static gboolean
is_amount(double number)
{
  return number >= 0 && number <= 1e6;
}

static gboolean
unpack_links(PolicyTracker *tracker, Reader *reader)
{
  for (guint i = 0; i < POLICY_PROFILES; i++) {
    double numbers[4];
    if (!get_numbers(reader, numbers, 4) || numbers[3] < 0 || numbers[3] > ENERGY_RADIO_KINDS ||
        fabs(numbers[0]) > 14 || fabs(numbers[1]) > 28 || fabs(numbers[2]) > 28)
      return FALSE;
    if (numbers[3] >= 1)
      tracker->known[i] = (PolicyConditions){TRUE,
                                             exp(numbers[0]),
                                             exp(numbers[1]),
                                             exp(numbers[2]),
                                             (EnergyRadioKind)(numbers[3] - 1),
                                             .battery = POLICY_BATTERY_UNKNOWN};
  }
  return TRUE;
}

static gboolean
unpack_function(PolicyPlacement *placement, Reader *reader)
{
  guint32 length;
  double numbers[5];
  gsize used;
  if (!get_number(reader, NAME_MOST, &length) || reader->end - reader->at < length)
    return FALSE;
  g_autofree char *name = g_strndup((const char *)reader->at, length);
  reader->at += length;
  LearnerUsual *calls = (LearnerUsual *)numbers;
  if (!get_numbers(reader, numbers, 5) || !learner_usual_check(calls) || !is_amount(numbers[3]) ||
      !is_amount(numbers[4]) || g_hash_table_contains(placement->by_name, name))
    return FALSE;
  g_autoptr(PolicyModel) model = policy_model_unpack(reader->at, reader->end - reader->at, &used);
  if (!model)
    return FALSE;
  reader->at += used;
  PolicyFunction *function = policy_function_add(placement, name);
  policy_model_free(function->model);
  function->model = g_steal_pointer(&model);
  function->run_calls = *calls;
  function->used = numbers[3];
  function->memory_need = numbers[4] * 1e6;
  return TRUE;
}

static gboolean
unpack(PolicyPlacement *placement, Reader *reader)
{
  double numbers[7];
  guint32 count;
  if (!get_numbers(reader, numbers, 7) || !is_amount(numbers[0]) ||
      !learner_usual_check((LearnerUsual *)(numbers + 1)) ||
      !learner_usual_check((LearnerUsual *)(numbers + 4)) ||
      !get_numbers(reader, placement->spent, POLICY_OBJECTIVES) ||
      !get_numbers(reader, placement->lost, POLICY_OBJECTIVES))
    return FALSE;
  for (guint i = 0; i < POLICY_OBJECTIVES; i++)
    if (!is_amount(placement->spent[i]) || !is_amount(placement->lost[i]))
      return FALSE;
  placement->runs = numbers[0];
  placement->speed = *(LearnerUsual *)(numbers + 1);
  placement->state = *(LearnerUsual *)(numbers + 4);
  if (!unpack_links(&placement->tracker, reader) || !get_number(reader, POLICY_FUNCTIONS, &count))
    return FALSE;
  for (; count > 0; count--)
    if (!unpack_function(placement, reader))
      return FALSE;
  return reader->at == reader->end;
}

static gboolean
is_whole(const guint8 *bytes, gsize length)
{
  guint8 digest[CHECKSUM];
  gsize digest_length = CHECKSUM;
  if (length < HEAD || memcmp(bytes, MAGIC, 8) != 0)
    return FALSE;
  g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
  g_checksum_update(checksum, bytes + HEAD, length - HEAD);
  g_checksum_get_digest(checksum, digest, &digest_length);
  return memcmp(bytes + 8, digest, CHECKSUM) == 0;
}

gboolean
policy_placement_unpack_checked(PolicyPlacement *placement, const guint8 *bytes, gsize length)
{
  g_autoptr(PolicyPlacement) fresh = policy_placement_new(&placement->aim);
  Reader reader = {bytes, bytes + length};
  g_assert(placement->functions->len == 0);
  if (!unpack(fresh, &reader))
    return FALSE;
  PolicyTracker tracker = placement->tracker;
  memcpy(tracker.known, fresh->tracker.known, sizeof tracker.known);
  PolicyPlacement old = *placement;
  *placement = *fresh;
  placement->tracker = tracker;
  *fresh = old;
  return TRUE;
}

gboolean
policy_placement_unpack(PolicyPlacement *placement, const guint8 *bytes, gsize length)
{
  return is_whole(bytes, length) && policy_placement_unpack_checked(placement, bytes + HEAD, length - HEAD);
}
