/* What --stats says of checkpoints. */
#include <stdio.h>
#include <stdlib.h>

#include "controller/checkpoints.h"

static int
by_time(gconstpointer a, gconstpointer b)
{
  gint64 left = *(const gint64 *)a, right = *(const gint64 *)b;
  return (left > right) - (left < right);
}

/* Milliseconds below which that share of them is. */
static double
share_ms(const GArray *times, guint percent)
{
  if (!times->len)
    return 0;
  g_autoptr(GArray) sorted = g_array_copy((GArray *)times);
  g_array_sort(sorted, by_time);
  guint index = (times->len * percent + 99) / 100;
  return (double)g_array_index(sorted, gint64, CLAMP(index, 1, times->len) - 1) / 1e6;
}

static guint64
sum_sizes(const Checkpoints *checkpoints)
{
  guint64 sum = 0;
  for (guint i = 0; i < checkpoints->sizes->len; i++)
    sum += g_array_index(checkpoints->sizes, guint64, i);
  return sum;
}

static void
append_ms(GString *json, const char *name, double ms)
{
  char text[G_ASCII_DTOSTR_BUF_SIZE];
  g_string_append_printf(json, ",\"%s\":%s", name, g_ascii_formatd(text, sizeof text, "%.3f", ms));
}

void
checkpoints_json(GString *json, const Controller *controller)
{
  const Checkpoints *checkpoints = controller->checkpoints;
  if (!checkpoints)
    return;
  g_string_append_printf(json,
                         ",\"checkpoints\":{\"kept\":%u,\"failed\":%" G_GUINT64_FORMAT
                         ",\"bytes\":%" G_GUINT64_FORMAT ",\"sizes\":[",
                         checkpoints->sizes->len, checkpoints->failed, sum_sizes(checkpoints));
  for (guint i = 0; i < checkpoints->sizes->len; i++)
    g_string_append_printf(json, "%s%" G_GUINT64_FORMAT, i ? "," : "",
                           g_array_index(checkpoints->sizes, guint64, i));
  g_string_append_printf(json, "],\"pauses\":%u", checkpoints->pauses->len);
  append_ms(json, "pause_p50_ms", share_ms(checkpoints->pauses, 50));
  append_ms(json, "pause_p99_ms", share_ms(checkpoints->pauses, 99));
  append_ms(json, "pause_max_ms", share_ms(checkpoints->pauses, 100));
  append_ms(json, "copying_p50_ms", share_ms(checkpoints->copying, 50));
  append_ms(json, "copying_max_ms", share_ms(checkpoints->copying, 100));
  g_string_append_c(json, '}');
}

void
checkpoints_table(const Controller *controller)
{
  const Checkpoints *checkpoints = controller->checkpoints;
  if (!checkpoints)
    return;
  g_autofree char *all = g_format_size(sum_sizes(checkpoints));
  g_autofree char *last = g_format_size(
      checkpoints->sizes->len ? g_array_index(checkpoints->sizes, guint64, checkpoints->sizes->len - 1) : 0);
  fprintf(stderr,
          "\ncheckpoints: %u kept (%s in all, the last one %s), %" G_GUINT64_FORMAT " not\n"
          "the program stood still %u times: median %.1f ms, 99th percentile %.1f ms, longest %.1f ms\n"
          "copied beforehand, while it ran: median %.0f ms, longest %.0f ms\n",
          checkpoints->sizes->len, all, last, checkpoints->failed, checkpoints->pauses->len,
          share_ms(checkpoints->pauses, 50), share_ms(checkpoints->pauses, 99),
          share_ms(checkpoints->pauses, 100), share_ms(checkpoints->copying, 50),
          share_ms(checkpoints->copying, 100));
}
