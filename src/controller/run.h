/* Running a program with a clone: the Controller (CloneCloud section 3) from the outside. */
#pragma once

#include <glib.h>

#include "link/link.h"
#include "mirror/tracker.h"
#include "policy/objective.h"

typedef enum { RUN_PLACE_AUTO, RUN_PLACE_DEVICE, RUN_PLACE_CLONE } RunPlace;

/* Ways to send less that can be switched off, to see what each is worth. */
typedef enum {
  RUN_WITHOUT_PULL = 1 << 0,    /* all that changed travels with the block; nothing is asked for */
  RUN_WITHOUT_PUSH = 1 << 1,    /* nothing is sent ahead of being asked for */
  RUN_WITHOUT_KNOWN = 1 << 2,   /* pages that the clone has kept travel again */
  RUN_WITHOUT_CHANGES = 1 << 3, /* pages travel whole */
} RunWithout;
/* "pull,known", say: or'ed together. FALSE with USAGE for a name that is none. */
gboolean run_without_parse(const char *list, guint32 *without, GError **error);

typedef struct {
  char **functions; /* FUNCTION texts, NULL-terminated; NULL: those that the program marks, if any */
  gboolean whole;   /* the whole program in the clone, from its start */
  RunPlace place;
  PolicyObjective objective;                  /* by which auto decides */
  const char *clone;                          /* "local" or a paired clone's name; NULL: local */
  Link *(*reach)(void *data, GError **error); /* makes the link to a clone that is not one's own, which
                                                 `clone` is the name of then; NULL: it is paired. NOT_FOUND:
                                                 the program is not to run at all */
  void *reach_data;
  const char *stats;    /* NULL: none; "-": a table to stderr; else a file that gets JSON */
  const char *trace;    /* NULL: none; else a file that gets a timeline (controller/trace.h) */
  gboolean explain;     /* say to stderr why something ran where it did */
  gboolean check;       /* compare digests of both twins after each block */
  guint32 without;      /* RunWithout */
  gboolean lazy_return; /* what the program may not touch stays in the clone until it does */
  MirrorTrack track;    /* dirty-page backend */
  int resume_ms;        /* how long a broken link may take to come back before the device goes on alone */
  int keep_s; /* how long a connection to a paired clone is kept ready for the next run; 0: not at all */
  int checkpoint_ms;         /* between two checkpoints; 0: none are taken */
  guint64 checkpoint_rate;   /* bytes a second that they may take; 0: as fast as it goes */
  gboolean keep_checkpoints; /* also when the program has ended by itself */
  char **argv;               /* the program and its arguments */
} RunOptions;

/* Runs it. Returns the program's exit status; a program that died of a signal takes the caller with it by the
 * same one. -1 with an error where it could not be started: USAGE and NOT_FOUND for what the user named
 * wrongly. The calling process has one thread. */
int controller_run(const RunOptions *options, GError **error);
