/* What a kernel tells of changes, of either kind, and its list of mounts: every read ends, within the bytes,
 * and with handles that fit. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "replica/tree_events.h"
#include "replica/tree_mounts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
demand(gboolean holds)
{
  if (!holds)
    abort();
}

static void
read_fanotify(const guint8 *bytes, gsize length)
{
  TreeFanotifyEvent event;
  TreeEventKind kind;
  for (gsize at = 0, before = 0;; before = at) {
    kind = tree_events_fanotify(bytes, length, &at, &event);
    demand(at <= length && (kind == TREE_EVENT_END) == (before == length));
    if (kind == TREE_EVENT_END)
      return;
    demand(at > before && event.length <= TREE_HANDLE_MAX);
  }
}

static void
read_inotify(const guint8 *bytes, gsize length)
{
  TreeInotifyEvent event;
  TreeEventKind kind;
  for (gsize at = 0, before = 0;; before = at) {
    kind = tree_events_inotify(bytes, length, &at, &event);
    demand(at <= length && (kind == TREE_EVENT_END) == (before == length));
    if (kind == TREE_EVENT_END)
      return;
    demand(at > before);
    demand(!event.name || (const guint8 *)event.name + strlen(event.name) < bytes + length);
  }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  g_autofree guint8 *bytes = g_memdup2(data, size); /* so that reading past the end is seen */
  g_autofree char *text = g_strndup((const char *)data, size);
  read_fanotify(bytes, size);
  read_inotify(bytes, size);
  g_autoptr(GPtrArray) mounts = tree_mounts_parse(text, "/home");
  for (guint i = 0; i < mounts->len; i++)
    demand(((const TreeMount *)mounts->pdata[i])->point[0] == '/');
  return 0;
}
