#include "cmd/checkpoint_words.h"

#include <string.h>

#include "base/error.h"
#include "cmd/clone_where.h"
#include "replicator/pace.h"

enum { TIME_LEAST_MS = 100, DAY_MS = 86400000 };

gboolean
checkpoint_words_time(const char *text, int *ms, GError **error)
{
  static const struct {
    const char *name;
    double ms;
  } units[] = {{"ms", 1}, {"s", 1000}, {"", 1000}, {"m", 60000}, {"min", 60000}, {"h", 3600000}};
  char *end;
  double value = g_ascii_isdigit(*text) ? g_ascii_strtod(text, &end) : 0;
  for (guint i = 0; value > 0 && i < G_N_ELEMENTS(units); i++)
    if (strcmp(end, units[i].name) == 0 && value * units[i].ms >= TIME_LEAST_MS &&
        value * units[i].ms <= DAY_MS) {
      *ms = (int)(value * units[i].ms);
      return TRUE;
    }
  return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                          "\"%s\" is no time between checkpoints: say 60s, 5m or 1h (100ms to 24h)", text);
}

gboolean
checkpoint_words_options(const char *time, const char *rate, gboolean keep, RunOptions *options,
                         GError **error)
{
  if (!time)
    return (!rate && !keep) ||
           doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "--checkpoint-rate and --keep-checkpoints are for --checkpoint");
  if (options->functions || options->whole || options->lazy_return || options->trace)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "--checkpoint is for a program that runs on this device: -f, --whole and "
                            "--lazy-return do not go with it");
  if (options->clone && strcmp(options->clone, "local") == 0)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "a checkpoint outlives this device in a clone on another machine: name a paired "
                            "one with --clone");
  options->keep_checkpoints = keep;
  return checkpoint_words_time(time, &options->checkpoint_ms, error) &&
         (!rate || pace_parse(rate, &options->checkpoint_rate, error));
}

CheckpointClient *
checkpoint_words_open(const char *verb, const char *clone, GError **error)
{
  clone_where_check(verb, clone);
  return checkpoint_client_open(clone, error);
}

char *
checkpoint_words_command(const CheckpointChain *chain)
{
  GString *text = g_string_new(NULL);
  for (gsize i = 0; i < chain->n_argument; i++) {
    g_autofree char *word = g_strndup((const char *)chain->argument[i].data, chain->argument[i].len);
    g_string_append_printf(text, "%s%s", i ? " " : "", word);
  }
  return g_string_free(text, FALSE);
}
