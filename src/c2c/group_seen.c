#include "c2c/group_seen.h"

#include <string.h>

GroupNews
group_seen_look(GArray *window, guint64 sequence, guint64 now_us)
{
  if ((now_us > GROUP_AGE_US && sequence < now_us - GROUP_AGE_US) || sequence > now_us + GROUP_AHEAD_US)
    return GROUP_STALE;
  guint at = window->len;
  while (at > 0 && g_array_index(window, guint64, at - 1) > sequence)
    at--;
  if (at > 0 && g_array_index(window, guint64, at - 1) == sequence)
    return GROUP_KNOWN;
  if (window->len >= GROUP_SEEN) {
    if (at == 0)
      return GROUP_STALE;
    g_array_remove_index(window, 0);
    at--;
  }
  g_array_insert_val(window, at, sequence);
  return GROUP_NEW;
}

GArray *
group_seen_load(const void *data, gsize length)
{
  GArray *window = g_array_new(FALSE, FALSE, sizeof(guint64));
  gsize count = length / sizeof(guint64);
  if (length % sizeof(guint64) != 0 || count > GROUP_SEEN)
    return window;
  for (gsize i = 0; i < count; i++) {
    guint64 raw;
    memcpy(&raw, (const guint8 *)data + i * sizeof raw, sizeof raw);
    guint64 number = GUINT64_FROM_LE(raw);
    if (i > 0 && number <= g_array_index(window, guint64, i - 1)) {
      g_array_set_size(window, 0);
      break;
    }
    g_array_append_val(window, number);
  }
  return window;
}

GBytes *
group_seen_save(const GArray *window)
{
  guint64 *raw = g_new(guint64, window->len + 1);
  for (guint i = 0; i < window->len; i++)
    raw[i] = GUINT64_TO_LE(g_array_index(window, guint64, i));
  return g_bytes_new_take(raw, window->len * sizeof *raw);
}
