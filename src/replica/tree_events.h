/* What a kernel says of changes of files, as it lies in the bytes of a read(2): fanotify(7) with
 * FAN_REPORT_DIR_FID, and inotify(7). Bytes that are no such events are an event of their own: what they
 * should have told is lost. */
#pragma once

#include <glib.h>

typedef enum {
  TREE_EVENT_END,     /* there is no more */
  TREE_EVENT_CHANGED, /* something in a directory, or the directory itself */
  TREE_EVENT_LOST,    /* events were dropped, or cannot be understood */
} TreeEventKind;

#define TREE_HANDLE_MAX 128u /* bytes of a handle: MAX_HANDLE_SZ of name_to_handle_at(2) */

/* Where something has changed: the directory's handle (name_to_handle_at(2)) on the file system with this
 * f_fsid (statfs(2)). */
typedef struct {
  guint64 fsid;
  gint32 type;
  guint32 length;
  guint8 handle[TREE_HANDLE_MAX];
} TreeFanotifyEvent;

/* The event at *at, which moves behind it. */
TreeEventKind tree_events_fanotify(const guint8 *bytes, gsize length, gsize *at, TreeFanotifyEvent *event);

typedef struct {
  int watch;
  guint32 mask, cookie;
  const char *name; /* in the bytes; NULL: of the directory itself */
} TreeInotifyEvent;

TreeEventKind tree_events_inotify(const guint8 *bytes, gsize length, gsize *at, TreeInotifyEvent *event);
