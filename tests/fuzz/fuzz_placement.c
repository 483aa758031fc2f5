/* What a policy keeps over runs, once its checksum is right: what is taken can be used, and is taken again
 * when it is packed. */
#include <math.h>

#include "input.h"
#include "policy/placement_private.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize length);

static void
use(PolicyPlacement *placement, PolicyFunction *function, Input *input)
{
  PolicyCall call = {.argument_count = POLICY_ARGUMENTS, .first = input_below(input, 2)};
  for (guint i = 0; i < POLICY_ARGUMENTS; i++)
    call.arguments[i] = input_number(input, 8);
  PolicyAnswer answer = policy_ask(placement, function, &call, input_below(input, 1000));
  if (isnan(answer.local_price) || isnan(answer.block_price) || isnan(policy_deadline(&answer)))
    __builtin_trap();
  g_autofree char *words = policy_words(placement, function, &answer);
  PolicyBlock block = {input_below(input, 100), input_below(input, 10) / 10.0, input_below(input, 10), 0,
                       input_number(input, 4),  input_number(input, 4),        input_below(input, 9)};
  if (input_below(input, 2))
    policy_ran_there(placement, function, &answer, &block);
  else
    policy_ran_here(placement, function, &answer, input_below(input, 100) / 1e3, 0);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  Input input = {data, length};
  gsize packed;
  PolicyAim aim = {.objective = POLICY_TIME};
  g_autoptr(PolicyPlacement) placement = policy_placement_new(&aim);
  g_autoptr(PolicyPlacement) again = policy_placement_new(&aim);
  const guint8 *bytes = input_blob(&input, &packed);
  if (!policy_placement_unpack_checked(placement, bytes, packed))
    return 0;
  policy_tracker_ping(policy_placement_tracker(placement), 0, 0.005);
  for (guint i = 0; i < policy_placement_count(placement) && input.left; i++)
    use(placement, policy_placement_nth(placement, i), &input);
  g_autoptr(GByteArray) bytes_again = policy_placement_pack(placement);
  if (!policy_placement_unpack(again, bytes_again->data, bytes_again->len))
    __builtin_trap();
  return 0;
}
