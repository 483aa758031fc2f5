#include <string.h>

#include "base/error.h"
#include "controller/run.h"

gboolean
run_without_parse(const char *list, guint32 *without, GError **error)
{
  static const char *const names[] = {"pull", "push", "known", "changes"};
  g_auto(GStrv) wanted = g_strsplit(list, ",", -1);
  *without = 0;
  for (char **name = wanted; *name; name++) {
    guint i = 0;
    while (i < G_N_ELEMENTS(names) && strcmp(*name, names[i]) != 0)
      i++;
    if (i == G_N_ELEMENTS(names))
      return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                              "--without takes a list of pull, push, known and changes, not '%s'", *name);
    *without |= 1u << i;
  }
  return TRUE;
}
