/* What of a run is drawn into its trace (`doppel trace`), and when. Without a trace each of these returns at
 * once. */
#pragma once

#include "controller/trace.h"
#include "wire/engine.pb-c.h"

struct Controller;

typedef struct {
  Trace *trace;                            /* NULL: nothing is drawn */
  gint64 here_since_ns;                    /* since when the program runs on the device; 0: it does not */
  gint64 dialled_ns, ordered_ns, ready_ns; /* the session; its mirror */
  gint64 wire_ns;                          /* when the bytes on the wire were looked at last */
  guint reconnects;
} Timeline;

gboolean timeline_open(struct Controller *controller, GError **error);
void timeline_close(struct Controller *controller);

/* Now, where something is drawn; else 0, and no clock is asked. */
gint64 timeline_now(const struct Controller *controller);

/* The program begins to run on the device: at its start, and where a block did not come to its end. */
void timeline_here(struct Controller *controller);
/* A call that was timed on the device. */
void timeline_local(struct Controller *controller, const char *function, gint64 start_ns, gint64 took_ns);

/* The block that began at controller->block_start_ns is over, now: its parts are in controller->split.
 * `aborted`: why it did not count; NULL: it did, and controller->end says how. */
void timeline_block(struct Controller *controller, const char *function, const char *aborted);

void timeline_session(struct Controller *controller, const char *what, gint64 start_ns);
void timeline_hello(struct Controller *controller);
void timeline_started(struct Controller *controller, const Doppel__Engine__Started *started);
void timeline_session_ends(struct Controller *controller);

/* After a message went out or came in: what the link tells. */
void timeline_wire(struct Controller *controller);

/* What was done for these; `start_ns` is timeline_now() of before. */
void timeline_files(struct Controller *controller, const Doppel__Engine__Message *message, gint64 start_ns);
void timeline_call(struct Controller *controller, guint slot, const char *name, gint64 start_ns,
                   gint64 result);
void timeline_pull(struct Controller *controller, gint64 start_ns, guint64 pages, guint64 bytes);
