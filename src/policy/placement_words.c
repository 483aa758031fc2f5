/* A decision in words, with the numbers that it came from. */
#include <math.h>

#include "policy/placement_private.h"

static const struct {
  const char *word, *remote, *local;
} whys[] = {
    [POLICY_UNSEEN] = {"unseen", NULL, "on the device: too little is known of it yet"},
    [POLICY_LINK_UNSEEN] = {"link-unseen", NULL, "on the device: nothing is known of the link yet"},
    [POLICY_CHEAPER] = {"cheaper", "in the clone", "on the device"},
    [POLICY_TRY] = {"try", "in the clone, to see what it takes there",
                    "on the device, to see what it takes here"},
    [POLICY_NO_LINK] = {"no-link", NULL, "on the device: there is no way to the clone"},
    [POLICY_MEMORY] = {"memory", "in the clone: the device has not the memory for it", NULL},
    [POLICY_MEMORY_CUT] = {"memory-no-link", NULL,
                           "on the device, whose memory is too small: there is no way to the clone"},
    [POLICY_FAILS] = {"fails", NULL, "on the device: its last block failed"},
    [POLICY_NOT_YET] = {"not-yet", NULL, "on the device: making a mirror is not worth it yet"},
};

const char *
policy_why_word(PolicyWhy why)
{
  return whys[why].word;
}

static void
add_seconds(GString *words, double seconds)
{
  if (!isfinite(seconds))
    g_string_append(words, "endless");
  else if (seconds < 1e-3)
    g_string_append_printf(words, "%.0f us", seconds * 1e6);
  else if (seconds < 1)
    g_string_append_printf(words, "%.1f ms", seconds * 1e3);
  else
    g_string_append_printf(words, "%.2f s", seconds);
}

static void
add_bytes(GString *words, double bytes)
{
  g_autofree char *size = g_format_size((guint64)round(CLAMP(bytes, 0, 1e18)));
  g_string_append(words, size);
}

/* What the objective counts, where that is not the time itself. */
static void
add_price(GString *words, PolicyObjective objective, double price)
{
  if (objective != POLICY_TIME && isfinite(price))
    g_string_append_printf(words, " and %.3g %s", price, policy_objective_unit(objective));
}

static void
add_block(GString *words, const PolicyPlacement *placement, const PolicyFunction *function,
          const PolicyAnswer *answer)
{
  const PolicyCost *block = &answer->block;
  add_seconds(words, block->seconds);
  add_price(words, placement->aim.objective, answer->block_price + answer->first_price);
  g_string_append(words, " there (");
  guint64 seen =
      policy_model_block_count(function->model, FALSE) + policy_model_block_count(function->model, TRUE);
  if (seen)
    g_string_append_printf(words, "%" G_GUINT64_FORMAT " blocks", seen);
  else
    g_string_append(words, "never seen");
  if (answer->call.first)
    g_string_append(words, ", this would be the first of a session");
  g_string_append(words, "; device ");
  add_seconds(words, block->processor_s);
  g_string_append(words, ", clone ");
  add_seconds(words, block->clone_s);
  if (answer->conditions.linked) {
    g_string_append(words, ", link ");
    add_seconds(words,
                policy_conditions_seconds(&answer->conditions, block->round_trips, block->up, block->down));
    g_string_append_printf(words, " for %.0f round trips, ", block->round_trips);
    add_bytes(words, block->up);
    g_string_append(words, " up, ");
    add_bytes(words, block->down);
    g_string_append(words, " down");
  }
  g_string_append_c(words, ')');
}

char *
policy_words(const PolicyPlacement *placement, const PolicyFunction *function, const PolicyAnswer *answer)
{
  g_autoptr(GString) words =
      g_string_new(answer->remote ? whys[answer->why].remote : whys[answer->why].local);
  g_autofree char *link = policy_conditions_words(&answer->conditions);
  if (answer->local_known) {
    g_string_append(words, "; ");
    if (answer->block_known) {
      add_block(words, placement, function, answer);
      g_string_append(words, " against ");
    }
    add_seconds(words, answer->local.seconds);
    add_price(words, placement->aim.objective, answer->local_price);
    g_string_append_printf(words, " here (%" G_GUINT64_FORMAT " calls)",
                           policy_model_local_count(function->model));
  }
  if (answer->why == POLICY_NOT_YET)
    g_string_append_printf(words, "; %.0f calls are likely to follow", answer->calls_ahead);
  g_string_append_printf(words, "; %s", link);
  return g_string_free(g_steal_pointer(&words), FALSE);
}
