/* Entries on their way into a JetStream stream: one question at a time for each document, and all documents
 * at once. */
#pragma once

#include "clonedoc/server/log.h"
#include "clonedoc/server/nats_places.h"

/* As doc_log_append_all(). */
gboolean nats_append_all(NatsPlaces *places, DocLogPut *puts, guint count, gint64 deadline, GError **error);
