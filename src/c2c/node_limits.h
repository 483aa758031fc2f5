/* The limits of a permission: "KEY=VALUE,...", as the owner wrote them after "doppel allow USER SERVICE". */
#pragma once

#include <glib.h>

typedef struct {
  guint64 memory;    /* memory=BYTES (K, M, G): address space of the service's process */
  guint seconds;     /* time=SECONDS: how long a conversation may last */
  guint cpu_seconds; /* cpu=SECONDS: of the processor */
  guint processes;   /* processes=N: that "run" lets a program have */
  guint streams;     /* streams=N: of this user and service at a time */
} NodeLimits;        /* 0: the node's own limit */

/* Keys that are not among these are the service's own. FALSE with USAGE that says what is wrong. `limits` may
 * be NULL: to check only. */
gboolean node_limits_parse(const char *text, NodeLimits *limits, GError **error);
