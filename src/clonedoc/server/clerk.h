/* The thread that has the log of an ordering server: what is done there may block, up to the log's patience
 * while a replicated one chooses a leader. Errands are done one after the other, in the order in which they
 * were given, and come back in that order; so a document's entries are read, counted and appended in the
 * order in which the server meant it. */
#pragma once

#include "clonedoc/server/log.h"

typedef struct DocClerk DocClerk;
typedef struct DocErrand DocErrand;

/* Each errand begins with this. `owner` is the clerk's. */
struct DocErrand {
  gboolean (*run)(DocErrand *errand, DocLog *log, GError **error); /* in the thread */
  void (*done)(DocErrand *errand, gpointer owner); /* in the owner's; the errand is freed after it */
  void (*free)(DocErrand *errand);
  GError *error; /* why run() failed */
  gint64 since;  /* when it was given (CLOCK_MONOTONIC, ns) */
};

/* The log is the clerk's until doc_clerk_free(); `context` NULL: the default one. */
DocClerk *doc_clerk_new(DocLog *log, GMainContext *context, gpointer owner);

/* What is under way comes back to nobody, and ends as soon as the log lets go of it. */
void doc_clerk_free(DocClerk *clerk);

/* Takes the errand. What has waited while another one found the log silent fails as that one did. */
void doc_clerk_send(DocClerk *clerk, DocErrand *errand);
