/* Where the time of a block goes: samples of each part, and their medians. */
#include <string.h>

#include "controller/controller.h"

enum { SAMPLES_MAX = 4096 }; /* the newest are kept */

static const char *const names[SPLIT_PARTS] = {
    "stop", "capture", "send", "clone_apply", "clone_run", "clone_capture", "clone_send", "wire", "apply"};

/* What the clone says of its own time is taken as no more than the time it had. */
void
split_add(Function *function, const gint64 parts[SPLIT_PARTS])
{
  if (!function->split)
    function->split = g_array_new(FALSE, FALSE, sizeof(gint64) * SPLIT_PARTS);
  if (function->split->len < SAMPLES_MAX)
    g_array_append_vals(function->split, parts, 1);
  else
    memcpy(function->split->data + function->remote % SAMPLES_MAX * sizeof(gint64) * SPLIT_PARTS, parts,
           sizeof(gint64) * SPLIT_PARTS);
}

static gint
compare(gconstpointer a, gconstpointer b)
{
  gint64 x = *(const gint64 *)a, y = *(const gint64 *)b;
  return (x > y) - (x < y);
}

static double
median_us(const GArray *split, SplitPart part)
{
  g_autofree gint64 *values = g_new(gint64, split->len);
  const gint64(*samples)[SPLIT_PARTS] = (const void *)split->data;
  for (guint i = 0; i < split->len; i++)
    values[i] = samples[i][part];
  qsort(values, split->len, sizeof *values, compare);
  return values[split->len / 2] / 1e3;
}

void
split_json(GString *json, const Function *function)
{
  char number[G_ASCII_DTOSTR_BUF_SIZE];
  if (!function->split)
    return;
  g_string_append(json, ",\"split_us\":{");
  for (SplitPart part = 0; part < SPLIT_PARTS; part++)
    g_string_append_printf(json, "%s\"%s\":%s", part ? "," : "", names[part],
                           g_ascii_formatd(number, sizeof number, "%.3f", median_us(function->split, part)));
  g_string_append_c(json, '}');
}
