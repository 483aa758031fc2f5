#include "replica/tree_events.h"

#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>

/* linux/fanotify.h: struct fanotify_event_info_fid up to the handle's bytes. */
enum { INFO_HEADER = 4, INFO_FSID = 8, INFO_HANDLE = 8 };

static guint32
number_at(const guint8 *bytes)
{
  guint32 number;
  memcpy(&number, bytes, sizeof number);
  return number;
}

/* A record of an event, `length` bytes of it. FALSE: it names no directory. */
static gboolean
take_info(const guint8 *info, gsize length, TreeFanotifyEvent *event)
{
  const guint8 *handle = info + INFO_HEADER + INFO_FSID;
  if (length < INFO_HEADER + INFO_FSID + INFO_HANDLE)
    return FALSE;
  event->length = number_at(handle);
  event->type = (gint32)number_at(handle + 4);
  if (event->length > TREE_HANDLE_MAX || event->length > length - INFO_HEADER - INFO_FSID - INFO_HANDLE)
    return FALSE;
  memcpy(&event->fsid, info + INFO_HEADER, sizeof event->fsid);
  memcpy(event->handle, handle + INFO_HANDLE, event->length);
  return TRUE;
}

TreeEventKind
tree_events_fanotify(const guint8 *bytes, gsize length, gsize *at, TreeFanotifyEvent *event)
{
  struct fanotify_event_metadata head;
  gsize left = length - *at;
  *event = (TreeFanotifyEvent){0};
  if (left == 0)
    return TREE_EVENT_END;
  const guint8 *begin = bytes + *at;
  if (left >= sizeof head)
    memcpy(&head, begin, sizeof head);
  if (left < sizeof head || head.event_len < sizeof head || head.event_len > left ||
      head.metadata_len < sizeof head || head.metadata_len > head.event_len ||
      head.vers != FANOTIFY_METADATA_VERSION) {
    *at = length;
    return TREE_EVENT_LOST;
  }
  *at += head.event_len;
  if (head.mask & FAN_Q_OVERFLOW)
    return TREE_EVENT_LOST;
  for (gsize record = head.metadata_len; head.event_len - record >= INFO_HEADER;) {
    guint16 size;
    memcpy(&size, begin + record + 2, sizeof size);
    if (size < INFO_HEADER || size > head.event_len - record)
      break;
    guint8 type = begin[record];
    if ((type == FAN_EVENT_INFO_TYPE_DFID || type == FAN_EVENT_INFO_TYPE_FID) &&
        take_info(begin + record, size, event))
      return TREE_EVENT_CHANGED;
    record += size;
  }
  return TREE_EVENT_LOST;
}

TreeEventKind
tree_events_inotify(const guint8 *bytes, gsize length, gsize *at, TreeInotifyEvent *event)
{
  struct inotify_event head;
  gsize left = length - *at;
  *event = (TreeInotifyEvent){0};
  if (left == 0)
    return TREE_EVENT_END;
  if (left >= sizeof head)
    memcpy(&head, bytes + *at, sizeof head);
  if (left < sizeof head || head.len > left - sizeof head) {
    *at = length;
    return TREE_EVENT_LOST;
  }
  const char *name = (const char *)bytes + *at + sizeof head;
  *at += sizeof head + head.len;
  if (head.mask & IN_Q_OVERFLOW)
    return TREE_EVENT_LOST;
  if (head.len && !memchr(name, 0, head.len))
    return TREE_EVENT_LOST;
  *event = (TreeInotifyEvent){
      .watch = head.wd, .mask = head.mask, .cookie = head.cookie, .name = head.len && *name ? name : NULL};
  return TREE_EVENT_CHANGED;
}
