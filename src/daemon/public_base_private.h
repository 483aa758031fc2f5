/* What the files of public_base.h share. */
#pragma once

#include "daemon/public_base.h"
#include "replica/public_base.h"

/* A source that is being added: a transaction of the catalogue. It is begun, gets its contents, and ends:
 * with `good` FALSE as if it had never begun. */
gboolean daemon_base_begin(DaemonBase *base, GError **error);
gboolean daemon_base_begin_source(DaemonBase *base, const char *name, DaemonBaseKind kind, gint64 *id,
                                  GError **error);
gboolean daemon_base_add_content(DaemonBase *base, gint64 source,
                                 const guint8 hash[static GENERATION_CONTENT_HASH], guint64 size,
                                 GError **error);
gboolean daemon_base_end_source(DaemonBase *base, gint64 source, guint64 files, GError **error);
gboolean daemon_base_end(DaemonBase *base, gboolean good, GError **error);

/* Contents that belong to no source leave the catalogue, then what devices are told, then the disk: begin
 * before, and this ends. */
gboolean daemon_base_settle(DaemonBase *base, GError **error);

/* Calls `each` for all contents in the catalogue; FALSE from it ends that. FALSE with an error. */
typedef gboolean (*DaemonBaseEach)(gpointer user_data, const guint8 hash[static GENERATION_CONTENT_HASH],
                                   guint64 size, GError **error);
gboolean daemon_base_each(DaemonBase *base, DaemonBaseEach each, gpointer user_data, GError **error);

gboolean daemon_base_forget_content(DaemonBase *base, const guint8 hash[static GENERATION_CONTENT_HASH],
                                    GError **error);
/* Names of the sources that have lost a content. */
GPtrArray *daemon_base_incomplete(DaemonBase *base, GError **error);

/* public_base_fill.c: the files below `directory`, which becomes the function's, into the source. */
gboolean daemon_base_fill(DaemonBase *base, gint64 source, int directory, gboolean all,
                          const DaemonBaseProgress *progress, DaemonBaseAdded *added, GError **error);
