/* Limits of permissions: what is taken stays within what a process can be given. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "c2c/node_limits.h"
#include "c2c/node_store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
demand(gboolean holds)
{
  if (!holds)
    abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  g_autofree char *text = g_strndup((const char *)data, size);
  g_autoptr(GError) error = NULL;
  NodeLimits limits;
  gboolean good = node_limits_parse(text, &limits, &error);
  demand(good == (error == NULL));
  if (!good)
    return 0;
  demand(strlen(text) <= NODE_LIMITS_MAX && g_utf8_validate(text, -1, NULL));
  demand(limits.memory <= G_MAXINT64 && limits.seconds <= G_MAXINT32 && limits.streams <= G_MAXINT32);
  demand(node_limits_parse(text, NULL, NULL));
  return 0;
}
