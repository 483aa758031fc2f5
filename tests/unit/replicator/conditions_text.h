/* Conditions as one line, for comparisons that can be read: "link wifi (NetworkManager), metered no (...)".
 * What is not known is left out. */
#pragma once

#include "replicator/conditions.h"

static inline char *
conditions_line(const Conditions *conditions)
{
  g_autoptr(GString) line = g_string_new(NULL);
  for (guint i = 0; i < CONDITIONS_COUNT; i++) {
    g_autofree char *value = conditions_value_text(conditions, i);
    if (conditions_get(conditions, i) >= 0)
      g_string_append_printf(line, "%s%s %s (%s)", line->len ? ", " : "", conditions_name(i), value,
                             conditions_source_name(conditions->facts[i].source));
  }
  return g_string_free(g_steal_pointer(&line), FALSE);
}
